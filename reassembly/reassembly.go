// Package reassembly rebuilds conversations from packets: TCP streams with their gaps and conflicts,
// datagram conversations, and datagrams from IP fragments. A Reassembler is a plain struct that owns
// the flows of some virtual shards; its clock is the capture's.
//
// The rules are those of semantics.md; where a rule had to be chosen by experience it stands, with
// its reason, in heuristics.go.
package reassembly

import (
	"ntpac"
	"ntpac/packet"
)

// Config are the options that decide what a conversation is. They belong to the case: every
// reassembler of a case has the same.
type Config struct {
	Case      string
	Window    ntpac.Time // reorder window: nothing is final until it has passed; default 1 s
	Idle      ntpac.Time // silence that splits; default 600 s
	MaxLost   int64      // jump in sequence that splits where nothing ties both sides; default 4096 bytes
	Duplicate ntpac.Time // window in which an equal packet is the same packet; default 50 ms
	MaxOrder  int        // out-of-order segments held per direction; default 1024
	MaxFlows  int        // open flows; default 4 million
	Checksums Checksums
	KeyVLAN   bool
}

// Checksums says what to think of segments whose checksum is wrong.
type Checksums uint8

// The three policies.
const (
	ChecksumsAuto   Checksums = iota // looked at only where bytes conflict, and for RST and FIN
	ChecksumsVerify                  // a segment with a wrong checksum brings nothing
	ChecksumsIgnore
)

func (c *Config) defaults() {
	if c.Window == 0 {
		c.Window = ntpac.Second
	}
	if c.Idle == 0 {
		c.Idle = 600 * ntpac.Second
	}
	if c.MaxLost == 0 {
		c.MaxLost = 4096
	}
	if c.Duplicate == 0 {
		c.Duplicate = 50 * ntpac.Second / 1000
	}
	if c.MaxOrder == 0 {
		c.MaxOrder = 1024
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = 4 << 20
	}
}

// Sink takes what a Reassembler finds, on the reassembler's goroutine. Calls for one conversation
// follow one another in stream order; byte slices are valid only during the call.
type Sink interface {
	// Open begins a conversation and gives the handle by which later calls name it.
	Open() uint32
	// Identify tells a conversation's id as soon as it is final, and at Close at the latest.
	Identify(h uint32, id ntpac.ConversationID)
	// Event adds a packet to the conversation's history. Source is the index in the merge group.
	Event(h uint32, e *ntpac.Event)
	// Data gives the next sealed bytes of a side; off is behind everything given before.
	Data(h uint32, s ntpac.Side, off int64, b []byte)
	// Gap gives up a range of a side that lies behind everything given before.
	Gap(h uint32, s ntpac.Side, g ntpac.Gap)
	// Given gives back what was given before, from off on: a run of bytes, or the length of the hole
	// there. Neither means that it is not known any more.
	Given(h uint32, s ntpac.Side, off int64) (b []byte, hole int64)
	// Conflict keeps an alternative to bytes given before or about to be given. c.Alt is valid only
	// during the call; c.From is the index in the merge group.
	Conflict(h uint32, s ntpac.Side, c ntpac.Conflict)
	// Close ends a conversation. The sink adds what it knows: gaps, conflicts, hashes, sources.
	Close(h uint32, c *ntpac.Conversation)
	// Reopen goes on with a conversation that was closed, and gives its new handle; ok is false where
	// the sink does not have it any more.
	Reopen(id ntpac.ConversationID) (h uint32, ok bool)
}

// Stats counts what a reassembler did.
type Stats struct {
	Packets       uint64
	Conversations uint64
	Open          uint64 // now
	Duplicates    uint64
	Retransmitted uint64 // segments that brought nothing new
	OutOfOrder    uint64
	OutOfWindow   uint64 // segments that lie outside what their stream can hold
	BadChecksum   uint64
	GapBytes      int64
	Conflicts     uint64 // bytes
	Evicted       uint64
	OrderLimit    uint64
}

// Add adds another reassembler's counters.
func (s *Stats) Add(o Stats) {
	s.Packets += o.Packets
	s.Conversations += o.Conversations
	s.Open += o.Open
	s.Duplicates += o.Duplicates
	s.Retransmitted += o.Retransmitted
	s.OutOfOrder += o.OutOfOrder
	s.OutOfWindow += o.OutOfWindow
	s.BadChecksum += o.BadChecksum
	s.GapBytes += o.GapBytes
	s.Conflicts += o.Conflicts
	s.Evicted += o.Evicted
	s.OrderLimit += o.OrderLimit
}

