package reassembly

import "ntpac"

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
}

// take gives the handle of an empty ring; 0 is none.
func (p *recentPool) take() (h uint32) {
	if h = p.free; h != 0 {
		p.free = p.rings[h].next
		return h
	}
	if len(p.rings) == 0 {
		p.rings = make([]recentRing, 1, 16)
	}
	p.rings = append(p.rings, recentRing{entries: make([]uint64, recentFirst)})
	return uint32(len(p.rings) - 1)
}

// give takes a ring back; one that has grown is made small again.
func (p *recentPool) give(h uint32) {
	e := p.rings[h].entries
	if len(e) > recentFirst {
		e = make([]uint64, recentFirst)
	}
	p.rings[h] = recentRing{entries: e, next: p.free}
	p.free = h
}

// push adds an entry, and drops those that are out of the window.
func (r *recentRing) push(e uint64, ts, window ntpac.Time, most int) {
	for r.n > 0 && !closeBy(r.entries[r.head], ts, window) {
		r.shift()
	}
	switch {
	case r.n < len(r.entries):
	case r.n < most:
		grown := make([]uint64, 2*r.n)
		k := copy(grown, r.entries[r.head:])
		copy(grown[k:], r.entries[:r.head])
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
