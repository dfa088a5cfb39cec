package artifact

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// readSize is how much of its input a decompressor reads at a time.
const readSize = 16 << 10

// maxWindow bounds the memory of one zstd decoder. RFC 9659 allows 8 MiB in content codings; some
// servers use more.
const maxWindow = 32 << 20

// gzipCoding reads the members of a gzip file (RFC 1952) and stops at whatever else follows them.
type gzipCoding struct {
	br      *bufio.Reader
	z       gzip.Reader
	members int
	open    bool
}

func newGzip() *gzipCoding { return &gzipCoding{br: bufio.NewReaderSize(nil, readSize)} }

func (g *gzipCoding) reset(r io.Reader) {
	g.br.Reset(r)
	g.members, g.open = 0, false
}

func (g *gzipCoding) Read(p []byte) (int, error) {
	for {
		if !g.open {
			if err := g.next(); err != nil {
				return 0, err
			}
		}
		n, err := g.z.Read(p)
		switch {
		case err == io.EOF:
			g.open = false
			g.members++
			if n == 0 {
				continue
			}
			return n, nil
		case errors.Is(err, gzip.ErrChecksum):
			err = ErrChecksum
		}
		return n, err
	}
}

// next opens a member.
func (g *gzipCoding) next() error {
	magic, err := g.br.Peek(2)
	switch {
	case g.members > 0 && (len(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b):
		return io.EOF
	case len(magic) < 2 && err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	if err := g.z.Reset(g.br); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	g.z.Multistream(false)
	g.open = true
	return nil
}

// deflateCoding reads what HTTP calls deflate: the zlib format (RFC 1950), or, of servers that
// misread the name, bare deflate (RFC 1951). The first two bytes tell them apart: as bare deflate a
// zlib header would be a stored block with padding bits set.
type deflateCoding struct {
	br      *bufio.Reader
	z       io.ReadCloser
	started bool
	zlib    bool
	sum     uint32
}

func newDeflate() *deflateCoding {
	br := bufio.NewReaderSize(nil, readSize)
	return &deflateCoding{br: br, z: flate.NewReader(br)}
}

func (d *deflateCoding) reset(r io.Reader) {
	d.br.Reset(r)
	d.started, d.sum = false, 1
}

func (d *deflateCoding) Read(p []byte) (int, error) {
	if !d.started {
		if err := d.start(); err != nil {
			return 0, err
		}
	}
	n, err := d.z.Read(p)
	if !d.zlib {
		return n, err
	}
	d.sum = adlerUpdate(d.sum, p[:n])
	if err == io.EOF {
		var b [4]byte
		if _, e := io.ReadFull(d.br, b[:]); e != nil {
			return n, io.ErrUnexpectedEOF
		}
		if binary.BigEndian.Uint32(b[:]) != d.sum {
			return n, ErrChecksum
		}
	}
	return n, err
}

func (d *deflateCoding) start() error {
	d.started = true
	h, err := d.br.Peek(2)
	if len(h) == 0 {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	d.zlib = len(h) == 2 && h[0]&0x0f == 8 && h[0]>>4 <= 7 && binary.BigEndian.Uint16(h)%31 == 0
	if d.zlib {
		if h[1]&0x20 != 0 {
			return errors.New("zlib with a preset dictionary")
		}
		d.br.Discard(2)
	}
	return d.z.(flate.Resetter).Reset(d.br, nil)
}

// adlerUpdate continues an Adler-32 sum (RFC 1950 section 9).
func adlerUpdate(sum uint32, p []byte) uint32 {
	if len(p) == 0 {
		return sum
	}
	// The sum of a concatenation follows from the sums of its parts.
	const mod = 65521
	next := adler32.Checksum(p)
	n := uint32(len(p) % mod)
	a1, b1 := sum&0xffff, sum>>16
	a2, b2 := next&0xffff, next>>16
	a := (a1 + a2 + mod - 1) % mod
	b := uint32((uint64(b1) + uint64(b2) + uint64(n)*uint64(a1+mod-1)) % mod)
	return b<<16 | a
}

// brotliCoding reads brotli (RFC 7932).
type brotliCoding struct{ brotli.Reader }

func newBrotli() *brotliCoding { return &brotliCoding{} }

func (b *brotliCoding) reset(r io.Reader) { b.Reader.Reset(r) }

// zstdCoding reads zstd frames (RFC 8878).
type zstdCoding struct {
	z   *zstd.Decoder
	src io.Reader
	err error
}

func newZstd() *zstdCoding {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	return &zstdCoding{z: z, err: err}
}

func (z *zstdCoding) reset(r io.Reader) { z.src = r }

func (z *zstdCoding) Read(p []byte) (int, error) {
	if z.z == nil {
		return 0, z.err
	}
	if z.src != nil {
		// The frame header is read here, not in reset: an empty body is an error of reading.
		if err := z.z.Reset(z.src); err != nil {
			return 0, err
		}
		z.src = nil
	}
	n, err := z.z.Read(p)
	if errors.Is(err, zstd.ErrCRCMismatch) {
		err = ErrChecksum
	}
	return n, err
}
