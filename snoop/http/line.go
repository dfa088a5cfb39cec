package http

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a message's head. Nothing real comes near; RFC 9110 section 2.3 asks for 8,000 bytes a
// line at least.
const (
	maxHead = 256 << 10
	maxLine = 64 << 10
)

// tokens are the characters of methods and field names (RFC 9110 section 5.6.2).
var tokens = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		t[c] = true
	}
	return t
}()

// maxMethod is longer than any registered method (BASELINE-CONTROL has 16 letters).
const maxMethod = 24

// requestLine finds the parts of a request line without its end (RFC 9112 section 3): the method is
// line[:m], the target line[m+1:t], the version line[t+1:]. Any token is a method; targets with
// spaces are taken as they are.
func requestLine[T string | []byte](line T) (m, t int, ok bool) {
	for m < len(line) && m <= maxMethod && tokens[line[m]] {
		m++
	}
	if m == 0 || m > maxMethod || m >= len(line) || line[m] != ' ' {
		return 0, 0, false
	}
	end := len(line)
	for end > m && line[end-1] == ' ' {
		end--
	}
	t = end - len("HTTP/1.1") - 1
	if t <= m+1 || line[t] != ' ' || !version(line[t+1:end]) {
		return 0, 0, false
	}
	for _, c := range []byte(line[m+1 : t]) {
		if c < ' ' || c == 0x7f {
			return 0, 0, false
		}
	}
	return m, t, true
}

// methods are those that servers know (the IANA registry, and what Exchange, Configuration Manager and UPnP add). They are
// looked for where a request may begin within a line.
var methods = [...]string{"GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "PROPFIND", "PROPPATCH",
	"MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "POLL",
	"BPROPFIND", "BPROPPATCH", "BCOPY", "BMOVE", "BDELETE", "ACL", "BIND", "UNBIND", "REBIND", "CHECKIN", "CHECKOUT",
	"UNCHECKOUT", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKWORKSPACE", "ORDERPATCH", "UPDATE", "LABEL", "LINK", "UNLINK",
	"VERSION-CONTROL", "BASELINE-CONTROL", "RPC_IN_DATA", "RPC_OUT_DATA", "CCM_POST", "BITS_POST", "PURGE", "SOURCE", "QUERY"}

// findRequest gives the index in a line at which a request line begins, -1 for none: behind the end
// of a body that has no line end, a method that is known tells where. start says that the line begins
// where a line begins; then any method is taken.
func findRequest[T string | []byte](line T, start bool) int {
	t := len(line)
	for t > 0 && line[t-1] == ' ' {
		t--
	}
	if t -= len(" HTTP/1.1"); t < 0 || line[t] != ' ' || !version(line[t+1:t+9]) {
		return -1
	}
	sp := t - 1
	for sp >= 0 && line[sp] != ' ' {
		sp--
	}
	best := 0
	for _, m := range methods {
		if k := len(m); k > best && sp >= k && string(line[sp-k:sp]) == m {
			best = k
		}
	}
	if best > 0 {
		if _, _, ok := requestLine(line[sp-best:]); ok {
			return sp - best
		}
	}
	if start {
		if _, _, ok := requestLine(line); ok {
			return 0
		}
	}
	return -1
}

// findStatus gives the index in a line at which a status line begins, -1 for none.
func findStatus(line []byte, start bool) int {
	for from := 0; ; from++ {
		i := bytes.Index(line[from:], []byte("HTTP/"))
		if i < 0 {
			break
		}
		from += i
		if _, _, _, ok := statusLine(line[from:]); ok {
			return from
		}
	}
	if start {
		if _, _, _, ok := statusLine(line); ok {
			return 0
		}
	}
	return -1
}

// version reports whether the text is HTTP/1.x, or HTTP/0.9 as a few servers call themselves, in any
// case of letters.
func version[T string | []byte](v T) bool {
	return len(v) == len("HTTP/1.1") && v[0]|0x20 == 'h' && v[1]|0x20 == 't' && v[2]|0x20 == 't' && v[3]|0x20 == 'p' && v[4] == '/' &&
		(v[5] == '1' || v[5] == '0') && v[6] == '.' && digit(v[7])
}

// knownRequest measures the method of a line that begins as a request does, however it goes on: a
// known method, alone or before a space and printable text. 0 for none.
func knownRequest[T string | []byte](line T) int {
	m := 0
	for m < len(line) && m <= maxMethod && tokens[line[m]] {
		m++
	}
	if m < len(line) && line[m] != ' ' || !slices.Contains(methods[:], string(line[:m])) {
		return 0
	}
	for _, c := range []byte(line[m:]) {
		if c < ' ' || c == 0x7f {
			return 0
		}
	}
	for _, other := range [...]string{"RTSP/", "SIP/"} {
		if strings.Contains(string(line), other) {
			return 0
		}
	}
	return m
}

// statusLine reads a status line without its end (RFC 9112 section 4): the version is line[:v], the
// reason line[reason:]. SHOUTcast servers say ICY for the version, and BearShare leaves its number out.
func statusLine[T string | []byte](line T) (v, status, reason int, ok bool) {
	switch {
	case len(line) >= 12 && version(line[:8]):
		v = 8
	case len(line) >= 7 && string(line[:3]) == "ICY":
		v = 3
	case len(line) >= 8 && string(line[:5]) == "HTTP ":
		v = 4
	default:
		return 0, 0, 0, false
	}
	i := v
	for i < len(line) && line[i] == ' ' {
		i++
	}
	if i == v || len(line) < i+3 || line[i] < '1' || !digit(line[i]) || !digit(line[i+1]) || !digit(line[i+2]) {
		return 0, 0, 0, false
	}
	status = int(line[i]-'0')*100 + int(line[i+1]-'0')*10 + int(line[i+2]-'0')
	i += 3
	switch {
	case i == len(line):
		return v, status, i, true
	case line[i] != ' ':
		return 0, 0, 0, false
	}
	return v, status, i + 1, true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// chomp takes a trailing CR off a line whose LF is gone.
func chomp[T string | []byte](line T) T {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// fieldName measures the name of a field line; 0 where the line is none.
func fieldName[T string | []byte](line T) int {
	i := 0
	for i < len(line) && tokens[line[i]] {
		i++
	}
	n := i
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i == len(line) || line[i] != ':' {
		return 0
	}
	return n
}

// headEnd finds the empty line that ends a head and gives the index behind it, -1 where it is not in b.
func headEnd(b []byte) int {
	for i := 0; ; {
		k := indexLF(b[i:])
		if k < 0 {
			return -1
		}
		i += k + 1
		switch {
		case i < len(b) && b[i] == '\n':
			return i + 1
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			return i + 2
		}
	}
}

// latin1 makes text of bytes: UTF-8 stays, every other byte becomes the Latin-1 character of its value.
func latin1(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b) + len(b)/8)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			r = rune(b[0])
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}
