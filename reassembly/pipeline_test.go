package reassembly_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/balancer"
	"ntpac/internal/pcaptest"
	"ntpac/packet"
	"ntpac/reassembly"
)

// pipeline takes frames the way a node does: from sources through decoding, merged order and fragments
// to reassemblers, each with its share of the shards. Everything that must not matter can be chosen.
type pipeline struct {
	cfg     reassembly.Config
	workers int
	batch   int        // packets in a batch
	merge   bool       // go through a Merger also with one source
	clock   *rand.Rand // advance the clocks at random moments between packets; nil: with batches only
	merger  *reassembly.Merger
	frags   *reassembly.Fragments
}

const seed = 1

func (x *pipeline) run(t testing.TB, sources ...[]pcaptest.Frame) *outcome {
	t.Helper()
	x.workers, x.batch = max(x.workers, 1), max(x.batch, 1)
	out := &outcome{t: t}
	var rs []*reassembly.Reassembler
	for range x.workers {
		rec := newRecord(t)
		out.recs = append(out.recs, rec)
		rs = append(rs, reassembly.New(x.cfg, rec))
	}
	x.frags = reassembly.NewFragments()
	x.each(t, sources, func(b *ntpac.Batch) {
		b = defragment(x.frags, b)
		parts := make([]*ntpac.Batch, x.workers)
		for i := range parts {
			parts[i] = &ntpac.Batch{Blocks: b.Blocks, Datagrams: b.Datagrams, Watermark: b.Watermark}
		}
		for i := range b.Packets {
			p := &b.Packets[i]
			w := ntpac.Shard(p.Hash) % x.workers
			if x.clock != nil && x.clock.IntN(3) == 0 {
				for _, r := range rs {
					r.Advance(p.Effective() - ntpac.Time(x.clock.Int64N(2)*x.clock.Int64N(1e6)))
				}
				rs[w].Push(&ntpac.Batch{Packets: b.Packets[i : i+1], Blocks: b.Blocks, Datagrams: b.Datagrams})
				continue
			}
			if x.clock != nil {
				rs[w].Push(&ntpac.Batch{Packets: b.Packets[i : i+1], Blocks: b.Blocks, Datagrams: b.Datagrams})
				continue
			}
			parts[w].Packets = append(parts[w].Packets, *p)
		}
		for w, r := range rs {
			r.Push(parts[w])
		}
	})
	for w, r := range rs {
		r.Flush()
		out.recs[w].stats = r.Stats()
		out.stats.Add(r.Stats())
	}
	out.balance(x.frags.Rebuilt, x.frags.Used)
	return out
}

// each gives the batches of all sources in merged order.
func (x *pipeline) each(t testing.TB, sources [][]pcaptest.Frame, f func(*ntpac.Batch)) {
	bal := balancer.New(balancer.Config{Seed: seed})
	var all [][]*ntpac.Batch
	for i, frames := range sources {
		all = append(all, batchesOf(t, bal, uint16(i), frames, x.batch))
	}
	if len(sources) == 1 && !x.merge {
		for _, b := range all[0] {
			b.Watermark = b.Packets[len(b.Packets)-1].TS
			f(b)
		}
		return
	}
	window := cmp.Or(x.cfg.Window, ntpac.Second)
	x.merger = reassembly.NewMerger(len(sources), window)
	for {
		w := x.merger.Waits()
		if w >= 0 {
			if bs := all[w]; len(bs) > 0 {
				x.merger.Add(w, bs[0])
				all[w] = bs[1:]
			} else {
				x.merger.Done(w)
			}
		}
		for more := true; more; {
			out := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, min(x.batch, 1000))}
			more = x.merger.Next(out)
			if len(out.Packets) > 0 {
				f(out)
			}
		}
		if w < 0 {
			return
		}
	}
}

func batchesOf(t testing.TB, bal *balancer.Balancer, index uint16, frames []pcaptest.Frame, n int) (out []*ntpac.Batch) {
	t.Helper()
	ord, off := uint64(0), int64(0)
	for part := range slices.Chunk(frames, n) {
		blk := ntpac.NewBlock(nil, nil)
		blk.Index, blk.Source, blk.Base = index, ntpac.SourceID(100+index), off
		b := &ntpac.Batch{Blocks: []*ntpac.Block{blk}}
		for _, f := range part {
			b.Packets = append(b.Packets, ntpac.Packet{TS: f.TS, Ord: ord, Off: off, Pos: uint32(len(blk.Mem)),
				Cap: uint32(len(f.Data)), Wire: uint32(f.Wire), Link: f.Link})
			blk.Mem = append(blk.Mem, f.Data...)
			ord++
			off += int64(len(f.Data))
		}
		bal.Prepare(b)
		if len(b.Packets) != len(part) {
			t.Fatalf("%d of %d frames decoded", len(b.Packets), len(part))
		}
		out = append(out, b)
	}
	return out
}

