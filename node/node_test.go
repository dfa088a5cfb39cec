package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"ntpac"
	"ntpac/artifact"
	"ntpac/internal/pcaptest"
	"ntpac/node"
	"ntpac/snoop/all"
	"ntpac/store/embedded"
	"ntpac/store/memory"
)

var (
	alice = netip.MustParseAddr("10.0.0.1")
	bob   = netip.MustParseAddr("10.0.0.2")
	carol = netip.MustParseAddr("2001:db8::3")
	dave  = netip.MustParseAddr("2001:db8::4")
)

// traffic builds a capture that has something for every stage: pages, a question to DNS, an upload over
// FTP, a datagram in fragments, IPv6, something unknown.
func traffic() *pcaptest.Capture {
	c := pcaptest.New()
	web := c.TCP(netip.AddrPortFrom(alice, 40001), netip.AddrPortFrom(bob, 80))
	web.Open()
	for i := range 3 {
		page := bytes.Repeat(fmt.Appendf(nil, "page %d ", i), 900*(i+1))
		web.Send(ntpac.Up, fmt.Appendf(nil, "GET /%d.html HTTP/1.1\r\nHost: www.example\r\n\r\n", i))
		web.Send(ntpac.Down, append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n", len(page)), page...))
	}
	web.Close()
	ftp := c.TCP(netip.AddrPortFrom(alice, 40002), netip.AddrPortFrom(bob, 21))
	ftp.Open()
	say := func(up, down string) {
		if up != "" {
			ftp.Send(ntpac.Up, []byte(up+"\r\n"))
		}
		ftp.Send(ntpac.Down, []byte(down+"\r\n"))
	}
	say("", "220 ready")
	say("USER anna", "331 password")
	say("PASS secret", "230 welcome")
	say("PASV", "227 Entering Passive Mode (10,0,0,2,200,10).")
	ftp.Send(ntpac.Up, []byte("STOR plan.txt\r\n"))
	ftp.Send(ntpac.Down, []byte("150 go on\r\n"))
	data := c.TCP(netip.AddrPortFrom(alice, 40003), netip.AddrPortFrom(bob, 200<<8+10))
	data.Open()
	data.Send(ntpac.Up, bytes.Repeat([]byte("the plan\n"), 40_000)) // more than one chunk
	data.Close()
	ftp.Send(ntpac.Down, []byte("226 done\r\n"))
	ftp.Close()
	c.Fragments(alice, bob, ntpac.UDP, pcaptest.UDP(netip.AddrPortFrom(alice, 7000), netip.AddrPortFrom(bob, 7001), bytes.Repeat([]byte("long"), 1000)), 600)
	v6 := c.TCP(netip.AddrPortFrom(carol, 50000), netip.AddrPortFrom(dave, 9999))
	v6.Open()
	v6.Send(ntpac.Up, []byte("what is this?"))
	v6.Reset(ntpac.Down)
	return c
}

func write(t *testing.T, name string, frames []pcaptest.Frame) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(pcaptest.WritePcap(f, frames), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func options() node.Options {
	return node.Options{Case: "test", Workers: 2, Snoopers: all.Snoopers()}
}

// run takes files into a store and gives what is in it then.
func run(t *testing.T, st ntpac.Store, o node.Options, files ...string) (string, *node.Summary) {
	t.Helper()
	sum, err := node.Run(t.Context(), t.Context(), st, files, o, &node.Progress{})
	if err != nil {
		t.Fatal(err)
	}
	return listing(t, st), sum
}

// listing is everything that a user can see, without what law 1 leaves out.
func listing(t *testing.T, st ntpac.Store) string {
	t.Helper()
	var lines []string
	for c, err := range st.Conversations(t.Context(), &ntpac.Query{Case: "test"}) {
		if err != nil {
			t.Fatal(err)
		}
		c.Half[0].Duplicates, c.Half[1].Duplicates, c.Sources = 0, 0, nil
		lines = append(lines, string(artifact.AppendConversation(nil, c, nil)))
	}
	for a, err := range st.Artifacts(t.Context(), &ntpac.Query{Case: "test"}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(artifact.AppendArtifact(nil, a)))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func open(t *testing.T, dir string) *embedded.Store {
	t.Helper()
	st, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func verify(t *testing.T, st ntpac.Store) []string {
	t.Helper()
	var problems []string
	if _, err := node.Verify(t.Context(), st, "test", func(p string) { problems = append(problems, p) }); err != nil {
		t.Fatal(err)
	}
	return problems
}

// TestPlacementDoesNotMatter is law 1 on one machine: whatever the store, the number of workers, how
// the packets are divided over files, in which order the files are named, and where payload is kept.
func TestPlacementDoesNotMatter(t *testing.T) {
	frames := traffic().Frames
	whole := write(t, "all.pcap", frames)
	want, sum := run(t, memory.New(), options(), whole)
	for _, kind := range []string{`"type":"http"`, `"type":"ftp"`, `"type":"file"`, `"type":"credential"`, `"app":"ftp-data"`, `"missing_up":0`} {
		if !strings.Contains(want, kind) {
			t.Fatalf("no %s in\n%s", kind, want)
		}
	}
	if sum.Artifacts["http"] != 3 || sum.Artifacts["file"] != 4 || sum.Damaged() || sum.Fragments.Rebuilt != 1 {
		t.Fatalf("%+v", sum)
	}
	var up, down []pcaptest.Frame
	for i, f := range frames {
		if i%3 == 0 {
			up = append(up, f)
		} else {
			down = append(down, f)
		}
	}
	a, b := write(t, "a.pcap", up), write(t, "b.pcap", down)
	shuffled := slices.Clone(frames)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range shuffled { // at most a few places, well within the window
		j := min(i+rng.IntN(4), len(shuffled)-1)
		shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
	}
	mixed := write(t, "mixed.pcap", shuffled)
	for _, c := range []struct {
		name  string
		set   func(*node.Options)
		files []string
	}{
		{"one worker", func(o *node.Options) { o.Workers = 1 }, []string{whole}},
		{"four workers", func(o *node.Options) { o.Workers = 4 }, []string{whole}},
		{"two files", nil, []string{a, b}},
		{"two files, named the other way round", nil, []string{b, a}},
		{"out of order", nil, []string{mixed}},
		{"payload by reference", func(o *node.Options) { o.Reference = true }, []string{whole}},
		{"by reference, two files", func(o *node.Options) { o.Reference = true }, []string{a, b}},
		{"little memory", func(o *node.Options) { o.MaxMemory = 64 << 10 }, []string{whole}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, o := open(t, t.TempDir()), options()
			if c.set != nil {
				c.set(&o)
			}
			got, _ := run(t, st, o, c.files...)
			if got != want {
				t.Fatalf("differs:\n%s", firstDifference(got, want))
			}
			if p := verify(t, st); len(p) > 0 {
				t.Fatal(p)
			}
			if got, _ = run(t, st, o, c.files...); got != want {
				t.Fatalf("a second ingest changed something:\n%s", firstDifference(got, want))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// TestStandardInput reads a capture from a pipe.
func TestStandardInput(t *testing.T) {
	var b bytes.Buffer
	if err := traffic().WritePcap(&b); err != nil {
		t.Fatal(err)
	}
	want, _ := run(t, memory.New(), options(), write(t, "x.pcap", traffic().Frames))
	o := options()
	o.Stdin = &b
	got, _ := run(t, memory.New(), o, "-")
	if got != want {
		t.Fatal(firstDifference(got, want))
	}
	o.Reference = true
	if _, err := node.Run(t.Context(), t.Context(), memory.New(), []string{"-"}, o, &node.Progress{}); !errors.Is(err, ntpac.ErrUsage) {
		t.Fatalf("payload by reference cannot come from a pipe: %v", err)
	}
}

// TestExpectationsInBothOrders takes in the two connections of FTP one after the other, in runs of their
// own: whichever is stored second, the data is read as what the commands announced.
func TestExpectationsInBothOrders(t *testing.T) {
	var control, data []pcaptest.Frame
	for _, f := range traffic().Frames {
		if bytes.Contains(f.Data, []byte{200, 10}) && !bytes.Contains(f.Data, []byte("227 ")) { // the port
			data = append(data, f)
		} else {
			control = append(control, f)
		}
	}
	a, b := write(t, "control.pcap", control), write(t, "data.pcap", data)
	want, sum := run(t, memory.New(), options(), a, b)
	if sum.Artifacts["file"] != 4 {
		t.Fatalf("%v", sum.Artifacts)
	}
	for _, files := range [][]string{{a, b}, {b, a}} {
		for _, st := range []ntpac.Store{memory.New(), open(t, t.TempDir())} {
			run(t, st, options(), files[0])
			if got, _ := run(t, st, options(), files[1]); got != want {
				t.Fatalf("%s first: %s", filepath.Base(files[0]), firstDifference(got, want))
			}
		}
	}
}

// TestManySources reads payload by reference out of more files than are kept open.
func TestManySources(t *testing.T) {
	frames := traffic().Frames
	want, _ := run(t, memory.New(), options(), write(t, "x.pcap", frames))
	var files []string
	const n = 100
	for i := range n {
		var part []pcaptest.Frame
		for k := i; k < len(frames); k += n {
			part = append(part, frames[k])
		}
		files = append(files, write(t, fmt.Sprint(i, ".pcap"), part))
	}
	o, st := options(), open(t, t.TempDir())
	o.Reference = true
	if got, _ := run(t, st, o, files...); got != want {
		t.Fatal(firstDifference(got, want))
	}
	if p := verify(t, st); len(p) > 0 {
		t.Fatal(p)
	}
	infos, err := st.Sources(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	src := node.OpenSources(t.Context(), infos, true)
	defer src.Close()
	for range 2 { // the second time around the first ones are closed again
		for _, i := range infos {
			if b, err := src.Append(nil, i.ID, 24, 16); err != nil || len(b) != 16 {
				t.Fatal(err)
			}
		}
	}
}

// TestSecondStage snoops by hand what was stored without snooping.
func TestSecondStage(t *testing.T) {
	file := write(t, "x.pcap", traffic().Frames)
	want, _ := run(t, memory.New(), options(), file)
	for _, ref := range []bool{false, true} {
		st, o := open(t, t.TempDir()), options()
		o.NoSnoop, o.Reference = true, ref
		if got, _ := run(t, st, o, file); strings.Contains(got, `"type"`) {
			t.Fatal("artifacts without snooping")
		}
		o.NoSnoop = false
		if _, err := node.Snoop(t.Context(), st, o, []string{"http"}, &node.Progress{}); err != nil {
			t.Fatal(err)
		}
		if got := listing(t, st); strings.Contains(got, `"type":"ftp"`) || !strings.Contains(got, `"type":"http"`) {
			t.Fatalf("only http was asked for:\n%s", got)
		}
		sum, err := node.Snoop(t.Context(), st, o, nil, &node.Progress{})
		if err != nil || sum.Selected != 5 {
			t.Fatalf("%+v %v", sum, err)
		}
		if got := listing(t, st); got != want {
			t.Fatalf("reference %v: %s", ref, firstDifference(got, want))
		}
	}
}

// TestVerifyFindsChanges changes a source, and a byte of the store's payload.
func TestVerifyFindsChanges(t *testing.T) {
	file, dir := write(t, "x.pcap", traffic().Frames), t.TempDir()
	st := open(t, dir)
	o := options()
	run(t, st, o, file)
	if p := verify(t, st); len(p) > 0 {
		t.Fatal(p)
	}
	flip(t, file, -3)
	if p := verify(t, st); len(p) != 1 || !strings.Contains(p[0], "has changed") {
		t.Fatal(p)
	}
	segs, err := filepath.Glob(filepath.Join(dir, "seg", "*", "*"))
	if err != nil || len(segs) == 0 {
		t.Fatal("no segments", err)
	}
	flip(t, segs[0], -100)
	if p := verify(t, st); len(p) < 2 {
		t.Fatal(p)
	}
	o.Reference, o.Case = true, "test"
	ref := open(t, t.TempDir())
	run(t, ref, o, file)
	flip(t, file, -3)
	for c, err := range ref.Conversations(t.Context(), &ntpac.Query{Case: "test"}) {
		if err != nil {
			t.Fatal(err)
		}
		infos, err := ref.Sources(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		src := node.OpenSources(t.Context(), infos, true)
		defer src.Close()
		if _, err := node.Payload(t.Context(), ref, src, c).Chunk(ntpac.StreamA, 0); c.Half[0].Bytes > 0 && !errors.Is(err, ntpac.ErrNoPayload) {
			t.Fatalf("payload of a changed source: %v", err)
		}
	}
}

// flip changes a byte of a file, counted from its end.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		b[int64(len(b))+at] ^= 0x40
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
