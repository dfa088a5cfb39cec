package meta

import (
	"math/rand/v2"
	"net/netip"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// littered: packets that are nobody's, or nothing, do not matter. The argument draws what is put in behind
// the frame.
var littered = law{
	name: "garbage does not matter",
	plan: func(r *rand.Rand, fs []frame) []op {
		return share(r, fs, shares[r.IntN(2)], func() int64 { return r.Int64() })
	},
	runs: func(h *history) (input, input) {
		var out []frame
		at := h.at()
		for _, f := range h.frames {
			out = append(out, f)
			if o, ok := at[f.id]; ok {
				g := litter(rand.New(rand.NewPCG(uint64(o.arg), 2)), f)
				g.id, g.talk = f.id, garbage
				g.TS = f.TS + ntpac.Time(uint64(o.arg)%uint64(ms/2))
				g.Wire = len(g.Data)
				out = append(out, g)
			}
		}
		return one(h.frames), one(inOrder(out))
	},
	check: func(h *history, base, other *output) error {
		mine := map[ends]bool{}
		for _, f := range base.convs {
			mine[f.ends()] = true
		}
		// Garbage that names a conversation's end points is counted as its packets, and its checksums are seen.
		v := view{conv: func(f *found) record {
			return f.record.without("capture", "packets_up", "packets_down", "last").unflagged("bad-checksum")
		}, art: law1.art}
		return equal(base, other.where(func(f *found) bool { return mine[f.ends()] }), v)
	},
}

// litter makes a frame that must change nothing in what f belongs to.
func litter(r *rand.Rand, f frame) frame {
	noise := make([]byte, 14+r.IntN(400))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	g := f
	h, ok := read(f.Data)
	ok = ok && !h.inside
	head := func(n int) []byte { return append([]byte(nil), f.Data[:min(n, len(f.Data))]...) }
	kind := r.IntN(9)
	switch {
	case kind == 0 || !ok: // noise
		g.Data = noise
	case kind == 1: // ARP, or spanning tree
		g.Data = pcaptest.EtherType([]uint16{0x0806, 38}[r.IntN(2)], noise)
	case kind == 2: // a flow of others
		o := netip.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(8))})
		g.Data = pcaptest.Ether(pcaptest.IP(o, netip.AddrFrom4([4]byte{203, 0, 113, 99}), ntpac.TCP, pcaptest.Segment{
			Src: netip.AddrPortFrom(o, 999), Dst: netip.MustParseAddrPort("203.0.113.99:80"), Seq: r.Uint32(), Flags: byte(r.Uint32())}.Bytes(noise)))
	case kind == 3: // an IP header of another version
		g.Data = head(len(f.Data))
		g.Data[h.l3] = byte(r.IntN(4))<<4 | g.Data[h.l3]&15
	case kind == 4: // nothing behind the IP header
		g.Data = head(h.l4)
		if h.v6 {
			be.PutUint16(g.Data[h.l3+4:], 0)
		} else {
			be.PutUint16(g.Data[h.l3+2:], uint16(h.l4-h.l3))
		}
	case kind == 5 && h.proto == ntpac.TCP && !h.fragment: // a TCP header that says it is shorter than any
		g.Data = head(len(f.Data))
		g.Data[h.l4+12] = byte(r.IntN(5)) << 4
	case kind == 6 && h.proto == ntpac.TCP && !h.fragment && !h.has(pcaptest.SYN|pcaptest.FIN|pcaptest.RST): // RST or FIN with a wrong checksum
		g.Data = head(h.pay)
		h.patch(g.Data, h.l4+12, []byte{g.Data[h.l4+12], []byte{pcaptest.RST, pcaptest.FIN, pcaptest.RST | pcaptest.ACK}[r.IntN(3)]}, false, true)
		g = broken(resized(g, h))
	case kind == 7 && h.proto == ntpac.TCP && !h.fragment && !h.has(pcaptest.SYN|pcaptest.FIN|pcaptest.RST) && h.pay+10 < h.end:
		// the same segment again with a wrong checksum and other bytes
		g.Data = head(len(f.Data))
		for i := h.pay; i < h.end; i++ {
			g.Data[i] ^= 0xff
		}
		g = broken(g)
	case kind == 8 && h.proto == ntpac.TCP && !h.fragment && !h.has(pcaptest.SYN|pcaptest.FIN|pcaptest.RST):
		// a segment far outside of every window, which acknowledges as much
		g.Data = head(len(f.Data))
		g = renumber(g, 1<<30+r.Uint32N(1<<30), 1<<30+r.Uint32N(1<<30))
	default:
		g.Data = noise
	}
	return g
}

// resized gives a frame that was cut behind its headers a network header that says so.
func resized(g frame, h header) frame {
	b := g.Data
	if h.v6 {
		be.PutUint16(b[h.l3+4:], uint16(h.pay-h.l4))
	} else {
		h.patch(b, h.l3+2, be.AppendUint16(nil, uint16(h.pay-h.l3)), true, false)
	}
	return g
}
