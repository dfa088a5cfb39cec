package mail

import (
	"bytes"

	"ntpac"
)

// End says how a message that ends with a line of one dot ended.
type End uint8

// The ends.
const (
	Ended  End = iota // with its dot
	Cut               // the stream ended before
	InHole            // within the hole before the cursor
)

// ReadDot reads a message that is sent with transparency dots (RFC 5321 section 4.5.2, RFC 1939
// section 3), from the cursor to behind the line that ends it. over decides where the stream does not:
// whether the message is over at a position that lies behind a hole, or behind a dot that may or may
// not end it.
func (p *Parser) ReadDot(s *ntpac.Stream, over func(at int64) bool) End {
	lineStart, cr, torn := true, false, false
	for !s.EOF() {
		if off := s.Off(); s.Gap() > 0 {
			n := s.SkipGap()
			p.Gap(off, n)
			if !s.EOF() && over(s.Off()) {
				return InHole
			}
			torn = true
			continue
		}
		if lineStart || torn {
			if b := s.Peek(3); len(b) > 0 && b[0] == '.' {
				dots := true
				switch whole := len(b) == 3; {
				case whole && b[1] == '\r' && b[2] == '\n':
					if !torn || over(s.Off()+3) {
						s.Skip(3)
						return Ended
					}
					dots = false
				case !whole && (len(b) == 1 || b[1] == '\r') && s.Off()+int64(len(b)) == s.End():
					s.Skip(int64(len(b)))
					return Cut
				}
				if lineStart && dots {
					p.Skip(s.Off())
					s.Skip(1)
					lineStart, cr, torn = false, false, false
					continue
				}
			}
			lineStart, torn = false, false
		}
		b := s.Rest()
		if len(b) == 0 {
			break
		}
		for at := 0; ; {
			i := bytes.Index(b[at:], lfDot)
			if i < 0 {
				lineStart = endsLine(b, cr)
				break
			}
			at += i + 1
			if endsLine(b[:at], cr) {
				lineStart, b = true, b[:at]
				break
			}
			if n := dotLine(b[at:]); n > 0 {
				end := over(s.Off() + int64(at+n))
				b = s.Rest() // asking may have moved what was there
				if end {
					p.Write(s.Off(), b[:at])
					s.Skip(int64(at + n))
					return Ended
				}
			}
		}
		cr = b[len(b)-1] == '\r'
		p.Write(s.Off(), b)
		s.Skip(int64(len(b)))
	}
	return Cut
}

var lfDot = []byte("\n.")

// endsLine reports whether b ends with CRLF; cr says that a CR came before b.
func endsLine(b []byte, cr bool) bool {
	k := len(b)
	return k > 1 && b[k-1] == '\n' && b[k-2] == '\r' || k == 1 && b[0] == '\n' && cr
}

// dotLine is the length of a line of one dot at the beginning of b. Behind a bare LF it is no end of a
// message by the letter, but some servers take it for one.
func dotLine(b []byte) int {
	switch {
	case bytes.HasPrefix(b, []byte(".\r\n")):
		return 3
	case bytes.HasPrefix(b, []byte(".\n")):
		return 2
	}
	return 0
}

// ReadN reads n positions that are sent as they are (RFC 3030 section 2, RFC 3501 section 4.3), from
// the cursor on. false means that the stream ends before.
func (p *Parser) ReadN(s *ntpac.Stream, n int64) bool {
	end := s.Off() + n
	for s.Off() < end && !s.EOF() {
		off := s.Off()
		if g := min(s.Gap(), end-off); g > 0 {
			p.Gap(off, g)
			s.MoveTo(off + g)
			continue
		}
		b := s.Rest()
		if len(b) == 0 {
			break
		}
		b = b[:min(int64(len(b)), end-off)]
		p.Write(off, b)
		s.Skip(int64(len(b)))
	}
	return s.Off() >= end
}
