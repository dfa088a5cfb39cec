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
	// Chunk reads a chunk that has n bytes in its latest version.
	Chunk(k ntpac.ChunkKey, n int) ([]byte, error)
}

// Collector turns the sealed ranges that a reassembler emits into chunks and rows: it gathers each
// stream into 256 KiB chunks, hashes and packs them, and encodes histories. It has the methods of a
// reassembler's sink. Use by one goroutine.
type Collector struct {
	Sources   []ntpac.SourceID // of the merge group, by index
	Reference bool             // payload is kept by reference: no chunks of the two sides
	Hash      func() hash.Hash // of the streams; nil is SHA-256. Another one is for measuring
	Budget    int64            // bytes of gathered payload; beyond it, quiet conversations are parked

	out    Out
	load   Loader
	bufs   *Buffers
	slabs  [][]gathered
	free   []uint32
	n      uint32
	limit  int64 // park again when this much is held
	held   int64 // bytes in buffers
	hand   uint32
	Parked uint64 // partial chunks that were written early to keep within the budget
}

// gathered is one open conversation.
type gathered struct {
	id      ntpac.ConversationID
	known   bool // id is set
	used    bool
	touched bool // since the parking hand last passed
	stream  [3]stream
	hs      ntpac.HistoryState
	srcs    []uint16 // group indexes of its sources
	blind   bool     // bytes that were asked for were not known any more
	pending []ntpac.Chunk
}

// stream gathers one stream's current chunk.
type stream struct {
	buf       []byte // captured bytes of chunk n
	prev      []byte // and of the chunk before, while it may be asked for
	n         int64  // which chunk
	hole      int64  // missing positions in it
	prevN     int64  // which chunk prev is
	end       int64  // stream position behind what was given
	sum       hash.Hash
	summed    int // bytes of buf that sum has
	gaps      []ntpac.Gap
	conflicts []ntpac.Conflict
	chunked   bool // a chunk was given out: no longer inline
	parked    bool // buf is in the store,
	inStore   int  // with so many bytes
}

// NewCollector makes a Collector.
func NewCollector(out Out, load Loader, bufs *Buffers) *Collector {
	return &Collector{out: out, load: load, bufs: bufs, Budget: 128 << 20}
}

const gatheredSlab = 256

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
	g := c.at(h)
	g.used, g.touched = true, true
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
		c.out.Chunk(k)
	}
	g.pending = nil
}

