package reassembly

import (
	"encoding/binary"

	"ntpac"
	"ntpac/packet"
)

// segmentView is what the rules need of a TCP segment.
type segmentView struct {
	now     ntpac.Time // effective time
	seq     uint32
	ack     uint32
	tsval   uint32
	n       uint32 // payload by the headers' word
	payload []byte // captured payload
	syn     bool
	fin     bool
	rst     bool
	psh     bool
	hasAck  bool
	hasTS   bool
}

func (t *segmentView) read(frame []byte, p *ntpac.Packet, now ntpac.Time) {
	h := frame[p.L4:p.Pay]
	fl := h[13]
	*t = segmentView{now: now, seq: binary.BigEndian.Uint32(h[4:]), ack: binary.BigEndian.Uint32(h[8:]), n: p.PayLen,
		payload: frame[p.Pay : uint32(p.Pay)+p.PayCap],
		syn:     fl&packet.SYN != 0, fin: fl&packet.FIN != 0, rst: fl&packet.RST != 0, psh: fl&packet.PSH != 0, hasAck: fl&packet.ACK != 0}
	if len(h) > 20 {
		t.tsval, _, t.hasTS = packet.Timestamps(frame, p)
	}
}

// flags is what a history says of the segment.
func (t *segmentView) flags() (f ntpac.EventFlags) {
	if t.psh {
		f |= ntpac.EvPush
	}
	if t.syn {
		f |= ntpac.EvSyn
	}
	if t.fin {
		f |= ntpac.EvFin
	}
	if t.rst {
		f |= ntpac.EvRst
	}
	return f
}

// unwrap gives the stream offset of a sequence number: the one nearest to where the side is.
func (h *half) unwrap(seq uint32) int64 {
	return h.next + int64(int32(seq-(h.base+uint32(h.next))))
}

// tcp processes a segment of the flow f.
func (r *Reassembler) tcp(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side, now ntpac.Time) {
	var t segmentView
	frame := b.Frame(p)
	t.read(frame, p, now)
	d := mixBytes(digest(frame, p), frame[p.Pay:uint32(p.Pay)+min(p.PayCap, mixed)])
	over := f.status&emitted != 0
	if (!over || f.hasStrays()) && r.extras.sawSegment(f, d, p.TS, r.cfg.Duplicate, r.isNew(f, side, &t)) && (over || r.sameBytes(f, side, &t)) {
		if over { // of one that is kept aside
			r.stats.repeated(p)
			return
		}
		e := r.observe(b, p, side)
		e.Flags |= t.flags() | ntpac.EvDup | ntpac.EvNoData
		e.Start = f.half[side].next
		r.duplicate(f, ix, b, p, e)
		return
	}
	v := r.judge(f, side, &t)
	if r.follow(f, ix, &t, p, side, v) || over {
		r.extras.sawSegment(f, d, p.TS, r.cfg.Duplicate, true)
	}
	me := &f.half[side]
	switch {
	case v == stray:
		r.setAside(f, ix, b, p, side)
		return
	case t.n > 0 && me.state&sawStray != 0:
		r.dropStray(f, ix, side)
	}
	e := r.observe(b, p, side)
	e.Flags |= t.flags()
	f.last = max(f.last, p.TS)
	f.seen = max(f.seen, f.last)
	me.packets++
	r.stats.Analysed++
	bad := r.invalid(&t, frame, p)
	if bad {
		r.stats.BadChecksum++
		f.flags |= ntpac.BadChecksum
		e.Flags |= ntpac.EvBadSum
		if r.cfg.Checksums == ChecksumsVerify {
			e.Start, e.Flags = me.next, e.Flags|ntpac.EvNoData
			r.stats.Payload.Rejected += uint64(len(t.payload))
			r.record(f, ix, b, p, e)
			return
		}
	}
	r.learn(f, ix, side, &t)
	if t.hasAck && !t.rst {
		r.acknowledge(f, ix, side.Other(), &t)
	}
	reset := me.state&sawRst != 0
	r.accept(f, ix, b, p, side, &t, e)
	if reset && e.Flags&ntpac.EvNoData == 0 {
		f.flags |= ntpac.ResetData
	}
	if (t.fin || t.rst) && !bad {
		r.ending(f, ix, side, &t)
	}
	if f.half[0].fin >= 0 && f.half[1].fin >= 0 {
		r.over(f, ix)
	}
	if t.rst && me.state&sawRst != 0 && f.status&closing == 0 {
		r.ends(f, ix)
	}
	if t.hasTS {
		me.tsval, me.state = t.tsval, me.state|sawTS
	}
}

