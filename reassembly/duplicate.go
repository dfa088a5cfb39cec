package reassembly

import (
	"encoding/binary"

	"ntpac"
)

// A packet may be captured twice: on its way into and out of a mirrored device, or by two sources. Each
// flow remembers its last few packets, both directions together, and recognises one that comes again
// within the duplicate window; those before them are in Reassembler.recall. An entry has 16 bits of time and
// 48 that depend on the protocol:
//
//	TCP       digest (48) | time (16)
//	datagrams digest (23) | side (1) | source (8) | captured payload (16) | time (16)
//
// The time is in ticks of 2^18 ns. It is never ambiguous: after a silence longer than the window all
// entries are stale and are dropped, so the oldest one is recentLen windows old at most. A copy is noted in the
// recall with its own time: the copy of a copy is one, too.

// recentLen is how many packets of a flow it remembers itself.
const recentLen = 8

// maxDuplicate is the longest duplicate window that the entries' time can tell.
const maxDuplicate = ntpac.Second / 2

// tick is the unit in which times of packets are remembered.
func tick(ts ntpac.Time) int64 { return int64(ts >> 18) }

func recentTime(ts ntpac.Time) uint64 { return uint64(tick(ts)) & 0xffff }

// stale drops the flow's memory of packets when all of it is older than the window. It is called for every
// packet before f.seen is moved.
func (f *flow) stale(ts, window ntpac.Time) {
	if d := ts - f.seen; d > window || d < -window {
		f.recent = [recentLen]uint64{}
	}
}

// since is how many ticks before ts an entry was made.
func since(entry uint64, ts ntpac.Time) int64 {
	return int64(int16(uint16(recentTime(ts)) - uint16(entry)))
}

// near reports whether so many ticks are within the window.
func near(ticks int64, window ntpac.Time) bool {
	w := tick(window) + 1
	return ticks <= w && ticks >= -w
}

// remember notes a packet; the one that has to leave the flow's memory for it goes to the recall. what is
// what that needs of the leaving one beside its entry.
func (r *Reassembler) remember(f *flow, entry uint64, what int64, ts ntpac.Time) {
	if was := f.recent[f.slot]; was != 0 {
		if age := since(was, ts); near(age, r.cfg.Duplicate) {
			r.recallPut(f, was, what, ts, age)
		}
	}
	f.recent[f.slot] = entry
	f.slot = (f.slot + 1) % recentLen
}

// recallPut notes a packet that came so many ticks before ts.
func (r *Reassembler) recallPut(f *flow, entry uint64, what int64, ts ntpac.Time, age int64) {
	r.recall.turn(tick(ts), tick(r.cfg.Duplicate))
	if !r.recall.put(f.recallKey(entry), what, tick(ts)-age) {
		r.stats.Unremembered++
	}
}

// recallKey is what an entry of this conversation is found by, whatever its time, and of a datagram whoever
// captured it.
func (f *flow) recallKey(entry uint64) uint64 {
	if f.key.Proto() != ntpac.TCP {
		entry &^= sourceBits
	}
	return mix(mix(f.hash^uint64(f.first), uint64(f.ordinal)), entry>>16)
}

// recalled finds a packet that the flow itself does not remember any more.
func (r *Reassembler) recalled(f *flow, entry uint64, ts ntpac.Time) (s recallSlot, ok bool) {
	s, ok = r.recall.get(f.recallKey(entry))
	return s, ok && near(s.age(tick(ts)), r.cfg.Duplicate)
}

// recognise reports whether a TCP segment, of which d is the digest, was captured a moment ago. Otherwise it
// is remembered, and the digest is given by which that was done: see fresh.
func (r *Reassembler) recognise(f *flow, side ntpac.Side, t *segmentView, d uint64, ts ntpac.Time) (full uint64, again bool) {
	over := f.status&emitted != 0
	f.stale(ts, r.cfg.Duplicate)
	if !over && r.fresh(f, side, t) {
		r.rememberSegment(f, d, ts)
		return d, false
	}
	full = d
	if len(t.payload) > 0 {
		full = mixBytes(d, t.payload)
	}
	if over && !f.hasStrays() {
		return full, false
	}
	if age, ok := r.sawSegment(f, full, ts); ok {
		r.recallPut(f, full, 0, ts, min(age, 0))
		return full, true
	}
	if full != d && !over {
		if age, ok := r.sawSegment(f, d, ts); ok && r.sameBytes(f, side, t) {
			r.recallPut(f, d, 0, ts, min(age, 0))
			return full, true
		}
	}
	r.rememberSegment(f, full, ts)
	return full, false
}

