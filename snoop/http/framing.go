package http

import (
	"strconv"
	"strings"

	"ntpac"
)

// requestFraming says how the body of a request at the cursor ends (RFC 9112 section 6.3).
func (m *message) requestFraming(s *ntpac.Stream) (framing, int64) {
	if m.chunked() && m.chunksFollow(s) {
		return byChunks, 0
	}
	if n := m.length(s); n > 0 {
		return byLength, n
	}
	return noBody, 0
}

// responseFraming says how the body of a response at the cursor ends. req is nil where the request is
// not known; it may have been HEAD then, which the bytes that follow must tell.
func (m *message) responseFraming(s *ntpac.Stream, req *message) (framing, int64) {
	if m.status == 204 || m.status == 304 || req != nil && req.method == "HEAD" {
		return noBody, 0
	}
	if (req == nil || req.method == "") && (m.contentAnnounced() || m.chunked()) && (starts(s) || s.EOF()) {
		return noBody, 0
	}
	if m.chunked() && m.chunksFollow(s) {
		return byChunks, 0
	}
	if n := m.length(s); n >= 0 {
		if n == 0 {
			return noBody, 0
		}
		return byLength, n
	}
	if !m.line {
		return noBody, 0 // half a head: what follows may be anything
	}
	return byClose, s.End() - s.Off()
}

// chunked reports whether the last transfer coding is chunked.
func (m *message) chunked() bool {
	te := m.fields.transferEncoding
	return te != "" && strings.EqualFold(strings.TrimSpace(te[strings.LastIndexByte(te, ',')+1:]), "chunked")
}

// chunksFollow reports whether a chunk begins at the cursor, or may begin there in a hole. Some
// servers announce chunks and send none, and some proxies and capture tools take them out.
func (m *message) chunksFollow(s *ntpac.Stream) bool {
	b := s.Peek(64)
	if len(b) == 0 {
		return true
	}
	ok := hexValue(b[0]) >= 0
	if i := indexLF(b); i >= 0 {
		_, ok = chunkSize(chomp(b[:i]))
	}
	if ok {
		return true
	}
	m.fail("the body is not chunked as announced")
	return false
}

func (m *message) contentAnnounced() bool {
	return m.fields.contentLength != "" && m.fields.contentLength != "0"
}

// length is the Content-Length; -1 without one, or with one that makes no sense. Of lengths that
// contradict one another it is the one behind which a message begins or the stream ends.
func (m *message) length(s *ntpac.Stream) int64 {
	v := m.fields.contentLength
	if v == "" {
		return -1
	}
	if n, ok := parseLength(v); ok {
		return n
	}
	best := int64(-1)
	var differ bool
	for part := range strings.SplitSeq(v, ",") {
		n, ok := parseLength(strings.TrimSpace(part))
		switch {
		case !ok:
			m.fail("bad Content-Length")
		case best < 0:
			best = n
		case n != best:
			differ = true
			if !fits(s, best) && fits(s, n) {
				best = n
			}
		}
	}
	if differ {
		m.fail("contradicting Content-Length fields")
		m.quality = worse(m.quality, ntpac.Guessed)
	}
	return best
}

func parseLength(v string) (int64, bool) {
	for i := range len(v) {
		if !digit(v[i]) {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil && n < 1<<62
}

// fits reports whether a message begins or the stream ends n positions behind the cursor.
func fits(s *ntpac.Stream, n int64) bool {
	off := s.Off()
	if off+n >= s.End() {
		return off+n == s.End()
	}
	s.MoveTo(off + n)
	ok := starts(s)
	s.MoveTo(off)
	return ok
}

// codings are the content codings to undo, outermost first: transfer codings but for chunked, then
// content codings.
func (m *message) codings() []string {
	if m.fields.contentEncoding == "" && len(m.fields.transferEncoding) <= len("chunked") {
		return nil
	}
	return appendCodings(appendCodings(nil, m.fields.transferEncoding), m.fields.contentEncoding)
}

// appendCodings adds the codings of a list, last first: they were applied in the order listed.
func appendCodings(codings []string, list string) []string {
	for list != "" {
		i := strings.LastIndexByte(list, ',')
		name, _, _ := strings.Cut(list[i+1:], ";")
		list = list[:max(i, 0)]
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "", "chunked", "identity":
		default:
			codings = append(codings, name)
		}
	}
	return codings
}

// expects reports whether the client may wait for leave to send its body (RFC 9110 section 10.1.1).
func (m *message) expects() bool {
	return len(m.fields.expect) >= 4 && strings.EqualFold(m.fields.expect[:4], "100-")
}

// tunnels reports whether a response opens a tunnel (RFC 9110 section 9.3.6).
func (m *message) tunnels(req *message) bool {
	if m.status < 200 || m.status > 299 {
		return false
	}
	if req != nil && req.method != "" {
		return req.method == "CONNECT"
	}
	return m.fields.contentLength == "" && m.fields.transferEncoding == "" && strings.EqualFold(m.reason, "Connection established")
}
