package reassembly

import (
	"encoding/binary"
	"slices"

	"ntpac"
)

// A segment too far away is kept aside, as nobody can say yet what it is: forged or damaged, or the first
// of another connection whose SYN was not captured. When its side goes on from it, or the other side
// answers it, it begins a conversation. When its side goes on where it was before, or in the end, it is a
// stray of the conversation that is there: in its history, in no stream.

// keptStray is such a segment.
type keptStray struct {
	p     ntpac.Packet
	frame []byte
	from  uint16 // the source's place in the merge group
	next  uint32 // in the list of free ones
}

// strayCost is the memory of a stray beside its frame. All together may take an eighth of MaxHeld; beyond that
// one is a stray at once.
const strayCost = 192

// strayPool keeps strays. Index 0 is none.
type strayPool struct {
	slab []keptStray
	free uint32
	held int // bytes
}

func (p *strayPool) take() uint32 {
	if k := p.free; k != 0 {
		p.free = p.slab[k].next
		return k
	}
	if len(p.slab) == 0 {
		p.slab = append(p.slab, keptStray{})
	}
	p.slab = append(p.slab, keptStray{})
	return uint32(len(p.slab) - 1)
}

func (p *strayPool) give(k uint32) {
	p.held -= len(p.slab[k].frame) + strayCost
	p.slab[k] = keptStray{next: p.free}
	p.free = k
}

func (s *keptStray) header() []byte { return s.frame[s.p.L4:] }
func (s *keptStray) seq() uint32    { return binary.BigEndian.Uint32(s.header()[4:]) }
func (s *keptStray) ack() uint32    { return binary.BigEndian.Uint32(s.header()[8:]) }

// keptOf gives the stray of a side with sawStray.
func (r *Reassembler) keptOf(f *flow, side ntpac.Side) *keptStray {
	return &r.strays.slab[r.extras.at(f.extra).stray[side]]
}

// goesOn reports whether a segment goes on where the stray of its side ended.
func (r *Reassembler) goesOn(f *flow, side ntpac.Side, t *segmentView) bool {
	if f.half[side].state&sawStray == 0 || t.rst {
		return false
	}
	s := r.keptOf(f, side)
	if t.now-s.p.Effective() > r.cfg.Idle {
		return false
	}
	on := int64(int32(t.seq - s.seq() - s.p.PayLen))
	return on == 0 || t.n > 0 && on > 0 && on <= r.cfg.MaxLost
}

// answersStray reports whether a segment acknowledges the stray of the other side, and goes on from what
// that has acknowledged.
func (r *Reassembler) answersStray(f *flow, side ntpac.Side, t *segmentView) bool {
	if f.half[side.Other()].state&sawStray == 0 || t.rst || !t.hasAck {
		return false
	}
	s := r.keptOf(f, side.Other())
	if t.now-s.p.Effective() > r.cfg.Idle {
		return false
	}
	took, on := int32(t.ack-s.seq()), int64(int32(t.seq-s.ack()))
	return took > 0 && took <= int32(s.p.PayLen) && on >= 0 && on <= r.cfg.MaxLost
}

// setAside keeps a stray; the one before it of the same side is one for good.
func (r *Reassembler) setAside(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side) {
	if f.status&emitted != 0 {
		r.finish(f, ix, ntpac.CloseIdle)
	}
	r.dropStray(f, ix, side)
	frame := b.Frame(p)
	if p.Flags&ntpac.Defragmented != 0 || !r.trusted(b, p) || int64(r.strays.held+len(frame)+strayCost) > r.cfg.MaxHeld/8 {
		r.notKept(f, ix, b, p, side)
		return
	}
	k := r.strays.take()
	s := &r.strays.slab[k]
	s.p, s.from, s.frame = *p, b.Blocks[p.Blk].Index, slices.Clone(frame)
	s.p.Pos, s.p.Blk = 0, 0
	r.strays.held += len(frame) + strayCost
	f.seen = max(f.seen, p.TS)
	r.extras.of(f).stray[side] = k
	f.half[side].state |= sawStray
}

