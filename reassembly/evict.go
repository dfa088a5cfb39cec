package reassembly

import (
	"cmp"
	"slices"

	"ntpac"
)

// The number of conversations is limited for each virtual shard by itself, and which of them have to go is
// decided by their packets alone, in merged order: so the outcome is the same on one machine and on a hundred,
// whenever their clocks are advanced.

// candidate is a conversation that may have to go.
type candidate struct {
	seen  ntpac.Time
	ix    uint32
	place uint32 // its place by age: the lower, the newer
	worth worth
}

// worth is what would be lost with a conversation.
type worth uint8

const (
	ended worth = iota // it has ended, and is only remembered: nothing is lost
	begun              // it has hardly begun: an attempt, or a packet or two of a forged one
	going
)

// begunPackets is how many packets an attempt has: SYN, SYN-ACK, ACK.
const begunPackets = 3

func worthOf(f *flow) worth {
	a, b := &f.half[0], &f.half[1]
	switch {
	case f.status&(emitted|closing) != 0:
		return ended
	case a.packets+b.packets <= begunPackets && (a.next == 0 || b.next == 0):
		return begun
	}
	return going
}

// makeRoom makes room in a full virtual shard. It ends an eighth of its conversations at once, so that a
// flood costs each of its packets little: first what is only remembered, then attempts, then what has been
// silent longest. Where something has become idle meanwhile, that is room enough.
func (r *Reassembler) makeRoom(g int, now ntpac.Time) {
	r.doomed = r.doomed[:0]
	for at := r.table.groups[g].newest; at != 0; {
		ix := at - 1
		at = r.table.link(ix).older
		if f := r.table.at(ix); !r.faded(f, ix, now) {
			r.doomed = append(r.doomed, candidate{f.seen, ix, uint32(len(r.doomed)), worthOf(f)})
		}
	}
	if len(r.doomed) < r.cfg.MaxFlows {
		return
	}
	slices.SortFunc(r.doomed, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.worth, b.worth), cmp.Compare(a.seen, b.seen), cmp.Compare(b.place, a.place))
	})
	keep := r.cfg.MaxFlows - max(r.cfg.MaxFlows/8, 1)
	for i := range len(r.doomed) - keep {
		r.evict(r.doomed[i].ix)
	}
}

// faded brings a flow to the state that it has at the time now, as its next packet would, and reports
// whether nothing is left of it.
func (r *Reassembler) faded(f *flow, ix uint32, now ntpac.Time) bool {
	if f.status&waiting != 0 {
		r.settle(f, ix, now)
	}
	return r.faint(f, ix, now)
}

// evict ends a flow, and forgets it.
func (r *Reassembler) evict(ix uint32) {
	f := r.table.at(ix)
	switch {
	case f.status&emitted != 0:
		r.stats.Forgotten++
	case f.status&closing != 0:
		r.finish(f, ix, ntpac.Open)
		r.stats.Forgotten++
	default:
		f.flags |= ntpac.LimitMemory
		r.finish(f, ix, ntpac.CloseLimit)
		r.stats.Evicted++
	}
	r.forget(f, ix)
}
