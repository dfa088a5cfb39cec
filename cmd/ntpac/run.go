package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"ntpac"
	"ntpac/capture"
	"ntpac/node"
	"ntpac/selection"
	"ntpac/store"
)

func (a *app) runCommand() *cobra.Command {
	var p place
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [flags] FILE...",
		Short: "Takes captures through every stage, on this machine",
		Long: `Reads captures, puts their conversations together, recognises and reads their
protocols, and stores conversations and artifacts. All files of one call are one
merge group: it does not matter how the packets are divided between them.

FILE is a capture (pcap, pcapng or snoop, also in gzip or zstd, told by content), a
folder, in which all captures are read, or - for standard input.

Exit status: 0 done; 1 failed; 2 usage; 3 done, but some input was damaged or cut
short; 130 interrupted. The first interrupt ends reading and keeps what was read; the
second one stops at once, and nothing that was stored is lost.`,
		Example: `  ntpac run evidence.pcap
  ntpac run --case raid42 --store /data/store captures/
  zcat big.pcap.gz | ntpac run --workers 8 --max-memory 2GiB -
  ntpac run --snoop 'port in [25, 53, 80]' uplink.pcap downlink.pcap`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(&p, &o, args) },
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&o.workers, "workers", runtime.NumCPU(), "`N` shards and snoopers work at once, on as many cores")
	f.StringVar(&o.snoop, "snoop", "auto", "which conversations are snooped as they close: auto (all), none or a `RULE` (help rules)")
	choose(cmd, &o.payload, "payload", "where payload is kept: a copy in the store, or by reference in the captures", "copy", "reference")
	f.DurationVar(&o.window, "reorder-window", time.Second, "capture time within which packets may be out of order")
	f.DurationVar(&o.idle, "idle", 10*time.Minute, "silence after which packets on the same end points begin another conversation")
	o.maxLost = 4096
	f.Var(&o.maxLost, "max-lost", "bytes that a TCP stream may jump over where nothing else ties both sides of the jump")
	f.DurationVar(&o.duplicate, "duplicate-window", 50*time.Millisecond, "capture time within which an equal packet is the same one seen twice; 0 for none")
	choose(cmd, &o.checksums, "checksums", "auto looks at checksums where bytes conflict; verify lets wrong segments bring nothing; ignore", "auto", "verify", "ignore")
	choose(cmd, &o.key, "key", "keep VLANs apart", "", "vlan")
	f.Var(&o.memory, "max-memory", "what the process may take, such as 2GiB (default 480MiB)")
	f.IntVar(&o.maxFlows, "max-flows", 0, "at most `N` conversations are open or remembered at a time (default: about 400 for each MiB of --max-memory)")
	f.StringVar(&o.keylog, "keylog", "", "`FILE` with decryption keys, as SSLKEYLOGFILE names them")
	f.StringVar(&o.stats, "stats", "", "write the run's counters to `FILE`, as one JSON object")
	return cmd
}

func (a *app) run(p *place, o *runOptions, args []string) error {
	if err := o.check(p, args); err != nil {
		return err
	}
	files, err := capture.Find(args)
	if err != nil {
		return err
	}
	if o.keylog != "" {
		fmt.Fprintln(a.err, "ntpac: --keylog: this version decrypts nothing yet, the keys are not used")
	}
	st, err := store.Open(a.ctx, p.store, store.Options{})
	if err != nil {
		return err
	}
	o.cs, o.stdin = p.cs, a.in
	begun := time.Now()
	var prog node.Progress
	stop := a.follow(&prog, begun)
	sum, err := engine.run(a.ctx, a.drain, st, files, *o, &prog)
	stop()
	if sum != nil {
		a.summarize(p, sum, &prog, time.Since(begun))
		if o.stats != "" {
			err = errors.Join(err, writeStats(o.stats, sum, &prog, time.Since(begun)))
		}
	}
	err = errors.Join(err, st.Close())
	switch {
	case err != nil && a.drain.Err() != nil && a.ctx.Err() == nil:
		return fmt.Errorf("%w before anything was read: %w", errInterrupted, err)
	case err != nil:
		return err
	}
	switch {
	case sum.Interrupt || a.drain.Err() != nil:
		return errKept
	case sum.Damaged():
		return errHurt
	}
	return nil
}

// check refuses what makes no sense before anything is opened.
func (o *runOptions) check(p *place, args []string) error {
	switch {
	case len(args) == 0:
		return ntpac.Usagef("run needs captures: files, folders, or - for standard input")
	case o.workers < 1:
		return ntpac.Usagef("--workers %d: at least one is needed", o.workers)
	case o.window < 0:
		return ntpac.Usagef("--reorder-window %v: time does not run backwards", o.window)
	case o.idle < 2*o.window || o.idle <= 0:
		return ntpac.Usagef("--idle %v: it must be at least twice the reorder window (%v)", o.idle, o.window)
	case o.duplicate < 0 || o.duplicate > time.Second/2:
		return ntpac.Usagef("--duplicate-window %v: it must be between 0s and 500ms", o.duplicate)
	case o.maxLost < 1 || o.maxLost > 1<<30:
		return ntpac.Usagef("--max-lost %v: it must be between 1 and 1GiB", &o.maxLost)
	case o.maxFlows != 0 && o.maxFlows < ntpac.Shards:
		return ntpac.Usagef("--max-flows %d: it must be at least %d", o.maxFlows, ntpac.Shards)
	case o.memory != 0 && o.memory < leastMemory:
		return ntpac.Usagef("--max-memory %v: at least 64MiB are needed", &o.memory)
	}
	if o.duplicate == 0 {
		o.duplicate = -1 // nothing is a duplicate
	}
	if o.keylog != "" {
		if _, err := os.Stat(o.keylog); err != nil {
			return ntpac.Usagef("--keylog %s: %v", o.keylog, errors.Unwrap(err))
		}
	}
	if o.window == 0 {
		o.window = 1 // one nanosecond: nothing is put in order
	}
	if o.snoop == "auto" || o.snoop == "none" {
		return nil
	}
	r, err := p.compile("--snoop", o.snoop, selection.Conversations)
	if err != nil {
		return err
	}
	o.selector = r
	return nil
}

// statistics is what --stats writes.
type statistics struct {
	Seconds       float64           `json:"seconds"`
	BytesRead     int64             `json:"bytes_read"`
	Packets       int64             `json:"packets"`
	Conversations int64             `json:"conversations"`
	Verdicts      map[string]uint64 `json:"packets_by_verdict"`
	*node.Summary
}

func writeStats(path string, sum *node.Summary, p *node.Progress, took time.Duration) error {
	b, err := json.Marshal(statistics{took.Seconds(), p.Bytes(), p.Packets.Load(), p.Conversations.Load(), sum.Balancer.Packets.Map(), sum})
	if err != nil {
		return err
	}
	return writeWhole(path, func(f *os.File) error {
		_, err := f.Write(append(b, '\n'))
		return err
	})
}

// writeWhole writes a file so that it appears whole or not at all. What is no regular file, such as
// /dev/stdout, is written as it stands.
func writeWhole(path string, write func(*os.File) error) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("%s is a folder, not a file", path)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, errors.Unwrap(err))
	}
	defer os.Remove(f.Name())
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
