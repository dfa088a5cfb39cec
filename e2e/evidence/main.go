// Evidence shows, on real captures, what ntpac says it can prove: that `export --pcap` gives exactly the
// packets of a selection, and that `verify` finds every change.
//
//	go run ./e2e/evidence -ntpac BIN -captures DIR [-every 8]
//
// Of each capture that is looked at: the packets of an export are as many as the conversations' own records
// say, of all and of single conversations; they are frames of the source, byte for byte; tshark, where
// installed, reads as many; the export read again gives the same conversations, with the same ids; the
// store verifies, and does not verify any more when one byte of it was changed. Exit status 1: something of that
// does not hold, or the arguments are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ntpac/e2e/cli"
)

func main() {
	var o options
	flag.StringVar(&o.ntpac, "ntpac", "bin/ntpac", "the binary under test")
	flag.StringVar(&o.captures, "captures", "../shared/captures", "folder of captures")
	flag.StringVar(&o.only, "only", "", "only captures whose path has this text")
	flag.StringVar(&o.tmp, "tmp", "", "folder for stores and exports (default: the system's)")
	flag.IntVar(&o.every, "every", 8, "look at one capture in so many")
	flag.IntVar(&o.single, "single", 3, "export so many conversations of each capture alone")
	flag.IntVar(&o.jobs, "jobs", 2, "captures at a time")
	flag.DurationVar(&o.timeout, "timeout", 120*time.Second, "time limit of one call")
	flag.Parse()
	if err := run(context.Background(), &o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "evidence:", err)
		os.Exit(1)
	}
}

type options struct {
	ntpac, captures, only, tmp string
	every, single, jobs        int
	timeout                    time.Duration
}

// tally counts what was shown.
type tally struct {
	mu                                              sync.Mutex
	captures, packets, compared, single, read, flip int
	broken                                          []string
}

func (t *tally) add(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

func run(ctx context.Context, o *options, out io.Writer) error {
	files, err := cli.Captures(o.captures, o.only)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(o.tmp, "ntpac-evidence-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	t, work := &tally{}, make(chan string)
	var wg sync.WaitGroup
	for n := range max(o.jobs, 1) {
		wg.Go(func() {
			for f := range work {
				c := &check{o: o, t: t, file: f, dir: filepath.Join(tmp, fmt.Sprint(n)), bin: &cli.Binary{Path: o.ntpac, Timeout: o.timeout}}
				if err := errors.Join(c.all(ctx), os.RemoveAll(c.dir)); err != nil {
					t.add(func() { t.broken = append(t.broken, fmt.Sprintf("%s: %v", f, err)) })
				}
			}
		})
	}
	looked := 0
	for i := max(o.every, 1) - 1; i < len(files); i += max(o.every, 1) {
		work <- filepath.Join(o.captures, files[i])
		looked++
	}
	close(work)
	wg.Wait()
	fmt.Fprintf(out, "%d captures: %d packets exported, %d found byte for byte in their sources, %d conversations exported alone, %d exports read by tshark, %d stores with a changed byte refused\n",
		t.captures, t.packets, t.compared, t.single, t.read, t.flip)
	for _, b := range t.broken {
		fmt.Fprintln(out, "broken:", b)
	}
	if len(t.broken) > 0 || t.captures == 0 {
		return fmt.Errorf("%d of %d captures broken", len(t.broken), looked)
	}
	return nil
}
