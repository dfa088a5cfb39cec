//go:build unix

package node_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"ntpac/internal/pcaptest"
	"ntpac/node"
	"ntpac/store/embedded"
	"ntpac/store/memory"
)

// crashRun names, for a child process, the store and the capture that it takes into it, one commit for
// each line that it reads.
const crashRun = "NTPAC_TEST_CRASH_RUN"

func TestMain(m *testing.M) {
	if what := os.Getenv(crashRun); what != "" {
		dir, file, _ := strings.Cut(what, "\n")
		if err := crash(dir, file); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func crash(dir, file string) error {
	st, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		return err
	}
	in, ctx := bufio.NewReader(os.Stdin), context.Background()
	may := &noting{st, func() {
		fmt.Println("commit")
		in.ReadString('\n')
	}}
	if _, err := node.Run(ctx, ctx, may, []string{file}, options(), &node.Progress{}); err != nil {
		return err
	}
	fmt.Println("done")
	return st.Close()
}

// TestKill kills a run before, within or after its first commit, another one that goes on with the same
// store in its second, and so on, until one comes to its end; and the store is as if nobody had been
// killed. Then every round begins with an empty store.
func TestKill(t *testing.T) {
	file := write(t, "x.pcap", traffic().Frames)
	want, _ := run(t, memory.New(), options(), file)
	for _, again := range []bool{true, false} {
		dir := t.TempDir()
		for n := 1; ; n++ {
			if !again {
				dir = t.TempDir()
			}
			whole := killed(t, dir, file, n)
			if whole || !again {
				finished(t, dir, file, want, whole)
			}
			if whole {
				if n < 4 {
					t.Fatalf("only %d commits", n-1)
				}
				break
			}
		}
	}
}

// killed runs a child and kills it while it makes its n-th commit; whole tells that it came to its end.
func killed(t *testing.T, dir, file string, n int) (whole bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashRun+"="+dir+"\n"+file)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 1; lines.Scan(); i++ {
		switch lines.Text() {
		case "commit":
			fmt.Fprintln(in)
			if i == n {
				cmd.Process.Kill()
			}
		case "done":
			whole = true
		default:
			t.Errorf("the child says: %s", lines.Text())
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil && whole:
		return true
	case errors.As(err, &exit) && exit.ExitCode() == -1: // killed, be it after its last word
		return false
	}
	t.Fatalf("the child ended with %v", err)
	return false
}

// finished goes on with a store and compares.
func finished(t *testing.T, dir, file, want string, whole bool) {
	t.Helper()
	st, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	got := listing(t, st)
	if !whole {
		got, _ = run(t, st, options(), file)
	}
	if got != want {
		t.Fatalf("differs: %s", firstDifference(got, want))
	}
	if p := verify(t, st); len(p) > 0 {
		t.Fatal(p)
	}
}

// TestNamedPipes reads a capture that comes in two named pipes, neither of which can be read twice.
func TestNamedPipes(t *testing.T) {
	frames := traffic().Frames
	want, _ := run(t, memory.New(), options(), write(t, "x.pcap", frames))
	var names []string
	written := make(chan error, 2)
	for i := range 2 {
		name := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		var part []pcaptest.Frame
		for k, f := range frames {
			if k%2 == i {
				part = append(part, f)
			}
		}
		go func() {
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err == nil {
				err = pcaptest.WritePcap(f, part)
				f.Close()
			}
			written <- err
		}()
	}
	st := memory.New()
	got, sum := run(t, st, options(), names...)
	if got != want {
		t.Fatal(firstDifference(got, want))
	}
	for i := range 2 {
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		if s := sum.Sources[i]; !s.Done || s.SHA256.IsZero() || s.Path != "" || s.Name != names[i] {
			t.Fatalf("%+v", s)
		}
	}
	o := options()
	o.Reference = true
	if _, err := node.Run(t.Context(), t.Context(), memory.New(), names[:1], o, &node.Progress{}); err == nil || !strings.Contains(err.Error(), "--payload copy") {
		t.Fatal(err)
	}
}
