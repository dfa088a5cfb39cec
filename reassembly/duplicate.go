package reassembly

import (
	"encoding/binary"

	"ntpac"
)

// A packet may be captured twice: on its way into and out of a mirrored device, or by two sources. Each
// flow remembers its last few packets, both directions together, and recognises one that comes again
// within the duplicate window. An entry has 16 bits of time and 48 that depend on the protocol:
//
//	TCP       digest (48) | time (16)
//	datagrams digest (23) | side (1) | source (8) | captured payload (16) | time (16)
//
// The time is in units of 2^18 ns. It is never ambiguous: after a silence longer than the window all
// entries are stale and are dropped, so the oldest one is recentLen windows old at most.

// recentLen is how many packets of a flow are remembered to recognise duplicates.
const recentLen = 8

// maxDuplicate is the longest duplicate window that the entries' time can tell.
const maxDuplicate = ntpac.Second / 2

func recentTime(ts ntpac.Time) uint64 { return uint64(ts>>18) & 0xffff }

// stale drops the memory of packets when all of it is older than the window. It is called for every
// packet before f.seen is moved.
func (f *flow) stale(ts, window ntpac.Time) {
	if d := ts - f.seen; d > window || d < -window {
		f.recent = [recentLen]uint64{}
	}
}

// closeBy reports whether an entry's time is within the window of ts.
func closeBy(entry uint64, ts, window ntpac.Time) bool {
	d := int16(uint16(recentTime(ts)) - uint16(entry))
	w := int16(window>>18) + 1
	return d <= w && d >= -w
}

// sawSegment reports whether a TCP segment with this digest was seen a moment ago; it remembers this
// one otherwise.
func (f *flow) sawSegment(digest uint64, ts, window ntpac.Time) bool {
	f.stale(ts, window)
	digest &^= 0xffff
	for i := range f.recent {
		if e := f.recent[i]; (e^digest)>>16 == 0 && closeBy(e, ts, window) {
			return true
		}
	}
	f.remember(digest | recentTime(ts))
	return false
}

func (f *flow) remember(e uint64) {
	f.recent[f.slot] = e
	f.slot = (f.slot + 1) % recentLen
}

// datagramSeen is an equal datagram that was seen a moment ago.
type datagramSeen struct {
	off   int64 // where its payload lies in the stream of its side
	other bool  // another source captured it
}

// sawDatagram looks for a datagram with the digest and the length of a payload.
func (f *flow) sawDatagram(digest uint64, n int, src uint16, side ntpac.Side, ts, window ntpac.Time) (d datagramSeen, ok bool) {
	want := datagramEntry(digest, n, src, side, ts)
	d.off = f.half[side].next
	for k := range uint8(recentLen) {
		e := f.recent[(f.slot+recentLen-1-k)%recentLen]
		if e>>40&1 != want>>40&1 || e == 0 {
			continue
		}
		d.off -= int64(e >> 16 & 0xffff)
		const source = 0xff << 32
		if differ := (e ^ want) &^ 0xffff; differ&^source == 0 && closeBy(e, ts, window) {
			d.other = differ != 0
			return d, true
		}
	}
	return d, false
}

// rememberDatagram notes a datagram that was added to its stream. One too long for an entry makes the
// places of those before it unknown.
func (f *flow) rememberDatagram(digest uint64, n int, src uint16, side ntpac.Side, ts ntpac.Time) {
	if n > 0xffff {
		f.recent = [recentLen]uint64{}
		return
	}
	f.remember(datagramEntry(digest, n, src, side, ts))
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
