package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"ntpac"
	"ntpac/balancer"
	"ntpac/capture"
	"ntpac/packet"
	"ntpac/reassembly"
)

// Stage is one row of the speed budget: everything up to a stage, on one core.
type Stage struct {
	Name          string
	Gate, Stretch float64 // ratios to F1; 0 where the budget has none
	// Run works through a capture once, and says how many bytes of payload came out at its end (0
	// where that means nothing). It runs in a process of its own, several times.
	Run func(p *pass) (bytes int64, err error)
	// Child says that Run has a child process do the work: its heap allocations cannot be seen.
	Child bool
	// PerPacket is the gate of heap allocations per packet, in steady state; -1 where there is none.
	PerPacket float64
}

// pass is one run of a stage over a capture.
type pass struct {
	file string
	// Allocations are counted in steady state, while the second half of the capture is read: pools have
	// filled, tables have grown. warm is called when it begins, over at its end.
	warm, over func()
	packets    int64 // of the second half
}

// stages are the rows, in order. A new one is a line here. The gates are those of design.md, part 7.
func stages(o *options) []Stage {
	return []Stage{
		{"read into descriptors", 0.8, 1.2, read, false, 0},
		{"+ parse L2-L4", 0.6, 1.1, parse, false, 0},
		{"+ balance into local batches", 0.4, 0.55, balance, false, 0},
		{"balance + TCP link, both ends counted", 0.15, 0.25, linked, false, 0},
		{reassembleName, 0.28, 0.36, reassemble, false, 0},
		{"+ payload into the embedded store, without SHA-256", 0.06, 0.12, o.stored, false, -1},
		{wholeName, 0.025, 0.05, o.wholeRun(1, "--payload", "copy"), true, -1},
		{referenceName, 0.03, 0.05, o.wholeRun(1, "--payload", "reference"), true, -1},
	}
}

// The rows that others are held to; of the product: as most will use it, and with the payload left in the capture.
const (
	reassembleName = "reassemble with extents"
	wholeName      = "whole run, payload copied"
	referenceName  = "whole run, payload by reference"
)

// each reads a capture and gives its batches to f; all are one recycled batch.
func each(p *pass, f func(*ntpac.Batch) error) (err error) {
	ctx := context.Background()
	st, err := os.Stat(p.file)
	if err != nil {
		return err
	}
	src, err := capture.Open(ctx, p.file, capture.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, balancer.MaxPackets)}
	half := st.Size() / 2
	for {
		err := src.Next(ctx, b)
		if errors.Is(err, io.EOF) || errors.Is(err, ntpac.ErrDamaged) {
			p.over()
			return nil
		}
		if err != nil {
			return err
		}
		n := len(b.Packets)
		if p.packets == 0 && n > 0 && b.Packets[0].Off >= half {
			p.warm()
		}
		if n > 0 && b.Packets[0].Off >= half {
			p.packets += int64(n)
		}
		if err := f(b); err != nil {
			return err
		}
		b.Free()
	}
}

func read(p *pass) (int64, error) { return 0, each(p, func(*ntpac.Batch) error { return nil }) }

func parse(p *pass) (bytes int64, err error) {
	err = each(p, func(b *ntpac.Batch) error {
		for i := range b.Packets {
			p := &b.Packets[i]
			if packet.Decode(b.Frame(p), p) == packet.OK {
				bytes += int64(p.PayCap)
			}
		}
		return nil
	})
	return bytes, err
}

// owners is among how many receivers packets are balanced.
const owners = 2

// ownership gives the shards to the owners in turn.
func ownership() (table [ntpac.Shards]uint16) {
	for i := range table {
		table[i] = uint16(i % owners)
	}
	return table
}

