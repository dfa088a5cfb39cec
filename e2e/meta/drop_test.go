package meta

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"ntpac"
)

// The laws of this file say what may change when frames are missing, and how.

var lossShares = []float64{0.001, 0.01, 0.1, 0.3, 0.6}

// dropped: frames are not captured. The argument of an operation says nothing.
var dropped = law{
	name:  "what is missing is missing, and nothing else",
	whole: true,
	plan: func(r *rand.Rand, fs []frame) []op {
		return share(r, fs, lossShares[r.IntN(len(lossShares))], func() int64 { return 0 })
	},
	runs: func(h *history) (input, input) {
		at := h.at()
		return one(h.frames), one(slices.DeleteFunc(slices.Clone(h.frames), func(f frame) bool { _, ok := at[f.id]; return ok }))
	},
	check: func(h *history, base, other *output) error {
		at := h.at()
		for i := len(h.frames) - 1; i >= 0; i-- {
			if _, lost := at[h.frames[i].id]; lost {
				base, other = ended(base), ended(other)
			}
			if i > 0 && h.frames[i].TS-h.frames[i-1].TS > 60*ntpac.Second {
				break
			}
		}
		d, err := compare(h.frames, func(id int) bool { _, ok := at[id]; return !ok }, base, other)
		if err != nil {
			return err
		}
		return errors.Join(d.untouched(), d.inverse())
	},
}

// ended gives an output in which it is not told whether a conversation ended by silence or with the capture: the
// clock at the end of the capture tells that. It follows the last frames, but a jump of more than 60 s only when
// more than one frame has made it.
func ended(o *output) *output {
	out := &output{sum: o.sum}
	for _, f := range o.convs {
		g := *f
		if c := f.record.text("close"); c == "idle" || c == "end" {
			g.record = f.record.without("close")
		}
		out.convs = append(out.convs, &g)
	}
	return out
}

// droppedOne: one frame is not captured. TestEachFrameDropped tries every frame of every talk by itself.
var droppedOne = law{
	name:  "what one missing frame touches is missing, and nothing else",
	whole: true,
	plan:  func(r *rand.Rand, fs []frame) []op { return []op{{fs[r.IntN(len(fs))].id, 0}} },
	runs:  dropped.runs,
	check: dropped.check,
}

// cutShort: the file ends at any byte; the argument of operation -1 says at which millionth, that of -2 which
// format it has. What was whole before is as if nothing came after.
var cutShort = law{
	name:  "a cut file gives what it holds",
	whole: true,
	plan: func(r *rand.Rand, fs []frame) []op {
		return []op{{-1, r.Int64N(1e6)}, {-2, r.Int64N(int64(len(cuttable)))}}
	},
	runs: func(h *history) (input, input) {
		f, at, _ := h.cut()
		return one(h.frames), input{files: []file{{frames: h.frames, format: f, cut: at}}}
	},
	check: func(h *history, base, other *output) error {
		f, at, n := h.cut()
		last := map[int]bool{}
		for i := range h.frames[:n] {
			last[h.frames[i].id] = true
		}
		if want := int64(len(f.encode(h.frames[:n]))) != at; other.sum.Damaged() != want {
			return fmt.Errorf("damaged: %t, want %t (%d frames are whole)", other.sum.Damaged(), want, n)
		}
		d, err := compare(h.frames, func(id int) bool { return last[id] }, ended(base), ended(other))
		if err != nil {
			return err
		}
		return errors.Join(d.untouched(), d.inverse())
	},
}

// cuttable are the formats that can be read as far as they go.
var cuttable = []format{{}, {big: true}, {ng: true}}

// cut gives the format, where the file ends, and how many frames are whole before that.
func (h *history) cut() (f format, at int64, whole int) {
	ops := h.at()
	f = cuttable[ops[-2].arg]
	head := int64(len(f.encode(nil)))
	size := int64(len(f.encode(h.frames)))
	at = head + (size-head)*ops[-1].arg/1e6
	for whole < len(h.frames) && int64(len(f.encode(h.frames[:whole+1]))) <= at {
		whole++
	}
	return f, at, whole
}
