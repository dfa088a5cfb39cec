package reassembly

import (
	"unsafe"

	"ntpac"
	"ntpac/packet"
)

// half is the state of one direction of a flow: one cache line. Offsets are 64-bit unwrapped stream
// positions. What most directions never need lies in an extra.
type half struct {
	next    int64      // everything below was emitted or given up
	high    int64      // the end of the highest byte seen
	acked   int64      // the peer has acknowledged everything below; with sawAck the bare number
	fin     int64      // where FIN says that the stream ends, -1 while unknown
	gapDue  ntpac.Time // when holes become final, 0 for none
	packets uint64
	base    uint32 // sequence number of offset 0
	segs    uint32 // out-of-order segments, a ring by offset: handle of the last, 0 for none
	tsval   uint32 // the last TCP timestamp seen
	nsegs   uint16
	state   halfState
}

type halfState uint8

const (
	haveBase halfState = 1 << iota // base is set
	haveISN                        // base follows from a SYN: offset 0 is the first byte
	sawSyn                         // its SYN was captured
	sawRst
	holding // its first bytes wait for the reorder window: see hold.go
	sawTS
	sawStray // a segment of it is kept aside: see stray.go
	sawAck   // the peer acknowledged something while base was not set
)

// flow is one conversation while it is open, and what is remembered of it afterwards. It has no
// pointers, so that a million of them cost the collector of garbage nothing, and takes five cache lines:
// key and recent packets, the two directions, the rest.
type flow struct {
	key      packet.RawKey
	hash     uint64
	last     ntpac.Time
	recent   [recentLen]uint64 // see duplicate.go
	half     [2]half
	first    ntpac.Time
	seen     ntpac.Time // as last, but also of what is kept aside: silence is measured from it
	idSum    uint64     // the id's second half, with identified
	handle   uint32     // the sink's
	gaps     uint32     // ranges given up, of both sides
	isn      uint32     // of the side that opened, where known: part of the id
	extra    uint32     // index of its extra, 0 for none
	revision uint32
	flags    ntpac.ConvFlags
	ordinal  uint16 // among conversations of one key with equal starts
	vlan     uint16
	status   flowStatus
	client   ntpac.Side
	clientBy ntpac.ClientBy
	split    splitReason
	slot     uint8 // next place in recent
}

type flowStatus uint16

const (
	live       flowStatus = 1 << iota
	emitted               // the sink has closed it; this is what is left to recognise stragglers
	inWheel               // it is in a slot of the wheel
	inDue                 // it is in the queue of what becomes due
	waiting               // settle has something to do when its time comes
	heldFlow              // events wait: see hold.go
	identified            // the sink knows its id
	closing               // FIN of both sides, or RST: over when the window has passed without more
)

// extra is what only some flows need.
type extra struct {
	ackedAt [2]ntpac.Time // when half.acked ran ahead of what was captured
	due     [2]int64      // with gapDue: what becomes final then lies below
	dups    [2]uint64
	missing [2]int64
	overlap [2]int64
	stray   [2]uint32 // of a side with sawStray: index in Reassembler.strays
	held    uint32    // index in Reassembler.held, of a flow with heldFlow
	recent  uint32    // ring of the packets that flow.recent has no room for, 0 for none
	next    uint32    // in the list of free ones
}

// extras keeps extra records in slabs without pointers, which never move. Index 0 is none.
type extras struct {
	slabs   [][]extra
	n       uint32 // records ever taken
	free    uint32
	recents recentPool
}

const extrasLen = 4096

func (x *extras) at(k uint32) *extra { return &x.slabs[k/extrasLen][k%extrasLen] }

// of gives the flow's extra, which is made where there is none.
func (x *extras) of(f *flow) *extra {
	if f.extra != 0 {
		return x.at(f.extra)
	}
	if x.free != 0 {
		f.extra, x.free = x.free, x.at(x.free).next
	} else {
		if x.n++; int(x.n) >= len(x.slabs)*extrasLen {
			x.slabs = append(x.slabs, make([]extra, extrasLen))
		}
		f.extra = x.n
	}
	e := x.at(f.extra)
	*e = extra{}
	return e
}

// look gives the flow's extra to read; where there is none, one of zeros.
func (x *extras) look(f *flow) extra {
	if f.extra == 0 {
		return extra{}
	}
	return *x.at(f.extra)
}

func (x *extras) give(f *flow) {
	if f.extra != 0 {
		x.forget(f)
		x.at(f.extra).next, x.free = x.free, f.extra
		f.extra = 0
	}
}

// slabLen flows make one slab; slabs never move, so that pointers into them stay valid.
const slabLen = 4096

// linksLen is how many flows' links make one slab.
const linksLen = 4 * slabLen

// table finds flows: open addressing over (tag, index) pairs, linear probing, deletion by shifting
// back. The tag is 32 bits of the flow hash, not those that choose the shard; its low bits are the
// place, so that the table grows and shrinks without a look at the flows.
type table struct {
	slots []uint64 // tag<<32 | index+1, 0 for empty
	mask  uint64
	used  int
	slabs [][]flow
	links [][]links
	mem   *arena
	free  []uint32
	count uint32 // flows ever carved out of slabs

	groups [ntpac.Shards]group // the flows of each virtual shard
}

// links are a flow's places in lists of flows, by index+1; 0 is none. They lie beside the flows, so that
// whoever goes along a list of them does not touch the flows themselves.
type links struct {
	older, newer  uint32 // in its virtual shard
	ahead, behind uint32 // in its slot of the wheel; of the first one, behind is the slot: see wheel
}