func defragment(g *reassembly.Fragments, b *ntpac.Batch) *ntpac.Batch {
	out := &ntpac.Batch{Blocks: slices.Clone(b.Blocks), Watermark: b.Watermark}
	for i := range b.Packets {
		p := &b.Packets[i]
		if p.Flags&ntpac.Fragment == 0 {
			out.Packets = append(out.Packets, *p)
			continue
		}
		if !g.Add(b, p, out) {
			continue
		}
		q := &out.Packets[len(out.Packets)-1]
		frame := out.Frame(q)
		if packet.DecodeDatagram(frame, q) != packet.OK {
			out.Packets = out.Packets[:len(out.Packets)-1]
			continue
		}
		var k packet.RawKey
		packet.Raw(frame, q, false, &k)
		q.Hash = packet.Hash(&k, seed)
	}
	return out
}

// outcome is what came out of a pipeline.
type outcome struct {
	t     testing.TB
	recs  []*record
	stats reassembly.Stats
}

// convs gives all conversations by id.
func (o *outcome) convs() (all []*conv) {
	for _, r := range o.recs {
		if len(r.open) > 0 {
			o.t.Errorf("%d conversations were not closed", len(r.open))
		}
		all = append(all, r.done...)
	}
	slices.SortFunc(all, func(a, b *conv) int { return a.c.ID.Compare(b.c.ID) })
	return all
}

// level says how much of an outcome is compared.
type level uint8

const (
	sameInput    level = iota // all
	otherSources              // not the places in the sources, which differ
	otherDups                 // nor duplicates
)

// text writes an outcome down so that two of them can be compared.
func (o *outcome) text(l level) string {
	var b strings.Builder
	for _, v := range o.convs() {
		c := v.c
		fmt.Fprintf(&b, "%v rev=%d %v-%v %s %v..%v client=%d/%v close=%v split=%q flags=%v\n", c.ID, c.Revision, c.Key.End[0], c.Key.End[1],
			c.Key.Proto, c.First, c.Last, c.Client, c.ClientBy, c.Close, c.SplitBy, c.Flags.Names())
		for s := range 2 {
			h := c.Half[s]
			if l >= otherDups {
				h.Duplicates = 0
			}
			fmt.Fprintf(&b, "  %d %+v gaps=%v alts=%v data=%x\n", s, h, v.gaps[s], alternatives(v.alts[s], l), v.data[s])
		}
		for _, e := range v.events {
			if l >= otherDups && e.Flags&ntpac.EvDup != 0 {
				continue
			}
			if l >= otherSources {
				e.Ord, e.Off, e.Source = 0, 0, 0
			}
			if e.Len == 0 {
				e.Start = 0 // a history does not keep it: see ntpac.Event
			}
			fmt.Fprintf(&b, "  %+v\n", e)
		}
	}
	s := o.stats
	if l >= otherDups {
		s.Duplicates, s.Packets, s.Payload.Read, s.Payload.Duplicate = 0, 0, 0, 0
	}
	fmt.Fprintf(&b, "%+v\n", s)
	return b.String()
}

func alternatives(ks []ntpac.Conflict, l level) []ntpac.Conflict {
	ks = slices.Clone(ks)
	for i := range ks {
		if l >= otherSources {
			ks[i].Ord, ks[i].From = 0, 0
		}
	}
	return ks
}

// same compares two outcomes and shows the first lines in which they differ.
func same(t *testing.T, what, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			t.Errorf("%s: line %d\nwant %.600s\ngot  %.600s", what, i, a, b)
			return
		}
	}
}

// balance checks that every packet and every byte of payload that came in is accounted for, once.
func (o *outcome) balance(rebuilt, pieces uint64) {
	o.t.Helper()
	s := &o.stats
	if in, out := s.Packets-rebuilt+pieces, s.Analysed+s.Duplicates+s.Unassigned; in != out {
		o.t.Errorf("%d frames came in, %d are accounted for: %+v", in, out, *s)
	}
	p := &s.Payload
	if out := p.Stream + p.Again + p.Duplicate + p.Outside + p.Rejected; p.Read != out {
		o.t.Errorf("%d bytes came in, %d are accounted for: %+v", p.Read, out, *p)
	}
	var packets uint64
	var bytes, missing, caused int64
	for _, v := range o.convs() {
		for i := range v.c.Half {
			packets += v.c.Half[i].Packets
			bytes += v.c.Half[i].Bytes
			missing += v.c.Half[i].Missing
		}
	}
	for _, g := range s.Gaps {
		caused += int64(g.Bytes)
	}
	if packets != s.Analysed || bytes != int64(p.Stream) || missing != s.GapBytes || caused != missing {
		o.t.Errorf("the conversations have %d packets, %d bytes, %d missing; the counters say %+v", packets, bytes, missing, *s)
	}
}
