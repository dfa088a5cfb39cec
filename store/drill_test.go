package store_test

import (
	"bytes"
	"crypto/sha256"
	"errors"

	"math/rand/v2"
	"slices"
	"testing"

	"ntpac"
	"ntpac/store"
)

// shelf is an Out and a Loader in memory. It checks that chunks only grow.
type shelf struct {
	t      *testing.T
	chunks map[ntpac.ChunkKey][]byte
	convs  map[ntpac.ConversationID]*ntpac.Conversation
	bufs   *store.Buffers
	broken bool
	source func(ntpac.ConversationID) *spoken // of payload that is kept by reference
}

func newShelf(t *testing.T) *shelf {
	return &shelf{t: t, chunks: map[ntpac.ChunkKey][]byte{}, convs: map[ntpac.ConversationID]*ntpac.Conversation{}, bufs: &store.Buffers{}}
}

func (s *shelf) Chunk(c ntpac.Chunk) {
	raw, err := store.Unpack(nil, c.Packed)
	if err != nil || len(raw) != c.RawLen || c.Key.ID == (ntpac.ConversationID{}) {
		s.t.Errorf("chunk %v: %d bytes instead of %d, %v", c.Key, len(raw), c.RawLen, err)
	}
	if was := s.chunks[c.Key]; !bytes.HasPrefix(raw, was) {
		s.t.Errorf("chunk %v was not written whole: %d bytes, then %d", c.Key, len(was), len(raw))
	}
	s.chunks[c.Key] = raw
	s.bufs.Put(c.Packed)
}

func (s *shelf) Conversation(c *ntpac.Conversation, mem *store.Resident) {
	kept := *c
	if c.Inline != nil {
		kept.Inline = &ntpac.Inline{History: bytes.Clone(c.Inline.History)}
		for i := range 2 {
			kept.Inline.Stream[i] = bytes.Clone(c.Inline.Stream[i])
		}
	}
	if mem.Whole() {
		s.sameAsStored(&kept, mem)
	}
	mem.Release()
	s.convs[c.ID] = &kept
}

// sameAsStored compares what is still in memory with what was stored.
func (s *shelf) sameAsStored(c *ntpac.Conversation, mem *store.Resident) {
	p := s.payload(c)
	for stream := range uint8(3) {
		end := c.HistLen
		if stream < 2 {
			end = c.Half[stream].End
		}
		for n := int64(0); n*ntpac.ChunkSize < end; n++ {
			a, _ := mem.Chunk(stream, n)
			b, err := p.Chunk(stream, n)
			if err != nil || !bytes.Equal(a, b) {
				s.t.Errorf("stream %d, chunk %d: %d bytes in memory, %d stored, %v", stream, n, len(a), len(b), err)
			}
		}
	}
}

func (s *shelf) payload(c *ntpac.Conversation) ntpac.Payload {
	if c.ByReference() {
		hist := ntpac.Payload(shelved{s, c.ID})
		if c.Inline != nil {
			hist = c.InlinePayload()
		}
		return referenced{s.source(c.ID), hist}
	}
	if c.Inline != nil {
		return c.InlinePayload()
	}
	return shelved{s, c.ID}
}

type shelved struct {
	s  *shelf
	id ntpac.ConversationID
}

func (p shelved) Chunk(stream uint8, n int64) ([]byte, error) {
	return p.s.chunks[ntpac.ChunkKey{ID: p.id, Stream: stream, N: n}], nil
}

// referenced is payload that lies in its sources: here the model has it.
type referenced struct {
	said *spoken
	hist ntpac.Payload
}

func (p referenced) Chunk(stream uint8, n int64) (b []byte, err error) {
	if stream == ntpac.StreamHistory {
		return p.hist.Chunk(stream, n)
	}
	end := int64(len(p.said.data[stream]))
	for i := n * ntpac.ChunkSize; i < min((n+1)*ntpac.ChunkSize, end); i++ {
		if p.said.solid[stream][i] == 1 {
			b = append(b, p.said.data[stream][i])
		}
	}
	return b, nil
}

// Payload makes a loader one that can read payload kept by reference.
func (l refLoader) Payload(c *ntpac.Conversation) ntpac.Payload { return l.s.payload(c) }

type refLoader struct{ loader }

var errBroken = errors.New("broken")

type loader struct{ s *shelf }

func (l loader) Chunk(k ntpac.ChunkKey, n int) ([]byte, error) {
	if l.s.broken {
		return nil, errBroken
	}
	if b := l.s.chunks[k]; n >= 0 && n != len(b) {
		l.s.t.Errorf("chunk %v has %d bytes, the collector thinks %d", k, len(b), n)
	}
	return l.s.chunks[k], nil
}

func (l loader) Conversation(id ntpac.ConversationID) (*ntpac.Conversation, error) {
	if l.s.broken {
		return nil, errBroken
	}
	c := l.s.convs[id]
	if c == nil {
		return nil, ntpac.ErrNotFound
	}
	d := *c
	return &d, nil
}

