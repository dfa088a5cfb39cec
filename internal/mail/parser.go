package mail

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"

	"ntpac"
)

// Parser reads one message that is handed to it in pieces, in order: Write for captured bytes, Skip
// for bytes of the carrier within them (transparency dots), Gap for holes; then Finish. It can be
// used again after Reset. Memory: bounded by the limits of this package, whatever is written.
type Parser struct {
	dir   ntpac.Dir
	sum   hash.Hash
	rng   ranges
	msg   Message
	dot   int64 // where the last transparency dot lies
	end   int64 // behind the last position seen
	at    int64 // where the line being read begins
	one   [1]piece
	carry []byte  // a line that has not ended yet
	parts []piece // where it lies
	first bool    // the next byte begins a line
	torn  bool    // a hole ends here: the next byte may begin a line
	cut   bool    // a hole ends the line being read

	state  state
	levels []level
	hdr    []byte     // the header being read
	hdrOff int64      // where it began
	ctype  ntpac.Span // its field Content-Type
	lost   bool       // a hole touches it
	top    bool       // it is the message's own
	part   bool       // it is that of a part of a multipart
	ent    entity
	nested int        // messages within messages, at this point
	wrap   ntpac.Span // what says so, since the last level

	leaf   leaf
	outer  []*leaf // the nested messages around
	plain  pickedText
	html   pickedText
	rest   pickedText // further text, of which nothing is kept
	excess int        // attachments beyond MaxParts
	deep   bool
}

// piece is a range of the stream.
type piece struct {
	off int64
	n   int
}

type state uint8

const (
	inHeader state = iota
	inBody         // of a leaf
	between        // preamble, epilogue
)

// level is an open multipart.
type level struct {
	boundary string     // empty: not known, the first delimiter line says it
	digest   bool       // its parts are messages unless they say otherwise
	outer    int        // how many nested messages that are attachments were open around it
	nested   int        // how many nested messages
	field    ntpac.Span // what names the boundary
	wrap     ntpac.Span // what says that a message is around it, since the level before
}

// pickedText is the first body of a kind: what Message.Text is made of.
type pickedText struct {
	raw     []byte
	charset string
	limit   int // bytes kept
	taken   bool
}

// NewParser makes a parser for a message of a direction's stream.
func NewParser(dir ntpac.Dir) *Parser {
	p := &Parser{sum: sha256.New()}
	p.leaf.init()
	p.Reset(dir)
	return p
}

// Reset makes the parser ready for the next message.
func (p *Parser) Reset(dir ntpac.Dir) {
	p.dir, p.msg, p.dot, p.end = dir, Message{}, -2, -1
	p.sum.Reset()
	p.rng.reset()
	p.carry, p.parts, p.hdr = p.carry[:0], p.parts[:0], p.hdr[:0]
	p.first, p.torn, p.lost, p.top, p.deep = true, false, false, true, false
	p.state, p.levels, p.nested, p.excess, p.hdrOff = inHeader, p.levels[:0], 0, 0, -1
	p.outer = p.outer[:0]
	p.ent, p.ctype, p.wrap, p.part = entity{}, ntpac.Span{}, ntpac.Span{}, false
	p.plain, p.html = pickedText{raw: p.plain.raw[:0], limit: MaxText}, pickedText{raw: p.html.raw[:0], limit: MaxText}
}

// Write reads captured bytes that lie at off. They are not kept.
func (p *Parser) Write(off int64, b []byte) {
	if len(b) == 0 {
		return
	}
	p.sum.Write(b)
	p.msg.Size += int64(len(b))
	p.rng.add(p.dir, off, int64(len(b)), p.dot)
	p.end = off + int64(len(b))
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i >= 0 && len(p.carry) == 0 {
			n, eol := i, 1
			if i > 0 && b[i-1] == '\r' {
				n, eol = i-1, 2
			}
			p.one[0] = piece{off, i + 1}
			p.line(b[:n], eol, p.one[:])
			off, b = off+int64(i)+1, b[i+1:]
			continue
		}
		n := len(b)
		if i >= 0 {
			n = i + 1
		}
		n = min(n, maxLine-len(p.carry))
		p.hold(off, b[:n])
		off, b = off+int64(n), b[n:]
		if p.carry[len(p.carry)-1] == '\n' || len(p.carry) >= maxLine {
			p.release()
		}
	}
}

