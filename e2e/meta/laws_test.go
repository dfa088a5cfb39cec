package meta

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ntpac"
	"ntpac/bench/traffic"
	"ntpac/internal/pcaptest"
)

var (
	seed   = flag.Uint64("seed", 0, "the seed of the random histories")
	rounds = flag.Int("rounds", 400, "how many random histories are tried")
	nth    = flag.Int("history", -1, "try only the random history of this number")
	strict = flag.Bool("strict", false, "hold what reassembly is known not to do yet, too: see the uses of this flag")
	only   = flag.String("law", "", "only laws whose names have this in them")
)

var laws = []*law{&dropped, &droppedOne, &duplicated, &tapped, &shuffled, &delayed, &split, &apart, &skewed, &cutShort, &shifted, &readdressed,
	&wrapped, &littered, &contained, &placed}

func parseTime(s string) (ntpac.Time, bool) {
	at, err := time.Parse(time.RFC3339Nano, s)
	return ntpac.Time(at.UnixNano()), err == nil
}

// TestEachFrameDropped takes every talk's frames away one at a time.
func TestEachFrameDropped(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range small {
		t.Run(kind, func(t *testing.T) {
			fs := build(rand.New(rand.NewPCG(*seed, 1)), kind)
			base, err := run(dir, one(fs))
			if err != nil {
				t.Fatal(err)
			}
			for i := range fs {
				if !dropped.hold(t, dir, &history{fs, []op{{fs[i].id, 0}}}, base, "without "+describe(&fs[i])) {
					return
				}
			}
		})
	}
}

// TestEachCut cuts the file of every talk at many bytes.
func TestEachCut(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(*seed, 2))
	for _, kind := range small {
		fs := build(r, kind)
		base, err := run(dir, one(fs))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if !cutShort.hold(t, dir, &history{fs, cutShort.plan(r, fs)}, base, kind) {
				break
			}
		}
	}
}

// TestHistories draws captures, laws and operations, and says how many it has tried of each law.
func TestHistories(t *testing.T) {
	dir := t.TempDir()
	list := slices.DeleteFunc(slices.Clone(laws), func(l *law) bool { return !strings.Contains(l.name, *only) })
	tried, broken := map[*law]int{}, 0
	first, n := 0, *rounds
	if *nth >= 0 {
		first, n = *nth, 1
	}
	for i := first; i < first+n && broken < 10; i++ {
		r := rand.New(rand.NewPCG(*seed, 1000+uint64(i)))
		var names []string
		for range 1 + r.IntN(3) {
			names = append(names, small[r.IntN(len(small))])
		}
		fs := build(r, names...)
		l := list[r.IntN(len(list))]
		tried[l]++
		if !l.hold(t, dir, &history{fs, l.plan(r, fs)}, nil, fmt.Sprintf("-seed %d -history %d, talks %v", *seed, i, names)) {
			broken++
		}
	}
	all := 0
	for _, l := range list {
		t.Logf("%6d  %s", tried[l], l.name)
		all += tried[l]
	}
	t.Logf("%6d random histories of seed %d, %d of which broke a law", all, *seed, broken)
}

// TestTraffic holds every law on a capture of many conversations at once.
func TestTraffic(t *testing.T) {
	dir := t.TempDir()
	fs := generated(t, 1<<20, *seed)
	base, err := run(dir, one(fs))
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range laws {
		r := rand.New(rand.NewPCG(*seed, 100+uint64(i)))
		given := base
		if l == &delayed { // its undisturbed run has another window
			given = nil
		}
		l.hold(t, dir, &history{fs, l.plan(r, fs)}, given, "generated traffic")
	}
}

// generated is a capture as bench/traffic makes it. Its clock counts microseconds; no two frames have the
// same time here either.
func generated(t *testing.T, size int64, seed uint64) []frame {
	t.Helper()
	var file bytes.Buffer
	if _, err := traffic.Write(traffic.Capture{Whole: &file}, traffic.Options{Size: size, Seed: seed}); err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	var out []frame
	talks := map[ends]int{}
	var last ntpac.Time
	for b := file.Bytes()[fileHead:]; len(b) > recordHead; {
		n := int(le.Uint32(b[8:]))
		f := frame{Frame: pcaptest.Frame{TS: ntpac.Time(le.Uint32(b))*ntpac.Second + ntpac.Time(le.Uint32(b[4:]))*1000,
			Link: pcaptest.Ethernet, Data: b[recordHead : recordHead+n : recordHead+n], Wire: int(le.Uint32(b[12:]))}}
		f.TS = max(f.TS, last+1)
		last = f.TS
		h, ok := read(f.Data)
		if !ok {
			t.Fatalf("a frame that is not IP: %x", f.Data)
		}
		if _, ok := talks[h.ends()]; !ok {
			talks[h.ends()] = len(talks)
		}
		f.talk = talks[h.ends()]
		out = append(out, f)
		b = b[recordHead+n:]
	}
	return number(out)
}
