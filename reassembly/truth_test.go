package reassembly_test

import (
	"bytes"
	"testing"

	"ntpac"
)

// truth compares what came out of one source with what the world said in the frames that were kept. An
// event's ordinal tells which frame it is.
func truth(t *testing.T, w *world, kept []simFrame, out *outcome) {
	t.Helper()
	seen := make([]bool, len(kept))
	joined := map[*simConv]*conv{}
	for _, v := range out.convs() {
		var whose *simConv
		for i := range v.events {
			e := &v.events[i]
			if seen[e.Ord] {
				t.Fatalf("frame %d is in two places", e.Ord)
			}
			seen[e.Ord] = true
			f := &kept[e.Ord]
			if e.Len == 0 { // a stray, too, belongs to none
				continue
			}
			if whose != nil && whose != f.conv {
				t.Errorf("%v: two connections in one conversation", v.c.ID)
			}
			whose = f.conv
			if u := joined[f.conv]; u != nil && u != v && len(kept) == len(w.frames) {
				t.Errorf("%v and %v are one connection, split by %q", u.c.ID, v.c.ID, v.c.SplitBy)
			}
			joined[f.conv] = v
		}
		if whose != nil {
			for d := range ntpac.Dir(2) {
				truthOf(t, kept, v, whose, d)
			}
		}
	}
	for i := range seen {
		if !seen[i] {
			t.Errorf("frame %d is in no history", i)
		}
	}
}

// truthOf checks one direction of a conversation.
func truthOf(t *testing.T, kept []simFrame, v *conv, c *simConv, d ntpac.Dir) {
	t.Helper()
	side := v.side(c, d)
	h := &v.c.Half[side]
	data, solid := v.data[side], v.solid[side]
	shift, shifted := int64(0), h.HeadKnown
	var captured []bool // by stream position
	end, acked, over := int64(0), int64(-1), int64(-1)
	for i := range v.events {
		e := &v.events[i]
		f := &kept[e.Ord]
		if e.Flags&ntpac.EvDup != 0 || f.conv != c {
			continue
		}
		if f.dir != d {
			acked = max(acked, f.ack)
			continue
		}
		if f.fin || f.rst {
			over = max(over, f.off)
		}
		if e.Len == 0 || f.n == 0 {
			continue
		}
		if !shifted {
			shift, shifted = e.Start-f.off, true
		}
		if e.Start-f.off != shift {
			t.Errorf("%v %v: frame %d lies at %d, those before were shifted by %d", v.c.ID, d, e.Ord, e.Start-f.off, shift)
		}
		for len(captured) < int(e.Start)+int(e.Len) {
			captured = append(captured, false)
		}
		for k := max(e.Start, 0); k < e.Start+int64(e.Len); k++ { // below 0: before the head, late
			captured[k] = true
		}
	}
	end = int64(len(captured))
	switch {
	case h.Packets == 0 || !shifted:
	case over >= 0:
		end = max(end, over+shift)
	case acked >= 0 && acked+shift > end+1:
		end = acked + shift
	}
	if n := int64(len(data)); n != end && !(n == end-1 && over < 0 && n == int64(len(c.said[d]))+shift) { // see tailEnd
		t.Errorf("%v %v: %d bytes long, want %d (captured to %d, ack %d, fin %d, shift %d, %+v)", v.c.ID, d, len(data), end, len(captured), acked, over, shift, h)
		return
	}
	said := c.said[d]
	for k := range data {
		if at := int64(k) - shift; (solid[k] || k < len(captured) && captured[k]) && (at < 0 || at >= int64(len(said))) {
			t.Errorf("%v %v: position %d was never said, shift %d", v.c.ID, d, k, shift)
			return
		}
		if k < len(captured) && captured[k] && !solid[k] && v.late(side, int64(k), said[int64(k)-shift]) {
			continue
		}
		if solid[k] != (k < len(captured) && captured[k]) {
			t.Errorf("%v %v: position %d: solid %v, of %d", v.c.ID, d, k, solid[k], len(data))
			return
		}
		if solid[k] && data[k] != said[int64(k)-shift] {
			t.Errorf("%v %v: position %d differs", v.c.ID, d, k)
			return
		}
	}
	if h.Overlap != 0 {
		t.Errorf("%v %v: %d bytes in conflict", v.c.ID, d, h.Overlap)
	}
	provenance(t, kept, v, side)
}

// provenance checks that the first event that covers a byte is the packet that brought it.
func provenance(t *testing.T, kept []simFrame, v *conv, side ntpac.Side) {
	t.Helper()
	by := make([]int, len(v.data[side]))
	for i := range v.events {
		e := &v.events[i]
		if e.Side() != side || e.Flags&(ntpac.EvDup|ntpac.EvNoData) != 0 {
			continue
		}
		pay := kept[e.Ord].Data[e.Pos : e.Pos+e.Len]
		for k := range pay {
			at := e.Start + int64(k)
			if by[at] != 0 {
				continue
			}
			by[at] = i + 1
			if v.solid[side][at] && !bytes.Equal(pay[k:k+1], v.data[side][at:at+1]) {
				t.Errorf("%v: event %d should have brought position %d", v.c.ID, i, at)
				return
			}
		}
	}
	for at, ok := range v.solid[side] {
		if ok && by[at] == 0 {
			t.Errorf("%v: nothing brought position %d", v.c.ID, at)
			return
		}
	}
}

// late reports whether a byte that came when its range had been given up was kept beside the stream.
func (v *conv) late(side ntpac.Side, at int64, b byte) bool {
	for _, k := range v.alts[side] {
		if at >= k.Off && at < k.Off+int64(len(k.Alt)) && k.Alt[at-k.Off] == b {
			return true
		}
	}
	return false
}

// side says on which side of a conversation a direction of a connection is.
func (v *conv) side(c *simConv, d ntpac.Dir) ntpac.Side {
	if v.c.Key.End[ntpac.A] == c.end[d] {
		return ntpac.A
	}
	return ntpac.B
}
