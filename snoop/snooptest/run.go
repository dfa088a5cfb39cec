package snooptest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ntpac"
	"ntpac/snoop"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Option loosens a law of Run for one snooper.
type Option func(*options)

type options struct {
	dir       string
	memory    uint64
	perByte   uint64
	time      time.Duration
	downgrade bool
	headless  bool
}

// Folder reads the talks of another folder than testdata.
func Folder(dir string) Option { return func(o *options) { o.dir = dir } }

// Memory lets a snooper allocate more than the usual 16 MB and 64 bytes a byte of the talk.
func Memory(total, perByte uint64) Option {
	return func(o *options) { o.memory, o.perByte = total, perByte }
}

// MayGuess lets an artifact that a hole does not touch come out with a lower quality or less certain
// words, for protocols in which what was lost says how to read what follows.
func MayGuess() Option { return func(o *options) { o.downgrade = true } }

// HeadCounts is for protocols in which a hole at the head of the stream is part of what is found: what
// is found then depends on its length.
func HeadCounts() Option { return func(o *options) { o.headless = true } }

// laws runs one snooper over one talk.
type laws struct {
	*testing.T
	s    ntpac.Snooper
	sc   *Script
	segs []segment
	full []*found
	all  map[string]int
	opts options
}

// Run holds a snooper against the laws that are the same for all of them, with every talk of its
// testdata: what it finds is what the golden file says (-update writes it); nothing is called complete
// that a hole has changed; what a hole does not touch is found all the same; it never fails, needs
// bounded time and memory, and its probe claims its talks without allocating.
func Run(t *testing.T, s ntpac.Snooper, opts ...Option) {
	o := options{dir: "testdata", memory: 16 << 20, perByte: 64, time: 10 * time.Second}
	for _, f := range opts {
		f(&o)
	}
	scripts := Load(t, o.dir)
	if len(scripts) == 0 {
		t.Fatalf("%s has no talks", o.dir)
	}
	for _, sc := range scripts {
		t.Run(sc.Name, func(t *testing.T) {
			l := &laws{T: t, s: s, sc: sc, segs: sc.segments(), opts: o}
			l.golden()
			for _, law := range []func(){l.probe, l.cuts, l.drops, l.alone, l.midstream, l.swapped, l.chunks} {
				if law(); t.Failed() {
					return
				}
			}
		})
	}
}

func (l *laws) read(segs []segment, end ntpac.CloseCause, lead [2]int64) ([]*found, *ntpac.Dialog) {
	d := l.sc.play(segs, end, lead)
	return read(l, l.s, d, l.sc.Expect), d
}

// golden compares with the golden file, and checks the bounds.
func (l *laws) golden() {
	l.Helper()
	var took time.Duration
	var mem uint64
	l.full, took, mem = bounds(l, l.s, l.sc)
	l.all = set(l.full)
	var b strings.Builder
	for _, f := range l.full {
		b.WriteString(f.line() + "\n")
		if f.Expect == nil {
			if err := f.wellNamed(); err != nil {
				l.Fatalf("artifact %s %v: %v", f.Type, f.Spans, err)
			}
		}
	}
	name := filepath.Join(l.opts.dir, l.sc.Name+".golden")
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			l.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		l.Fatal(err)
	}
	if b.String() != string(want) {
		l.Fatalf("artifacts differ from %s:\n%s", name, b.String())
	}
	if took > l.opts.time {
		l.Errorf("took %v", took)
	}
	if limit := l.opts.memory + l.opts.perByte*uint64(l.size()); mem > limit {
		l.Errorf("allocated %d bytes, more than %d", mem, limit)
	}
}

func (l *laws) size() (n int) {
	for i := range l.segs {
		n += len(l.segs[i].data)
	}
	return n
}

