package pcaptest

import (
	"encoding/binary"
	"net/netip"

	"ntpac"
)

var be = binary.BigEndian

// EtherType gives an Ethernet frame; its addresses are fixed.
func EtherType(t uint16, payload []byte) []byte {
	f := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	return append(be.AppendUint16(f, t), payload...)
}

// Ether gives an Ethernet frame of an IP datagram, its type by the version.
func Ether(datagram []byte) []byte { return EtherType(typeOf(datagram), datagram) }

func typeOf(datagram []byte) uint16 {
	if datagram[0]>>4 == 6 {
		return 0x86dd
	}
	return 0x0800
}

// Tag puts a VLAN tag into an Ethernet frame, outside those it has. The tpid is 0x8100, or 0x88a8
// for a service tag.
func Tag(tpid, vlan uint16, frame []byte) []byte {
	f := append([]byte(nil), frame[:12]...)
	f = be.AppendUint16(f, tpid)
	f = be.AppendUint16(f, vlan)
	return append(f, frame[12:]...)
}

// MPLS puts labels before a payload, the first one outermost.
func MPLS(payload []byte, labels ...uint32) []byte {
	var f []byte
	for i, l := range labels {
		e := l<<12 | 64
		if i == len(labels)-1 {
			e |= 1 << 8
		}
		f = be.AppendUint32(f, e)
	}
	return append(f, payload...)
}

// PPPoE gives the payload of an Ethernet frame of type 0x8864.
func PPPoE(session uint16, datagram []byte) []byte {
	f := be.AppendUint16([]byte{0x11, 0}, session)
	f = be.AppendUint16(f, uint16(2+len(datagram)))
	return append(f, PPP(datagram)...)
}

// PPP puts the PPP protocol number before a datagram.
func PPP(datagram []byte) []byte {
	if datagram[0]>>4 == 6 {
		return append([]byte{0, 0x57}, datagram...)
	}
	return append([]byte{0, 0x21}, datagram...)
}

// IPIP gives a datagram between two routers that carries a datagram.
func IPIP(src, dst netip.Addr, datagram []byte) []byte {
	p := ntpac.Proto(4)
	if datagram[0]>>4 == 6 {
		p = 41
	}
	return IP(src, dst, p, datagram)
}

// GRE gives a datagram that carries a payload of an Ethernet type in GRE version 0. The flags choose
// among checksum 0x8000, key 0x2000 and sequence number 0x1000 (RFC 2784, RFC 2890).
func GRE(src, dst netip.Addr, flags, etherType uint16, key uint32, payload []byte) []byte {
	g := be.AppendUint16(nil, flags)
	g = be.AppendUint16(g, etherType)
	if flags&0x8000 != 0 {
		g = append(g, 0, 0, 0, 0)
	}
	if flags&0x2000 != 0 {
		g = be.AppendUint32(g, key)
	}
	if flags&0x1000 != 0 {
		g = be.AppendUint32(g, 1)
	}
	g = append(g, payload...)
	if flags&0x8000 != 0 {
		be.PutUint16(g[4:], Sum(g, 0))
	}
	return IP(src, dst, 47, g)
}

// PPTP gives a datagram with a PPP payload in GRE version 1 (RFC 2637).
func PPTP(src, dst netip.Addr, call uint16, datagram []byte) []byte {
	p := append([]byte{0xff, 0x03}, PPP(datagram)...)
	g := []byte{0x30, 0x81, 0x88, 0x0b}
	g = be.AppendUint16(g, uint16(len(p)))
	g = be.AppendUint16(g, call)
	g = append(g, 0, 0, 0, 7, 0, 0, 0, 6)
	return IP(src, dst, 47, append(g, p...))
}

// ERSPAN gives a datagram that carries an Ethernet frame in ERSPAN of type 1, 2 or 3.
func ERSPAN(src, dst netip.Addr, kind int, session uint16, frame []byte) []byte {
	switch kind {
	case 1:
		return GRE(src, dst, 0, 0x88be, 0, frame)
	case 2:
		h := be.AppendUint16(nil, 0x1000)
		h = be.AppendUint16(h, session)
		return GRE(src, dst, 0x1000, 0x88be, 0, append(append(h, 0, 0, 0, 0), frame...))
	}
	h := be.AppendUint16(nil, 0x2000)
	h = be.AppendUint16(h, session)
	return GRE(src, dst, 0x1000, 0x22eb, 0, append(append(h, make([]byte, 8)...), frame...))
}

func udpIP(src, dst netip.AddrPort, data []byte) []byte {
	return IP(src.Addr(), dst.Addr(), ntpac.UDP, UDP(src, dst, data))
}

// VXLAN gives a datagram to port 4789 that carries an Ethernet frame (RFC 7348).
func VXLAN(src, dst netip.Addr, vni uint32, frame []byte) []byte {
	h := be.AppendUint32([]byte{8, 0, 0, 0}, vni<<8)
	return udpIP(netip.AddrPortFrom(src, 50000), netip.AddrPortFrom(dst, 4789), append(h, frame...))
}

// GENEVE gives a datagram to port 6081 that carries a payload of an Ethernet type; options are a
// multiple of four bytes (RFC 8926).
func GENEVE(src, dst netip.Addr, vni uint32, etherType uint16, options, payload []byte) []byte {
	h := be.AppendUint16([]byte{byte(len(options) / 4), 0}, etherType)
	h = be.AppendUint32(h, vni<<8)
	h = append(append(h, options...), payload...)
	return udpIP(netip.AddrPortFrom(src, 50001), netip.AddrPortFrom(dst, 6081), h)
}

// GTPU gives a datagram between ports 2152 that carries a datagram as a G-PDU (3GPP TS 29.281); with
// a sequence number, if wanted.
func GTPU(src, dst netip.Addr, teid uint32, seq bool, datagram []byte) []byte {
	h, opt := []byte{0x30, 0xff}, []byte(nil)
	if seq {
		h[0], opt = 0x32, []byte{0, 9, 0, 0}
	}
	h = be.AppendUint16(h, uint16(len(opt)+len(datagram)))
	h = be.AppendUint32(h, teid)
	h = append(append(h, opt...), datagram...)
	return udpIP(netip.AddrPortFrom(src, 2152), netip.AddrPortFrom(dst, 2152), h)
}

// Teredo gives a datagram to port 3544 that carries an IPv6 datagram, with an origin indication, if
// wanted (RFC 4380).
func Teredo(src, dst netip.Addr, origin bool, datagram []byte) []byte {
	var h []byte
	if origin {
		h = []byte{0, 0, 0x12, 0x34, 1, 2, 3, 4}
	}
	return udpIP(netip.AddrPortFrom(src, 50002), netip.AddrPortFrom(dst, 3544), append(h, datagram...))
}
