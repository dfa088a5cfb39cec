package reassembly

import "ntpac"

// wheel is a timing wheel on packet time. It only says when to look at a flow: what has become due is
// decided by the flow's own times, the same whether the wheel or the flow's next packet comes first.
// So output never depends on how often the clock is advanced, and filing may be lazy: a flow sits in
// one slot, and a packet only writes times.
type wheel struct {
	slots [wheelSlots]uint32 // index+1 of the first flow
	now   int64              // the slot that was last emptied
	begun bool
}

const (
	wheelSlots = 1024
	wheelTick  = ntpac.Second
)

// file puts a flow where it is looked at when t has come, or at the wheel's horizon if that is sooner.
func (w *wheel) file(t *table, ix uint32, at ntpac.Time) {
	f := t.at(ix)
	if f.status&inWheel != 0 {
		return
	}
	if !w.begun {
		w.begun, w.now = true, int64(f.last/wheelTick)
	}
	k := min(max(int64(at/wheelTick)+1, w.now+1), w.now+wheelSlots-1)
	s := &w.slots[uint64(k)%wheelSlots]
	f.wheel, *s = *s, ix+1
	f.status |= inWheel
}

// advance calls look for every flow whose slot has passed at the time now.
func (w *wheel) advance(t *table, now ntpac.Time, look func(f *flow, ix uint32)) {
	to := int64(now / wheelTick)
	if !w.begun || to <= w.now {
		return
	}
	for n := 0; w.now < to && n < wheelSlots; n++ {
		w.now++
		s := &w.slots[uint64(w.now)%wheelSlots]
		ix := *s
		*s = 0
		for ix != 0 {
			f := t.at(ix - 1)
			next := f.wheel
			f.status &^= inWheel
			look(f, ix-1)
			ix = next
		}
	}
	w.now = max(w.now, to)
}
