package node

import (
	"context"
	"errors"
	"fmt"

	"ntpac"
	"ntpac/actor"
	"ntpac/balancer"
	"ntpac/reassembly"
)

// dispatcher is the balancer's actor: it decodes the batches of all sources, puts them in merged
// order, rebuilds datagrams from fragments, and sends every packet to the shard actor that owns its
// flow.
type dispatcher struct {
	sys     *actor.System
	sources []*source
	opened  []bool
	bal     *balancer.Balancer
	seed    uint64
	keyVLAN bool
	merger  *reassembly.Merger
	frags   *reassembly.Fragments
	window  ntpac.Time
	pool    *batchPool
	owner   [ntpac.Shards]uint16
	out     []*ntpac.Batch
	shards  []*actor.Mailbox[*ntpac.Batch]
	prog    *Progress
	failed  []error
	drain   context.Context // ends when nothing new should be opened
	clock   reassembly.Clock
	held    int64 // bytes of batches that may wait for their turn in merged order

}

// lookahead is how many batches a single source is read ahead of its processing. Should its time run
// back within them, nothing behind that point has gone out yet, and the merger puts it in order.
const lookahead = 8

func (d *dispatcher) run(ctx context.Context) error {
	defer func() {
		for _, m := range d.shards {
			m.Close()
		}
	}()
	for i := range d.owner {
		d.owner[i] = uint16(i % len(d.shards))
	}
	for range d.shards {
		d.out = append(d.out, d.pool.get())
	}
	var err error
	if len(d.sources) == 1 {
		err = d.single(ctx)
	} else {
		d.merger = d.newMerger()
		err = d.merge(ctx)
	}
	if err != nil {
		return err
	}
	d.frags.Flush()
	return d.flush(ctx, true)
}

// never is later than any packet: a source without packets needs nobody to wait for it.
const never ntpac.Time = 1 << 62

func (d *dispatcher) newMerger() *reassembly.Merger {
	m := reassembly.NewMerger(len(d.sources), d.window)
	m.MaxHeld = d.held
	for i, s := range d.sources {
		switch {
		case d.opened[i]:
		case s.empty: // read last, for its hash and for what is damaged in it
			m.Announce(i, never)
		case s.pipe == nil:
			m.Announce(i, s.first)
		}
	}
	return m
}

// single is the common case: one source whose time never runs back goes straight through.
func (d *dispatcher) single(ctx context.Context) error {
	d.open(ctx, 0)
	var queue []*ntpac.Batch
	var sent ntpac.Time // what the shards' clocks have been told
	for {
		b, ok := d.next(ctx, 0)
		if !ok {
			break
		}
		back := false
		for i := range b.Packets {
			back = d.clock.See(b.Packets[i].TS) || back
		}
		b.Watermark = d.clock.High
		if back {
			d.merger = d.newMerger()
			d.merger.From(sent)
			for _, q := range append(queue, b) {
				d.merger.Add(0, q)
			}
			return d.merge(ctx)
		}
		if queue = append(queue, b); len(queue) > lookahead {
			sent = queue[0].Watermark
			if err := d.dispatch(ctx, queue[0]); err != nil {
				return err
			}
			queue = append(queue[:0], queue[1:]...)
		}
	}
	for _, b := range queue {
		if err := d.dispatch(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// merge puts the batches of several sources, or of one whose time runs back, in merged order.
func (d *dispatcher) merge(ctx context.Context) error {
	for {
		w := d.merger.Waits()
		if w >= 0 {
			d.open(ctx, w)
			if b, ok := d.next(ctx, w); ok {
				d.merger.Add(w, b)
			} else {
				d.merger.Done(w)
			}
		}
		for more := true; more; {
			out := d.pool.get()
			more = d.merger.Next(out)
			if err := d.dispatch(ctx, out); err != nil {
				return err
			}
		}
		if w < 0 {
			return nil
		}
	}
}

// open starts a source when its turn comes. One that has become unreadable since it was looked at gives
// nothing, and the others go on.
func (d *dispatcher) open(ctx context.Context, i int) {
	if d.opened[i] {
		return
	}
	d.opened[i] = true
	s := d.sources[i]
	if s.file == nil {
		if d.drain.Err() != nil {
			s.mail.Close()
			return
		}
		if err := s.open(ctx); err != nil {
			s.err = err
			s.mail.Close()
			return
		}
	}
	s.spawn(d.sys)
}

// next receives a batch of a source and decodes it. ok is false at the source's end.
func (d *dispatcher) next(ctx context.Context, i int) (*ntpac.Batch, bool) {
	s := d.sources[i]
	for {
		b, ok := s.mail.Receive(ctx)
		if !ok {
			if ctx.Err() == nil && s.err != nil && !s.whole() && !errors.Is(s.err, errDrained) {
				d.failed = append(d.failed, fmt.Errorf("%s: %w", s.name, s.err))
			}
			return nil, false
		}
		d.prog.Packets.Add(int64(len(b.Packets)))
		d.bal.Prepare(b)
		if len(b.Packets) > 0 {
			return b, true
		}
		b.Free()
	}
}

// dispatch sends a batch in merged order to the shards; it owns the batch.
func (d *dispatcher) dispatch(ctx context.Context, b *ntpac.Batch) error {
	b = d.frags.Rebuild(b, d.pool.get, d.keyVLAN, d.seed)
	if len(d.shards) == 1 {
		if len(b.Packets) == 0 {
			b.Free()
			return nil
		}
		return d.shards[0].Send(ctx, b)
	}
	var err error
	d.bal.Split(b, d.out, &d.owner, func(o int, full *ntpac.Batch) *ntpac.Batch {
		if e := d.shards[o].Send(ctx, full); e != nil {
			err = e
		}
		return d.pool.get()
	})
	b.Free()
	if err != nil {
		return err
	}
	return d.flush(ctx, false)
}

// outBlocks is how many blocks the batches that gather for all shards together may hold.
const outBlocks = 64

// flush sends what has gathered for the shards: batches worth a message, or all.
func (d *dispatcher) flush(ctx context.Context, all bool) error {
	for o, b := range d.out {
		if !all && len(b.Packets) < batchPackets/2 && len(b.Blocks) < max(outBlocks/len(d.out), 4) {
			continue
		}
		if err := d.shards[o].Send(ctx, b); err != nil {
			return err
		}
		d.out[o] = d.pool.get()
	}
	return nil
}
