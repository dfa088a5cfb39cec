//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ntpac/internal/pcaptest"
)

// TestInterrupt ends a run that waits for more input: the first interrupt keeps what was read.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	store := dir + "/store"
	cmd := program(t, "run", "--store", store, "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// More than a pipe holds: when all of it is written, most of it has been read.
	c := pcaptest.New()
	for range 20 {
		c.UDP(pcaptest.Client, pcaptest.Server, make([]byte, 50_000))
	}
	if err := c.WritePcap(in); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != statusInterrupted {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if out := log.String(); !strings.Contains(out, "Interrupted") || !strings.Contains(out, "Stored     1 conversation ") {
		t.Errorf("what was read is not kept: %s", out)
	}
}

// TestInterruptNamedPipe interrupts a run that waits for a pipe: one that nobody has opened for writing,
// and one that has given something.
func TestInterruptNamedPipe(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(dir, "first")
	if err := syscall.Mkfifo(first, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, says string
		signals    int
		give       bool
	}{
		{"nothing came", "before anything was read", 1, false},
		{"something came", "Stored     1 conversation ", 1, true},
		{"at once", "interrupted", 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"run", "--store", filepath.Join(t.TempDir(), "store"), first}
			if !c.give {
				args = append(args, pipe)
			}
			cmd := program(t, args...)
			log, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			in, err := os.OpenFile(first, os.O_WRONLY, 0) // the program has opened it, and catches signals
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if c.give {
				b := pcaptest.New()
				for range 20 { // more than a pipe holds: when all of it is written, most of it has been read
					b.UDP(pcaptest.Client, pcaptest.Server, make([]byte, 50_000))
				}
				if err := b.WritePcap(in); err != nil {
					t.Fatal(err)
				}
			}
			signal := func() {
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
			}
			signal()
			var said strings.Builder
			lines := bufio.NewScanner(log)
			for lines.Scan() {
				said.WriteString(lines.Text() + "\n")
				if c.signals > 1 && strings.Contains(lines.Text(), "a second interrupt stops at once") {
					cmd.Process.Signal(os.Interrupt) // it may have ended already
				}
			}
			err = cmd.Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != statusInterrupted || !strings.Contains(strings.ToLower(said.String()), strings.ToLower(c.says)) {
				t.Fatalf("%v\n%s", err, said.String())
			}
		})
	}
}

// TestStoreInUse refuses a store that another process has open.
func TestStoreInUse(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	first := program(t, "run", "--store", store, "-")
	in, err := first.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	c := pcaptest.New()
	for range 20 { // more than a pipe holds: the store is open when it is read
		c.UDP(pcaptest.Client, pcaptest.Server, make([]byte, 50_000))
	}
	if err := c.WritePcap(in); err != nil {
		t.Fatal(err)
	}
	second := program(t, "conversations", "--store", store)
	out, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != statusFailed || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "in use") {
		t.Fatalf("%v\n%s", err, out)
	}
	in.Close()
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
}

// program is this program as a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Args[0] = "ntpac"
	return cmd
}
