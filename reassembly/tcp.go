package reassembly

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"ntpac"
	"ntpac/packet"
)

// segmentView is what the rules need of a TCP segment.
type segmentView struct {
	ts      ntpac.Time
	seq     uint32
	ack     uint32
	tsval   uint32
	n       uint32 // payload by the headers' word
	digest  uint32
	payload []byte // captured payload
	syn     bool
	fin     bool
	rst     bool
	psh     bool
	hasAck  bool
	hasTS   bool
}

func (t *segmentView) read(frame []byte, p *ntpac.Packet) {
	h := frame[p.L4:p.Pay]
	fl := h[13]
	*t = segmentView{ts: p.TS, seq: binary.BigEndian.Uint32(h[4:]), ack: binary.BigEndian.Uint32(h[8:]), n: p.PayLen,
		payload: frame[p.Pay : uint32(p.Pay)+p.PayCap],
		syn:     fl&2 != 0, fin: fl&1 != 0, rst: fl&4 != 0, psh: fl&8 != 0, hasAck: fl&16 != 0}
	if len(h) >= 32 { // by far the commonest layout first: NOP NOP TS
		if o := h[20:]; o[0] == 1 && o[1] == 1 && o[2] == 8 && o[3] == 10 {
			t.tsval, t.hasTS = binary.BigEndian.Uint32(o[4:]), true
		} else {
			t.tsval, _, t.hasTS = packet.Timestamps(frame, p)
		}
	}
	t.digest = digest(frame, h, p)
}

// digest sums up what makes two captured packets the same packet: the transport header without its
// checksum, the payload's length and the IP identification.
func digest(frame, h []byte, p *ntpac.Packet) uint32 {
	const m = 0x9E3779B97F4A7C15
	x := uint64(p.PayLen) * m
	if p.Flags&ntpac.IPv6 == 0 {
		x ^= uint64(binary.BigEndian.Uint16(frame[p.L3+4:])) << 32
	}
	for len(h) >= 8 {
		w := binary.BigEndian.Uint64(h)
		if len(h) == int(p.Pay-p.L4)-16 && p.Proto == ntpac.TCP {
			w &= 0x0000FFFFFFFFFFFF // checksum
		}
		x = (x ^ w) * m
		x ^= x >> 29
		h = h[8:]
	}
	for _, c := range h {
		x = (x ^ uint64(c)) * m
	}
	return uint32(x>>32) | 1
}

// unwrap gives the stream offset of a sequence number: the one nearest to where the side is.
func (h *half) unwrap(seq uint32) int64 {
	return h.next + int64(int32(seq-(h.base+uint32(h.next))))
}

// duplicate reports whether the same packet was seen a moment ago, and where the stream was then; it
// remembers this one otherwise.
func (h *half) duplicate(d uint32, ts, window ntpac.Time) (off int64, seen bool) {
	at := uint32(ts / 1000)
	for i := range h.recent {
		if q := &h.recent[i]; q.digest == d && ntpac.Time(at-q.at) <= window/1000 {
			return h.next - int64(uint32(h.next)-q.off), true
		}
	}
	h.recent[h.slot] = recent{d, at, uint32(h.next)}
	h.slot = (h.slot + 1) % recentLen
	return 0, false
}

// tcp processes a segment of the flow f.
func (r *Reassembler) tcp(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side) {
	var t segmentView
	frame := b.Frame(p)
	t.read(frame, p)
	r.settle(f, ix, p.TS)
	if why := r.continues(f, side, &t); why != noSplit {
		r.restart(f, ix, b, p, side, why)
	} else {
		if p.TS-f.last > r.cfg.Idle {
			r.finish(f, ix, ntpac.CloseIdle) // as the wheel would have, had it come first
		}
		if f.status&emitted != 0 && !r.revive(f) {
			r.restart(f, ix, b, p, side, splitClose)
		}
	}
	me := &f.half[side]
	e := r.observe(b, p, side)
	e.Flags |= tcpFlags(&t)
	if _, seen := me.duplicate(t.digest, t.ts, r.cfg.Duplicate); seen && r.sameBytes(f, side, &t) {
		r.stats.Duplicates++
		me.dups++
		e.Flags |= ntpac.EvDup | ntpac.EvNoData
		e.Start = me.next
		r.record(f, ix, b, p, e)
		return
	}
	f.last = max(f.last, t.ts)
	if f.closeAt != 0 {
		f.closeAt = f.last + r.cfg.Window
	}
	if me.packets == 0 {
		me.started = t.ts
	}
	me.packets++
	if r.cfg.Checksums == ChecksumsVerify && !packet.ChecksumOK(frame, p) {
		r.badChecksum(f, ix, b, p, e, me)
		return
	}
	r.learn(f, ix, side, &t)
	if t.hasAck && !t.rst {
		r.acknowledge(f, side.Other(), &t)
	}
	r.accept(f, ix, b, p, side, &t, e)
	r.ending(f, side, &t, frame, p)
	if t.hasTS {
		me.tsval, me.state = t.tsval, me.state|sawTS
	}
}

