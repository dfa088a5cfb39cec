package packet

import (
	"encoding/binary"
	"math/bits"

	"ntpac"
)

// Sum says whether a packet's checksums are right.
type Sum uint8

// The answers.
const (
	SumUnknown Sum = iota // cut, a fragment, no checksum sent, left to the hardware, or none that we know
	SumOK
	SumBad
)

// ChecksumOK tells whether nothing speaks against the packet's checksums: see Checksum.
func ChecksumOK(f []byte, p *ntpac.Packet) bool { return Checksum(f, p) != SumBad }

// Checksum verifies the innermost IPv4 header's checksum and that of TCP, UDP, ICMP or ICMPv6 over
// the whole payload. What the capturing host sent itself may carry no checksums yet, as the hardware
// computes them: an IPv4 checksum of 0 and a transport checksum over the pseudo header alone are
// unknown, not bad.
func Checksum(f []byte, p *ntpac.Packet) Sum {
	v6 := p.Flags&ntpac.IPv6 != 0
	if !v6 {
		h := f[p.L3:]
		h = h[:h[0]&15*4]
		if (h[10]|h[11]) != 0 && fold16(sum(h)) != 0xffff {
			return SumBad
		}
	}
	if p.PayCap != p.PayLen || p.Flags&(ntpac.Fragment|ntpac.BadLength) != 0 {
		return SumUnknown
	}
	data := f[p.L4 : uint32(p.Pay)+p.PayCap]
	var at int
	var pseudo uint64
	switch {
	case p.Proto == ntpac.TCP:
		at, pseudo = 16, pseudoSum(f, p)
	case p.Proto == ntpac.UDP:
		at, pseudo = 6, pseudoSum(f, p)
	case p.Proto == ntpac.ICMP && !v6 && len(data) >= 8:
		at = 2
	case p.Proto == ntpac.ICMPv6 && v6 && len(data) >= 4:
		at, pseudo = 2, pseudoSum(f, p)
	default:
		return SumUnknown
	}
	field := binary.BigEndian.Uint16(data[at:])
	if field == 0 && p.Proto == ntpac.UDP {
		return SumUnknown
	}
	full := pseudo
	if pseudo != 0 {
		full += uint64(len(data))
	}
	if fold16(full+uint64(fold16(sum(data)))) == 0xffff {
		return SumOK
	}
	if pseudo != 0 && (field == fold16(full) || field == fold16(pseudo)) {
		return SumUnknown
	}
	return SumBad
}

// pseudoSum sums the pseudo header without the length. The addresses are the final ones: of a routing
// header with segments left its last (RFC 8200, section 8.1), of a home address option that one
// (RFC 6275, section 6.1.1). It is never 0, as the protocol is not.
func pseudoSum(f []byte, p *ntpac.Packet) uint64 {
	h := f[p.L3:p.L4]
	if p.Flags&ntpac.IPv6 == 0 {
		return uint64(fold16(sum(h[12:20]))) + uint64(p.Proto)
	}
	src, dst := h[8:24], h[24:40]
	next := h[6]
	for at := 40; at+8 <= len(h); {
		n := int(h[at+1])*8 + 8
		switch next {
		case protoRouting:
			if last := finalHop(h[at:min(at+n, len(h))]); last != nil {
				dst = last
			}
		case protoDestOpts:
			if home := homeAddress(h[at+2 : min(at+n, len(h))]); home != nil {
				src = home
			}
		case protoAH:
			n = int(h[at+1])*4 + 8
		case protoFragment:
			n = 8
		}
		next = h[at]
		at += n
	}
	return uint64(fold16(sum(src))) + uint64(fold16(sum(dst))) + uint64(p.Proto)
}

// finalHop gives the last address of a routing header of type 0, 2 or 4 (segments in reverse order).
func finalHop(h []byte) []byte {
	if h[3] == 0 || len(h) < 24 {
		return nil
	}
	switch h[2] {
	case 0, 2:
		return h[len(h)-16:]
	case 4:
		return h[8:24]
	}
	return nil
}

func homeAddress(o []byte) []byte {
	for len(o) > 1 {
		if o[0] == 0 { // one byte of padding
			o = o[1:]
			continue
		}
		n := 2 + int(o[1])
		if n > len(o) {
			return nil
		}
		if o[0] == 0xc9 && n == 18 {
			return o[2:18]
		}
		o = o[n:]
	}
	return nil
}

// sum is the one's complement sum of b as 64-bit words (RFC 1071, section 2), not folded.
func sum(b []byte) uint64 {
	var s, c uint64
	for len(b) >= 32 {
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[8:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[16:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[24:]), c)
		b = b[32:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b), c)
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(last[:]), c)
	}
	s, c = bits.Add64(s, 0, c)
	return s + c
}

// fold16 folds a sum to 16 bits.
func fold16(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}
