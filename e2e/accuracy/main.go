// Accuracy runs ntpac on every capture of a folder and compares what it finds with what tshark found.
//
//	go run ./e2e/accuracy -ntpac BIN -captures DIR [-only TEXT] [-md FILE] [-diff FILE] [-min kind=percent]
//
// The folder holds the captures and, below expected/, one JSON file for each. Every difference goes
// to a file of JSON lines; e2e/accuracy/explained.tsv explains differences one by one. An explained
// difference is not an agreement: it has a column of its own. What ntpac finds beyond tshark is
// counted as extra. Exit status 1: a threshold was missed, a run failed, or the arguments are wrong.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

func main() {
	var o options
	flag.StringVar(&o.ntpac, "ntpac", "bin/ntpac", "the binary under test")
	flag.StringVar(&o.captures, "captures", "../shared/captures", "folder of the captures, with expected/ in it")
	flag.StringVar(&o.only, "only", "", "only captures whose path has this text")
	flag.StringVar(&o.explained, "explained", "e2e/accuracy/explained.tsv", "differences explained one by one")
	flag.StringVar(&o.diff, "diff", "", "write every difference to this file, as JSON lines")
	flag.StringVar(&o.md, "md", "", "write the table to this file too")
	flag.StringVar(&o.tmp, "tmp", "", "folder for the stores (default: the system's)")
	flag.IntVar(&o.jobs, "jobs", 2, "captures at a time")
	flag.DurationVar(&o.timeout, "timeout", 120*time.Second, "time limit of one call")
	flag.BoolVar(&o.verbose, "v", false, "print every difference")
	flag.Var(&o.min, "min", "kind=percent: fail below it; several separated by commas")
	flag.Parse()
	if err := run(context.Background(), &o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
}

type options struct {
	ntpac, captures, only, explained, diff, md, tmp string
	jobs                                            int
	timeout                                         time.Duration
	verbose                                         bool
	min                                             compare.Minimum
}

func run(ctx context.Context, o *options, out io.Writer) error {
	files, err := cli.Captures(o.captures, o.only)
	if err != nil {
		return err
	}
	t := &compare.Tally{}
	if t.Explained, err = explanations(o.explained); err != nil {
		return err
	}
	log, closeLog, err := differences(o, out)
	if err != nil {
		return err
	}
	t.Log = log
	start := time.Now()
	if err := all(ctx, o, files, t); err != nil {
		return err
	}
	if err := closeLog(); err != nil {
		return err
	}
	if err := report(o, t, files, out, time.Since(start)); err != nil {
		return err
	}
	if short := o.min.Below(t); len(short) > 0 {
		return fmt.Errorf("below the threshold:\n  %s", strings.Join(short, "\n  "))
	}
	return nil
}

// all runs the captures through one pool of workers.
func all(ctx context.Context, o *options, files []string, t *compare.Tally) error {
	b := &cli.Binary{Path: o.ntpac, Timeout: o.timeout}
	tmp, err := os.MkdirTemp(o.tmp, "ntpac-accuracy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	work := make(chan string)
	errs := make(chan error, o.jobs)
	var wg sync.WaitGroup
	for n := range max(o.jobs, 1) {
		wg.Go(func() {
			for f := range work {
				c := &capture{name: f, dir: o.captures, store: filepath.Join(tmp, fmt.Sprint("store", n)), bin: b, tally: t}
				if err := c.check(ctx); err != nil {
					select {
					case errs <- fmt.Errorf("%s: %w", f, err):
					default:
					}
				}
			}
		})
	}
	for _, f := range files {
		work <- f
	}
	close(work)
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	return t.Err()
}

func report(o *options, t *compare.Tally, files []string, out io.Writer, took time.Duration) error {
	fmt.Fprintf(out, "%d captures, %.0f s\n\n", len(files), took.Seconds())
	if err := t.Markdown(out, kinds); err != nil {
		return err
	}
	looked := map[string]bool{}
	for _, f := range files {
		looked[f] = true
	}
	if stale := t.Explained.Stale(func(c string) bool { return looked[c] }); len(stale) > 0 {
		fmt.Fprintf(out, "\nexplanations that explain nothing any more, by line of %s: %v\n", o.explained, stale)
	}
	if o.md == "" {
		return nil
	}
	f, err := os.Create(o.md)
	if err != nil {
		return err
	}
	if err := t.Markdown(f, kinds); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func explanations(path string) (*compare.Explanations, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return compare.ReadExplanations(f)
}

// differences opens the log of differences: the file asked for, and the terminal with -v.
func differences(o *options, out io.Writer) (io.Writer, func() error, error) {
	var w []io.Writer
	done := func() error { return nil }
	if o.diff != "" {
		f, err := os.Create(o.diff)
		if err != nil {
			return nil, nil, err
		}
		b := bufio.NewWriter(f)
		w = append(w, b)
		done = func() error {
			if err := b.Flush(); err != nil {
				f.Close()
				return err
			}
			return f.Close()
		}
	}
	if o.verbose {
		w = append(w, out)
	}
	if len(w) == 0 {
		return nil, done, nil
	}
	return io.MultiWriter(w...), done, nil
}
