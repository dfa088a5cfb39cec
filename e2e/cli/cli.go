// Package cli runs the ntpac binary as any foreign program would, and reads its JSON lines. It knows
// the contract's names and nothing of the product's code: what it proves, it proves from outside.
package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Binary is the program under test.
type Binary struct {
	Path    string
	Timeout time.Duration // of one call; 0 is none
	Env     []string      // beside the caller's own environment
}

// Result is how a call ended.
type Result struct {
	Status   int // exit status; -1 after a signal
	Stderr   string
	TimedOut bool
	Elapsed  time.Duration
	CPU      time.Duration // user and system
}

// The exit statuses of the contract.
const (
	Done    = 0
	Failed  = 1
	Usage   = 2
	Damaged = 3 // done, but some input was damaged or cut short
)

// Panicked reports whether the program crashed: the runtime's traces go to standard error.
func (r *Result) Panicked() bool {
	return strings.Contains(r.Stderr, "panic: ") || strings.Contains(r.Stderr, "\ngoroutine ") ||
		strings.HasPrefix(r.Stderr, "goroutine ") || strings.Contains(r.Stderr, "fatal error: ")
}

// LastLine is the last line of standard error, for messages.
func (r *Result) LastLine() string {
	s := strings.TrimRight(r.Stderr, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// Exec calls the program; its standard output goes to out. The error says only that it could not be
// started: a failing program is a Result.
func (b *Binary) Exec(ctx context.Context, out io.Writer, args ...string) (Result, error) {
	if b.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.Timeout)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, b.Path, args...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(cmd.Environ(), b.Env...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	start := time.Now()
	err := cmd.Run()
	r := Result{Status: -1, Stderr: stderr.String(), Elapsed: time.Since(start), TimedOut: ctx.Err() == context.DeadlineExceeded}
	if p := cmd.ProcessState; p != nil {
		r.Status, r.CPU = p.ExitCode(), p.UserTime()+p.SystemTime()
		return r, nil
	}
	return r, err
}

// Run is `ntpac run` of the files into a store.
func (b *Binary) Run(ctx context.Context, store string, flags []string, files ...string) (Result, error) {
	args := append([]string{"run", "--store", store, "--case", Case}, flags...)
	return b.Exec(ctx, io.Discard, append(args, files...)...)
}

// Case is the case that every run here uses.
const Case = "x"

// Conversations lists what a store holds, with further flags.
func (b *Binary) Conversations(ctx context.Context, store string, flags ...string) ([]Conversation, error) {
	out, err := b.Lines(ctx, store, "conversations", flags...)
	if err != nil {
		return nil, err
	}
	return decode(out, func(line []byte, c *Conversation) error { return json.Unmarshal(line, c) })
}

// Artifacts lists what was found in a store's conversations.
func (b *Binary) Artifacts(ctx context.Context, store string) ([]Artifact, error) {
	out, err := b.Lines(ctx, store, "artifacts")
	if err != nil {
		return nil, err
	}
	return decode(out, func(line []byte, a *Artifact) error { a.Raw = line; return json.Unmarshal(line, a) })
}

// Lines gives the JSON lines of a listing command as they were printed.
func (b *Binary) Lines(ctx context.Context, store, command string, flags ...string) ([][]byte, error) {
	var out bytes.Buffer
	r, err := b.Exec(ctx, &out, append([]string{command, "--json", "--store", store, "--case", Case}, flags...)...)
	switch {
	case err != nil:
		return nil, err
	case r.Panicked() || r.Status != Done:
		return nil, fmt.Errorf("ntpac %s ended with status %d: %s", command, r.Status, r.LastLine())
	}
	return splitLines(&out)
}

func splitLines(r io.Reader) (lines [][]byte, err error) {
	br := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := br.ReadBytes('\n')
		if s := bytes.TrimSpace(line); len(s) > 0 {
			lines = append(lines, s)
		}
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func decode[T any](lines [][]byte, read func([]byte, *T) error) ([]T, error) {
	out := make([]T, len(lines))
	for i, l := range lines {
		if err := read(l, &out[i]); err != nil {
			return nil, fmt.Errorf("line %d is not as the contract says: %w: %.200s", i+1, err, l)
		}
	}
	return out, nil
}
