package meta

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/node"
	"ntpac/snoop/all"
	"ntpac/store/embedded"
	"ntpac/store/memory"
)

// childRun names, for a child process, the store and the capture that it takes into it; it waits before each
// commit for a line.
const childRun = "NTPAC_META_CHILD_RUN"

func TestMain(m *testing.M) {
	if what := os.Getenv(childRun); what != "" {
		if err := child(what); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// watched is a store that tells of every commit, and stores what is made of it.
type watched struct {
	ntpac.Store
	commit func(c ntpac.Commit) ntpac.Commit
}

func (w *watched) Commit(ctx context.Context, c *ntpac.Commit) error {
	other := w.commit(*c)
	return w.Store.Commit(ctx, &other)
}

func child(what string) error {
	dir, file, _ := strings.Cut(what, "\n")
	st, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		return err
	}
	in, ctx := bufio.NewReader(os.Stdin), context.Background()
	w := &watched{st, func(c ntpac.Commit) ntpac.Commit {
		fmt.Println("commit")
		in.ReadString('\n')
		return c
	}}
	if _, err := node.Run(ctx, ctx, w, []string{file}, options(1), &node.Progress{}); err != nil {
		return err
	}
	fmt.Println("done")
	return st.Close()
}

// killedAt runs a child and kills it while it makes its n-th commit; done tells that it came to its end.
func killedAt(t *testing.T, dir, file string, n int) (done bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRun+"="+dir+"\n"+file)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 1; lines.Scan(); i++ {
		switch lines.Text() {
		case "commit":
			if fmt.Fprintln(in); i == n {
				cmd.Process.Kill()
			}
		case "done":
			done = true
		default:
			t.Errorf("the child says: %s", lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != -1 {
		t.Fatal(err)
	}
	return done
}

// TestBehaviour19Killed kills the one process that there is in its first, second, third ... commit, lets
// another go on with the same store, and wants what an undisturbed run gives.
func TestBehaviour19Killed(t *testing.T) {
	fs := build(rand.New(rand.NewPCG(*seed, 19)), "http", "ftp", "smtp", "dns", "midstream")
	base := mustRun(t, one(fs))
	file := filepath.Join(t.TempDir(), "capture0") // as base has it: sources are named
	if err := os.WriteFile(file, format{}.encode(fs), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for n := 1; !killedAt(t, dir, file, n); n++ {
	}
	st, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	ctx := context.Background()
	infos, err := st.Sources(ctx, "meta")
	if err != nil {
		t.Fatal(err)
	}
	got, err := collect(ctx, st, &node.Summary{Sources: infos})
	if err != nil {
		t.Fatal(err)
	}
	if err := equal(base, got, law1); err != nil {
		t.Error(err)
	}
}

// endless is a capture of one connection that goes on and on.
type endless struct {
	left    int // segments
	at      int64
	buf     []byte
	read    atomic.Int64
	looking func()
	n       int
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.buf) == 0 {
		if e.left == 0 {
			return 0, io.EOF
		}
		e.more()
	}
	n := copy(b, e.buf)
	e.buf = e.buf[n:]
	e.read.Add(int64(n))
	return n, nil
}

// more makes the next thousand segments; one in a hundred is lost, and one in fifty comes late.
func (e *endless) more() {
	c := pcaptest.New()
	c.Now, c.Step = 1_700_000_000*ntpac.Second+ntpac.Time(e.n)*ntpac.Second/10, ms/20
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.Seq[up] += uint32(e.at)
	if e.at == 0 {
		k.Open()
	}
	data := make([]byte, 1448)
	for i := range 1000 {
		binary.BigEndian.PutUint64(data, uint64(e.at)+uint64(i))
		k.Packet(up, pcaptest.ACK, data)
		if i%10 == 9 {
			k.Packet(down, pcaptest.ACK, nil)
		}
	}
	for i := range c.Frames[:len(c.Frames)-10] {
		switch {
		case i%100 == 99 && i > 3:
			c.Frames[i].Data = pcaptest.EtherType(0x0806, make([]byte, 28))
			c.Frames[i].Wire = 42
		case i%50 == 7 && i > 7:
			c.Frames[i], c.Frames[i+3] = c.Frames[i+3], c.Frames[i]
			c.Frames[i].TS, c.Frames[i+3].TS = c.Frames[i+3].TS, c.Frames[i].TS
		}
	}
	b := format{}.encode(frames(c.Frames))
	if e.n > 0 {
		b = b[fileHead:]
	}
	e.buf, e.at, e.left, e.n = b, int64(k.Seq[up])-1_000_000, e.left-1000, e.n+1
	if e.looking != nil {
		e.looking()
	}
}

func options(workers int) node.Options {
	return node.Options{Case: "meta", Workers: workers, Snoopers: all.Snoopers(), MaxMemory: 16 << 20}
}

// TestBehaviour22EndlessFlow reads 60 MB of one connection into a store that keeps no payload. The heap stays
// small, and no more is read than memory allows before it is committed: so a slow store slows the reading.
func TestBehaviour22EndlessFlow(t *testing.T) {
	var peak, committed, ahead uint64
	e := &endless{left: 40_000}
	e.looking = func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	st := &watched{memory.New(), func(c ntpac.Commit) ntpac.Commit {
		for i := range c.Chunks {
			if k := &c.Chunks[i]; k.Key.Stream != ntpac.StreamHistory {
				ahead = max(ahead, uint64(e.read.Load())-min(committed, uint64(e.read.Load())))
				committed += uint64(k.RawLen)
			}
		}
		if len(c.Conversations) == 0 {
			c.Chunks = nil
		}
		return c
	}}
	defer st.Close()
	o := options(1)
	o.Stdin, o.NoSnoop = e, true
	ctx := context.Background()
	sum, err := node.Run(ctx, ctx, st, []string{"-"}, o, &node.Progress{})
	if err != nil {
		t.Fatal(err)
	}
	if n := sum.Reassembly.Conversations; n != 1 {
		t.Errorf("%d conversations", n)
	}
	if peak > 100<<20 {
		t.Errorf("the heap grew to %d MB", peak>>20)
	}
	if ahead > 48<<20 {
		t.Errorf("%d MB were read before they were committed", ahead>>20)
	}
	t.Logf("%d MB read, heap at most %d MB, reading at most %d MB ahead", e.read.Load()>>20, peak>>20, ahead>>20)
}