// Reassembler rebuilds the conversations of the packets pushed into it. Use by one goroutine.
type Reassembler struct {
	cfg   Config
	sink  Sink
	table *table
	wheel wheel
	segs  segmentPool
	held  map[uint32]*held
	now   ntpac.Time
	stats Stats
	idBuf []byte
	event ntpac.Event
	keys  [stride]packet.RawKey
	sides [stride]ntpac.Side
	moved uint64 // what touching read: keeps the loads alive
}

// New makes a Reassembler that gives what it finds to sink.
func New(cfg Config, sink Sink) *Reassembler {
	cfg.defaults()
	return &Reassembler{cfg: cfg, sink: sink, table: newTable(), held: map[uint32]*held{}}
}

// Stats gives the counters so far.
func (r *Reassembler) Stats() Stats {
	s := r.stats
	s.Open = uint64(r.table.used)
	return s
}

// stride is how many packets are staged together, so that their cache misses overlap.
const stride = 64

// Push processes a batch whose packets the balancer has prepared and that are in merged order.
func (r *Reassembler) Push(b *ntpac.Batch) {
	for i := 0; i < len(b.Packets); i += stride {
		ps := b.Packets[i:min(i+stride, len(b.Packets))]
		for j := range ps {
			r.sides[j] = packet.Raw(b.Frame(&ps[j]), &ps[j], r.cfg.KeyVLAN, &r.keys[j])
		}
		for j := range ps {
			r.moved += r.table.touch(ps[j].Hash)
		}
		for j := range ps {
			r.packet(b, &ps[j], &r.keys[j], r.sides[j])
		}
	}
	r.Advance(b.Watermark)
}

// packet processes one packet.
func (r *Reassembler) packet(b *ntpac.Batch, p *ntpac.Packet, key *packet.RawKey, side ntpac.Side) {
	r.stats.Packets++
	f, ix := r.table.find(p.Hash, key)
	if f == nil {
		if r.table.used >= r.cfg.MaxFlows {
			r.evict()
		}
		f, ix = r.table.add(p.Hash, key)
		r.begin(f, ix, b, p, side)
	}
	if key.Proto() == ntpac.TCP {
		r.tcp(f, ix, b, p, side)
	} else {
		r.datagram(f, ix, b, p, side)
	}
	if f.status&identified == 0 {
		r.identify(f, p.TS)
	}
}

// begin makes f a new conversation that starts with packet p.
func (r *Reassembler) begin(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side) {
	f.first, f.last, f.vlan = p.TS, p.TS, p.VLAN
	f.client, f.clientBy = guessClient(&f.key, side)
	f.handle = r.sink.Open()
	r.stats.Conversations++
	r.wheel.file(r.table, ix, p.TS+r.cfg.Window)
}

// restart ends the conversation in f and begins its successor on the same key in its place.
func (r *Reassembler) restart(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side, why splitReason) {
	r.finish(f, ix, ntpac.CloseIdle)
	n := flow{key: f.key, hash: f.hash, wheel: f.wheel, status: live | f.status&inWheel, split: why}
	if f.first == p.TS {
		n.ordinal = f.ordinal + 1
	}
	n.half[0].fin, n.half[1].fin = -1, -1
	*f = n
	r.begin(f, ix, b, p, side)
}

// revive goes on with a conversation that was already given to the sink as closed.
func (r *Reassembler) revive(f *flow) bool {
	h, ok := r.sink.Reopen(f.prev)
	if !ok {
		return false
	}
	f.handle = h
	f.status = f.status&^emitted | identified
	f.revision++
	return true
}

// identify tells the sink the flow's id once the reorder window has passed its first packet, or when
// it has brought so much that the sink must write some of it.
func (r *Reassembler) identify(f *flow, now ntpac.Time) {
	const much = 1 << 20
	if f.status&identified == 0 && (now > f.first+r.cfg.Window || f.half[0].bytes+f.half[1].bytes > much) {
		f.status |= identified
		k := f.key.FlowKey()
		r.sink.Identify(f.handle, r.id(f, &k))
	}
}

// observe fills r.event with what is common to all packets and counts the packet.
func (r *Reassembler) observe(b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side) *ntpac.Event {
	e := &r.event
	blk := b.Blocks[p.Blk]
	*e = ntpac.Event{TS: p.TS, Ord: p.Ord, Off: p.Off, Pos: uint32(p.Pay), Cap: p.Cap, Wire: p.Wire, Source: blk.Index, Flags: ntpac.EventFlags(side)}
	return e
}

// record gives an event to the sink, or keeps it while the flow's first bytes are held.
func (r *Reassembler) record(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, e *ntpac.Event) {
	if p.Flags&ntpac.Cut != 0 {
		f.flags |= ntpac.Truncated
	}
	if p.Flags&ntpac.Defragmented != 0 {
		r.recordPieces(f, ix, b, p, e)
		return
	}
	r.put(f, ix, e)
}

