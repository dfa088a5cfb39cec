package reassembly_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/balancer"
	"ntpac/internal/pcaptest"
	"ntpac/reassembly"
)

// taps gives a world's frames as taps saw them, one for each direction, the second one with a clock that is
// ahead.
func taps(in []simFrame, ahead ntpac.Time) [][]pcaptest.Frame {
	out := make([][]pcaptest.Frame, 2)
	for _, f := range in {
		if f.dir == ntpac.Down {
			f.TS += ahead
		}
		out[f.dir] = append(out[f.dir], f.Frame)
	}
	return out
}

func shifts(t *testing.T, sources [][]pcaptest.Frame, most ntpac.Time) []ntpac.Time {
	k := reassembly.NewSkew(len(sources), false)
	bal := balancer.New(balancer.Config{Seed: 3})
	for i, frames := range sources {
		for _, b := range batchesOf(t, bal, uint16(i), frames, 100) {
			k.Add(i, b)
		}
	}
	return k.Shifts(most)
}

func TestSkew(t *testing.T) {
	const ms = ntpac.Second / 1000
	w := newWorld(5, 20)
	w.clean = true
	w.play()
	for _, ahead := range []ntpac.Time{0, 200 * ms, -200 * ms, 900 * ms} {
		got := shifts(t, taps(w.frames, ahead), ntpac.Second)
		want := []ntpac.Time{max(ahead, 0), max(-ahead, 0)}
		for i := range want {
			if d := got[i] - want[i]; d > 30*ms || d < -30*ms || want[i] == 0 && got[i] != 0 {
				t.Errorf("ahead by %v: shifts %v", ahead, got)
			}
		}
	}
	for name, got := range map[string][]ntpac.Time{
		"too much":    shifts(t, taps(w.frames, 5*ntpac.Second), ntpac.Second),
		"too few":     shifts(t, taps(w.frames[:12], 200*ms), ntpac.Second),
		"one source":  shifts(t, [][]pcaptest.Frame{frames(w.frames)}, ntpac.Second),
		"no packets":  shifts(t, [][]pcaptest.Frame{nil, nil, nil}, ntpac.Second),
		"other flows": shifts(t, [][]pcaptest.Frame{frames(w.frames), nil}, ntpac.Second),
	} {
		if slices.Max(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Three taps: the third one sees one direction of every other packet, by a clock of its own.
	three := append(taps(w.frames, 200*ms), nil)
	for i, f := range three[1] {
		if i%2 == 0 {
			f.TS += 300 * ms
			three[2] = append(three[2], f)
		}
	}
	got := shifts(t, three, ntpac.Second)
	if d := got[0] - 500*ms; d > 30*ms || d < -30*ms {
		t.Errorf("three taps: %v", got)
	}
	if d := got[1] - 300*ms; d > 30*ms || d < -30*ms || got[2] != 0 {
		t.Errorf("three taps: %v", got)
	}
}

// Two taps with different clocks give what one capture gives, times aside.
func TestSkewDoesNotMatter(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 8))
		in := w.frames
		if seed%2 == 0 { // some beginnings are missing
			in = slices.DeleteFunc(slices.Clone(in), func(f simFrame) bool { return f.syn && r.IntN(2) == 0 })
		}
		ahead := ntpac.Time(r.Int64N(int64(ntpac.Second/2))) - ntpac.Second/4
		sources := taps(in, ahead)
		x := pipeline{batch: 50, shifts: shifts(t, sources, ntpac.Second)}
		want := timeless((&pipeline{merge: true}).run(t, frames(in)))
		if got := timeless(x.run(t, sources...)); slices.Max(x.shifts) > 0 && got != want {
			t.Errorf("ahead by %v, shifts %v:\n%s\nnot\n%s", ahead, x.shifts, got, want)
		}
	})
}

// timeless shows conversations without what tells of time.
func timeless(out *outcome) string {
	var lines []string
	for _, v := range out.convs() {
		lines = append(lines, fmt.Sprintf("%v %v %v %v %v %x %x", v.c.Key.End, v.c.Close, v.c.Client, v.c.Flags, v.gaps, v.data[0], v.data[1]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
