package http

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"ntpac"
	"ntpac/artifact"
)

// body is what became of a message's body.
type body struct {
	info  *artifact.Body // nil for none
	blobs []ntpac.Blob   // as sent, and decoded where that differs
}

// framing says how a body's end is found (RFC 9112 section 6.3).
type framing uint8

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

// maxSpans bounds a body's recipe. A body of more chunks is hashed, but not kept as a blob.
const maxSpans = 1 << 16

// bodyReader gives the captured bytes of one body, transfer framing removed, and keeps their sum and
// where they lie. As an io.Reader, which is what decoders want, it ends at the first hole.
type bodyReader struct {
	s       *ntpac.Stream
	framing framing
	left    int64 // positions to the end of the body, or of the chunk
	skip    int64 // length of the piece that was given last
	piece   []byte
	stopped bool // a hole came: the reader has ended
	spans   []ntpac.Span
	open    bool  // the last span goes on
	from    int64 // where the range began
	solid   int   // spans before the first hole, of which
	prefix  int64 // the last one has this length before it
	size    int64
	missing int64
	first   bool // no chunk yet
	last    bool // the last chunk came
	lost    bool // the framing was lost: where the message ends is unknown
	cut     bool // the stream ended first
	err     string
	sum     hash.Hash
	many    bool // chunks than a recipe may have
	trailer string
	head    []byte // the first bytes as sent
}

func (b *bodyReader) reset(s *ntpac.Stream, f framing, n int64) {
	*b = bodyReader{s: s, framing: f, left: n, from: s.Off(), first: true, solid: -1, sum: b.sum, head: b.head[:0]}
	if f == byChunks {
		b.left = 0
	}
	b.sum.Reset()
}

// next gives the next captured piece of the body, nil at its end. It is valid until the next call.
func (b *bodyReader) next() []byte {
	s := b.s
	for {
		s.Skip(b.skip)
		b.skip = 0
		if b.left == 0 && (b.framing != byChunks || !b.chunk()) {
			return nil
		}
		if g := min(s.Gap(), b.left); g > 0 {
			b.hole()
			s.MoveTo(s.Off() + g)
			b.missing += g
			b.left -= g
			continue
		}
		p := s.Rest()
		if len(p) == 0 {
			b.missing += b.left
			b.left, b.cut, b.last = 0, true, true
			return nil
		}
		p = p[:min(int64(len(p)), b.left)]
		b.cover(int64(len(p)))
		b.skip = int64(len(p))
		b.left -= b.skip
		b.size += b.skip
		b.sum.Write(p)
		b.head = sniffable(b.head, p)
		return p
	}
}

// hole remembers which spans a decoder may read, at the first hole.
func (b *bodyReader) hole() {
	if b.solid < 0 {
		if b.solid = len(b.spans); b.solid > 0 {
			b.prefix = b.spans[b.solid-1].Len
		}
	}
}

// cover extends the recipe by n positions at the cursor.
func (b *bodyReader) cover(n int64) {
	off := b.s.Off()
	k := len(b.spans) - 1
	switch {
	case b.open, k >= 0 && b.spans[k].Off+b.spans[k].Len == b.from:
		b.spans[k].Len = off + n - b.spans[k].Off
	case k+1 < maxSpans:
		b.spans = append(b.spans, ntpac.Span{Dir: b.s.Dir, Off: b.from, Len: off + n - b.from})
	default:
		b.many = true
		b.fail("more chunks than can be kept")
		return
	}
	b.open = true
}

func (b *bodyReader) fail(err string) {
	if b.err == "" {
		b.err = err
	}
}

// chunk reads the framing from the end of one chunk's data to the beginning of the next one's (RFC
// 9112 section 7.1). It gives false behind the last chunk, and where the framing is lost.
func (b *bodyReader) chunk() bool {
	if b.last || b.lost {
		return false
	}
	s := b.s
	if !b.first {
		if line, ok := s.Line(3); !ok || len(line) != 0 {
			return b.broken("chunk is longer than it says", ok)
		}
	}
	line, ok := s.Line(maxLine)
	n, valid := chunkSize(line)
	if !ok || !valid {
		return b.broken("bad chunk size", ok)
	}
	b.first, b.open, b.from, b.left = false, false, s.Off(), n
	if n > 0 {
		return true
	}
	b.last = true
	b.trailers()
	return false
}

// broken ends the body where its framing is not understood; whole says that the line at fault is there
// to its end.
func (b *bodyReader) broken(what string, whole bool) bool {
	switch {
	case !whole && b.s.Gap() > 0:
		b.hole()
		what = "hole in the chunk framing"
	case !whole && b.s.EOF():
		b.cut, b.last = true, true
		return false
	}
	b.fail(what)
	b.lost = true
	return false
}

func (b *bodyReader) trailers() {
	var t strings.Builder
	for t.Len() < maxHead {
		line, ok := b.s.Line(maxLine)
		if !ok {
			b.broken("bad trailer", ok)
			break
		}
		if len(line) == 0 {
			break
		}
		t.WriteString(latin1(line))
		t.WriteString("\r\n")
	}
	b.trailer = t.String()
}

