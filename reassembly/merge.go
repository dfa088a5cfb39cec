package reassembly

import (
	"encoding/binary"

	"ntpac"
)

// Merger puts the packets of a merge group into merged order (semantics.md, "Time and order"): by
// effective time, then by time, then by content. A source whose time never runs back costs no window: its
// packets go out as soon as every other source has come as far. As nobody knows beforehand that it never
// will, each source is read a few batches ahead. Use by one goroutine.
type Merger struct {
	MaxHeld int64  // bytes of batches that may wait; beyond it packets go out before they are final
	Late    uint64 // packets that came behind what had already gone out
	Forced  uint64 // packets that went out before they were final, for MaxHeld

	window  ntpac.Time
	sources []mergeSource
	active  []int // sources that have packets waiting
	batches []mergeBatch
	free    []uint32
	n       uint64
	held    int64
	out     ntpac.Time
}

// maxAhead is how many batches a source is read ahead, where there are not too many sources.
const maxAhead = 8

type mergeSource struct {
	run        []mergeItem // waiting, in order: from head on
	head       int
	back       []mergeItem // a heap of what came too far back to be put into run
	clock      Clock
	ahead      uint64
	marks      [maxAhead]ntpac.Time // the clock after each of the last batches
	added      uint64               // batches
	announced  bool
	from       ntpac.Time // with announced: nothing older than this comes, the window aside
	shift      ntpac.Time // what its clock is behind
	disordered bool
	done       bool
	blk        *ntpac.Block // the last block put out, and its index in the current output batch
	blkIndex   uint16
}

type mergeBatch struct {
	b     *ntpac.Batch
	left  int
	bytes int64
}

type mergeItem struct {
	at    ntpac.Time // effective time
	ts    ntpac.Time
	seq   uint64 // arrival, between packets that are equal in all else
	batch uint32
	index uint32
}

// NewMerger makes a Merger for n sources.
func NewMerger(n int, window ntpac.Time) *Merger {
	m := &Merger{MaxHeld: 256 << 20, window: window, sources: make([]mergeSource, n), out: -1 << 62}
	for i := range m.sources {
		m.sources[i].ahead = uint64(min(max(64/n, 1), maxAhead))
	}
	return m
}

// Add takes a prepared batch of one source; the Merger owns it from now on.
func (m *Merger) Add(src int, b *ntpac.Batch) {
	if len(b.Packets) == 0 {
		b.Free()
		return
	}
	k := m.slot()
	m.batches[k].b = b
	s := &m.sources[src]
	if !s.clock.begun && !s.announced {
		s.announced, s.from = true, b.Packets[0].TS+s.shift
	}
	var bytes int64
	for i := range b.Packets {
		p := &b.Packets[i]
		bytes += int64(p.Cap)
		ts := p.TS + s.shift
		if s.clock.See(ts) {
			s.disordered = true
		}
		if s.waiting() == 0 {
			m.active = append(m.active, src)
		}
		m.put(s, mergeItem{at: max(ts, s.clock.High-m.window), ts: ts, seq: m.n, batch: k, index: uint32(i)})
		m.n++
	}
	s.marks[s.added%s.ahead] = s.clock.High
	s.added++
	m.batches[k] = mergeBatch{b, len(b.Packets), bytes}
	m.held += bytes
}

// contentOrder gives the rank of a packet among those of equal time: a handshake before data before
// the end, then by sequence number, then by header and payload.
func contentOrder(frame []byte, p *ntpac.Packet) (order, sum uint64) {
	if p.Proto == ntpac.TCP && p.Flags&ntpac.Fragment == 0 && p.Pay-p.L4 >= 20 {
		h := frame[p.L4:p.Pay]
		var rank uint64
		switch fl := h[13]; {
		case fl&4 != 0:
			rank = 4
		case fl&1 != 0:
			rank = 3
		case fl&18 == 18:
			rank = 1
		case fl&2 == 0:
			rank = 2
		}
		order = rank<<32 | uint64(binary.BigEndian.Uint32(h[4:]))
	}
	return order, mixBytes(digest(frame, p), frame[p.Pay:uint32(p.Pay)+p.PayCap])
}

func (m *Merger) slot() uint32 {
	if n := len(m.free); n > 0 {
		k := m.free[n-1]
		m.free = m.free[:n-1]
		return k
	}
	m.batches = append(m.batches, mergeBatch{})
	return uint32(len(m.batches) - 1)
}

// Announce says when a source begins that has given nothing yet, so that the others need not wait for
// it before their time has come there.
func (m *Merger) Announce(src int, first ntpac.Time) {
	m.sources[src].announced, m.sources[src].from = true, first+m.sources[src].shift
}

// Shift says what is to be added to a source's times, as its clock is behind; before anything else of it.
// The packets keep their times: only their order is that of one clock.
func (m *Merger) Shift(src int, by ntpac.Time) { m.sources[src].shift = by }

// From says that packets up to a time went out before, without this Merger: what is older comes late.
func (m *Merger) From(t ntpac.Time) { m.out = t }

// Done says that a source has ended.
func (m *Merger) Done(src int) { m.sources[src].done = true }

// Jumps counts the isolated jumps of time, of all sources, that were not believed.
func (m *Merger) Jumps() (n uint64) {
	for i := range m.sources {
		n += m.sources[i].clock.Jumps
	}
	return n
}

// Waits says which source must give more before anything can go out; -1 for none.
func (m *Merger) Waits() int {
	w := -1
	for i := range m.sources {
		if s := &m.sources[i]; !s.done && (w < 0 || m.mark(s) < m.mark(&m.sources[w])) {
			w = i
		}
	}
	return w
}

