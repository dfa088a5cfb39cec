package packet

import "ntpac"

// Ethernet types (IEEE registration authority), and those of GRE.
const (
	typeIPv4       = 0x0800
	typeARP        = 0x0806
	typeTRILL      = 0x22f3
	typeTEB        = 0x6558 // transparent Ethernet bridging: a whole Ethernet frame
	typeEoIP       = 0x6400 // GRE only, MikroTik's
	typeRARP       = 0x8035
	typeVLAN       = 0x8100 // 802.1Q customer tag
	typeAruba      = 0x8200 // GRE only, to 0x83ff: an 802.11 frame
	typeIPv6       = 0x86dd
	typePPP        = 0x880b // GRE only
	typeWCCP       = 0x883e // GRE only
	typeMPLS       = 0x8847
	typeMPLSMulti  = 0x8848
	typePPPoE      = 0x8864
	typeServiceTag = 0x88a8 // 802.1ad
	typePBB        = 0x88e7 // 802.1ah, backbone service tag
	typeERSPAN     = 0x88be // GRE only
	typeFabricPath = 0x8903
	typeCMD        = 0x8909 // Cisco metadata
	typeVNTag      = 0x8926
	typeERSPAN3    = 0x22eb // GRE only
	typeETag       = 0x893f // 802.1BR
	typeNSH        = 0x894f // RFC 8300
	typeQinQ       = 0x9100 // tags before 802.1ad
	typeQinQ2      = 0x9200
)

// ethernet reads an Ethernet frame. IPv4 at once is the common case.
func (w *walk) ethernet() Verdict {
	if !w.has(14) {
		return w.lack(14)
	}
	t := w.u16(12)
	w.off += 14
	if t == typeIPv4 {
		return w.ip()
	}
	return w.lengthOrType(t)
}

// lengthOrType goes on after an Ethernet header: a type, or (802.3) a length and LLC.
func (w *walk) lengthOrType(t uint16) Verdict {
	switch {
	case t >= 0x600:
		return w.etherType(t)
	case t > 1500:
		return NonIP
	}
	w.cut(int(t))
	return w.llc()
}

// llc reads an 802.2 header, with SNAP (RFC 1042).
func (w *walk) llc() Verdict {
	if !w.has(3) {
		return NonIP
	}
	switch {
	case w.u8(0) == 0xaa && w.u8(1) == 0xaa && w.u8(2) == 3:
		if !w.has(8) {
			return w.lack(8)
		}
		oui, t := w.u32(2)&0xffffff, w.u16(6)
		w.off += 8
		switch {
		case oui == 0 || oui == 0xf8: // Ethernet types; the second for bridged tunnels (802.1H)
			return w.etherType(t)
		case oui == 0x80c2 && (t == 1 || t == 7): // bridged Ethernet (RFC 2684), with two bytes of padding
			w.off += 2
			return w.ethernet()
		}
	case w.u8(0) == 6 && w.u8(1) == 6 && w.u8(2) == 3: // the SAP of IP
		w.off += 3
		return w.ip()
	}
	return NonIP
}

// tagSize is the length of a tag that ends with the type of what it tags; 0 for other types.
func tagSize(t uint16) int {
	switch t {
	case typeVLAN, typeServiceTag, typeQinQ, typeQinQ2:
		return 4
	case typeVNTag:
		return 6
	case typeETag, typeCMD:
		return 8
	}
	return 0
}

