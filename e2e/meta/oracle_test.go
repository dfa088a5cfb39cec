package meta

import (
	"bytes"
	"fmt"
	"slices"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// The oracle says what semantics.md lets be known of a capture from which frames are missing. It knows
// the whole capture, and reads its headers by itself.

// truth is one true conversation of a whole capture.
type truth struct {
	ends  ends
	talk  int
	tcp   bool
	again bool       // there was another one between the same ports before
	segs  []seg      // TCP segments in order of time
	grams []datagram // and of anything else, datagrams
	isn   [2]uint32  // sequence number of offset 0 of each side
	began [2]bool    // its handshake is in the capture
	bytes [2][]byte  // TCP: the streams; what was never captured is 0
	only  [2][]span  // and which of them were captured
}

// seg is a segment of a conversation.
type seg struct {
	h     header
	id    int
	ts    ntpac.Time
	side  ntpac.Side
	off   int64
	n     int64
	probe bool // a keep-alive: its byte is no data
}

// datagram is a message in one or more frames.
type datagram struct {
	ids  []int
	ts   []ntpac.Time
	side ntpac.Side
	data []byte
}

// truths finds the conversations of a whole, undamaged capture.
func truths(fs []frame) []*truth {
	var all []*truth
	open := map[ends]*truth{}
	type part struct {
		src, dst string
		id       uint32
	}
	heads := map[part]*truth{}
	last := map[*truth]ntpac.Time{}
	for i := range fs {
		f := &fs[i]
		h, ok := read(f.Data)
		if !ok {
			continue
		}
		at := part{h.src.Addr().String(), h.dst.Addr().String(), h.id}
		if h.fragment && !h.first {
			if t := heads[at]; t != nil {
				g := &t.grams[len(t.grams)-1]
				g.ids, g.ts, g.data = append(g.ids, f.id), append(g.ts, f.TS), append(g.data, h.payload(f.Data)...)
			}
			continue
		}
		k := h.ends()
		t := open[k]
		syn := h.proto == ntpac.TCP && h.has(pcaptest.SYN) && !h.has(pcaptest.ACK)
		if t == nil || syn && t.isn[k.side(&h)] != h.seq+1 || h.proto != ntpac.TCP && f.TS-last[t] > 600*ntpac.Second {
			t = &truth{ends: k, talk: f.talk, tcp: h.proto == ntpac.TCP, again: t != nil}
			open[k], all = t, append(all, t)
		}
		last[t] = f.TS
		if t.tcp {
			t.add(f, h)
			continue
		}
		t.grams = append(t.grams, datagram{[]int{f.id}, []ntpac.Time{f.TS}, k.side(&h), bytes.Clone(h.payload(f.Data))})
		if h.fragment {
			heads[at] = t
		}
	}
	for _, t := range all {
		t.finish(fs)
	}
	return all
}

// announced reports whether another conversation says what this one is: FTP's data.
func (t *truth) announced() bool {
	return t.ends.a.Port() >= 51000 && t.ends.a.Port() < 52000 || t.ends.b.Port() >= 51000 && t.ends.b.Port() < 52000
}

func (e ends) side(h *header) ntpac.Side {
	if h.src == e.a {
		return ntpac.A
	}
	return ntpac.B
}

func (t *truth) add(f *frame, h header) {
	s := t.ends.side(&h)
	switch {
	case h.has(pcaptest.SYN):
		t.isn[s], t.began[s] = h.seq+1, true
		if h.has(pcaptest.ACK) && !t.began[s.Other()] {
			t.isn[s.Other()], t.began[s.Other()] = h.ack, true
		}
	case !t.began[s] && t.isn[s] == 0:
		t.isn[s] = h.seq
	}
	t.segs = append(t.segs, seg{h: h, id: f.id, ts: f.TS, side: s, n: int64(len(h.payload(f.Data)))})
}

// finish lays the segments into their streams.
func (t *truth) finish(fs []frame) {
	byID := map[int]*frame{}
	for i := range fs {
		byID[fs[i].id] = &fs[i]
	}
	for i := range t.segs { // where no handshake tells the beginning, the lowest payload is
		if g := &t.segs[i]; !t.began[g.side] && g.n > 0 && int32(g.h.seq-t.isn[g.side]) < 0 {
			t.isn[g.side] = g.h.seq
		}
	}
	var high [2]int64
	for i := range t.segs {
		g := &t.segs[i]
		g.off = int64(int32(g.h.seq - t.isn[g.side]))
		if g.h.has(pcaptest.SYN) {
			g.off++
		}
		g.probe = g.n == 1 && g.off == high[g.side]-1 && !g.h.has(pcaptest.PSH)
		high[g.side] = max(high[g.side], g.off+g.n)
		if g.n == 0 || g.probe || g.off < 0 {
			continue
		}
		b := &t.bytes[g.side]
		if need := int(g.off+g.n) - len(*b); need > 0 {
			*b = append(*b, make([]byte, need)...)
		}
		f := byID[g.id]
		copy((*b)[g.off:], g.h.payload(f.Data))
		t.only[g.side] = join(t.only[g.side], span{g.off, g.off + g.n})
	}
}

// known is what can be known of a conversation of which some frames were captured.
type known struct {
	truth  *truth
	first  ntpac.Time
	whole  bool // the first frame is among them: the id is that of the whole one
	frames int
	begun  bool       // a handshake packet is among them
	said   ntpac.Time // the first payload
	side   [2]knownSide
	kept   func(id int) bool
}

type knownSide struct {
	unended bool // no FIN or RST of it is there
	frames  int
	have    []span  // of the true stream
	acked   int64   // by what was captured until now
	instead []piece // bytes that were captured in place of the true ones
	shift   int64   // where offset 0 is in the true stream
	isn     bool
	end     []int64 // in the true stream: where its end is believed; one of these
	data    []byte  // of datagrams
}

// knows says what is known when only the frames that kept chooses are there; nil when there are none.
func (t *truth) knows(kept func(id int) bool) *known {
	k := &known{truth: t, kept: kept}
	note := func(ts ntpac.Time, first bool) {
		if k.frames++; k.frames == 1 || ts < k.first {
			k.first = ts
		}
		k.whole = k.whole || first
	}
	if !t.tcp {
		for i := range t.grams {
			g := &t.grams[i]
			if slices.ContainsFunc(g.ids, func(id int) bool { return !kept(id) }) {
				continue // of a datagram that lacks a fragment nothing is known
			}
			s := &k.side[g.side]
			// A rebuilt datagram has the time of the fragment that completes it.
			note(g.ts[len(g.ts)-1], i == 0)
			s.frames += len(g.ids)
			s.data = append(s.data, g.data...)
		}
	} else {
		for i := range t.segs {
			if g := &t.segs[i]; kept(g.id) {
				note(g.ts, i == 0)
				k.segment(g)
			}
		}
		for s := range k.side {
			k.close(ntpac.Side(s))
		}
	}
	if k.frames == 0 {
		return nil
	}
	return k
}

func (k *known) segment(g *seg) {
	s := &k.side[g.side]
	s.frames++
	if g.n > 0 && k.said == 0 {
		k.said = g.ts
	}
	if g.h.has(pcaptest.SYN) {
		s.isn, k.begun = true, true
		if g.h.has(pcaptest.ACK) {
			k.side[g.side.Other()].isn = true // it acknowledges the other side's
		}
	}
	if g.h.has(pcaptest.ACK) {
		o := &k.side[g.side.Other()]
		o.acked = max(o.acked, int64(int32(g.h.ack-k.truth.isn[g.side.Other()])))
	}
	if g.n == 0 {
		return
	}
	if g.probe {
		// Where neither the byte before nor an acknowledgement of it was captured, nothing tells a keep-alive's
		// byte from one of the stream: it is what was captured there.
		if len(within(s.have, g.off, g.off+1)) == 0 || s.acked > g.off {
			return
		}
		s.instead = append(s.instead, piece{g.off, []byte{0}})
	}
	s.have = join(s.have, span{g.off, g.off + g.n})
}

// close finds the head and the end of a side.
func (k *known) close(side ntpac.Side) {
	s := &k.side[side]
	var top int64
	switch {
	case len(s.have) > 0:
		top = s.have[len(s.have)-1].end
		if !s.isn {
			s.shift = s.have[0].off // "where the ISN is unknown, the first captured byte"
		}
	case !s.isn:
		return // no byte and no number: nothing is known to be missing
	}
	if s.end = []int64{top}; s.frames == 0 {
		return // "A direction without any packet has no gaps"
	}
	s.unended = true
	fin, finSent, acked := int64(-1), int64(-1), s.acked
	for i := range k.truth.segs {
		g := &k.truth.segs[i]
		if g.side == side && g.h.has(pcaptest.FIN|pcaptest.RST) {
			if finSent = g.off + g.n; k.kept(g.id) {
				fin, s.unended = finSent, false
			}
		}
	}
	switch { // "A tail is missing only where an ACK, FIN or RST proves it"
	case fin >= 0:
		s.end = []int64{max(top, fin)}
	case acked == top+1:
		// The FIN or the last byte: the acknowledgement of either looks the same.
		s.end = []int64{top, acked}
	case acked > top && finSent >= 0 && acked > finSent:
		// It covers a FIN that is lost too, and takes its number for a byte's, as nothing tells.
		s.end = []int64{acked - 1, acked}
	default:
		s.end = []int64{max(top, acked)}
	}
}

// lost is what of the whole capture's bytes of a side is not there.
func (k *known) lost(side ntpac.Side) (out []span) {
	for _, s := range k.truth.only[side] {
		out = append(out, within(k.side[side].have, s.off, s.end)...)
	}
	return out
}

// check compares what was made of a conversation with what is known of it.
func (k *known) check(f *found) error {
	for s := range f.stream {
		side, half := &k.side[s], &f.conv.Half[s]
		if !k.truth.tcp {
			if err := same(f.stream[s], side.data, 0); err != nil {
				return fmt.Errorf("side %v: %w", ntpac.Side(s), err)
			}
			if int(half.Bytes) != len(side.data) || half.Missing != 0 {
				return fmt.Errorf("side %v: %d bytes and %d missing, want %d and 0", ntpac.Side(s), half.Bytes, half.Missing, len(side.data))
			}
			continue
		}
		want := bytes.Clone(k.truth.bytes[s])
		for _, p := range side.instead {
			copy(want[p.off:], p.data)
		}
		if err := same(f.stream[s], want, side.shift); err != nil {
			return fmt.Errorf("side %v: %w", ntpac.Side(s), err)
		}
		if half.Bytes != total(side.have) {
			return fmt.Errorf("side %v: %d bytes, want %d", ntpac.Side(s), half.Bytes, total(side.have))
		}
		var got []span
		for _, g := range half.Gaps {
			got = join(got, span{g.Off, g.Off + g.Len})
		}
		var gaps []span
		right := len(side.end) == 0 && len(got) == 0
		for _, end := range side.end {
			gaps = nil
			for _, w := range within(side.have, side.shift, end) {
				gaps = append(gaps, span{w.off - side.shift, w.end - side.shift})
			}
			right = right || slices.Equal(gaps, got)
		}
		if !right {
			return fmt.Errorf("side %v: gaps %v, want %v", ntpac.Side(s), half.Gaps, gaps)
		}
	}
	return nil
}

// same compares captured runs with the true stream.
func same(ps []piece, want []byte, shift int64) error {
	for _, p := range ps {
		lo, hi := p.off+shift, p.off+shift+int64(len(p.data))
		if hi > int64(len(want)) {
			return fmt.Errorf("bytes up to %d, but the stream has %d", hi, len(want))
		}
		if !bytes.Equal(p.data, want[lo:hi]) {
			at := 0
			for p.data[at] == want[lo:][at] {
				at++
			}
			return fmt.Errorf("other bytes than were sent at offset %d (%x, not %x)", p.off+int64(at), p.data[at], want[lo:][at])
		}
	}
	return nil
}
