package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"ntpac"
)

// What lies in a store's directory.
const (
	formatFile = "FORMAT" // says that this is a store, and of which format
	lockFile   = "LOCK"   // held by the process that has it open
	ownerFile  = "OWNER"  // who that is, for the others' messages
	indexDir   = "index"
	segmentDir = "seg"
)

// format is the number of the layout of the whole directory.
const format = "1"

const formatLine = "ntpac store, format "

// prepareDir makes the directory, or sees that the one there may be a store.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return openError(dir, err)
	}
	if _, err := os.Stat(filepath.Join(dir, formatFile)); err == nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return openError(dir, err)
	}
	for _, e := range entries {
		switch e.Name() {
		case lockFile, ownerFile, formatFile + ".new":
		default:
			return ntpac.Usagef("%s is not an ntpac store: it holds %s and no file %s", dir, e.Name(), formatFile)
		}
	}
	return nil
}

// checkFormat reads the format of the store, and writes that of a new one.
func checkFormat(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return newDir(dir)
	}
	if err != nil {
		return openError(dir, err)
	}
	v, ok := strings.CutPrefix(string(bytes.TrimSpace(b)), formatLine)
	switch {
	case !ok:
		return fmt.Errorf("store %s: its file %s is damaged", dir, formatFile)
	case v != format:
		return fmt.Errorf("store %s has format %s, and this build reads format %s: use the ntpac that wrote it, or another --store", dir, v, format)
	}
	if _, err := os.Stat(filepath.Join(dir, indexDir)); errors.Is(err, fs.ErrNotExist) {
		if names, _ := os.ReadDir(filepath.Join(dir, segmentDir)); len(names) > 0 {
			return fmt.Errorf("store %s: its folder %s is missing, so its segments cannot be read", dir, indexDir)
		}
	}
	return nil
}

func newDir(dir string) error {
	tmp := filepath.Join(dir, formatFile+".new")
	if err := writeSynced(tmp, []byte(formatLine+format+"\n")); err != nil {
		return openError(dir, err)
	}
	for _, sub := range []string{indexDir, segmentDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return openError(dir, err)
		}
	}
	if err := os.Rename(tmp, filepath.Join(dir, formatFile)); err != nil {
		return openError(dir, err)
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

func writeSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// openError makes one clear line of a failure to open.
func openError(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("store %s is not writable: %w", dir, plain(err))
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("store %s is not a directory", dir)
	case isFull(err):
		return fmt.Errorf("store %s: the disk is full", dir)
	}
	return fmt.Errorf("store %s cannot be opened: %w", dir, err)
}

// plain drops the path that an error of package os repeats.
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// ErrFull is what a commit gives when the disk has no room for it. The store stays as it was.
var ErrFull = errors.New("the disk is full")

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, ErrFull)
}

// room sees that n more bytes, and what the index needs for its own work, fit on the disk.
func (s *Store) room(n int64) error {
	free, _, ok := s.opt.space(s.dir)
	if need := uint64(n) + s.reserve; ok && free < need {
		return fmt.Errorf("store %s: %w: %d MB free, %d MB needed", s.dir, ErrFull, free>>20, need>>20+1)
	}
	return nil
}

// dirLock is the hold on a store's directory.
type dirLock struct {
	f     *os.File
	owner string
}

func lockDir(dir string) (*dirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, openError(dir, err)
	}
	owner := filepath.Join(dir, ownerFile)
	if err := lockExclusive(f); err != nil {
		f.Close()
		who, _ := os.ReadFile(owner)
		by := strings.TrimSpace(string(who))
		if by == "" {
			by = "another process"
		}
		return nil, fmt.Errorf("store %s is in use by %s: wait for it to end, or name another --store", dir, by)
	}
	host, _ := os.Hostname()
	who := fmt.Sprintf("process %d (%s) on %s\n", os.Getpid(), filepath.Base(os.Args[0]), host)
	// Only a message depends on it: a store on a full disk must open all the same.
	_ = os.WriteFile(owner, []byte(who), 0o644)
	return &dirLock{f, owner}, nil
}

func (l *dirLock) release() error {
	_ = os.Remove(l.owner)
	return l.f.Close()
}