func balance(p *pass) (int64, error) {
	bal, table := balancer.New(balancer.Config{Seed: 1}), ownership()
	out := make([]*ntpac.Batch, owners)
	for i := range out {
		out[i] = &ntpac.Batch{Packets: make([]ntpac.Packet, 0, balancer.MaxPackets)}
	}
	full := func(_ int, b *ntpac.Batch) *ntpac.Batch {
		b.Free()
		return b
	}
	err := each(p, func(b *ntpac.Batch) error {
		bal.Prepare(b)
		bal.Split(b, out, &table, full)
		for _, o := range out {
			o.Free()
		}
		return nil
	})
	return 0, err
}

func reassemble(p *pass) (int64, error) {
	bal, sink := balancer.New(balancer.Config{Seed: 1}), &extents{}
	r := reassembly.New(reassembly.Config{Case: "bench"}, sink)
	in := newIntake(r)
	err := each(p, func(b *ntpac.Batch) error {
		bal.Prepare(b)
		in.push(b)
		return nil
	})
	r.Flush()
	return sink.bytes, err
}

// intake gives batches to a reassembler as the product's dispatcher does: with datagrams in place of their
// fragments, and with the watermark, without which nothing ever becomes final before the end. Captures whose
// time runs back belong to another benchmark.
type intake struct {
	r     *reassembly.Reassembler
	frags *reassembly.Fragments
	whole *ntpac.Batch
	clock reassembly.Clock
}

func newIntake(r *reassembly.Reassembler) *intake {
	return &intake{r: r, frags: reassembly.NewFragments(), whole: &ntpac.Batch{Packets: make([]ntpac.Packet, 0, balancer.MaxPackets)}}
}

func (i *intake) push(b *ntpac.Batch) {
	for k := range b.Packets {
		i.clock.See(b.Packets[k].TS)
	}
	b.Watermark = i.clock.High
	d := i.frags.Rebuild(b, func() *ntpac.Batch { return i.whole }, false, 1)
	i.r.Push(d)
	if d == i.whole {
		d.Free()
	}
}

// extents is a sink that keeps where the bytes of streams lie, and not the bytes: 32 bytes a packet
// in one recycled log, as much as a store by reference would write.
type extents struct {
	bytes int64
	open  uint32
	log   []extent
}

type extent struct {
	h, n       uint32
	start, off int64
	flags      ntpac.EventFlags
}

// logged is how many extents are kept before the log starts anew.
const logged = 1 << 16

func (s *extents) Open() uint32                                 { s.open++; return s.open }
func (s *extents) Identify(uint32, ntpac.ConversationID)        {}
func (s *extents) Gap(uint32, ntpac.Side, ntpac.Gap)            {}
func (s *extents) Conflict(uint32, ntpac.Side, ntpac.Conflict)  {}
func (s *extents) Known(uint32, ntpac.Side, int64, []byte) bool { return false }
func (s *extents) Close(uint32, *ntpac.Conversation)            {}
func (s *extents) Event(h uint32, e *ntpac.Event) {
	if len(s.log) == logged {
		s.log = s.log[:0]
	}
	s.log = append(s.log, extent{h, e.Len, e.Start, e.Off, e.Flags})
}
func (s *extents) Data(_ uint32, _ ntpac.Side, _ int64, b []byte) { s.bytes += int64(len(b)) }

func (s *extents) Given(uint32, ntpac.Side, int64) ([]byte, int64) { return nil, 0 }
func (s *extents) Reopen(ntpac.ConversationID) (uint32, bool)      { return 0, false }

// wholeRun is the product itself, with a fresh store; nil, and so left out, without its binary. What it
// uses counts as its caller's.
func (o *options) wholeRun(workers int, flags ...string) func(*pass) (int64, error) {
	if o.ntpac == "" {
		return nil
	}
	return func(p *pass) (int64, error) {
		dir, err := os.MkdirTemp(o.tmp, "ntpac-bench-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		return 0, o.product(workers, dir, p.file, flags...)
	}
}

// product runs the binary over a capture, with a fresh store in dir.
func (o *options) product(workers int, dir, file string, flags ...string) error {
	args := append([]string{"run", "--store", filepath.Join(dir, "store"), "--workers", strconv.Itoa(workers)}, flags...)
	return command(workers, o.ntpac, append(args, file)...)
}
