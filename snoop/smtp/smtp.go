// Package smtp reads mail on its way: SMTP and ESMTP (RFC 5321), LMTP (RFC 2033), message submission
// (RFC 6409), chunking (RFC 3030), authentication (RFC 4954). It gives the messages with their
// envelopes, their attachments as files, and what clients prove themselves with.
package smtp

import (
	"bytes"
	"context"

	"ntpac"
	"ntpac/internal/reply"
)

// Snooper reads SMTP.
type Snooper struct{}

// New makes the snooper.
func New() *Snooper { return &Snooper{} }

// Info describes the snooper.
func (*Snooper) Info() ntpac.SnooperInfo {
	return ntpac.SnooperInfo{Name: "smtp", Version: 2, Protos: []ntpac.Proto{ntpac.TCP}, Ports: []uint16{25, 587, 2525, 24, 465},
		Types: []string{"mail", "file", "credential", "tls"},
		Holes: "Parts of a message that a hole does not touch stay exact; commands are found again at the next line, and paired with replies by the order of capture."}
}

// Probe recognises SMTP by the words of both sides: the greeting alone may be FTP's.
func (*Snooper) Probe(h *ntpac.Head) ntpac.Verdict {
	right := judge(h.Data[ntpac.Up], h.Data[ntpac.Down])
	if right == ntpac.Certain || h.Known[ntpac.Up] && h.Known[ntpac.Down] && len(h.Data[ntpac.Up]) > 0 && len(h.Data[ntpac.Down]) > 0 && right > ntpac.NotMine {
		return ntpac.Verdict{Confidence: right}
	}
	if wrong := judge(h.Data[ntpac.Down], h.Data[ntpac.Up]); wrong > right {
		return ntpac.Verdict{Confidence: wrong, Swapped: true}
	}
	return ntpac.Verdict{Confidence: right}
}

// judge says how well the two sides look like an SMTP client and server.
func judge(client, server []byte) ntpac.Confidence {
	c, s := clientWords(client), serverWords(server)
	switch {
	case c == foreign || s == foreign:
		return ntpac.NotMine
	case c == own || s == own:
		return ntpac.Certain
	case c == possible || s == possible:
		return ntpac.Unsure
	}
	return ntpac.NotMine
}

// words says what one side's first bytes are.
type words uint8

const (
	silent   words = iota // nothing was captured
	possible              // SMTP, or something that looks like it
	own                   // SMTP
	foreign               // something else
)

// clientWords looks at the client's first line.
func clientWords(b []byte) words {
	if len(b) == 0 {
		return silent
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	v, arg := splitCommand(line)
	switch verbOf(v) {
	case ehlo, helo, lhlo:
		return own
	case mailFrom:
		if hasFold(arg, "from:") {
			return own
		}
	case rcptTo:
		if hasFold(arg, "to:") {
			return own
		}
	case bdat:
		return own
	case data, rset, starttls:
		return possible
	case noop, quit, auth, help: // FTP and POP3 have these words too
		return possible
	case other:
		if plausibleStart(line) {
			return silent
		}
	}
	return foreign
}

// plausibleStart reports whether a conversation whose beginning is missing may begin so: the rest of a
// line of text. It says nothing for or against SMTP.
func plausibleStart(line []byte) bool {
	for _, c := range line[:min(len(line), 64)] {
		if c < ' ' && c != '\t' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}

// serverWords looks at the server's first reply.
func serverWords(b []byte) words {
	if len(b) == 0 {
		return silent
	}
	if len(b) < 4 || b[0] < '2' || b[0] > '5' || b[1] > '9' || b[1] < '0' || b[2] > '9' || b[2] < '0' || b[3] != ' ' && b[3] != '-' && b[3] != '\r' && b[3] != '\n' {
		return foreign
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	switch string(b[:3]) {
	case "220":
		if containsFold(line, "smtp") || containsFold(line, "lmtp") {
			return own
		}
		if containsFold(line, "ftp") || bytes.HasPrefix(rest, []byte("331 ")) {
			return foreign
		}
		if bytes.Contains(rest, []byte("\n354 ")) || bytes.HasPrefix(rest, []byte("250-")) {
			return own
		}
		return possible
	case "250":
		if enhanced(b[4:]) || bytes.Contains(rest, []byte("354 ")) || containsFold(b, "pipelining") || containsFold(b, "8bitmime") {
			return own
		}
		return possible
	case "354", "334":
		return own
	case "235", "251", "252", "421", "450", "451", "452", "500", "501", "502", "503", "504", "535", "550", "551", "552", "553", "554":
		if enhanced(b[4:]) {
			return own
		}
		return possible
	case "221":
		return possible
	}
	return foreign
}

// enhanced reports whether a text begins with an enhanced status code (RFC 3463), which FTP never sends.
func enhanced(b []byte) bool {
	return len(b) >= 5 && (b[0] == '2' || b[0] == '4' || b[0] == '5') && b[1] == '.' && b[2] >= '0' && b[2] <= '9' &&
		(b[3] == '.' || b[4] == '.')
}

// Snoop reads the conversation.
func (*Snooper) Snoop(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	s := session{ctx: ctx, d: d, up: d.Up, when: d.Fresh(), emit: emit, start: -1, hole: -1}
	s.replies.Init(d)
	s.replies.Orphan = func(p *reply.Reply) {
		if p.Code == 334 {
			s.asked = string(p.Text)
		}
	}
	return s.run()
}

// hasFold reports whether b begins with a word, which is given in lower case.
func hasFold(b []byte, word string) bool {
	if len(b) < len(word) {
		return false
	}
	for i := range len(word) {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// containsFold reports whether a word, which is given in lower case, is in b.
func containsFold(b []byte, word string) bool {
	for i := 0; i+len(word) <= len(b); i++ {
		if hasFold(b[i:], word) {
			return true
		}
	}
	return false
}
