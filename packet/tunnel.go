package packet

import "ntpac"

// inside looks for the flow of an IP datagram in a tunnel: n bytes after off there begins what the
// Ethernet type names. The outer flow stands in p already and stays if nothing is found. In a strict
// tunnel, one that only a port number speaks for, all lengths must fit as well.
func (w *walk) inside(t ntpac.Tunnel, id uint32, n int, etherType uint16, strict bool) bool {
	if !w.has(n) || !w.deeper() {
		return false
	}
	saved, in := *w.p, *w
	in.off += n
	w.p.Tunnel = t
	if id != 0 { // a tunnel without an id keeps that of the one around it
		w.p.TunnelID = id
	}
	v := in.etherType(etherType)
	w.left = in.left
	if v == OK && !(strict && in.flags&^w.flags&ntpac.BadLength != 0) {
		return true
	}
	*w.p = saved
	return false
}

// ipTunnel reads what lies directly in IP. If there is no flow inside, the tunnel is one.
func (w *walk) ipTunnel(proto byte) Verdict {
	v := w.done(ntpac.Proto(proto), 0)
	if v != OK {
		return v
	}
	switch {
	case proto == protoGRE:
		w.gre(false)
	case proto == protoMPLS:
		w.inside(ntpac.MPLSIP, 0, 0, typeMPLS, true)
	case proto == protoIPv6 && w.flags&ntpac.IPv6 == 0:
		w.inside(ntpac.SixInFour, 0, 0, typeIPv6, false)
	default:
		w.inside(ntpac.IPIP, 0, 0, typeIPv4, false)
	}
	return OK
}

// gre reads GRE version 0 (RFC 2784, RFC 2890) and 1 (PPTP, RFC 2637). The key is the tunnel's id;
// the call id of PPTP is not, as it differs by direction. Of NVGRE (RFC 7637), which hashes the flow
// into the last byte of the key, the id is the rest.
func (w *walk) gre(strict bool) bool {
	if !w.has(4) {
		return false
	}
	flags, t := w.u16(0), w.u16(2)
	n, id := 4, uint32(0)
	if flags&7 == 1 {
		if t == typeEoIP && w.has(8) { // length, and the tunnel's id in little endian
			return w.inside(ntpac.GRE, uint32(w.u8(7))<<8|uint32(w.u8(6)), 8, typeTEB, strict)
		}
		if t != typePPP || flags&0x1000 == 0 {
			return false
		}
		n = 12
		if flags&0x80 != 0 {
			n = 16
		}
		return w.inside(ntpac.GRE, 0, n, typePPP, strict)
	}
	if flags&0x4007 != 0 { // source routes, or an unknown version
		return false
	}
	if flags&0x8000 != 0 {
		n += 4
	}
	if flags&0x2000 != 0 {
		if !w.has(n + 4) {
			return false
		}
		id = w.u32(n)
		if t == typeTEB && id > 0xff {
			id >>= 8
		}
		n += 4
	}
	if flags&0x1000 != 0 {
		n += 4
	}
	switch t {
	case typeERSPAN:
		return w.erspan(n, flags&0x1000 != 0)
	case typeERSPAN3:
		return w.erspan3(n)
	case typeWCCP: // version 2 puts four bytes before the datagram
		if w.has(n+1) && w.u8(n)>>4 != 4 {
			n += 4
		}
		t = typeIPv4
	}
	if t>>9 == typeAruba>>9 {
		t = typeAruba
	}
	return w.inside(ntpac.GRE, id, n, t, strict)
}

// erspan reads type I, which has no header, and type II, which comes with a sequence number
// (draft-foschiano-erspan, section 4). The session is no id: there can be one per direction.
func (w *walk) erspan(n int, seq bool) bool {
	if seq {
		if !w.has(n+8) || w.u8(n)>>4 != 1 {
			return false
		}
		n += 8
	}
	return w.inside(ntpac.ERSPAN, 0, n, typeTEB, false)
}

// erspan3 reads type III: a header of 12 bytes and, if the last bit says so, 8 more. The frame is
// Ethernet or an IP datagram.
func (w *walk) erspan3(n int) bool {
	if !w.has(n+12) || w.u8(n)>>4 != 2 {
		return false
	}
	t := uint16(typeTEB)
	if w.u16(n+10)>>10&31 == 2 {
		t = typeIPv4
	}
	if w.u8(n+11)&1 != 0 {
		n += 8
	}
	return w.inside(ntpac.ERSPAN, 0, n+12, t, false)
}

// UDP ports of tunnels.
const (
	portL2TP     = 1701
	portGTPU     = 2152
	portTeredo   = 3544
	portLISP     = 4341
	portGRE      = 4754
	portVXLAN    = 4789
	portVXLANGPE = 4790
	portAYIYA    = 5072
	portGENEVE   = 6081
	portMPLS     = 6635
	portOTV      = 8472 // also VXLAN's first port on Linux
)

func tunnelPort(p uint16) bool {
	switch p {
	case portL2TP, portGTPU, portTeredo, portLISP, portGRE, portVXLAN, portVXLANGPE, portAYIYA, portGENEVE, portMPLS, portOTV:
		return true
	}
	return false
}

// udpTunnel looks into a datagram to or from a tunnel's port.
func (w *walk) udpTunnel(src, dst uint16) {
	in := *w
	in.off += 8
	if found := tunnelPort(dst) && in.portTunnel(dst); !found && src != dst && tunnelPort(src) {
		in.portTunnel(src)
	}
	w.left = in.left
}

