package meta

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"ntpac"
)

// The laws of this file say that what is renamed alike everywhere is only renamed in the output.

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