// etherType goes on with what an Ethernet type names.
func (w *walk) etherType(t uint16) Verdict {
	for n := tagSize(t); n > 0; n = tagSize(t) {
		if !w.deeper() {
			return TooDeep
		}
		if !w.has(n) {
			return w.lack(n)
		}
		if n == 4 && w.p.VLAN == 0 {
			w.p.VLAN = w.u16(0) & 0xfff
		}
		t = w.u16(n - 2)
		w.off += n
		if t < 0x600 {
			return w.lengthOrType(t)
		}
	}
	switch t {
	case typeIPv4, typeIPv6:
		return w.ip()
	case typeARP, typeRARP:
		return ARP
	}
	if !w.deeper() {
		return TooDeep
	}
	switch t {
	case typeMPLS, typeMPLSMulti:
		return w.mpls()
	case typePPPoE:
		return w.pppoe()
	case typePPP:
		return w.ppp()
	case typeTEB:
		return w.ethernet()
	case typeAruba:
		return w.wlan(false)
	case typePBB: // flags and service id, then the customer's frame
		return w.frameAfter(4)
	case typeFabricPath: // forwarding tag, then the frame
		return w.frameAfter(2)
	case typeTRILL: // options by their length in four bytes (RFC 6325, section 3)
		if !w.has(6) {
			return w.lack(6)
		}
		return w.frameAfter(6 + int(w.u16(0)>>6&31)*4)
	case typeNSH:
		return w.nsh()
	}
	return NonIP
}

// frameAfter skips n bytes before an Ethernet frame.
func (w *walk) frameAfter(n int) Verdict {
	if !w.has(n) {
		return w.lack(n)
	}
	w.off += n
	return w.ethernet()
}

// nsh reads a network service header (RFC 8300, section 2).
func (w *walk) nsh() Verdict {
	if !w.has(8) {
		return w.lack(8)
	}
	n := int(w.u8(1)&63) * 4
	if n < 8 {
		return Malformed
	}
	if !w.has(n) {
		return w.lack(n)
	}
	next := w.u8(3)
	w.off += n
	switch next {
	case 1, 2:
		return w.ip()
	case 3:
		return w.ethernet()
	case 5:
		return w.mpls()
	}
	return NonIP
}

// mpls reads a label stack (RFC 3032). Nothing says what it carries: IP by its version, else an
// Ethernet pseudowire, with a control word (RFC 4448) where the first four bits are zero.
func (w *walk) mpls() Verdict {
	for bottom := false; !bottom; w.off += 4 {
		if !w.deeper() {
			return TooDeep
		}
		if !w.has(4) {
			return w.lack(4)
		}
		bottom = w.u8(2)&1 != 0
	}
	if !w.has(1) {
		return w.lack(1)
	}
	switch w.u8(0) >> 4 {
	case 4, 6:
		if v := w.try(0, typeIPv4); v == OK {
			return OK
		}
		if w.try(0, typeTEB) == OK {
			return OK
		}
		return w.ip() // for its verdict
	case 0:
		if w.try(4, typeTEB) == OK {
			return OK
		}
	}
	if w.try(0, typeTEB) == OK {
		return OK
	}
	return NonIP
}

// try goes on n bytes further with what the type names. Only OK with good lengths counts; anything
// else is undone.
func (w *walk) try(n int, t uint16) Verdict {
	if !w.has(n) {
		return w.lack(n)
	}
	saved, in := *w.p, *w
	in.off += n
	v := in.etherType(t)
	w.left = in.left // guesses that fail count too: else a hostile frame could make them multiply
	if v == OK && in.flags&^w.flags&ntpac.BadLength != 0 {
		v = Malformed
	}
	if v != OK {
		*w.p = saved
	}
	return v
}

// pppoe reads a session header (RFC 2516).
func (w *walk) pppoe() Verdict {
	if !w.has(6) {
		return w.lack(6)
	}
	if w.u8(1) != 0 {
		return NonIP
	}
	n := int(w.u16(4))
	w.off += 6
	w.cut(n)
	return w.ppp()
}

// ppp reads the address and control bytes, where they are, and the protocol number, of one byte or
// two (RFC 1661, RFC 1662).
func (w *walk) ppp() Verdict {
	if w.has(2) && w.u16(0) == 0xff03 {
		w.off += 2
	}
	if !w.has(2) {
		return w.lack(2)
	}
	t := uint16(w.u8(0))
	w.off++
	if t&1 == 0 {
		t = t<<8 | uint16(w.u8(0))
		w.off++
	}
	switch t {
	case 0x21, 0x57:
		return w.ip()
	case 0x281, 0x283:
		return w.mpls()
	case 0x31: // bridging control (RFC 3518): flags, MAC type 1 (Ethernet), then the frame
		if w.has(2) && w.u8(1) == 1 {
			return w.frameAfter(2)
		}
	}
	return NonIP
}
