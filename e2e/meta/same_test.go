package meta

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// The laws of this file say that something does not matter: the output stays the same but for what is
// named.

// law1 is what "Law 1 compares": "everything but capture, duplicates_*, source references and
// conversations flagged limit-memory".
var law1 = view{
	conv: func(f *found) record { return f.record.without("capture", "duplicates_up", "duplicates_down") },
	art:  func(_ *found, a record) record { return a },
}

func sameLaw1(_ *history, base, other *output) error { return equal(base, other, law1) }

// share draws operations on a share of the frames.
func share(r *rand.Rand, fs []frame, part float64, arg func() int64) (ops []op) {
	for i := range fs {
		if r.Float64() < part {
			ops = append(ops, op{fs[i].id, arg()})
		}
	}
	return ops
}

// shares are what a random operation is done to.
var shares = []float64{0.02, 0.2, 1}

const ms = ntpac.Second / 1000

// duplicated: the same packet captured again, up to 50 ms later. Odd arguments let the copy take one hop
// more.
var duplicated = law{
	name: "duplicates do not matter",
	plan: func(r *rand.Rand, fs []frame) []op {
		return share(r, fs, shares[r.IntN(3)], func() int64 { return r.Int64N(int64(50 * ms)) })
	},
	runs: func(h *history) (input, input) {
		at := h.at()
		var out []frame
		for i, f := range h.frames {
			out = append(out, f)
			o, ok := at[f.id]
			if !ok || !tellsDuplicate(&f) {
				continue
			}
			if !*strict {
				o.arg = min(o.arg, soon(h.frames, i, o.arg%2))
			}
			if o.arg%2 == 1 {
				f = rerouted(f)
			}
			f.TS += ntpac.Time(o.arg)
			out = append(out, f)
		}
		return one(h.frames), one(inOrder(out))
	},
	check: sameButProbes,
}

// sameButProbes leaves out, without -strict, the counts of conversations with keep-alives: reassembly compares
// a repeated packet with the stream, not with the packet that it repeats, so it does not recognise one whose
// bytes are not the stream's.
func sameButProbes(h *history, base, other *output) error {
	probed := map[ends]bool{}
	for _, t := range truths(h.frames) {
		for i := range t.segs {
			probed[t.ends] = probed[t.ends] || t.segs[i].n == 1 // most are
		}
	}
	return equal(base, other, view{art: law1.art, conv: func(f *found) record {
		r := law1.conv(f)
		if !*strict && probed[f.ends()] {
			r = r.without("packets_up", "packets_down", "last", "overlap_up", "overlap_down")
		}
		return r
	}})
}

// soon is how late a copy of a frame may be to be recognised without -strict: reassembly remembers the last
// eight packets of a flow only (recentLen), not all of the window. odd is what the last bit shall be.
func soon(fs []frame, i int, odd int64) int64 {
	h, _ := read(fs[i].Data)
	n := 0
	for _, f := range fs[i+1:] {
		if g, ok := read(f.Data); ok && g.src.Addr().Compare(h.dst.Addr()) != 0 && g.src.Addr().Compare(h.src.Addr()) != 0 {
			continue
		}
		if n++; n == 4 { // which may be there twice themselves
			return max(int64(f.TS-fs[i].TS)&^1-2, 0) + odd
		}
	}
	return int64(50 * ms)
}

// tellsDuplicate: "for UDP also a different interface or source, or an equal nonzero IPv4 id". Here is one
// source with one interface, so only IPv4 tells a repeated datagram from two equal ones.
func tellsDuplicate(f *frame) bool {
	h, ok := read(f.Data)
	return ok && (h.proto == ntpac.TCP || !h.v6 && h.id != 0 || h.fragment)
}

// tapped: every packet is captured by two taps, the second of which is late by the argument of the first
// operation.
var tapped = law{
	name: "a second tap does not matter",
	plan: func(r *rand.Rand, fs []frame) []op { return []op{{-1, r.Int64N(int64(50 * ms))}} },
	runs: func(h *history) (input, input) {
		second := slices.Clone(h.frames)
		least := int64(50 * ms)
		for i := range second {
			least = min(least, soon(h.frames, i, 0))
		}
		for i := range second {
			for _, o := range h.ops {
				if !*strict {
					o.arg = min(o.arg, least)
				}
				second[i].TS += ntpac.Time(o.arg)
			}
		}
		return one(h.frames), input{files: []file{{frames: h.frames}, {frames: second}}}
	},
	check: sameButProbes,
}

