package meta

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ntpac"
)

var (
	seed   = flag.Uint64("seed", 0, "the seed of the first random history")
	rounds = flag.Int("rounds", 0, "how many random histories; 0 is as many as a short test allows")
)

var same1 = []*law{&duplicated, &tapped, &shuffled, &delayed, &split, &contained, &placed, &shifted, &readdressed, &wrapped, &littered}

func parseTime(s string) (ntpac.Time, bool) {
	at, err := time.Parse(time.RFC3339Nano, s)
	return ntpac.Time(at.UnixNano()), err == nil
}

// TestHistories draws captures, laws and operations.
func TestHistories(t *testing.T) {
	n := *rounds
	if n == 0 {
		n = 200
	}
	dir := workDir(t)
	begun := time.Now()
	for i := range n {
		s := *seed + uint64(i)
		r := rand.New(rand.NewPCG(s, 0))
		var names []string
		for range 1 + r.IntN(3) {
			names = append(names, small[r.IntN(len(small))])
		}
		fs := build(r, names...)
		l := same1[r.IntN(len(same1))]
		h := &history{fs, l.plan(r, fs)}
		l.hold(t, dir, h, nil, fmt.Sprintf("seed %d, talks %v", s, names))
	}
	t.Logf("%d histories in %v", n, time.Since(begun))
}
