package meta

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"ntpac"
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
		at, copies := h.at(), copies(h.frames)
		var out []frame
		for _, f := range h.frames {
			out = append(out, f)
			o, ok := at[f.id]
			if !ok || copies[f.id] || !tellsDuplicate(&f) {
				continue
			}
			if o.arg%2 == 1 {
				f = rerouted(f)
			}
			f.TS += ntpac.Time(o.arg)
			out = append(out, f)
		}
		return one(h.frames), one(inOrder(out))
	},
	check: sameLaw1,
}

// copies are the frames that are copies of earlier ones already. The window counts from the first: what is
// captured again within 50 ms of a copy may be later than that.
func copies(fs []frame) map[int]bool {
	out, first := map[int]bool{}, map[string]ntpac.Time{}
	for i := range fs {
		f := &fs[i]
		was, ok := first[string(f.Data)]
		if out[f.id] = ok && f.TS-was <= 50*ms; !out[f.id] {
			first[string(f.Data)] = f.TS
		}
	}
	return out
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
		copies := copies(h.frames)
		second := slices.DeleteFunc(slices.Clone(h.frames), func(f frame) bool { return copies[f.id] })
		for i := range second {
			for _, o := range h.ops {
				second[i].TS += ntpac.Time(o.arg)
			}
		}
		return one(h.frames), input{files: []file{{frames: h.frames}, {frames: second}}}
	},
	check: sameLaw1,
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
	runs:  func(h *history) (input, input) { return one(h.frames), input{files: parts(h)} },
	check: sameLaw1,
}

// apart: the two directions are captured in two files.
var apart = law{
	name:  "the uplink in another file does not matter",
	plan:  func(r *rand.Rand, fs []frame) []op { return []op{{-1, byDirection}, {-3, r.Int64()}} },
	runs:  split.runs,
	check: sameLaw1,
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

// placed: how many workers there are, which store it is, and where the payload stays. Payload that stays in its
// source is compared with what comes again only while it is in memory (docs/adr/0007): where that was not
// enough, the conversation is flagged limit-history, and may have fewer alternatives.
var placed = law{
	name: "workers, store and payload by reference do not matter",
	plan: func(r *rand.Rand, fs []frame) []op { return []op{{-1, r.Int64N(16)}} },
	runs: func(h *history) (input, input) {
		x := h.at()[-1].arg
		other := one(h.frames)
		other.setup = setup{workers: []int{1, 2, 4, 3}[x&3], reference: x&4 != 0, embedded: x&8 != 0}
		return one(h.frames), other
	},
	check: func(h *history, base, other *output) error {
		blind := map[ntpac.ConversationID]bool{}
		for _, f := range other.convs {
			blind[f.conv.ID] = h.at()[-1].arg&4 != 0 && f.conv.Flags&ntpac.LimitHistory != 0
		}
		return equal(base, other, view{
			conv: func(f *found) record {
				if blind[f.conv.ID] {
					return f.record.without("capture", "flags", "overlap_up", "overlap_down")
				}
				return f.record.without("capture")
			},
			art: law1.art,
		})
	},
}
