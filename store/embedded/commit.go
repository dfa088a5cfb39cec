package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"ntpac"
	"ntpac/store/row"
)

// hereMax is the packed length up to which bytes ride in the index; longer ones go to a segment, which
// costs a tenth of what the index's rewriting does.
const hereMax = 160

// How a value says where its bytes are.
const (
	nothing = 0 // there are none
	here    = 1 // the packed bytes follow
	there   = 2 // a place in a segment follows
)

// Commit makes everything in c durable, or nothing of it. Where the disk has no room the error wraps
// ErrFull, and the store stays as it was.
func (s *Store) Commit(ctx context.Context, c *ntpac.Commit) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	w := s.works.Get().(*work)
	defer s.works.Put(w)
	defer w.reset()
	if err := w.prepare(c); err != nil {
		return err
	}
	s.commit.Lock()
	defer s.commit.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.room(w.size); err != nil {
		return err
	}
	t := tx{s: s, c: c, w: w, b: s.db.NewBatchWithSize(1024 + 512*len(w.convs))}
	defer t.b.Close()
	defer t.endSeek()
	err := t.run()
	if err == nil {
		err = t.finish()
	}
	if err != nil {
		if t.cs != nil {
			t.cs.seg.abandon()
		}
		if isFull(err) && !errors.Is(err, ErrFull) {
			err = fmt.Errorf("%w (%v)", ErrFull, plain(err))
		}
		return fmt.Errorf("store %s: %w", s.dir, err)
	}
	return nil
}

// tx is one commit under way.
type tx struct {
	s       *Store
	c       *ntpac.Commit
	w       *work
	b       *pebble.Batch
	cs      *caseState
	fresh   bool // the case is new
	seq     uint64
	head    ntpac.Hash
	classes uint32
	it      *pebble.Iterator
}

func (t *tx) run() (err error) {
	if t.cs = t.s.lookup(t.c.Case); t.cs == nil {
		t.fresh = true
		if t.cs, err = t.s.newCase(t.c.Case, t.b); err != nil {
			return err
		}
	}
	t.seq, t.head = t.cs.seq, t.cs.head
	t.cs.seg.begin()
	for _, step := range []func() error{t.checkpoints, t.chunks, t.conversations, t.generations, t.sources, t.evidence} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// finish makes it durable: first the segment, then the index.
func (t *tx) finish() error {
	if err := t.cs.seg.sync(); err != nil {
		return err
	}
	// What may be found must be looked for: the classes are known before the rows are.
	t.s.mu.Lock()
	t.cs.classes |= t.classes
	t.s.mu.Unlock()
	if !t.b.Empty() {
		if err := t.b.Commit(pebble.Sync); err != nil {
			return err
		}
	}
	t.cs.seq, t.cs.head = t.seq, t.head
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.fresh {
		t.s.cases[t.cs.name] = t.cs
		t.s.next = t.cs.no + 1
	}
	return nil
}

// old looks at a stored value; f is called with it where there is one.
func (t *tx) old(k []byte, f func(v []byte) error) (bool, error) {
	if t.fresh {
		return false, nil
	}
	v, c, err := t.s.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(f(v), c.Close())
}

// seek is old for keys that come in ascending order: one iterator that moves on is many times cheaper
// than looking into every level for each key.
func (t *tx) seek(k []byte, f func(v []byte) error) (bool, error) {
	if t.fresh {
		return false, nil
	}
	if t.it == nil {
		var err error
		lower := key(nil, t.cs.no, 0)
		if t.it, err = t.s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: key(nil, t.cs.no+1, 0)}); err != nil {
			return false, err
		}
	}
	if !t.it.SeekGE(k) || !bytes.Equal(t.it.Key(), k) {
		return false, t.it.Error()
	}
	return true, f(t.it.Value())
}

func (t *tx) endSeek() {
	if t.it != nil {
		_ = t.it.Close()
	}
}

func (t *tx) set(k, v []byte) error { return t.b.Set(k, v, nil) }

// put appends a record to the segment and its place to the value.
func (t *tx) put(v []byte, kind byte, rec, packed []byte) ([]byte, error) {
	p, err := t.cs.seg.add(kind, rec, packed)
	return p.append(v), err
}