// Event adds a packet to the history.
func (c *Collector) Event(h uint32, e *ntpac.Event) {
	g := c.at(h)
	v := *e
	v.Source = g.source(e.Source)
	s := &g.stream[ntpac.StreamHistory]
	if s.parked {
		c.unpark(g, ntpac.StreamHistory)
	}
	c.room(s, ntpac.MaxEvent)
	was := len(s.buf)
	s.buf = g.hs.Append(s.buf, &v)
	s.end += int64(len(s.buf) - was)
	if len(s.buf) >= ntpac.ChunkSize {
		rest := c.bufs.Get(len(s.buf) - ntpac.ChunkSize + 256)
		rest = append(rest, s.buf[ntpac.ChunkSize:]...)
		c.held += int64(cap(rest))
		s.buf = s.buf[:ntpac.ChunkSize]
		c.full(g, ntpac.StreamHistory)
		s.buf = rest
	}
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

// room makes place for n more bytes in the buffer of a stream.
func (c *Collector) room(s *stream, n int) {
	if cap(s.buf)-len(s.buf) >= n {
		return
	}
	n += len(s.buf)
	if s.chunked { // a stream that has filled one chunk will mostly fill the next one too
		n = max(n, min(ntpac.ChunkSize, 4*n))
	}
	b := c.bufs.Get(n)
	b = append(b, s.buf...)
	c.held += int64(cap(b)) - int64(cap(s.buf))
	c.bufs.Put(s.buf)
	s.buf = b
}

// Data gathers the next bytes of a side.
func (c *Collector) Data(h uint32, side ntpac.Side, off int64, b []byte) {
	if c.held > max(c.limit, c.Budget) {
		c.park()
	}
	g := c.at(h)
	g.touched = true
	s := &g.stream[side]
	for len(b) > 0 {
		if k := off / ntpac.ChunkSize; k != s.n {
			c.full(g, uint8(side))
			s.n, s.hole = k, off-k*ntpac.ChunkSize // only what a gap jumped over
		}
		n := min(int64(len(b)), (s.n+1)*ntpac.ChunkSize-off)
		if s.parked && c.Reference {
			s.sum.Write(b[:n]) // the rest of the chunk stays in the source
		} else {
			if s.parked {
				c.unpark(g, uint8(side))
			}
			c.room(s, int(n))
			s.buf = append(s.buf, b[:n]...)
			if s.prev != nil && len(s.buf) > lookBack {
				c.drop(&s.prev)
			}
		}
		off, b = off+n, b[n:]
		s.end = off
	}
}

// lookBack is how far behind the end of a stream its bytes stay at hand, to compare retransmissions
// with: a common receive window. What lies farther back is read from the store when it is asked for.
const lookBack = 64 << 10

// Gap notes a missing range; ranges that touch and have one cause become one.
func (c *Collector) Gap(h uint32, side ntpac.Side, gap ntpac.Gap) {
	g := c.at(h)
	s := &g.stream[side]
	if k := len(s.gaps) - 1; k >= 0 && s.gaps[k].Off+s.gaps[k].Len == gap.Off && s.gaps[k].Cause == gap.Cause {
		s.gaps[k].Len += gap.Len
	} else {
		s.gaps = append(s.gaps, gap)
	}
	end := gap.Off + gap.Len
	if k := end / ntpac.ChunkSize; k != s.n {
		c.full(g, uint8(side))
		s.n, s.hole = k, end-max(gap.Off, k*ntpac.ChunkSize)
	} else {
		s.hole += gap.Len
	}
	s.end = end
}

// full gives out the gathered chunk of a stream and starts an empty one after it.
func (c *Collector) full(g *gathered, stream uint8) {
	s := &g.stream[stream]
	if s.parked {
		s.buf, s.parked = nil, false
	} else if len(s.buf) > 0 {
		c.sum(s, stream)
		c.give(g, stream)
	}
	c.drop(&s.prev)
	s.prev, s.prevN = s.buf, s.n
	if stream == ntpac.StreamHistory {
		c.drop(&s.prev)
	}
	s.buf, s.hole, s.summed = nil, 0, 0
	s.n++
	s.chunked = true
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
	if s.sum == nil {
		s.sum = c.hash()
	}
	s.sum.Write(s.buf[s.summed:])
	s.summed = len(s.buf)
}

// give packs the current chunk and hands it out.
func (c *Collector) give(g *gathered, stream uint8) {
	if c.Reference && stream != ntpac.StreamHistory {
		return
	}
	s := &g.stream[stream]
	k := ntpac.Chunk{Key: ntpac.ChunkKey{ID: g.id, Stream: stream, N: s.n}, RawLen: len(s.buf)}
	k.Packed = row.Pack(c.bufs.Get(row.PackedMax(len(s.buf))), s.buf)
	if !g.known {
		g.pending = append(g.pending, k)
		return
	}
	c.out.Chunk(k)
}

// Given gives back bytes given before, from off on.
func (c *Collector) Given(h uint32, side ntpac.Side, off int64) (b []byte, hole int64) {
	g := c.at(h)
	s := &g.stream[side]
	if off >= s.end {
		return nil, 0
	}
	half := ntpac.Half{End: s.end, Gaps: s.gaps}
	for i := len(s.gaps) - 1; i >= 0 && s.gaps[i].Off+s.gaps[i].Len > off; i-- {
		if s.gaps[i].Off <= off {
			return nil, s.gaps[i].Off + s.gaps[i].Len - off
		}
	}
	k := off / ntpac.ChunkSize
	lo := k * ntpac.ChunkSize
	at := off - lo - half.MissingIn(lo, off-lo)
	var chunk []byte
	switch {
	case k == s.n && !s.parked:
		chunk = s.buf
	case k == s.prevN && s.prev != nil:
		chunk = s.prev
	case g.known && !c.Reference:
		n := ntpac.ChunkSize - half.MissingIn(lo, min(ntpac.ChunkSize, s.end-lo))
		if k == s.n {
			n = int64(s.inStore)
		}
		chunk, _ = c.load.Chunk(ntpac.ChunkKey{ID: g.id, Stream: uint8(side), N: k}, int(n))
	}
	if at >= int64(len(chunk)) {
		g.blind = true
		return nil, 0
	}
	b = chunk[at:]
	for i := range s.gaps { // a run ends at the next hole
		if d := s.gaps[i].Off - off; d > 0 {
			return b[:min(int64(len(b)), d)], 0
		}
	}
	return b, 0
}

// maxConflicts bounds the alternatives that one side keeps.
const maxConflicts = 4096

// Conflict keeps an alternative.
func (c *Collector) Conflict(h uint32, side ntpac.Side, k ntpac.Conflict) {
	g := c.at(h)
	s := &g.stream[side]
	if len(s.conflicts) < maxConflicts {
		k.Alt = append([]byte(nil), k.Alt...)
		k.From = g.source(k.From)
		s.conflicts = append(s.conflicts, k)
	}
}

// Close completes a copy of the conversation's record and hands everything out.
func (c *Collector) Close(h uint32, closed *ntpac.Conversation) {
	conv := new(ntpac.Conversation)
	*conv = *closed
	g := c.at(h)
	c.Identify(h, conv.ID)
	for _, i := range g.srcs {
		conv.Sources = append(conv.Sources, c.Sources[i])
	}
	if c.Reference {
		conv.Flags |= ntpac.Referenced
	}
	hist := &g.stream[ntpac.StreamHistory]
	conv.HistLen = hist.end
	size := len(hist.buf)
	resident, inline := true, !hist.chunked && !hist.parked
	for i := range 2 {
		s, half := &g.stream[i], &conv.Half[i]
		half.Gaps, half.Conflicts = s.gaps, s.conflicts
		if len(s.conflicts) == maxConflicts || g.blind {
			conv.Flags |= ntpac.LimitHistory
		}
		half.SHA256 = c.finalSum(s)
		resident = resident && !s.chunked && !s.parked
		inline = inline && (!s.chunked && !s.parked || c.Reference)
		if !c.Reference {
			size += len(s.buf)
		}
	}
	if inline = inline && size <= ntpac.InlineSize; inline {
		conv.Inline = &ntpac.Inline{History: hist.buf}
		if !c.Reference {
			conv.Inline.Stream = [2][]byte{g.stream[0].buf, g.stream[1].buf}
		}
	} else {
		for i := range uint8(3) {
			if s := &g.stream[i]; len(s.buf) > 0 && !s.parked {
				c.give(g, i)
			}
		}
	}
	c.release(h, conv, resident && !hist.chunked && !hist.parked, inline)
}

func (c *Collector) finalSum(s *stream) (sum ntpac.Hash) {
	switch {
	case s.sum != nil:
		s.sum.Write(s.buf[s.summed:])
		s.sum.Sum(sum[:0])
	case len(s.buf) > 0 && c.Hash == nil: // most streams: no state to make
		sum = sha256.Sum256(s.buf)
	case len(s.buf) > 0:
		h := c.Hash()
		h.Write(s.buf)
		h.Sum(sum[:0])
	}
	return sum
}

// release forgets a conversation and gives its record out, with its buffers while they are whole.
func (c *Collector) release(h uint32, conv *ntpac.Conversation, resident, inline bool) {
	g := c.at(h)
	var mem *Resident
	if resident || inline {
		mem = &Resident{bufs: c.bufs}
		for i := range 3 {
			mem.stream[i] = g.stream[i].buf
			mem.half[min(i, 1)] = &conv.Half[min(i, 1)]
			c.held -= int64(cap(g.stream[i].buf))
			g.stream[i].buf = nil
		}
		mem.whole = resident
	}
	for i := range g.stream {
		c.drop(&g.stream[i].buf)
		c.drop(&g.stream[i].prev)
	}
	*g = gathered{}
	c.free = append(c.free, h)
	c.out.Conversation(conv, mem)
}

// parkMin is the least that is worth parking: smaller buffers stay, as they will go into the row.
const parkMin = 8 << 10

// park writes the partial chunks of conversations that have been quiet since the hand last passed.
func (c *Collector) park() {
	for steps := uint32(0); steps < 2*c.n && c.held > c.Budget*3/4; steps++ {
		c.hand = (c.hand + 1) % c.n
		g := c.at(c.hand)
		if !g.used || !g.known {
			continue
		}
		if g.touched {
			g.touched = false
			continue
		}
		for i := range uint8(2) {
			s := &g.stream[i]
			c.drop(&s.prev)
			if len(s.buf) < parkMin || s.parked {
				continue
			}
			c.sum(s, i)
			c.give(g, i)
			s.inStore = len(s.buf)
			c.drop(&s.buf)
			s.parked, s.summed = true, 0
			c.Parked++
		}
	}
	c.limit = c.held + c.Budget/8 // where little can be parked, looking again at once is in vain
}

// unpark loads the partial chunk of a stream again.
func (c *Collector) unpark(g *gathered, stream uint8) {
	s := &g.stream[stream]
	b, err := c.load.Chunk(ntpac.ChunkKey{ID: g.id, Stream: stream, N: s.n}, s.inStore)
	if err != nil {
		panic("store: a parked chunk cannot be read: " + err.Error())
	}
	s.buf = append(c.bufs.Get(len(b)), b...)
	c.held += int64(cap(s.buf))
	s.parked, s.summed = false, len(s.buf)
}

// Reopen goes on with a conversation that was closed.
func (c *Collector) Reopen(id ntpac.ConversationID) (uint32, bool) {
	conv, err := c.load.Conversation(id)
	if err != nil || c.Reference {
		return 0, false
	}
	h := c.Open()
	g := c.at(h)
	g.id, g.known = id, true
	for _, src := range conv.Sources {
		for i, s := range c.Sources {
			if s == src {
				g.srcs = append(g.srcs, uint16(i))
			}
		}
	}
	for i := range 2 {
		s, half := &g.stream[i], &conv.Half[i]
		s.gaps, s.conflicts, s.end = half.Gaps, half.Conflicts, half.End
	}
	g.stream[2].end = conv.HistLen
	p := &loaderPayload{c.load, conv}
	for e := range ntpac.Events(conv, p) {
		g.hs.Append(nil, e)
	}
	for i := range g.stream {
		c.refill(g, uint8(i), conv, p)
	}
	return h, true
}

// refill brings a stream to where it was: the last chunk in its buffer, everything before hashed.
func (c *Collector) refill(g *gathered, stream uint8, conv *ntpac.Conversation, p ntpac.Payload) {
	s := &g.stream[stream]
	if conv.Inline != nil {
		p = conv.InlinePayload()
	}
	s.n = s.end / ntpac.ChunkSize
	s.chunked = s.n > 0
	for k := int64(0); k <= s.n; k++ {
		b, err := p.Chunk(stream, k)
		if err != nil {
			continue
		}
		if k < s.n {
			if stream != ntpac.StreamHistory {
				if s.sum == nil {
					s.sum = c.hash()
				}
				s.sum.Write(b)
			}
			continue
		}
		s.buf = append(c.bufs.Get(len(b)), b...)
		c.held += int64(cap(s.buf))
	}
	if stream != ntpac.StreamHistory {
		lo := s.n * ntpac.ChunkSize
		half := conv.Half[stream]
		s.hole = half.MissingIn(lo, s.end-lo)
	}
}

type loaderPayload struct {
	load Loader
	conv *ntpac.Conversation
}

func (p *loaderPayload) Chunk(stream uint8, n int64) ([]byte, error) {
	return p.load.Chunk(ntpac.ChunkKey{ID: p.conv.ID, Stream: stream, N: n}, -1)
}
