// Stages measures the speed budget: CPU time, heap allocations and peak memory of each cumulative
// stage on one capture, as ratios to F1 (a walk over the record headers) and to other programs, all
// in the same run.
//
//	go run ./bench/stages [-n 3] [-size 1G] [-ntpac BIN] [-peers=false] [-check] [CAPTURE]
//	go run ./bench/stages -memory -ntpac BIN
//
// With -memory it measures only how much memory a whole run takes, over generated captures of -size and
// of four times that.
//
// Without a capture it takes one of genbench's where its source is there, else one of the project's
// own generator; both stay in bench/out. Every row is a process of its own. Times are user and
// system time, garbage collection included: on a shared machine wall time says nothing.
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
	"strings"

	"ntpac/bench/traffic"
)

type options struct {
	capture, ntpac, tmp, genbench, out string
	n, procs, flows                    int
	size                               traffic.Size
	seed                               uint64
	knobs                              string  // of genbench, for a generated capture
	late                               float64 // of the own generator
	peers, check, memory, damage       bool
}

func main() {
	o := options{size: 1 << 30}
	name := flag.String("worker", "", "run only this row, here, and print its cost as JSON")
	flag.StringVar(&o.ntpac, "ntpac", "", "the binary, for the rows of the whole run; without it they are left out")
	flag.StringVar(&o.tmp, "tmp", "", "folder for stores and for what peers write (default: the system's)")
	flag.StringVar(&o.genbench, "genbench", "../shared/bench/genbench", "source of genbench")
	flag.StringVar(&o.out, "out", "bench/out", "folder for generated captures")
	flag.IntVar(&o.n, "n", 3, "best of so many runs; tshark and tcpflow run once")
	flag.IntVar(&o.procs, "procs", 1, "GOMAXPROCS of the rows")
	flag.IntVar(&o.flows, "flows", 1_000_000, "how many conversations are open at once where their memory is measured")
	flag.Var(&o.size, "size", "size of a generated capture")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of a generated capture")
	flag.BoolVar(&o.peers, "peers", true, "measure the other programs too")
	flag.BoolVar(&o.damage, "damaged", true, "measure the stages on a damaged capture too, where the capture is a generated one")
	flag.BoolVar(&o.memory, "memory", false, "measure peak memory of whole runs only")
	flag.BoolVar(&o.check, "check", false, "fail where a gate is missed")
	flag.Parse()
	o.capture = flag.Arg(0)
	err := error(nil)
	switch {
	case *name != "":
		err = worker(&o, *name, os.Stdout)
	case o.memory:
		err = memory(context.Background(), &o, os.Stdout)
	default:
		err = run(context.Background(), &o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stages:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options, out io.Writer) error {
	generated := o.capture == ""
	if generated {
		if err := o.generate(ctx); err != nil {
			return err
		}
	}
	st, err := os.Stat(o.capture)
	if err != nil {
		return err
	}
	f1, err := inChild(ctx, o, f1Name)
	if err != nil {
		return err
	}
	t := &table{size: st.Size(), packets: f1.Packets, f1: f1.CPU}
	fmt.Fprintf(out, "%s: %d bytes, %d packets; CPU time, best of %d\n\n", filepath.Base(o.capture), t.size, t.packets, o.n)
	t.add(row{name: f1Name, cost: f1, mapped: true})
	if err := t.measure(ctx, o); err != nil {
		return err
	}
	if o.peers {
		if err := t.measurePeers(ctx, o); err != nil {
			return err
		}
	}
	t.print(out)
	if generated && o.damage {
		if err := t.damaged(ctx, o, out); err != nil {
			return err
		}
	}
	if err := t.measureExtra(ctx, o); err != nil {
		return err
	}
	t.printChecks(out)
	if missed := t.missed(); o.check && missed > 0 {
		return fmt.Errorf("%d gates missed", missed)
	}
	return nil
}

// measure fills the rows of the stages, and that of SHA-256, whose bytes are its own.
func (t *table) measure(ctx context.Context, o *options) error {
	for _, s := range stages(o) {
		r := row{name: s.Name, gate: s.Gate, stretch: s.Stretch, perPacket: s.PerPacket, absent: s.Run == nil, child: s.Child}
		if !r.absent {
			var err error
			if r.cost, err = inChild(ctx, o, s.Name); err != nil {
				return err
			}
		}
		t.add(r)
	}
	c, err := inChild(ctx, o, sumName)
	t.add(row{name: sumName, cost: c, size: c.Bytes})
	return err
}

func (t *table) measurePeers(ctx context.Context, o *options) error {
	dir, err := os.MkdirTemp(o.tmp, "ntpac-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, p := range peers {
		n := o.n
		if p.name == tshark || p.name == tcpflow {
			n = 1
		}
		c, err := p.run(ctx, o, dir, n)
		if err != nil && !errors.Is(err, exec.ErrNotFound) {
			return err
		}
		t.add(row{name: p.name, cost: c, absent: err != nil, peer: true})
	}
	return nil
}

// generate makes the capture, or finds it made.
func (o *options) generate(ctx context.Context) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	_, err := os.Stat(o.genbench)
	external := err == nil
	kind := "minigen"
	if external {
		kind = "genbench"
	}
	if o.knobs != "" {
		kind += "-damaged"
	}
	o.capture = filepath.Join(o.out, fmt.Sprintf("%s-%d-%d.pcap", kind, o.size, o.seed))
	if _, err := os.Stat(o.capture); err == nil {
		return nil
	}
	part := o.capture + ".part"
	if external {
		err = o.runGenbench(ctx, part)
	} else {
		err = o.runOwn(part)
	}
	if err != nil {
		return err
	}
	return os.Rename(part, o.capture)
}

func (o *options) runGenbench(ctx context.Context, file string) error {
	bin, err := filepath.Abs(filepath.Join(o.out, "genbench"))
	if err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, ".")
	build.Dir, build.Env = o.genbench, append(os.Environ(), "GOWORK=off")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building genbench: %w: %s", err, text)
	}
	args := []string{"-size", o.size.String(), "-seed", fmt.Sprint(o.seed), "-truth", "-", "-o", file}
	return command(o.procs, bin, append(args, strings.Fields(o.knobs)...)...)
}

func (o *options) runOwn(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = traffic.Write(traffic.Capture{Whole: f}, traffic.Options{Size: int64(o.size), Seed: o.seed, Late: o.late})
	return errors.Join(err, f.Close())
}