// spoken is what one conversation should have come to.
type spoken struct {
	h        uint32
	id       ntpac.ConversationID
	known    bool
	data     [2][]byte // holes filled with zeros
	solid    [2][]byte // 1 where captured
	gaps     [2][]ntpac.Gap
	alts     [2][]ntpac.Conflict
	events   []ntpac.Event
	ts       ntpac.Time
	revision uint32
}

// drill drives a collector and keeps the model beside it.
type drill struct {
	t     *testing.T
	r     *rand.Rand
	c     *store.Collector
	shelf *shelf
	open  []*spoken
	done  []*spoken
	all   map[ntpac.ConversationID]*spoken
	size  int // of the data given at once
	gap   int
}

func newDrill(t *testing.T, seed uint64) *drill {
	d := &drill{t: t, r: rand.New(rand.NewPCG(seed, 3)), shelf: newShelf(t), all: map[ntpac.ConversationID]*spoken{}, size: 2000, gap: 500}
	d.shelf.source = func(id ntpac.ConversationID) *spoken { return d.all[id] }
	d.c = store.NewCollector(d.shelf, loader{d.shelf}, d.shelf.bufs)
	d.c.Sources = []ntpac.SourceID{11, 22, 33, 44}
	return d
}

func (d *drill) begin() *spoken {
	s := &spoken{h: d.c.Open(), ts: 1_700_000_000 * ntpac.Second}
	for i := range s.id {
		s.id[i] = byte(d.r.Uint32()) | 1
	}
	d.open = append(d.open, s)
	d.all[s.id] = s
	return s
}

// byReference has payload kept by reference from now on.
func (d *drill) byReference() {
	d.c = store.NewCollector(d.shelf, refLoader{loader{d.shelf}}, d.shelf.bufs)
	d.c.Sources, d.c.Reference = []ntpac.SourceID{11, 22, 33, 44}, true
}

