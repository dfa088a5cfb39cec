package artifact

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Limit bounds what decoding may yield, against bodies made to burst.
type Limit struct {
	MaxSize  int64 // bytes that any coding of a chain may yield; 0 is no limit
	MaxRatio int64 // bytes yielded for each byte read, beyond FreeSize; 0 is no limit
	FreeSize int64 // bytes yielded before the ratio counts
}

// DefaultLimit is 1 GiB, and 1000:1 beyond 16 MiB. Deflate's own limit is 1032:1; real bodies stay
// below 100:1.
var DefaultLimit = Limit{MaxSize: 1 << 30, MaxRatio: 1000, FreeSize: 16 << 20}

// LimitError says that decoding was given up at a Limit.
type LimitError struct {
	Coding  string
	In, Out int64 // bytes read and yielded so far
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: %d bytes out of %d are over the limit", e.Coding, e.Out, e.In)
}

// What decoders report, besides LimitError, io.ErrUnexpectedEOF (the coded bytes end too early) and
// errors of the libraries (they are not what the coding says).
var (
	ErrUnknownCoding = errors.New("unknown coding")
	ErrChecksum      = errors.New("checksum differs")
)

// coding undoes one coding. It is used again after reset.
type coding interface {
	io.Reader
	reset(r io.Reader)
}

// The codings, in the order of pools.
const (
	codingGzip = iota
	codingDeflate
	codingBrotli
	codingZstd
	codingBase64
	codingQP
	codingDot
	codings
)

// pools keep decoders for reuse: making one costs far more than decoding a small body.
var pools [codings]sync.Pool

// canonical gives the coding that a name means. Names are those of RFC 9110 section 8.4.1, RFC 7932,
// RFC 8878 and RFC 2045 section 6, in lower case.
func canonical(name string) (kind int, known bool) {
	switch name {
	case "gzip", "x-gzip":
		return codingGzip, true
	case "deflate":
		return codingDeflate, true
	case "br":
		return codingBrotli, true
	case "zstd":
		return codingZstd, true
	case "base64":
		return codingBase64, true
	case "qp", "quoted-printable":
		return codingQP, true
	case "dot":
		return codingDot, true
	}
	return 0, false
}

// KnownCoding reports whether NewDecoder can undo the coding.
func KnownCoding(name string) bool { _, ok := canonical(name); return ok }

func newCoding(kind int) coding {
	switch kind {
	case codingGzip:
		return newGzip()
	case codingDeflate:
		return newDeflate()
	case codingBrotli:
		return newBrotli()
	case codingZstd:
		return newZstd()
	case codingBase64:
		return &base64Coding{}
	case codingQP:
		return &qpCoding{}
	}
	return &dotCoding{}
}

// stage is one coding of a chain and what went in and out of it.
type stage struct {
	dec     coding
	kind    int
	name    string
	src     io.Reader
	in, out int64
	lim     Limit
	err     error
}

// inlet counts what a stage reads.
type inlet struct{ *stage }

func (i inlet) Read(p []byte) (int, error) {
	n, err := i.src.Read(p)
	i.in += int64(n)
	return n, err
}

func (s *stage) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.dec.Read(p)
	s.out += int64(n)
	if over := s.lim.MaxSize > 0 && s.out > s.lim.MaxSize; over ||
		s.lim.MaxRatio > 0 && s.out > s.lim.FreeSize && s.out/s.lim.MaxRatio > s.in {
		err = &LimitError{s.name, s.in, s.out}
		if over {
			n -= int(s.out - s.lim.MaxSize)
		} else {
			n = 0
		}
	}
	s.err = err
	return n, err
}

// decoder is a chain of stages; the last one gives the decoded bytes.
type decoder struct {
	stages []*stage
	out    io.Reader
}

var decoders = sync.Pool{New: func() any { return &decoder{} }}

// NewDecoder gives what is in r once the codings are undone, first to last, within DefaultLimit.
//
// The codings are "gzip" (members after the first included, other trailing bytes ignored), "deflate"
// (with or without the zlib frame), "br", "zstd", "base64" (line breaks and foreign characters
// ignored), "qp" (quoted-printable) and "dot" (SMTP transparency, RFC 5321 section 4.5.2: it ends at
// CRLF.CRLF, or with its input). "identity" and "" are ignored; anything else is ErrUnknownCoding.
//
// Close gives the decoders back for reuse; it does not close r, which is read in blocks and so may be
// read beyond the end of the coded bytes.
func NewDecoder(names []string, r io.Reader) (io.ReadCloser, error) {
	return DefaultLimit.NewDecoder(names, r)
}

// NewDecoder is NewDecoder within another limit.
func (l Limit) NewDecoder(names []string, r io.Reader) (io.ReadCloser, error) {
	d := decoders.Get().(*decoder)
	d.out = r
	for _, name := range names {
		if name == "identity" || name == "" {
			continue
		}
		kind, ok := canonical(name)
		if !ok {
			d.Close()
			return nil, fmt.Errorf("%w %q", ErrUnknownCoding, name)
		}
		s, _ := pools[kind].Get().(*stage)
		if s == nil {
			s = &stage{dec: newCoding(kind), kind: kind}
		}
		s.name, s.src, s.in, s.out, s.lim, s.err = name, d.out, 0, 0, l, nil
		s.dec.reset(inlet{s})
		d.stages = append(d.stages, s)
		d.out = s
	}
	return d, nil
}

func (d *decoder) Read(p []byte) (int, error) {
	if d.out == nil {
		return 0, io.ErrClosedPipe
	}
	return d.out.Read(p)
}

// Close gives the stages back to their pools.
func (d *decoder) Close() error {
	if d.out == nil {
		return nil
	}
	for i, s := range d.stages {
		s.src = nil
		pools[s.kind].Put(s)
		d.stages[i] = nil
	}
	d.stages, d.out = d.stages[:0], nil
	decoders.Put(d)
	return nil
}
