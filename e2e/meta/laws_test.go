package meta

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ntpac"
)

var (
	seed   = flag.Uint64("seed", 0, "the seed of the first random history")
	only   = flag.String("law", "", "only laws whose names have this in them")
	rounds = flag.Int("rounds", 0, "how many random histories; 0 is as many as a short test allows")
)

var laws = []*law{&duplicated, &tapped, &shuffled, &delayed, &split, &contained, &placed, &shifted, &readdressed, &wrapped, &littered, &dropped}

func parseTime(s string) (ntpac.Time, bool) {
	at, err := time.Parse(time.RFC3339Nano, s)
	return ntpac.Time(at.UnixNano()), err == nil
}

// TestEachFrameDropped takes every talk's frames away one at a time.
func TestEachFrameDropped(t *testing.T) {
	dir := workDir(t)
	for _, kind := range small {
		t.Run(kind, func(t *testing.T) {
			fs := build(rand.New(rand.NewPCG(*seed, 1)), kind)
			base, err := run(dir, one(fs))
			if err != nil {
				t.Fatal(err)
			}
			bad := 0
			for i := range fs {
				h := &history{fs, []op{{fs[i].id, 0}}}
				if err := dropped.breaks(dir, h, base); err != nil {
					t.Errorf("without frame %d, %s: %v", i, describe(&fs[i]), err)
					if bad++; bad == 3 {
						t.Logf("%v", h)
						break
					}
				}
			}
			t.Logf("%d frames", len(fs))
		})
	}
}

// TestHistories draws captures, laws and operations.
func TestHistories(t *testing.T) {
	n := *rounds
	if n == 0 {
		n = 200
	}
	dir := workDir(t)
	begun := time.Now()
	list := slices.DeleteFunc(slices.Clone(laws), func(l *law) bool { return !strings.Contains(l.name, *only) })
	for i := range n {
		s := *seed + uint64(i)
		r := rand.New(rand.NewPCG(s, 0))
		var names []string
		for range 1 + r.IntN(3) {
			names = append(names, small[r.IntN(len(small))])
		}
		fs := build(r, names...)
		l := list[r.IntN(len(list))]
		h := &history{fs, l.plan(r, fs)}
		l.hold(t, dir, h, nil, fmt.Sprintf("seed %d, talks %v", s, names))
	}
	t.Logf("%d histories in %v", n, time.Since(begun))
}
