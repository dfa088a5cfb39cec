package reassembly_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// The laws of reassembly, on random worlds: what must not matter does not. A failure names its seed.

const worlds = 24

func eachWorld(t *testing.T, f func(t *testing.T, w *world, seed uint64)) {
	t.Helper()
	for seed := range uint64(worlds) {
		w := newWorld(seed, 1+int(seed%7))
		w.play()
		f(t, w, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Batches, workers and clocks only say when something is done, never what.
func TestPlacementDoesNotMatter(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, seed uint64) {
		fs := frames(damaged(w, seed))
		want := (&pipeline{}).run(t, fs).text(sameInput)
		for _, x := range []pipeline{
			{batch: 7}, {batch: 1 << 20}, {batch: 3, workers: 2}, {batch: 1000, workers: 5},
			{clock: rand.New(rand.NewPCG(seed, 1))}, {batch: 50, workers: 3, clock: rand.New(rand.NewPCG(seed, 2))},
		} {
			same(t, "batches, workers, clocks", want, x.run(t, fs).text(sameInput))
		}
	})
}

// damaged gives a world's frames after the capture has lost, cut and doubled some of them.
func damaged(w *world, seed uint64) (out []simFrame) {
	r := rand.New(rand.NewPCG(seed, 3))
	for _, f := range w.frames {
		switch r.IntN(20) {
		case 0:
			continue
		case 1:
			out = append(out, f)
		case 2:
			if len(f.Data) > 100 {
				f.Data = f.Data[:len(f.Data)-r.IntN(20)]
			}
		}
		out = append(out, f)
	}
	return out
}

// A packet captured twice is one packet.
func TestDuplicatesDoNotMatter(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 4))
		once := frames(w.frames)
		var twice []pcaptest.Frame
		n := 0
		for _, f := range once {
			twice = append(twice, f)
			for r.IntN(3) == 0 {
				twice = append(twice, f)
				n++
			}
		}
		a, b := (&pipeline{}).run(t, once), (&pipeline{}).run(t, twice)
		same(t, "duplicates", a.text(otherDups), b.text(otherDups))
		if d := int(b.stats.Duplicates - a.stats.Duplicates); d != n {
			t.Errorf("%d duplicates were found, %d were added", d, n)
		}
	})
}

// Packets that lie in the capture out of order, but within the window, are put in order.
func TestDisorderDoesNotMatter(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 5))
		fs := frames(damaged(w, seed))
		want := (&pipeline{merge: true}).run(t, fs).text(otherSources)
		type placed struct {
			pcaptest.Frame
			at ntpac.Time
		}
		var ps []placed
		for _, f := range fs {
			ps = append(ps, placed{f, f.TS + ntpac.Time(r.Int64N(int64(ntpac.Second*9/10)))})
		}
		slices.SortStableFunc(ps, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
		for i := range ps {
			fs[i] = ps[i].Frame
		}
		for _, batch := range []int{1000, 1 << 20} {
			x := pipeline{batch: batch}
			x.merge = true
			same(t, "disorder", want, x.run(t, fs).text(otherSources))
			if x.merger.Late > 0 {
				t.Errorf("%d packets came late", x.merger.Late)
			}
		}
	})
}

// Several sources are one capture: split by chance, by direction, or captured twice.
func TestSourcesDoNotMatter(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 6))
		in := damaged(w, seed)
		want := (&pipeline{merge: true}).run(t, frames(in)).text(otherSources)
		var byChance, byDir [3][]pcaptest.Frame
		for _, f := range in {
			k := r.IntN(3)
			byChance[k] = append(byChance[k], f.Frame)
			byDir[f.dir] = append(byDir[f.dir], f.Frame)
		}
		for _, batch := range []int{1, 17, 1000} {
			x := pipeline{batch: batch, workers: 2}
			same(t, "split by chance", want, x.run(t, byChance[:]...).text(otherSources))
			same(t, "up and down apart", want, x.run(t, byDir[:2]...).text(otherSources))
		}
		both := (&pipeline{batch: 30}).run(t, frames(in), frames(in))
		same(t, "captured twice", (&pipeline{merge: true}).run(t, frames(in)).text(otherDups), both.text(otherDups))
	})
}

// What was captured comes out, byte for byte, and what was not is missing: nothing else.
func TestStreamsAreWhatWasSaid(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, seed uint64) {
		for _, loss := range []int{0, 30, 5} {
			r := rand.New(rand.NewPCG(seed, 7))
			var kept []simFrame
			for _, f := range w.frames {
				if loss == 0 || r.IntN(loss) != 0 {
					kept = append(kept, f)
				}
			}
			out := (&pipeline{}).run(t, frames(kept))
			truth(t, w, kept, out)
			if t.Failed() {
				t.Fatalf("loss 1/%d", loss)
			}
		}
	})
}