// follow does what the verdict says: it leaves f the conversation to which the segment belongs, and
// reports whether it is not the one that was there.
func (r *Reassembler) follow(f *flow, ix uint32, t *segmentView, p *ntpac.Packet, side ntpac.Side, v verdict) (other bool) {
	switch v {
	case belongs, stray:
	case another:
		r.beginWithStrays(f, ix, t, p, side)
		return true
	default:
		r.restart(f, ix, p, side, t.now, splitReason(v))
		return true
	}
	if f.status&emitted == 0 || v == stray {
		return false
	}
	if !r.revive(f, ix) {
		r.restart(f, ix, p, side, t.now, splitClose)
	}
	return true
}

// invalid reports whether a segment has a wrong checksum that matters: always with ChecksumsVerify, and
// with ChecksumsAuto for what would end the conversation.
func (r *Reassembler) invalid(t *segmentView, frame []byte, p *ntpac.Packet) bool {
	switch r.cfg.Checksums {
	case ChecksumsAuto:
		return (t.fin || t.rst) && !packet.ChecksumOK(frame, p)
	case ChecksumsVerify:
		return !packet.ChecksumOK(frame, p)
	}
	return false
}

// isNew reports whether a segment brings bytes or an acknowledgement beyond all that its flow has seen: then it
// cannot have been seen before.
func (r *Reassembler) isNew(f *flow, side ntpac.Side, t *segmentView) bool {
	me, peer := &f.half[side], &f.half[side^1]
	if r.cfg.Checksums == ChecksumsVerify || f.hasStrays() {
		return false // something may have been seen and have left no trace
	}
	if me.state&haveBase != 0 && t.n > 0 && me.unwrap(t.seq)+int64(t.n) > me.high {
		return true
	}
	return t.hasAck && peer.state&haveBase != 0 && peer.unwrap(t.ack) > peer.acked
}

// sameBytes guards duplicates: a packet with an equal header whose bytes differ is no duplicate, unless
// another one has brought those bytes already.
func (r *Reassembler) sameBytes(f *flow, side ntpac.Side, t *segmentView) bool {
	h := &f.half[side]
	if len(t.payload) <= mixed || h.state&haveBase == 0 { // short ones are equal by their digest
		return true
	}
	same := true
	r.beside(f, side, h.unwrap(t.seq), t.payload, func(off int64, was, now []byte) {
		differing(off, was, now, func(off int64, alt []byte) { same = same && r.known(f, side, off, alt) })
	})
	return same
}

// learn sets where the streams start, from SYN and SYN-ACK, or provisionally from the first packet.
func (r *Reassembler) learn(f *flow, ix uint32, side ntpac.Side, t *segmentView) {
	me, peer := &f.half[side], &f.half[side.Other()]
	if t.syn {
		me.state |= sawSyn
		r.setISN(f, ix, side, t.seq)
		if t.hasAck {
			// Its own SYN knows better, as the SYN-ACK may acknowledge data too; but far from it, it answers
			// a SYN that was not captured.
			if peer.state&sawSyn == 0 || abs(peer.unwrap(t.ack)) > r.cfg.MaxLost {
				r.setISN(f, ix, side.Other(), t.ack-1)
			}
			f.setClient(side.Other(), t.ack-1)
		} else if peer.state&sawSyn != 0 && f.clientBy == ntpac.BySyn && f.client != side {
			f.flags |= ntpac.SimOpen
		} else {
			f.setClient(side, t.seq)
		}
		return
	}
	if me.state&haveBase == 0 && (t.n > 0 || t.fin) && !t.rst {
		me.setBase(t.seq)
		r.hold(f, ix, side, t.now)
	}
}

