package packet

import (
	"encoding/binary"

	"ntpac"
)

// FragmentInfo gives the datagram's identification, the offset of this fragment's data in it, and
// whether more follows. Only for packets with the flag Fragment.
func FragmentInfo(f []byte, p *ntpac.Packet) (id uint32, off int, more bool) {
	be := binary.BigEndian
	if p.Flags&ntpac.IPv6 != 0 { // the fragment header ends at L4
		h := f[p.L4-8 : p.L4]
		v := be.Uint16(h[2:])
		return be.Uint32(h[4:]), int(v &^ 7), v&1 != 0
	}
	h := f[p.L3:]
	v := be.Uint16(h[6:])
	return uint32(be.Uint16(h[4:])), int(v&0x1fff) * 8, v&0x2000 != 0
}

// AppendHeader appends to b the network header that the datagram of a first fragment had before it
// was cut up (RFC 791, section 3.2; RFC 8200, section 4.5), for n bytes of data behind it. A datagram longer than its length field can say
// gets the length 0, which Decode reads as "all there is".
func AppendHeader(b, f []byte, p *ntpac.Packet, n int) []byte {
	be := binary.BigEndian
	at := len(b)
	if p.Flags&ntpac.IPv6 == 0 {
		b = append(b, f[p.L3:p.L4]...)
		h := b[at:]
		be.PutUint16(h[2:], length(len(h)+n))
		be.PutUint16(h[6:], be.Uint16(h[6:])&0xc000)
		be.PutUint16(h[10:], 0)
		be.PutUint16(h[10:], ^fold16(sum(h)))
		return b
	}
	b = append(b, f[p.L3:p.L4-8]...)
	h := b[at:]
	be.PutUint16(h[4:], length(len(h)-40+n))
	h[lastNext(h)] = f[p.L4-8]
	return b
}

func length(n int) uint16 {
	if n > 0xffff {
		return 0
	}
	return uint16(n)
}

// lastNext finds the next-header byte of the last header in h, an IPv6 header with whole extension
// headers.
func lastNext(h []byte) int {
	next, at := 6, 40
	for at+8 <= len(h) {
		n := int(h[at+1])*8 + 8
		if h[next] == protoAH {
			n = int(h[at+1])*4 + 8
		}
		next, at = at, at+n
	}
	return next
}
