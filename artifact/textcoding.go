package artifact

import (
	"bytes"
	"io"
)

// textInput is the buffered input of a text coding.
type textInput struct {
	src  io.Reader
	r, w int
	err  error
	buf  [4096]byte
}

func (t *textInput) reset(r io.Reader) { t.src, t.r, t.w, t.err = r, 0, 0, nil }

// fill makes at least n bytes available, fewer only at the end of the input. n is small.
func (t *textInput) fill(n int) int {
	if t.w-t.r < n && t.err == nil {
		t.w = copy(t.buf[:], t.buf[t.r:t.w])
		t.r = 0
		for t.w < n && t.err == nil {
			var k int
			k, t.err = t.src.Read(t.buf[t.w:])
			t.w += k
		}
	}
	return t.w - t.r
}

// end is the error behind the last byte.
func (t *textInput) end() error {
	if t.err == nil {
		return io.EOF
	}
	return t.err
}

// base64Coding reads base64 as mail and the web send it (RFC 2045 section 6.8): characters outside
// the alphabet are ignored, padding may be missing, and what follows padding starts anew. The
// alphabet of RFC 4648 section 5 is read too.
type base64Coding struct {
	in    textInput
	acc   uint32 // bits not yet given
	n     int    // characters in acc
	group [3]byte
	left  []byte // of group, for readers that ask for less
}

func (b *base64Coding) reset(r io.Reader) {
	b.in.reset(r)
	b.acc, b.n, b.left = 0, 0, nil
}

var base64Values = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = uint8(i)
	}
	t['-'], t['_'], t['='] = 62, 63, 64
	return t
}()

func (b *base64Coding) Read(p []byte) (int, error) {
	if len(b.left) == 0 && len(p) < len(b.group) {
		n, err := b.decode(b.group[:])
		if n == 0 {
			return 0, err
		}
		b.left = b.group[:n]
	}
	if len(b.left) > 0 {
		n := copy(p, b.left)
		b.left = b.left[n:]
		return n, nil
	}
	return b.decode(p)
}

// decode fills p, which has room for a group, with whole groups.
func (b *base64Coding) decode(p []byte) (n int, err error) {
	for n+3 <= len(p) {
		if b.n == 0 {
			n += b.groups(p[n:])
			if n+3 > len(p) {
				break
			}
		}
		if b.in.r == b.in.w && b.in.fill(1) == 0 {
			if n += b.flush(p[n:]); n > 0 {
				return n, nil
			}
			return 0, b.in.end()
		}
		v := base64Values[b.in.buf[b.in.r]]
		b.in.r++
		switch {
		case v < 64:
			b.acc = b.acc<<6 | uint32(v)
			if b.n++; b.n == 4 {
				p[n], p[n+1], p[n+2] = byte(b.acc>>16), byte(b.acc>>8), byte(b.acc)
				n += 3
				b.acc, b.n = 0, 0
			}
		case v == 64:
			n += b.flush(p[n:])
		}
	}
	return n, nil
}

// groups decodes whole groups as long as nothing lies between their characters.
func (b *base64Coding) groups(p []byte) (n int) {
	in := b.in.buf[b.in.r:b.in.w]
	i := 0
	for i+4 <= len(in) && n+3 <= len(p) {
		c0, c1, c2, c3 := base64Values[in[i]], base64Values[in[i+1]], base64Values[in[i+2]], base64Values[in[i+3]]
		if (c0|c1|c2|c3)&0xc0 != 0 {
			break
		}
		p[n], p[n+1], p[n+2] = c0<<2|c1>>4, c1<<4|c2>>2, c2<<6|c3
		n += 3
		i += 4
	}
	b.in.r += i
	return n
}

// flush gives the bytes of an incomplete group.
func (b *base64Coding) flush(p []byte) int {
	acc, n := b.acc, b.n
	b.acc, b.n = 0, 0
	switch n {
	case 2:
		p[0] = byte(acc >> 4)
		return 1
	case 3:
		p[0], p[1] = byte(acc>>10), byte(acc>>2)
		return 2
	}
	return 0
}

// qpCoding reads quoted-printable (RFC 2045 section 6.7). What is not well-formed stands for itself.
type qpCoding struct {
	in    textInput
	blank int // spaces and tabs at the cursor that are known to end no line
}

func (q *qpCoding) reset(r io.Reader) { q.in.reset(r); q.blank = 0 }

