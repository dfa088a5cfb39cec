package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"ntpac"
	"ntpac/capture"
)

// Sources gives the bytes of sources again: the payload of conversations that was kept by reference,
// and the frames to export. Before the first byte of a source is given, its size and SHA-256 are
// compared with what was noted when it was ingested.
type Sources struct {
	ctx    context.Context // ends the reading, also of a long file's hash
	verify bool

	mu    sync.Mutex
	files map[ntpac.SourceID]*sourceFile
	open  int
	clock uint64
}

// maxOpen is how many sources are kept open while nobody reads them.
const maxOpen = 64

// sourceFile is one source. What is not said to be otherwise belongs to Sources.mu.
type sourceFile struct {
	info  ntpac.SourceInfo
	users int
	used  uint64 // when it was last used

	mu   sync.Mutex // for the rest, of which r may be read by every user
	r    *capture.Reader
	good stamp // the file that was found to be the source
	err  error // why it cannot be read
}

// stamp tells whether a file has been touched.
type stamp struct {
	size int64
	mod  time.Time
}

// OpenSources prepares the sources of a case. verify is false only within the run that reads them. When
// ctx ends, so does all reading.
func OpenSources(ctx context.Context, infos []ntpac.SourceInfo, verify bool) *Sources {
	s := &Sources{ctx: ctx, verify: verify, files: map[ntpac.SourceID]*sourceFile{}}
	for _, i := range infos {
		s.files[i.ID] = &sourceFile{info: i}
	}
	return s
}

// Close closes the files. Nobody uses them any more.
func (s *Sources) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		if f.r != nil {
			errs = append(errs, f.r.Close())
			f.r = nil
		}
	}
	s.open = 0
	return errors.Join(errs...)
}

// Append reads n bytes at an offset of the decompressed source. An error wraps ntpac.ErrNoPayload where
// the source is gone or has changed.
func (s *Sources) Append(dst []byte, id ntpac.SourceID, off int64, n int) ([]byte, error) {
	f, err := s.use(id)
	if err != nil {
		return dst, err
	}
	defer s.leave(f)
	if !f.r.Seekable() {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	return f.r.AppendFrame(dst, off, n)
}

// Check compares a source with what was noted of it. Where the file is gone the error wraps
// fs.ErrNotExist.
func (s *Sources) Check(id ntpac.SourceID) error {
	f, err := s.use(id)
	if err == nil {
		s.leave(f)
	}
	return err
}

// use opens a source for reading, until leave.
func (s *Sources) use(id ntpac.SourceID) (*sourceFile, error) {
	s.mu.Lock()
	f := s.files[id]
	if f == nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: the case does not know its source %x", ntpac.ErrNoPayload, uint64(id))
	}
	f.users++
	s.clock++
	f.used = s.clock
	s.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.err
	if f.r == nil && err == nil {
		if err = s.check(f); s.ctx.Err() == nil {
			f.err = err
		}
	}
	if err != nil {
		s.leave(f)
		return nil, err
	}
	return f, nil
}

func (s *Sources) leave(f *sourceFile) {
	s.mu.Lock()
	f.users--
	s.mu.Unlock()
}

// check opens a source, if it still is what it was.
func (s *Sources) check(f *sourceFile) error {
	i := &f.info
	if i.Path == "" {
		return fmt.Errorf("%w: it came from %s, which cannot be read again", ntpac.ErrNoPayload, i.Name)
	}
	st, err := os.Stat(i.Path)
	if err != nil {
		return fmt.Errorf("%w: its source is needed again: %w", ntpac.ErrNoPayload, err)
	}
	now := stamp{st.Size(), st.ModTime()}
	if s.verify && now != f.good {
		if i.Size >= 0 && now.size != i.Size {
			return fmt.Errorf("%w: %s has changed since it was ingested: it has %d bytes, not %d", ntpac.ErrNoPayload, i.Path, now.size, i.Size)
		}
		if !i.SHA256.IsZero() {
			sum, err := fileSum(s.ctx, i.Path)
			if err != nil {
				return fmt.Errorf("%w: %w", ntpac.ErrNoPayload, err)
			}
			if sum != i.SHA256 {
				return fmt.Errorf("%w: %s has changed since it was ingested: its SHA-256 is %s, not %s", ntpac.ErrNoPayload, i.Path, sum, i.SHA256)
			}
		}
	}
	if f.r, err = capture.OpenAt(i.Path); err != nil {
		return fmt.Errorf("%w: %w", ntpac.ErrNoPayload, err)
	}
	f.good = now
	s.opened()
	return nil
}

// opened counts a source more, and closes the one that nobody has used for longest if these are many.
func (s *Sources) opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open++; s.open <= maxOpen {
		return
	}
	var old *sourceFile
	for _, f := range s.files {
		if f.users == 0 && f.r != nil && (old == nil || f.used < old.used) {
			old = f
		}
	}
	if old != nil {
		old.r.Close()
		old.r = nil
		s.open--
	}
}

// fileSum computes the SHA-256 of a file as it lies on the disk.
func fileSum(ctx context.Context, path string) (sum ntpac.Hash, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h, buf := sha256.New(), make([]byte, 256<<10)
	for err == nil {
		if ctx.Err() != nil {
			return sum, context.Cause(ctx)
		}
		var n int
		n, err = f.Read(buf)
		h.Write(buf[:n])
	}
	if err != io.EOF {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}
