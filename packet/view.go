package packet

import (
	"encoding/binary"
	"net/netip"

	"ntpac"
)

// TCP flags as Flags gives them.
const (
	FIN uint8 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Payload is the captured part of the transport payload.
func Payload(f []byte, p *ntpac.Packet) []byte {
	return f[p.Pay : uint32(p.Pay)+p.PayCap]
}

// Addrs gives the addresses of the innermost IP header.
func Addrs(f []byte, p *ntpac.Packet) (src, dst netip.Addr) {
	h := f[p.L3:]
	if p.Flags&ntpac.IPv6 != 0 {
		return netip.AddrFrom16([16]byte(h[8:24])), netip.AddrFrom16([16]byte(h[24:40]))
	}
	return netip.AddrFrom4([4]byte(h[12:16])), netip.AddrFrom4([4]byte(h[16:20]))
}

// HasPorts tells whether the packet's protocol has ports and the packet shows them.
func HasPorts(p *ntpac.Packet) bool {
	switch p.Proto {
	case ntpac.TCP, ntpac.UDP, ntpac.SCTP, protoUDPLite, protoDCCP:
		return p.Flags&ntpac.Fragment == 0
	}
	return false
}

// Ports gives the ports; 0 where there are none.
func Ports(f []byte, p *ntpac.Packet) (src, dst uint16) {
	if !HasPorts(p) {
		return 0, 0
	}
	v := binary.BigEndian.Uint32(f[p.L4:])
	return uint16(v >> 16), uint16(v)
}

// Seq is the sequence number of a TCP segment.
func Seq(f []byte, p *ntpac.Packet) uint32 { return binary.BigEndian.Uint32(f[p.L4+4:]) }

// Ack is the acknowledgement number of a TCP segment.
func Ack(f []byte, p *ntpac.Packet) uint32 { return binary.BigEndian.Uint32(f[p.L4+8:]) }

// Flags are the flags of a TCP segment.
func Flags(f []byte, p *ntpac.Packet) uint8 { return f[p.L4+13] }

// Window is the window of a TCP segment, unscaled.
func Window(f []byte, p *ntpac.Packet) uint16 { return binary.BigEndian.Uint16(f[p.L4+14:]) }

// DataOffset is the length of a TCP header, options included, by its own word.
func DataOffset(f []byte, p *ntpac.Packet) int { return int(f[p.L4+12]>>4) * 4 }

// TTL is the time to live or the hop limit.
func TTL(f []byte, p *ntpac.Packet) uint8 {
	if p.Flags&ntpac.IPv6 != 0 {
		return f[p.L3+7]
	}
	return f[p.L3+8]
}

// IPID is the identification of an IPv4 header; 0 for IPv6.
func IPID(f []byte, p *ntpac.Packet) uint16 {
	if p.Flags&ntpac.IPv6 != 0 {
		return 0
	}
	return binary.BigEndian.Uint16(f[p.L3+4:])
}

// stampHead begins the timestamp option where it stands alone, padded: nearly always.
const stampHead = 0x0101080a

// Timestamps gives the timestamp option of a TCP segment (RFC 7323, section 3.2).
func Timestamps(f []byte, p *ntpac.Packet) (val, ecr uint32, ok bool) {
	o := f[p.L4+20 : p.Pay]
	if len(o) >= 12 && binary.BigEndian.Uint32(o) == stampHead {
		return binary.BigEndian.Uint32(o[4:]), binary.BigEndian.Uint32(o[8:]), true
	}
	if o = option(o, 8, 10); o == nil {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(o[2:]), binary.BigEndian.Uint32(o[6:]), true
}

// WindowScale gives the shift count of the window scale option (RFC 7323, section 2.2).
func WindowScale(f []byte, p *ntpac.Packet) (shift uint8, ok bool) {
	if o := option(f[p.L4+20:p.Pay], 3, 3); o != nil {
		return o[2], true
	}
	return 0, false
}

// option finds a TCP option of a kind and length.
func option(o []byte, kind, size byte) []byte {
	for len(o) > 1 && o[0] != 0 {
		n := 1
		if o[0] != 1 {
			n = int(o[1])
			if n < 2 || n > len(o) {
				return nil
			}
			if o[0] == kind && o[1] == size {
				return o[:n]
			}
		}
		o = o[n:]
	}
	return nil
}
