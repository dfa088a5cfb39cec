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
	k := len(b)
	for k > 0 && (b[k-1] == ' ' || b[k-1] == '\t') {
		k--
	}
	switch {
	case k > 0 && b[k-1] == '=':
		k--
	case k == len(b) && k > 1 && b[k-2] == '=':
		k -= 2
	}
	if len(b)-k > maxHeld {
		k = len(b)
	}
	l.put(b[:k])
	l.qp.held = append(l.qp.held[:0], b[k:]...)
}

// quotedEnd reads a line end: white space before it is not part of the text, and = before it takes it
// away.
func (l *leaf) quotedEnd(eol []byte) {
	h := l.qp.held
	l.qp.held = h[:0]
	for len(h) > 0 && (h[len(h)-1] == ' ' || h[len(h)-1] == '\t') {
		h = h[:len(h)-1]
	}
	switch {
	case len(h) == 1 && h[0] == '=':
		return
	case len(h) > 0:
		l.put(h) // no escape after all
	}
	l.put(eol)
}

// quotedFinish ends the text.
func (l *leaf) quotedFinish() {
	l.quotedEnd(nil)
}

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
