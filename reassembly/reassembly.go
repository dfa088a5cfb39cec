// Package reassembly rebuilds conversations from packets: TCP streams with their gaps and conflicts,
// datagram conversations, and datagrams from IP fragments. A Reassembler is a plain struct that owns
// the flows of some virtual shards; its clock is the capture's.
//
// The rules are those of semantics.md; where a rule had to be chosen by experience it stands, with
// its reason, in heuristics.go.
package reassembly

import (
	"runtime"

	"ntpac"
	"ntpac/packet"
)

// Config are the options that decide what a conversation is. They belong to the case: every
// reassembler of a case has the same. A zero means the default.
type Config struct {
	Case      string
	Window    ntpac.Time // reorder window: nothing is final until it has passed; default 1 s
	Idle      ntpac.Time // silence that splits; default 600 s, at least twice the window
	Linger    ntpac.Time // how long a closed connection is waited on for stragglers; default and least: the window
	MaxLost   int64      // jump in sequence that splits where nothing ties both sides; default 4096 bytes
	Duplicate ntpac.Time // window in which an equal packet is the same packet; default 50 ms, at most 500 ms, below 0 for none
	MaxOrder  int        // out-of-order segments held per direction; default 4096, at most 32768
	MaxHeld   int64      // bytes of out-of-order segments held in all; default 256 MiB
	MaxGaps   int        // holes of one conversation; default 65,536
	MaxFlows  int        // conversations of one virtual shard that are open or remembered; default 4096
	Checksums Checksums
	KeyVLAN   bool

	// Outside is told of memory that is taken outside the heap, with a minus when it is given back.
	Outside func(bytes int64)
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
	set := func(v *ntpac.Time, to ntpac.Time) {
		if *v == 0 {
			*v = to
		}
	}
	set(&c.Window, ntpac.Second)
	set(&c.Idle, 600*ntpac.Second)
	set(&c.Duplicate, 50*ntpac.Second/1000)
	c.Idle, c.Linger, c.Duplicate = max(c.Idle, 2*c.Window), max(c.Linger, c.Window), min(c.Duplicate, maxDuplicate)
	if c.MaxLost == 0 {
		c.MaxLost = 4096
	}
	if c.MaxOrder == 0 {
		c.MaxOrder = 4096
	}
	c.MaxOrder = min(c.MaxOrder, 1<<15)
	if c.MaxHeld == 0 {
		c.MaxHeld = 256 << 20
	}
	if c.MaxGaps == 0 {
		c.MaxGaps = 1 << 16
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = 4096
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
	// Known reports whether Conflict was given these bytes at off before, alone or among others.
	Known(h uint32, s ntpac.Side, off int64, alt []byte) bool
	// Close ends a conversation. c is valid only during the call: a sink that keeps it copies it, and adds
	// what it knows: gaps, conflicts, hashes, sources.
	Close(h uint32, c *ntpac.Conversation)
	// Reopen goes on with a conversation that was closed, and gives its new handle; ok is false where
	// the sink does not have it any more.
	Reopen(id ntpac.ConversationID) (h uint32, ok bool)
}

// Reassembler rebuilds the conversations of the packets pushed into it. Use by one goroutine.
type Reassembler struct {
	cfg    Config
	sink   Sink
	table  *table
	wheel  wheel
	due    dueQueue
	extras extras
	segs   segmentPool
	held   heldPool
	strays strayPool
	now    ntpac.Time // the clock: nothing older follows
	stats  Stats
	idBuf  []byte
	event  ntpac.Event
	piece  ntpac.Event        // of a rebuilt datagram
	conv   ntpac.Conversation // what Close gives
	keys   [stride]packet.RawKey
	sides  [stride]ntpac.Side
	found  [stride]uint32
	moved  uint64      // what touching read: keeps the loads alive
	gaps   int64       // holes of the conversations that are open
	doomed []candidate // scratch of makeRoom
	piles  []pile      // scratch of relieve
}

// New makes a Reassembler that gives what it finds to sink.
func New(cfg Config, sink Sink) *Reassembler {
	cfg.defaults()
	return &Reassembler{cfg: cfg, sink: sink, table: newTable(cfg.Outside)}
}

// Stats gives the counters so far.
func (r *Reassembler) Stats() Stats { return r.stats }

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
			r.found[j] = r.table.guess(ps[j].Hash)
		}
		for j := range ps {
			if ix := r.found[j]; ix != 0 {
				r.moved += r.table.touch(ix - 1)
			}
		}
		for j := range ps {
			r.packet(b, &ps[j], j)
		}
	}
	r.Advance(b.Watermark)
	runtime.KeepAlive(r) // flows lie outside the heap: see arena
}

