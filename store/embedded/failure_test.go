package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"ntpac"
	"ntpac/store/row"
)

// oneLine expects an error of one line that has all the words.
func oneLine(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range append(words, "") {
		if s := err.Error(); !strings.Contains(s, w) || strings.Contains(s, "\n") {
			t.Errorf("error %q: want one line with %q", s, w)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	write := func(name, text string) func(string) {
		return func(dir string) {
			if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name  string
		prep  func(dir string)
		under string
		words []string
		usage bool
	}{
		{"file", write("x", ""), "x", []string{"x is not a directory"}, false},
		{"file above", write("x", ""), "x/y", []string{"y is not a directory"}, false},
		{"other folder", write("holiday.jpg", ""), "", []string{"is not an ntpac store", "holiday.jpg"}, true},
		{"newer", write(formatFile, "ntpac store, format 7\n"), "", []string{"format 7", "format 1"}, false},
		{"damaged", write(formatFile, "???"), "", []string{"FORMAT is damaged"}, false},
		{"without index", func(dir string) {
			write(formatFile, formatLine+format+"\n")(dir)
			write("seg/00000001/000001.seg", "x")(dir)
		}, "", []string{"index is missing"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.prep(dir)
			_, err := Open(filepath.Join(dir, c.under), Options{})
			oneLine(t, err, c.words...)
			if errors.Is(err, ntpac.ErrUsage) != c.usage {
				t.Errorf("usage error: %v", !c.usage)
			}
		})
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	_, err := Open(dir, Options{})
	oneLine(t, err, "in use by", fmt.Sprint(os.Getpid()), "--store")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHalfMade opens a directory in which a crash left nothing but the beginnings of a store.
func TestHalfMade(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{lockFile, ownerFile, formatFile + ".new"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, dir, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
}

func big(n int) *ntpac.Commit {
	c := crashCommit(n)
	for k := range 8 {
		text := []byte(crashText(4*k + 3))
		c.Chunks = append(c.Chunks, ntpac.Chunk{Key: ntpac.ChunkKey{ID: crashID(2 * n), N: int64(k) + 1}, Packed: row.Pack(nil, text), RawLen: len(text)})
	}
	return c
}

// TestFull lets each write of a commit fail in turn, as on a full disk: the commit is refused in one
// line, nothing of it is visible, and the store goes on.
func TestFull(t *testing.T) {
	for at := 0; ; at++ {
		dir, writes, fail := t.TempDir(), 0, -1
		opt := Options{SegmentSize: 1 << 20, written: func(int) error {
			writes++
			if writes-1 == fail {
				return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
			}
			return nil
		}}
		s := open(t, dir, opt)
		for n := range 2 {
			if err := s.Commit(context.Background(), big(n)); err != nil {
				t.Fatal(err)
			}
		}
		writes, fail = 0, at
		err := s.Commit(context.Background(), big(2))
		if err == nil {
			if at < 10 {
				t.Fatalf("only %d writes", at)
			}
			checkCrashed(t, s, 2)
			s.Close()
			return
		}
		oneLine(t, err, "the disk is full")
		if !errors.Is(err, ErrFull) {
			t.Fatalf("write %d: %v", at, err)
		}
		checkCrashed(t, s, 1)
		if at%3 == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, opt)
			checkCrashed(t, s, 1)
		}
		if err := s.Commit(context.Background(), big(2)); err != nil {
			t.Fatal(err)
		}
		checkCrashed(t, s, 2)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoRoom refuses a commit before it is begun where the file system has no room for it.
func TestNoRoom(t *testing.T) {
	free := uint64(1 << 30)
	s := open(t, t.TempDir(), Options{space: func(string) (uint64, uint64, bool) { return free, 1 << 30, true }})
	defer s.Close()
	if err := s.Commit(context.Background(), big(0)); err != nil {
		t.Fatal(err)
	}
	free = 2 << 20
	err := s.Commit(context.Background(), big(1))
	oneLine(t, err, "the disk is full", "MB free")
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	checkCrashed(t, s, 0)
	free = 1 << 30
	if err := s.Commit(context.Background(), big(1)); err != nil {
		t.Fatal(err)
	}
	checkCrashed(t, s, 1)
}

// TestFullAtOpen opens a store on a disk without any room: what is there can be read.
func TestFullAtOpen(t *testing.T) {
	dir, free := t.TempDir(), uint64(1<<30)
	opt := Options{space: func(string) (uint64, uint64, bool) { return free, 1 << 30, true }}
	s := open(t, dir, opt)
	if err := errors.Join(s.Commit(context.Background(), big(0)), s.Close()); err != nil {
		t.Fatal(err)
	}
	free = 0
	s = open(t, dir, opt)
	checkCrashed(t, s, 0)
	free = 1 << 30
	for _, err := range []error{s.Commit(context.Background(), big(1)), s.Drop(context.Background(), "crash")} {
		oneLine(t, err, "the disk is full", "reading only")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, opt)
	if err := errors.Join(s.Commit(context.Background(), big(1)), s.Close()); err != nil {
		t.Fatal(err)
	}
	free = 0
	_, err := Open(t.TempDir(), opt)
	oneLine(t, err, "the disk is full")
}

// TestDamage flips bytes of a segment file: each flip is either in bytes that nothing names or found.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	defer s.Close()
	for n := range 3 {
		if err := s.Commit(context.Background(), crashCommit(n)); err != nil {
			t.Fatal(err)
		}
	}
	wholeCase(t, s, "crash")
	path := filepath.Join(dir, segmentDir, "00000001", "000001.seg")
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	found, flips := 0, 0
	var b [1]byte
	flip := func(at int64) {
		if _, err := file.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x10
		if _, err := file.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
	}
	for at := int64(40); at < st.Size(); at += st.Size()/150 + 1 {
		flip(at)
		flips++
		n := 0
		if _, err := s.Check(context.Background(), "crash", func(string) { n++ }); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			found++
		}
		flip(at)
	}
	// What later commits replaced lies there unread.
	if found < flips/2 {
		t.Errorf("%d of %d changes were found", found, flips)
	}
	wholeCase(t, s, "crash")
	if err := os.Truncate(path, st.Size()/2); err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, err := s.Check(context.Background(), "crash", func(string) { n++ }); err != nil || n == 0 {
		t.Errorf("half a segment file: %d problems, %v", n, err)
	}
}

// TestTampered changes an entry of the log behind the store's back.
func TestTampered(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	for n := range 3 {
		if err := s.Commit(context.Background(), crashCommit(n)); err != nil {
			t.Fatal(err)
		}
	}
	k := numberKey(nil, 1, kindLog, 2)
	v, _, err := s.get(k)
	if err != nil {
		t.Fatal(err)
	}
	e, err := row.DecodeEvidence(v, 2)
	if err != nil {
		t.Fatal(err)
	}
	e.At = 77
	if err := s.db.Set(k, row.AppendEvidence(nil, e), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	var problems []string
	if _, err := s.Check(context.Background(), "crash", func(p string) { problems = append(problems, p) }); err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "entry 2 was changed") {
		t.Errorf("problems: %q", problems)
	}
}

// TestRepeatWritesNothing commits the same twice: the second time no byte goes to the segments.
func TestRepeatWritesNothing(t *testing.T) {
	written := 0
	s := open(t, t.TempDir(), Options{written: func(n int) error { written += n; return nil }})
	defer s.Close()
	if err := s.Commit(context.Background(), big(0)); err != nil {
		t.Fatal(err)
	}
	if written < 1<<20 {
		t.Fatalf("%d bytes written", written)
	}
	written = 0
	if err := s.Commit(context.Background(), big(0)); err != nil {
		t.Fatal(err)
	}
	if written != 0 {
		t.Errorf("%d bytes written again", written)
	}
}

// TestDropFiles: the files of a dropped case go, also when a crash came between.
func TestDropFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for n, cs := range []string{"crash", "other"} {
		c := crashCommit(n)
		c.Case = cs
		if err := s.Commit(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	series := func() (n int) {
		e, err := os.ReadDir(filepath.Join(dir, segmentDir))
		if err != nil {
			t.Fatal(err)
		}
		return len(e)
	}
	if err := s.Drop(context.Background(), "crash"); err != nil || series() != 1 {
		t.Fatalf("%d series after dropping one of two: %v", series(), err)
	}
	// As if the process had ended between the index and the files.
	orphan := s.segmentDir(9)
	if err := errors.Join(os.MkdirAll(orphan, 0o755), os.WriteFile(filepath.Join(orphan, "000001.seg"), nil, 0o644),
		s.db.Set([]byte{0, 0, 0, 0, kindDropped, 0, 0, 0, 9}, nil, pebble.Sync), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	defer s.Close()
	if series() != 1 {
		t.Errorf("%d series after opening again", series())
	}
	wholeCase(t, s, "other")
}
