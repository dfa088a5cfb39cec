package tlshello

import (
	"encoding/binary"

	"ntpac"
)

// Content types of records (RFC 8446 section 5.1).
const (
	recordCCS       = 20
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
	recordHeartbeat = 24
)

const (
	headerLen = 5
	maxRecord = 1<<14 + 2048 // RFC 5246 section 6.2.3
	// maxMessage bounds a handshake message. Chains of certificates stay far below it.
	maxMessage = 1 << 18
	// maxFlight bounds what is read of one direction before encryption begins.
	maxFlight = 1 << 20
	// maxSyncs bounds how often the records of one direction are searched anew behind a hole.
	maxSyncs = 16
	// syncWindow holds at least three whole records.
	syncWindow = 64 << 10
)

// ValidRecord reports whether a record's head begins here: a known type, a version of SSL 3 or TLS, and
// a possible length. It wants 5 bytes.
func ValidRecord(b []byte) bool {
	if len(b) < headerLen || b[0] < recordCCS || b[0] > recordHeartbeat || b[1] != 3 || b[2] > 4 {
		return false
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	switch b[0] {
	case recordCCS:
		return n == 1
	case recordAlert:
		return n >= 2 && n <= 256+2048
	}
	return n > 0 && n <= maxRecord
}

// message is a handshake message as it was put together from records.
type message struct {
	typ   uint8
	body  []byte // up to the first hole
	whole bool
	spans []ntpac.Span
	at    ntpac.Time
	after bool // bytes were lost right before it whose place among the messages is unknown
}

// flight is what one direction sent before it encrypted.
type flight struct {
	s      *ntpac.Stream
	msgs   []message
	alert  int // the description of its first alert, -1 without
	alerts ntpac.Span
	sealed bool // it is known that nothing in the clear follows
	lost   bool // bytes were lost whose place among the messages is unknown,
	hungry bool // since the last message too
	asm    assembler
	ccs    bool
	budget int64
	syncs  int
}

// readFlight reads a direction's records from a position until they are encrypted.
func readFlight(s *ntpac.Stream, off int64) *flight {
	f := &flight{s: s, alert: -1, budget: maxFlight}
	f.asm.f = f
	s.MoveTo(off)
	search := off == 0 && !s.HeadKnown()
	if !search {
		f.takeV2()
	}
	for !f.sealed && !s.EOF() && f.budget > 0 {
		if s.SkipGap() > 0 {
			f.lose()
			search = true
			continue
		}
		b := s.Peek(headerLen + 4)
		if search || !ValidRecord(b) {
			if !f.sync(search) {
				s.Skip(s.End() - s.Off())
			}
			search = false
			continue
		}
		f.record(b)
	}
	f.asm.end()
	return f
}

// lose notes that bytes are missing whose place among the messages is unknown.
func (f *flight) lose() {
	f.asm.lose()
	f.lost, f.hungry = true, true
}

// record reads the record at the cursor; b is its head and what follows, as far as captured.
func (f *flight) record(b []byte) {
	off, n := f.s.Off(), int64(binary.BigEndian.Uint16(b[3:]))
	switch b[0] {
	case recordHandshake:
		if f.ccs && !helloRecord(b, n) {
			f.sealed = true
			return
		}
		f.handshake(off, n)
	case recordCCS:
		f.ccs = true
		f.s.MoveTo(min(off+headerLen+n, f.s.End()))
	case recordAlert:
		if d := f.s.Peek(headerLen + 2); n == 2 && len(d) == headerLen+2 && f.alert < 0 && !f.ccs {
			f.alert, f.alerts = int(d[6]), ntpac.Span{Dir: f.s.Dir, Off: off, Len: headerLen + 2}
		}
		f.s.MoveTo(min(off+headerLen+n, f.s.End()))
	default:
		f.sealed = true
	}
}

// helloRecord recognises, among encrypted records, a hello in the clear: the one that follows a
// HelloRetryRequest, before which CCS may be sent for appearance's sake (RFC 8446 appendix D.4).
func helloRecord(b []byte, n int64) bool {
	if len(b) < headerLen+4 {
		return false
	}
	size := int64(b[6])<<16 | int64(b[7])<<8 | int64(b[8])
	return (b[5] == TypeClientHello || b[5] == TypeServerHello) && size+4 == n
}

// handshake gives a record's content to the assembler, and its holes.
func (f *flight) handshake(off, n int64) {
	s := f.s
	f.budget -= headerLen + n
	f.asm.record(off)
	s.Skip(headerLen)
	at, end := off+headerLen, off+headerLen+n
	fresh := true
	if f.asm.lost && !chained(s.Peek(int(n)), n) {
		f.asm.hole(at, n) // still nothing to hold on to
		s.MoveTo(min(end, s.End()))
		return
	}
	s.Each(n, func(pos int64, b []byte) {
		if pos > at {
			f.asm.hole(at, pos-at)
			fresh = false
		}
		f.asm.add(pos, b, fresh)
		at, fresh = pos+int64(len(b)), false
	})
	if at < end {
		f.asm.hole(at, end-at)
	}
}

// chained reports whether a record's content is a chain of whole handshake messages, or begins one
// that goes on in the next record.
func chained(b []byte, n int64) bool {
	for i := 0; ; {
		if i+4 > len(b) {
			return i > 0 && int64(i) == n
		}
		size := int(b[i+1])<<16 | int(b[i+2])<<8 | int(b[i+3])
		if !knownMessage(b[i]) || size > maxMessage {
			return false
		}
		if i += 4 + size; int64(i) > n {
			// Only chains of certificates need more than a record.
			return b[i-4-size] == TypeCertificate && n > 4096
		}
	}
}

func knownMessage(t uint8) bool {
	return t <= 5 || t == 8 || t >= 11 && t <= 16 || t >= 20 && t <= 25
}

// sync moves to the next record in the run. One that begins right at the cursor needs less proof. It
// reports whether there is one; where there is none, the run is passed over.
func (f *flight) sync(expected bool) bool {
	if !expected {
		f.lose()
	}
	f.syncs++
	b := f.s.Peek(syncWindow)
	if f.syncs > maxSyncs {
		return false
	}
	for i := 0; i+headerLen <= len(b); i++ {
		if !ValidRecord(b[i:]) {
			continue
		}
		next := i + headerLen + int(binary.BigEndian.Uint16(b[i+3:]))
		switch {
		case next+headerLen <= len(b):
			if !ValidRecord(b[next:]) {
				continue
			}
		case i > 0 && next != len(b):
			continue
		}
		f.s.Skip(int64(i))
		if i > 0 {
			f.lose()
		}
		return true
	}
	f.s.Skip(int64(len(b)))
	if len(b) < syncWindow {
		return true // a hole or the end comes next
	}
	return false
}

// assembler puts handshake messages together from the contents of records.
type assembler struct {
	f    *flight
	cur  message
	head []byte // the first bytes of a message, up to four
	want int64  // length of its body, once head is full
	pos  int64  // how much of the body has passed
	hol  bool   // a hole has passed too
	lost bool   // the place in the chain of messages is unknown
	rec  int64  // head of the record from which nothing has been used yet, -1 for none
}

// record says that a record begins at a position.
func (a *assembler) record(off int64) { a.rec = off }

func (a *assembler) touch(off, n int64) {
	dir := a.f.s.Dir
	if a.rec >= 0 {
		n, off = n+off-a.rec, a.rec
		a.rec = -1
	}
	if k := len(a.cur.spans) - 1; k >= 0 && a.cur.spans[k].Off+a.cur.spans[k].Len == off {
		a.cur.spans[k].Len += n
		return
	}
	a.cur.spans = append(a.cur.spans, ntpac.Span{Dir: dir, Off: off, Len: n})
}

// add takes captured bytes; start tells that they are the first of a record.
func (a *assembler) add(off int64, b []byte, start bool) {
	if a.lost {
		if !start {
			return
		}
		a.lost = false
	}
	for len(b) > 0 {
		if len(a.head) < 4 {
			if len(a.head) == 0 {
				a.cur.at = a.f.s.Time(off)
			}
			n := min(4-len(a.head), len(b))
			a.head = append(a.head, b[:n]...)
			a.touch(off, int64(n))
			off, b = off+int64(n), b[n:]
			if len(a.head) < 4 {
				return
			}
			a.cur.typ = a.head[0]
			a.want = int64(a.head[1])<<16 | int64(a.head[2])<<8 | int64(a.head[3])
			if !knownMessage(a.cur.typ) || a.want > maxMessage {
				a.f.sealed = true
				a.reset()
				return
			}
		}
		n := min(a.want-a.pos, int64(len(b)))
		if !a.hol {
			a.cur.body = append(a.cur.body, b[:n]...)
		}
		if n > 0 {
			a.touch(off, n)
		}
		off, b = off+n, b[n:]
		if a.pos += n; a.pos == a.want {
			a.emit(!a.hol)
		}
	}
	if len(a.head) == 4 && a.pos == a.want {
		a.emit(!a.hol)
	}
}

// hole takes n missing bytes of a record's content, some of them perhaps behind the stream's end. Those
// inside of a message leave the place of the next one known.
func (a *assembler) hole(off, n int64) {
	if a.lost {
		return
	}
	if len(a.head) < 4 {
		a.f.lose()
		return
	}
	a.hol = true
	in := min(n, a.want-a.pos)
	if in = min(in, a.f.s.End()-off); in > 0 {
		a.touch(off, in)
	}
	if a.pos += in; a.pos == a.want {
		a.emit(false)
	}
	if n > in {
		a.f.lose()
	}
}

func (a *assembler) emit(whole bool) {
	a.cur.whole, a.cur.after, a.f.hungry = whole, a.f.hungry, false
	a.f.msgs = append(a.f.msgs, a.cur)
	a.reset()
}

func (a *assembler) reset() {
	a.cur, a.head, a.want, a.pos, a.hol = message{}, a.head[:0], 0, 0, false
}

// lose gives up the place in the chain; what there is of the current message stays.
func (a *assembler) lose() {
	a.end()
	a.lost = true
}

// end closes a message that does not go on.
func (a *assembler) end() {
	if len(a.head) == 4 {
		a.emit(false)
	}
	a.reset()
}