// packet processes one packet, of which the staging knows key and side, and a guess where its flow is.
func (r *Reassembler) packet(b *ntpac.Batch, p *ntpac.Packet, staged int) {
	r.stats.Packets++
	r.stats.Payload.Read += uint64(p.PayCap)
	now := p.Effective()
	key, side := &r.keys[staged], r.sides[staged]
	f, ix := r.table.findAt(r.found[staged], p.Hash, key)
	switch {
	case f == nil:
		if g := ntpac.Shard(p.Hash); int(r.table.groups[g].n) >= r.cfg.MaxFlows {
			r.makeRoom(g, now)
		}
		f, ix = r.table.add(p.Hash, key)
		r.begin(f, ix, p, side, now)
	case f.status&waiting != 0:
		r.settle(f, ix, now)
	}
	if silence := now - f.seen; silence > r.cfg.Idle { // as the wheel does where it comes first
		r.finish(f, ix, ntpac.CloseIdle)
		if silence > r.memory(f) {
			r.restart(f, ix, p, side, now, noSplit)
		}
	}
	if r.tooManyGaps(f) {
		r.endForGaps(f, ix, p, side, now)
	}
	if key.Proto() == ntpac.TCP {
		r.tcp(f, ix, b, p, side, now)
	} else {
		r.datagram(f, ix, b, p, side, now)
	}
	if f.status&identified == 0 && f.half[0].next+f.half[1].next > ntpac.ChunkSize {
		r.announce(f)
	}
}

// observe fills r.event with what is common to all packets.
func (r *Reassembler) observe(b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side) *ntpac.Event {
	e := &r.event
	*e = ntpac.Event{TS: p.TS, Ord: p.Ord, Off: p.Off, Pos: uint32(p.Pay), Cap: p.Cap, Wire: p.Wire, Source: b.Blocks[p.Blk].Index,
		Flags: ntpac.EventFlags(side)}
	return e
}

// duplicate records a packet that was captured twice.
func (r *Reassembler) duplicate(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, e *ntpac.Event) {
	r.stats.repeated(p)
	r.extras.of(f).dups[e.Side()]++
	r.record(f, ix, b, p, e)
}

// record gives an event to the sink, or keeps it while the flow's first bytes are held.
func (r *Reassembler) record(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, e *ntpac.Event) {
	if p.Flags&ntpac.Cut != 0 {
		f.flags |= ntpac.Truncated
	}
	switch {
	case p.Flags&ntpac.Defragmented != 0:
		r.recordPieces(f, ix, b, p, e)
	case f.status&heldFlow != 0:
		r.put(f, ix, e)
	default:
		r.sink.Event(f.handle, e)
	}
}

func (r *Reassembler) put(f *flow, ix uint32, e *ntpac.Event) {
	if f.status&heldFlow != 0 {
		w := r.heldOf(f)
		r.segs.held += eventCost
		if w.events = append(w.events, *e); len(w.events) >= maxHeldEvents || w.bytes > maxHeldAlts {
			r.release(f, ix, ntpac.A)
			r.release(f, ix, ntpac.B)
		}
		return
	}
	r.sink.Event(f.handle, e)
}

// recordPieces writes the fragments of a rebuilt datagram as one event each. A fragment that brought
// nothing that an earlier one had not brought was captured twice.
func (r *Reassembler) recordPieces(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, e *ntpac.Event) {
	d := &b.Datagrams[p.Frag]
	last := len(d.Pieces) - 1
	for last > 0 && d.Pieces[last].Len == 0 {
		last--
	}
	head := uint32(p.Pay) // where the payload begins in the rebuilt datagram
	side := e.Side()
	for i := range d.Pieces {
		q := &d.Pieces[i]
		v := &r.piece
		*v = *e
		v.TS, v.Ord, v.Off, v.Source, v.Cap, v.Wire, v.Pos = q.TS, q.Ord, q.Off, q.Index, q.Cap, q.Wire, q.Pos
		if lo, hi := max(q.At, head), min(q.At+q.Len, head+e.Len); lo < hi {
			v.Start, v.Len, v.Pos = e.Start+int64(lo-head), hi-lo, q.Pos+lo-q.At
		} else {
			v.Len, v.Flags = 0, v.Flags|ntpac.EvNoData
		}
		if i < last {
			v.Flags |= ntpac.EvMore
		}
		if q.Len == 0 {
			v.Flags |= ntpac.EvDup
		}
		switch { // the datagram itself counted as one
		case i == 0 || q.Again:
		case v.Flags&ntpac.EvDup != 0:
			r.stats.Duplicates++
			r.extras.of(f).dups[side]++
		default:
			r.stats.Analysed++
			f.half[side].packets++
		}
		r.put(f, ix, v)
	}
}

// Advance tells the reassembler that the capture's clock has come to now.
func (r *Reassembler) Advance(now ntpac.Time) {
	if now <= r.now {
		return
	}
	r.now = now
	r.advanceDue()
	r.wheel.advance(r.table, now, r.look)
	runtime.KeepAlive(r)
}

// Flush ends every conversation: the capture is over.
func (r *Reassembler) Flush() {
	for ix := range r.table.count {
		f := r.table.at(ix)
		if f.status&live == 0 || f.status&emitted != 0 && !f.hasStrays() {
			continue
		}
		r.settle(f, ix, r.now)
		cause := ntpac.CloseEnd
		if r.now-f.seen > r.cfg.Idle {
			cause = ntpac.CloseIdle
		}
		r.finish(f, ix, cause)
	}
	r.table.mem.release()
	r.table, r.wheel, r.due, r.extras, r.segs, r.held, r.strays = newTable(r.cfg.Outside), wheel{}, dueQueue{}, extras{}, segmentPool{}, heldPool{}, strayPool{}
}
