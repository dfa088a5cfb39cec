package reassembly

import "ntpac"

// A side whose SYN was not captured starts at its first captured byte. Which that is, is known when
// the reorder window has passed: until then its segments are held, offsets count from the first one
// that came, and the flow's events wait, as offsets in them may have to be shifted.

// held is what waits while a flow's head is not final.
type held struct {
	events []ntpac.Event
	sides  int // how many sides are holding
}

func (r *Reassembler) hold(f *flow, ix uint32, side ntpac.Side) {
	f.half[side].state |= holding
	if f.status&heldFlow == 0 {
		f.status |= heldFlow
		r.held[ix] = &held{}
	}
	r.held[ix].sides++
}

// settleHeld ends holds that the reorder window has passed.
func (r *Reassembler) settleHeld(f *flow, ix uint32, now ntpac.Time) {
	for s := range ntpac.Side(2) {
		if h := &f.half[s]; h.state&holding != 0 && now > h.started+r.cfg.Window {
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
		if first := r.segs.at(h.segs).off; first != 0 {
			r.rebase(f, ix, side, first)
		}
	}
	h.state &^= holding
	w := r.held[ix]
	if w.sides--; w.sides == 0 {
		r.unhold(f, ix)
	}
	r.drain(f, side)
	if h.acked > h.next && (h.segs != 0 || h.acked > h.next+1) && h.gapDue == 0 {
		h.gapDue = max(f.last, h.started) + r.cfg.Window
	}
}

// rebase makes the held offset by the new offset 0. Bytes below it are given up.
func (r *Reassembler) rebase(f *flow, ix uint32, side ntpac.Side, by int64) {
	h := &f.half[side]
	h.base += uint32(by)
	var last uint32
	for k := h.segs; k != 0; {
		s := r.segs.at(k)
		next := s.next
		s.off, s.end = s.off-by, s.end-by
		if s.end <= 0 { // before the SYN: not of this stream
			h.nsegs--
			r.segs.give(k)
			if last == 0 {
				h.segs = next
			} else {
				r.segs.at(last).next = next
			}
			k = next
			continue
		}
		if s.off < 0 {
			s.data = s.data[min(-s.off, int64(len(s.data))):]
			s.off = 0
		}
		last, k = k, next
	}
	h.high = max(h.high-by, 0)
	if h.acked != 0 {
		h.acked = max(h.acked-by, 0)
	}
	if h.fin >= 0 {
		h.fin = max(h.fin-by, 0)
	}
	if w := r.held[ix]; w != nil {
		for i := range w.events {
			if w.events[i].Side() == side && w.events[i].Len > 0 {
				w.events[i].Start -= by
			}
		}
	}
}

// unhold gives the waiting events to the sink.
func (r *Reassembler) unhold(f *flow, ix uint32) {
	w := r.held[ix]
	delete(r.held, ix)
	f.status &^= heldFlow
	for s := range 2 {
		f.half[s].state &^= holding
	}
	for i := range w.events {
		r.sink.Event(f.handle, &w.events[i])
	}
}
