package http

import (
	"bytes"

	"ntpac"
)

func indexLF(b []byte) int { return bytes.IndexByte(b, '\n') }

// look is what the first bytes of a direction look like.
type look uint8

const (
	nothing  look = iota // no bytes
	foreign              // not HTTP
	unclear              // may be HTTP: starts in mid-message, or ends before the first line does
	simple               // begins as a request does, but not with a request line of HTTP/1
	request              // begins with a request line, or has one later
	response             // begins with a status line, or has one later
)

// Probe is certain where a direction begins with a start line, or, where its beginning is not known,
// has one later.
func (*Snooper) Probe(h *ntpac.Head) ntpac.Verdict {
	if h.Proto != ntpac.TCP && h.Proto != ntpac.UDP {
		return ntpac.Verdict{}
	}
	udp := h.Proto == ntpac.UDP
	up, down := lookAt(h.Data[ntpac.Up], udp || h.Known[ntpac.Up]), lookAt(h.Data[ntpac.Down], udp || h.Known[ntpac.Down])
	switch {
	case up == request, up != response && down == response:
		return ntpac.Verdict{Confidence: ntpac.Certain}
	case down == request, up == response:
		return ntpac.Verdict{Confidence: ntpac.Certain, Swapped: true}
	case udp:
		return ntpac.Verdict{}
	case up == simple:
		return ntpac.Verdict{Confidence: ntpac.Unsure}
	case up == foreign || down == foreign || up == nothing && down == nothing:
		return ntpac.Verdict{}
	}
	return ntpac.Verdict{Confidence: ntpac.Unsure}
}

func lookAt(b []byte, known bool) look {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	if len(b) == 0 {
		return nothing
	}
	l := lookAtLine(b)
	if l >= request || known {
		return l
	}
	for start := false; ; start = true {
		i := indexLF(b)
		if i < 0 {
			return unclear
		}
		line := chomp(b[:i])
		if findRequest(line, start) >= 0 {
			return request
		}
		if findStatus(line, start) >= 0 {
			return response
		}
		b = b[i+1:]
	}
}

// lookAtLine says what begins with the line at the head of b.
func lookAtLine(b []byte) look {
	i := indexLF(b)
	if i < 0 {
		return lookAtPart(b)
	}
	line := chomp(b[:i])
	if _, _, ok := requestLine(line); ok {
		return request
	}
	if _, _, _, ok := statusLine(line); ok {
		return response
	}
	if m := knownRequest(line); m > 0 && (len(line) <= m+1 || line[m+1] == '/') {
		return simple // HTTP/0.9, or what a scanner sends
	}
	return foreign
}

// lookAtPart says what a line may become whose end is not there.
func lookAtPart(b []byte) look {
	if _, _, _, ok := statusLine(b); ok {
		return response
	}
	if short := min(len(b), len("HTTP/1.")); hasPrefixFold("HTTP/1.", string(b[:short])) {
		return unclear
	}
	i := bytes.IndexByte(b, ' ')
	if i < 0 {
		i = len(b)
	}
	if i > maxMethod {
		return foreign
	}
	for _, c := range b[:i] {
		if !(c >= 'A' && c <= 'Z' || c == '-' || c == '_') {
			return foreign
		}
	}
	if rest := b[i:]; len(rest) > 1 && rest[1] != '/' && rest[1] != '*' && rest[1] != 'h' && rest[1] != 'H' {
		return foreign
	}
	for _, c := range b[i:] {
		if c < ' ' || c == 0x7f {
			return foreign
		}
	}
	return unclear
}
