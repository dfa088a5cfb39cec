package pcaptest

import (
	"hash/crc32"
	"net/netip"

	"ntpac"
)

// Header is what a test can choose of an IP header; version 4 or 6 by the addresses.
type Header struct {
	Src, Dst netip.Addr
	Proto    ntpac.Proto
	TTL      byte
	TOS      byte
	ID       uint16 // IPv4 only
	DF       bool   // IPv4 only
	Options  []byte // IPv4: options, a multiple of 4 bytes. IPv6: extension headers; Proto is then the first one's type
}

// Datagram gives the whole datagram.
func (h Header) Datagram(payload []byte) []byte {
	if h.Src.Is6() {
		b := []byte{0x60 | h.TOS>>4, h.TOS << 4, 0, 0}
		b = be.AppendUint16(b, uint16(len(h.Options)+len(payload)))
		b = append(b, byte(h.Proto), h.TTL)
		b = append(append(b, h.Src.AsSlice()...), h.Dst.AsSlice()...)
		return append(append(b, h.Options...), payload...)
	}
	n := 20 + len(h.Options)
	b := []byte{0x40 | byte(n/4), h.TOS}
	b = be.AppendUint16(b, uint16(n+len(payload)))
	b = be.AppendUint16(b, h.ID)
	if h.DF {
		b = append(b, 0x40, 0)
	} else {
		b = append(b, 0, 0)
	}
	b = append(b, h.TTL, byte(h.Proto), 0, 0)
	b = append(append(b, h.Src.AsSlice()...), h.Dst.AsSlice()...)
	b = append(b, h.Options...)
	be.PutUint16(b[10:], Sum(b, 0))
	return append(b, payload...)
}

// IP gives a datagram with usual values.
func IP(src, dst netip.Addr, proto ntpac.Proto, payload []byte) []byte {
	return Header{Src: src, Dst: dst, Proto: proto, TTL: 64, ID: 1}.Datagram(payload)
}

// UDP gives a UDP header and its payload, with the checksum.
func UDP(src, dst netip.AddrPort, data []byte) []byte {
	b := be.AppendUint16(nil, src.Port())
	b = be.AppendUint16(b, dst.Port())
	b = be.AppendUint16(b, uint16(8+len(data)))
	b = append(b, 0, 0)
	b = append(b, data...)
	sum := transportSum(src.Addr(), dst.Addr(), ntpac.UDP, b)
	if sum == 0 {
		sum = 0xffff
	}
	be.PutUint16(b[6:], sum)
	return b
}

// Fragment cuts an IP datagram into fragments of at most mtu bytes (RFC 791, RFC 8200 section 4.5).
// An IPv6 datagram must have no extension headers yet; its identification derives from its bytes.
func Fragment(datagram []byte, mtu int) [][]byte {
	v6 := datagram[0]>>4 == 6
	head := 40
	if !v6 {
		head = int(datagram[0]&15) * 4
	}
	data := datagram[head:]
	room := (mtu - head) &^ 7
	if v6 {
		room = (mtu - head - 8) &^ 7
	}
	var out [][]byte
	for off := 0; off < len(data); off += room {
		part, more := data[off:], 0
		if len(part) > room {
			part, more = part[:room], 1
		}
		f := append([]byte(nil), datagram[:head]...)
		if v6 {
			f[6] = 44
			be.PutUint16(f[4:], uint16(8+len(part)))
			f = append(f, datagram[6], 0)
			f = be.AppendUint16(f, uint16(off|more))
			f = be.AppendUint32(f, crc32.ChecksumIEEE(data))
		} else {
			be.PutUint16(f[2:], uint16(head+len(part)))
			be.PutUint16(f[6:], uint16(off/8|more<<13))
			f[10], f[11] = 0, 0
			be.PutUint16(f[10:], Sum(f, 0))
		}
		out = append(out, append(f, part...))
	}
	return out
}

// Sum is the Internet checksum (RFC 1071) of b, started with a partial sum.
func Sum(b []byte, sum uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func transportSum(src, dst netip.Addr, proto ntpac.Proto, b []byte) uint16 {
	sum := uint32(proto) + uint32(len(b))
	for _, a := range []netip.Addr{src, dst} {
		sum += uint32(^Sum(a.AsSlice(), 0))
	}
	return Sum(b, sum)
}
