package reassembly

import (
	"math/bits"

	"ntpac"
)

// recentRing holds what the duplicate window has of a flow's packets beside those that the flow remembers in
// itself, the oldest first. Entries are those of duplicate.go.
type recentRing struct {
	entries []uint64 // a power of two
	head, n int
	next    uint32 // in the list of free ones
}

const (
	recentFirst = 64 // entries of a new ring

	// How many packets of one flow a ring remembers: for a window of 50 ms that is every one of 80,000 segments
	// or 10,000 datagrams a second. Of a faster flow, copies that come later than that are taken for
	// retransmissions, or for datagrams that were sent again. For every datagram the ring is searched, but hardly
	// for any segment.
	recentSegments  = 4096
	recentDatagrams = 512
)

// recentPool keeps the rings of all flows, of which few have one.
type recentPool struct {
	rings []recentRing
	free  uint32
	spare [recentClasses][][]uint64 // entries to be used again, by their number: recentFirst, and twice as many each
	fresh []uint64                  // of a piece of memory for many small rings
}

const (
	recentClasses = 7   // up to recentSegments
	maxSpare      = 256 // of a class
	recentPiece   = 64 * recentFirst
)

func recentClass(n int) int { return bits.Len(uint(n/recentFirst)) - 1 }

// entries gives room for n, a power of two from recentFirst on.
func (p *recentPool) entries(n int) []uint64 {
	c := recentClass(n)
	if l := p.spare[c]; len(l) > 0 {
		e := l[len(l)-1]
		p.spare[c] = l[:len(l)-1]
		return e
	}
	if n > recentPiece/16 {
		return make([]uint64, n)
	}
	if len(p.fresh) < n {
		p.fresh = make([]uint64, recentPiece)
	}
	e := p.fresh[:n:n]
	p.fresh = p.fresh[n:]
	return e
}

func (p *recentPool) put(e []uint64) {
	if c := recentClass(len(e)); len(p.spare[c]) < maxSpare {
		p.spare[c] = append(p.spare[c], e)
	}
}

// take gives the handle of an empty ring; 0 is none.
func (p *recentPool) take() (h uint32) {
	if h = p.free; h != 0 {
		p.free = p.rings[h].next
	} else {
		if len(p.rings) == 0 {
			p.rings = make([]recentRing, 1, 16)
		}
		p.rings = append(p.rings, recentRing{})
		h = uint32(len(p.rings) - 1)
	}
	p.rings[h] = recentRing{entries: p.entries(recentFirst)}
	return h
}

func (p *recentPool) give(h uint32) {
	p.put(p.rings[h].entries)
	p.rings[h] = recentRing{next: p.free}
	p.free = h
}

// push adds an entry to a ring, and drops those that are out of the window.
func (p *recentPool) push(h uint32, e uint64, ts, window ntpac.Time, most int) {
	r := &p.rings[h]
	for r.n > 0 && !closeBy(r.entries[r.head], ts, window) {
		r.shift()
	}
	switch {
	case r.n < len(r.entries):
	case r.n < most:
		grown := p.entries(2 * r.n)
		k := copy(grown, r.entries[r.head:])
		copy(grown[k:], r.entries[:r.head])
		p.put(r.entries)
		r.entries, r.head = grown, 0
	default:
		r.shift()
	}
	r.entries[(r.head+r.n)&(len(r.entries)-1)] = e
	r.n++
}

func (r *recentRing) shift() {
	r.head = (r.head + 1) & (len(r.entries) - 1)
	r.n--
}

// last gives the k-th entry from the end.
func (r *recentRing) last(k int) uint64 { return r.entries[(r.head+r.n-1-k)&(len(r.entries)-1)] }
