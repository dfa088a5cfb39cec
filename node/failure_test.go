package node_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/node"
	"ntpac/store/memory"
)

// failing is a store whose n-th commit fails.
type failing struct {
	ntpac.Store
	left int
}

var errDisk = errors.New("the disk is on fire")

func (f *failing) Commit(ctx context.Context, c *ntpac.Commit) error {
	if f.left--; f.left < 0 {
		return errDisk
	}
	return f.Store.Commit(ctx, c)
}

// TestFailingStore lets every commit of a run fail in turn: the run ends with that error and leaves no
// goroutine behind, and running again gives what an undisturbed run gives.
func TestFailingStore(t *testing.T) {
	file := write(t, "x.pcap", traffic().Frames)
	want, _ := run(t, memory.New(), options(), file)
	for n := 0; ; n++ {
		st := memory.New()
		_, err := node.Run(t.Context(), t.Context(), &failing{st, n}, []string{file}, options(), &node.Progress{})
		if err == nil {
			if n < 3 {
				t.Fatalf("only %d commits", n)
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("commit %d: %v", n, err)
		}
		if got, _ := run(t, st, options(), file); got != want {
			t.Fatalf("after failure %d: %s", n, firstDifference(got, want))
		}
	}
}

// rogue is a snooper that claims everything and behaves badly.
type rogue struct {
	do func(d *ntpac.Dialog, emit ntpac.Emitter) error
}

func (rogue) Info() ntpac.SnooperInfo {
	return ntpac.SnooperInfo{Name: "rogue", Version: 1, Protos: []ntpac.Proto{ntpac.TCP, ntpac.UDP}}
}
func (rogue) Probe(*ntpac.Head) ntpac.Verdict { return ntpac.Verdict{Confidence: ntpac.Certain} }
func (r rogue) Snoop(_ context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	return r.do(d, emit)
}

// TestRogueSnooper proves that a failing snooper costs its conversation's rest and nothing else, and
// that one that finds very much is stored whole.
func TestRogueSnooper(t *testing.T) {
	file := write(t, "x.pcap", traffic().Frames)
	for name, c := range map[string]struct {
		n  int64
		do func(d *ntpac.Dialog, emit ntpac.Emitter) error
	}{
		"panics": {5, func(d *ntpac.Dialog, e ntpac.Emitter) error { e.Emit(&ntpac.Artifact{Type: "x"}); panic("bug") }},
		"fails":  {5, func(d *ntpac.Dialog, e ntpac.Emitter) error { e.Emit(&ntpac.Artifact{Type: "x"}); return errDisk }},
		"finds much": {5 * 25_000, func(d *ntpac.Dialog, e ntpac.Emitter) error {
			for i := range 25_000 {
				e.Emit(&ntpac.Artifact{Type: "x", Fields: i2{i}})
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o, st := options(), open(t, t.TempDir())
			o.Snoopers = []ntpac.Snooper{rogue{c.do}}
			_, sum := run(t, st, o, file)
			if sum.Artifacts["x"] != c.n {
				t.Fatalf("%d artifacts, want %d", sum.Artifacts["x"], c.n)
			}
			n := int64(0)
			for _, err := range st.Artifacts(t.Context(), &ntpac.Query{Case: "test"}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != c.n {
				t.Fatalf("%d stored, want %d", n, c.n)
			}
		})
	}
}

type i2 struct {
	I int `json:"i"`
}

// TestDrain ends reading early: what was read is brought to its end.
func TestDrain(t *testing.T) {
	file := write(t, "x.pcap", traffic().Frames)
	drain, cancel := context.WithCancel(t.Context())
	cancel()
	sum, err := node.Run(t.Context(), drain, memory.New(), []string{file}, options(), &node.Progress{})
	if err != nil || !sum.Interrupt || sum.Sources[0].Done {
		t.Fatalf("%+v %v", sum, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := node.Run(ctx, t.Context(), memory.New(), []string{file}, options(), &node.Progress{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// hanging is a snooper that calculates until it is told to stop.
type hanging struct {
	rogue
	begun func()
}

func (h hanging) Snoop(ctx context.Context, _ *ntpac.Dialog, _ ntpac.Emitter) error {
	h.begun()
	<-ctx.Done()
	return ctx.Err()
}

// TestHangingSnooper ends a run by force that would never end by itself, and gives the reason for it.
func TestHangingSnooper(t *testing.T) {
	file := write(t, "x.pcap", traffic().Frames)
	want, _ := run(t, memory.New(), options(), file)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	o, st := options(), memory.New()
	o.Snoopers = []ntpac.Snooper{hanging{begun: func() { cancel(stop) }}}
	if _, err := node.Run(ctx, t.Context(), st, []string{file}, o, &node.Progress{}); err != stop {
		t.Fatal(err)
	}
	if got, _ := run(t, st, options(), file); got != want {
		t.Fatal(firstDifference(got, want))
	}
}

// accuser is a snooper that announces every conversation there is, again and again.
type accuser struct{ rogue }

func (a accuser) Snoop(_ context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	emit.Emit(&ntpac.Artifact{Type: "x"})
	for _, proto := range []ntpac.Proto{ntpac.TCP, ntpac.UDP} {
		emit.Expect(ntpac.Expectation{Proto: proto, End: 1 << 62, App: "rogue"})
	}
	return nil
}

func (a accuser) SnoopExpected(ctx context.Context, d *ntpac.Dialog, _ *ntpac.Expectation, emit ntpac.Emitter) error {
	return a.Snoop(ctx, d, emit)
}

// TestConversationsThatAnnounceOneAnother come to an end, and count once.
func TestConversationsThatAnnounceOneAnother(t *testing.T) {
	file := write(t, "x.pcap", traffic().Frames)
	o, st := options(), open(t, t.TempDir())
	o.Snoopers = []ntpac.Snooper{accuser{}}
	for range 2 { // also when everything is there already
		if _, sum := run(t, st, o, file); sum.Artifacts["x"] != 5 {
			t.Fatalf("%v", sum.Artifacts)
		}
	}
}

// ending is an input that says so when everything in it has been read, and then gives nothing more.
type ending struct {
	io.Reader
	read func()
	stop <-chan struct{}
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err == io.EOF {
		e.read()
		<-e.stop
	}
	return n, err
}

// TestDrainKeepsWhatWasRead ends the reading of a pipe that gives nothing more: all it gave is kept, and
// it counts neither as damaged, although it stops within a record, nor as done.
func TestDrainKeepsWhatWasRead(t *testing.T) {
	frames := traffic().Frames
	want, _ := run(t, memory.New(), options(), write(t, "x.pcap", frames))
	var b bytes.Buffer
	if err := pcaptest.WritePcap(&b, frames); err != nil {
		t.Fatal(err)
	}
	b.Write(make([]byte, 7)) // the beginning of one more
	drain, cancel := context.WithCancel(t.Context())
	stop := make(chan struct{})
	defer close(stop)
	o, st := options(), memory.New()
	o.Stdin = &ending{&b, cancel, stop}
	sum, err := node.Run(t.Context(), drain, st, []string{"-"}, o, &node.Progress{})
	if err != nil || !sum.Interrupt || sum.Sources[0].Done || sum.Damaged() || sum.Sources[0].Packets != uint64(len(frames)) {
		t.Fatalf("%+v %v", sum, err)
	}
	if got := listing(t, st); got != want {
		t.Fatal(firstDifference(got, want))
	}
	for e, err := range st.Log(t.Context(), "test") {
		t.Fatalf("the log says that it was ingested: %s %v", e.Body, err)
	}
}

// TestSourceThatVanishes loses a file between the look at it and its turn: the others are read.
func TestSourceThatVanishes(t *testing.T) {
	c := traffic()
	a := write(t, "a.pcap", c.Frames)
	late := pcaptest.New()
	late.Now = c.Now + 3600*ntpac.Second
	late.UDP(pcaptest.Client, pcaptest.Server, []byte("too late"))
	b := write(t, "b.pcap", late.Frames)
	want, _ := run(t, memory.New(), options(), a)
	st := &noting{memory.New(), func() { os.Remove(b) }}
	sum, err := node.Run(t.Context(), t.Context(), st, []string{a, b}, options(), &node.Progress{})
	if err != nil || len(sum.Failed) != 1 || !sum.Damaged() || !sum.Sources[0].Done || sum.Sources[1].Done {
		t.Fatalf("%+v %v", sum, err)
	}
	if got := listing(t, st); got != want {
		t.Fatal(firstDifference(got, want))
	}
}

// noting does something before every commit.
type noting struct {
	ntpac.Store
	before func()
}

func (n *noting) Commit(ctx context.Context, c *ntpac.Commit) error {
	n.before()
	return n.Store.Commit(ctx, c)
}

// TestSnoopWithoutPayload reads conversations again whose payload is gone: what was found in them stays.
func TestSnoopWithoutPayload(t *testing.T) {
	file := write(t, "x.pcap", traffic().Frames)
	o, st := options(), open(t, t.TempDir())
	o.Reference = true
	want, _ := run(t, st, o, file)
	if err := os.Rename(file, file+".gone"); err != nil {
		t.Fatal(err)
	}
	sum, err := node.Snoop(t.Context(), st, o, nil, &node.Progress{})
	if !errors.Is(err, ntpac.ErrNoPayload) || sum == nil || sum.Unread != 5 {
		t.Fatalf("%+v %v", sum, err)
	}
	if got := listing(t, st); got != want {
		t.Fatal(firstDifference(got, want))
	}
	if err := os.Rename(file+".gone", file); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Snoop(t.Context(), st, o, nil, &node.Progress{}); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, st); got != want {
		t.Fatal(firstDifference(got, want))
	}
}