func (f *flow) setClient(s ntpac.Side, isn uint32) {
	if f.clientBy == ntpac.BySyn {
		return
	}
	f.client, f.clientBy = s, ntpac.BySyn
	if f.status&identified == 0 { // a part of the id, which is fixed by now
		f.isn = isn
	}
}

// setISN fixes offset 0 of a side: the byte after the SYN.
func (r *Reassembler) setISN(f *flow, ix uint32, side ntpac.Side, isn uint32) {
	h := &f.half[side]
	switch {
	case h.state&haveISN != 0 && h.base == isn+1:
		return
	case h.state&holding != 0:
		if !r.heads(h, isn) {
			return
		}
		r.rebase(f, side, h.unwrap(isn+1))
		h.state |= haveISN
		r.release(f, ix, side)
	case h.next > 0 || h.segs != 0:
		return // too late: the stream has begun
	default:
		h.setBase(isn + 1)
	}
	h.state |= haveISN
}

// setBase sets the sequence number of offset 0 of a stream that has not begun.
func (h *half) setBase(seq uint32) {
	acked := uint32(h.acked)
	h.base, h.acked, h.fin = seq, 0, -1
	h.state |= haveBase
	if h.state&sawAck != 0 {
		h.state &^= sawAck
		if a := h.unwrap(acked); abs(a) <= plausibleAck {
			h.acked = a
		}
	}
}

// acknowledge notes what the peer of a side has acknowledged. A hole below it was lost before the
// tap, not before the receiver: it becomes final when the reorder window has passed.
func (r *Reassembler) acknowledge(f *flow, ix uint32, side ntpac.Side, t *segmentView) {
	h := &f.half[side]
	if h.state&haveBase == 0 {
		h.acked, h.state = int64(t.ack), h.state|sawAck
		r.extras.of(f).ackedAt[side] = t.now
		return
	}
	a := h.unwrap(t.ack)
	if a <= h.acked || a-h.high > plausibleAck {
		return
	}
	h.acked = a
	if a > h.next {
		r.extras.of(f).ackedAt[side] = t.now
		r.arm(f, ix, side)
	}
}

// accept takes a segment's payload into its stream.
func (r *Reassembler) accept(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side, t *segmentView, e *ntpac.Event) {
	h := &f.half[side]
	off := h.unwrap(t.seq)
	if t.syn {
		off++
	}
	data := t.payload
	if t.n == 0 || t.rst || h.state&haveBase == 0 { // the text in a RST is no part of the stream (RFC 9293 section 3.5.3)
		e.Start, e.Flags = h.next, e.Flags|ntpac.EvNoData
		r.stats.outside(len(data))
		r.record(f, ix, b, p, e)
		return
	}
	e.Start, e.Len = off, uint32(len(data))
	end := off + int64(t.n)
	if off == h.next && h.segs == 0 && h.state&holding == 0 { // the fast path: in order, nothing held
		r.record(f, ix, b, p, e)
		r.emit(f, side, data)
		r.giveUp(f, side, end, ntpac.GapCut)
		h.high = max(h.high, end)
		if h.gapDue != 0 {
			r.arm(f, ix, side)
		}
		return
	}
	switch {
	case r.keepAlive(h, t, off):
		e.Flags |= ntpac.EvNoData
		r.stats.outside(len(data))
		r.record(f, ix, b, p, e)
		return
	case end <= 0 && h.state&(holding|haveISN) == haveISN, off-h.high > farJump, h.next-off > farJump:
		e.Flags |= ntpac.EvNoData
		r.stats.OutOfWindow++
		r.stats.outside(len(data))
		r.record(f, ix, b, p, e)
		return
	case h.state&holding != 0:
		r.order(f, side, off, end, data, e, b, p)
	case end <= h.next:
		r.again(f, side, off, data, e, b, p)
		e.Flags |= ntpac.EvNoData
		r.stats.Retransmitted++
		r.stats.Payload.Again += uint64(len(data))
	default:
		r.irregular(f, ix, side, off, end, data, e, b, p)
	}
	h.high = max(h.high, end)
	r.record(f, ix, b, p, e)
	r.advanceSide(f, ix, side)
}

