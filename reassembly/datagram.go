package reassembly

import (
	"ntpac"
)

// datagram processes a packet of a conversation without a connection: UDP, ICMP, SCTP and whatever
// else IP carries. Each packet's payload is one message; a stream is the messages one after another.
func (r *Reassembler) datagram(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side) {
	if p.TS-f.last > r.cfg.Idle {
		r.restart(f, ix, b, p, side, splitIdle)
	} else if f.status&emitted != 0 && !r.revive(f) {
		r.restart(f, ix, b, p, side, splitIdle)
	}
	frame := b.Frame(p)
	h := &f.half[side]
	e := r.observe(b, p, side)
	data := frame[p.Pay : uint32(p.Pay)+p.PayCap]
	if r.repeated(f, h, side, b, p, frame, data) {
		r.stats.Duplicates++
		h.dups++
		e.Flags |= ntpac.EvDup | ntpac.EvNoData
		e.Start = h.next
		r.record(f, ix, b, p, e)
		return
	}
	f.last = max(f.last, p.TS)
	if h.packets == 0 {
		h.started = p.TS
	}
	h.packets++
	e.Start, e.Len = h.next, uint32(len(data))
	r.record(f, ix, b, p, e)
	if len(data) > 0 {
		r.emit(f, side, data)
	}
}

// repeated recognises a datagram that was captured twice: equal, close in time, and either of the
// same IP identification or seen by another source. An application may well send equal datagrams.
func (r *Reassembler) repeated(f *flow, h *half, side ntpac.Side, b *ntpac.Batch, p *ntpac.Packet, frame, data []byte) bool {
	d := digest(frame, frame[p.L4:p.Pay], p)
	for n := min(len(data), 32); n >= 8; n -= 8 {
		d = d*16777619 ^ uint32(data[n-1]) ^ uint32(data[n-3])<<8 ^ uint32(data[n-5])<<16 ^ uint32(data[n-8])<<24
	}
	src := uint8(1) << min(b.Blocks[p.Blk].Index, 7)
	other := f.sources&^src != 0
	f.sources |= src
	at, seen := h.duplicate(d|1, p.TS, r.cfg.Duplicate)
	if !seen {
		return false
	}
	if !other && (p.Flags&ntpac.IPv6 != 0 || frame[p.L3+4] == 0 && frame[p.L3+5] == 0) {
		return false
	}
	return r.compare(f, side, at, data, nil) == 0
}