func (r *Reassembler) put(f *flow, ix uint32, e *ntpac.Event) {
	if f.status&heldFlow != 0 {
		h := r.held[ix]
		h.events = append(h.events, *e)
		return
	}
	r.sink.Event(f.handle, e)
}

// recordPieces writes the fragments of a rebuilt datagram as one event each.
func (r *Reassembler) recordPieces(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, e *ntpac.Event) {
	d := &b.Datagrams[p.Frag]
	last := len(d.Pieces) - 1
	for last > 0 && d.Pieces[last].Len == 0 {
		last--
	}
	head := uint32(p.Pay) // where the payload begins in the rebuilt datagram
	half := &f.half[e.Side()]
	for i := range d.Pieces {
		q := &d.Pieces[i]
		v := *e
		v.TS, v.Ord, v.Off, v.Source, v.Cap, v.Wire = q.TS, q.Ord, q.Off, q.Index, q.Cap, q.Wire
		lo, hi := max(q.At, head), min(q.At+q.Len, head+e.Len)
		if q.Len == 0 || hi <= lo {
			v.Start, v.Len, v.Pos = e.Start, 0, q.Pos
			v.Flags |= ntpac.EvNoData
		} else {
			v.Start, v.Len, v.Pos = e.Start+int64(lo-head), hi-lo, q.Pos+lo-q.At
		}
		if i < last {
			v.Flags |= ntpac.EvMore
		}
		if i > 0 && e.Flags&ntpac.EvDup == 0 {
			half.packets++ // the datagram itself counted as one
		}
		r.put(f, ix, &v)
	}
}

// Advance tells the reassembler that the capture's clock has come to now.
func (r *Reassembler) Advance(now ntpac.Time) {
	if now <= r.now {
		return
	}
	r.now = now
	r.wheel.advance(r.table, now, r.look)
}

// look does for a flow what has become due at the clock's time and files it again.
func (r *Reassembler) look(f *flow, ix uint32) {
	if f.status&live == 0 {
		return
	}
	r.settle(f, ix, r.now)
	idle := r.now - f.last
	switch {
	case f.status&emitted != 0 && (f.closeAt != 0 || f.key.Proto() != ntpac.TCP) && idle > r.cfg.Idle:
		r.table.remove(ix)
		return
	case f.status&emitted == 0 && idle > r.cfg.Idle:
		r.finish(f, ix, ntpac.CloseIdle)
		if f.key.Proto() != ntpac.TCP {
			r.table.remove(ix)
			return
		}
	}
	at := f.last + r.cfg.Idle
	if f.status&emitted == 0 {
		at = min(at, r.now+5*ntpac.Second)
		if f.closeAt != 0 {
			at = f.closeAt
		}
	}
	r.wheel.file(r.table, ix, max(at, r.now))
}

// settle makes final what the reorder window has passed: held heads, holes, the end.
func (r *Reassembler) settle(f *flow, ix uint32, now ntpac.Time) {
	if f.key.Proto() != ntpac.TCP || f.status&emitted != 0 {
		return
	}
	if f.status&heldFlow != 0 {
		r.settleHeld(f, ix, now)
	}
	for s := range ntpac.Side(2) {
		if h := &f.half[s]; h.gapDue != 0 && now > h.gapDue {
			r.skip(f, s)
		}
	}
	if f.closeAt != 0 && now > f.closeAt {
		r.finish(f, ix, ntpac.Open)
	}
}

// evict makes room by ending the flow that is next in the wheel.
func (r *Reassembler) evict() {
	for k := int64(1); k < wheelSlots; k++ {
		s := &r.wheel.slots[uint64(r.wheel.now+k)%wheelSlots]
		if *s == 0 {
			continue
		}
		ix := *s - 1
		f := r.table.at(ix)
		*s = f.wheel
		f.status &^= inWheel
		if f.status&emitted == 0 {
			f.flags |= ntpac.LimitMemory
			r.finish(f, ix, ntpac.CloseLimit)
		}
		r.table.remove(ix)
		r.stats.Evicted++
		return
	}
}

// Flush ends every open conversation: the capture is over.
func (r *Reassembler) Flush() {
	for i := range r.table.count {
		if f := r.table.at(i); f.status&live != 0 && f.status&emitted == 0 {
			r.finish(f, i, ntpac.CloseEnd)
		}
	}
	moved := r.moved
	stats := r.stats
	r.table, r.wheel, r.held = newTable(), wheel{}, map[uint32]*held{}
	r.moved, r.stats = moved, stats
}
