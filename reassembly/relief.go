package reassembly

import (
	"cmp"
	"slices"

	"ntpac"
)

// This file has the budgets of all conversations of a reassembler together. They guard the process, not the
// analysis: what they end is flagged, as it depends on what else a reassembler had to do.

// pile is what waits in one direction of a conversation.
type pile struct {
	ix   uint32
	n    uint16
	side ntpac.Side
}

// relieve gives up holes until a quarter of MaxHeld is free again, those first behind which most waits: who
// fills the memory pays for it. It looks at all flows, which is little beside what has gathered since the
// last time.
func (r *Reassembler) relieve() {
	r.piles = r.piles[:0]
	for ix := range r.table.count {
		f := r.table.at(ix)
		for s := range ntpac.Side(2) {
			if n := f.half[s].nsegs; f.status&live != 0 && n > 0 {
				r.piles = append(r.piles, pile{ix, n, s})
			}
		}
	}
	slices.SortFunc(r.piles, func(a, b pile) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.ix, b.ix)) })
	for _, p := range r.piles {
		f := r.table.at(p.ix)
		for f.half[p.side].segs != 0 {
			if r.segs.held <= r.cfg.MaxHeld*3/4 {
				return
			}
			f.flags |= ntpac.LimitMemory
			r.stats.MemoryLimit++
			r.limit(f, p.ix, p.side, ntpac.GapLimit)
		}
	}
}

// A list of holes has a limit for each conversation, so that a conversation's record stays something that
// can be read at once. Where there are very many lists, they are kept short.
const (
	gapCost   = 32 // bytes of memory of a hole
	shortList = 8
)

// tooManyGaps reports whether a conversation must not have more holes.
func (r *Reassembler) tooManyGaps(f *flow) bool {
	if int(f.gaps) < r.cfg.MaxGaps && (f.gaps < shortList || r.gaps*gapCost <= r.cfg.MaxHeld) {
		return false
	}
	return f.status&closing == 0 // else none comes any more
}

// endForGaps ends a conversation that has as many holes as one may have. Nothing is lost: its streams go on
// in a conversation of their own.
func (r *Reassembler) endForGaps(f *flow, ix uint32, p *ntpac.Packet, side ntpac.Side, now ntpac.Time) {
	if f.status&emitted == 0 {
		f.flags |= ntpac.LimitGaps
		if int(f.gaps) < r.cfg.MaxGaps {
			f.flags |= ntpac.LimitMemory
		}
		r.stats.GapLimit++
		r.finish(f, ix, ntpac.CloseLimit)
	}
	r.restart(f, ix, p, side, now, splitLimit)
}