// fresh reports whether a segment cannot be a copy, as it goes on behind everything that its side has said or
// acknowledged: most do. What it brings is then in the stream, which it can be compared with when a segment
// with the same header comes again, so that its payload need not be in the digest.
func (r *Reassembler) fresh(f *flow, side ntpac.Side, t *segmentView) bool {
	me, peer := &f.half[side], &f.half[side.Other()]
	if t.syn || t.fin || t.rst || me.state&haveBase == 0 || r.cfg.Checksums == ChecksumsVerify {
		return false
	}
	on := me.unwrap(t.seq) - me.high
	if t.n > 1 { // not a probe
		return on >= 0 && on <= r.cfg.MaxLost
	}
	if t.n > 0 || !t.hasAck || peer.state&haveBase == 0 || abs(on) > r.cfg.MaxLost {
		return false
	}
	a := peer.unwrap(t.ack)
	return a > peer.acked && a-peer.high <= plausibleAck
}

// sawSegment reports whether a TCP segment with this digest was seen a moment ago, and how many ticks before ts.
func (r *Reassembler) sawSegment(f *flow, digest uint64, ts ntpac.Time) (age int64, ok bool) {
	for _, e := range f.recent {
		if age = since(e, ts); (e^digest)>>16 == 0 && near(age, r.cfg.Duplicate) {
			return age, true
		}
	}
	s, ok := r.recalled(f, digest, ts)
	return s.age(tick(ts)), ok
}

func (r *Reassembler) rememberSegment(f *flow, digest uint64, ts ntpac.Time) {
	r.remember(f, digest&^0xffff|recentTime(ts), 0, ts)
}

// datagramSeen is an equal datagram that was seen a moment ago.
type datagramSeen struct {
	off  int64 // where its payload lies in the stream of its side
	from uint8 // the source that captured it
}

// what is what the recall keeps of it.
func (d datagramSeen) what() int64 { return d.off<<8 | int64(d.from) }

// sourceBits are the entry's bits that say who captured a datagram.
const sourceBits = 0xff << 32

// sawDatagram looks for a datagram of an entry.
func (r *Reassembler) sawDatagram(f *flow, want uint64, side ntpac.Side, ts ntpac.Time) (d datagramSeen, ok bool) {
	d.off = f.half[side].next
	for k := range uint8(recentLen) {
		e := f.recent[(f.slot+recentLen-1-k)%recentLen]
		if e>>40&1 != want>>40&1 || e == 0 {
			continue
		}
		d.off -= int64(e >> 16 & 0xffff)
		if (e^want)&^(sourceBits|0xffff) == 0 && near(since(e, ts), r.cfg.Duplicate) {
			d.from = uint8(e >> 32)
			return d, true
		}
	}
	s, ok := r.recalled(f, want, ts)
	return datagramSeen{s.what >> 8, uint8(s.what)}, ok
}

// rememberDatagram notes a datagram that is about to be added to its stream. One too long for an entry makes
// the places of those before it unknown.
func (r *Reassembler) rememberDatagram(f *flow, entry uint64, n int, ts ntpac.Time) {
	if n > 0xffff {
		f.recent = [recentLen]uint64{}
		return
	}
	was := f.recent[f.slot] // the oldest
	off := f.half[was>>40&1].next
	for _, e := range f.recent {
		if e>>40&1 == was>>40&1 {
			off -= int64(e >> 16 & 0xffff)
		}
	}
	r.remember(f, entry, datagramSeen{off, uint8(was >> 32)}.what(), ts)
}

func datagramEntry(digest uint64, n int, src uint16, side ntpac.Side, ts ntpac.Time) uint64 {
	return (digest>>41|1)<<41 | uint64(side)<<40 | uint64(uint8(src))<<32 | uint64(uint16(n))<<16 | recentTime(ts)
}

// digest sums up what makes two captured packets the same packet: the transport header without its
// checksum, the payload's length and the IP identification.
func digest(frame []byte, p *ntpac.Packet) uint64 {
	x := uint64(p.PayLen) * mixer
	if p.Flags&ntpac.IPv6 == 0 {
		x ^= uint64(binary.BigEndian.Uint16(frame[p.L3+4:])) << 32
	}
	h := frame[p.L4:p.Pay]
	switch {
	case p.Proto == ntpac.TCP && len(h) >= 20:
		be := binary.BigEndian
		x = mix(x, be.Uint64(h))
		x = mix(x, be.Uint64(h[8:]))
		x = mix(x, uint64(be.Uint16(h[18:])))
		h = h[20:]
	case len(h) == 8: // UDP: the checksum is last
		return mix(x, binary.BigEndian.Uint64(h)&^0xffff)
	}
	return mixBytes(x, h)
}

const mixer = 0x9E3779B97F4A7C15

func mix(x, w uint64) uint64 {
	x = (x ^ w) * mixer
	return x ^ x>>32
}

func mixBytes(x uint64, b []byte) uint64 {
	for len(b) >= 8 {
		x = mix(x, binary.BigEndian.Uint64(b))
		b = b[8:]
	}
	if len(b) >= 4 {
		x = mix(x, uint64(binary.BigEndian.Uint32(b)))
		b = b[4:]
	}
	for _, c := range b {
		x = mix(x, uint64(c))
	}
	return x
}