// putAnywhere appends packed bytes to the value: themselves, or, of many, their place. Where old is
// the place of the same bytes they are not written again.
func (t *tx) putAnywhere(v []byte, kind byte, rec, packed []byte, old *place) ([]byte, error) {
	switch {
	case len(packed) == 0:
		return append(v, nothing), nil
	case len(packed) <= hereMax:
		v = binary.AppendUvarint(append(v, here), uint64(len(packed)))
		return append(v, packed...), nil
	}
	v = append(v, there)
	if p, err := row.ParsePacked(packed); err == nil && old != nil && old.crc == p.CRC && int(old.raw) == p.RawLen {
		return old.append(v), nil
	}
	return t.put(v, kind, rec, packed)
}

func (t *tx) chunks() error {
	w := t.w
	for _, k := range w.chunks {
		p, err := row.ParsePacked(k.Packed)
		if err != nil {
			return err
		}
		w.key = chunkKey(w.key[:0], t.cs.no, k.Key)
		var stamp uint64
		var had place
		found, err := t.seek(w.key, func(v []byte) (err error) {
			stamp, had, err = parseChunk(v)
			return err
		})
		if err != nil {
			return err
		}
		rank := row.Rank{Stamp: t.c.Stamp, Next: uint64(k.RawLen)}
		if found && !(row.Rank{Stamp: stamp, Next: uint64(had.raw)}).Yields(rank) {
			continue
		}
		same := found && had.crc == p.CRC && int(had.raw) == p.RawLen
		if same && stamp == t.c.Stamp {
			continue
		}
		w.val = binary.BigEndian.AppendUint64(w.val[:0], t.c.Stamp)
		if same {
			w.val = had.append(w.val)
		} else if w.val, err = t.put(w.val, recChunk, w.key[keyHead:], k.Packed); err != nil {
			return err
		}
		if err := t.set(w.key, w.val); err != nil {
			return err
		}
	}
	return nil
}

// parseChunk reads a chunk's value: stamp, place.
func parseChunk(v []byte) (stamp uint64, p place, err error) {
	if len(v) < 8 {
		return 0, p, row.ErrRow
	}
	p, rest, err := parsePlace(v[8:])
	if err == nil && len(rest) > 0 {
		err = row.ErrRow
	}
	return binary.BigEndian.Uint64(v), p, err
}

func (t *tx) conversations() error {
	w := t.w
	for i := range w.convs {
		k := &w.convs[i]
		w.key = convKey(w.key[:0], t.cs.no, k.c.ID, subRow)
		var old convValue
		found, err := t.seek(w.key, func(v []byte) (err error) {
			old, err = parseConv(v)
			old.here, old.row = nil, nil
			return err
		})
		if err != nil {
			return err
		}
		rank := row.Rank{Stamp: t.c.Stamp, Next: uint64(k.c.Revision)}
		if found && !(row.Rank{Stamp: old.stamp, Next: uint64(old.revision)}).Yields(rank) {
			continue
		}
		w.val = binary.BigEndian.AppendUint64(w.val[:0], t.c.Stamp)
		w.val = binary.BigEndian.AppendUint32(w.val, k.c.Revision)
		var at *place
		if old.kind == there {
			at = &old.at
		}
		if w.val, err = t.putAnywhere(w.val, recInline, k.c.ID[:], w.bytes(k.inline), at); err != nil {
			return err
		}
		w.val = append(w.val, w.bytes(k.row)...)
		if err := t.set(w.key, w.val); err != nil {
			return err
		}
		if err := t.index(k.c, found); err != nil {
			return err
		}
	}
	return nil
}

// index writes what finds a conversation by its end points and, where reassembly knew it, application.
func (t *tx) index(c *ntpac.Conversation, found bool) error {
	w := t.w
	if !found { // the end points of an id never change
		for _, e := range c.Key.End {
			w.key = append(endKey(w.key[:0], t.cs.no, e.Addr()), c.ID[:]...)
			w.key = binary.BigEndian.AppendUint16(w.key, e.Port())
			if err := t.set(w.key, []byte{byte(c.Key.Proto)}); err != nil {
				return err
			}
		}
	}
	if c.App == "" {
		return nil
	}
	return t.set(append(appKey(w.key[:0], t.cs.no, c.App), c.ID[:]...), nil)
}

