package packet

import "ntpac"

// IP protocol numbers that are not flows of their own.
const (
	protoHopOpts  = 0
	protoIPv4     = 4
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoNone     = 59
	protoDestOpts = 60
	protoMobility = 135
	protoMPLS     = 137
	protoHIP      = 139
	protoShim6    = 140
	protoDCCP     = 33
	protoUDPLite  = 136
)

// ip reads an IP datagram, its version by the first four bits: link layers that name the other one
// are wrong more often than the datagram.
func (w *walk) ip() Verdict {
	if !w.deeper() {
		return TooDeep
	}
	if !w.has(1) {
		return w.lack(1)
	}
	switch w.f[w.off] >> 4 {
	case 4:
		return w.ipv4()
	case 6:
		return w.ipv6()
	}
	return Malformed
}

// ipv4 reads an IPv4 header (RFC 791).
func (w *walk) ipv4() Verdict {
	if !w.has(20) {
		return w.lack(20)
	}
	h := w.f[w.off : w.off+20 : w.off+20]
	head, total := int(h[0]&15)*4, int(h[2])<<8|int(h[3])
	if head < 20 || total < head && total != 0 {
		return Malformed
	}
	w.datagram(total)
	if !w.has(head) {
		return w.lack(head)
	}
	w.l3 = w.off
	w.off += head
	w.flags &^= ntpac.IPv6
	if (uint(h[6])<<8|uint(h[7]))&0x3fff != 0 {
		w.flags |= ntpac.Fragment
		return w.done(ntpac.Proto(h[9]), 0)
	}
	return w.transport(h[9])
}

// datagram ends the datagram at off after total bytes; 0 is the rest of the frame.
func (w *walk) datagram(total int) {
	claim := w.off + total
	switch {
	case total == 0:
	case claim > w.claim:
		w.flags |= ntpac.BadLength
	default:
		w.claim = claim
		w.end = min(w.end, claim)
	}
}

// ipv6 reads an IPv6 header and its extension headers (RFC 8200).
func (w *walk) ipv6() Verdict {
	if !w.has(40) {
		return w.lack(40)
	}
	n, next := int(w.u16(4)), w.u8(6)
	if n != 0 || next == protoNone {
		w.datagram(40 + n)
	}
	w.l3 = w.off
	w.off += 40
	w.flags |= ntpac.IPv6
	for {
		size := 0
		switch next {
		case protoHopOpts, protoRouting, protoDestOpts:
			if w.has(8) {
				size = int(w.u8(1))*8 + 8
			}
		case protoAH:
			if w.has(8) {
				size = int(w.u8(1))*4 + 8
			}
		case protoMobility, protoHIP, protoShim6: // messages of their own, mostly; else headers
			if !w.has(8) || w.u8(0) == protoNone {
				return w.transport(next)
			}
			size = int(w.u8(1))*8 + 8
		case protoFragment:
			if w.has(8) && w.u16(2)&^6 != 0 {
				next = w.u8(0)
				w.off += 8
				w.flags |= ntpac.Fragment
				return w.done(ntpac.Proto(next), 0)
			}
			size = 8 // of an atomic fragment: the whole datagram (RFC 6946)
		default:
			return w.transport(next)
		}
		if !w.deeper() {
			return TooDeep
		}
		size = max(size, 8)
		if !w.has(size) {
			return w.lack(size)
		}
		next = w.u8(0)
		w.off += size
	}
}

// transport reads the transport header, or goes on into a tunnel.
func (w *walk) transport(proto byte) Verdict {
	switch ntpac.Proto(proto) {
	case ntpac.TCP:
		if !w.has(20) {
			return w.lack(20)
		}
		head := int(w.f[w.off+12]>>4) * 4
		if head < 20 || head > w.claim-w.off {
			return Malformed
		}
		return w.done(ntpac.TCP, head)
	case ntpac.UDP:
		return w.udp()
	case ntpac.SCTP:
		return w.fixed(proto, 12)
	case protoUDPLite:
		return w.fixed(proto, 8)
	case protoDCCP:
		if !w.has(12) {
			return w.lack(12)
		}
		head := int(w.u8(4)) * 4
		if head < 12 || head > w.claim-w.off {
			return Malformed
		}
		return w.done(protoDCCP, head)
	case protoAH:
		return w.ah()
	case protoIPv4, protoIPv6, protoGRE, protoMPLS:
		return w.ipTunnel(proto)
	}
	return w.done(ntpac.Proto(proto), 0)
}

// fixed is a transport header of one length.
func (w *walk) fixed(proto byte, n int) Verdict {
	if !w.has(n) {
		return w.lack(n)
	}
	return w.done(ntpac.Proto(proto), n)
}

// udp reads a UDP header (RFC 768). A length that does not fit is not believed.
func (w *walk) udp() Verdict {
	if !w.has(8) {
		return w.lack(8)
	}
	h := w.f[w.off : w.off+8 : w.off+8]
	n := int(h[4])<<8 | int(h[5])
	switch {
	case n == 0:
	case n < 8 || n > w.claim-w.off:
		w.flags |= ntpac.BadLength
	default:
		w.claim = w.off + n
		w.end = min(w.end, w.claim)
	}
	v := w.done(ntpac.UDP, 8)
	src, dst := uint16(h[0])<<8|uint16(h[1]), uint16(h[2])<<8|uint16(h[3])
	if v == OK && (tunnelPort(dst) || tunnelPort(src)) {
		w.udpTunnel(src, dst)
	}
	return v
}

// ah skips an authentication header (RFC 4302) of IPv4; its payload is in the clear.
func (w *walk) ah() Verdict {
	if !w.deeper() {
		return TooDeep
	}
	if !w.has(8) {
		return w.lack(8)
	}
	n, next := int(w.u8(1))*4+8, w.u8(0)
	if !w.has(n) {
		return w.lack(n)
	}
	w.off += n
	return w.transport(next)
}