func tcpFlags(t *segmentView) (f ntpac.EventFlags) {
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

func (r *Reassembler) badChecksum(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, e *ntpac.Event, me *half) {
	r.stats.BadChecksum++
	f.flags |= ntpac.BadChecksum
	e.Flags |= ntpac.EvBadSum | ntpac.EvNoData
	e.Start = me.next
	r.record(f, ix, b, p, e)
}

// sameBytes guards duplicates: a packet with an equal header whose bytes differ is no duplicate.
func (r *Reassembler) sameBytes(f *flow, side ntpac.Side, t *segmentView) bool {
	h := &f.half[side]
	if len(t.payload) == 0 || h.state&haveBase == 0 {
		return true
	}
	off := h.unwrap(t.seq)
	if off < 0 || off+int64(len(t.payload)) > h.next {
		return true
	}
	return r.compare(f, side, off, t.payload, nil) == 0
}

// learn sets where the streams start, from SYN and SYN-ACK, or provisionally from the first packet.
func (r *Reassembler) learn(f *flow, ix uint32, side ntpac.Side, t *segmentView) {
	me, peer := &f.half[side], &f.half[side.Other()]
	if t.syn {
		me.state |= sawSyn
		r.setISN(f, ix, side, t.seq)
		if t.hasAck {
			r.setISN(f, ix, side.Other(), t.ack-1)
			f.setClient(side.Other(), t.ack-1)
		} else if peer.state&sawSyn != 0 && f.clientBy == ntpac.BySyn && f.client != side {
			f.flags |= ntpac.SimOpen
		} else {
			f.setClient(side, t.seq)
		}
		return
	}
	if me.state&haveBase == 0 && (t.n > 0 || t.fin) {
		me.base, me.state = t.seq, me.state|haveBase
		r.hold(f, ix, side)
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
		r.rebase(f, ix, side, h.unwrap(isn+1))
		h.state |= haveISN
		r.release(f, ix, side)
	case h.next > 0 || h.segs != 0:
		return // too late: the stream has begun
	default:
		h.base = isn + 1
	}
	h.state |= haveBase | haveISN
}

// acknowledge notes what the peer of a side has acknowledged. A hole below it was lost before the
// tap, not before the receiver: it becomes final when the reorder window has passed.
func (r *Reassembler) acknowledge(f *flow, side ntpac.Side, t *segmentView) {
	h := &f.half[side]
	if h.state&haveBase == 0 {
		return
	}
	a := h.unwrap(t.ack)
	if a <= h.acked || a-h.high > plausibleAck {
		return
	}
	h.acked = a
	if a > h.next && h.packets > 0 && h.gapDue == 0 && h.state&holding == 0 {
		h.gapDue = t.ts + r.cfg.Window
	}
}

// accept takes a segment's payload into its stream.
func (r *Reassembler) accept(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side, t *segmentView, e *ntpac.Event) {
	h := &f.half[side]
	seq := t.seq
	if t.syn {
		seq++
	}
	off := h.unwrap(seq)
	e.Start = off
	e.Len = uint32(len(t.payload))
	if t.n == 0 || h.state&haveBase == 0 {
		e.Start, e.Len, e.Flags = h.next, 0, e.Flags|ntpac.EvNoData
		r.record(f, ix, b, p, e)
		return
	}
	end := off + int64(t.n)
	data := t.payload
	switch {
	case keepAlive(h, t, off):
		e.Flags |= ntpac.EvNoData
	case h.state&haveISN != 0 && off < -int64(farJump), off-h.high > farJump:
		r.stats.OutOfWindow++
		e.Flags |= ntpac.EvNoData
	case h.state&holding != 0:
		r.order(f, side, off, end, data, t, e, b, p)
	case off == h.next && h.segs == 0 && int(t.n) == len(data):
		r.record(f, ix, b, p, e) // the fast path: in order, nothing held
		r.emit(f, side, data)
		h.high = max(h.high, h.next)
		if h.gapDue != 0 && h.acked <= h.next {
			h.gapDue = 0
		}
		return
	case end <= h.next:
		r.again(f, side, off, data, t, e, b, p)
		e.Flags |= ntpac.EvNoData
		r.stats.Retransmitted++
	default:
		r.irregular(f, side, off, end, data, t, e, b, p)
	}
	h.high = max(h.high, end)
	r.record(f, ix, b, p, e)
	r.limitOrder(f, ix, side)
}

// irregular takes a segment that is not simply next: partly old, ahead of a hole, or cut.
func (r *Reassembler) irregular(f *flow, side ntpac.Side, off, end int64, data []byte, t *segmentView, e *ntpac.Event, b *ntpac.Batch, p *ntpac.Packet) {
	h := &f.half[side]
	if off < h.next {
		n := min(h.next-off, int64(len(data)))
		r.again(f, side, off, data[:n], t, e, b, p)
		off, data = h.next, data[n:]
	}
	if off > h.next {
		r.stats.OutOfOrder++
	}
	r.order(f, side, off, end, data, t, e, b, p)
	r.drain(f, side)
	if h.segs != 0 && h.acked > h.next && h.gapDue == 0 {
		h.gapDue = t.ts + r.cfg.Window
	}
	if h.gapDue != 0 && h.acked <= h.next {
		h.gapDue = 0
	}
}

// order holds a segment's bytes until what comes before them is there.
func (r *Reassembler) order(f *flow, side ntpac.Side, off, end int64, data []byte, t *segmentView, e *ntpac.Event, b *ntpac.Batch, p *ntpac.Packet) {
	h := &f.half[side]
	fresh := r.insert(h, off, off+int64(len(data)), data, func(at int64, held, now []byte) {
		r.clash(f, side, at, held, now, e, b, p)
	})
	if cut := off + int64(len(data)); cut < end {
		fresh += r.insert(h, cut, end, nil, nil)
	}
	if fresh == 0 {
		e.Flags |= ntpac.EvNoData
	}
}

// clash compares bytes that two segments bring while the earlier one, the primary, is still held.
func (r *Reassembler) clash(f *flow, side ntpac.Side, off int64, held, now []byte, e *ntpac.Event, b *ntpac.Batch, p *ntpac.Packet) {
	if bytes.Equal(held, now) || !r.trusted(b, p) {
		return
	}
	differing(off, held, now, func(off int64, alt []byte) { r.conflict(f, side, off, alt, e) })
}

// again compares bytes that the stream already has with those that were captured first.
func (r *Reassembler) again(f *flow, side ntpac.Side, off int64, data []byte, t *segmentView, e *ntpac.Event, b *ntpac.Batch, p *ntpac.Packet) {
	if off < 0 {
		data = data[min(-off, int64(len(data))):]
		off = 0
	}
	if r.compare(f, side, off, data, nil) == 0 || !r.trusted(b, p) {
		return
	}
	r.compare(f, side, off, data, func(off int64, alt []byte) { r.conflict(f, side, off, alt, e) })
}

// compare visits the runs of b that differ from what the sink was given, and counts their bytes.
func (r *Reassembler) compare(f *flow, side ntpac.Side, off int64, b []byte, visit func(off int64, alt []byte)) (differ int) {
	for len(b) > 0 {
		was, hole := r.sink.Given(f.handle, side, off)
		n := min(int64(len(b)), hole)
		if hole == 0 {
			n = int64(min(len(b), len(was)))
			if n == 0 {
				return differ
			}
			if !bytes.Equal(was[:n], b[:n]) {
				differ += differing(off, was[:n], b[:n], visit)
			}
		}
		off, b = off+n, b[n:]
	}
	return differ
}

// differing visits the runs in which now differs from was, and counts their bytes.
func differing(off int64, was, now []byte, visit func(off int64, alt []byte)) (n int) {
	for i := 0; i < len(now); i++ {
		j := i
		for j < len(now) && was[j] != now[j] {
			j++
		}
		if j > i {
			n += j - i
			if visit != nil {
				visit(off+int64(i), now[i:j])
			}
			i = j
		}
	}
	return n
}

func (r *Reassembler) conflict(f *flow, side ntpac.Side, off int64, alt []byte, e *ntpac.Event) {
	f.half[side].overlap += int64(len(alt))
	r.stats.Conflicts += uint64(len(alt))
	r.sink.Conflict(f.handle, side, ntpac.Conflict{Off: off, Alt: alt, TS: e.TS, Ord: e.Ord, From: e.Source})
}

// trusted reports whether a segment's checksum lets it contradict another one.
func (r *Reassembler) trusted(b *ntpac.Batch, p *ntpac.Packet) bool {
	return r.cfg.Checksums == ChecksumsIgnore || packet.ChecksumOK(b.Frame(p), p)
}

// limitOrder gives up a hole when too much waits behind it: a receiver's window would be full.
func (r *Reassembler) limitOrder(f *flow, ix uint32, side ntpac.Side) {
	h := &f.half[side]
	for h.nsegs > uint32(r.cfg.MaxOrder) {
		r.stats.OrderLimit++
		if h.state&holding != 0 {
			r.release(f, ix, side)
			continue
		}
		cause := ntpac.GapWindow
		if h.acked >= r.segs.at(h.segs).off {
			cause = ntpac.GapAcked
		}
		r.skipTo(f, side, cause)
	}
}

// ending notes FIN and RST. The connection is over when both sides have said all, or at RST; it is emitted when the reorder window has passed without another packet.
func (r *Reassembler) ending(f *flow, side ntpac.Side, t *segmentView, frame []byte, p *ntpac.Packet) {
	h, peer := &f.half[side], &f.half[side.Other()]
	if t.fin || t.rst {
		if r.cfg.Checksums == ChecksumsAuto && !packet.ChecksumOK(frame, p) {
			f.flags |= ntpac.BadChecksum
			return
		}
	}
	if t.fin && h.state&haveBase != 0 {
		if end := h.unwrap(t.seq) + int64(t.n); end >= h.high && end-h.high <= farJump {
			h.fin, h.high = end, max(h.high, end)
		}
	}
	if t.rst {
		h.state |= sawRst
		if h.state&haveISN != 0 || h.state&haveBase != 0 {
			if end := h.unwrap(t.seq); h.fin < 0 && end >= h.high && end-h.high <= 1<<20 {
				h.fin = end
			}
		}
		f.closeAt = f.last + r.cfg.Window
	}
	done := func(h *half) bool { return h.fin >= 0 && h.next >= h.fin }
	if f.closeAt == 0 && done(h) && done(peer) {
		f.closeAt = f.last + r.cfg.Window
	}
}

// finish gives a conversation to the sink. cause says what ended it where neither FIN nor RST did.
func (r *Reassembler) finish(f *flow, ix uint32, cause ntpac.CloseCause) {
	if f.status&emitted != 0 {
		return
	}
	if f.key.Proto() == ntpac.TCP {
		for s := range ntpac.Side(2) {
			r.finishSide(f, ix, s)
		}
		if f.status&heldFlow != 0 {
			r.unhold(f, ix)
		}
		cause = tcpCause(f, cause)
	}
	c := r.conversation(f)
	c.Close = cause
	f.prev = c.ID
	f.status |= emitted
	r.sink.Close(f.handle, c)
}

func (r *Reassembler) finishSide(f *flow, ix uint32, s ntpac.Side) {
	h := &f.half[s]
	if h.state&holding != 0 {
		r.release(f, ix, s)
	}
	for h.segs != 0 {
		cause := ntpac.GapClose
		if h.acked >= r.segs.at(h.segs).off {
			cause = ntpac.GapAcked
		}
		r.skipTo(f, s, cause)
	}
	if h.packets > 0 {
		end, cause := tailEnd(h)
		r.giveUp(f, s, end, cause)
	}
	h.gapDue = 0
}

func tcpCause(f *flow, cause ntpac.CloseCause) ntpac.CloseCause {
	switch {
	case cause == ntpac.CloseLimit:
		return cause
	case (f.half[0].state|f.half[1].state)&sawRst != 0:
		return ntpac.CloseRst
	case f.half[0].fin >= 0 || f.half[1].fin >= 0:
		return ntpac.CloseFin
	}
	return cause
}

// conversation builds the record of a flow from what the reassembler knows.
func (r *Reassembler) conversation(f *flow) *ntpac.Conversation {
	c := &ntpac.Conversation{Case: r.cfg.Case, Key: f.key.FlowKey(), First: f.first, Last: f.last, Client: f.client, ClientBy: f.clientBy,
		SplitBy: f.split.String(), Flags: f.flags, VLAN: f.vlan, Revision: uint32(f.revision)}
	tcp := f.key.Proto() == ntpac.TCP
	for s := range 2 {
		h := &f.half[s]
		c.Half[s] = ntpac.Half{Packets: h.packets, Duplicates: h.dups, Bytes: h.bytes, Missing: h.missing, End: h.next, Overlap: h.overlap,
			HeadKnown: !tcp || h.state&haveISN != 0}
		if h.packets == 0 {
			c.Flags |= ntpac.OneSided
		}
		if tcp && h.state&haveISN == 0 && h.bytes > 0 {
			c.Flags |= ntpac.HeadUnknown
		}
	}
	if tcp && (f.half[0].state|f.half[1].state)&haveISN == 0 {
		c.Flags |= ntpac.Midstream
	}
	c.ID = r.id(f, &c.Key)
	return c
}

// id derives the conversation's id: see ntpac.ConversationID.
func (r *Reassembler) id(f *flow, k *ntpac.FlowKey) (id ntpac.ConversationID) {
	b := append(r.idBuf[:0], r.cfg.Case...)
	b = append(b, 0)
	b = k.AppendBinary(b)
	b = binary.BigEndian.AppendUint64(b, uint64(f.first))
	b = binary.BigEndian.AppendUint32(b, f.isn)
	b = binary.BigEndian.AppendUint32(b, f.ordinal)
	r.idBuf = b
	sum := sha256.Sum256(b)
	binary.BigEndian.PutUint64(id[:], uint64(f.first))
	copy(id[8:], sum[:])
	return id
}
