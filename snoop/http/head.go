package http

import (
	"bytes"
	"slices"
	"strings"

	"ntpac"
)

// message is one request or response as far as it was captured.
type message struct {
	start    int64 // where it lies in its stream
	headEnd  int64
	end      int64
	time     ntpac.Time // of its first byte
	order    uint64
	breaks   int  // of a request: reader.breaks when it was read
	line     bool // the start line is known; without it the message is the tail of a head and a body
	method   string
	target   string
	version  string
	status   int
	reason   string
	text     string // field lines as sent
	fields   fields
	body     body
	trailers string
	interim  []interim // of a request: the 1xx responses to it
	err      string    // what is wrong, the first thing

	quality     ntpac.Quality // gapped: a hole or the stream's end cuts it; guessed: where it ends was assumed
	headQuality ntpac.Quality

	interimQuality ntpac.Quality
}

func (m *message) fail(err string) {
	if m.err == "" {
		m.err = err
	}
}

// interim is a 1xx response.
type interim struct {
	status int
	span   ntpac.Span
}

// cutHead marks a message whose head is not whole.
func (m *message) cutHead(err string) {
	m.fail(err)
	m.quality, m.headQuality = ntpac.Gapped, ntpac.Gapped
}

// fields are the values that matter here; of fields that are sent twice the first, of lists all.
type fields struct {
	host, userAgent, referer, contentType, contentLength, contentEncoding, transferEncoding string
	disposition, authorization, proxyAuthorization, upgrade, connection, expect             string
}

// at gives the place of a field's value and whether it is a list.
func (f *fields) at(name string) (value *string, list bool) {
	switch len(name) {
	case 4:
		return match(name, "host", &f.host), false
	case 6:
		return match(name, "expect", &f.expect), false
	case 7:
		if p := match(name, "referer", &f.referer); p != nil {
			return p, false
		}
		return match(name, "upgrade", &f.upgrade), true
	case 10:
		if p := match(name, "user-agent", &f.userAgent); p != nil {
			return p, false
		}
		return match(name, "connection", &f.connection), true
	case 12:
		return match(name, "content-type", &f.contentType), false
	case 13:
		return match(name, "authorization", &f.authorization), false
	case 14:
		return match(name, "content-length", &f.contentLength), true
	case 16:
		return match(name, "content-encoding", &f.contentEncoding), true
	case 17:
		return match(name, "transfer-encoding", &f.transferEncoding), true
	case 19:
		if p := match(name, "content-disposition", &f.disposition); p != nil {
			return p, false
		}
		return match(name, "proxy-authorization", &f.proxyAuthorization), false
	}
	return nil, false
}

func match(name, want string, v *string) *string {
	if strings.EqualFold(name, want) {
		return v
	}
	return nil
}

// telling are fields that neither mail nor plain text has.
func telling(name string) bool {
	for _, w := range [...]string{"host", "user-agent", "accept", "accept-encoding", "accept-language", "cookie",
		"connection", "content-length", "server", "set-cookie", "etag", "last-modified", "cache-control",
		"transfer-encoding", "content-encoding", "accept-ranges", "keep-alive", "referer"} {
		if strings.EqualFold(name, w) {
			return true
		}
	}
	return false
}

// parse reads whole field lines. Obsolete folding (RFC 9112 section 5.2) is undone with one space.
func (f *fields) parse(text string, m *message) {
	var last *string
	for len(text) > 0 {
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			return
		}
		line := chomp(text[:i])
		text = text[i+1:]
		if i > maxLine {
			m.fail("header line over 64 KiB")
		}
		if line == "" {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if last != nil {
				*last += " " + strings.Trim(line, " \t")
			}
			continue
		}
		last = nil
		n := fieldName(line)
		if n == 0 {
			continue
		}
		p, list := f.at(line[:n])
		if p == nil {
			continue
		}
		v := line[n:]
		v = strings.Trim(v[strings.IndexByte(v, ':')+1:], " \t")
		switch {
		case *p == "":
			*p, last = v, p
		case list:
			*p, last = *p+", "+v, p
		}
	}
}

// skipBlank moves over the empty lines that may come before a start line (RFC 9112 section 2.2), and
// says whether there were any.
func skipBlank(s *ntpac.Stream) (any bool) {
	for {
		switch b := s.Peek(2); {
		case len(b) > 0 && b[0] == '\n':
			s.Skip(1)
		case len(b) > 1 && b[0] == '\r' && b[1] == '\n':
			s.Skip(2)
		default:
			return any
		}
		any = true
	}
}

