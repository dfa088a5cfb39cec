package ntpac_test

import (
	"bytes"
	"testing"

	"ntpac"
	"ntpac/snoop/snooptest"
)

// TestStreamAcrossChunksAndHoles reads a stream that spans three chunks with two holes, in every way
// that a stream can be read, and expects the same bytes at the same positions.
func TestStreamAcrossChunksAndHoles(t *testing.T) {
	want := make([]byte, 2*ntpac.ChunkSize+5000)
	for i := range want {
		want[i] = byte(i*7 + i>>8)
	}
	talk := snooptest.Talk{Turns: []snooptest.Turn{{Dir: ntpac.Up, Data: want}}}
	lost := map[int]bool{1: true, 2: true, 262: true, 300: true}
	d := talk.Dialog(func(i int) bool { return lost[i] })
	ok := func(off int64, b []byte) {
		t.Helper()
		if !bytes.Equal(b, want[off:off+int64(len(b))]) {
			t.Fatalf("wrong bytes at %d", off)
		}
	}
	var sum int64
	miss := d.Up.Each(d.Up.End(), func(off int64, b []byte) { ok(off, b); sum += int64(len(b)) })
	if miss != 4000 || sum != int64(len(want))-4000 || !d.Up.EOF() {
		t.Fatalf("Each: missing %d, got %d, at %d", miss, sum, d.Up.Off())
	}
	for _, step := range []int{1, 7, 999, 1500, 40000} {
		s := d.Fresh().Up
		sum = 0
		for !s.EOF() {
			if g := s.SkipGap(); g > 0 {
				continue
			}
			b := s.Peek(step)
			if len(b) == 0 {
				t.Fatalf("no progress at %d", s.Off())
			}
			ok(s.Off(), b)
			sum += s.Skip(int64(len(b)))
		}
		if sum != int64(len(want))-4000 {
			t.Fatalf("step %d: got %d", step, sum)
		}
	}
	s := d.Fresh().Up
	for off := int64(0); off < s.End(); off += 500 {
		seg := off / 1000
		for lost[int(seg)] {
			seg++
		}
		if got := s.Time(off); got != snooptest.Start+ntpac.Time(seg)*1e6 {
			t.Fatalf("time of %d: %v", off, got)
		}
	}
}

// FuzzHistory proves that what Append writes, Next reads, and that damaged histories end in an error.
func FuzzHistory(f *testing.F) {
	f.Add([]byte{1, 2, 3}, int64(5), int64(-9), uint32(4), uint32(60), uint16(3))
	f.Fuzz(func(t *testing.T, junk []byte, ts, off int64, n, pos uint32, src uint16) {
		in := []ntpac.Event{
			{TS: ntpac.Time(ts), Ord: uint64(n), Off: off, Start: 0, Len: n, Pos: pos, Cap: pos + n, Wire: pos + n, Source: src},
			{TS: ntpac.Time(ts) + 5, Ord: uint64(n) + 1, Off: off + 99, Start: int64(n), Len: 7, Pos: pos, Cap: pos + 9, Wire: pos + 11, Source: src, Flags: ntpac.EvPush | ntpac.EvCut},
			{TS: ntpac.Time(ts) - 5, Ord: 0, Off: off, Start: 0, Len: 0, Pos: 54, Cap: 60, Wire: 60, Flags: ntpac.EvSideB | ntpac.EvFin},
		}
		var w, r ntpac.HistoryState
		var b []byte
		for i := range in {
			b = w.Append(b, &in[i])
		}
		for i := range in {
			var e ntpac.Event
			var err error
			if b, err = r.Next(b, &e); err != nil || e != in[i] && uint64(pos)+uint64(n) < 1<<32 {
				t.Fatalf("event %d: %+v, want %+v (%v)", i, e, in[i], err)
			}
		}
		var e ntpac.Event
		for err := error(nil); err == nil && len(junk) > 0; {
			junk, err = r.Next(junk, &e)
		}
	})
}

// TestOrderBehindTheEnd: nothing follows a hole at the end of a stream, so that it comes after all packets.
func TestOrderBehindTheEnd(t *testing.T) {
	var st ntpac.HistoryState
	var hist []byte
	for i, e := range []ntpac.Event{{TS: 1, Len: 5}, {TS: 2, Flags: ntpac.EvSideB, Len: 5}} {
		e.Ord = uint64(i)
		hist = st.Append(hist, &e)
	}
	c := &ntpac.Conversation{Key: ntpac.FlowKey{Proto: ntpac.TCP}, HistLen: int64(len(hist)), Inline: &ntpac.Inline{History: hist}}
	c.Half[ntpac.A] = ntpac.Half{Bytes: 5, Missing: 7, End: 12, Gaps: []ntpac.Gap{{5, 7, ntpac.GapAcked}}}
	c.Half[ntpac.B] = ntpac.Half{Bytes: 5, End: 5}
	c.Inline.Stream = [2][]byte{[]byte("hello"), []byte("world")}
	d := ntpac.NewDialog(c, nil)
	d.Up.MoveTo(5)
	if got := d.Next(); got != d.Down || d.Up.Order(5) <= d.Down.Order(0) {
		t.Errorf("the hole has order %d, and the answer %d", d.Up.Order(5), d.Down.Order(0))
	}
}
