package reassembly

import (
	"encoding/binary"

	"ntpac"
)

// Clock follows the time of one source. An isolated jump of more than a minute ahead does not move it:
// a single packet with a broken timestamp must not end every conversation.
type Clock struct {
	High  ntpac.Time // the highest believable timestamp
	Jumps uint64     // isolated jumps that were not believed
	jump  ntpac.Time
	begun bool
}

// maxJump is how far ahead one packet alone may move a clock.
const maxJump = 60 * ntpac.Second

// See takes a packet's time and reports whether it lies below what was seen before.
func (c *Clock) See(ts ntpac.Time) (back bool) {
	switch {
	case !c.begun:
		c.begun, c.High = true, ts
	case ts > c.High+maxJump:
		if c.jump != 0 && ts >= c.jump-maxJump {
			c.High, c.jump = ts, 0
		} else {
			c.jump = ts
		}
	default:
		if c.jump != 0 {
			c.Jumps++
			c.jump = 0
		}
		if ts < c.High {
			return true
		}
		c.High = ts
	}
	return false
}

// Merger puts the packets of a merge group into merged order (semantics.md, "Time and order"): by
// effective time, then by content. A source whose time never runs back costs no window: its packets go
// out as soon as every other source has come as far. Use by one goroutine.
type Merger struct {
	window  ntpac.Time
	sources []mergeSource
	heap    []mergeItem
	batches []mergeBatch
	free    []uint32
	n       uint64
	Late    uint64 // packets that came behind what had already gone out
	out     ntpac.Time
}

type mergeSource struct {
	clock      Clock
	announced  bool
	from       ntpac.Time // with announced: nothing older than this comes, the window aside
	disordered bool
	done       bool
	blk        *ntpac.Block // the last block put out, and its index in the current output batch
	blkIndex   uint16
}

type mergeBatch struct {
	b    *ntpac.Batch
	left int
}

type mergeItem struct {
	at    ntpac.Time // effective time
	order uint64     // flags and sequence number
	sum   uint32     // of the payload's first bytes
	seq   uint64     // arrival, between packets that are equal in all else
	batch uint32
	index uint32
	src   uint16
}

// NewMerger makes a Merger for n sources.
func NewMerger(n int, window ntpac.Time) *Merger {
	return &Merger{window: window, sources: make([]mergeSource, n)}
}

// Add takes a prepared batch of one source; the Merger owns it from now on.
func (m *Merger) Add(src int, b *ntpac.Batch) {
	if len(b.Packets) == 0 {
		b.Free()
		return
	}
	k := m.slot()
	m.batches[k] = mergeBatch{b, len(b.Packets)}
	s := &m.sources[src]
	for i := range b.Packets {
		p := &b.Packets[i]
		if s.clock.See(p.TS) {
			s.disordered = true
		}
		it := mergeItem{at: max(p.TS, s.clock.High-m.window), seq: m.n, batch: k, index: uint32(i), src: uint16(src)}
		it.order, it.sum = contentOrder(b.Frame(p), p)
		m.n++
		m.push(it)
	}
}

// contentOrder gives the rank of a packet among those of equal time: a handshake before data before
// the end, then by sequence number, then by payload.
func contentOrder(frame []byte, p *ntpac.Packet) (order uint64, sum uint32) {
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
	sum = p.PayCap
	for _, c := range frame[p.Pay : uint32(p.Pay)+min(p.PayCap, 64)] {
		sum = (sum ^ uint32(c)) * 16777619
	}
	return order, sum
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
	m.sources[src].announced, m.sources[src].from = true, first
}

// Done says that a source has ended.
func (m *Merger) Done(src int) { m.sources[src].done = true }

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
	if !s.clock.begun {
		if s.announced {
			return s.from - m.window
		}
		return -1 << 62
	}
	if s.disordered {
		return s.clock.High - m.window
	}
	return s.clock.High
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
	for len(m.heap) > 0 && m.heap[0].at < limit {
		if len(out.Packets) == cap(out.Packets) || len(out.Blocks) > 1<<15 {
			return true
		}
		m.emit(m.pop(), out)
	}
	return false
}

func (m *Merger) emit(it mergeItem, out *ntpac.Batch) {
	mb := &m.batches[it.batch]
	p := mb.b.Packets[it.index]
	blk := mb.b.Blocks[p.Blk]
	s := &m.sources[it.src]
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
	out.Packets = append(out.Packets, p)
	out.Watermark = m.out
	if mb.left--; mb.left == 0 {
		mb.b.Free()
		mb.b = nil
		m.free = append(m.free, it.batch)
	}
}

func (a *mergeItem) before(b *mergeItem) bool {
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.order != b.order:
		return a.order < b.order
	case a.sum != b.sum:
		return a.sum < b.sum
	}
	return a.seq < b.seq
}

func (m *Merger) push(it mergeItem) {
	m.heap = append(m.heap, it)
	i := len(m.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !m.heap[i].before(&m.heap[up]) {
			break
		}
		m.heap[i], m.heap[up] = m.heap[up], m.heap[i]
		i = up
	}
}

func (m *Merger) pop() mergeItem {
	top := m.heap[0]
	n := len(m.heap) - 1
	m.heap[0] = m.heap[n]
	m.heap = m.heap[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && m.heap[c+1].before(&m.heap[c]) {
			c++
		}
		if !m.heap[c].before(&m.heap[i]) {
			break
		}
		m.heap[i], m.heap[c] = m.heap[c], m.heap[i]
		i = c
	}
	return top
}