// find gives the index in a line at which a message of the direction begins, -1 for none.
func find(line []byte, dir ntpac.Dir, start bool) int {
	if dir == ntpac.Up {
		return findRequest(line, start)
	}
	return findStatus(line, start)
}

// starts reports whether a start line of the direction begins at the cursor, where a message is due. A
// line that a hole or the end cuts counts if it can be told.
func starts(s *ntpac.Stream) bool {
	b := s.Rest()
	if len(b) == 0 || s.Dir == ntpac.Down && b[0]|0x20 != 'h' && b[0] != 'I' || !tokens[b[0]] {
		return false
	}
	b, i := line(s)
	if i < 0 {
		return len(b) < maxLine && cutLine(b, s.Dir)
	}
	line := chomp(b[:i])
	switch find(line, s.Dir, true) {
	case 0:
		return true
	case -1:
		return false
	}
	// A known method ends the first word: junk and a request, or a method of upper-case letters.
	m, _, ok := requestLine(line)
	return ok && string(line[:m]) == strings.ToUpper(string(line[:m]))
}

// line gives the bytes in which the end of the line at the cursor has to come, and the index of its
// LF, -1 for none.
func line(s *ntpac.Stream) ([]byte, int) {
	b := s.Rest()
	b = b[:min(len(b), maxLine)]
	i := indexLF(b)
	if i < 0 && len(b) < maxLine {
		b = s.Peek(maxLine)
		i = indexLF(b)
	}
	return b, i
}

// cutLine reports whether a line whose end is not there was to be a start line, however little of it is.
func cutLine(b []byte, dir ntpac.Dir) (ok bool) {
	if dir == ntpac.Down {
		_, _, _, ok = statusLine(b)
		return ok || cutStatus(b)
	}
	m := knownRequest(chomp(b))
	if m == 0 {
		return cutMethod(b)
	}
	return len(b) <= m+1 || b[m+1] == '/' || b[m+1] == '*' || hasPrefixFold(string(b[m+1:min(len(b), m+5)]), "http"[:min(len(b)-m-1, 4)])
}

// cutStatus reports whether bytes are the beginning of a status line before its reason.
func cutStatus(b []byte) bool {
	const shape = "HTTP/1.0 200"
	if len(b) == 0 || len(b) > len(shape) {
		return false
	}
	for i, c := range b {
		if !digit(shape[i]) && c != shape[i] || digit(shape[i]) && !digit(c) {
			return false
		}
	}
	return true
}

// cutMethod reports whether bytes are the beginning of a request's method.
func cutMethod(b []byte) bool {
	return len(b) > 0 && slices.ContainsFunc(methods[:], func(m string) bool { return strings.HasPrefix(m, string(b)) })
}

// behindMethod reports whether a line behind a hole is the rest of a request line whose hole ends within the
// method: it looks like a request of a method that nobody knows.
func behindMethod(line []byte) bool {
	m, _, ok := requestLine(line)
	return ok && !slices.Contains(methods[:], string(line[:m])) &&
		slices.ContainsFunc(methods[:], func(known string) bool { return strings.HasSuffix(known, string(line[:m])) })
}

// malformed reports whether a line begins at the cursor that was meant for a request line, or is one
// of HTTP/0.9.
func malformed(s *ntpac.Stream) bool {
	b, i := line(s)
	return s.Dir == ntpac.Up && i >= 0 && knownRequest(chomp(b[:i])) > 0
}

// seek moves to where the next message begins, which need not be the beginning of a line: bodies end
// without one. It stops at holes and at the end. start says that the cursor is where a line begins.
func seek(s *ntpac.Stream, start bool) {
	for {
		b, i := line(s)
		switch {
		case i >= 0:
			line := chomp(b[:i])
			k := find(line, s.Dir, true)
			if k == 0 && (start || find(line, s.Dir, false) == 0) || k >= 0 && fieldFollows(s, i+1) {
				s.Skip(int64(k))
				return
			}
			s.Skip(int64(i) + 1)
			start = true
		case len(b) < maxLine:
			s.Skip(int64(len(b)))
			return
		default:
			s.Skip(maxLine - maxLine/8) // a start line may begin in the rest
			start = false
		}
	}
}

