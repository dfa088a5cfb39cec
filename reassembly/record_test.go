package reassembly_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/reassembly"
)

// record is a sink that keeps everything, and holds the reassembler to its promises.
type record struct {
	t     testing.TB
	open  map[uint32]*conv
	done  []*conv
	ids   map[ntpac.ConversationID]*conv
	next  uint32
	stats reassembly.Stats
}

type conv struct {
	c      *ntpac.Conversation
	id     ntpac.ConversationID
	known  bool
	events []ntpac.Event
	data   [2][]byte // holes filled with 0xff
	solid  [2][]bool
	gaps   [2][]ntpac.Gap
	alts   [2][]ntpac.Conflict
}

func newRecord(t testing.TB) *record {
	return &record{t: t, open: map[uint32]*conv{}, ids: map[ntpac.ConversationID]*conv{}}
}

func (r *record) Open() uint32 {
	r.next++
	r.open[r.next] = &conv{}
	return r.next
}

func (r *record) Identify(h uint32, id ntpac.ConversationID) {
	c := r.open[h]
	if c.known && c.id != id {
		r.t.Errorf("identified twice: %v, then %v", c.id, id)
	}
	c.id, c.known = id, true
}

func (r *record) Event(h uint32, e *ntpac.Event) { r.open[h].events = append(r.open[h].events, *e) }

func (r *record) Data(h uint32, s ntpac.Side, off int64, b []byte) {
	c := r.open[h]
	if off != int64(len(c.data[s])) {
		r.t.Errorf("data at %d, stream is at %d", off, len(c.data[s]))
	}
	c.data[s] = append(c.data[s], b...)
	c.solid[s] = append(c.solid[s], slices.Repeat([]bool{true}, len(b))...)
}

func (r *record) Gap(h uint32, s ntpac.Side, g ntpac.Gap) {
	c := r.open[h]
	if g.Off != int64(len(c.data[s])) || g.Len <= 0 {
		r.t.Errorf("gap %+v, stream is at %d", g, len(c.data[s]))
	}
	if g.Len > 1<<27 {
		r.t.Fatalf("gap of %d", g.Len)
	}
	c.gaps[s] = append(c.gaps[s], g)
	c.data[s] = append(c.data[s], bytes.Repeat([]byte{0xff}, int(g.Len))...)
	c.solid[s] = append(c.solid[s], make([]bool, g.Len)...)
}

func (r *record) Given(h uint32, s ntpac.Side, off int64) ([]byte, int64) {
	c := r.open[h]
	if off >= int64(len(c.data[s])) {
		return nil, 0
	}
	n := off
	for n < int64(len(c.solid[s])) && c.solid[s][n] == c.solid[s][off] {
		n++
	}
	if !c.solid[s][off] {
		return nil, n - off
	}
	return c.data[s][off:n], 0
}

func (r *record) Conflict(h uint32, s ntpac.Side, k ntpac.Conflict) {
	k.Alt = bytes.Clone(k.Alt)
	r.open[h].alts[s] = append(r.open[h].alts[s], k)
}

func (r *record) Known(h uint32, s ntpac.Side, off int64, alt []byte) bool {
	return ntpac.HasConflict(r.open[h].alts[s], off, alt)
}

func (r *record) Close(h uint32, conv *ntpac.Conversation) {
	c := new(ntpac.Conversation)
	*c = *conv
	v := r.open[h]
	delete(r.open, h)
	if v.known && v.id != c.ID {
		r.t.Errorf("closed as %v, identified as %v", c.ID, v.id)
	}
	v.c = c
	if r.ids[c.ID] == nil {
		r.done = append(r.done, v)
	}
	r.ids[c.ID] = v
	r.check(v)
}

// check compares the counters of a conversation with what was emitted.
func (r *record) check(v *conv) {
	for s := range 2 {
		h := &v.c.Half[s]
		var missing int64
		for _, g := range v.gaps[s] {
			missing += g.Len
		}
		if h.Missing != missing || h.End != int64(len(v.data[s])) || h.Bytes != h.End-h.Missing {
			r.t.Errorf("side %d: %+v, emitted %d, missing %d", s, h, len(v.data[s]), missing)
		}
		var packets, dups uint64
		for i := range v.events {
			if e := &v.events[i]; int(e.Side()) == s {
				if e.Flags&ntpac.EvDup != 0 {
					dups++
				} else {
					packets++
				}
				if e.Len > 0 && e.Flags&ntpac.EvNoData == 0 && e.Start+int64(e.Len) > h.End {
					r.t.Errorf("event %+v lies behind the end %d", e, h.End)
				}
			}
		}
		if packets != h.Packets || dups != h.Duplicates {
			r.t.Errorf("side %d: %d packets and %d duplicates in the history, %+v", s, packets, dups, h)
		}
	}
}

func (r *record) Reopen(id ntpac.ConversationID) (uint32, bool) {
	v := r.ids[id]
	if v == nil {
		return 0, false
	}
	r.next++
	r.open[r.next] = v
	v.id, v.known = id, true
	return r.next, true
}

func (r *record) String() string {
	var b strings.Builder
	for _, v := range r.done {
		c := v.c
		fmt.Fprintf(&b, "%s close=%s client=%s split=%q flags=%v %v..%v rev=%d\n", c.Key.Proto, c.Close, c.ClientBy, c.SplitBy, c.Flags.Names(),
			rel(c.First), rel(c.Last), c.Revision)
		for d, mark := range []string{">", "<"} {
			s := c.Side(ntpac.Dir(d))
			h := &c.Half[s]
			fmt.Fprintf(&b, "%s packets=%d dups=%d bytes=%d", mark, h.Packets, h.Duplicates, h.Bytes)
			if h.End > 0 {
				fmt.Fprintf(&b, " %s", show(v.data[s], v.solid[s]))
			}
			for _, g := range v.gaps[s] {
				fmt.Fprintf(&b, " gap=%d+%d/%s", g.Off, g.Len, g.Cause)
			}
			for _, k := range v.alts[s] {
				fmt.Fprintf(&b, " alt=%d+%d", k.Off, len(k.Alt))
			}
			if h.Overlap > 0 {
				fmt.Fprintf(&b, " overlap=%d", h.Overlap)
			}
			b.WriteByte('\n')
		}
	}
	return strings.TrimSpace(b.String())
}

func rel(t ntpac.Time) string { return fmt.Sprintf("%.3f", float64(t-base)/1e9) }

// show prints text as it is and patterned bytes as "ok"; holes are left out.
func show(data []byte, solid []bool) string {
	plain := len(data) < 60
	same := true
	for i, c := range data {
		if solid[i] {
			same = same && c == pattern(int64(i))
			plain = plain && c >= 32 && c < 127
		} else {
			plain = false
		}
	}
	switch {
	case same:
		return "ok"
	case plain:
		return fmt.Sprintf("%q", data)
	}
	return fmt.Sprintf("OTHER(%x)", data[:min(len(data), 16)])
}
