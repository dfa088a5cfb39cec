package store

import (
	"crypto/sha256"
	"hash"

	"ntpac"
	"ntpac/store/row"
)

// Out takes what a Collector has made ready to store. Calls come on the collector's goroutine.
type Out interface {
	// Chunk gives a packed chunk; it owns the bytes.
	Chunk(c ntpac.Chunk)
	// Conversation gives a conversation that has ended, or ended again with a higher revision. Where
	// its payload is still in memory, mem has it; Release gives the memory back.
	Conversation(c *ntpac.Conversation, mem *Resident)
}

// Loader reads back what a Collector gave out before.
type Loader interface {
	Conversation(id ntpac.ConversationID) (*ntpac.Conversation, error)
	// Chunk gives the raw bytes of a chunk that has n of them in its latest version, or the latest there is
	// where n is below 0. A chunk that does not exist is empty.
	Chunk(k ntpac.ChunkKey, n int) ([]byte, error)
}

// Collector turns the sealed ranges that a reassembler emits into chunks and rows: it gathers each
// stream into 256 KiB chunks, hashes and packs them, and encodes histories. It has the methods of a
// reassembler's sink. A chunk may be given out several times, each time longer: always whole, under one
// key. Use by one goroutine.
type Collector struct {
	Sources   []ntpac.SourceID // of the merge group, by index
	Reference bool             // payload is kept by reference: no chunks of the two sides
	Budget    int64            // bytes of open conversations and their payload; beyond it, quiet ones are parked
	Parked    uint64           // partial chunks that were written early to keep within the budget
	Lost      uint64           // alternatives that were given up at a limit
	Hash      func() hash.Hash // of the streams; nil is SHA-256. Another one is for measuring

	out    Out
	load   Loader
	bufs   *Buffers
	slabs  [][]gathered
	free   []uint32
	n      uint32
	held   int64 // bytes in buffers
	open   int64 // conversations
	alts   int64 // bytes of alternatives, which are held too
	parkAt int64 // above Budget: parking is tried when held is above it, too
	hand   uint32
	event  []byte
	old    oldChunk
	err    error
}

// gathered is one open conversation.
type gathered struct {
	id      ntpac.ConversationID
	stream  [3]stream
	hs      ntpac.HistoryState
	srcs    []uint16 // group indexes of its sources, by the index that its history uses
	few     [2]uint16
	pending []ntpac.Chunk // full chunks that wait for the id
	known   bool          // id is set
	blind   bool          // bytes were asked for that are not known any more
	used    bool
	touched bool // since the parking hand last passed
}

// stream gathers one stream's current chunk.
type stream struct {
	buf    []byte // captured bytes of chunk n, from kept on
	n      int64
	end    int64 // stream position behind what was given
	more   *more
	summed int32 // bytes of the chunk that more.sum has
	kept   int32 // bytes of the chunk that are in the store, and not in buf: it was parked
	stored bool  // a chunk of it was given out: it is no longer inline
	passed bool  // a chunk was left behind: buf is not all of the stream
}

// more is what only some streams need.
type more struct {
	sum       hash.Hash
	gaps      []ntpac.Gap
	conflicts []ntpac.Conflict
	altBytes  int64
	altLost   bool   // alternatives were given up
	prev      []byte // the chunk before the current one, while it may be asked for
	prevN     int64
}

// NewCollector makes a Collector.
func NewCollector(out Out, load Loader, bufs *Buffers) *Collector {
	return &Collector{out: out, load: load, bufs: bufs, Budget: 128 << 20}
}

// Err is the first failure to read back what was given out. From then on nothing is given out any more,
// as it could be wrong.
func (c *Collector) Err() error { return c.err }

// openCost is what an open conversation takes beside its buffers, here and in the reassembler.
const openCost = 512

// used is what counts against the budget.
func (c *Collector) used() int64 { return c.held + c.open*openCost }

// Held is how many bytes the buffers take.
func (c *Collector) Held() int64 { return c.held }

// gatheredSlab conversations make one slab, which fills its pages to the last.
const gatheredSlab = 1024

func (c *Collector) at(h uint32) *gathered { return &c.slabs[h/gatheredSlab][h%gatheredSlab] }

// Open begins a conversation.
func (c *Collector) Open() uint32 {
	var h uint32
	if n := len(c.free); n > 0 {
		h = c.free[n-1]
		c.free = c.free[:n-1]
	} else {
		if c.n%gatheredSlab == 0 {
			c.slabs = append(c.slabs, make([]gathered, gatheredSlab))
		}
		h = c.n
		c.n++
	}
	c.open++
	g := c.at(h)
	g.used, g.touched = true, true
	g.srcs = g.few[:0]
	return h
}

// Identify sets the conversation's id; chunks that waited for it go out.
func (c *Collector) Identify(h uint32, id ntpac.ConversationID) {
	g := c.at(h)
	if g.known {
		return
	}
	g.id, g.known = id, true
	for _, k := range g.pending {
		k.Key.ID = id
		if c.err == nil {
			c.out.Chunk(k)
		}
	}
	g.pending = nil
}