// convValue is the value of a conversation's key: stamp, revision, inline payload, row.
type convValue struct {
	stamp    uint64
	revision uint32
	kind     byte
	at       place
	here     []byte
	row      []byte
}

func parseConv(v []byte) (c convValue, err error) {
	if len(v) < 13 {
		return c, row.ErrRow
	}
	c.stamp, c.revision = binary.BigEndian.Uint64(v), binary.BigEndian.Uint32(v[8:])
	c.kind, c.at, c.here, c.row, err = parseAnywhere(v[12:])
	return c, err
}

// parseAnywhere reads what putAnywhere writes and gives the rest.
func parseAnywhere(v []byte) (kind byte, p place, packed, rest []byte, err error) {
	if len(v) == 0 {
		return 0, p, nil, nil, row.ErrRow
	}
	kind, v = v[0], v[1:]
	switch kind {
	case nothing:
		return kind, p, nil, v, nil
	case here:
		n, k := binary.Uvarint(v)
		if k <= 0 || n > uint64(len(v)-k) {
			return kind, p, nil, nil, row.ErrRow
		}
		return kind, p, v[k : k+int(n)], v[k+int(n):], nil
	case there:
		p, v, err = parsePlace(v)
		return kind, p, nil, v, err
	}
	return kind, p, nil, nil, row.ErrRow
}

func (t *tx) sources() error {
	done := make(map[ntpac.SourceID]*ntpac.SourceInfo, len(t.c.Sources))
	for i := range t.c.Sources {
		src := &t.c.Sources[i]
		if had := done[src.ID]; had != nil && !row.SourceYields(had, src) {
			continue
		}
		t.w.key = numberKey(t.w.key[:0], t.cs.no, kindSource, uint64(src.ID))
		var had ntpac.SourceInfo
		found, err := t.old(t.w.key, func(v []byte) (err error) {
			had, err = decodeSource(v)
			return err
		})
		if err != nil {
			return err
		}
		if found && !row.SourceYields(&had, src) {
			continue
		}
		v, err := encodeSource(src)
		if err != nil {
			return err
		}
		if err := t.set(t.w.key, v); err != nil {
			return err
		}
		done[src.ID] = src
	}
	return nil
}

func (t *tx) checkpoints() error {
	done := make(map[uint16][]byte, len(t.c.Checkpoints))
	for i := range t.c.Checkpoints {
		c := &t.c.Checkpoints[i]
		k := binary.BigEndian.AppendUint16(key(nil, t.cs.no, kindCheckpoint), c.Shard)
		v := row.AppendCheckpoint(nil, c)
		had, found := done[c.Shard]
		if !found {
			var err error
			if found, err = t.old(k, func(o []byte) error { had = bytes.Clone(o); return nil }); err != nil {
				return err
			}
		}
		if found && bytes.Equal(had, v) {
			continue // the same commit again
		}
		if found {
			o, err := row.DecodeCheckpoint(had, c.Shard)
			if err != nil {
				return err
			}
			if !row.CheckpointNewer(&o, c) {
				return fmt.Errorf("checkpoint %d.%d of shard %d comes after %d.%d: %w", c.Epoch, c.Version, c.Shard, o.Epoch, o.Version, ntpac.ErrFenced)
			}
		}
		if err := t.set(k, v); err != nil {
			return err
		}
		done[c.Shard] = v
	}
	return nil
}

func (t *tx) evidence() error {
	done := make(map[ntpac.Hash]bool, len(t.c.Evidence))
	for i := range t.c.Evidence {
		e := row.Chain(t.c.Evidence[i], t.seq, t.head)
		k := hashKey(nil, t.cs.no, kindLogKey, e.Key)
		found, err := t.old(k, func([]byte) error { return nil })
		if err != nil {
			return err
		}
		if found || done[e.Key] {
			continue
		}
		done[e.Key] = true
		seq := binary.BigEndian.AppendUint64(nil, e.Seq)
		err = errors.Join(t.set(k, seq), t.set(numberKey(nil, t.cs.no, kindLog, e.Seq), row.AppendEvidence(nil, &e)))
		if err != nil {
			return err
		}
		t.seq, t.head = e.Seq, e.Hash
	}
	return nil
}
