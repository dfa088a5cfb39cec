package meta

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"ntpac"
	"ntpac/internal/pcaptest"
)

var be = binary.BigEndian

// frame is a frame of a history. It keeps its number whatever is done to its neighbours, so that
// operations can name it.
type frame struct {
	pcaptest.Frame
	id   int
	talk int // which of the history's talks it belongs to; garbage for none
}

const garbage = -1

// header is what the laws must know of a frame, read by code of its own.
type header struct {
	l3, l4, pay int
	end         int // behind the payload, by the network header's word
	proto       ntpac.Proto
	v6          bool
	id          uint32 // identification, of IPv6 that of the fragment header
	fragment    bool
	first       bool // of the fragments
	inside      bool // a tunnel
	src, dst    netip.AddrPort
	seq, ack    uint32
	flags       byte
}

func (h *header) payload(b []byte) []byte { return b[h.pay:min(h.end, len(b))] }

// ends are the sorted end points.
func (h *header) ends() ends {
	if h.src.Compare(h.dst) > 0 {
		return ends{h.proto, h.dst, h.src}
	}
	return ends{h.proto, h.src, h.dst}
}

func (h *header) has(flag byte) bool { return h.flags&flag != 0 }

// read finds the headers of an Ethernet frame; ok is false for what is not IP.
func read(b []byte) (h header, ok bool) { return readAt(b, 0) }

func readAt(b []byte, at int) (h header, ok bool) {
	at += 12
	for len(b) >= at+4 && (be.Uint16(b[at:]) == 0x8100 || be.Uint16(b[at:]) == 0x88a8) {
		at += 4
	}
	if len(b) < at+2+20 {
		return h, false
	}
	kind := be.Uint16(b[at:])
	h.l3, h.first = at+2, true
	var src, dst netip.Addr
	switch {
	case kind == 0x0800 && b[h.l3]>>4 == 4:
		h.l4 = h.l3 + int(b[h.l3]&15)*4
		h.end = h.l3 + int(be.Uint16(b[h.l3+2:]))
		h.id = uint32(be.Uint16(b[h.l3+4:]))
		off := be.Uint16(b[h.l3+6:]) & 0x3fff
		h.fragment, h.first = off != 0, off&0x1fff == 0
		h.proto = ntpac.Proto(b[h.l3+9])
		src, _ = netip.AddrFromSlice(b[h.l3+12 : h.l3+16])
		dst, _ = netip.AddrFromSlice(b[h.l3+16 : h.l3+20])
	case kind == 0x86dd && b[h.l3]>>4 == 6 && len(b) >= h.l3+40:
		h.v6 = true
		h.l4 = h.l3 + 40
		h.end = h.l4 + int(be.Uint16(b[h.l3+4:]))
		h.proto = ntpac.Proto(b[h.l3+6])
		src, _ = netip.AddrFromSlice(b[h.l3+8 : h.l3+24])
		dst, _ = netip.AddrFromSlice(b[h.l3+24 : h.l3+40])
		if h.proto == 44 && len(b) >= h.l4+8 {
			off := be.Uint16(b[h.l4+2:])
			h.fragment, h.first = true, off&^7 == 0
			h.proto, h.id = ntpac.Proto(b[h.l4]), be.Uint32(b[h.l4+4:])
			h.l4 += 8
		}
	default:
		return h, false
	}
	h.pay = h.l4
	h.src, h.dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
	if !h.first || len(b) < h.l4+8 {
		return h, true
	}
	return h.transport(b, src, dst)
}

func (h header) transport(b []byte, src, dst netip.Addr) (header, bool) {
	switch h.proto {
	case ntpac.UDP:
		h.pay = h.l4 + 8
	case ntpac.TCP:
		if len(b) < h.l4+20 {
			return h, false
		}
		h.pay = h.l4 + int(b[h.l4+12]>>4)*4
		h.seq, h.ack, h.flags = be.Uint32(b[h.l4+4:]), be.Uint32(b[h.l4+8:]), b[h.l4+13]
	default:
		return h, true
	}
	h.src = netip.AddrPortFrom(src, be.Uint16(b[h.l4:]))
	h.dst = netip.AddrPortFrom(dst, be.Uint16(b[h.l4+2:]))
	if h.proto == ntpac.UDP && h.dst.Port() == 4789 && !h.fragment { // VXLAN: what counts is inside
		in, ok := readAt(b, h.pay+8)
		in.inside = true
		return in, ok
	}
	return h, true
}