// moved gives frames in the order of their capture when each is late by its operation's argument. Their
// timestamps stay.
func moved(h *history, most ntpac.Time) []frame {
	at := h.at()
	out := slices.Clone(h.frames)
	place := func(f *frame) ntpac.Time { return f.TS + min(ntpac.Time(at[f.id].arg), most) }
	slices.SortStableFunc(out, func(a, b frame) int { return cmp.Compare(place(&a), place(&b)) })
	return out
}

// shuffled: packets come out of order, within the reorder window.
var shuffled = law{
	name: "order within the window does not matter",
	plan: func(r *rand.Rand, fs []frame) []op {
		most := int64(ntpac.Second) >> r.IntN(6)
		return share(r, fs, shares[r.IntN(3)], func() int64 { return r.Int64N(most) })
	},
	runs: func(h *history) (input, input) {
		return one(h.frames), one(moved(h, ntpac.Second))
	},
	check: sameLaw1,
}

// delayed: packets come up to a minute late, with a window as long.
var delayed = law{
	name: "order within a long window does not matter",
	plan: func(r *rand.Rand, fs []frame) []op {
		return share(r, fs, shares[r.IntN(3)], func() int64 { return r.Int64N(int64(60 * ntpac.Second)) })
	},
	runs: func(h *history) (input, input) {
		long := setup{window: 60 * ntpac.Second}
		base, other := one(h.frames), one(moved(h, 60*ntpac.Second))
		base.setup, other.setup = long, long
		return base, other
	},
	check: sameLaw1,
}

// Ways of splitting a capture, the argument of operation -1 modulo their number; -2 gives the number of
// files and -3 their order.
const (
	atPackets = iota
	byTurns
	byDirection
	atRandom
	splits
)

// split: the capture comes in several files, in any order.
var split = law{
	name: "split over files does not matter",
	plan: func(r *rand.Rand, fs []frame) []op {
		ops := []op{{-1, r.Int64N(splits)}, {-2, 2 + r.Int64N(4)}, {-3, r.Int64()}}
		return append(ops, share(r, fs, 1, func() int64 { return r.Int64() })...)
	},
	runs: func(h *history) (input, input) { return one(h.frames), input{files: parts(h)} },
	check: func(h *history, base, other *output) error {
		return equal(base, other, law1)
	},
}

func parts(h *history) []file {
	at := h.at()
	n := int(max(at[-2].arg, 2))
	if at[-1].arg == byDirection {
		n = 2
	}
	fs := make([]file, n)
	var cuts []uint64
	for i := range n - 1 {
		cuts = append(cuts, uint64(at[-3].arg)>>(8*i)*7919%uint64(len(h.frames)+1))
	}
	slices.Sort(cuts)
	for i, f := range h.frames {
		k := 0
		switch at[-1].arg {
		case atPackets:
			k, _ = slices.BinarySearch(cuts, uint64(i))
		case byTurns:
			k = i % n
		case byDirection:
			if hd, ok := read(f.Data); ok && hd.src.Addr().Compare(hd.dst.Addr()) < 0 {
				k = 1
			}
		case atRandom:
			k = int(uint64(at[f.id].arg) % uint64(n))
		}
		fs[k].frames = append(fs[k].frames, f)
	}
	rand.New(rand.NewPCG(uint64(at[-3].arg), 1)).Shuffle(n, func(i, j int) { fs[i], fs[j] = fs[j], fs[i] })
	return fs
}

// skewed: the clock of the uplink's tap is off by the argument, at most 200 ms. What was said stays the same;
// times and ids are others, and so is everything that tells who spoke when: PDUs, which a change of direction
// ends, how the conversation ended, as closed ones wait for stragglers by the clock, and the client where only
// who spoke first tells it. Where a beginning was not captured, only time tells which answer belongs to which
// request, so that there the streams must be the same, but not what was paired.
var skewed = law{
	name:  "skewed clocks of the two directions do not matter",
	whole: true,
	plan:  func(r *rand.Rand, fs []frame) []op { return []op{{-1, r.Int64N(int64(400*ms)) - int64(200*ms)}} },
	runs: func(h *history) (input, input) {
		fs := parts(&history{h.frames, []op{{-1, byDirection}}})
		for i := range fs[1].frames {
			fs[1].frames[i].TS += ntpac.Time(h.at()[-1].arg)
		}
		return one(h.frames), input{files: fs}
	},
	check: func(_ *history, base, other *output) error {
		whole := func(f *found) bool {
			return f.conv.Half[0].HeadKnown && f.conv.Half[1].HeadKnown || f.conv.Key.Proto == ntpac.UDP
		}
		v := view{
			conv: func(f *found) record {
				r := record{"ends": f.ends().String(), "app": f.conv.App, "client": f.conv.ClientEnd().String(), "bytes": fmt.Sprint(f.conv.Half[0].Bytes, f.conv.Half[1].Bytes),
					"sums": fmt.Sprint(f.conv.Half[0].SHA256, f.conv.Half[1].SHA256), "missing": fmt.Sprint(f.conv.Half[0].Missing, f.conv.Half[1].Missing)}
				if f.conv.ClientBy == ntpac.ByFirst {
					delete(r, "client")
				}
				return r
			},
			art: func(f *found, a record) record {
				if !whole(f) {
					return nil
				}
				r := a.without("id", "conversation", "control", "time")
				r["ends"] = f.ends().String()
				return r
			},
		}
		return equal(base, other, v)
	},
}

