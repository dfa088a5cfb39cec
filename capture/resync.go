package capture

import "ntpac"

// How odd a record header is, as a sum of signs. One alone is found in sound files too.
const (
	sound    = 1   // at most this, and it needs no looking at
	doubtful = 3   // at most this, and it may stand in a chain of records that hold together
	hopeless = 100 // it cannot be a record
)

// chained is how many records must follow one another to prove a place.
const chained = 3

// lookahead bounds how far the proof of a record goes.
const lookahead = 4 << 20

// score adds up what is odd in a record. near tells whether prev, the timestamp before, is known;
// other is another known time of the file, in case prev was wrong itself.
func (r *records) score(c *record, prev ntpac.Time, near bool, other ntpac.Time) int {
	if c.zero || c.cap > maxRecord || c.step < r.hdr+int(c.cap) || c.step > r.hdr+maxRecord+(64<<10) {
		return hopeless
	}
	n := 0
	if c.cap > r.snap {
		n += 2
	}
	if c.cap > c.wire {
		n += 2
	}
	if c.sub >= r.unit {
		n += 2
	}
	if c.step-r.hdr-int(c.cap) > 8 { // snoop pads to 4 bytes, others not at all
		n += 2
	}
	if c.cap == 0 || c.wire == 0 {
		n++
	}
	if c.wire > maxRecord {
		n++
	}
	far := !near
	if near {
		d := min(apart(c.ts, prev), apart(c.ts, other))
		if d > nearby {
			n++
		}
		if far = d > 3650*nearby; far {
			n++
		}
	}
	if far && c.cap != c.wire { // the commonest false header begins four bytes late, and has the length for a fraction
		n++
	}
	if far && (c.ts < earliest || c.ts > latest) {
		n++
	}
	return n
}

// earliest is what is expected of a file of which no time is known yet: the year 1990.
const earliest = 631_152_000 * ntpac.Second

// otherTime is a time that is known to be in the file, or prev where there is none.
func (f *File) otherTime(prev ntpac.Time) ntpac.Time {
	if f.info.Packets == 0 {
		return prev
	}
	return f.info.First
}

func apart(a, b ntpac.Time) ntpac.Time {
	if a < b {
		return b - a
	}
	return a - b
}

// complain names the worst of a record.
func (r *records) complain(c *record) string {
	switch {
	case c.zero:
		return "zeros instead of a record header"
	case c.cap > maxRecord, c.step < r.hdr+int(c.cap), c.step > r.hdr+maxRecord+(64<<10):
		return "impossible record length"
	case c.cap > c.wire:
		return "more captured than was on the wire"
	case c.sub >= r.unit:
		return "impossible fraction of a second"
	}
	return "implausible record header"
}

// chain counts the records that follow one another from rel bytes ahead, each no odder than limit. It
// stops at three, or where the source ends: after a whole record, or in one that it cuts.
func (r *records) chain(f *File, rel int, prev ntpac.Time, near bool, limit int) (n int, end bool) {
	for n < chained {
		h, ok := f.win.peek(rel, r.hdr)
		if !ok {
			return n, true
		}
		c := r.parse(h)
		other := prev
		if n == 0 {
			other = f.otherTime(prev)
		}
		if r.score(&c, prev, near, other) > limit {
			return n, false
		}
		rel += c.step
		if rel > lookahead && n > 0 {
			return chained, false
		}
		if !f.win.fill(rel) {
			return n, true
		}
		n++
		prev, near = c.ts, true
	}
	return n, false
}

// mend deals with the odd record that walk found, and with the one before it, which may have led astray.
func (r *records) mend(f *File, b *ntpac.Batch) {
	w, rel := &f.win, r.bad
	h, ok := w.peek(rel, r.hdr)
	if !ok {
		return // cannot be: walk has seen the header
	}
	c := r.parse(h)
	reason := r.complain(&c)
	if r.judge(f, rel, &c) {
		f.trusted = w.at() + int64(rel)
		return
	}
	if rel > 0 {
		if n := r.within(f, rel); n > 0 {
			f.lose(n, "record that reaches over the next ones")
			return
		}
		r.take(f, b)
	}
	f.search(r.seek, reason)
}

// judge takes an odd record when it is only a little odd, or when those after it prove its length.
func (r *records) judge(f *File, rel int, c *record) bool {
	prev, near := r.last, r.seen
	if rel > 0 {
		h, _ := f.win.peek(0, r.hdr)
		prev, near = r.parse(h).ts, true
	}
	switch score := r.score(c, prev, near, f.otherTime(prev)); {
	case score <= sound:
		return true
	case score > doubtful || !f.win.fill(rel+c.step):
		return false
	}
	n, end := r.chain(f, rel+c.step, c.ts, true, doubtful)
	return n == chained || end && (n > 0 || f.win.left() == rel+c.step)
}

// within looks for records that begin inside the one ahead, whose n bytes would then be no record. It
// gives how far ahead they begin, or 0.
func (r *records) within(f *File, n int) int {
	h, _ := f.win.peek(0, r.hdr)
	ts := r.parse(h).ts // the header is sound, so its time can be believed
	for rel := 1; rel < n; rel++ {
		h, ok := f.win.peek(rel, r.hdr)
		if !ok {
			return 0
		}
		if r.likely(h) && r.proven(f, rel, ts, true) {
			return rel
		}
	}
	return 0
}

// proven reports whether sound records follow one another from rel bytes ahead.
func (r *records) proven(f *File, rel int, prev ntpac.Time, near bool) bool {
	n, end := r.chain(f, rel, prev, near, sound)
	return n == chained || end && n > 0
}

// tail deals with what is left at the end of the source: one record, or part of one. Unless the header of
// a cut record is sound, it may be a corrupt length that reaches over good ones.
func (r *records) tail(f *File, b *ntpac.Batch) {
	h, ok := f.win.peek(0, r.hdr)
	if !ok {
		f.lose(f.win.left(), cutShort)
		return
	}
	switch c := r.parse(h); {
	case c.step <= f.win.left():
		r.take(f, b)
	case r.genuine(f, &c):
		f.lose(f.win.left(), cutShort)
	default:
		f.search(r.seek, cutShort)
	}
}

// genuine: whoever writes a record captures all of the frame, or as much as the snap length allows.
func (r *records) genuine(f *File, c *record) bool {
	return r.score(c, r.last, r.seen, f.otherTime(r.last)) <= sound && (c.cap == c.wire || c.cap >= r.snap)
}

// seek tries every offset: where the lengths could be true, the records from there on must prove it.
func (r *records) seek(f *File) bool {
	w := &f.win
	for w.fill(r.hdr) {
		mem := w.mem[:w.end]
		pos, last := w.pos, len(mem)-r.hdr
		for pos <= last && !r.likely(mem[pos:]) {
			pos++
		}
		w.pos = pos
		if pos > last {
			continue
		}
		if r.proven(f, 0, r.last, r.seen) {
			return true
		}
		w.pos++
	}
	w.pos = w.end
	return false
}

// likely is the cheap part of a record's proof.
func (r *records) likely(h []byte) bool {
	if r.kind == snoopFile {
		n, step := r.u32(h[4:]), r.u32(h[8:])
		return n-1 < r.snap && step-snoopRecord-n < 8 && r.u32(h) >= n
	}
	a, b := r.u32(h[8:]), r.u32(h[12:])
	if r.swapped == originalFirst {
		a, b = b, a
	}
	return a-1 < r.snap && (b >= a || r.swapped == smallerIs) && r.u32(h[4:]) < r.unit
}
