package reassembly

import (
	"bytes"
	"math/bits"
	"slices"
	"sync"

	"ntpac"
	"ntpac/packet"
)

// Fragments rebuilds datagrams from IP fragments (RFC 791 section 3.2, RFC 8200 section 4.5). Of bytes
// that two fragments bring, those captured first count; nothing is made up: a datagram is whole only when
// every byte up to its end was brought by a fragment. Use by one goroutine, in merged order.
type Fragments struct {
	open   map[packet.RawKey]*partial
	order  []partialEntry // in the order of their first fragment, from head on; some are gone already
	head   int
	held   int
	recent [recentRebuilt]rebuilt
	slot   int
	free   []*partial // of datagrams that are gone
	blocks blockPool
	seen   []bool

	Seen        uint64 // fragments
	Rebuilt     uint64 // datagrams
	Incomplete  uint64 // datagrams given up
	Limited     uint64 // of them those that a limit of memory did not let wait longer
	Overlaps    uint64 // bytes that a later fragment brought again, with other content
	Repeated    uint64 // fragments of datagrams that were whole already
	Bad         uint64 // fragments left out: cut by the snap length, or against the rules
	Used        uint64 // fragments of the datagrams that were rebuilt
	Undecodable uint64 // those of them whose datagrams are none
	Abandoned   uint64 // and of those given up. With Repeated and Bad they are all
}

// partialEntry is a place in the order of arrival. What is recycled has another time.
type partialEntry struct {
	key   packet.RawKey
	q     *partial
	since ntpac.Time
}

// rebuilt is a datagram that was completed a moment ago.
type rebuilt struct {
	key packet.RawKey
	at  ntpac.Time
	mem []byte // its transport part
	blk *ntpac.Block
}

type partial struct {
	first  []byte       // network header of the first fragment, as captured
	header ntpac.Packet // and where its parts are
	data   []byte
	owner  []uint16 // per 8 bytes: 1 + the piece that brought them
	count  int      // 8-byte units there, of those below total
	total  int      // length of the whole, -1 while the last fragment is missing
	since  ntpac.Time
	cost   int // bytes charged to Fragments.held
	pieces []ntpac.Piece
}

const (
	// fragmentTime is how long fragments wait for the rest: the upper bound of RFC 1122 section 3.3.2.
	fragmentTime = 120 * ntpac.Second
	maxPartials  = 4096
	maxFragBytes = 32 << 20
	maxPieces    = 1<<16 - 2 // as owners have 16 bits

	// A fragment of a datagram that is whole already is looked for among so many, for so long: it was
	// captured twice.
	recentRebuilt = 16
	repeatTime    = 50 * ntpac.Second / 1000

	maxFree     = 256 // datagrams that are kept to be used again
	maxFreeData = 64 << 10

	unit = 8 // offsets count in units of 8 bytes
)

// NewFragments makes a Fragments.
func NewFragments() *Fragments { return &Fragments{open: map[packet.RawKey]*partial{}} }

// Add takes a fragment. When it completes a datagram, the datagram is appended to out as a packet of
// its own whose transport header is not decoded yet; it has the time of the fragment that came last.
func (g *Fragments) Add(b *ntpac.Batch, p *ntpac.Packet, out *ntpac.Batch) (complete bool) {
	g.Seen++
	now := p.Effective()
	g.expire(now)
	frame := b.Frame(p)
	_, off, more := packet.FragmentInfo(frame, p)
	data := frame[p.Pay : uint32(p.Pay)+p.PayCap]
	if more {
		data = data[:len(data)&^(unit-1)] // only the last one may have another length
	}
	if off+len(data) > 0xffff || p.PayCap < p.PayLen || len(data) == 0 && (more || off == 0) {
		g.Bad++
		return false
	}
	var k packet.RawKey
	packet.Raw(frame, p, false, &k)
	q := g.open[k]
	if q == nil {
		if g.wasRebuilt(&k, now, off, data) {
			g.Repeated++
			return false
		}
		q = g.begin(now)
		g.open[k] = q
		g.order = append(g.order, partialEntry{k, q, now})
	}
	if !q.bounds(off, &data, more) || len(q.pieces) >= maxPieces {
		g.Bad++
		return false
	}
	if off == 0 && len(q.first) == 0 {
		q.keepHeader(frame, p)
	}
	blk := b.Blocks[p.Blk]
	q.pieces = append(q.pieces, ntpac.Piece{TS: p.TS, Off: p.Off, Ord: p.Ord, Source: blk.Source, Index: blk.Index, Cap: p.Cap, Wire: p.Wire,
		Pos: uint32(p.Pay), At: uint32(off), Len: uint32(len(data))})
	g.Overlaps += q.fill(off, data)
	g.charge(q)
	if q.total < 0 || q.count < (q.total+unit-1)/unit {
		return false
	}
	g.emit(k, q, p, now, out)
	g.end(k, q)
	return true
}