// notKept makes a segment a stray for good at once.
func (r *Reassembler) notKept(f *flow, ix uint32, b *ntpac.Batch, p *ntpac.Packet, side ntpac.Side) {
	r.stats.OutOfWindow++
	r.stats.outside(int(p.PayCap))
	if f.status&emitted != 0 && !r.revive(f, ix) {
		r.stats.Unassigned++
		return
	}
	h := &f.half[side]
	h.packets++
	r.stats.Analysed++
	f.last = max(f.last, p.TS)
	f.seen = max(f.seen, f.last)
	e := r.observe(b, p, side)
	e.Start, e.Flags = h.next, e.Flags|ntpac.EvNoData
	r.record(f, ix, b, p, e)
}

// dropStray makes the kept stray of a side, if there is one, one for good.
func (r *Reassembler) dropStray(f *flow, ix uint32, side ntpac.Side) {
	if f.half[side].state&sawStray == 0 {
		return
	}
	s := *r.keptOf(f, side)
	r.freeStray(f, side)
	r.strayed(f, ix, side, &s)
}

func (r *Reassembler) freeStray(f *flow, side ntpac.Side) {
	x := r.extras.of(f)
	r.strays.give(x.stray[side])
	x.stray[side] = 0
	f.half[side].state &^= sawStray
}

// strayed notes a packet that belongs to no stream in the conversation that was there.
func (r *Reassembler) strayed(f *flow, ix uint32, side ntpac.Side, s *keptStray) {
	r.stats.OutOfWindow++
	r.stats.outside(int(s.p.PayCap))
	h := &f.half[side]
	h.packets++
	r.stats.Analysed++
	f.last = max(f.last, s.p.TS)
	e := ntpac.Event{TS: s.p.TS, Ord: s.p.Ord, Off: s.p.Off, Start: h.next, Pos: uint32(s.p.Pay), Cap: s.p.Cap, Wire: s.p.Wire, Source: s.from,
		Flags: ntpac.EventFlags(side) | ntpac.EvNoData}
	r.put(f, ix, &e)
}

// related reports whether the kept stray of a side is of the connection of a segment: what the one has
// said or acknowledged is near to what the other has.
func (r *Reassembler) related(f *flow, of, side ntpac.Side, t *segmentView) bool {
	if f.half[of].state&sawStray == 0 {
		return false
	}
	s := r.keptOf(f, of)
	if of == side {
		return abs(int64(int32(t.seq-s.seq()))) <= apart
	}
	return t.hasAck && abs(int64(int32(t.ack-s.seq()))) <= apart
}

// beginWithStrays begins the conversation of a segment, whose first ones may have been set aside.
func (r *Reassembler) beginWithStrays(f *flow, ix uint32, t *segmentView, p *ntpac.Packet, side ntpac.Side) {
	var strays []keptStray
	var sides []ntpac.Side
	for s := range ntpac.Side(2) {
		if r.related(f, s, side, t) {
			strays, sides = append(strays, *r.keptOf(f, s)), append(sides, s)
			r.freeStray(f, s)
		}
	}
	if len(strays) == 0 {
		r.restart(f, ix, p, side, t.now, splitJump)
		return
	}
	if len(strays) == 2 && strays[1].p.TS < strays[0].p.TS {
		slices.Reverse(strays)
		slices.Reverse(sides)
	}
	for i := range strays {
		s := &strays[i]
		then := s.p.Effective()
		if i == 0 {
			r.restart(f, ix, &s.p, sides[0], then, splitJump)
		}
		blk := ntpac.NewBlock(s.frame, nil)
		blk.Index = s.from
		r.tcp(f, ix, &ntpac.Batch{Blocks: []*ntpac.Block{blk}}, &s.p, sides[i], then)
	}
	if f.status&waiting != 0 {
		r.settle(f, ix, t.now)
	}
}

// loseStrays forgets what is kept aside and could not be given to the sink.
func (r *Reassembler) loseStrays(f *flow) {
	for s := range ntpac.Side(2) {
		if f.half[s].state&sawStray != 0 {
			r.stats.OutOfWindow++
			r.stats.Unassigned++
			r.stats.outside(int(r.keptOf(f, s).p.PayCap))
			r.freeStray(f, s)
		}
	}
}

// hasStrays reports whether something is kept aside in a flow.
func (f *flow) hasStrays() bool { return (f.half[0].state|f.half[1].state)&sawStray != 0 }