// mark is the time below which nothing more comes from a source.
func (m *Merger) mark(s *mergeSource) ntpac.Time {
	switch {
	case s.disordered:
		return s.clock.High - m.window
	case s.added >= s.ahead:
		return s.marks[s.added%s.ahead] // of the batch that is the last but ahead
	case s.announced:
		return s.from - m.window
	}
	return -1 << 62
}

// Next moves packets that are final into out, up to its capacity, and reports whether more could follow
// without another Add.
func (m *Merger) Next(out *ntpac.Batch) bool {
	for i := range m.sources {
		m.sources[i].blk = nil
	}
	limit := ntpac.Time(1<<63 - 1)
	if w := m.Waits(); w >= 0 {
		limit = m.mark(&m.sources[w])
	}
	for len(m.active) > 0 {
		a := m.first()
		s := &m.sources[m.active[a]]
		it, late := m.peek(s)
		if it.at >= limit && m.held <= m.MaxHeld {
			break
		}
		if len(out.Packets) == cap(out.Packets) || len(out.Blocks) > 1<<15 {
			return true
		}
		if it.at >= limit {
			m.Forced++
		}
		m.emit(s, it, out)
		if s.take(late, m); s.waiting() == 0 {
			m.active = append(m.active[:a], m.active[a+1:]...)
		}
	}
	return false
}

func (m *Merger) emit(s *mergeSource, it *mergeItem, out *ntpac.Batch) {
	mb := &m.batches[it.batch]
	p := mb.b.Packets[it.index]
	blk := mb.b.Blocks[p.Blk]
	if s.blk != blk {
		s.blk, s.blkIndex = blk, uint16(len(out.Blocks))
		blk.Retain(1)
		out.Blocks = append(out.Blocks, blk)
	}
	p.Blk = s.blkIndex
	if it.at < m.out {
		m.Late++
	}
	m.out = max(m.out, it.at)
	p.Lag = lag(m.out - p.TS)
	out.Packets = append(out.Packets, p)
	out.Watermark = m.out
	if mb.left--; mb.left == 0 {
		m.held -= mb.bytes
		mb.b.Free()
		mb.b = nil
		m.free = append(m.free, it.batch)
	}
}

// lag gives a difference in the unit of Packet.Lag, rounded up.
func lag(d ntpac.Time) uint32 {
	const ms = ntpac.Second / 1000
	return uint32(min(max(d+ms-1, 0)/ms, 1<<32-1))
}

// before orders two packets. Their content is looked at only where their times are equal.
func (m *Merger) before(a, b *mergeItem) bool {
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.ts != b.ts:
		return a.ts < b.ts
	}
	ao, as := m.content(a)
	bo, bs := m.content(b)
	switch {
	case ao != bo:
		return ao < bo
	case as != bs:
		return as < bs
	}
	return a.seq < b.seq
}

func (m *Merger) content(it *mergeItem) (order, sum uint64) {
	b := m.batches[it.batch].b
	p := &b.Packets[it.index]
	return contentOrder(b.Frame(p), p)
}

// first is the index in active of the source whose next packet comes first.
func (m *Merger) first() (a int) {
	if len(m.active) == 1 {
		return 0
	}
	best, _ := m.peek(&m.sources[m.active[0]])
	for i := 1; i < len(m.active); i++ {
		if it, _ := m.peek(&m.sources[m.active[i]]); m.before(it, best) {
			a, best = i, it
		}
	}
	return a
}

func (s *mergeSource) waiting() int { return len(s.run) - s.head + len(s.back) }

// peek gives the first packet that waits of a source, and whether it lies in the heap.
func (m *Merger) peek(s *mergeSource) (it *mergeItem, back bool) {
	switch {
	case len(s.back) == 0:
		return &s.run[s.head], false
	case s.head == len(s.run) || m.before(&s.back[0], &s.run[s.head]):
		return &s.back[0], true
	}
	return &s.run[s.head], false
}

// take removes what peek gave.
func (s *mergeSource) take(back bool, m *Merger) {
	if back {
		m.pop(&s.back)
		return
	}
	if s.head++; s.head == len(s.run) {
		s.run, s.head = s.run[:0], 0
	} else if s.head >= 4096 && s.head*2 >= len(s.run) {
		s.run = append(s.run[:0], s.run[s.head:]...)
		s.head = 0
	}
}

// maxShift is how many places a packet is moved forward in its run: disorder is mostly small. What has
// to go farther waits in a heap, so that no capture can make the moving expensive.
const maxShift = 32

// put adds a packet to what waits of its source.
func (m *Merger) put(s *mergeSource, it mergeItem) {
	i := len(s.run)
	for low := max(s.head, i-maxShift); i > low && m.before(&it, &s.run[i-1]); {
		i--
	}
	if i > s.head && i == len(s.run)-maxShift && m.before(&it, &s.run[i-1]) {
		m.push(&s.back, it)
		return
	}
	s.run = append(s.run, it)
	copy(s.run[i+1:], s.run[i:])
	s.run[i] = it
}

func (m *Merger) push(heap *[]mergeItem, it mergeItem) {
	h := append(*heap, it)
	*heap = h
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !m.before(&h[i], &h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (m *Merger) pop(heap *[]mergeItem) {
	h := *heap
	n := len(h) - 1
	h[0] = h[n]
	h = h[:n]
	*heap = h
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return
		}
		if c+1 < n && m.before(&h[c+1], &h[c]) {
			c++
		}
		if !m.before(&h[c], &h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}