// maxBlank is the longest run of spaces that is looked through for a line end.
const maxBlank = 1000

func (q *qpCoding) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if q.blank == 0 {
			if n += q.literal(p[n:]); n == len(p) {
				break
			}
		}
		if q.in.r == q.in.w && q.in.fill(1) == 0 {
			if n > 0 {
				return n, nil
			}
			return 0, q.in.end()
		}
		c := q.in.buf[q.in.r]
		switch {
		case c == '=':
			skip, v, ok := q.escape()
			q.in.r += skip
			if !ok {
				continue
			}
			c = v
		case (c == ' ' || c == '\t') && q.blank == 0:
			k, ends := q.run(0)
			if ends {
				q.in.r += k
				continue
			}
			q.blank = k - 1
			q.in.r++
		default:
			q.blank = max(q.blank-1, 0)
			q.in.r++
		}
		p[n] = c
		n++
	}
	return n, nil
}

// literal copies what stands for itself: all but equals signs, and blanks that may end a line.
func (q *qpCoding) literal(p []byte) int {
	in := q.in.buf[q.in.r:q.in.w]
	n := min(len(in), len(p))
	i := 0
	for ; i < n; i++ {
		c := in[i]
		if c == '=' || (c == ' ' || c == '\t') && (i+1 == len(in) || in[i+1] <= ' ') {
			break
		}
		p[i] = c
	}
	q.in.r += i
	return i
}

// escape reads what an equals sign begins: its length and the byte that it means; not ok is a soft
// line break, which means nothing.
func (q *qpCoding) escape() (skip int, v byte, ok bool) {
	have := q.in.fill(3)
	b := q.in.buf[q.in.r:q.in.w]
	if have >= 3 {
		hi, lo := unhex(b[1]), unhex(b[2])
		if hi >= 0 && lo >= 0 {
			return 3, byte(hi<<4 | lo), true
		}
	}
	k, ends := q.run(1)
	if !ends {
		return 1, '=', true
	}
	b = q.in.buf[q.in.r:q.in.w]
	for _, c := range [2]byte{'\r', '\n'} {
		if 1+k+skip < len(b) && b[1+k+skip] == c {
			skip++
		}
	}
	return 1 + k + skip, 0, false
}

// run measures the run of spaces and tabs from the cursor plus at, and says whether a line or the
// input ends behind it.
func (q *qpCoding) run(at int) (k int, ends bool) {
	have := q.in.fill(at + maxBlank + 2)
	b := q.in.buf[q.in.r:q.in.w][at:]
	have -= at
	for k < have && k < maxBlank && (b[k] == ' ' || b[k] == '\t') {
		k++
	}
	switch {
	case k == have:
		return k, true
	case b[k] == '\n', b[k] == '\r' && (k+1 == have || b[k+1] == '\n'):
		return k, true
	}
	return k, false
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// dotCoding undoes SMTP's transparency (RFC 5321 section 4.5.2; POP3 does the same): a dot that
// begins a line is taken off, a line of one dot ends the message. Lines end with CRLF only.
type dotCoding struct {
	in   textInput
	line bool // the cursor is at the beginning of a line
	cr   bool // behind a CR
	done bool
}

func (d *dotCoding) reset(r io.Reader) {
	d.in.reset(r)
	d.line, d.cr, d.done = true, false, false
}

func (d *dotCoding) Read(p []byte) (n int, err error) {
	for n < len(p) && !d.done {
		if d.in.r == d.in.w && d.in.fill(1) == 0 {
			break
		}
		if d.line && d.in.buf[d.in.r] == '.' {
			have := d.in.fill(3)
			b := d.in.buf[d.in.r:]
			if have == 1 || b[1] == '\r' && (have == 2 || b[2] == '\n') {
				d.done = true
				break
			}
			d.in.r++
			d.line = false
			continue
		}
		b := d.in.buf[d.in.r:min(d.in.w, d.in.r+len(p)-n)]
		i := bytes.IndexByte(b, '\n') + 1
		if i == 0 {
			i = len(b)
			d.line, d.cr = false, b[i-1] == '\r'
		} else {
			d.line, d.cr = i > 1 && b[i-2] == '\r' || i == 1 && d.cr, false
		}
		n += copy(p[n:], b[:i])
		d.in.r += i
	}
	if n > 0 {
		return n, nil
	}
	if d.done {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	return 0, d.in.end()
}
