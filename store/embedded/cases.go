package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"ntpac"
	"ntpac/store/row"
)

// caseState is what the store keeps in memory of a case. The fields behind seg belong to the one who
// holds the commit lock.
type caseState struct {
	name string
	no   uint32
	seg  *series

	seq     uint64     // of the last entry of the log
	head    ntpac.Hash // and its hash
	classes uint32     // bits: classes of expectations that may be there; guarded by Store.mu
}

func (s *Store) segmentDir(no uint32) string {
	return filepath.Join(s.dir, segmentDir, fmt.Sprintf("%08x", no))
}

// loadCases reads the list of cases, and ends what a crash left of dropping one.
func (s *Store) loadCases() error {
	s.next = 1
	err := s.scan(key(nil, 0, kindDropped), func(k, _ []byte) error {
		if s.full {
			return nil
		}
		return s.finishDrop(binary.BigEndian.Uint32(k[keyHead:]))
	})
	if err != nil {
		return err
	}
	if v, ok, err := s.get(key(nil, 0, kindNext)); err != nil {
		return err
	} else if ok && len(v) == 4 {
		s.next = binary.BigEndian.Uint32(v)
	}
	return s.scan(key(nil, 0, kindCase), func(k, v []byte) error {
		if len(v) != 4 {
			return row.ErrRow
		}
		c, err := s.loadCase(string(k[keyHead:]), binary.BigEndian.Uint32(v))
		if err == nil {
			s.cases[c.name] = c
		}
		return err
	})
}

func (s *Store) loadCase(name string, no uint32) (*caseState, error) {
	c := &caseState{name: name, no: no}
	var err error
	if c.seg, err = openSeries(s.segmentDir(no), name, &s.opt); err != nil {
		return nil, err
	}
	if c.seq, c.head, err = s.logHead(no); err != nil {
		return nil, err
	}
	for class := range byte(classes) {
		found := errors.New("found")
		err := s.scan(append(key(nil, no, kindExpectation), class), func(k, v []byte) error { return found })
		if err == found {
			c.classes |= 1 << class
		} else if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// logHead reads the last entry of a case's log.
func (s *Store) logHead(no uint32) (uint64, ntpac.Hash, error) {
	lower := key(nil, no, kindLog)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: after(lower)})
	if err != nil {
		return 0, ntpac.Hash{}, err
	}
	defer it.Close()
	if !it.Last() {
		return 0, ntpac.Hash{}, it.Error()
	}
	seq := binary.BigEndian.Uint64(it.Key()[keyHead:])
	e, err := row.DecodeEvidence(it.Value(), seq)
	if err != nil {
		return 0, ntpac.Hash{}, err
	}
	return seq, e.Hash, nil
}

// lookup finds a case that exists.
func (s *Store) lookup(name string) *caseState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cases[name]
}

// newCase makes a case that exists when the batch is committed.
func (s *Store) newCase(name string, b *pebble.Batch) (*caseState, error) {
	if err := row.CheckCase(name); err != nil {
		return nil, err
	}
	c, err := s.loadCase(name, s.next)
	if err != nil {
		return nil, err
	}
	no := binary.BigEndian.AppendUint32(nil, c.no)
	next := binary.BigEndian.AppendUint32(nil, c.no+1)
	return c, errors.Join(b.Set(caseKey(nil, name), no, nil), b.Set(key(nil, 0, kindNext), next, nil))
}

// Cases lists the names of the cases in order.
func (s *Store) Cases(context.Context) ([]string, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.cases)), nil
}

// Drop deletes a case: its rows in one write, then its files. A crash between the two is made good
// when the store is opened again.
func (s *Store) Drop(_ context.Context, name string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.commit.Lock()
	defer s.commit.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	c := s.lookup(name)
	if c == nil {
		return fmt.Errorf("case %q: %w", name, ntpac.ErrNotFound)
	}
	b := s.db.NewBatch()
	defer b.Close()
	no := binary.BigEndian.AppendUint32(nil, c.no)
	err := errors.Join(
		b.Delete(caseKey(nil, name), nil),
		b.Set(append(key(nil, 0, kindDropped), no...), nil, nil),
		b.DeleteRange(no, binary.BigEndian.AppendUint32(nil, c.no+1), nil),
	)
	if err != nil {
		return err
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.cases, name)
	s.mu.Unlock()
	return errors.Join(c.seg.close(), s.finishDrop(c.no))
}

// finishDrop deletes the files of a dropped case.
func (s *Store) finishDrop(no uint32) error {
	if err := os.RemoveAll(s.segmentDir(no)); err != nil {
		return err
	}
	return s.db.Delete(binary.BigEndian.AppendUint32(key(nil, 0, kindDropped), no), pebble.NoSync)
}

// get reads one key; the value is a copy.
func (s *Store) get(k []byte) ([]byte, bool, error) {
	return get(s.db, k)
}

func get(r pebble.Reader, k []byte) ([]byte, bool, error) {
	v, c, err := r.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	out := append([]byte{}, v...)
	return out, true, c.Close()
}

// scan calls f for all keys with a prefix, in order.
func (s *Store) scan(prefix []byte, f func(k, v []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if err := f(it.Key(), it.Value()); err != nil {
			it.Close()
			return err
		}
	}
	return errors.Join(it.Error(), it.Close())
}
