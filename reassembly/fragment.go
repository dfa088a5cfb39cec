package reassembly

import (
	"encoding/binary"

	"ntpac"
	"ntpac/packet"
)

// Fragments rebuilds datagrams from IP fragments (RFC 791 section 3.2, RFC 8200 section 4.5). Of bytes
// that two fragments bring, the first captured ones count. Use by one goroutine, in merged order.
type Fragments struct {
	open  map[fragKey]*partial
	order []fragKey // in the order of their first fragment
	held  int

	Seen       uint64 // fragments
	Rebuilt    uint64 // datagrams
	Incomplete uint64 // datagrams given up
	Overlaps   uint64 // bytes that a later fragment brought again, with other content
}

type fragKey struct {
	src, dst [16]byte
	id       uint32
	proto    uint8
	v6       bool
}

type partial struct {
	head   []byte // network header of the rebuilt datagram
	data   []byte
	have   []bool // per 8 bytes
	count  int    // 8-byte units there
	total  int    // length of data, -1 while the last fragment is missing
	first  ntpac.Time
	last   ntpac.Packet // the packet that came last: its time is the datagram's
	pieces []ntpac.Piece
}

const (
	// fragmentTime is how long fragments wait for the rest: the upper bound of RFC 1122 section 3.3.2.
	fragmentTime = 120 * ntpac.Second
	maxPartials  = 4096
	maxFragBytes = 32 << 20
)

// NewFragments makes a Fragments.
func NewFragments() *Fragments { return &Fragments{open: map[fragKey]*partial{}} }

// Add takes a fragment. When it completes a datagram, the datagram is appended to out as a packet of
// its own whose transport header is not decoded yet.
func (g *Fragments) Add(b *ntpac.Batch, p *ntpac.Packet, out *ntpac.Batch) (complete bool) {
	g.Seen++
	frame := b.Frame(p)
	id, off, more := packet.FragmentInfo(frame, p)
	data := frame[p.Pay : uint32(p.Pay)+p.PayCap]
	if off+len(data) > 0xffff || p.PayCap < p.PayLen {
		g.Incomplete++
		return false
	}
	g.expire(p.TS)
	k := makeKey(frame, p, id)
	q := g.open[k]
	if q == nil {
		q = &partial{total: -1, first: p.TS}
		g.open[k] = q
		g.order = append(g.order, k)
	}
	if off == 0 && q.head == nil {
		q.head = packet.AppendHeader(nil, frame, p, 0)
	}
	if !more {
		q.total = off + len(data)
	}
	g.fill(q, off, data)
	blk := b.Blocks[p.Blk]
	q.pieces = append(q.pieces, ntpac.Piece{TS: p.TS, Off: p.Off, Ord: p.Ord, Source: blk.Source, Index: blk.Index, Cap: p.Cap, Wire: p.Wire,
		Pos: uint32(p.Pay), At: uint32(off), Len: uint32(len(data))})
	q.last = *p
	if q.total < 0 || q.count*8 < q.total {
		return false
	}
	g.emit(k, q, out)
	return true
}

func makeKey(frame []byte, p *ntpac.Packet, id uint32) (k fragKey) {
	h := frame[p.L3:]
	k.id = id
	if k.v6 = p.Flags&ntpac.IPv6 != 0; k.v6 {
		copy(k.src[:], h[8:24])
		copy(k.dst[:], h[24:40])
		return k
	}
	k.proto = h[9]
	copy(k.src[:], h[12:16])
	copy(k.dst[:], h[16:20])
	return k
}

func (g *Fragments) fill(q *partial, off int, data []byte) {
	if need := off + len(data); need > len(q.data) {
		g.held += need - len(q.data)
		q.data = append(q.data, make([]byte, need-len(q.data))...)
		q.have = append(q.have, make([]bool, (need+7)/8-len(q.have))...)
	}
	for i := 0; i < len(data); i += 8 {
		n := min(8, len(data)-i)
		u := (off + i) / 8
		if q.have[u] {
			for j := range n {
				if q.data[off+i+j] != data[i+j] {
					g.Overlaps++
				}
			}
			continue
		}
		q.have[u] = true
		q.count++
		copy(q.data[off+i:], data[i:i+n])
	}
}

// emit appends the whole datagram to out, in a block of its own.
func (g *Fragments) emit(k fragKey, q *partial, out *ntpac.Batch) {
	delete(g.open, k)
	g.held -= len(q.data)
	g.Rebuilt++
	mem := append(append(make([]byte, 0, len(q.head)+q.total), q.head...), q.data[:q.total]...)
	if n := len(mem); q.last.Flags&ntpac.IPv6 == 0 {
		binary.BigEndian.PutUint16(mem[2:], uint16(min(n, 0xffff)))
	} else {
		binary.BigEndian.PutUint16(mem[4:], uint16(min(n-40, 0xffff)))
	}
	blk := ntpac.NewBlock(mem, nil)
	blk.Source, blk.Index = q.pieces[0].Source, q.pieces[len(q.pieces)-1].Index
	p := q.last
	p.Pos, p.Cap, p.Wire, p.L3, p.L4 = 0, uint32(len(mem)), uint32(len(mem)), 0, uint16(len(q.head))
	p.Flags = p.Flags&ntpac.IPv6 | ntpac.Defragmented
	p.Blk, p.Frag = uint16(len(out.Blocks)), uint32(len(out.Datagrams))
	out.Blocks = append(out.Blocks, blk)
	pieces := distinct(q.pieces)
	for i := range pieces {
		pieces[i].At += uint32(len(q.head))
	}
	out.Datagrams = append(out.Datagrams, ntpac.Datagram{Pieces: pieces})
	out.Packets = append(out.Packets, p)
}

// distinct sorts pieces by offset and takes from each what an earlier captured one already brought.
func distinct(ps []ntpac.Piece) []ntpac.Piece {
	for i := 1; i < len(ps); i++ { // few, and mostly in order: insertion keeps equal ones in place
		for j := i; j > 0 && ps[j].At < ps[j-1].At; j-- {
			ps[j], ps[j-1] = ps[j-1], ps[j]
		}
	}
	end := uint32(0)
	for i := range ps {
		p := &ps[i]
		if p.At < end {
			n := min(end-p.At, p.Len)
			p.At, p.Len, p.Pos = p.At+n, p.Len-n, p.Pos+n
		}
		end = max(end, p.At+p.Len)
	}
	return ps
}

// expire gives up datagrams that have waited too long, and the oldest ones when too many wait.
func (g *Fragments) expire(now ntpac.Time) {
	for len(g.order) > 0 {
		k := g.order[0]
		q := g.open[k]
		if q != nil && now-q.first < fragmentTime && len(g.open) < maxPartials && g.held < maxFragBytes {
			return
		}
		g.order = g.order[1:]
		if q != nil {
			delete(g.open, k)
			g.held -= len(q.data)
			g.Incomplete++
		}
	}
}

// Flush gives up what is still incomplete.
func (g *Fragments) Flush() {
	g.Incomplete += uint64(len(g.open))
	clear(g.open)
	g.order, g.held = nil, 0
}
