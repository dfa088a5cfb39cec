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

// inSlot marks the number of a slot where otherwise the flow before stands.
const inSlot = 1 << 31

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
	n := uint32(uint64(k) % wheelSlots)
	s, l := &w.slots[n], t.link(ix)
	if *s != 0 {
		t.link(*s - 1).behind = ix + 1
	}
	l.ahead, l.behind, *s = *s, n|inSlot, ix+1
	f.status |= inWheel
}

// remove takes a flow out, wherever it is.
func (w *wheel) remove(t *table, ix uint32) {
	f := t.at(ix)
	if f.status&inWheel == 0 {
		return
	}
	f.status &^= inWheel
	l := t.link(ix)
	if l.behind&inSlot != 0 {
		w.slots[l.behind&^inSlot] = l.ahead
	} else {
		t.link(l.behind - 1).ahead = l.ahead
	}
	if l.ahead != 0 {
		t.link(l.ahead - 1).behind = l.behind
	}
}

// advance calls look for every flow whose slot has passed at the time now.
func (w *wheel) advance(t *table, now ntpac.Time, look func(f *flow, ix uint32)) {
	to := int64(now / wheelTick)
	if !w.begun || to <= w.now {
		return
	}
	for n := 0; w.now < to && n < wheelSlots; n++ {
		w.now++
		for s := &w.slots[uint64(w.now)%wheelSlots]; *s != 0; {
			ix := *s - 1
			w.remove(t, ix)
			look(t.at(ix), ix)
		}
	}
	w.now = max(w.now, to)
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

// retain keeps the entries that are meant when they are seen first, and gives each of them a second look
// when all have been seen.
func (q *dueQueue) retain(meant func(ix uint32, first bool) bool) {
	kept := 0
	mask := len(q.ring) - 1
	for i := range q.n {
		if e := q.ring[(q.head+i)&mask]; meant(e.ix, true) {
			q.ring[(q.head+kept)&mask] = e
			kept++
		}
	}
	q.n = kept
	for i := range q.n {
		meant(q.ring[(q.head+i)&mask].ix, false)
	}
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