// begin gives an empty datagram.
func (g *Fragments) begin(now ntpac.Time) *partial {
	n := len(g.free)
	if n == 0 {
		return &partial{total: -1, since: now}
	}
	q := g.free[n-1]
	g.free = g.free[:n-1]
	*q = partial{first: q.first[:0], data: q.data[:0], owner: q.owner[:0], pieces: q.pieces[:0], total: -1, since: now}
	return q
}

// end forgets a datagram. A few are kept to be used again, if they are not big.
func (g *Fragments) end(k packet.RawKey, q *partial) {
	delete(g.open, k)
	g.held -= q.cost
	if len(g.free) < maxFree && cap(q.data) <= maxFreeData {
		g.free = append(g.free, q)
	}
}

// waits reports whether the datagram of an entry is still incomplete.
func (g *Fragments) waits(w *partialEntry) bool { return g.open[w.key] == w.q && w.q.since == w.since }

// bounds checks a fragment against the datagram's end, which the first fragment without a successor
// tells. What lies behind the end is cut off; false: nothing is left of it.
func (q *partial) bounds(off int, data *[]byte, more bool) bool {
	end := off + len(*data)
	if !more && q.total < 0 {
		q.total = end
		q.data = q.data[:min(len(q.data), end)]
		q.owner = q.owner[:min(len(q.owner), (end+unit-1)/unit)]
		q.count = 0
		for _, o := range q.owner {
			if o != 0 {
				q.count++
			}
		}
		return true
	}
	switch {
	case q.total < 0 || end == q.total:
		return true
	case end > q.total:
		*data = (*data)[:max(q.total-off, 0)]
	default: // it says that it is the last one, and is not
		*data = (*data)[:len(*data)&^(unit-1)]
	}
	return len(*data) > 0
}

// keepHeader keeps the network header of the first fragment: that of the datagram is made from it.
func (q *partial) keepHeader(frame []byte, p *ntpac.Packet) {
	q.first = append(q.first[:0], frame[p.L3:p.L4]...)
	q.header = *p
	q.header.L3, q.header.L4 = 0, p.L4-p.L3
}

// fill takes the units of a fragment that none before it has brought; it counts the bytes that differ
// from what is there. The fragment is the last piece.
func (q *partial) fill(off int, data []byte) (overlaps uint64) {
	if need := off + len(data); need > len(q.data) {
		n, units := len(q.owner), (need+unit-1)/unit
		q.data = slices.Grow(q.data, need-len(q.data))[:need] // what no fragment brings is never looked at
		q.owner = slices.Grow(q.owner, units-n)[:units]
		clear(q.owner[n:])
	}
	for i := 0; i < len(data); i += unit {
		n := min(unit, len(data)-i)
		u := (off + i) / unit
		if q.owner[u] == 0 {
			q.owner[u] = uint16(len(q.pieces))
			q.count++
			copy(q.data[off+i:], data[i:i+n])
			continue
		}
		for j := range n {
			if q.data[off+i+j] != data[i+j] {
				overlaps++
			}
		}
	}
	return overlaps
}

// charge keeps count of the memory that a partial datagram takes.
func (g *Fragments) charge(q *partial) {
	const pieceCost = 56
	cost := cap(q.data) + 2*cap(q.owner) + pieceCost*cap(q.pieces) + len(q.first) + 256
	g.held += cost - q.cost
	q.cost = cost
}

// emit appends the whole datagram to out, in a block of its own.
func (g *Fragments) emit(k packet.RawKey, q *partial, last *ntpac.Packet, now ntpac.Time, out *ntpac.Batch) {
	g.Rebuilt++
	g.Used += uint64(len(q.pieces))
	blk := g.blocks.get(len(q.first) + q.total)
	mem := packet.AppendHeader(blk.Mem[:0], q.first, &q.header, q.total)
	head := len(mem)
	mem = append(mem, q.data[:q.total]...)
	blk.Mem = mem
	g.remember(rebuilt{k, now, mem[head:], blk})
	from := &q.pieces[len(q.pieces)-1]
	blk.Source, blk.Index = from.Source, from.Index
	p := *last
	p.Pos, p.Cap, p.Wire, p.L3, p.L4 = 0, uint32(len(mem)), uint32(len(mem)), 0, uint16(head)
	p.Flags = p.Flags&ntpac.IPv6 | ntpac.Defragmented
	p.Blk = uint16(len(out.Blocks))
	out.Blocks = append(out.Blocks, blk)
	var d *ntpac.Datagram
	d, p.Frag = out.AddDatagram()
	g.provenance(q, uint32(head), d)
	out.Packets = append(out.Packets, p)
}

