// Bounds shows that hostile traffic cannot make the product take more memory than it was allowed: it feeds
// floods of conversations and one that does not end to `ntpac run` through standard input, made as they are
// read, and measures the most memory that the process held.
//
//	go run ./bench/bounds -ntpac BINARY [-flows 5000000] [-endless 10G] [-memory 480M]
//
// It fails where a run held more than it was allowed.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ntpac/bench/traffic"
)

type options struct {
	ntpac, tmp, only string
	flows            int
	endless, memory  traffic.Size
	workers          int
	write            bool
}

func main() {
	o := options{endless: 10 << 30, memory: 480 << 20}
	flag.StringVar(&o.ntpac, "ntpac", "bin/ntpac", "the binary to be measured")
	flag.StringVar(&o.tmp, "tmp", "", "where stores are made and removed; default: the system's")
	flag.StringVar(&o.only, "only", "", "run only cases with this in their name")
	flag.IntVar(&o.flows, "flows", 5_000_000, "conversations of a flood")
	flag.Var(&o.endless, "endless", "bytes of the conversation that does not end")
	flag.Var(&o.memory, "memory", "what the process is allowed, and may not exceed")
	flag.BoolVar(&o.write, "write", false, "write the traffic of the first case that fits to standard output, and measure nothing")
	flag.IntVar(&o.workers, "workers", 2, "workers of the product")
	flag.Parse()
	if err := run(context.Background(), &o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bounds:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options, out io.Writer) error {
	if o.write {
		for _, c := range cases(o) {
			if strings.Contains(c.name, o.only) {
				w := bufio.NewWriter(out)
				return errors.Join(c.write(w), w.Flush())
			}
		}
	}
	fmt.Fprintln(out, "| traffic | packets | conversations | ended by the limit | CPU s | us a packet | store MB | peak MB | allowed MB |")
	fmt.Fprintln(out, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	var failed []error
	for _, c := range cases(o) {
		if !strings.Contains(c.name, o.only) {
			continue
		}
		m, err := o.measure(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		n := max(m.Packets, 1)
		fmt.Fprintf(out, "| %s | %d | %d | %d | %.1f | %.2f | %.0f | %.0f | %.0f |\n", c.name, m.Packets, m.Conversations, m.Reassembly.Evicted,
			m.cpu.Seconds(), m.cpu.Seconds()*1e6/float64(n), float64(m.disk)/1e6, float64(m.peak)/1e6, float64(o.memory)/1e6)
		if m.peak > int64(o.memory) {
			failed = append(failed, fmt.Errorf("%s: %d bytes were held, %d are allowed", c.name, m.peak, int64(o.memory)))
		}
		if c.conversations > 0 && m.Conversations < c.conversations {
			failed = append(failed, fmt.Errorf("%s: %d conversations are stored, there were %d", c.name, m.Conversations, c.conversations))
		}
	}
	return errors.Join(failed...)
}

// measured is what one run took: its own counters, and what the system says of it.
type measured struct {
	Packets       int64 `json:"packets"`
	Conversations int64 `json:"conversations"`
	Reassembly    struct {
		Evicted int64
	} `json:"reassembly"`
	cpu        time.Duration
	peak, disk int64
}

// measure runs the product over a case.
func (o *options) measure(ctx context.Context, c flood) (m measured, err error) {
	dir, err := os.MkdirTemp(o.tmp, "ntpac-bounds-")
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	stats := filepath.Join(dir, "stats.json")
	cmd := exec.CommandContext(ctx, o.ntpac, "run", "--store", filepath.Join(dir, "store"), "--stats", stats,
		"--workers", strconv.Itoa(o.workers), "--max-memory", strconv.FormatInt(int64(o.memory), 10), "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		return m, err
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return m, err
	}
	written := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(in, 1<<20)
		written <- errors.Join(c.write(w), w.Flush(), in.Close())
	}()
	failed, broken := cmd.Wait(), <-written
	if failed != nil {
		return m, fmt.Errorf("%w: %s", failed, tail(said.String()))
	}
	if broken != nil {
		return m, broken
	}
	b, err := os.ReadFile(stats)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, err
	}
	p := cmd.ProcessState
	m.cpu, m.peak = p.UserTime()+p.SystemTime(), resident(p)
	m.disk, err = diskUse(dir)
	return m, err
}

func tail(s string) string { return s[max(len(s)-500, 0):] }

func diskUse(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