// chunkSize reads a chunk's first line without its end; extensions are passed over.
func chunkSize(line []byte) (n int64, ok bool) {
	i := 0
	for i < len(line) && hexValue(line[i]) >= 0 {
		if i++; i > 15 {
			return 0, false
		}
		n = n<<4 | int64(hexValue(line[i-1]))
	}
	rest := bytes.TrimLeft(line[i:], " \t")
	return n, i > 0 && (len(rest) == 0 || rest[0] == ';')
}

func hexValue(c byte) int {
	switch {
	case digit(c):
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// Read gives a decoder the body up to its first hole.
func (b *bodyReader) Read(p []byte) (int, error) {
	for len(b.piece) == 0 {
		if b.stopped {
			return 0, io.EOF
		}
		piece := b.next()
		if piece == nil || b.solid >= 0 {
			b.stopped = true
			continue
		}
		b.piece = piece
	}
	n := copy(p, b.piece)
	b.piece = b.piece[n:]
	return n, nil
}

// readBody reads the body at the cursor into m: both sums in one pass, nothing kept in memory.
func (r *reader) readBody(s *ntpac.Stream, m *message, f framing, n int64, codings []string) {
	b := &r.body
	b.reset(s, f, n)
	var dec decoded
	if len(codings) > 0 {
		dec = r.decode(codings)
	}
	for b.next() != nil {
	}
	m.end = s.Off()
	r.describe(m, codings, &dec)
}

// decoded is what decoding gave.
type decoded struct {
	sum  ntpac.Hash
	size int64
	ok   bool // sum and size can be relied on
	err  string
}

// sniffable adds to head what of p may tell the body's type.
func sniffable(head, p []byte) []byte {
	if n := artifact.SniffSize - len(head); n > 0 {
		head = append(head, p[:min(n, len(p))]...)
	}
	return head
}

// decode undoes the codings of what the body reader gives.
func (r *reader) decode(codings []string) (d decoded) {
	in, err := artifact.NewDecoder(codings, &r.body)
	if err != nil {
		return decoded{err: err.Error()}
	}
	defer in.Close()
	r.decSum.Reset()
	r.head = r.head[:0]
	for err == nil {
		var n int
		n, err = in.Read(r.buf[:])
		r.decSum.Write(r.buf[:n])
		d.size += int64(n)
		r.head = sniffable(r.head, r.buf[:n])
	}
	r.decSum.Sum(d.sum[:0])
	switch {
	case err == io.EOF:
		d.ok = true
	case errors.Is(err, io.ErrUnexpectedEOF):
		d.ok = d.size > 0
		d.err = fmt.Sprintf("the body ends within its content coding (%s)", strings.Join(codings, ", "))
	case errors.Is(err, artifact.ErrChecksum):
		d.ok = true
		d.err = fmt.Sprintf("the body's content coding (%s) has a wrong checksum", strings.Join(codings, ", "))
	default:
		d.err = fmt.Sprintf("the body does not decode (%s): %v", strings.Join(codings, ", "), err)
	}
	return d
}

// describe makes of what was read the message's body and its blobs.
func (r *reader) describe(m *message, codings []string, dec *decoded) {
	b := &r.body
	m.trailers = b.trailer
	if b.err != "" {
		m.fail(b.err)
	}
	if b.cut {
		if b.framing == byLength {
			m.fail(fmt.Sprintf("the stream ends %d bytes before the body does", b.missing))
		} else {
			m.fail("the stream ends in the body")
		}
	}
	if b.missing > 0 || b.cut || b.lost {
		m.quality = ntpac.Gapped
	}
	if b.size == 0 {
		if b.missing > 0 {
			m.body.info = &artifact.Body{Missing: b.missing}
		}
		return
	}
	info := &artifact.Body{Size: b.size, Missing: b.missing}
	b.sum.Sum(info.SHA256[:0])
	m.body.info = info
	if !b.many {
		m.body.blobs = append(m.body.blobs, ntpac.Blob{SHA256: info.SHA256, Size: b.size, Spans: b.spans})
	}
	switch {
	case len(codings) == 0:
		info.DecodedSHA256, info.DecodedSize = info.SHA256, info.Size
	case dec.ok && dec.size > 0:
		info.DecodedSHA256, info.DecodedSize = dec.sum, dec.size
		if !b.many {
			m.body.blobs = append(m.body.blobs, ntpac.Blob{SHA256: dec.sum, Size: dec.size, Spans: b.beforeHole(), Codings: codings})
		}
	}
	if dec.err != "" && m.quality != ntpac.Gapped {
		m.fail(dec.err)
	}
	if dec.ok {
		info.MIME = artifact.Sniff(r.head)
	} else {
		info.MIME = artifact.Sniff(b.head)
	}
}

// beforeHole gives the recipe of what a decoder was given.
func (b *bodyReader) beforeHole() []ntpac.Span {
	if b.solid <= 0 {
		return b.spans
	}
	spans := slices.Clone(b.spans[:b.solid])
	spans[b.solid-1].Len = b.prefix
	return spans
}
