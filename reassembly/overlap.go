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
	differing(off, held, now, func(off int64, alt []byte) { r.conflict(f, side, alternative(off, alt, e)) })
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
			r.late(f, side, alternative(off, now, e))
			return
		}
		if !trusted {
			return
		}
		differing(off, was, now, func(off int64, alt []byte) { r.conflict(f, side, alternative(off, alt, e)) })
	})
}

// equal reports whether bytes are what the stream has at off, as far as the sink still knows.
func (r *Reassembler) equal(f *flow, side ntpac.Side, off int64, b []byte) bool {
	same := true
	r.against(f, side, off, b, func(_ int64, was, now []byte) { same = same && (was == nil || bytes.Equal(was, now)) })
	return same
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

// conflict notes an alternative to bytes of the stream.
func (r *Reassembler) conflict(f *flow, side ntpac.Side, c ntpac.Conflict) {
	if f.half[side].state&holding != 0 {
		r.holdAlt(f, side, c)
		return
	}
	r.extras.of(f).overlap[side] += int64(len(c.Alt))
	r.stats.Conflicts += uint64(len(c.Alt))
	r.sink.Conflict(f.handle, side, c)
}

// late notes bytes of a range that was given up.
func (r *Reassembler) late(f *flow, side ntpac.Side, c ntpac.Conflict) {
	r.stats.Late += uint64(len(c.Alt))
	r.sink.Conflict(f.handle, side, c)
}

// alternative is a version of bytes that the stream does not have, as a packet brought it.
func alternative(off int64, alt []byte, e *ntpac.Event) ntpac.Conflict {
	return ntpac.Conflict{Off: off, Alt: alt, TS: e.TS, Ord: e.Ord, From: e.Source}
}

// trusted reports whether a segment's checksum lets it contradict another one.
func (r *Reassembler) trusted(b *ntpac.Batch, p *ntpac.Packet) bool {
	return r.cfg.Checksums == ChecksumsIgnore || packet.ChecksumOK(b.Frame(p), p)
}
