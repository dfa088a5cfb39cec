package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// cost is what one run took.
type cost struct {
	CPU     time.Duration `json:"cpu"` // user and system, of all threads and children
	Wall    time.Duration `json:"wall"`
	Mallocs uint64        `json:"mallocs"` // heap allocations in steady state
	Steady  int64         `json:"steady"`  // the packets of that time
	Peak    int64         `json:"peak"`    // most memory held, bytes: of the process or of a child
	Bytes   int64         `json:"bytes"`   // payload that came out
	Packets int64         `json:"packets"` // F1 counts them
}

// measure runs f n times on a capture and gives the costs of the one that took least CPU time.
func measure(n int, file string, f func(p *pass) (int64, error)) (best cost, err error) {
	for i := range max(n, 1) {
		runtime.GC()
		var before, after runtime.MemStats
		p := &pass{file: file, warm: func() { runtime.ReadMemStats(&before) }, over: func() { runtime.ReadMemStats(&after) }}
		cpu, start := cpuTime(), time.Now()
		bytes, err := f(p)
		if err != nil {
			return best, err
		}
		c := cost{CPU: cpuTime() - cpu, Wall: time.Since(start), Bytes: bytes, Steady: p.packets, Mallocs: after.Mallocs - before.Mallocs}
		if i == 0 || c.CPU < best.CPU {
			best = c
		}
	}
	best.Peak = peakMemory()
	return best, nil
}

// worker runs one stage in this process and prints its cost: the parent reads it.
func worker(o *options, name string, out io.Writer) error {
	f, err := o.find(name)
	if err != nil {
		return err
	}
	var packets int64
	c, err := measure(o.n, o.capture, func(p *pass) (bytes int64, err error) {
		bytes, packets, err = f(p)
		return bytes, err
	})
	if err != nil {
		return err
	}
	c.Packets = packets
	return json.NewEncoder(out).Encode(c)
}

// find gives what a worker of this name does.
func (o *options) find(name string) (func(p *pass) (bytes, packets int64, err error), error) {
	switch name {
	case f1Name:
		walk, err := newWalk(o.capture)
		if err != nil {
			return nil, err
		}
		return func(*pass) (int64, int64, error) { return 0, walk(), nil }, nil
	case sumName:
		return hashing, nil
	}
	for _, s := range append(stages(o), extra(o)...) {
		if s.Name == name && s.Run != nil {
			return func(p *pass) (int64, int64, error) {
				bytes, err := s.Run(p)
				return bytes, 0, err
			}, nil
		}
	}
	return nil, fmt.Errorf("no stage %q", name)
}

// inChild runs a worker in a process of its own: its peak memory is nobody else's.
func inChild(ctx context.Context, o *options, name string) (c cost, err error) {
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	cmd := exec.CommandContext(ctx, self, "-worker", name, "-n", strconv.Itoa(o.n), "-ntpac", o.ntpac, "-tmp", o.tmp, "-flows", strconv.Itoa(o.flows), o.capture)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(o.procs))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, json.Unmarshal(out, &c)
}

// command runs a program to its end on so many processors; what it says is shown only when it fails.
func command(procs int, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 { // done, though the capture is damaged
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %.500s", name, err, out)
	}
	return nil
}
