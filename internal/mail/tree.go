package mail

import (
	"bytes"

	"ntpac"
)

// delimiter reads a boundary line; false where it is none. The line end before it belongs to it.
func (p *Parser) delimiter(b []byte, first bool) bool {
	for i := len(p.levels) - 1; i >= 0; i-- {
		l := &p.levels[i]
		if l.boundary == "" && first && p.state == between && plausibleBoundary(b[2:]) {
			l.boundary = string(bytes.TrimRight(b[2:], " \t"))
		}
		if is, last := matchBoundary(b, l.boundary); is {
			p.close(i, last)
			return true
		}
	}
	if e := &p.ent; first && p.state == inBody && e.lost && !e.typed && len(p.levels) == 0 && plausibleBoundary(b[2:]) {
		// The hole took the header that names the boundary: this line looks like one.
		p.levels = append(p.levels, level{boundary: string(bytes.TrimRight(b[2:], " \t"))})
		p.close(len(p.levels)-1, false)
		return true
	}
	return false
}

// close ends everything within the multipart of a level, and the part before the delimiter.
func (p *Parser) close(i int, last bool) {
	l := p.levels[i]
	if p.state == inHeader {
		p.body() // a part without a body
	}
	p.endLeaf(p.at, false)
	for len(p.outer) > l.outer {
		p.endOuter(p.at, false)
	}
	p.nested, p.wrap = l.nested, ntpac.Span{}
	p.levels = p.levels[:i+1]
	p.state, p.part, p.hdrOff = inHeader, true, p.at
	if last {
		p.levels = p.levels[:i]
		p.state = between
	}
}

func (p *Parser) endLeaf(at int64, eol bool) {
	if p.state == inBody {
		p.report(&p.leaf, at, eol)
	}
	p.state = between
}

func (p *Parser) endOuter(at int64, eol bool) {
	k := len(p.outer) - 1
	p.report(p.outer[k], at, eol)
	p.outer = p.outer[:k]
}

// report adds a body that ends at a position to the message's attachments. An empty text gives way to
// the next one.
func (p *Parser) report(l *leaf, at int64, eol bool) {
	if t := l.text; t != nil {
		l.finish(eol)
		t.taken = len(t.raw) > 0
		return
	}
	if len(p.msg.Attachments) >= MaxParts {
		p.excess++
		return
	}
	a := l.attachment(p.dir, at, eol)
	around := func(f ntpac.Span) {
		if f.Len > 0 && f.Off < l.begin {
			a.Spans = append(a.Spans, f)
		}
	}
	for i := range p.levels {
		around(p.levels[i].wrap)
		around(p.levels[i].field)
	}
	around(p.wrap)
	a.Spans = append(a.Spans, ntpac.Span{Dir: p.dir, Off: l.begin, Len: a.end - l.begin})
	p.msg.Attachments = append(p.msg.Attachments, a)
}
