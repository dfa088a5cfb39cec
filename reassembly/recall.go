package reassembly

// recall remembers the packets that the flows' own memories have no room for any more, until the duplicate
// window has passed: a second tap that is late by a few milliseconds, or a fast connection, puts more packets
// between a packet and its copy than a flow remembers. Entries lie in two tables: when the newer one has become
// as old as the window, it replaces the older one. An emptied table costs nothing, as every entry says in which
// filling it was made.
type recall struct {
	cur, old recallTable
	began    int64 // when the newer one was begun, in ticks
}

type recallTable struct {
	slots   []recallSlot
	used    int
	filling uint32
}

// recallSlot is a packet. It counts only in the filling of its table in which it was made.
type recallSlot struct {
	key     uint64
	what    int64 // of a datagram: where its payload lies in its stream, and the source that captured it
	at      uint32
	filling uint32
}

// age is how many ticks before now the packet came.
func (s recallSlot) age(now int64) int64 { return int64(int32(uint32(now) - s.at)) }

// maxRecall bounds a table, to 24 MiB. So many packets of one worker within the window come only where times
// are forged; more are forgotten, and counted.
const maxRecall = 1 << 20

// turn lets go what is older than the window.
func (m *recall) turn(now, window int64) {
	age := now - m.began
	if age <= window+1 { // or a packet that came late
		return
	}
	m.cur, m.old = m.old, m.cur
	m.cur.empty()
	if age > 2*window+2 {
		m.old.empty()
	}
	m.began = now
}

// put remembers a packet, of several with the same key the last. It reports whether there was room.
func (m *recall) put(key uint64, what, at int64) bool {
	t := &m.cur
	if (t.used+1)*4 > len(t.slots)*3 && !t.grow() {
		return false
	}
	t.set(recallSlot{key, what, uint32(at), t.filling})
	return true
}

// get finds a packet.
func (m *recall) get(key uint64) (s recallSlot, ok bool) {
	if s, ok = m.cur.find(key); !ok {
		s, ok = m.old.find(key)
	}
	return s, ok
}

func (t *recallTable) empty() {
	t.used = 0
	if t.filling++; t.filling == 0 {
		clear(t.slots)
		t.filling = 1
	}
}

func (t *recallTable) place(key uint64) *recallSlot {
	mask := uint64(len(t.slots) - 1)
	for i := key >> 16 & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.filling != t.filling || s.key == key {
			return s
		}
	}
}

func (t *recallTable) set(s recallSlot) {
	p := t.place(s.key)
	if p.filling != t.filling {
		t.used++
	}
	*p = s
}

func (t *recallTable) find(key uint64) (recallSlot, bool) {
	if t.used == 0 {
		return recallSlot{}, false
	}
	s := t.place(key)
	return *s, s.filling == t.filling
}

func (t *recallTable) grow() bool {
	n := max(2*len(t.slots), 1<<8)
	if n > maxRecall {
		return false
	}
	was := *t
	*t = recallTable{slots: make([]recallSlot, n), filling: max(t.filling, 1)}
	for _, s := range was.slots {
		if s.filling == was.filling && was.used > 0 {
			t.set(s)
		}
	}
	return true
}
