package mail

// qpState is what quoted-printable (RFC 2045 section 6.7) holds back: white space that may end a line,
// and an escape that is not complete.
type qpState struct {
	held []byte
}

// maxHeld bounds what is held back; white space beyond belongs to the text.
const maxHeld = 1 << 10

// quoted reads the content of a line or of a piece of one.
func (l *leaf) quoted(b []byte) {
	if h := l.qp.held; len(h) > 0 {
		b = append(h, b...)
		l.qp.held = h[:0]
	}
	start := 0
	for i := 0; i < len(b); i++ {
		if b[i] != '=' {
			continue
		}
		if i+2 >= len(b) {
			break
		}
		if hi, lo := hexValue(b[i+1]), hexValue(b[i+2]); hi < 16 && lo < 16 {
			l.put(b[start:i])
			l.put([]byte{hi<<4 | lo})
			i += 2
			start = i + 1
		}
	}
	b = b[start:]
	k := tail(b)
	if len(b)-k > maxHeld {
		k = len(b)
	}
	l.put(b[:k])
	l.qp.held = append(l.qp.held[:0], b[k:]...)
}

// tail is where the end of b begins whose meaning depends on what follows, or would depend on it if
// the end were not there: white space, an equals sign with at most one digit, a CR.
func tail(b []byte) int {
	k := len(b)
	if k > 0 && b[k-1] == '\r' {
		k--
	}
	for {
		k = trimBlank(b, k)
		switch {
		case k > 0 && b[k-1] == '=':
			k--
		case k > 1 && b[k-2] == '=':
			k -= 2
		default:
			return k
		}
	}
}

// trimBlank is where the run of spaces and tabs before k begins.
func trimBlank(b []byte, k int) int {
	for k > 0 && (b[k-1] == ' ' || b[k-1] == '\t') {
		k--
	}
	return k
}

// quotedEnd reads a line end: white space before it is not part of the text, and = before it takes it
// away.
func (l *leaf) quotedEnd(eol []byte) {
	h := l.qp.held
	l.qp.held = h[:0]
	if n := len(h); n > 0 && h[n-1] == '\r' {
		if len(eol) > 0 {
			l.put(h)
			l.put(eol)
			return
		}
		h, eol = h[:n-1], h[n-1:]
	}
	h = h[:trimBlank(h, len(h))]
	if n := len(h); n > 0 && h[n-1] == '=' {
		l.put(h[:n-1])
		return
	}
	l.put(h) // an escape that is none
	l.put(eol)
}

// quotedFinish ends the text.
func (l *leaf) quotedFinish() { l.quotedEnd(nil) }

// hexValue is the value of a hexadecimal digit, 0xff for anything else.
func hexValue(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
