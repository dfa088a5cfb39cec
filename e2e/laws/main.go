// Laws runs ntpac in different ways on one capture and holds the results against each other: the
// same input gives the same conversations and artifacts, however often, with however many workers,
// from however many files it is read, whatever their clocks say, and wherever the run was killed.
//
//	go run ./e2e/laws -ntpac BIN [-capture FILE | -genbench SOURCE] [-size 64M] [-only split,kill]
//
// Without -capture and -genbench, the capture is one of the project's own generator. Exit status 1:
// a law is broken, or the arguments are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ntpac/bench/traffic"
	"ntpac/e2e/cli"
)

func main() {
	o := options{size: traffic.Size(64 << 20)}
	flag.StringVar(&o.ntpac, "ntpac", "bin/ntpac", "the binary under test")
	flag.StringVar(&o.capture, "capture", "", "the capture to run; FILE.up.pcap and FILE.down.pcap beside it are what two taps saw")
	flag.StringVar(&o.genbench, "genbench", "", "source of genbench: have it generate the capture")
	flag.StringVar(&o.knobs, "knobs", "", "further arguments of genbench")
	flag.Var(&o.size, "size", "size of a generated capture")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of a generated capture")
	flag.StringVar(&o.flags, "flags", "", "further arguments of every ntpac run")
	flag.IntVar(&o.kills, "kills", 5, "how often the run is killed before it may end")
	flag.StringVar(&o.only, "only", "", "laws to try, separated by commas (default: all)")
	flag.StringVar(&o.tmp, "tmp", "", "folder for captures and stores (default: the system's)")
	flag.DurationVar(&o.timeout, "timeout", 15*time.Minute, "time limit of one run")
	flag.Parse()
	if err := run(context.Background(), &o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "laws:", err)
		os.Exit(1)
	}
}

type options struct {
	ntpac, capture, genbench, knobs, flags, only, tmp string
	size                                              traffic.Size
	seed                                              uint64
	kills                                             int
	timeout                                           time.Duration
}

// bench is what the laws work with: the capture, and the result of an undisturbed run of it.
type bench struct {
	o        *options
	bin      *cli.Binary
	dir      string
	capture  string
	base     *listing
	baseTime time.Duration
}

// law is one way of running that must not make a difference.
type law struct {
	name string
	try  func(ctx context.Context, b *bench) error
}

var laws = []law{
	{"repeat", func(ctx context.Context, b *bench) error { return b.same(ctx, "repeat", nil) }},
	{"again", again},
	{"workers-1", func(ctx context.Context, b *bench) error { return b.same(ctx, "workers-1", []string{"--workers", "1"}) }},
	{"workers-4", func(ctx context.Context, b *bench) error { return b.same(ctx, "workers-4", []string{"--workers", "4"}) }},
	{"split", split},
	{"skew", skewed},
	{"kill", kill},
}

func run(ctx context.Context, o *options, out io.Writer) error {
	dir, err := os.MkdirTemp(o.tmp, "ntpac-laws-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{o: o, dir: dir, bin: &cli.Binary{Path: o.ntpac, Timeout: o.timeout}}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d conversations and %d artifacts in %.1f s\n", len(b.base.conversations), len(b.base.artifacts), b.baseTime.Seconds())
	broken := 0
	for _, l := range laws {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), l.name) {
			continue
		}
		if err := l.try(ctx, b); err != nil {
			broken++
			fmt.Fprintf(out, "%-10s broken: %v\n", l.name, err)
			continue
		}
		fmt.Fprintf(out, "%-10s holds\n", l.name)
	}
	if broken > 0 {
		return fmt.Errorf("%d broken", broken)
	}
	return nil
}

// prepare makes the capture and runs it undisturbed.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.capture, err = b.makeCapture(ctx); err != nil {
		return err
	}
	store := filepath.Join(b.dir, "base")
	r, err := b.run(ctx, store, nil, b.capture)
	if err != nil {
		return err
	}
	b.baseTime = r.Elapsed
	if b.base, err = list(ctx, b.bin, store); err != nil {
		return err
	}
	if len(b.base.conversations) == 0 {
		return errors.New("the run found no conversations: nothing can be shown")
	}
	return nil
}

func (b *bench) makeCapture(ctx context.Context) (string, error) {
	if b.o.capture != "" {
		return b.o.capture, nil
	}
	file := filepath.Join(b.dir, "capture.pcap")
	if b.o.genbench == "" {
		return file, own(file, b.o)
	}
	gen := filepath.Join(b.dir, "genbench")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", gen, ".")
	cmd.Dir = b.o.genbench
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the generator: %w: %s", err, text)
	}
	args := []string{"-size", b.o.size.String(), "-seed", fmt.Sprint(b.o.seed), "-split", "updown", "-truth", "-", "-o", file}
	if text, err := exec.CommandContext(ctx, gen, append(args, strings.Fields(b.o.knobs)...)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("the generator: %w: %s", err, text)
	}
	return file, nil
}

// own makes a capture with the project's generator.
func own(file string, o *options) (err error) {
	var w [3]io.Writer
	for i, suffix := range []string{"", upSuffix, downSuffix} {
		f, failed := os.Create(file + suffix)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w[i] = f
	}
	_, err = traffic.Write(traffic.Capture{Whole: w[0], Up: w[1], Down: w[2]}, traffic.Options{Size: int64(o.size), Seed: o.seed})
	return err
}

const (
	upSuffix   = ".up.pcap"
	downSuffix = ".down.pcap"
)

// run is an ntpac run that must end well.
func (b *bench) run(ctx context.Context, store string, flags []string, files ...string) (cli.Result, error) {
	r, err := b.bin.Run(ctx, store, append(strings.Fields(b.o.flags), flags...), files...)
	if err == nil && (r.Panicked() || r.Status != cli.Done && r.Status != cli.Damaged) {
		err = fmt.Errorf("ntpac run ended with status %d: %s", r.Status, r.LastLine())
	}
	return r, err
}
