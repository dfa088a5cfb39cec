package reassembly

import (
	"ntpac"
	"ntpac/packet"
)

// half is the state of one direction of a flow. Offsets are 64-bit unwrapped stream positions.
type half struct {
	base    uint32 // sequence number of offset 0
	segs    uint32 // out-of-order segments, a list by offset: handle of the first, 0 for none
	nsegs   uint32
	state   halfState
	next    int64      // everything below was emitted or given up
	high    int64      // the end of the highest byte seen
	acked   int64      // the peer has acknowledged everything below
	fin     int64      // where FIN says that the stream ends, -1 while unknown
	started ntpac.Time // when the first packet came
	gapDue  ntpac.Time // when the hole at next becomes final, 0 for none
	packets uint64
	dups    uint64
	bytes   int64
	missing int64
	overlap int64
	recent  [recentLen]recent // to recognise the same packet captured again
	tsval   uint32            // the last TCP timestamp seen
	slot    uint8             // next place in recent
}

type halfState uint8

const (
	haveBase halfState = 1 << iota // base is set
	haveISN                        // base follows from a SYN: offset 0 is the first byte
	sawSyn                         // its SYN was captured
	sawRst
	holding // its first bytes wait for the reorder window: see hold.go
	sawTS
)

// recentLen is how many packets of each direction are remembered to recognise duplicates.
const recentLen = 8

type recent struct {
	digest uint32
	at     uint32 // microseconds, wrapped
	off    uint32 // where the stream was, wrapped
}

// flow is one conversation while it is open. It has no pointers, so that a million of them cost the
// collector of garbage nothing.
type flow struct {
	key      packet.RawKey
	hash     uint64
	first    ntpac.Time
	last     ntpac.Time
	closeAt  ntpac.Time // when a closed connection is emitted, 0 while open
	prev     ntpac.ConversationID
	handle   uint32 // the sink's
	wheel    uint32 // next flow in the same slot of the wheel
	isn      uint32 // of the side that opened, where known: part of the id
	ordinal  uint32 // among conversations of one key with equal starts
	flags    ntpac.ConvFlags
	vlan     uint16
	sources  uint8 // bit set of sources 0-6; bit 7 for any other
	client   ntpac.Side
	clientBy ntpac.ClientBy
	split    splitReason
	revision uint16
	status   flowStatus
	half     [2]half
}

type flowStatus uint8

const (
	live    flowStatus = 1 << iota
	emitted            // the sink has closed it; this is what is left to recognise stragglers
	inWheel
	heldFlow   // an entry in Reassembler.held exists
	identified // the sink knows its id
)

// slabLen flows make one slab; slabs never move, so that pointers into them stay valid.
const slabLen = 1024

// table finds flows: open addressing over (tag, index) pairs, linear probing, deletion by shifting
// back. The tag and the position come from different bits of the flow hash than the shard does.
type table struct {
	slots []uint64 // tag<<32 | index+1, 0 for empty
	mask  uint64
	used  int
	slabs [][]flow
	free  []uint32
	count uint32 // flows ever carved out of slabs
}

func newTable() *table {
	const start = 1 << 12
	return &table{slots: make([]uint64, start), mask: start - 1}
}

func tag(hash uint64) uint64 { return hash >> 22 << 32 }

func (t *table) at(i uint32) *flow { return &t.slabs[i/slabLen][i%slabLen] }

// find gives the flow of a key.
func (t *table) find(hash uint64, key *packet.RawKey) (*flow, uint32) {
	want := tag(hash)
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		e := t.slots[i]
		if e == 0 {
			return nil, 0
		}
		if e>>32<<32 == want {
			ix := uint32(e) - 1
			if f := t.at(ix); f.key == *key {
				return f, ix
			}
		}
	}
}

// touch reads what find will read, so that the cache misses of a stride of packets overlap.
func (t *table) touch(hash uint64) uint64 {
	e := t.slots[hash&t.mask]
	if e == 0 {
		return 0
	}
	return t.at(uint32(e) - 1).hash
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
	t.put(hash, ix)
	return f, ix
}

func (t *table) carve() uint32 {
	if n := len(t.free); n > 0 {
		ix := t.free[n-1]
		t.free = t.free[:n-1]
		return ix
	}
	if t.count%slabLen == 0 {
		t.slabs = append(t.slabs, newSlab())
	}
	t.count++
	return t.count - 1
}

func (t *table) put(hash uint64, ix uint32) {
	i := hash & t.mask
	for t.slots[i] != 0 {
		i = (i + 1) & t.mask
	}
	t.slots[i] = tag(hash) | uint64(ix+1)
	t.used++
}

// remove takes a flow out of the table and frees its place in the slab.
func (t *table) remove(ix uint32) {
	f := t.at(ix)
	i := f.hash & t.mask
	for uint32(t.slots[i]) != ix+1 {
		i = (i + 1) & t.mask
	}
	t.used--
	for j := i; ; {
		j = (j + 1) & t.mask
		e := t.slots[j]
		if e == 0 {
			break
		}
		if home := t.at(uint32(e)-1).hash & t.mask; (j-home)&t.mask >= (j-i)&t.mask {
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
	t.mask, t.used = uint64(len(t.slots)-1), 0
	for _, e := range old {
		if e != 0 {
			t.put(t.at(uint32(e)-1).hash, uint32(e)-1)
		}
	}
}