// contained: the container of the frames, its compression and its byte order do not matter.
var contained = law{
	name: "the format of the file does not matter",
	plan: func(r *rand.Rand, fs []frame) []op { return []op{{-1, r.Int64N(int64(len(formats)))}} },
	runs: func(h *history) (input, input) {
		return one(h.frames), input{files: []file{{frames: h.frames, format: formats[h.at()[-1].arg]}}}
	},
	check: sameLaw1,
}

// placed: how many workers there are, which store it is, and where the payload stays.
var placed = law{
	name: "workers, store and payload by reference do not matter",
	plan: func(r *rand.Rand, fs []frame) []op { return []op{{-1, r.Int64N(16)}} },
	runs: func(h *history) (input, input) {
		x := h.at()[-1].arg
		other := one(h.frames)
		other.setup = setup{workers: []int{1, 2, 4, 3}[x&3], reference: x&4 != 0, embedded: x&8 != 0}
		return one(h.frames), other
	},
	check: func(_ *history, base, other *output) error {
		return equal(base, other, view{
			conv: func(f *found) record { return f.record.without("capture") },
			art:  law1.art,
		})
	},
}

// shifted: another clock gives other times and ids.
var shifted = law{
	name: "the clock does not matter",
	plan: func(r *rand.Rand, fs []frame) []op {
		return []op{{-1, r.Int64N(int64(4e8*ntpac.Second)) - int64(2e8*ntpac.Second)}}
	},
	runs: func(h *history) (input, input) {
		out := slices.Clone(h.frames)
		for i := range out {
			out[i].TS += ntpac.Time(h.at()[-1].arg)
		}
		return one(h.frames), one(out)
	},
	check: func(h *history, base, other *output) error {
		d := ntpac.Time(h.at()[-1].arg)
		return equal(unnamed(base, 0), unnamed(other, d), law1)
	},
}

// unnamed gives an output without ids, and with all times earlier by d. What hung on an id hangs on the
// conversation's end points and start.
func unnamed(o *output, d ntpac.Time) *output {
	out := &output{sum: o.sum}
	for _, f := range o.convs {
		k := &found{conv: f.conv, record: timed(f.record.without("id"), d)}
		for _, a := range f.artifacts {
			k.artifacts = append(k.artifacts, o.named(timed(a.without("id"), d), func(f *found) string { return fmt.Sprint(f.ends(), f.conv.First-d) }))
		}
		out.convs = append(out.convs, k)
	}
	return out
}

// references are the fields of artifacts that name a conversation by its id.
var references = []string{"conversation", "control"}

// named gives an artifact in which conversations are named by what they are, and not by their ids.
func (o *output) named(a record, name func(f *found) string) record {
	out := a.without()
	for _, field := range references {
		for _, f := range o.convs {
			if f.conv.ID.String() == a.text(field) {
				out[field] = name(f)
			}
		}
	}
	return out
}

// timed makes every time of the contract in a record earlier by d.
func timed(r record, d ntpac.Time) record {
	out := make(record, len(r))
	for k, v := range r {
		switch x := v.(type) {
		case string:
			if k == "first" || k == "last" || k == "time" {
				if at, ok := parseTime(x); ok {
					v = (at - d).String()
				}
			}
		case []any:
			if k == "pdus" {
				list := make([]any, len(x))
				for i, p := range x {
					list[i] = map[string]any(timed(record(p.(map[string]any)), d))
				}
				v = list
			}
		}
		out[k] = v
	}
	return out
}