// group is the list of the flows of a virtual shard.
type group struct {
	newest uint32
	n      uint32
}

// newTable makes a table; told, if not nil, is told of memory outside the heap.
func newTable(told func(bytes int64)) *table {
	const start = 1 << 10
	return &table{slots: make([]uint64, start), mask: start - 1, mem: &arena{told: told}}
}

func tag(hash uint64) uint64 { return hash >> 22 & 0xffffffff }

func (t *table) at(i uint32) *flow { return &t.slabs[i/slabLen][i%slabLen] }

func (t *table) link(i uint32) *links { return &t.links[i/linksLen][i%linksLen] }

// find gives the flow of a key.
func (t *table) find(hash uint64, key *packet.RawKey) (*flow, uint32) {
	want := tag(hash)
	for i := want & t.mask; ; i = (i + 1) & t.mask {
		e := t.slots[i]
		if e == 0 {
			return nil, 0
		}
		if e>>32 == want {
			ix := uint32(e) - 1
			if f := t.at(ix); sameKey(&f.key, key) {
				return f, ix
			}
		}
	}
}

// keyWords is a key as it lies in memory; it has no padding.
type keyWords [unsafe.Sizeof(packet.RawKey{}) / 8]uint64

// sameKey compares keys word by word, which costs less than a call to compare memory.
func sameKey(a, b *packet.RawKey) bool {
	x, y := (*keyWords)(unsafe.Pointer(a)), (*keyWords)(unsafe.Pointer(b))
	return (x[0]^y[0])|(x[1]^y[1])|(x[2]^y[2])|(x[3]^y[3])|(x[4]^y[4])|(x[5]^y[5]) == 0
}

// findAt is find where a guess was made before: it nearly always is right.
func (t *table) findAt(guess uint32, hash uint64, key *packet.RawKey) (*flow, uint32) {
	if guess != 0 {
		if f := t.at(guess - 1); f.status&live != 0 && sameKey(&f.key, key) {
			return f, guess - 1
		}
	}
	return t.find(hash, key)
}

// guess gives the first flow with the tag of a hash, +1, without a look at it; 0 for none.
func (t *table) guess(hash uint64) uint32 {
	want := tag(hash)
	for i := want & t.mask; ; i = (i + 1) & t.mask {
		if e := t.slots[i]; e == 0 || e>>32 == want {
			return uint32(e)
		}
	}
}

// touch reads one word of each cache line of a flow that is written for a packet, so that the misses of
// a stride of packets overlap.
func (t *table) touch(ix uint32) uint64 {
	f := t.at(ix)
	return f.hash + f.recent[0] + uint64(f.half[0].next) + uint64(f.half[1].next) + uint64(f.first)
}

// add makes a new flow for a key that is not in the table.
func (t *table) add(hash uint64, key *packet.RawKey) (*flow, uint32) {
	if (t.used+1)*4 > len(t.slots)*3 {
		t.grow()
	}
	ix := t.carve()
	f := t.at(ix)
	*f = flow{key: *key, hash: hash, status: live}
	f.half[0].fin, f.half[1].fin = -1, -1
	t.put(tag(hash)<<32 | uint64(ix+1))
	t.used++
	t.join(ix)
	return f, ix
}

// join makes a flow the newest of its virtual shard.
func (t *table) join(ix uint32) {
	g := &t.groups[ntpac.Shard(t.at(ix).hash)]
	l := t.link(ix)
	l.older, l.newer = g.newest, 0
	if g.newest != 0 {
		t.link(g.newest - 1).newer = ix + 1
	}
	g.newest = ix + 1
	g.n++
}

// leave takes a flow out of its virtual shard.
func (t *table) leave(ix uint32) {
	g := &t.groups[ntpac.Shard(t.at(ix).hash)]
	l := t.link(ix)
	if l.newer != 0 {
		t.link(l.newer - 1).older = l.older
	} else {
		g.newest = l.older
	}
	if l.older != 0 {
		t.link(l.older - 1).newer = l.newer
	}
	g.n--
}

func (t *table) carve() uint32 {
	if n := len(t.free); n > 0 {
		ix := t.free[n-1]
		t.free = t.free[:n-1]
		return ix
	}
	if t.count%slabLen == 0 {
		t.slabs = append(t.slabs, t.mem.flows())
		if t.count%linksLen == 0 {
			t.links = append(t.links, make([]links, linksLen))
		}
	}
	t.count++
	return t.count - 1
}

func (t *table) put(e uint64) {
	i := e >> 32 & t.mask
	for t.slots[i] != 0 {
		i = (i + 1) & t.mask
	}
	t.slots[i] = e
}

// remove takes a flow out of the table and frees its place in the slab.
func (t *table) remove(ix uint32) {
	f := t.at(ix)
	i := tag(f.hash) & t.mask
	for uint32(t.slots[i]) != ix+1 {
		i = (i + 1) & t.mask
	}
	t.used--
	t.leave(ix)
	for j := i; ; {
		j = (j + 1) & t.mask
		e := t.slots[j]
		if e == 0 {
			break
		}
		if home := e >> 32 & t.mask; (j-home)&t.mask >= (j-i)&t.mask {
			t.slots[i] = e
			i = j
		}
	}
	t.slots[i] = 0
	f.status = 0
	t.free = append(t.free, ix)
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]uint64, 2*len(old))
	t.mask = uint64(len(t.slots) - 1)
	for _, e := range old {
		if e != 0 {
			t.put(e)
		}
	}
}
