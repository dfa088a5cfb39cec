package reassembly

import "ntpac"

// datagram processes a packet of a conversation without a connection: UDP, ICMP, SCTP and whatever
// else IP carries. Each packet's payload is one message; a stream is the messages one after another.
func (r *Reassembler) datagram(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side, now ntpac.Time) {
	if now-f.seen > r.cfg.Idle || f.status&emitted != 0 && !r.revive(f, ix) {
		r.restart(f, ix, p, side, now, splitIdle)
	}
	frame := b.Frame(p)
	h := &f.half[side]
	e := r.observe(b, p, side)
	data := frame[p.Pay : uint32(p.Pay)+p.PayCap]
	d := mixBytes(digest(frame, p), data[:min(len(data), mixed)])
	r.extras.stale(f, p.TS, r.cfg.Duplicate)
	if r.repeated(f, d, side, b, p, frame, data) {
		e.Flags |= ntpac.EvDup | ntpac.EvNoData
		e.Start = h.next
		r.duplicate(f, ix, b, p, e)
		return
	}
	r.extras.rememberDatagram(f, d, len(data), b.Blocks[p.Blk].Index, side, p.TS, r.cfg.Duplicate)
	f.last = max(f.last, p.TS)
	f.seen = f.last
	h.packets++
	r.stats.Analysed++
	e.Start, e.Len = h.next, uint32(len(data))
	r.record(f, ix, b, p, e)
	if len(data) > 0 {
		r.emit(f, side, data)
	}
}

// repeated recognises a datagram that was captured twice: equal, close in time, and either of the
// same IP identification or seen by another source. An application may well send equal datagrams.
func (r *Reassembler) repeated(f *flow, d uint64, side ntpac.Side, b *ntpac.Batch, p *ntpac.Packet, frame, data []byte) bool {
	if len(data) > 0xffff {
		return false
	}
	seen, ok := r.extras.sawDatagram(f, d, len(data), b.Blocks[p.Blk].Index, side, p.TS, r.cfg.Duplicate)
	if !ok {
		return false
	}
	if !seen.other && (p.Flags&ntpac.IPv6 != 0 || frame[p.L3+4] == 0 && frame[p.L3+5] == 0) {
		return false
	}
	return r.equal(f, side, seen.off, data)
}
