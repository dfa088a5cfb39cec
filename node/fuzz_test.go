package node_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/node"
	"ntpac/snoop/all"
	"ntpac/store/memory"
)

// FuzzRun takes any file through every stage. The run ends, no snooper fails, every packet that was read
// is accounted for, what is stored verifies, and neither the number of workers nor where the payload is
// kept changes what is found.
func FuzzRun(f *testing.F) {
	var b bytes.Buffer
	frames := traffic().Frames
	if err := pcaptest.WritePcap(&b, frames[:30]); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	b.Reset()
	if err := pcaptest.WritePcap(&b, frames[len(frames)-14:]); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	path := filepath.Join(f.TempDir(), "any")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<17 || bytes.HasPrefix(raw, []byte("\x1f\x8b")) || bytes.HasPrefix(raw, []byte("\x28\xb5\x2f\xfd")) {
			return // a bomb is only slow
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		o := node.Options{Case: "test", Workers: 1, Snoopers: all.Snoopers()}
		st := memory.New()
		sum, err := node.Run(t.Context(), t.Context(), st, []string{path}, o, &node.Progress{})
		if err != nil {
			if !errors.Is(err, ntpac.ErrNotCapture) {
				t.Fatal(err)
			}
			return
		}
		if sum.Snoop.Panics > 0 || sum.Snoop.Oversized > 0 {
			t.Errorf("snoopers: %+v", sum.Snoop)
		}
		var seen uint64
		for _, n := range sum.Balancer.Packets {
			seen += n
		}
		if s := &sum.Sources[0]; seen != uint64(s.Packets) {
			t.Errorf("%d packets were read, %d went on", s.Packets, seen)
		}
		if problems := verify(t, st); len(problems) > 0 {
			t.Errorf("%q", problems)
		}
		want := listing(t, st)
		o.Workers = 3
		if got, _ := run(t, memory.New(), o, path); got != want {
			t.Errorf("with three workers:\n%s\nnot\n%s", got, want)
		}
		o.Reference = true
		if got, _ := run(t, memory.New(), o, path); got != want {
			t.Errorf("payload by reference:\n%s\nnot\n%s", got, want)
		}
	})
}