// readdressed: other addresses and ports, one for one, give other end points and ids. Well-known ports
// stay, as they are hints; so do the ports that FTP announces.
var readdressed = law{
	name: "addresses do not matter",
	plan: func(r *rand.Rand, fs []frame) []op { return []op{{-1, r.Int64()}} },
	runs: func(h *history) (input, input) {
		m := mapping(uint64(h.at()[-1].arg))
		out := slices.Clone(h.frames)
		for i := range out {
			out[i] = readdress(out[i], m)
		}
		return one(h.frames), one(out)
	},
	check: func(h *history, base, other *output) error {
		m := mapping(uint64(h.at()[-1].arg))
		return equal(unplaced(base, m), unplaced(other, nil), law1)
	},
}

// mapping is a bijection of end points: a mask on the host bits of addresses and on client ports.
func mapping(seed uint64) func(netip.AddrPort) netip.AddrPort {
	return func(e netip.AddrPort) netip.AddrPort {
		b := e.Addr().AsSlice()
		b[len(b)-1] ^= byte(seed)
		b[len(b)-2] ^= byte(seed >> 8)
		a, _ := netip.AddrFromSlice(b)
		p := e.Port()
		if p >= 40000 && p < 48192 {
			p = 40000 + (p - 40000) ^ uint16(seed>>16&0x1fff)
		}
		return netip.AddrPortFrom(a, p)
	}
}

// unplaced gives an output without ids, its end points mapped.
func unplaced(o *output, m func(netip.AddrPort) netip.AddrPort) *output {
	if m == nil {
		m = func(e netip.AddrPort) netip.AddrPort { return e }
	}
	out := &output{sum: o.sum}
	for _, f := range o.convs {
		c, s := f.conv.ClientEnd(), f.conv.ServerEnd()
		if f.record.text("tunnel") == "" {
			c, s = m(c), m(s)
		}
		k := &found{conv: f.conv, record: f.record.without("id", "src_ip", "src_port", "dst_ip", "dst_port")}
		k.record["ends"] = fmt.Sprint(c, s)
		for _, a := range f.artifacts {
			a = o.named(a.without("id"), func(f *found) string {
				if f.record.text("tunnel") != "" {
					return fmt.Sprint(f.conv.ClientEnd(), f.conv.First)
				}
				return fmt.Sprint(m(f.conv.ClientEnd()), m(f.conv.ServerEnd()), f.conv.First)
			})
			if url := a.text("source_url"); url != "" { // names the server where the client did not
				a["source_url"] = strings.Replace(url, f.conv.ServerEnd().Addr().String(), s.Addr().String(), 1)
			}
			k.artifacts = append(k.artifacts, a)
		}
		out.convs = append(out.convs, k)
	}
	return out
}

// wrapped: sequence numbers that wrap at any byte give other ids. Operation -1-n chooses the byte of talk
// n's up stream, -101-n of its down stream.
var wrapped = law{
	name: "the wrap of sequence numbers does not matter",
	plan: func(r *rand.Rand, fs []frame) (ops []op) {
		for n := range 8 {
			ops = append(ops, op{-1 - n, r.Int64N(9000) - 2}, op{-101 - n, r.Int64N(9000) - 2})
		}
		return ops
	},
	runs: func(h *history) (input, input) {
		at := h.at()
		add := map[ends][2]uint32{}
		for _, t := range truths(h.frames) {
			if !t.tcp {
				continue
			}
			if _, ok := add[t.ends]; !ok { // of used ports only the first connection wraps
				add[t.ends] = [2]uint32{uint32(-at[-1-t.talk].arg) - t.isn[0], uint32(-at[-101-t.talk].arg) - t.isn[1]}
			}
		}
		out := slices.Clone(h.frames)
		for i := range out {
			if hd, ok := read(out[i].Data); ok {
				d, s := add[hd.ends()], hd.ends().side(&hd)
				out[i] = renumber(out[i], d[s], d[s.Other()])
			}
		}
		return one(h.frames), one(out)
	},
	check: func(_ *history, base, other *output) error { return equal(unnamed(base, 0), unnamed(other, 0), law1) },
}

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
		// Garbage that names a conversation's end points is counted as its packets.
		v := view{conv: func(f *found) record {
			r := f.record.without("capture", "packets_up", "packets_down", "last")
			if !*strict {
				// While bytes are held, reassembly takes a segment with equal headers and other bytes for a duplicate.
				r = r.without("duplicates_up", "duplicates_down")
			}
			return r
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
	case kind == 6 && h.proto == ntpac.TCP && !h.fragment && !h.has(pcaptest.SYN): // RST or FIN with a wrong checksum
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
