package packet

import (
	"encoding/binary"

	"ntpac"
)

// Link types (https://www.tcpdump.org/linktypes.html), and those numbers of DLT_ values that found
// their way into files.
const (
	linkNull       ntpac.LinkType = 0
	linkEthernet   ntpac.LinkType = 1
	linkTokenRing  ntpac.LinkType = 6
	linkPPP        ntpac.LinkType = 9
	linkFDDI       ntpac.LinkType = 10
	linkRaw12      ntpac.LinkType = 12 // DLT_RAW on most systems
	linkRaw14      ntpac.LinkType = 14 // and on OpenBSD
	linkPPPSerial  ntpac.LinkType = 50
	linkPPPEther   ntpac.LinkType = 51
	linkATM        ntpac.LinkType = 100
	linkRaw        ntpac.LinkType = 101
	linkHDLC       ntpac.LinkType = 104
	link80211      ntpac.LinkType = 105
	linkFrameRelay ntpac.LinkType = 107
	linkLoop       ntpac.LinkType = 108
	linkPFLog      ntpac.LinkType = 117
	linkSLL        ntpac.LinkType = 113
	linkPrism      ntpac.LinkType = 119
	linkRadiotap   ntpac.LinkType = 127
	linkARCNETBSD  ntpac.LinkType = 7
	linkARCNET     ntpac.LinkType = 129
	linkUser2      ntpac.LinkType = 149 // what macOS used for PKTAP
	linkAVS        ntpac.LinkType = 163
	linkPPPDir     ntpac.LinkType = 166
	linkPPI        ntpac.LinkType = 192
	linkPPPWithDir ntpac.LinkType = 204
	linkIPv4       ntpac.LinkType = 228
	linkIPv6       ntpac.LinkType = 229
	linkNFLog      ntpac.LinkType = 239
	linkPKTAP      ntpac.LinkType = 258
	linkSLL2       ntpac.LinkType = 276
	linkBroadcom   ntpac.LinkType = 281
	linkBroadcomP  ntpac.LinkType = 282
	linkDSA        ntpac.LinkType = 284
	linkEDSA       ntpac.LinkType = 285
)

// link reads the header of any link type but Ethernet, which Decode knows.
func (w *walk) link(t ntpac.LinkType) Verdict {
	switch t {
	case linkEthernet: // inside PPI and PKTAP
		return w.ethernet()
	case linkRaw, linkRaw12, linkRaw14, linkIPv4, linkIPv6:
		return w.ip()
	case linkNull, linkLoop:
		return w.loopback()
	case linkSLL:
		return w.cooked(16, 14)
	case linkSLL2:
		return w.cooked(20, 0)
	case linkPPP, linkPPPSerial, linkHDLC:
		return w.serial(t)
	case linkPPPEther:
		return w.pppoe()
	case linkPPPDir, linkPPPWithDir:
		w.off++
		return w.ppp()
	case link80211, linkRadiotap, linkPrism, linkAVS:
		return w.wireless(t)
	case linkPPI, linkPKTAP, linkUser2:
		return w.perPacket(t)
	case linkTokenRing:
		return w.tokenRing()
	case linkFDDI:
		w.off += 13
		return w.llc()
	case linkATM:
		return w.llc()
	case linkFrameRelay:
		return w.frameRelay()
	case linkARCNETBSD:
		return w.arcnet(2)
	case linkARCNET: // Linux puts an offset after the addresses
		return w.arcnet(4)
	case linkPFLog:
		return w.pflog()
	case linkBroadcom, linkDSA: // switch tags after the addresses
		return w.switchTag(4)
	case linkEDSA:
		return w.switchTag(8)
	case linkBroadcomP: // or before them
		return w.frameAfter(4)
	case linkNFLog:
		return w.nflog()
	}
	return Unsupported
}

// family goes on by an address family: AF_INET is 2 everywhere, AF_INET6 differs by system.
func (w *walk) family(af uint32) Verdict {
	switch af {
	case 2, 10, 23, 24, 28, 30: // Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS
		return w.ip()
	}
	return NonIP
}

// switchTag reads an Ethernet frame with a switch's tag of n bytes after the addresses.
func (w *walk) switchTag(n int) Verdict {
	if !w.has(14 + n) {
		return w.lack(14 + n)
	}
	t := w.u16(12 + n)
	w.off += 14 + n
	return w.lengthOrType(t)
}

// loopback reads the address family in the byte order of the capturing host, or of the network. Some
// systems write an Ethernet type into its second half instead.
func (w *walk) loopback() Verdict {
	if !w.has(4) {
		return w.lack(4)
	}
	af := w.u32(0)
	w.off += 4
	if t := uint16(af); t >= 0x600 {
		return w.etherType(t)
	}
	if af&0xffff == 0 {
		af = af>>24 | af>>8&0xff00
	}
	return w.family(af)
}