// irregular takes a segment that is not simply next: partly old, or ahead of a hole.
func (r *Reassembler) irregular(f *flow, ix uint32, side ntpac.Side, off, end int64, data []byte, e *ntpac.Event, b *ntpac.Batch, p *ntpac.Packet) {
	h := &f.half[side]
	if off < h.next {
		n := min(h.next-off, int64(len(data)))
		r.again(f, side, off, data[:n], e, b, p)
		r.stats.Payload.Again += uint64(n)
		off, data = h.next, data[n:]
	}
	if off > h.next {
		r.stats.OutOfOrder++
	}
	r.order(f, side, off, end, data, e, b, p)
}

// order holds a segment's bytes until what comes before them is there.
func (r *Reassembler) order(f *flow, side ntpac.Side, off, end int64, data []byte, e *ntpac.Event, b *ntpac.Batch, p *ntpac.Packet) {
	h := &f.half[side]
	fresh := r.insert(h, off, off+int64(len(data)), data, func(at int64, held, now []byte) {
		r.clash(f, side, at, held, now, e, b, p)
	})
	r.stats.Payload.Again += uint64(int64(len(data)) - fresh)
	if cut := off + int64(len(data)); cut < end {
		fresh += r.insert(h, cut, end, nil, nil)
	}
	if fresh == 0 {
		e.Flags |= ntpac.EvNoData
	}
}

// advanceSide lets go what has become next, and gives holes up where waiting on costs too much.
func (r *Reassembler) advanceSide(f *flow, ix uint32, side ntpac.Side) {
	h := &f.half[side]
	if h.state&holding == 0 {
		r.drain(f, side)
		r.arm(f, ix, side)
	}
	for int(h.nsegs) > r.cfg.MaxOrder {
		f.flags |= ntpac.LimitOrder
		r.stats.OrderLimit++
		r.limit(f, ix, side, ntpac.GapWindow)
	}
	if r.segs.held > r.cfg.MaxHeld {
		r.relieve()
	}
}

// limit gives up a hole when too much waits behind it: either a receiver's window would be full, or the
// reassembler has no more memory to wait with.
func (r *Reassembler) limit(f *flow, ix uint32, side ntpac.Side, cause ntpac.GapCause) {
	if f.half[side].state&holding != 0 {
		r.release(f, ix, side)
		return
	}
	r.skipTo(f, side, cause)
	r.arm(f, ix, side)
}

// ending notes a valid FIN or RST.
func (r *Reassembler) ending(f *flow, ix uint32, side ntpac.Side, t *segmentView) {
	h := &f.half[side]
	if t.fin && h.state&haveBase != 0 {
		if end := h.unwrap(t.seq) + int64(t.n); end >= h.high && end-h.high <= farJump {
			h.fin, h.high = end, end
		}
	}
	if t.rst && plausibleRst(f, side, t) {
		h.state |= sawRst
		if t.hasAck {
			r.acknowledge(f, ix, side.Other(), t)
		}
		if end := h.unwrap(t.seq); h.state&haveBase != 0 && h.fin < 0 && end >= h.high {
			h.fin = end
		}
	}
}
