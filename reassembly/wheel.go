package reassembly

import "ntpac"

// wheel is a timing wheel on packet time for what takes minutes: silence. It only says when to look at a
// flow; what has become due is decided by the flow's own times. Filing is lazy: a flow sits in one slot,
// and a packet only writes times.
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

// soonest takes the flow out that would be looked at next: of all, nearly the one that has been silent
// longest.
func (w *wheel) soonest(t *table) (ix uint32, ok bool) {
	for k := int64(1); k < wheelSlots; k++ {
		s := &w.slots[uint64(w.now+k)%wheelSlots]
		if *s == 0 {
			continue
		}
		ix = *s - 1
		f := t.at(ix)
		*s = f.wheel
		f.status &^= inWheel
		return ix, true
	}
	return 0, false
}

// dueQueue is a queue of flows for which something becomes due within the reorder window or a linger
// from now: as those times are nearly the same for all, the order of arrival is nearly that of the times,
// and one that has to be looked at later goes to the end again. A flow is in it once.
type dueQueue struct {
	ring []due
	head int
	n    int
}

type due struct {
	at ntpac.Time
	ix uint32
}

func (q *dueQueue) push(at ntpac.Time, ix uint32) {
	if q.n == len(q.ring) {
		ring := make([]due, max(2*len(q.ring), 64))
		copy(ring[copy(ring, q.ring[q.head:]):], q.ring[:q.head])
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = due{at, ix}
	q.n++
}

// pop takes the first entry if its time has passed.
func (q *dueQueue) pop(now ntpac.Time) (ix uint32, ok bool) {
	if q.n == 0 || q.ring[q.head].at >= now {
		return 0, false
	}
	ix = q.ring[q.head].ix
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return ix, true
}
