package snoop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/snoop"
	"ntpac/snoop/snooptest"
)

// toy is a snooper whose answers a test makes up.
type toy struct {
	name  string
	port  uint16
	says  ntpac.Verdict
	snoop func(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error
}

func (t *toy) Info() ntpac.SnooperInfo {
	return ntpac.SnooperInfo{Name: t.name, Version: 3, Protos: []ntpac.Proto{ntpac.TCP}, Ports: []uint16{t.port}, Types: []string{"toy"}}
}

func (t *toy) Probe(*ntpac.Head) ntpac.Verdict {
	if t.says.Confidence > ntpac.Certain {
		panic("probe")
	}
	return t.says
}

func (t *toy) Snoop(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	return t.snoop(ctx, d, emit)
}

func (t *toy) SnoopExpected(ctx context.Context, d *ntpac.Dialog, e *ntpac.Expectation, emit ntpac.Emitter) error {
	emit.Emit(&ntpac.Artifact{Type: "toy", Spans: []ntpac.Span{{Len: 1}}, Fields: map[string]string{"context": string(e.Context)}})
	return nil
}

func says(c ntpac.Confidence) ntpac.Verdict { return ntpac.Verdict{Confidence: c} }

func TestIdentify(t *testing.T) {
	const broken = ntpac.Certain + 1
	later := ntpac.Verdict{Confidence: ntpac.Certain, Later: true}
	for _, k := range []struct {
		name string
		toys []*toy
		want string
		by   ntpac.AppBy
	}{
		{"nobody", []*toy{{name: "a", says: says(ntpac.NotMine)}}, "", ntpac.NotIdentified},
		{"content on another port", []*toy{{name: "a", port: 80}, {name: "b", port: 25, says: says(ntpac.Certain)}}, "b", ntpac.ByContent},
		{"content wins over an unsure port", []*toy{{name: "a", port: 80, says: says(ntpac.Unsure)}, {name: "b", says: says(ntpac.Certain)}}, "b", ntpac.ByContent},
		{"the port of two certain ones", []*toy{{name: "a", says: says(ntpac.Certain)}, {name: "b", port: 80, says: says(ntpac.Certain)}}, "b", ntpac.ByContent},
		{"the client's port too", []*toy{{name: "a", says: says(ntpac.Certain)}, {name: "b", port: 50000, says: says(ntpac.Certain)}}, "b", ntpac.ByContent},
		{"the first of two certain ones", []*toy{{name: "a", says: says(ntpac.Certain)}, {name: "b", says: says(ntpac.Certain)}}, "a", ntpac.ByContent},
		{"who knows the beginning", []*toy{{name: "a", port: 80, says: later}, {name: "b", says: says(ntpac.Certain)}}, "b", ntpac.ByContent},
		{"who knows what comes later", []*toy{{name: "a", port: 80, says: says(ntpac.Unsure)}, {name: "b", says: later}}, "b", ntpac.ByContent},
		{"unsure with the port", []*toy{{name: "a", port: 80, says: says(ntpac.Unsure)}}, "a", ntpac.ByPortHint},
		{"unsure without it", []*toy{{name: "a", port: 81, says: says(ntpac.Unsure)}}, "", ntpac.NotIdentified},
		{"damaged with the port", []*toy{{name: "a", port: 80, says: says(ntpac.ProbeFail)}, {name: "b", port: 80, says: says(ntpac.Unsure)}}, "b", ntpac.ByPortHint},
		{"a probe that fails", []*toy{{name: "a", says: says(broken)}, {name: "b", says: says(ntpac.Certain)}}, "b", ntpac.ByContent},
	} {
		var list []ntpac.Snooper
		for _, s := range k.toys {
			list = append(list, s)
		}
		var h ntpac.Head
		snoop.HeadOf((&snooptest.Talk{Turns: []snooptest.Turn{snooptest.Up("x")}}).Dialog(nil), &h)
		reg := snoop.NewRegistry(list)
		s, by, _ := reg.Identify(&h)
		got := ""
		if s != nil {
			got = s.Info().Name
		}
		if got != k.want || by != k.by {
			t.Errorf("%s: %q by %v", k.name, got, by)
		}
		if k.name == "a probe that fails" {
			continue
		}
		if n := testing.AllocsPerRun(10, func() { reg.Identify(&h) }); n > 0 {
			t.Errorf("%s: %v allocations", k.name, n)
		}
	}
}

// run lets one toy snoop a talk of three segments, of which the second is lost.
func run(t *testing.T, opts snoop.Options, f func(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error) (*ntpac.Generation, *snoop.Registry) {
	t.Helper()
	reg := snoop.NewRegistry([]ntpac.Snooper{&toy{name: "toy", says: says(ntpac.Certain), snoop: f}})
	talk := snooptest.Talk{Turns: []snooptest.Turn{snooptest.Up("aaaa"), snooptest.Up("bbbb"), snooptest.Up("cccc")}}
	return snoop.Run(context.Background(), reg, talk.Dialog(func(i int) bool { return i == 1 }), opts), reg
}

// TestIdentifyBehindHoles: who cannot be known by the beginning is known by what follows a hole.
func TestIdentifyBehindHoles(t *testing.T) {
	read := &toy{name: "a", snoop: func(context.Context, *ntpac.Dialog, ntpac.Emitter) error { return nil }}
	read.port = 9 // which the port of the talk is not
	reg := snoop.NewRegistry([]ntpac.Snooper{&prober{*read, "HELLO"}})
	talk := snooptest.Talk{Turns: []snooptest.Turn{snooptest.Up("HELLO"), snooptest.Down("1"), snooptest.Up("x"), snooptest.Down("2"),
		snooptest.Up("y"), snooptest.Down("3"), snooptest.Up("HELLO again"), snooptest.Down("4")}}
	for _, k := range []struct {
		name string
		lost []int // turns
		want ntpac.AppBy
	}{
		{"the beginning", nil, ntpac.ByContent},
		{"nothing", []int{0, 6}, ntpac.NotIdentified},
		{"behind the lost beginning", []int{0, 2, 4}, ntpac.ByContent},
		{"behind a later hole", []int{0, 4}, ntpac.ByContent},
		{"behind what is something else's", []int{0, 2}, ntpac.NotIdentified},
		{"not where it begins", []int{0}, ntpac.NotIdentified},
	} {
		d := talk.Dialog(func(i int) bool { return slices.Contains(k.lost, i) })
		if g := snoop.Run(t.Context(), reg, d, snoop.Options{}); g.AppBy != k.want {
			t.Errorf("%s: %v, want %v", k.name, g.AppBy, k.want)
		}
	}
}

// prober is certain of what begins with its word.
type prober struct {
	toy
	word string
}

func (p *prober) Probe(h *ntpac.Head) ntpac.Verdict {
	switch up := string(h.Data[ntpac.Up]); {
	case strings.HasPrefix(up, p.word):
		return says(ntpac.Certain)
	case strings.HasPrefix(up, "x"): // its middle
		return says(ntpac.Unsure)
	}
	return ntpac.Verdict{}
}

func TestArtifactsAreCompleted(t *testing.T) {
	type fields struct {
		Text string `json:"text"`
	}
	emitAll := func(_ context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
		for _, off := range []int64{0, 2, 8} {
			emit.Emit(&ntpac.Artifact{Type: "toy", Spans: []ntpac.Span{{Dir: ntpac.Up, Off: off, Len: 4}}, Fields: fields{"<\xff>"},
				Blobs: []ntpac.Blob{{Size: 4}}})
		}
		emit.Expect(ntpac.Expectation{App: "toy"})
		return errors.New("stopped")
	}
	g, reg := run(t, snoop.Options{Keys: "k"}, emitAll)
	if g.Error != "stopped" || !g.Done || g.App != "toy" || g.AppBy != ntpac.ByContent || g.Version != 3 || g.Keys != "k" || len(g.Artifacts) != 3 {
		t.Fatalf("%+v", g)
	}
	ids := map[ntpac.ArtifactID]bool{}
	for i, want := range []ntpac.Quality{ntpac.Complete, ntpac.Gapped, ntpac.Complete} {
		a := g.Artifacts[i]
		if a.Quality != want || a.Case != "test" || a.Snooper != "toy" || a.Conversation != g.Conversation || a.Time == 0 ||
			a.Blobs[0].Conversation != g.Conversation || string(a.JSON) != `{"text":"<\ufffd>"}` {
			t.Errorf("artifact %d: %+v %s", i, a, a.JSON)
		}
		ids[a.ID] = true
	}
	if e := g.Expectations; len(ids) != 3 || len(e) != 1 || e[0].Origin != g.Conversation || e[0].Case != "test" || reg.Stats().Downgraded != 1 {
		t.Errorf("%d ids, %+v, %+v", len(ids), e, reg.Stats())
	}
	again, _ := run(t, snoop.Options{Keys: "k"}, emitAll)
	for i, a := range again.Artifacts {
		if a.ID != g.Artifacts[i].ID {
			t.Error("another run gives another id")
		}
	}
}

func TestPanicIsAnError(t *testing.T) {
	g, reg := run(t, snoop.Options{}, func(_ context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
		emit.Emit(&ntpac.Artifact{Type: "toy", Spans: []ntpac.Span{{Len: 1}}, Fields: struct{}{}})
		var none []int
		_ = none[len(d.Conv.Case)]
		return nil
	})
	if len(g.Artifacts) != 1 || !g.Done || !strings.Contains(g.Error, "index out of range") || !strings.Contains(g.Error, "snoop_test.go:") {
		t.Errorf("%+v", g)
	}
	if s := reg.Stats(); s.Panics != 1 || s.ByPanic["toy"] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestParts(t *testing.T) {
	many := func(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
		for i := range 25 {
			emit.Emit(&ntpac.Artifact{Type: "toy", Spans: []ntpac.Span{{Len: 1}}, Fields: map[string]int{"n": i}})
		}
		return ctx.Err()
	}
	var parts []*ntpac.Generation
	g, _ := run(t, snoop.Options{Artifacts: 10, Part: func(g *ntpac.Generation) error { parts = append(parts, g); return nil }}, many)
	parts = append(parts, g)
	n := 0
	for i, p := range parts {
		if p.Part != i || p.Done != (i == 2) || p.Snooper != "toy" {
			t.Errorf("part %d: %+v", i, p)
		}
		for _, a := range p.Artifacts {
			if string(a.JSON) != fmt.Sprintf(`{"n":%d}`, n) {
				t.Errorf("artifact %d: %s", n, a.JSON)
			}
			n++
		}
	}
	if len(parts) != 3 || n != 25 {
		t.Errorf("%d parts with %d artifacts", len(parts), n)
	}
	full := errors.New("store full")
	g, _ = run(t, snoop.Options{Artifacts: 10, Part: func(*ntpac.Generation) error { return full }}, many)
	if g.Error != "store full" || len(g.Artifacts) != 0 {
		t.Errorf("%+v", g)
	}
}

func TestExpected(t *testing.T) {
	e := &ntpac.Expectation{App: "toy", Context: json.RawMessage(`"x"`)}
	g, _ := run(t, snoop.Options{Expected: e}, nil)
	if g.AppBy != ntpac.ByExpectation || len(g.Artifacts) != 1 || string(g.Artifacts[0].JSON) != `{"context":"\"x\""}` {
		t.Errorf("%+v", g)
	}
}

// TestRoles checks that the snooper settles who is client, but only where no SYN did.
func TestRoles(t *testing.T) {
	for _, noSyn := range []bool{false, true} {
		var saw string
		s := &toy{name: "toy", says: ntpac.Verdict{Confidence: ntpac.Certain, Swapped: true},
			snoop: func(_ context.Context, d *ntpac.Dialog, _ ntpac.Emitter) error {
				saw = string(d.Up.Peek(9))
				return nil
			}}
		talk := snooptest.Talk{NoSyn: noSyn, Turns: []snooptest.Turn{snooptest.Up("up"), snooptest.Down("down")}}
		d := talk.Dialog(nil)
		was := d.Conv.Client
		g := snoop.Run(context.Background(), snoop.NewRegistry([]ntpac.Snooper{s}), d, snoop.Options{})
		if swapped := g.Client != was; swapped != noSyn || (saw == "down") != noSyn || (g.ClientBy == ntpac.ByPayload) != noSyn {
			t.Errorf("without SYN %v: %+v, read %q", noSyn, g, saw)
		}
	}
}

// TestExpectedEnd checks what an announcement settles: who serves, where no SYN told; and that one without
// a port leaves a conversation to whoever recognises it.
func TestExpectedEnd(t *testing.T) {
	client, server := netip.MustParseAddrPort("10.0.0.1:50000"), netip.MustParseAddrPort("10.0.0.2:4000")
	for _, x := range []struct {
		name    string
		noSyn   bool
		content ntpac.Confidence
		to      netip.AddrPort
		swapped bool
		by      ntpac.AppBy
	}{
		{"the server is waited for", true, ntpac.Certain, server, false, ntpac.ByExpectation},
		{"who spoke first is", true, ntpac.Certain, client, true, ntpac.ByExpectation},
		{"a SYN knows better", false, ntpac.Certain, client, false, ntpac.ByExpectation},
		{"any port of a host", true, ntpac.NotMine, netip.AddrPortFrom(client.Addr(), 0), true, ntpac.ByExpectation},
		{"any port, but recognised", true, ntpac.Certain, netip.AddrPortFrom(client.Addr(), 0), false, ntpac.ByContent},
	} {
		none := func(context.Context, *ntpac.Dialog, ntpac.Emitter) error { return nil }
		reg := snoop.NewRegistry([]ntpac.Snooper{&toy{name: "content", says: says(x.content), snoop: none}, &toy{name: "toy", snoop: none}})
		talk := snooptest.Talk{Client: client, Server: server, NoSyn: x.noSyn, Turns: []snooptest.Turn{snooptest.Up("up")}}
		d := talk.Dialog(nil)
		was := d.Conv.Client
		g := snoop.Run(context.Background(), reg, d, snoop.Options{Expected: &ntpac.Expectation{App: "toy", To: x.to}})
		if g.AppBy != x.by || (g.Client != was) != x.swapped {
			t.Errorf("%s: %+v", x.name, g)
		}
	}
}

func TestOnly(t *testing.T) {
	reg := snoop.NewRegistry([]ntpac.Snooper{&toy{name: "a"}, &toy{name: "b"}})
	if r, err := reg.Only("b"); err != nil || len(r.Snoopers()) != 1 || r.Find("b") == nil || r.Find("a") != nil {
		t.Error(r, err)
	}
	if _, err := reg.Only("c"); !errors.Is(err, ntpac.ErrUsage) {
		t.Error(err)
	}
}