// patch replaces bytes of a frame and keeps right the checksums that have them in their sums: the
// transport's, and with network set the IPv4 header's (RFC 1624). at must be even within its header.
func (h *header) patch(b []byte, at int, to []byte, network, transport bool) {
	for i := 0; i+1 < len(to); i += 2 {
		old, now := be.Uint16(b[at+i:]), be.Uint16(to[i:])
		if network && !h.v6 {
			fix(b[h.l3+10:], old, now)
		}
		if transport && h.first {
			switch {
			case h.proto == ntpac.TCP:
				fix(b[h.l4+16:], old, now)
			case h.proto == ntpac.UDP && be.Uint16(b[h.l4+6:]) != 0:
				if fix(b[h.l4+6:], old, now); be.Uint16(b[h.l4+6:]) == 0 {
					be.PutUint16(b[h.l4+6:], 0xffff)
				}
			}
		}
	}
	copy(b[at:], to)
}

func fix(sum []byte, old, now uint16) {
	s := uint32(^be.Uint16(sum)) + uint32(^old) + uint32(now)
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	be.PutUint16(sum, ^uint16(s))
}

// readdress gives the frame with other end points. What has no ports, or is inside a tunnel, keeps them.
func readdress(f frame, to func(netip.AddrPort) netip.AddrPort) frame {
	h, ok := read(f.Data)
	if !ok || h.inside {
		return f
	}
	b := append([]byte(nil), f.Data...)
	at, n := h.l3+12, 4
	if h.v6 {
		at, n = h.l3+8, 16
	}
	src, dst := to(h.src), to(h.dst)
	h.patch(b, at, src.Addr().AsSlice(), true, true)
	h.patch(b, at+n, dst.Addr().AsSlice(), true, true)
	if h.first && (h.proto == ntpac.TCP || h.proto == ntpac.UDP) {
		h.patch(b, h.l4, be.AppendUint16(nil, src.Port()), false, true)
		h.patch(b, h.l4+2, be.AppendUint16(nil, dst.Port()), false, true)
	}
	f.Data = b
	return f
}

// renumber gives a TCP segment with other sequence numbers: seq is added to its own, ack to what it
// acknowledges.
func renumber(f frame, seq, ack uint32) frame {
	h, ok := read(f.Data)
	if !ok || h.proto != ntpac.TCP || h.inside {
		return f
	}
	b := append([]byte(nil), f.Data...)
	h.patch(b, h.l4+4, be.AppendUint32(nil, h.seq+seq), false, true)
	if h.has(pcaptest.ACK) {
		h.patch(b, h.l4+8, be.AppendUint32(nil, h.ack+ack), false, true)
	}
	f.Data = b
	return f
}

// rerouted gives the frame as another hop sees it: with another time to live and other class bits, which
// duplicates may differ in.
func rerouted(f frame) frame {
	h, ok := read(f.Data)
	if !ok || h.inside {
		return f
	}
	b := append([]byte(nil), f.Data...)
	if h.v6 {
		b[h.l3+7]--
		b[h.l3+1] ^= 0x80 // one bit of the traffic class' DSCP (RFC 8200 section 3, RFC 2474)
	} else {
		h.patch(b, h.l3+8, []byte{b[h.l3+8] - 1, b[h.l3+9]}, true, false)
		h.patch(b, h.l3, []byte{b[h.l3], b[h.l3+1] ^ 0x20}, true, false)
	}
	f.Data = b
	return f
}

// broken gives the frame with a wrong transport checksum.
func broken(f frame) frame {
	h, ok := read(f.Data)
	if !ok {
		return f
	}
	b := append([]byte(nil), f.Data...)
	switch h.proto {
	case ntpac.TCP:
		b[h.l4+16] ^= 0x55
	case ntpac.UDP:
		b[h.l4+6] ^= 0x55
	}
	f.Data = b
	return f
}

// inOrder sorts frames by time.
func inOrder(fs []frame) []frame {
	slices.SortStableFunc(fs, func(a, b frame) int { return cmp.Compare(a.TS, b.TS) })
	return fs
}

// number gives each frame its number.
func number(fs []frame) []frame {
	for i := range fs {
		fs[i].id = i
	}
	return fs
}