// noise is what is said: parts of it.
var noise = func() []byte {
	r := rand.New(rand.NewPCG(1, 1))
	b := make([]byte, 1<<19)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

func (d *drill) identify(s *spoken) {
	d.c.Identify(s.h, s.id)
	s.known = true
}

func (d *drill) say(s *spoken, side ntpac.Side, n int) {
	at := d.r.IntN(len(noise) - n)
	b := noise[at : at+n]
	off := int64(len(s.data[side]))
	e := ntpac.Event{TS: s.ts, Ord: d.r.Uint64N(1000), Off: d.r.Int64N(1 << 40), Start: off, Len: uint32(n), Pos: 54, Cap: 54 + uint32(n),
		Source: uint16(d.r.IntN(4)), Flags: ntpac.EventFlags(side)}
	e.Wire = e.Cap
	s.ts += ntpac.Time(d.r.Int64N(1e9))
	d.c.Event(s.h, &e)
	s.events = append(s.events, e)
	d.c.Data(s.h, side, off, b)
	s.data[side] = append(s.data[side], b...)
	s.solid[side] = append(s.solid[side], bytes.Repeat([]byte{1}, n)...)
}

func (d *drill) hole(s *spoken, side ntpac.Side, n int, cause ntpac.GapCause) {
	g := ntpac.Gap{Off: int64(len(s.data[side])), Len: int64(n), Cause: cause}
	d.c.Gap(s.h, side, g)
	if k := len(s.gaps[side]) - 1; k >= 0 && s.gaps[side][k].Off+s.gaps[side][k].Len == g.Off && s.gaps[side][k].Cause == cause {
		s.gaps[side][k].Len += g.Len
	} else {
		s.gaps[side] = append(s.gaps[side], g)
	}
	s.data[side] = append(s.data[side], make([]byte, n)...)
	s.solid[side] = append(s.solid[side], make([]byte, n)...)
}

func (d *drill) contradict(s *spoken, side ntpac.Side) {
	k := ntpac.Conflict{Off: d.r.Int64N(int64(len(s.data[side])) + 1), Alt: []byte("other"), TS: s.ts, Ord: 7, From: uint16(d.r.IntN(4))}
	given := k
	given.Alt = bytes.Clone(k.Alt)
	d.c.Conflict(s.h, side, given)
	given.Alt[0] = 'X' // the collector must not keep it
	s.alts[side] = append(s.alts[side], k)
}

// ask compares what the collector gives back with the model.
func (d *drill) ask(s *spoken, side ntpac.Side) {
	n := int64(len(s.data[side]))
	if n == 0 {
		return
	}
	off := d.r.Int64N(n)
	b, hole := d.c.Given(s.h, side, off)
	run := n
	if i := bytes.IndexByte(s.solid[side][off:], s.solid[side][off]^1); i >= 0 {
		run = off + int64(i)
	}
	switch {
	case s.solid[side][off] == 0:
		if hole < 1 || hole > run-off || b != nil {
			d.t.Errorf("at %d: %d bytes, hole %d; want a hole up to %d", off, len(b), hole, run)
		}
	case hole != 0:
		d.t.Errorf("at %d: a hole of %d", off, hole)
	case int64(len(b)) > run-off || !bytes.Equal(b, s.data[side][off:off+int64(len(b))]):
		d.t.Errorf("at %d: %d bytes that were not given; the run is %d", off, len(b), run-off)
	case len(b) == 0 && s.known && !d.c.Reference:
		d.t.Errorf("at %d of %d: nothing is known any more", off, n)
	}
}

func (d *drill) step() {
	switch d.r.IntN(20) {
	case 0:
		d.begin()
		return
	case 1:
		if len(d.done) > 0 {
			d.reopen(d.r.IntN(len(d.done)))
			return
		}
	}
	if len(d.open) == 0 {
		d.begin()
	}
	k := d.r.IntN(len(d.open))
	s := d.open[k]
	side := ntpac.Side(d.r.IntN(2))
	switch d.r.IntN(12) {
	case 0:
		d.close(k)
	case 1:
		d.identify(s)
	case 2:
		d.hole(s, side, 1+d.r.IntN(d.gap), ntpac.GapCause(d.r.IntN(2)))
	case 3:
		d.contradict(s, side)
	case 4, 5:
		d.ask(s, side)
	default:
		d.say(s, side, 1+d.r.IntN(d.size))
	}
}

func (d *drill) close(k int) {
	s := d.open[k]
	d.open = slices.Delete(d.open, k, k+1)
	c := &ntpac.Conversation{ID: s.id, Revision: s.revision}
	for i := range 2 {
		h := &c.Half[i]
		h.End = int64(len(s.data[i]))
		for _, g := range s.gaps[i] {
			h.Missing += g.Len
		}
		h.Bytes = h.End - h.Missing
	}
	d.c.Close(s.h, c)
	s.known = true
	d.done = append(d.done, s)
	d.check(s)
}

func (d *drill) reopen(k int) {
	s := d.done[k]
	h, ok := d.c.Reopen(s.id)
	if !ok {
		d.t.Errorf("%v cannot be opened again", s.id)
		return
	}
	s.h, s.revision = h, s.revision+1
	d.done = slices.Delete(d.done, k, k+1)
	d.open = append(d.open, s)
}

// check reads a stored conversation as snoopers do and compares it with the model.
func (d *drill) check(s *spoken) {
	d.t.Helper()
	c := d.shelf.convs[s.id]
	dialog := ntpac.NewDialog(c, d.shelf.payload(c))
	for i := range 2 {
		st := dialog.In(c.Dir(ntpac.Side(i)))
		var captured []byte
		at := int64(0)
		for !st.EOF() {
			if g := st.SkipGap(); g > 0 {
				at += g
				continue
			}
			b := st.Rest()
			if len(b) == 0 {
				break
			}
			if !bytes.Equal(b, s.data[i][at:at+int64(len(b))]) {
				d.t.Fatalf("%v side %d: bytes at %d differ", s.id, i, at)
			}
			captured = append(captured, b...)
			at += int64(len(b))
			st.Skip(int64(len(b)))
		}
		if at != int64(len(s.data[i])) || dialog.Err() != nil {
			d.t.Fatalf("%v side %d: %d of %d, %v", s.id, i, at, len(s.data[i]), dialog.Err())
		}
		h := &c.Half[i]
		if want := sha256.Sum256(captured); len(captured) > 0 && h.SHA256 != want || len(captured) == 0 && !h.SHA256.IsZero() {
			d.t.Errorf("%v side %d: hash differs", s.id, i)
		}
		if !slices.Equal(h.Gaps, s.gaps[i]) {
			d.t.Errorf("%v side %d: gaps %v, want %v", s.id, i, h.Gaps, s.gaps[i])
		}
		d.checkConflicts(c, h.Conflicts, s.alts[i])
	}
	n := 0
	for e := range ntpac.Events(c, d.shelf.payload(c)) {
		want := s.events[n]
		if got := d.c.Sources[want.Source]; c.Sources[e.Source] != got {
			d.t.Fatalf("event %d is from source %v, want %v", n, c.Sources[e.Source], got)
		}
		v := *e
		if v.Source = want.Source; v != want {
			d.t.Fatalf("event %d: %+v, want %+v", n, v, want)
		}
		n++
	}
	if n != len(s.events) {
		d.t.Errorf("%d events, want %d", n, len(s.events))
	}
}

func (d *drill) checkConflicts(c *ntpac.Conversation, got, want []ntpac.Conflict) {
	d.t.Helper()
	if len(got) != len(want) {
		d.t.Fatalf("%d alternatives, want %d", len(got), len(want))
	}
	for i, k := range got {
		w := want[i]
		if c.Sources[k.From] != d.c.Sources[w.From] || k.Off != w.Off || !bytes.Equal(k.Alt, w.Alt) || k.TS != w.TS {
			d.t.Errorf("alternative %d: %+v, want %+v", i, k, w)
		}
	}
}
