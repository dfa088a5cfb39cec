package reassembly

import (
	"unsafe"

	"ntpac"
)

// A side whose SYN was not captured starts at its first captured byte. Which that is, is known when
// the reorder window has passed: until then its segments are held, offsets count from the first one
// that came, and the flow's events wait, as offsets in them may have to be shifted.

// held is what waits while a flow's head is not final.
type held struct {
	events  []ntpac.Event
	alts    [2][]ntpac.Conflict // other versions of what a holding side holds
	bytes   int                 // of them
	started [2]ntpac.Time       // when the first bytes of a holding side came
	sides   int                 // how many sides are holding
	next    uint32              // in the list of free ones
}

// heldPool keeps helds. Index 0 is none.
type heldPool struct {
	slab []held
	free uint32
}

// maxHeldEvents bounds the events that wait: more than that within one window is no trickle whose
// beginning could still be shifted.
const maxHeldEvents = 1 << 14

// maxHeldAlts bounds the bytes of alternatives that wait.
const maxHeldAlts = 1 << 20

// eventCost is the memory of an event that waits. It counts as that of segments does.
const eventCost = int64(unsafe.Sizeof(ntpac.Event{}))

func (p *heldPool) take() uint32 {
	if k := p.free; k != 0 {
		p.free = p.slab[k].next
		return k
	}
	if len(p.slab) == 0 {
		p.slab = append(p.slab, held{})
	}
	p.slab = append(p.slab, held{})
	return uint32(len(p.slab) - 1)
}

func (p *heldPool) give(k uint32) {
	w := &p.slab[k]
	if cap(w.events) > 16 { // as many may be free as there were flows
		w.events = nil
	}
	w.events, w.alts, w.bytes, w.sides = w.events[:0], [2][]ntpac.Conflict{}, 0, 0
	w.next, p.free = p.free, k
}

// heldOf gives what a flow with heldFlow holds back.
func (r *Reassembler) heldOf(f *flow) *held { return &r.held.slab[r.extras.at(f.extra).held] }

func (r *Reassembler) hold(f *flow, ix uint32, side ntpac.Side, now ntpac.Time) {
	f.half[side].state |= holding
	if f.status&heldFlow == 0 {
		f.status |= heldFlow
		r.extras.of(f).held = r.held.take()
	}
	w := r.heldOf(f)
	w.sides++
	w.started[side] = now
	r.wait(f, ix, now+r.cfg.Window)
}

// heldDue is when the first hold ends.
func (r *Reassembler) heldDue(f *flow) (at ntpac.Time) {
	w := r.heldOf(f)
	for s := range 2 {
		if t := w.started[s] + r.cfg.Window; f.half[s].state&holding != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	return at
}

// settleHeld ends holds that the reorder window has passed.
func (r *Reassembler) settleHeld(f *flow, ix uint32, now ntpac.Time) {
	for s := range ntpac.Side(2) {
		if f.half[s].state&holding != 0 && now > r.heldOf(f).started[s]+r.cfg.Window {
			r.release(f, ix, s)
		}
	}
}

// release fixes the head of a side and lets its bytes go.
func (r *Reassembler) release(f *flow, ix uint32, side ntpac.Side) {
	h := &f.half[side]
	if h.state&holding == 0 {
		return
	}
	if h.state&haveISN == 0 && h.segs != 0 {
		if first := r.segs.first(h).off; first != 0 {
			r.rebase(f, side, first)
		}
	}
	h.state &^= holding
	w := r.heldOf(f)
	for _, c := range w.alts[side] {
		r.sink.Conflict(f.handle, side, c)
	}
	w.alts[side] = nil
	if w.sides--; w.sides == 0 {
		f.status &^= heldFlow
		for i := range w.events {
			r.sink.Event(f.handle, &w.events[i])
		}
		r.segs.held -= eventCost * int64(len(w.events))
		r.held.give(r.extras.at(f.extra).held)
	}
	r.drain(f, side)
	r.arm(f, ix, side)
}

// rebase makes the held offset by the new offset 0. Bytes below it are given up: they came before the
// SYN and are not of this stream.
func (r *Reassembler) rebase(f *flow, side ntpac.Side, by int64) {
	h := &f.half[side]
	h.base += uint32(by)
	for k, n := h.segs, h.nsegs; n > 0; n-- {
		s := r.segs.at(k)
		s.off, s.end = s.off-by, s.end-by
		k = s.next
	}
	for h.segs != 0 && r.segs.first(h).off < 0 {
		if s := r.segs.first(h); s.end > 0 {
			n := min(int(-s.off), len(s.data))
			r.stats.outside(n)
			s.data, s.off = s.data[:copy(s.data, s.data[n:])], 0
			break
		}
		r.stats.outside(len(r.segs.first(h).data))
		r.segs.give(r.segs.shift(h))
		r.stats.OutOfWindow++
	}
	h.high = max(h.high-by, 0)
	if h.acked != 0 {
		h.acked = max(h.acked-by, 0)
	}
	if h.fin >= 0 {
		h.fin = max(h.fin-by, 0)
	}
	w := r.heldOf(f)
	r.rebaseAlts(f, side, by)
	for i := range w.events {
		e := &w.events[i]
		if e.Side() != side || e.Len == 0 {
			continue
		}
		if e.Start -= by; e.Start+int64(e.Len) <= 0 {
			e.Flags |= ntpac.EvNoData
		}
	}
}

// rebaseAlts makes the held offset by the new offset 0 of the alternatives. What lies below it is no
// alternative to anything.
func (r *Reassembler) rebaseAlts(f *flow, side ntpac.Side, by int64) {
	w := r.heldOf(f)
	kept := w.alts[side][:0]
	for _, c := range w.alts[side] {
		if c.Off -= by; c.Off < 0 {
			n := min(-c.Off, int64(len(c.Alt)))
			r.extras.of(f).overlap[side] -= n
			r.stats.Conflicts -= uint64(n)
			c.Off, c.Alt = c.Off+n, c.Alt[n:]
		}
		if len(c.Alt) > 0 {
			kept = append(kept, c)
		}
	}
	w.alts[side] = kept
}
