package mail

import (
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strings"

	"ntpac"
	"ntpac/artifact"
)

// leaf is a body that has no parts: it undoes the transfer encoding, hashes what comes out, and keeps
// as much of it as is needed. The end of its last line is held back: it may belong to a delimiter.
type leaf struct {
	ent     entity
	begin   int64 // of its header
	rng     ranges
	sum     hash.Hash
	size    int64
	missing int64
	out     []byte // decoded, not yet hashed
	head    []byte // by which the content is recognised
	text    *pickedText

	eol   int // length of the line end held back
	eolAt [2]piece
	eolN  int // pieces in eolAt
	eols  int // line ends seen

	// base64
	quantum [4]byte
	qn      int
	qoff    int64 // where the quantum began
	resync  bool  // behind a hole: alignment is not known before the next line
	skip    int   // behind a hole: characters to the next quantum

	qp qpState
}

func newLeaf() *leaf { l := &leaf{}; l.init(); return l }

func (l *leaf) init() {
	l.sum = sha256.New()
	l.out = make([]byte, 0, outSize)
}

// start begins a body. text, where it is not nil, gets the decoded bytes.
func (l *leaf) start(e *entity, begin int64, text *pickedText) {
	l.ent, l.begin, l.text = *e, begin, text
	l.rng.reset()
	l.sum.Reset()
	l.size, l.missing, l.out, l.head = 0, 0, l.out[:0], l.head[:0]
	l.eol, l.eolN, l.eols, l.qn, l.resync, l.skip = 0, 0, 0, 0, false, 0
	l.qp = qpState{held: l.qp.held[:0]}
}

// write reads a line or a piece of one.
func (l *leaf) write(b []byte, eol int, ps []piece, dot int64) {
	l.lineEnd()
	if l.resync {
		l.resync = eol == 0
		return
	}
	n := len(b)
	for _, p := range ps {
		k := min(n, p.n)
		l.rng.add(0, p.off, int64(k), dot)
		if l.ent.coding == codingBase64 {
			l.base64(b[len(b)-n:][:k], p.off)
		}
		if n -= k; k < p.n && l.eolN < len(l.eolAt) {
			l.eolAt[l.eolN] = piece{p.off + int64(k), p.n - k}
			l.eolN++
		}
	}
	switch l.ent.coding {
	case codingQP:
		l.quoted(b)
	case codingNone:
		l.put(b)
	}
	l.eol = eol
}

// lineEnd reads the line end that was held back.
func (l *leaf) lineEnd() {
	if l.eol == 0 {
		l.eolN = 0
		return
	}
	for _, p := range l.eolAt[:l.eolN] {
		l.rng.add(0, p.off, int64(p.n), -2)
	}
	switch end := crlf[2-l.eol:]; l.ent.coding {
	case codingQP:
		l.quotedEnd(end)
	case codingNone:
		l.put(end)
	}
	l.eol, l.eolN = 0, 0
	l.eols++
}

// gap goes on behind a hole. A recipe must give the same bytes as reading did: half an escape or half a
// quantum at the hole's edge is left out of both.
func (l *leaf) gap(off, n int64) {
	l.lineEnd()
	l.missing += n
	switch l.ent.coding {
	case codingBase64:
		if l.qn > 0 {
			l.rng.cut(l.qoff)
			l.qn = 0
		}
		l.resync = l.eols > 0
		if k := len(l.rng.spans); !l.resync && k > 0 {
			l.skip = int((4 - (off+n-l.rng.spans[0].Off)%4) % 4)
		}
	case codingQP:
		if k := int64(len(l.qp.held)); k > 0 {
			l.rng.cut(off - k)
			l.qp.held = l.qp.held[:0]
		}
	default:
		l.rng.bridge(off, n)
	}
}

// put takes decoded bytes.
func (l *leaf) put(b []byte) {
	for len(b) > 0 {
		if len(l.out) == cap(l.out) {
			l.drain()
		}
		n := min(len(b), cap(l.out)-len(l.out))
		l.out = append(l.out, b[:n]...)
		b = b[n:]
	}
}

