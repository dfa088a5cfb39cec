package reassembly_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"ntpac"
	"ntpac/balancer"
	"ntpac/internal/pcaptest"
	"ntpac/reassembly"
)

// order runs sources through a Merger and gives the packets' times and source ordinals.
type placed struct {
	ts  ntpac.Time
	eff ntpac.Time
	src uint16
	ord uint64
}

func merged(t *testing.T, m *reassembly.Merger, batch int, sources ...[]pcaptest.Frame) (out []placed) {
	t.Helper()
	bal := balancer.New(balancer.Config{Seed: seed})
	freed, made := 0, 0
	var all [][]*ntpac.Batch
	for i, frames := range sources {
		bs := batchesOf(t, bal, uint16(i), frames, batch)
		for _, b := range bs {
			b.Pool = func(*ntpac.Batch) { freed++ }
		}
		made += len(bs)
		all = append(all, bs)
	}
	for {
		w := m.Waits()
		if w >= 0 {
			if len(all[w]) > 0 {
				m.Add(w, all[w][0])
				all[w] = all[w][1:]
			} else {
				m.Done(w)
			}
		}
		for more := true; more; {
			b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 5)}
			more = m.Next(b)
			for i := range b.Packets {
				p := &b.Packets[i]
				f := b.Frame(p)
				src := b.Blocks[p.Blk].Index
				if want := sources[src][p.Ord].Data; !slices.Equal(f, want) {
					t.Fatalf("packet %d of source %d has another frame", p.Ord, src)
				}
				out = append(out, placed{p.TS, p.Effective(), src, p.Ord})
			}
			if n := len(out); n > 0 && len(b.Packets) > 0 && b.Watermark > out[n-1].eff {
				t.Errorf("watermark %v is above what came", b.Watermark)
			}
			b.Free()
		}
		if w < 0 {
			break
		}
	}
	if freed != made {
		t.Errorf("%d of %d batches were freed", freed, made)
	}
	for i := 1; i < len(out); i++ {
		if out[i].eff < out[i-1].eff-ntpac.Second/1000 { // a lag is in milliseconds, rounded up
			t.Errorf("effective time runs back: %v, %v", out[i-1], out[i])
		}
	}
	return out
}

// at gives frames with these times, in milliseconds.
func at(ms ...int64) (fs []pcaptest.Frame) {
	c := pcaptest.New()
	for _, m := range ms {
		c.Now = base + ntpac.Time(m)*1e6
		c.UDP(pcaptest.Client, pcaptest.Server, []byte{byte(m), byte(m >> 8), byte(m >> 16)})
	}
	return c.Frames
}

func millis(ps []placed) (ms []int64) {
	for _, p := range ps {
		ms = append(ms, int64(p.ts-base)/1e6)
	}
	return ms
}

func TestMergedOrder(t *testing.T) {
	const day = 86_400_000
	for _, x := range []struct {
		name    string
		sources [][]pcaptest.Frame
		want    []int64
		late    uint64
	}{
		{"two in turn", [][]pcaptest.Frame{at(0, 2, 4), at(1, 3, 5)}, []int64{0, 1, 2, 3, 4, 5}, 0},
		{"one after the other", [][]pcaptest.Frame{at(10_000, 11_000), at(0, 1000)}, []int64{0, 1000, 10_000, 11_000}, 0},
		{"an empty one", [][]pcaptest.Frame{at(0, 1), nil}, []int64{0, 1}, 0},
		{"disorder within the window", [][]pcaptest.Frame{at(0, 500, 100, 900, 200, 1200)}, []int64{0, 100, 200, 500, 900, 1200}, 0},
		// Later than the window: after what had gone out by then, in the order of time.
		{"too late", [][]pcaptest.Frame{at(0, 5000, 5001, 100, 50, 6100, 9000)}, []int64{0, 50, 100, 5000, 5001, 6100, 9000}, 0},
		{"an isolated jump goes last", [][]pcaptest.Frame{at(0, day, 1, 2)}, []int64{0, 1, 2, day}, 0},
		{"a pause of a day", [][]pcaptest.Frame{at(0, day, day+1, day+2)}, []int64{0, day, day + 1, day + 2}, 0},
		{"a broken first packet", [][]pcaptest.Frame{at(day, 0, 1, 2, 3)}, []int64{1, 2, 3, 0, day}, 0}, // 0 is not believed before 1
		{"a broken packet from long ago", [][]pcaptest.Frame{at(0, 1, -day, 2, 3)}, []int64{-day, 0, 1, 2, 3}, 0},
	} {
		m := reassembly.NewMerger(len(x.sources), ntpac.Second)
		if got := millis(merged(t, m, 1000, x.sources...)); !slices.Equal(got, x.want) || m.Late != x.late {
			t.Errorf("%s: %v, late %d, want %v, %d", x.name, got, m.Late, x.want, x.late)
		}
	}
}