func (w *walk) portTunnel(port uint16) bool {
	if !w.has(8) {
		return false
	}
	switch port {
	case portVXLAN, portOTV:
		// The I flag; of the rest only group policy's (G) may be set, and the last byte is reserved.
		// With the P flag it is the generic protocol extension, on a port that is not its own.
		if w.u8(0)&0xc == 0xc {
			return w.vxlanGPE()
		}
		if w.u8(0)&^0x80 != 8 || w.u8(7) != 0 {
			return false
		}
		return w.inside(ntpac.VXLAN, w.u32(4)>>8, 8, typeTEB, true)
	case portVXLANGPE:
		return w.vxlanGPE()
	case portGENEVE:
		// Version 0, reserved bits zero; options are counted in four bytes.
		if w.u8(0)>>6 != 0 || w.u8(1)&63 != 0 || w.u8(7) != 0 {
			return false
		}
		return w.inside(ntpac.GENEVE, w.u32(4)>>8, 8+int(w.u8(0)&63)*4, w.u16(2), true)
	case portGTPU:
		return w.gtpu()
	case portTeredo:
		return w.teredo()
	case portLISP:
		return w.lisp()
	case portAYIYA:
		return w.ayiya()
	case portGRE:
		return w.gre(true)
	case portMPLS:
		return w.inside(ntpac.MPLSIP, 0, 0, typeMPLS, true)
	case portL2TP:
		return w.l2tp()
	}
	return false
}

// vxlanGPE reads the generic protocol extension (draft-ietf-nvo3-vxlan-gpe): the next protocol is named.
func (w *walk) vxlanGPE() bool {
	if w.u8(0)&0xc != 0xc || w.u8(7) != 0 {
		return false
	}
	types := [...]uint16{1: typeIPv4, 2: typeIPv6, 3: typeTEB, 4: typeNSH, 5: typeMPLS}
	next := int(w.u8(3))
	if next == 0 || next >= len(types) {
		return false
	}
	return w.inside(ntpac.VXLAN, w.u32(4)>>8, 8, types[next], true)
}

// gtpu reads a G-PDU (3GPP TS 29.281, section 5): version 1, protocol type GTP, message 255. The
// TEID is no id: each direction has its own.
func (w *walk) gtpu() bool {
	if w.u8(0)>>4 != 3 || w.u8(1) != 255 {
		return false
	}
	n, end := 8, 8+int(w.u16(2))
	if w.off+end > w.claim {
		return false
	}
	if flags := w.u8(0) & 7; flags != 0 {
		if !w.has(12) {
			return false
		}
		n = 12
		if flags&4 != 0 {
			for next := w.u8(11); next != 0; next = w.u8(n - 1) {
				if !w.has(n+1) || w.u8(n) == 0 || !w.has(n+int(w.u8(n))*4) || !w.deeper() {
					return false
				}
				n += int(w.u8(n)) * 4
			}
		}
	}
	if n > end {
		return false
	}
	in := *w
	in.cut(end)
	found := in.inside(ntpac.GTPU, 0, n, typeIPv4, true)
	w.left = in.left
	return found
}

// teredo reads the authentication and origin headers, where they are, and an IPv6 datagram that
// fills the rest (RFC 4380, section 5.1.1).
func (w *walk) teredo() bool {
	n := 0
	if w.u16(0) == 1 {
		n = 4 + int(w.u8(2)) + int(w.u8(3)) + 9
	}
	if !w.has(n + 8) {
		return false
	}
	if w.u16(n) == 0 {
		n += 8
	}
	if !w.has(n+40) || w.u8(n)>>4 != 6 || w.off+n+40+int(w.u16(n+4)) != w.claim {
		return false
	}
	return w.inside(ntpac.Teredo, 0, n, typeIPv6, true)
}

// l2tp reads a data message of version 2 (RFC 2661, section 3.1) with PPP inside. Its ids differ by
// direction.
func (w *walk) l2tp() bool {
	flags := w.u16(0)
	if flags&0xf != 2 || flags&0x8000 != 0 || flags&0x34f0 != 0 {
		return false
	}
	n := 6
	if flags&0x4000 != 0 {
		n += 2
	}
	if flags&0x0800 != 0 {
		n += 4
	}
	if flags&0x0200 != 0 {
		if !w.has(n + 2) {
			return false
		}
		n += 2 + int(w.u16(n))
	}
	return w.inside(ntpac.L2TP, 0, n, typePPP, true)
}

// lisp reads a data packet of LISP (RFC 9300, section 5.1), not an encrypted one. With the I flag the
// header names the instance that the addresses belong to.
func (w *walk) lisp() bool {
	flags, id := w.u8(0), uint32(0)
	if flags&3 != 0 {
		return false
	}
	if flags&8 != 0 {
		id = w.u32(4) >> 8
	}
	return w.inside(ntpac.LISP, id, 8, typeIPv4, true)
}

// ayiya reads a packet that is forwarded (draft-massar-v6ops-ayiya-02, section 3): the lengths of
// identity, a power of two, and of signature, in four bytes, are in the first two bytes; the third one
// ends in the operation.
func (w *walk) ayiya() bool {
	op, next := w.u8(2)&15, w.u8(3)
	if op != 1 && op != 3 || next != protoIPv6 && next != protoIPv4 { // forward, echo request and forward
		return false
	}
	return w.inside(ntpac.AYIYA, 0, 8+1<<int(w.u8(0)>>4)+int(w.u8(1)>>4)*4, typeIPv6, true)
}