// hold keeps the beginning of a line.
func (p *Parser) hold(off int64, b []byte) {
	p.carry = append(p.carry, b...)
	if k := len(p.parts) - 1; k >= 0 && p.parts[k].off+int64(p.parts[k].n) == off {
		p.parts[k].n += len(b)
		return
	}
	p.parts = append(p.parts, piece{off, len(b)})
}

// release reads what hold has kept, as a line or as a piece of one. A CR that may belong to a line end
// stays.
func (p *Parser) release() {
	b, eol := p.carry, 0
	switch {
	case bytes.HasSuffix(b, crlf):
		eol = 2
	case b[len(b)-1] == '\n':
		eol = 1
	case b[len(b)-1] == '\r' && len(b) > 1:
		b = b[:len(b)-1]
		last := &p.parts[len(p.parts)-1]
		last.n--
		cr := last.off + int64(last.n)
		p.line(b, 0, p.parts)
		p.carry = append(p.carry[:0], '\r')
		p.parts = append(p.parts[:0], piece{cr, 1})
		return
	}
	p.line(b[:len(b)-eol], eol, p.parts)
	p.carry, p.parts = p.carry[:0], p.parts[:0]
}

var crlf = []byte("\r\n")

// flush reads a line that will not end.
func (p *Parser) flush() {
	if len(p.carry) > 0 {
		p.line(p.carry, 0, p.parts)
		p.carry, p.parts = p.carry[:0], p.parts[:0]
	}
}

// HeadLost says that a hole lies before the message: its header may not be whole.
func (p *Parser) HeadLost() { p.lost = true }

// Skip passes over a transparency dot at off: it is not part of the message.
func (p *Parser) Skip(off int64) {
	p.dot, p.end = off, off+1
}

// Gap says that n positions of the message, from off on, were not captured.
func (p *Parser) Gap(off, n int64) {
	p.cut = true
	p.flush()
	p.cut = false
	p.msg.Missing += n
	p.rng.bridge(off, n)
	p.end = off + n
	p.torn, p.first = true, false
	switch p.state {
	case inHeader:
		p.lost = true
		if p.hdrOff < 0 {
			p.hdrOff = off
		}
		if k := len(p.hdr); k > 0 && p.hdr[k-1] != '\n' {
			p.hdr = append(p.hdr, '\n')
		}
	case inBody:
		p.leaf.gap(off, n)
	}
	for _, o := range p.outer {
		o.gap(off, n)
	}
}

// Finish ends the message and gives what was found. The parser's memory is not in it.
func (p *Parser) Finish() *Message {
	p.flush()
	p.at = max(p.end, 0)
	if p.state == inHeader && (len(p.hdr) > 0 || p.top) {
		p.body()
	}
	p.endLeaf(p.end, true)
	for len(p.outer) > 0 {
		p.endOuter(p.end, true)
	}
	m := p.msg
	p.sum.Sum(m.SHA256[:0])
	m.Blob = p.rng.blob(m.SHA256, m.Size)
	m.Text = p.plain.text()
	if m.Text == "" {
		m.Text = p.html.text()
	}
	switch {
	case p.excess > 0:
		m.Damage = fmt.Sprintf("%d attachments beyond the limit of %d", p.excess, MaxParts)
	case p.deep:
		m.Damage = fmt.Sprintf("parts nested deeper than %d", MaxDepth)
	}
	return &m
}

// line reads a line, or a piece of a long one (eol 0). ps says where it lies, its end included.
func (p *Parser) line(b []byte, eol int, ps []piece) {
	first, torn := p.first, p.torn
	p.first, p.torn, p.at = eol > 0, torn && eol == 0, ps[0].off
	if (first || torn) && len(b) > 2 && b[0] == '-' && b[1] == '-' && p.delimiter(b, first) {
		for _, o := range p.outer {
			o.write(b, eol, ps, p.dot)
		}
		return
	}
	for _, o := range p.outer {
		o.write(b, eol, ps, p.dot)
	}
	switch p.state {
	case inHeader:
		p.headerLine(b, eol, ps, first, torn)
	case inBody:
		p.leaf.write(b, eol, ps, p.dot)
	}
}

