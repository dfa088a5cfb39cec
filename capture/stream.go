package capture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"ntpac"
)

// content is what the first bytes of a file say it is.
type content uint8

const (
	unknown content = iota
	pcapFile
	pcapngFile
	snoopFile
	gzipFile
	zstdFile
)

func (c content) String() string {
	return [...]string{"unknown", "pcap", "pcapng", "snoop", "gzip", "zstd"}[c]
}

// sniffSize is how many bytes sniff wants to see.
const sniffSize = 24

// The magic numbers of pcap files, as their writer stored them.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Kuznetzov's patched libpcap: record headers have 8 more bytes
)

func sniff(head []byte) content {
	if len(head) < 4 {
		return unknown
	}
	for _, m := range [2]uint32{binary.LittleEndian.Uint32(head), binary.BigEndian.Uint32(head)} {
		switch {
		case m == magicMicro || m == magicNano || m == magicModified:
			return pcapFile
		case m == ngSection:
			return pcapngFile
		}
	}
	le := binary.LittleEndian.Uint32(head)
	switch {
	case bytes.HasPrefix(head, []byte("snoop\x00\x00\x00")), bytes.Equal(head, []byte("snoop\x00\x00\x00")[:min(len(head), 8)]):
		return snoopFile
	case head[0] == 0x1f && head[1] == 0x8b && head[2] == 8: // RFC 1952, section 2.3.1: deflate
		return gzipFile
	case le == 0xfd2fb528, le&^0xf == 0x184d2a50: // RFC 8878, section 3.1.1 and 3.1.2
		return zstdFile
	}
	return unknown
}

// maxLayers is how deep a capture may be wrapped in compression.
const maxLayers = 2

// stream is the decompressed content of a file.
type stream struct {
	r      io.Reader
	kind   content
	layers []content // from the capture outwards
	close  []func()
}

// unwrap looks at the first bytes of r and takes off its compression.
func unwrap(r io.Reader) (*stream, error) {
	s := &stream{}
	for {
		head := make([]byte, sniffSize)
		n, err := io.ReadFull(r, head)
		head = head[:n]
		s.r = &prefixed{head: head, r: r}
		s.kind = sniff(head)
		if s.kind != gzipFile && s.kind != zstdFile {
			if n == 0 && err != io.EOF {
				s.stop()
				if len(s.layers) > 0 {
					return nil, fmt.Errorf("%w, and nothing of it can be read: %w", err, ntpac.ErrNotCapture)
				}
				return nil, err
			}
			return s, s.accept(head)
		}
		if len(s.layers) == maxLayers {
			s.stop()
			return nil, fmt.Errorf("compressed more than %d times over: %w", maxLayers, ntpac.ErrNotCapture)
		}
		s.layers = append([]content{s.kind}, s.layers...)
		if r, err = s.inflate(); err != nil {
			s.stop()
			return nil, fmt.Errorf("its %s header is damaged (%w): %w", s.layers[0], err, ntpac.ErrNotCapture)
		}
	}
}

func (s *stream) inflate() (io.Reader, error) {
	if s.kind == gzipFile {
		br := bufio.NewReaderSize(s.r, 128<<10)
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, err
		}
		z.Multistream(false)
		return &gunzip{br: br, z: z}, nil
	}
	z, err := zstd.NewReader(s.r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, err
	}
	s.close = append(s.close, z.Close)
	return &unzstd{z: z}, nil
}

// accept says what to do when the content is no capture.
func (s *stream) accept(head []byte) error {
	if s.kind != unknown {
		return nil
	}
	s.stop()
	switch {
	case len(s.layers) > 0:
		return fmt.Errorf("%s-compressed, but what is inside is no capture: %w", s.layers[0], ntpac.ErrNotCapture)
	case len(head) == 0:
		return fmt.Errorf("it is empty: nothing was captured, or it was not copied whole: %w", ntpac.ErrNotCapture)
	case isText(head):
		return fmt.Errorf("it looks like text; give a pcap, pcapng or snoop file, plain or in gzip or zstd: %w", ntpac.ErrNotCapture)
	}
	return fmt.Errorf("it begins with % x; give a pcap, pcapng or snoop file, plain or in gzip or zstd: %w", head[:min(4, len(head))], ntpac.ErrNotCapture)
}

func isText(head []byte) bool {
	for len(head) > 0 {
		c, n := utf8.DecodeRune(head)
		if !utf8.FullRune(head) { // cut by the end of head
			return true
		}
		if c == utf8.RuneError || !unicode.IsPrint(c) && !unicode.IsSpace(c) {
			return false
		}
		head = head[n:]
	}
	return true
}

func (s *stream) stop() {
	for _, f := range s.close {
		f()
	}
	s.close = nil
}

// prefixed gives back bytes that were read to look at them.
type prefixed struct {
	head []byte
	r    io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.head) == 0 {
		return p.r.Read(b)
	}
	n := copy(b, p.head)
	p.head = p.head[n:]
	return n, nil
}

// raw counts and shows the bytes of the file as they lie on the disk.
type raw struct {
	r   io.Reader
	n   atomic.Int64
	tap func(p []byte) // nil where the window shows them
	err error          // a failure to read, not the end
}

func (r *raw) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n.Add(int64(n))
	if n > 0 && r.tap != nil {
		r.tap(p[:n])
	}
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// gunzip reads all members of a gzip file (RFC 1952, section 2.2). A wrong checksum is told at the
// end, since the members after it can be read; zeros after the last member are padding.
type gunzip struct {
	br  *bufio.Reader
	z   *gzip.Reader
	err error
	bad error // the first wrong checksum
}

func (g *gunzip) Read(p []byte) (int, error) {
	for g.err == nil {
		n, err := g.z.Read(p)
		if errors.Is(err, gzip.ErrChecksum) {
			if g.bad == nil {
				g.bad = errors.New("the checksum of the gzip data is wrong")
			}
			err = io.EOF
		}
		switch {
		case err == io.EOF:
			g.err = g.next()
		case errors.Is(err, io.ErrUnexpectedEOF):
			g.err = errors.New("the gzip data is cut short")
		case err != nil:
			g.err = fmt.Errorf("the gzip data is damaged: %w", err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, g.err
}

// next goes to the next member.
func (g *gunzip) next() error {
	for {
		c, err := g.br.Peek(1)
		if err == io.EOF && g.bad != nil {
			return g.bad
		}
		if err != nil {
			return err
		}
		if c[0] != 0 {
			break
		}
		g.br.Discard(1)
	}
	if err := g.z.Reset(g.br); err != nil {
		return fmt.Errorf("after the gzip data comes something else (%w)", err)
	}
	g.z.Multistream(false)
	return nil
}

// unzstd names the errors of the zstd decoder, which reads all frames of a file.
type unzstd struct {
	z   *zstd.Decoder
	err error
}

func (u *unzstd) Read(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	n, err := u.z.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		u.err = io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		u.err = errors.New("the zstd data is cut short")
	case errors.Is(err, zstd.ErrMagicMismatch):
		u.err = errors.New("after the zstd data comes something else")
	default:
		u.err = fmt.Errorf("the zstd data is damaged: %w", err)
	}
	return n, u.err
}
