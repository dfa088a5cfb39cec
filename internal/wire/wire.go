// Package wire reads binary fields from bytes that strangers wrote. A Reader checks every bound and
// remembers the first violation: after it, all reads give zero values, so that a parser reads a whole
// structure and asks once, at the end, whether it was there.
package wire

import (
	"encoding/binary"
	"errors"
)

// ErrShort is what Err returns once a read went behind the end.
var ErrShort = errors.New("message ends in the middle of a field")

// Reader is a cursor over bytes. The zero value is an empty reader; it is a small value, meant to be
// kept on the stack. Slices that it gives share memory with what it reads.
type Reader struct {
	b   []byte
	off int
	err error
}

// New reads b from its beginning.
func New(b []byte) Reader { return Reader{b: b} }

// Err is the first violation, nil so far.
func (r *Reader) Err() error { return r.err }

// OK reports whether every read was within bounds.
func (r *Reader) OK() bool { return r.err == nil }

// Fail makes err the reader's violation, unless it has one already.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Off is the cursor's position.
func (r *Reader) Off() int { return r.off }

// Len is how many bytes are left; 0 after a violation.
func (r *Reader) Len() int {
	if r.err != nil {
		return 0
	}
	return len(r.b) - r.off
}

// Empty reports whether nothing is left.
func (r *Reader) Empty() bool { return r.Len() == 0 }

// Seek puts the cursor at a position of what is read; behind the end is a violation.
func (r *Reader) Seek(off int) {
	if off < 0 || off > len(r.b) {
		r.Fail(ErrShort)
		return
	}
	r.off = off
}

// Bytes gives the next n bytes, nil where there are fewer.
func (r *Reader) Bytes(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b)-r.off {
		r.Fail(ErrShort)
		return nil
	}
	r.off += n
	return r.b[r.off-n : r.off : r.off]
}

// Skip passes over n bytes.
func (r *Reader) Skip(n int) { r.Bytes(n) }

// Rest gives everything that is left and leaves nothing.
func (r *Reader) Rest() []byte { return r.Bytes(r.Len()) }

// Peek gives the next n bytes without moving, nil where there are fewer. It is never a violation.
func (r *Reader) Peek(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b)-r.off {
		return nil
	}
	return r.b[r.off : r.off+n : r.off+n]
}

// U8 reads a byte.
func (r *Reader) U8() uint8 {
	if b := r.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 reads two bytes, big endian.
func (r *Reader) U16() uint16 {
	if b := r.Bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U24 reads three bytes, big endian.
func (r *Reader) U24() uint32 {
	if b := r.Bytes(3); b != nil {
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	}
	return 0
}

// U32 reads four bytes, big endian.
func (r *Reader) U32() uint32 {
	if b := r.Bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U48 reads six bytes, big endian.
func (r *Reader) U48() uint64 {
	hi := r.U16()
	return uint64(hi)<<32 | uint64(r.U32())
}

// U64 reads eight bytes, big endian.
func (r *Reader) U64() uint64 {
	if b := r.Bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// U16LE reads two bytes, little endian.
func (r *Reader) U16LE() uint16 {
	if b := r.Bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// U24LE reads three bytes, little endian.
func (r *Reader) U24LE() uint32 {
	if b := r.Bytes(3); b != nil {
		return uint32(b[2])<<16 | uint32(b[1])<<8 | uint32(b[0])
	}
	return 0
}

// U32LE reads four bytes, little endian.
func (r *Reader) U32LE() uint32 {
	if b := r.Bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// U64LE reads eight bytes, little endian.
func (r *Reader) U64LE() uint64 {
	if b := r.Bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Vec8 reads bytes behind their one-byte length.
func (r *Reader) Vec8() []byte { return r.Bytes(int(r.U8())) }

// Vec16 reads bytes behind their two-byte length.
func (r *Reader) Vec16() []byte { return r.Bytes(int(r.U16())) }

// Vec24 reads bytes behind their three-byte length.
func (r *Reader) Vec24() []byte { return r.Bytes(int(r.U24())) }

// Sub gives a reader over the next n bytes. Where there are fewer, both readers have the violation.
func (r *Reader) Sub(n int) Reader {
	b := r.Bytes(n)
	return Reader{b: b, err: r.err}
}

// Sub8 gives a reader over the bytes behind a one-byte length.
func (r *Reader) Sub8() Reader { return r.Sub(int(r.U8())) }

// Sub16 gives a reader over the bytes behind a two-byte length.
func (r *Reader) Sub16() Reader { return r.Sub(int(r.U16())) }

// Sub24 gives a reader over the bytes behind a three-byte length.
func (r *Reader) Sub24() Reader { return r.Sub(int(r.U24())) }