// fieldFollows reports whether a field line begins n bytes behind the cursor, or a hole or the end
// hides what begins there. Within a line, a start line alone would be too little to go by.
func fieldFollows(s *ntpac.Stream, n int) bool {
	const enough = 40 // names of fields are shorter
	b := s.Peek(n + enough)[n:]
	i := 0
	for i < len(b) && tokens[b[i]] {
		i++
	}
	if i == len(b) {
		return len(b) < enough
	}
	return i > 0 && b[i] == ':'
}

// readHead reads the head at the cursor, where a start line begins. Not ok means that its end did not
// come: where the body begins is unknown.
func readHead(s *ntpac.Stream, m *message) (ok bool) {
	b := s.Rest()
	b = b[:min(len(b), maxHead)]
	end := headEnd(b)
	for n := 16 << 10; end < 0 && n <= maxHead; n *= 16 {
		b = s.Peek(n)
		end = headEnd(b)
	}
	if ok = end >= 0; !ok {
		end = min(len(b), maxHead)
	}
	all := latin1(b[:end])
	s.Skip(int64(end))
	line, text, _ := strings.Cut(all, "\n")
	m.startLine(chomp(line), s.Dir)
	m.text = text
	m.fields.parse(text, m)
	switch {
	case ok:
		m.text = trimBlank(m.text)
	case end == maxHead:
		m.cutHead("head over 256 KiB")
	case s.Gap() > 0:
		m.cutHead("hole in the head")
	default:
		m.cutHead("the stream ends in the head")
	}
	m.headEnd, m.end = s.Off(), s.Off()
	return ok
}

// readSimple reads a request of HTTP/0.9: a line and nothing else. Not ok means that it is none.
func readSimple(s *ntpac.Stream, m *message) bool {
	b, i := line(s)
	line := chomp(b[:i])
	k := knownRequest(line)
	if k == 0 || fieldName(b[i+1:]) > 0 {
		return false
	}
	switch target := bytes.TrimLeft(line[k:], " "); {
	case len(target) == 0:
		m.fail("no request target")
	case target[0] != '/' || bytes.IndexByte(target, ' ') >= 0:
		return false
	}
	m.startLine(latin1(line), ntpac.Up)
	m.version = "HTTP/0.9"
	s.Skip(int64(i) + 1)
	m.headEnd, m.end = s.Off(), s.Off()
	return true
}

// startLine takes a start line apart, as far as it is there.
func (m *message) startLine(line string, dir ntpac.Dir) {
	m.line = true
	if dir == ntpac.Down {
		v, status, reason, _ := statusLine(line)
		m.version, m.status, m.reason = line[:v], status, line[reason:]
		return
	}
	if a, b, ok := requestLine(line); ok {
		m.method, m.target, m.version = line[:a], line[a+1:b], strings.TrimRight(line[b+1:], " ")
		if i := strings.IndexByte(m.target, ' '); i >= 0 && m.method == "CONNECT" {
			m.target = m.target[:i] // an authority has no spaces
			m.fail("text behind the authority")
		}
		return
	}
	m.method, m.target, _ = strings.Cut(line, " ")
	m.target, m.version, _ = strings.Cut(m.target, " ")
}

// trimBlank takes the empty line off the end of a head.
func trimBlank(text string) string {
	text = strings.TrimSuffix(text, "\n")
	return strings.TrimSuffix(text, "\r")
}

// readTail reads the rest of a head whose beginning is in the hole before the cursor: a line, whole or
// not, and field lines to an empty one, of which some must be HTTP's own. ok means that it was one.
func readTail(s *ntpac.Stream, m *message) bool {
	b := s.Peek(maxLine)
	end := headEnd(b)
	if end < 0 {
		return false
	}
	found := 0
	for i, rest := 0, b[:end]; len(rest) > 0; i++ {
		k := indexLF(rest)
		line := chomp(rest[:k])
		rest = rest[k+1:]
		if find(line, s.Dir, true) >= 0 && !(i == 0 && s.Dir == ntpac.Up && behindMethod(line)) || !plain(line) {
			return false
		}
		if i == 0 || len(line) == 0 || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		n := fieldName(line)
		if n == 0 {
			return false
		}
		if telling(string(line[:n])) {
			found++
		}
	}
	if found == 0 {
		return false
	}
	text := latin1(b[:end])
	s.Skip(int64(end))
	m.fields.parse(text[strings.IndexByte(text, '\n')+1:], m)
	m.text += trimBlank(text)
	m.headEnd, m.end = s.Off(), s.Off()
	return true
}

// plain reports whether a line has no control characters but tabs.
func plain(line []byte) bool {
	for _, c := range line {
		if c < ' ' && c != '\t' {
			return false
		}
	}
	return true
}