// probe checks the claim, that probing allocates nothing, and that cut heads do no harm.
func (l *laws) probe() {
	l.Helper()
	var h ntpac.Head
	snoop.HeadOf(l.sc.Dialog(nil), &h)
	if l.sc.Expect == nil {
		if v := l.s.Probe(&h); v.Confidence != l.sc.Claim || v.Swapped {
			l.Errorf("the probe says %+v, not %v", v, l.sc.Claim)
		}
	}
	if n := testing.AllocsPerRun(20, func() { l.s.Probe(&h) }); n > 0 {
		l.Errorf("the probe allocates %v times", n)
	}
	data := h.Data
	for dir := range 2 {
		h.Data = data
		for n := range data[dir] {
			h.Data[dir] = data[dir][:n:n]
			l.s.Probe(&h)
			h.Data[dir] = data[dir][n:]
			l.s.Probe(&h)
		}
	}
}

// honest fails where an artifact is called complete that the whole talk does not give.
func (l *laws) honest(what string, fs []*found) {
	l.Helper()
	for _, f := range fs {
		if f.Expect == nil && f.Quality == ntpac.Complete && l.all[f.line()] == 0 {
			l.Fatalf("%s: called complete, but not in the whole talk:\n  %s\nthe whole talk has%s", what, f.line(), describe(l.full))
		}
	}
}

// modest fails where an artifact is called complete that says what no artifact of the whole talk says.
func (l *laws) modest(what string, fs []*found) {
	l.Helper()
next:
	for _, f := range fs {
		if f.Expect != nil || f.Quality != ntpac.Complete {
			continue
		}
		for _, g := range l.full {
			if f.within(g) {
				continue next
			}
		}
		l.Fatalf("%s: called complete, but nothing in the whole talk says it:\n  %s\nthe whole talk has%s", what, f.line(), describe(l.full))
	}
}

// cuts ends the capture behind every byte of the talk; of long talks only near the segments' ends and
// at 4096 places in between.
func (l *laws) cuts() {
	l.Helper()
	total := l.size()
	step := 1 + total/8192
	at := 0
	for i := range l.segs {
		n := len(l.segs[i].data)
		for k := range n {
			if (at+k)%step != 0 && k > 8 && k < n-8 {
				continue
			}
			segs := append([]segment(nil), l.segs[:i+1]...)
			segs[i].data, segs[i].push = segs[i].data[:k:k], false
			if l.sc.proto() != ntpac.TCP {
				segs[i].data, segs[i].cut = l.segs[i].data, n-k
			}
			fs, _ := l.read(segs, ntpac.CloseEnd, [2]int64{})
			l.honest(fmt.Sprintf("cut at byte %d of segment %d", k, i), fs)
		}
		at += n
	}
}

// drops loses each segment in turn.
func (l *laws) drops() {
	l.Helper()
	tcp := l.sc.proto() == ntpac.TCP
	for i, s := range l.segs {
		n := int64(len(s.data))
		segs := append([]segment(nil), l.segs...)
		segs[i].lost = true
		what := fmt.Sprintf("segment %d (%v, bytes %d to %d) lost", i, s.dir, s.off, s.off+n)
		fs, d := l.read(segs, ntpac.CloseFin, [2]int64{})
		if d.Conv.In(s.dir).Packets == 0 {
			l.modest(what, fs)
			continue
		}
		if !tcp {
			for _, f := range fs {
				f.Spans = shift(f.Spans, s.dir, s.off, n)
			}
		}
		l.honest(what, fs)
		l.untouched(what, fs, ntpac.Span{Dir: s.dir, Off: s.off, Len: n})
	}
}

// untouched fails where an artifact that does not rest on the hole is not found.
func (l *laws) untouched(what string, fs []*found, hole ntpac.Span) {
	l.Helper()
	have := set(fs)
next:
	for _, f := range l.full {
		if f.Expect != nil || overlap(f.Spans, hole) || have[f.line()] > 0 {
			continue
		}
		if l.opts.downgrade {
			for _, g := range fs {
				if g.Quality > f.Quality && g.Type == f.Type && overlap(g.Spans, f.Spans...) {
					continue next
				}
			}
		}
		l.Fatalf("%s: this does not rest on it, but is not found:\n  %s\nfound%s", what, f.line(), describe(fs))
	}
}

func overlap(spans []ntpac.Span, holes ...ntpac.Span) bool {
	for _, s := range spans {
		for _, h := range holes {
			if s.Dir == h.Dir && s.Off < h.Off+h.Len && h.Off < s.Off+s.Len {
				return true
			}
		}
	}
	return false
}