// Event adds a packet to the history.
func (c *Collector) Event(h uint32, e *ntpac.Event) {
	g := c.at(h)
	g.touched = true
	v := *e
	v.Source = g.source(e.Source)
	c.event = g.hs.Append(c.event[:0], &v)
	s := &g.stream[ntpac.StreamHistory]
	c.add(g, ntpac.StreamHistory, s.end, c.event)
}

func (g *gathered) source(group uint16) uint16 {
	for i, s := range g.srcs {
		if s == group {
			return uint16(i)
		}
	}
	g.srcs = append(g.srcs, group)
	return uint16(len(g.srcs) - 1)
}

// Data gathers the next bytes of a side.
func (c *Collector) Data(h uint32, side ntpac.Side, off int64, b []byte) {
	g := c.at(h)
	g.touched = true
	c.add(g, uint8(side), off, b)
}

// add gathers bytes of a stream, which lie at off, chunk by chunk.
func (c *Collector) add(g *gathered, stream uint8, off int64, b []byte) {
	s := &g.stream[stream]
	for len(b) > 0 {
		if k := off / ntpac.ChunkSize; k != s.n {
			c.next(g, stream, k)
		}
		n := int(min(int64(len(b)), (s.n+1)*ntpac.ChunkSize-off))
		if s.kept > 0 && c.Reference && stream != ntpac.StreamHistory {
			s.more.sum.Write(b[:n]) // the rest of this chunk stays in the source alone
		} else {
			c.gather(g, stream, b[:n])
		}
		off, b = off+int64(n), b[n:]
		s.end = off
	}
}

// gather adds bytes to the current chunk.
func (c *Collector) gather(g *gathered, stream uint8, b []byte) {
	s := &g.stream[stream]
	if cap(s.buf)-len(s.buf) < len(b) {
		c.room(s, len(b))
	}
	s.buf = append(s.buf, b...)
	if s.more != nil && s.more.prev != nil && len(s.buf) > lookBack {
		c.drop(&s.more.prev)
	}
}

// lookBack is how far behind the end of a stream its bytes stay at hand, to compare retransmissions
// with: a common receive window. What lies farther back is read from the store when it is asked for.
const lookBack = 64 << 10

// extra gives what only some streams need.
func (s *stream) extra() *more {
	if s.more == nil {
		s.more = &more{}
	}
	return s.more
}

func (s *stream) gaps() []ntpac.Gap {
	if s.more == nil {
		return nil
	}
	return s.more.gaps
}

// Gap notes a missing range; ranges that touch and have one cause become one.
func (c *Collector) Gap(h uint32, side ntpac.Side, gap ntpac.Gap) {
	g := c.at(h)
	g.touched = true
	s := &g.stream[side]
	m := s.extra()
	if k := len(m.gaps) - 1; k >= 0 && m.gaps[k].Off+m.gaps[k].Len == gap.Off && m.gaps[k].Cause == gap.Cause {
		m.gaps[k].Len += gap.Len
	} else {
		m.gaps = append(m.gaps, gap)
	}
	s.end = gap.Off + gap.Len
	if k := s.end / ntpac.ChunkSize; k != s.n {
		c.next(g, uint8(side), k)
	}
}

// next gives out the gathered chunk of a stream and goes on with an empty one, number k.
func (c *Collector) next(g *gathered, stream uint8, k int64) {
	s := &g.stream[stream]
	if len(s.buf) > 0 {
		c.unpark(g, stream)
		c.sum(s, stream)
		c.give(g, stream)
	}
	if stream == ntpac.StreamHistory || len(s.buf) == 0 {
		c.drop(&s.buf)
	} else {
		m := s.extra()
		c.drop(&m.prev)
		m.prev, m.prevN = s.buf, s.n
	}
	s.buf, s.summed, s.kept, s.passed = nil, 0, 0, true
	s.n = k
}

func (c *Collector) drop(b *[]byte) {
	c.held -= int64(cap(*b))
	c.bufs.Put(*b)
	*b = nil
}

func (c *Collector) hash() hash.Hash {
	if c.Hash != nil {
		return c.Hash()
	}
	return sha256.New()
}

// sum hashes what of the current chunk was not hashed yet.
func (c *Collector) sum(s *stream, stream uint8) {
	if stream == ntpac.StreamHistory {
		return
	}
	m := s.extra()
	if m.sum == nil {
		m.sum = c.hash()
	}
	m.sum.Write(s.buf[s.summed-s.kept:])
	s.summed = s.kept + int32(len(s.buf))
}

// give packs the current chunk and hands it out.
func (c *Collector) give(g *gathered, stream uint8) {
	s := &g.stream[stream]
	if c.Reference && stream != ntpac.StreamHistory {
		return
	}
	s.stored = true
	k := ntpac.Chunk{Key: ntpac.ChunkKey{ID: g.id, Stream: stream, N: s.n}, RawLen: len(s.buf)}
	k.Packed = row.Pack(c.bufs.Get(row.PackedMax(len(s.buf))), s.buf)
	if !g.known {
		g.pending = append(g.pending, k)
		return
	}
	if c.old.key == k.Key {
		c.old = oldChunk{}
	}
	if c.err == nil {
		c.out.Chunk(k)
	}
}
