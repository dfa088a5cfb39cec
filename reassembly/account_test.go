package reassembly_test

import (
	"slices"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/packet"
	"ntpac/reassembly"
)

// accounted holds what came out of one source, without fragments, against its frames, whatever those are:
// nothing is invented, nothing captured is dropped without a trace, and the sums balance.
func accounted(t *testing.T, frames []pcaptest.Frame, sums reassembly.Checksums, out *outcome) {
	t.Helper()
	seen := make([]bool, len(frames))
	var events, dups, overlap, late uint64
	var missing int64
	for _, v := range out.convs() {
		first, last := ntpac.Time(1<<62), ntpac.Time(0)
		for i := range v.events {
			e := &v.events[i]
			if seen[e.Ord] {
				t.Fatalf("frame %d is in two places", e.Ord)
			}
			seen[e.Ord] = true
			events++
			if f := &frames[e.Ord]; e.TS != f.TS || int(e.Cap) != len(f.Data) || int(e.Wire) != f.Wire || int(e.Pos+e.Len) > len(f.Data) {
				t.Fatalf("event %+v, its frame is of %v, %d of %d bytes", e, f.TS, len(f.Data), f.Wire)
			}
			if e.Flags&ntpac.EvDup != 0 {
				dups++
				continue
			}
			first, last = min(first, e.TS), max(last, e.TS)
		}
		if v.c.First < first || v.c.First > last || v.c.Last != last { // one that came too late moves no beginning
			t.Errorf("%v: from %v to %v, its packets from %v to %v", v.c.ID, v.c.First, v.c.Last, first, last)
		}
		for s := range ntpac.Side(2) {
			conflicts, filled := accountedSide(t, frames, sums, v, s)
			if conflicts != v.c.Half[s].Overlap {
				t.Errorf("%v side %d: %d bytes in conflict, %d are kept", v.c.ID, s, v.c.Half[s].Overlap, conflicts)
			}
			overlap, late, missing = overlap+uint64(conflicts), late+uint64(filled), missing+v.c.Half[s].Missing
		}
	}
	st := &out.stats
	unseen := uint64(len(frames)) - events
	if st.Packets != uint64(len(frames)) || dups > st.Duplicates || unseen > st.Duplicates-dups+st.OutOfWindow {
		t.Errorf("%d frames, %d in histories, %d of them duplicates: %+v", len(frames), events, dups, st)
	}
	if st.Conflicts != overlap || st.Late < late || st.GapBytes != missing || st.Conversations != uint64(len(out.convs())) {
		t.Errorf("%d bytes in conflict, %d late, %d missing: %+v", overlap, late, missing, st)
	}
}

// accountedSide checks the bytes of one side. It counts those kept beside the stream: in conflict with it,
// and within its holes.
func accountedSide(t *testing.T, frames []pcaptest.Frame, sums reassembly.Checksums, v *conv, side ntpac.Side) (conflicts, filled int64) {
	t.Helper()
	data, solid := v.data[side], v.solid[side]
	alts, said := map[int64][]byte{}, map[int64][]byte{} // by position; said only where there are alternatives
	for _, k := range v.alts[side] {
		for i, c := range k.Alt {
			at := k.Off + int64(i)
			if at < 0 || at >= int64(len(data)) {
				t.Fatalf("%v side %d: an alternative at %d of %d", v.c.ID, side, at, len(data))
			}
			if alts[at] = append(alts[at], c); solid[at] {
				conflicts++
			} else {
				filled++
			}
		}
	}
	brought := make([]bool, len(data))
	for i := range v.events {
		e := &v.events[i]
		if e.Side() != side || e.Flags&ntpac.EvDup != 0 {
			continue
		}
		f := &frames[e.Ord]
		for j, c := range f.Data[e.Pos : e.Pos+e.Len] {
			at := e.Start + int64(j)
			if at < 0 || at >= int64(len(data)) {
				if at >= 0 && e.Flags&ntpac.EvNoData == 0 {
					t.Fatalf("%v side %d: frame %d brought position %d of %d", v.c.ID, side, e.Ord, at, len(data))
				}
				continue
			}
			var others []byte
			if len(alts) > 0 {
				if others = alts[at]; others != nil {
					said[at] = append(said[at], c)
				}
			}
			if !brought[at] && e.Flags&ntpac.EvNoData == 0 {
				brought[at] = true
				if solid[at] && data[at] != c {
					t.Fatalf("%v side %d: position %d is %d, and frame %d brought it as %d", v.c.ID, side, at, data[at], e.Ord, c)
				}
			}
			if solid[at] && data[at] == c || slices.Contains(others, c) {
				continue
			}
			probe := e.Flags&ntpac.EvNoData != 0 && e.Len <= 1 // of a keep-alive any byte may do
			if !probe && (!solid[at] || trustedFrame(f, sums)) {
				t.Fatalf("%v side %d: position %d of frame %d is lost", v.c.ID, side, at, e.Ord)
			}
		}
	}
	for at := range data {
		if solid[at] && !brought[at] {
			t.Fatalf("%v side %d: nothing brought position %d", v.c.ID, side, at)
		}
	}
	for at, others := range alts {
		for _, c := range others {
			if !slices.Contains(said[at], c) {
				t.Fatalf("%v side %d: nobody said the alternative %d at %d", v.c.ID, side, c, at)
			}
		}
	}
	return conflicts, filled
}

// trustedFrame reports whether a frame may contradict another one.
func trustedFrame(f *pcaptest.Frame, sums reassembly.Checksums) bool {
	p := ntpac.Packet{Link: f.Link, Cap: uint32(len(f.Data)), Wire: uint32(f.Wire)}
	return packet.Decode(f.Data, &p) == packet.OK && (sums == reassembly.ChecksumsIgnore || packet.ChecksumOK(f.Data, &p))
}
