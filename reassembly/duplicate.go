package reassembly

import (
	"encoding/binary"

	"ntpac"
)

// A packet may be captured twice: on its way into and out of a mirrored device, or by two sources. Each
// flow remembers its last few packets, both directions together, and what the duplicate window has beside them
// in a ring of its own (see recent.go); it recognises one that comes again within the window. An entry has
// 16 bits of time and 48 that depend on the protocol:
//
//	TCP       digest (48) | time (16)
//	datagrams digest (23) | side (1) | source (8) | captured payload (16) | time (16)
//
// The time is in units of 2^18 ns. It is never ambiguous: after a silence longer than the window all
// entries are stale and are dropped, so the oldest one is recentLen windows old at most.

// recentLen is how many packets of a flow are remembered in the flow itself.
const recentLen = 8

// maxDuplicate is the longest duplicate window that the entries' time can tell.
const maxDuplicate = ntpac.Second / 2

func recentTime(ts ntpac.Time) uint64 { return uint64(ts>>18) & 0xffff }

// stale drops the memory of packets when all of it is older than the window. It is called for every
// packet before f.seen is moved.
func (x *extras) stale(f *flow, ts, window ntpac.Time) {
	if d := ts - f.seen; d > window || d < -window {
		f.recent = [recentLen]uint64{}
		x.forget(f)
	}
}

// forget drops what of a flow's packets is not remembered in itself.
func (x *extras) forget(f *flow) {
	if f.extra == 0 {
		return
	}
	if e := x.at(f.extra); e.recent != 0 {
		x.recents.give(e.recent)
		e.recent = 0
	}
}

// closeBy reports whether an entry's time is within the window of ts.
func closeBy(entry uint64, ts, window ntpac.Time) bool {
	d := int16(uint16(recentTime(ts)) - uint16(entry))
	w := int16(window>>18) + 1
	return d <= w && d >= -w
}

// sawSegment reports whether a TCP segment with this digest was seen a moment ago; it remembers this
// one otherwise. One that brings something new was not: only what the flow remembers in itself is looked at.
func (x *extras) sawSegment(f *flow, digest uint64, ts, window ntpac.Time, isNew bool) bool {
	x.stale(f, ts, window)
	digest &^= 0xffff
	for i := range f.recent {
		if e := f.recent[i]; (e^digest)>>16 == 0 && closeBy(e, ts, window) {
			return true
		}
	}
	if r := x.ring(f); r != nil && !isNew {
		for k := range r.n {
			if e := r.last(k); (e^digest)>>16 == 0 && closeBy(e, ts, window) {
				return true
			}
		}
	}
	x.remember(f, digest|recentTime(ts), ts, window, recentSegments)
	return false
}

// ring gives the flow's ring, nil where it has none.
func (x *extras) ring(f *flow) *recentRing {
	if f.extra == 0 || x.at(f.extra).recent == 0 {
		return nil
	}
	return &x.recents.rings[x.at(f.extra).recent]
}

// remember keeps an entry in place of the flow's oldest one, which goes into the flow's ring while it may be
// asked for.
func (x *extras) remember(f *flow, e uint64, ts, window ntpac.Time, most int) {
	if old := f.recent[f.slot]; old != 0 && closeBy(old, ts, window) {
		if y := x.of(f); y.recent == 0 {
			y.recent = x.recents.take()
		}
		x.recents.push(x.at(f.extra).recent, old, ts, window, most)
	}
	f.recent[f.slot] = e
	f.slot = (f.slot + 1) % recentLen
}

// datagramSeen is an equal datagram that was seen a moment ago.
type datagramSeen struct {
	off   int64 // where its payload lies in the stream of its side
	other bool  // another source captured it
}

// sawDatagram looks for a datagram with the digest and the length of a payload: the latest one of those that
// are equal.
func (x *extras) sawDatagram(f *flow, digest uint64, n int, src uint16, side ntpac.Side, ts, window ntpac.Time) (d datagramSeen, ok bool) {
	want := datagramEntry(digest, n, src, side, ts)
	d.off = f.half[side].next
	for k := range uint8(recentLen) {
		if d.is(f.recent[(f.slot+recentLen-1-k)%recentLen], want, ts, window) {
			return d, true
		}
	}
	if r := x.ring(f); r != nil {
		for k := range r.n {
			if d.is(r.last(k), want, ts, window) {
				return d, true
			}
		}
	}
	return d, false
}

// is goes on to the datagram of an entry, the next one back, and reports whether it is the one that is wanted.
func (d *datagramSeen) is(e, want uint64, ts, window ntpac.Time) bool {
	if (e^want)>>40&1 != 0 || e == 0 {
		return false
	}
	d.off -= int64(e >> 16 & 0xffff)
	const source = 0xff << 32
	differ := (e ^ want) &^ 0xffff
	d.other = differ != 0
	return differ&^source == 0 && closeBy(e, ts, window)
}

// rememberDatagram notes a datagram that is added to its stream. One too long for an entry makes the places of
// those before it unknown.
func (x *extras) rememberDatagram(f *flow, digest uint64, n int, src uint16, side ntpac.Side, ts, window ntpac.Time) {
	if n > 0xffff {
		f.recent = [recentLen]uint64{}
		x.forget(f)
		return
	}
	x.remember(f, datagramEntry(digest, n, src, side, ts), ts, window, recentDatagrams)
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

// mixed is how many bytes of the payload are a part of what tells packets apart before their bytes are compared.
const mixed = 32

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
