package reassembly

import (
	"bytes"

	"ntpac"
	"ntpac/packet"
)

// This file compares bytes that were captured more than once. The version captured first stays in the
// stream; another one is kept as an alternative, if its segment's checksum lets it contradict. Bytes
// that come when their range has been given up as missing are late: the hole is sealed, so they are kept
// as alternatives too, and counted; nothing that was captured is dropped without a trace.

// clash compares bytes that two segments bring while the earlier one, the primary, is still held.
func (r *Reassembler) clash(f *flow, side ntpac.Side, off int64, held, now []byte, e *ntpac.Event, b *ntpac.Batch, p *ntpac.Packet) {
	if bytes.Equal(held, now) || !r.trusted(b, p) {
		return
	}
	differing(off, held, now, func(off int64, alt []byte) { r.conflict(f, side, off, alt, e) })
}

// again compares bytes of ranges that the stream has left behind with what was captured first.
func (r *Reassembler) again(f *flow, side ntpac.Side, off int64, data []byte, e *ntpac.Event, b *ntpac.Batch, p *ntpac.Packet) {
	if off < 0 {
		n := min(-off, int64(len(data)))
		if f.half[side].state&haveISN == 0 { // of a stream whose head had been fixed too far behind
			r.stats.Late += uint64(n)
		}
		off, data = 0, data[n:]
	}
	same := true
	r.against(f, side, off, data, func(off int64, was, now []byte) { same = same && was != nil && bytes.Equal(was, now) })
	if same {
		return
	}
	trusted := r.trusted(b, p)
	r.against(f, side, off, data, func(off int64, was, now []byte) {
		if was == nil {
			r.late(f, side, off, now, e)
			return
		}
		if !trusted {
			return
		}
		differing(off, was, now, func(off int64, alt []byte) { r.conflict(f, side, off, alt, e) })
	})
}

// equal reports whether bytes are what the stream has at off, as far as the sink still knows.
func (r *Reassembler) equal(f *flow, side ntpac.Side, off int64, b []byte) bool {
	same := true
	r.against(f, side, off, b, func(_ int64, was, now []byte) { same = same && (was == nil || bytes.Equal(was, now)) })
	return same
}

// beside lays bytes beside all that was captured at off: what the sink was given, and what is held.
func (r *Reassembler) beside(f *flow, side ntpac.Side, off int64, b []byte, visit func(off int64, was, now []byte)) {
	h := &f.half[side]
	if off >= 0 && off < h.next {
		r.against(f, side, off, b[:min(int64(len(b)), h.next-off)], func(off int64, was, now []byte) {
			if was != nil {
				visit(off, was, now)
			}
		})
	}
	end := off + int64(len(b))
	for k, n := h.segs, h.nsegs; n > 0; n-- {
		s := r.segs.at(k)
		if lo, hi := max(off, s.off), min(end, s.off+int64(len(s.data))); lo < hi {
			visit(lo, s.data[lo-s.off:hi-s.off], b[lo-off:hi-off])
		}
		k = s.next
	}
}

// against lays bytes beside what the sink was given at off, run by run; was is nil in a hole.
func (r *Reassembler) against(f *flow, side ntpac.Side, off int64, b []byte, visit func(off int64, was, now []byte)) {
	for len(b) > 0 {
		was, hole := r.sink.Given(f.handle, side, off)
		n := min(len(b), len(was))
		if hole > 0 {
			n, was = int(min(int64(len(b)), hole)), nil
		} else if n == 0 {
			return
		} else {
			was = was[:n]
		}
		visit(off, was, b[:n])
		off, b = off+int64(n), b[n:]
	}
}

// differing visits the runs in which now differs from was.
func differing(off int64, was, now []byte, visit func(off int64, alt []byte)) {
	for i := 0; i < len(now); i++ {
		j := i
		for j < len(now) && was[j] != now[j] {
			j++
		}
		if j > i {
			visit(off+int64(i), now[i:j])
			i = j
		}
	}
}

// conflict keeps another version of bytes. One that came again is no further version.
func (r *Reassembler) conflict(f *flow, side ntpac.Side, off int64, alt []byte, e *ntpac.Event) {
	if r.known(f, side, off, alt) {
		return
	}
	r.extras.of(f).overlap[side] += int64(len(alt))
	r.stats.Conflicts += uint64(len(alt))
	r.alternative(f, side, off, alt, e)
}

func (r *Reassembler) late(f *flow, side ntpac.Side, off int64, b []byte, e *ntpac.Event) {
	if r.known(f, side, off, b) {
		return
	}
	r.stats.Late += uint64(len(b))
	r.alternative(f, side, off, b, e)
}

func (r *Reassembler) alternative(f *flow, side ntpac.Side, off int64, alt []byte, e *ntpac.Event) {
	c := ntpac.Conflict{Off: off, Alt: alt, TS: e.TS, Ord: e.Ord, From: e.Source}
	if f.half[side].state&holding != 0 { // where it lies is not final yet
		w := r.heldOf(f)
		c.Alt = bytes.Clone(alt)
		w.alts[side] = append(w.alts[side], c)
		w.bytes += len(alt)
		return
	}
	r.sink.Conflict(f.handle, side, c)
}

// known reports whether an alternative is kept already, as a whole or as a part of one.
func (r *Reassembler) known(f *flow, side ntpac.Side, off int64, alt []byte) bool {
	if f.half[side].state&holding != 0 {
		return ntpac.HasConflict(r.heldOf(f).alts[side], off, alt)
	}
	return r.sink.Known(f.handle, side, off, alt)
}

// trusted reports whether a segment's checksum lets it contradict another one.
func (r *Reassembler) trusted(b *ntpac.Batch, p *ntpac.Packet) bool {
	return r.cfg.Checksums == ChecksumsIgnore || packet.ChecksumOK(b.Frame(p), p)
}
