// Package embedded is the store of one machine: payload in append-only segment files, everything else
// in an index beside them (cockroachdb/pebble). It needs no server. One process at a time can use it.
//
// A commit appends to a segment file of its case, makes the file durable, and then writes one batch to
// the index. What the index does not name does not exist: a crash between the two leaves bytes that
// nobody reads. Formats: docs/format/segment.md and index.md.
package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"ntpac"
)

// Options of a store. The zero value is what everybody should use.
type Options struct {
	// SegmentSize is the length in bytes at which a new segment file is begun; 0 is 256 MiB.
	SegmentSize int64
	// Cache is the memory for blocks and write buffers of the index, in bytes; 0 is 48 MiB.
	Cache int64
	// Fatal is called when the index can no longer write its own bookkeeping, which leaves the process
	// nothing to do but end; what was committed is safe. nil prints one line and exits with status 1.
	Fatal func(error)

	// space tells the free and the total bytes of the file system that holds a path; tests replace it.
	space func(path string) (free, total uint64, ok bool)
	// written is called before bytes go to a segment file; tests make it fail.
	written func(n int) error
}

// Sizes of what a store keeps in memory. The block cache counts the index's write buffers.
const (
	memTable   = 16 << 20
	blockCache = 48 << 20
	smallTable = 1 << 20 // on a file system under smallDisk
	smallDisk  = 1 << 30
	openSpace  = 2 << 20 // free bytes without which a store is opened for reading only
	openFiles  = 256
)

// Store is an open store. It is used by many goroutines.
type Store struct {
	dir     string
	opt     Options
	lock    *dirLock
	db      *pebble.DB
	reserve uint64 // bytes that must stay free for the index's own work
	full    bool   // the disk was full when the store was opened: it is only read

	commit sync.Mutex // one commit at a time
	works  sync.Pool
	bufs   sync.Pool

	mu     sync.Mutex
	cases  map[string]*caseState
	next   uint32 // number of the next case
	users  int
	closed bool
	idle   chan struct{} // closed when the last user of a closed store has left
	failed atomic.Pointer[error]
}

var errClosed = errors.New("the store is closed")

// Open opens the store in a directory, which is made when it does not exist. The errors are one line
// each: in use by another process, of another format, not a store, not writable.
func Open(dir string, opt Options) (_ *Store, err error) {
	if opt.SegmentSize <= 0 {
		opt.SegmentSize = 256 << 20
	}
	if opt.space == nil {
		opt.space = diskSpace
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, opt: opt, cases: map[string]*caseState{}, idle: make(chan struct{})}
	s.works.New = func() any { return newWork() }
	s.bufs.New = func() any { return new([]byte) }
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lock.release()
		}
	}()
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	if err := s.openIndex(); err != nil {
		return nil, err
	}
	if err := s.loadCases(); err != nil {
		s.db.Close()
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) openIndex() error {
	size := cmp.Or(s.opt.Cache, blockCache)
	table := uint64(min(memTable, max(size/3, smallTable)))
	free, total, ok := s.opt.space(s.dir)
	if ok && total < smallDisk {
		table = smallTable
	}
	s.full = ok && free < openSpace
	if s.full && empty(filepath.Join(s.dir, indexDir)) {
		return openError(s.dir, ErrFull)
	}
	s.reserve = 3*table + 1<<20
	cache := pebble.NewCache(size)
	defer cache.Unref()
	o := &pebble.Options{
		Cache:                       cache,
		MemTableSize:                table,
		MemTableStopWritesThreshold: 2,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		MaxOpenFiles:                openFiles,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      silence{s},
		ReadOnly:                    s.full,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(filepath.Join(s.dir, indexDir), o)
	if err != nil {
		return openError(s.dir, err)
	}
	s.db = db
	return nil
}

func empty(dir string) bool {
	e, err := os.ReadDir(dir)
	return err != nil || len(e) == 0
}

// writable reports why a store that was opened for reading only cannot be written to.
func (s *Store) writable() error {
	if e := s.failed.Load(); e != nil {
		return *e
	}
	if s.full {
		return fmt.Errorf("store %s: %w: it is open for reading only; make room and open it again", s.dir, ErrFull)
	}
	return nil
}

// silence is the index's log: nothing but what ends the process.
type silence struct{ s *Store }

func (silence) Infof(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (l silence) Fatalf(format string, args ...any) {
	err := fmt.Errorf("store %s: %w", l.s.dir, fmt.Errorf(format, args...))
	l.s.failed.CompareAndSwap(nil, &err)
	if l.s.opt.Fatal != nil {
		l.s.opt.Fatal(err)
		return
	}
	fmt.Fprintln(os.Stderr, "ntpac:", err)
	os.Exit(1)
}

// enter counts a user in; a closed store has no new ones.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.users++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && s.closed {
		close(s.idle)
	}
}

// Close waits for those who are still reading or writing, and closes the store.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	busy := s.users > 0
	s.mu.Unlock()
	if busy {
		<-s.idle
	}
	err := s.db.Close()
	for _, c := range s.cases {
		err = errors.Join(err, c.seg.close())
	}
	return errors.Join(err, s.lock.release())
}

// Interface guard.
var _ ntpac.Store = (*Store)(nil)