// provenance says which fragment brought which bytes of the rebuilt datagram, in their order; behind
// them those that brought nothing.
func (g *Fragments) provenance(q *partial, head uint32, d *ntpac.Datagram) {
	g.seen = slices.Grow(g.seen[:0], len(q.pieces))[:len(q.pieces)]
	seen := g.seen
	clear(seen)
	for u := 0; u < len(q.owner); {
		o := q.owner[u] - 1
		at := uint32(u * unit)
		for u < len(q.owner) && q.owner[u]-1 == o {
			u++
		}
		p := q.pieces[o]
		p.Pos += at - p.At
		p.At, p.Len, p.Again = at+head, min(uint32(u*unit), uint32(q.total))-at, seen[o]
		seen[o] = true
		d.Pieces = append(d.Pieces, p)
	}
	for i, p := range q.pieces {
		if !seen[i] {
			p.At, p.Len = p.At+head, 0
			d.Pieces = append(d.Pieces, p)
		}
	}
}

// remember keeps a rebuilt datagram, and its block, in place of the oldest one.
func (g *Fragments) remember(r rebuilt) {
	old := &g.recent[g.slot]
	if old.blk != nil {
		old.blk.Release()
	}
	r.blk.Retain(1)
	*old = r
	g.slot = (g.slot + 1) % recentRebuilt
}

// wasRebuilt recognises a fragment that was captured again when its datagram was whole already.
func (g *Fragments) wasRebuilt(k *packet.RawKey, now ntpac.Time, off int, data []byte) bool {
	for i := range g.recent {
		if q := &g.recent[i]; q.key == *k && now-q.at <= repeatTime && off+len(data) <= len(q.mem) {
			return bytes.Equal(q.mem[off:off+len(data)], data)
		}
	}
	return false
}

// expire gives up datagrams that have waited too long, and the oldest ones when too many wait.
func (g *Fragments) expire(now ntpac.Time) {
	for ; g.head < len(g.order); g.head++ {
		w := &g.order[g.head]
		if g.waits(w) {
			if now-w.since < fragmentTime {
				if len(g.open) < maxPartials && g.held < maxFragBytes {
					break
				}
				g.Limited++
			}
			g.giveUp(w.q)
			g.end(w.key, w.q)
		}
		w.q = nil
	}
	if len(g.order)-g.head > 2*maxPartials || g.head > 0 && 2*g.head >= len(g.order) {
		g.tidy()
	}
}

// tidy takes what is gone out of the order of arrival, also where one old datagram has kept it there.
func (g *Fragments) tidy() {
	kept := g.order[:0]
	for i := g.head; i < len(g.order); i++ {
		if w := &g.order[i]; g.waits(w) {
			kept = append(kept, *w)
		}
	}
	clear(g.order[len(kept):])
	g.order, g.head = kept, 0
}

func (g *Fragments) giveUp(q *partial) {
	g.Incomplete++
	g.Abandoned += uint64(len(q.pieces))
}

// Flush gives up what is still incomplete.
func (g *Fragments) Flush() {
	for _, q := range g.open {
		g.giveUp(q)
	}
	clear(g.open)
	g.order, g.head, g.held = nil, 0, 0
	for i := range g.recent {
		if r := &g.recent[i]; r.blk != nil {
			r.blk.Release()
			*r = rebuilt{}
		}
	}
}

// blockPool recycles the blocks of rebuilt datagrams, which come back from whoever used them last. Their
// sizes are powers of two, from blockSize on.
type blockPool struct {
	mu   sync.Mutex
	free [8][]*ntpac.Block
}

const blockSize = 1 << 10

// get gives a block with one holder and room for n bytes, of which there are fewer than 128 Ki.
func (p *blockPool) get(n int) *ntpac.Block {
	c := bits.Len(uint(max(n-1, 0) / blockSize))
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.free[c]; len(l) > 0 {
		k := l[len(l)-1]
		p.free[c] = l[:len(l)-1]
		k.Reset()
		return k
	}
	return ntpac.NewBlock(make([]byte, 0, blockSize<<c), p.put)
}

func (p *blockPool) put(k *ntpac.Block) {
	c := bits.Len(uint(cap(k.Mem)-1) / blockSize)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free[c]) < maxFree {
		p.free[c] = append(p.free[c], k)
	}
}
