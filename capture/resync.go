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
// first is an other known time of the file, in case prev was wrong itself.
func (r *records) score(c *record, prev ntpac.Time, near bool, first ntpac.Time) int {
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
	if c.cap == 0 || c.wire == 0 {
		n++
	}
	if c.wire > maxRecord {
		n++
	}
	if near {
		d := min(apart(c.ts, prev), apart(c.ts, first))
		if d > nearby {
			n++
		}
		if d > 3650*nearby {
			n++
		}
	}
	return n
}

func apart(a, b ntpac.Time) ntpac.Time {
	if a < b {
		return b - a
	}
	return a - b
}

// complain names the worst of a record ahead.
func (r *records) complain(f *File) string {
	h, ok := f.win.peek(0, r.hdr)
	if !ok {
		return "record header cut short"
	}
	c := r.parse(h)
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
		if r.score(&c, prev, near, prev) > limit && (n > 0 || r.score(&c, prev, near, f.info.First) > limit) {
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

// judge takes an odd record when it is only a little odd, or when those after it prove its length.
func (r *records) judge(f *File) verdict {
	h, ok := f.win.peek(0, r.hdr)
	if !ok {
		return verdict{}
	}
	c := r.parse(h)
	switch score := r.score(&c, r.last, r.seen, f.info.First); {
	case score <= sound:
		return verdict{keep: true}
	case score >= hopeless || !f.win.fill(c.step):
		return verdict{}
	}
	n, end := r.chain(f, c.step, c.ts, true, doubtful)
	if n < chained && !(end && (n > 0 || f.win.left() == c.step)) {
		return verdict{}
	}
	if c.sub >= r.unit {
		f.note(f.win.at()+int64(r.fraction()), 4, "impossible fraction of a second, left away")
	}
	return verdict{keep: true}
}

// fraction is where a record header has the fraction of a second.
func (r *records) fraction() int {
	if r.kind == snoopFile {
		return 20
	}
	return 4
}

// genuine: whoever writes a record captures all of the frame, or as much as the snap length allows.
func (r *records) genuine(f *File) bool {
	h, ok := f.win.peek(0, r.hdr)
	if !ok {
		return true // less than a header is left, and nothing can be in it
	}
	c := r.parse(h)
	return r.score(&c, r.last, r.seen, f.info.First) <= sound && (c.cap == c.wire || c.cap >= r.snap)
}

// seek tries every offset: where the lengths could be true, the records from there on must prove it.
func (r *records) seek(f *File) bool {
	w := &f.win
	w.ahead = true
	defer func() { w.ahead = false }()
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
		n, end := r.chain(f, 0, r.last, r.seen, sound)
		if n == chained || end && n > 0 {
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
