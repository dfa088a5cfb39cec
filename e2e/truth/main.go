// Truth runs ntpac on generated captures whose contents are known, and compares.
//
//	go run ./e2e/truth -ntpac BIN [-size 256M] [-seeds 1,2,3] [-knobs "-loss 0.002 -reorder 0.01"] [-min kind=percent]
//
// The generator is genbench; its source is built into a temporary folder. Three laws are shown: every
// conversation is found with its ends, packets, bytes, holes and conflicts, as the capture's own frames
// prove them; what is complete in the capture is found with the right bytes; and nothing is called
// complete that is not true (the rows "... called complete"). Exit status 1: a threshold was missed, a
// run failed, or the arguments are wrong.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

func main() {
	var o options
	flag.StringVar(&o.ntpac, "ntpac", "bin/ntpac", "the binary under test")
	flag.StringVar(&o.genbench, "genbench", "../shared/bench/genbench", "source of the generator, or a binary of it")
	flag.StringVar(&o.size, "size", "256M", "size of the captures")
	flag.StringVar(&o.seeds, "seeds", "1,2,3", "seeds, one capture each")
	flag.StringVar(&o.knobs, "knobs", "", "further arguments of the generator")
	flag.StringVar(&o.flags, "flags", "", "further arguments of ntpac run")
	flag.StringVar(&o.dir, "dir", "", "keep captures in this folder and use those that are there (default: a temporary one)")
	flag.StringVar(&o.diff, "diff", "", "write every difference to this file, as JSON lines")
	flag.StringVar(&o.md, "md", "", "write the table to this file too")
	flag.DurationVar(&o.timeout, "timeout", 15*time.Minute, "time limit of one call")
	flag.Var(&o.min, "min", "kind=percent: fail below it; several separated by commas")
	flag.Parse()
	if err := run(context.Background(), &o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "truth:", err)
		os.Exit(1)
	}
}

type options struct {
	ntpac, genbench, size, seeds, knobs, flags, dir, diff, md string
	timeout                                                   time.Duration
	min                                                       compare.Minimum
}

func run(ctx context.Context, o *options, out io.Writer) (err error) {
	tmp, err := os.MkdirTemp("", "ntpac-truth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	gen, err := generator(ctx, o.genbench, tmp)
	if err != nil {
		return err
	}
	t := &compare.Tally{}
	if o.diff != "" {
		f, err := os.Create(o.diff)
		if err != nil {
			return err
		}
		w := bufio.NewWriter(f)
		t.Log = w
		defer func() { err = errors.Join(err, t.Err(), w.Flush(), f.Close()) }()
	}
	for _, seed := range strings.Split(o.seeds, ",") {
		if err := one(ctx, o, gen, seed, tmp, t, out); err != nil {
			return fmt.Errorf("seed %s: %w", seed, err)
		}
	}
	fmt.Fprintln(out)
	if err := table(t, o.md, out); err != nil {
		return err
	}
	if short := o.min.Below(t); len(short) > 0 {
		return fmt.Errorf("below the threshold:\n  %s", strings.Join(short, "\n  "))
	}
	return nil
}

func table(t *compare.Tally, md string, out io.Writer) error {
	if err := t.Markdown(out, kinds); err != nil || md == "" {
		return err
	}
	f, err := os.Create(md)
	if err != nil {
		return err
	}
	return errors.Join(t.Markdown(f, kinds), f.Close())
}

// generator gives a binary of the generator.
func generator(ctx context.Context, source, tmp string) (string, error) {
	st, err := os.Stat(source)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return filepath.Abs(source)
	}
	bin := filepath.Join(tmp, "genbench")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the generator: %w: %s", err, b)
	}
	return bin, nil
}

// one generates a capture, runs it and compares.
func one(ctx context.Context, o *options, gen, seed, tmp string, t *compare.Tally, out io.Writer) error {
	dir := o.dir
	if dir == "" {
		dir = tmp
	}
	args := append([]string{"-size", o.size, "-seed", seed}, strings.Fields(o.knobs)...)
	sum := sha256.Sum256([]byte(o.knobs))
	name := fmt.Sprintf("genbench-%s-%s-%x.pcap", o.size, seed, sum[:4])
	file := filepath.Join(dir, name)
	if err := generate(ctx, gen, args, file); err != nil {
		return err
	}
	if o.dir == "" {
		defer os.Remove(file)
	}
	store := filepath.Join(tmp, "store")
	defer os.RemoveAll(store)
	b := &cli.Binary{Path: o.ntpac, Timeout: o.timeout}
	r, err := b.Run(ctx, store, strings.Fields(o.flags), file)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "genbench %s: ntpac ended with status %d, %.1f CPU s, %.1f s\n", strings.Join(args, " "), r.Status, r.CPU.Seconds(), r.Elapsed.Seconds())
	if r.Status != cli.Done || r.Panicked() || r.TimedOut {
		return fmt.Errorf("ntpac run ended with status %d: %s", r.Status, r.LastLine())
	}
	truth, err := readTruth(file + ".jsonl")
	if err != nil {
		return err
	}
	if err := truth.sights(file); err != nil {
		return err
	}
	c := &comparison{name: name, truth: truth, tally: t}
	if err := c.load(ctx, b, store); err != nil {
		return err
	}
	c.conversations()
	return c.artifacts()
}

func generate(ctx context.Context, gen string, args []string, file string) error {
	if _, err := os.Stat(file + ".jsonl"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	part := file + ".part"
	cmd := exec.CommandContext(ctx, gen, append(args, "-o", part)...)
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the generator: %w: %s", err, b)
	}
	if err := os.Rename(part, file); err != nil {
		return err
	}
	return os.Rename(part+".jsonl", file+".jsonl")
}
