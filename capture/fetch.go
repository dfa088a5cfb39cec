package capture

import (
	"errors"
	"fmt"
	"io"
	"os"

	"ntpac"
)

// Reader fetches single frames of a capture again, by the offset that a Packet has. It is used by one
// goroutine at a time; a Seekable one may read for several.
type Reader struct {
	path   string
	file   *os.File
	plain  bool
	stream *stream // of a compressed file
	at     int64   // how far it was read
}

// OpenAt opens a capture for fetching frames. In a plain file any order of offsets is cheap. A
// compressed one is read from the front: ask in rising order, each step back begins anew.
func OpenAt(path string) (*Reader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, explain(path, err)
	}
	r := &Reader{path: path, file: file}
	if err := r.rewind(); err != nil {
		file.Close()
		return nil, explain(path, err)
	}
	return r, nil
}

// Seekable reports whether frames can be fetched in any order.
func (r *Reader) Seekable() bool { return r.plain }

// ReadFrame gives n bytes from offset off of the decompressed source, in memory of their own. It
// wraps ntpac.ErrNoPayload when the file does not reach so far: it was cut since it was read.
func (r *Reader) ReadFrame(off int64, n int) ([]byte, error) { return r.AppendFrame(nil, off, n) }

// AppendFrame is ReadFrame that appends to dst.
func (r *Reader) AppendFrame(dst []byte, off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || n > maxRecord {
		return dst, fmt.Errorf("%s: there is no frame of %d bytes at offset %d", r.path, n, off)
	}
	dst = append(dst, make([]byte, n)...)
	frame := dst[len(dst)-n:]
	err := r.read(frame, off)
	if err == nil {
		return dst, nil
	}
	dst = dst[:len(dst)-n]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return dst, fmt.Errorf("%s: the file ends before offset %d: %w", r.path, off+int64(n), ntpac.ErrNoPayload)
	}
	return dst, fmt.Errorf("%s: %w: %w", r.path, ntpac.ErrNoPayload, err)
}

func (r *Reader) read(frame []byte, off int64) error {
	if r.plain {
		n, err := r.file.ReadAt(frame, off)
		if n == len(frame) {
			return nil
		}
		return err
	}
	if off < r.at {
		if err := r.rewind(); err != nil {
			return err
		}
	}
	n, err := io.CopyN(io.Discard, r.stream.r, off-r.at)
	r.at += n
	if err != nil {
		return err
	}
	got, err := io.ReadFull(r.stream.r, frame)
	r.at += int64(got)
	return err
}

// rewind starts to read from the front.
func (r *Reader) rewind() error {
	r.stop()
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	s, err := unwrap(r.file)
	if err != nil {
		return err
	}
	r.stream, r.at, r.plain = s, 0, len(s.layers) == 0
	return nil
}

func (r *Reader) stop() {
	if r.stream != nil {
		r.stream.stop()
		r.stream = nil
	}
}

// Close closes the file.
func (r *Reader) Close() error {
	r.stop()
	return r.file.Close()
}