// What has gone out cannot be put in order any more: it comes late and says so.
func TestLatePackets(t *testing.T) {
	m := reassembly.NewMerger(1, ntpac.Second)
	var ms []int64
	for i := range int64(100) { // so dense that what is read ahead is less than the window
		ms = append(ms, i*10)
	}
	ms = append(ms, 500, 1000, 1010)
	out := merged(t, m, 1, at(ms...))
	if m.Late != 1 {
		t.Errorf("%d late", m.Late)
	}
	for i, p := range out {
		if late := i > 0 && p.ts < out[i-1].ts; late != (p.eff > p.ts) || p.eff < p.ts {
			t.Errorf("%v has the effective time %v", p.ts, p.eff)
		}
	}
}

// What went out before a merger was needed counts, too.
func TestMergerFrom(t *testing.T) {
	m := reassembly.NewMerger(1, ntpac.Second)
	m.From(base + 3*ntpac.Second)
	for _, p := range merged(t, m, 10, at(2500, 2900, 2800, 3100)) {
		if p.eff < base+3*ntpac.Second {
			t.Errorf("%v has the effective time %v", p.ts, p.eff)
		}
	}
	if m.Late != 3 {
		t.Errorf("%d late", m.Late)
	}
}

// A clock that was set back by an hour is believed after two packets, and nothing waits for the hour.
func TestClockSetBack(t *testing.T) {
	var ms []int64
	for i := range int64(2000) {
		ms = append(ms, i*100)
	}
	for i := range int64(2000) {
		ms = append(ms, i*100-3_600_000)
	}
	m := reassembly.NewMerger(1, ntpac.Second)
	m.MaxHeld = 1 << 40
	out := merged(t, m, 10, at(ms...))
	for i := 2000; i < 3800; i++ { // the last ones before the set are in the future now, and come last
		if d := out[i].ord - uint64(i); d+200 > 400 {
			t.Fatalf("packet %d came out as number %d", out[i].ord, i)
		}
	}
}

// Hostile times cannot make the merger hold everything: what waits is bounded, and what was forced out
// is counted.
func TestMergerMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var ms []int64
	for range 20_000 {
		ms = append(ms, r.Int64N(1<<31))
	}
	m := reassembly.NewMerger(1, ntpac.Second)
	m.MaxHeld = 20_000
	if out := merged(t, m, 100, at(ms...)); len(out) != len(ms) || m.Forced == 0 {
		t.Errorf("%d packets, %d forced", len(out), m.Forced)
	}
}

// A source that has been announced need not be opened before its time.
func TestAnnouncedSources(t *testing.T) {
	m := reassembly.NewMerger(2, ntpac.Second)
	m.Announce(1, base+100*ntpac.Second)
	bs := batchesOf(t, balancer.New(balancer.Config{Seed: seed}), 0, at(0, 1000, 2000, 98_000, 99_500), 1)
	for _, b := range bs {
		if m.Waits() != 0 {
			t.Fatal("the announced source is waited for")
		}
		m.Add(0, b)
	}
	m.Done(0)
	if m.Waits() != 1 {
		t.Error("the announced source is not waited for when its time has come")
	}
	out := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 10)}
	if m.Next(out); len(out.Packets) != 4 {
		t.Errorf("%d packets are final, want those before the announced time less the window", len(out.Packets))
	}
}

func TestClock(t *testing.T) {
	const s = ntpac.Second
	for _, x := range []struct {
		name  string
		times []ntpac.Time
		high  ntpac.Time
		jumps uint64
		back  bool
	}{
		{"forward", []ntpac.Time{1 * s, 2 * s, 2 * s, 30 * s}, 30 * s, 0, false},
		{"back", []ntpac.Time{1 * s, 30 * s, 29 * s}, 30 * s, 0, true},
		{"isolated jump", []ntpac.Time{1 * s, 1000 * s, 2 * s}, 2 * s, 1, true},
		{"jump that stays", []ntpac.Time{1 * s, 1000 * s, 1001 * s}, 1001 * s, 0, false},
		{"isolated fall", []ntpac.Time{1000 * s, 1 * s, 1001 * s}, 1001 * s, 1, true},
		{"set back", []ntpac.Time{1000 * s, 1 * s, 2 * s}, 2 * s, 0, true},
		{"two jumps that do not agree", []ntpac.Time{1 * s, 1000 * s, 9000 * s, 2 * s}, 2 * s, 2, true},
	} {
		var c reassembly.Clock
		back := false
		for _, ts := range x.times {
			back = c.See(ts) || back
		}
		if c.High != x.high || c.Jumps != x.jumps || back != x.back {
			t.Errorf("%s: %v, %d jumps, back %v", x.name, c.High, c.Jumps, back)
		}
	}
}
