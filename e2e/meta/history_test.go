package meta

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// op is one operation on a capture: what it does is the law's matter. One on a frame that is not there
// does nothing, so that a history stays one when frames and operations are taken out of it.
type op struct {
	id  int // of the frame
	arg int64
}

// history is a capture and what is done to it.
type history struct {
	frames []frame
	ops    []op
}

func (h *history) at() map[int]op {
	m := map[int]op{}
	for _, o := range h.ops {
		m[o.id] = o
	}
	return m
}

// law is what must hold between two runs.
type law struct {
	name  string
	plan  func(r *rand.Rand, fs []frame) []op
	runs  func(h *history) (base, other input)
	check func(h *history, base, other *output) error
	whole bool // it speaks of undamaged captures: shrinking takes only whole talks away
}

// breaks gives the reason for which a history breaks the law; nil when it holds. base, where it is
// known, saves a run.
func (l *law) breaks(dir string, h *history, base *output) (err error) {
	a, b := l.runs(h)
	if base == nil {
		if base, err = run(dir, a); err != nil {
			return fmt.Errorf("the undisturbed run: %w", err)
		}
	}
	other, err := run(dir, b)
	if err != nil {
		return fmt.Errorf("the disturbed run: %w", err)
	}
	return l.check(h, base, other)
}

// hold checks a law on a history and reports the smallest one that breaks it.
func (l *law) hold(t *testing.T, dir string, h *history, base *output, what string) bool {
	t.Helper()
	err := l.breaks(dir, h, base)
	if err == nil {
		return true
	}
	least, why := l.shrink(dir, h, err)
	t.Errorf("%s: the law %q is broken: %v\n%s", what, l.name, why, least)
	return false
}

// trials bounds how many runs shrinking takes.
const trials = 600

// shrink takes frames and operations out of a history while it still breaks the law.
func (l *law) shrink(dir string, h *history, why error) (*history, error) {
	left := trials
	try := func(c *history) bool {
		if left--; left < 0 || len(c.frames) == 0 {
			return false
		}
		err := l.breaks(dir, c, nil)
		if err != nil {
			h, why = c, err
		}
		return err != nil
	}
	talks := map[int]bool{}
	for _, f := range h.frames {
		talks[f.talk] = true
	}
	for n := range talks {
		try(&history{slices.DeleteFunc(slices.Clone(h.frames), func(f frame) bool { return f.talk == n }), h.ops})
	}
	for was := -1; was != len(h.frames)+len(h.ops) && left > 0; {
		was = len(h.frames) + len(h.ops)
		fewer(len(h.ops), func(lo, hi int) bool { return try(&history{h.frames, slices.Delete(slices.Clone(h.ops), lo, hi)}) })
		if l.whole {
			break
		}
		fewer(len(h.frames), func(lo, hi int) bool { return try(&history{slices.Delete(slices.Clone(h.frames), lo, hi), h.ops}) })
	}
	return h, why
}

// fewer takes ranges out of a list of n, big ones first; without says whether that was allowed.
func fewer(n int, without func(lo, hi int) bool) {
	for size := (n + 1) / 2; size > 0; size /= 2 {
		for lo := 0; lo < n; {
			hi := min(lo+size, n)
			if without(lo, hi) {
				n -= hi - lo
			} else {
				lo = hi
			}
		}
		if size == 1 {
			return
		}
	}
}

// String is the history as a table.
func (h *history) String() string {
	var b strings.Builder
	at := map[int][]int64{}
	for _, o := range h.ops {
		at[o.id] = append(at[o.id], o.arg)
	}
	fmt.Fprintf(&b, "%d frames, %d operations\n", len(h.frames), len(h.ops))
	for i := range h.frames {
		if i == 80 {
			fmt.Fprintf(&b, "    ... and %d more\n", len(h.frames)-i)
			break
		}
		f := &h.frames[i]
		mark := ""
		if a, ok := at[f.id]; ok {
			mark = fmt.Sprint(a)
		}
		delete(at, f.id)
		fmt.Fprintf(&b, "  %-4s %4d talk %d %s %s\n", mark, f.id, f.talk, f.TS.Std().Format("15:04:05.000000000"), describe(f))
	}
	for id, args := range at {
		fmt.Fprintf(&b, "  operation on %d: %v\n", id, args)
	}
	return b.String()
}

func describe(f *frame) string {
	h, ok := read(f.Data)
	if !ok {
		return fmt.Sprintf("%d bytes", len(f.Data))
	}
	s := fmt.Sprintf("%v > %v %v", h.src, h.dst, h.proto)
	if h.fragment {
		return s + fmt.Sprintf(" fragment of %d", h.id)
	}
	data := h.payload(f.Data)
	if h.proto == ntpac.TCP {
		for i, c := range "FSRPA" {
			if h.has([]byte{pcaptest.FIN, pcaptest.SYN, pcaptest.RST, pcaptest.PSH, pcaptest.ACK}[i]) {
				s += " " + string(c)
			}
		}
		s += fmt.Sprintf(" seq=%d ack=%d", h.seq, h.ack)
	}
	return s + fmt.Sprintf(" len=%d %.30q", len(data), data)
}