// cooked reads Linux's header of captures on any interface; the protocol is at the given place.
func (w *walk) cooked(size, at int) Verdict {
	if !w.has(size) {
		return w.lack(size)
	}
	t := w.u16(at)
	w.off += size
	switch {
	case t >= 0x600:
		return w.etherType(t)
	case t == 4: // 802.2
		return w.llc()
	}
	return NonIP
}

// serial reads PPP in HDLC-like framing or Cisco HDLC: the first byte tells them apart. Plain PPP may
// leave the framing away.
func (w *walk) serial(t ntpac.LinkType) Verdict {
	if !w.has(4) {
		return w.lack(4)
	}
	if a := w.u8(0); t != linkHDLC && a != 0x0f && a != 0x8f {
		return w.ppp()
	}
	p := w.u16(2)
	w.off += 4
	return w.etherType(p)
}

// perPacket reads headers that name a link type of their own: PPI (little endian, with its length)
// and Apple's PKTAP (in the byte order of the host, little endian on every host that has it).
func (w *walk) perPacket(t ntpac.LinkType) Verdict {
	if !w.has(16) {
		return w.lack(16)
	}
	le := binary.LittleEndian
	h := w.f[w.off:]
	n, inner := int(le.Uint16(h[2:])), le.Uint32(h[4:])
	if t != linkPPI {
		n, inner = int(le.Uint32(h)&0xffffff), le.Uint32(h[8:])
	}
	if n < 8 || !w.deeper() {
		return Malformed
	}
	if !w.has(n) {
		return w.lack(n)
	}
	w.off += n
	return w.link(ntpac.LinkType(min(inner, 0xffff)))
}

// tokenRing reads an 802.5 header: access and frame control, addresses, and routing information
// where the first bit of the source address says so.
func (w *walk) tokenRing() Verdict {
	n := 14
	if !w.has(n + 1) {
		return w.lack(n + 1)
	}
	if w.u8(8)&0x80 != 0 {
		n += int(w.u8(14) & 31)
	}
	w.off += n
	return w.llc()
}

// frameRelay reads a Q.922 address of two to four bytes and the protocol id (RFC 2427).
func (w *walk) frameRelay() Verdict {
	n := 0
	for n < 4 && w.has(n+1) && w.u8(n)&1 == 0 {
		n++
	}
	n++
	if !w.has(n + 2) {
		return w.lack(n + 2)
	}
	if w.u8(n) != 3 { // Cisco's: an Ethernet type
		t := w.u16(n)
		w.off += n + 2
		return w.etherType(t)
	}
	n++
	if w.u8(n) == 0 && w.has(n+2) { // padding
		n++
	}
	id := w.u8(n)
	w.off += n + 1
	switch id {
	case 0xcc, 0x8e:
		return w.ip()
	case 0x80: // SNAP: organisation and type
		if w.has(5) && w.u16(0) == 0 && w.u8(2) == 0 {
			t := w.u16(3)
			w.off += 5
			return w.etherType(t)
		}
	}
	return NonIP
}

// arcnet reads RFC 1201: addresses of two bytes, and at the given place the protocol, split flag and
// sequence number. An exception frame has four bytes more.
func (w *walk) arcnet(at int) Verdict {
	if !w.has(at + 2) {
		return w.lack(at + 2)
	}
	t, n := w.u8(at), at+4
	switch t {
	case 240, 241: // RFC 1051 has no fragments
		n = at + 1
	case 212, 213, 196:
		if w.u8(at+1) == 0xff {
			n += 4
		} else if w.u8(at+1) != 0 {
			return NonIP // part of a packet
		}
	default:
		return NonIP
	}
	if t == 213 || t == 241 {
		return ARP
	}
	if !w.has(n) {
		return w.lack(n)
	}
	w.off += n
	return w.ip()
}

// pflog reads the header of OpenBSD's packet filter log: its length, padded to four bytes, and the
// address family.
func (w *walk) pflog() Verdict {
	if !w.has(4) {
		return w.lack(4)
	}
	n, af := (int(w.u8(0))+3)&^3, uint32(w.u8(1))
	if !w.has(n) {
		return w.lack(n)
	}
	w.off += n
	return w.family(af)
}

// nflog reads netfilter's log: the family, then attributes in the byte order of the host, one of
// them the packet.
func (w *walk) nflog() Verdict {
	if !w.has(4) {
		return w.lack(4)
	}
	af := uint32(w.u8(0))
	w.off += 4
	for w.has(4) && w.deeper() {
		le := binary.LittleEndian
		n, t := int(le.Uint16(w.f[w.off:])), le.Uint16(w.f[w.off+2:])
		if n < 4 || t > 0xff {
			return Malformed
		}
		if t == 9 {
			w.cut(n)
			w.off += 4
			return w.family(af)
		}
		if n = (n + 3) &^ 3; !w.has(n) {
			return w.lack(n)
		}
		w.off += n
	}
	return NonIP
}
