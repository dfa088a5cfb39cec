package reassembly

import (
	"bytes"

	"ntpac"
	"ntpac/packet"
)

// Fragments rebuilds datagrams from IP fragments (RFC 791 section 3.2, RFC 8200 section 4.5). Of bytes
// that two fragments bring, those captured first count; nothing is made up: a datagram is whole only when
// every byte up to its end was brought by a fragment. Use by one goroutine, in merged order.
type Fragments struct {
	open   map[packet.RawKey]*partial
	order  []partialEntry // in the order of their first fragment; some are gone already
	held   int
	recent [recentDatagrams]rebuilt
	slot   int

	Seen       uint64 // fragments
	Rebuilt    uint64 // datagrams
	Incomplete uint64 // datagrams given up
	Limited    uint64 // of them those that a limit of memory did not let wait longer
	Overlaps   uint64 // bytes that a later fragment brought again, with other content
	Repeated   uint64 // fragments of datagrams that were whole already
	Bad        uint64 // fragments left out: cut by the snap length, or against the rules
	Used       uint64 // fragments of the datagrams that were rebuilt
	Abandoned  uint64 // and of those given up. With Repeated and Bad they are all
}

// partialEntry is a place in the order of arrival.
type partialEntry struct {
	key packet.RawKey
	q   *partial
}

// rebuilt is a datagram that was completed a moment ago.
type rebuilt struct {
	key packet.RawKey
	at  ntpac.Time
	mem []byte // its transport part
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
	recentDatagrams = 16
	repeatTime      = 50 * ntpac.Second / 1000

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
		q = &partial{total: -1, since: now}
		g.open[k] = q
		g.order = append(g.order, partialEntry{k, q})
	}
	if !q.bounds(off, &data, more) || len(q.pieces) >= maxPieces {
		g.Bad++
		return false
	}
	if off == 0 && q.first == nil {
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
	return true
}

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
	q.first = append([]byte(nil), frame[p.L3:p.L4]...)
	q.header = *p
	q.header.L3, q.header.L4 = 0, p.L4-p.L3
}

// fill takes the units of a fragment that none before it has brought; it counts the bytes that differ
// from what is there. The fragment is the last piece.
func (q *partial) fill(off int, data []byte) (overlaps uint64) {
	if need := off + len(data); need > len(q.data) {
		q.data = append(q.data, make([]byte, need-len(q.data))...)
		q.owner = append(q.owner, make([]uint16, (need+unit-1)/unit-len(q.owner))...)
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
	delete(g.open, k)
	g.held -= q.cost
	g.Rebuilt++
	g.Used += uint64(len(q.pieces))
	mem := packet.AppendHeader(make([]byte, 0, len(q.first)+q.total), q.first, &q.header, q.total)
	head := len(mem)
	mem = append(mem, q.data[:q.total]...)
	g.recent[g.slot] = rebuilt{k, now, mem[head:]}
	g.slot = (g.slot + 1) % recentDatagrams

	blk := ntpac.NewBlock(mem, nil)
	from := &q.pieces[len(q.pieces)-1]
	blk.Source, blk.Index = from.Source, from.Index
	p := *last
	p.Pos, p.Cap, p.Wire, p.L3, p.L4 = 0, uint32(len(mem)), uint32(len(mem)), 0, uint16(head)
	p.Flags = p.Flags&ntpac.IPv6 | ntpac.Defragmented
	p.Blk, p.Frag = uint16(len(out.Blocks)), uint32(len(out.Datagrams))
	out.Blocks = append(out.Blocks, blk)
	out.Datagrams = append(out.Datagrams, ntpac.Datagram{Pieces: q.provenance(uint32(head))})
	out.Packets = append(out.Packets, p)
}

// provenance says which fragment brought which bytes of the rebuilt datagram, in their order; behind
// them those that brought nothing.
func (q *partial) provenance(head uint32) (ps []ntpac.Piece) {
	seen := make([]bool, len(q.pieces))
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
		ps = append(ps, p)
	}
	for i, p := range q.pieces {
		if !seen[i] {
			p.At, p.Len = p.At+head, 0
			ps = append(ps, p)
		}
	}
	return ps
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
	for len(g.order) > 0 {
		w := &g.order[0]
		if g.open[w.key] == w.q {
			if now-w.q.since < fragmentTime {
				if len(g.open) < maxPartials && g.held < maxFragBytes {
					break
				}
				g.Limited++
			}
			delete(g.open, w.key)
			g.held -= w.q.cost
			g.giveUp(w.q)
		}
		w.q = nil
		g.order = g.order[1:]
	}
	if len(g.order) > 2*maxPartials { // one old datagram has kept many that are gone in the list
		kept := g.order[:0]
		for _, w := range g.order {
			if g.open[w.key] == w.q {
				kept = append(kept, w)
			}
		}
		clear(g.order[len(kept):])
		g.order = kept
	}
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
	g.order, g.held = nil, 0
}