// shift moves what lies at or behind a position.
func shift(spans []ntpac.Span, dir ntpac.Dir, at, by int64) []ntpac.Span {
	out := append([]ntpac.Span(nil), spans...)
	for i := range out {
		if out[i].Dir == dir && out[i].Off >= at {
			out[i].Off += by
		}
	}
	return out
}

// alone captures each direction without the other one.
func (l *laws) alone() {
	l.Helper()
	for dir := ntpac.Up; dir <= ntpac.Down; dir++ {
		segs := append([]segment(nil), l.segs...)
		for i := range segs {
			segs[i].lost = segs[i].dir != dir
		}
		fs, _ := l.read(segs, ntpac.CloseFin, [2]int64{})
		l.modest(dir.String()+" alone", fs)
	}
}

// midstream captures nothing before each segment in turn: heads are unknown.
func (l *laws) midstream() {
	l.Helper()
	mid := *l.sc
	mid.NoSyn = true
	for first := range l.segs {
		segs := append([]segment(nil), l.segs[first:]...)
		d := mid.play(segs, ntpac.CloseFin, [2]int64{})
		l.modest(fmt.Sprintf("captured from segment %d on", first), read(l, l.s, d, l.sc.Expect))
	}
}

// swapped turns the roles round, as they may be where no SYN was captured. A probe that is certain has
// to see it, and then everything is found as with the right roles.
func (l *laws) swapped() {
	l.Helper()
	if l.sc.Alike || l.sc.Expect != nil {
		return
	}
	right := *l.sc
	right.NoSyn = true
	want := read(l, l.s, right.Dialog(nil), nil)
	wrong := right
	wrong.Client, wrong.Server = right.ends()
	wrong.Client, wrong.Server = wrong.Server, wrong.Client
	segs := append([]segment(nil), l.segs...)
	for i := range segs {
		segs[i].dir = segs[i].dir.Other()
	}
	d := wrong.play(segs, ntpac.CloseFin, [2]int64{})
	var h ntpac.Head
	snoop.HeadOf(d, &h)
	v := l.s.Probe(&h)
	if !v.Swapped {
		if v.Confidence == ntpac.Certain {
			l.Errorf("the roles are turned round, and the probe is certain without seeing it")
		}
		read(l, l.s, d, nil)
		return
	}
	d.Swap()
	if got := read(l, l.s, d, nil); describe(got) != describe(want) {
		l.Errorf("with the roles turned round and back:%s\nnot%s", describe(got), describe(want))
	}
}

// chunks puts the border of a payload chunk at many places of each direction. Nothing may depend on
// where it lies.
func (l *laws) chunks() {
	l.Helper()
	if l.sc.proto() != ntpac.TCP || l.opts.headless {
		return
	}
	const near = 1000
	base, _ := l.read(l.segs, ntpac.CloseFin, [2]int64{near, near})
	var ends [2]int64
	for _, s := range l.segs {
		ends[s.dir] = s.off + int64(len(s.data))
	}
	const places = 24
	for i := range int64(places) {
		lead := [2]int64{near, near}
		for dir, n := range ends {
			if n = min(n, ntpac.ChunkSize-near); n > 0 {
				lead[dir] = ntpac.ChunkSize - max(1, i*n/places)
			}
		}
		fs, _ := l.read(l.segs, ntpac.CloseFin, lead)
		for _, f := range fs {
			f.Spans = shift(f.Spans, ntpac.Up, near, near-lead[ntpac.Up])
			f.Spans = shift(f.Spans, ntpac.Down, near, near-lead[ntpac.Down])
		}
		if len(fs) != len(base) {
			l.Fatalf("border of a chunk %d bytes into the payload:%s\nnot%s", lead, describe(fs), describe(base))
		}
		for k := range fs {
			if fs[k].words() != base[k].words() || fmt.Sprint(fs[k].Spans) != fmt.Sprint(base[k].Spans) {
				l.Fatalf("hole of %d bytes before the payload:\n  %s\nnot\n  %s", lead, fs[k].line(), base[k].line())
			}
		}
	}
}