// headerLine collects a header. A line that can be no field ends it, as an empty one does, but belongs
// to the body.
func (p *Parser) headerLine(b []byte, eol int, ps []piece, first, torn bool) {
	if p.hdrOff < 0 {
		p.hdrOff = ps[0].off
	}
	switch {
	case torn && !knownField(b):
		return // the end of a field whose beginning is missing
	case !first: // a long line goes on
	case len(b) == 0 && eol > 0:
		p.body()
		return
	case len(p.hdr) == 0 && p.top && mboxFrom(b):
		return
	case p.cut && !fieldLine(b):
		return // the beginning of a field whose end is missing
	case !fieldLine(b):
		p.body()
		if p.state == inBody {
			p.leaf.write(b, eol, ps, p.dot)
		} else if p.state == between && len(b) > 2 && b[0] == '-' && b[1] == '-' {
			p.delimiter(b, true)
		}
		return
	}
	if len(p.hdr)+len(b) > MaxHeader {
		p.msg.Damage = "a header is longer than the limit"
		return
	}
	if isContentType(b) || len(b) > 0 && (b[0] == ' ' || b[0] == '\t') && p.ctype.Len > 0 && p.ctype.Off+p.ctype.Len == ps[0].off {
		if p.ctype.Len == 0 {
			p.ctype = ntpac.Span{Dir: p.dir, Off: ps[0].off}
		}
		last := ps[len(ps)-1]
		p.ctype.Len = last.off + int64(last.n) - p.ctype.Off
	}
	p.hdr = append(p.hdr, b...)
	if eol > 0 {
		p.hdr = append(p.hdr, '\n')
	}
}

// body ends a header and begins what it announces.
func (p *Parser) body() {
	p.ent.read(p.hdr, p.part && p.digest())
	p.part = false
	p.ent.lost = p.lost
	start, field := p.hdrOff, p.ctype
	if start < 0 {
		start = p.at // there is no header at all
	}
	if p.top {
		p.msg.read(p.hdr)
		p.top = false
	} else { // what a part is also rests on its delimiter
		field = ntpac.Span{Dir: p.dir, Off: start, Len: max(field.Off+field.Len-start, 1)}
	}
	p.hdr, p.hdrOff, p.ctype, p.lost = p.hdr[:0], -1, ntpac.Span{}, false
	switch e := &p.ent; {
	case e.multipart():
		if len(p.levels) >= MaxDepth {
			p.deep = true
			break
		}
		p.levels = append(p.levels, level{boundary: e.boundary, digest: e.ctype == "multipart/digest", outer: len(p.outer), nested: p.nested, field: field, wrap: p.wrap})
		p.wrap = ntpac.Span{}
		p.state = between
		return
	case e.message() && p.nested < MaxDepth:
		p.nested++
		if p.wrap.Len == 0 {
			p.wrap = field
		} else if field.Len > 0 {
			p.wrap.Len = field.Off + field.Len - p.wrap.Off
		}
		if len(p.outer) < containers {
			o := newLeaf()
			o.start(e, start, nil)
			p.outer = append(p.outer, o)
		}
		p.state = inHeader
		return
	}
	p.state = inBody
	p.leaf.start(&p.ent, start, p.pick(&p.ent))
}

func (p *Parser) digest() bool { return len(p.levels) > 0 && p.levels[len(p.levels)-1].digest }

// pick says where a body's text is kept, nil for one that is an attachment.
func (p *Parser) pick(e *entity) *pickedText {
	t := &p.plain
	switch {
	case e.attached():
		return nil
	case e.ctype == "text/html":
		t = &p.html
	}
	if t.taken || p.nested > 0 && (p.plain.taken || p.html.taken) {
		return &p.rest
	}
	t.taken, t.charset = true, e.charset
	return t
}