// drain hashes or keeps what was decoded.
func (l *leaf) drain() {
	b := l.out
	l.size += int64(len(b))
	if t := l.text; t != nil {
		t.raw = append(t.raw, b[:min(len(b), t.limit-len(t.raw))]...)
	} else {
		l.sum.Write(b)
		l.head = append(l.head, b[:min(len(b), artifact.SniffSize-len(l.head))]...)
	}
	l.out = l.out[:0]
}

// base64 undoes RFC 2045 section 6.8. Characters outside the alphabet are ignored, as it says.
func (l *leaf) base64(b []byte, off int64) {
	if l.qn == 0 && l.skip == 0 && len(b) > 0 && len(b)%4 == 0 && len(b) <= cap(l.out) {
		if cap(l.out)-len(l.out) < len(b)/4*3 {
			l.drain()
		}
		k := len(l.out)
		n, err := base64.StdEncoding.Decode(l.out[k:cap(l.out)], b)
		if err == nil {
			l.out = l.out[:k+n]
			return
		}
	}
	for i, c := range b {
		v := base64Value[c]
		switch {
		case v == 0xff:
			continue
		case l.skip > 0:
			l.skip--
			l.rng.dropHead(off + int64(i) + 1)
			continue
		case c == '=':
			l.endQuantum()
			continue
		case l.qn == 0:
			l.qoff = off + int64(i)
		}
		l.quantum[l.qn] = v
		if l.qn++; l.qn == 4 {
			q := l.quantum
			l.put([]byte{q[0]<<2 | q[1]>>4, q[1]<<4 | q[2]>>2, q[2]<<6 | q[3]})
			l.qn = 0
		}
	}
}

// endQuantum reads a quantum that padding, or the end, cuts short.
func (l *leaf) endQuantum() {
	q := l.quantum
	switch l.qn {
	case 2:
		l.put([]byte{q[0]<<2 | q[1]>>4})
	case 3:
		l.put([]byte{q[0]<<2 | q[1]>>4, q[1]<<4 | q[2]>>2})
	}
	l.qn = 0
}

// base64Value maps both alphabets to 0..63, padding to 64 and everything else to 0xff.
var base64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") {
		t[c] = byte(i)
	}
	t['-'], t['_'] = 62, 63 // RFC 4648 section 5
	return t
}()

// finish reads what was held back; the last line end only where it belongs to the body.
func (l *leaf) finish(eol bool) {
	if eol {
		l.lineEnd()
	}
	switch l.ent.coding {
	case codingBase64:
		l.endQuantum()
	case codingQP:
		l.quotedFinish()
	}
	l.drain()
}

// attachment ends the body and describes it; end is where the part ends in the stream.
func (l *leaf) attachment(dir ntpac.Dir, end int64, eol bool) Attachment {
	l.finish(eol)
	e := &l.ent
	a := Attachment{Attachment: artifact.Attachment{Filename: e.filename, Size: l.size, Missing: l.missing}}
	l.sum.Sum(a.SHA256[:0])
	if e.typed {
		a.ContentType = e.ctype
	}
	a.MIME = contentType(l.head, a.ContentType)
	a.end = end
	if k := len(l.rng.spans) - 1; k >= 0 && !l.resync && l.missing == 0 {
		a.end = l.rng.spans[k].Off + l.rng.spans[k].Len
	}
	for i := range l.rng.spans {
		l.rng.spans[i].Dir = dir
	}
	a.Blob = l.rng.blob(a.SHA256, a.Size, [...]string{"", "base64", "qp"}[e.coding])
	return a
}

// contentType is what the content looks like; where it looks like nothing, or like any text, what was
// declared.
func contentType(head []byte, declared string) string {
	m := artifact.Sniff(head)
	switch t, _, _ := strings.Cut(m, ";"); t {
	case "", "application/octet-stream", "text/plain":
		if declared != "" && declared != "application/octet-stream" {
			return declared
		}
	}
	return m
}
