package row

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/s2"
)

// How the bytes of a packed form are kept: its first byte.
const (
	packStored = 1 // as they are
	packS2     = 2 // one s2 block
)

// MaxRaw is the most that one packed form holds.
const MaxRaw = 256 << 20

// smallest length at which compression is tried: below it the block's own overhead eats the gain.
const minCompress = 48

// ErrPacked is what a damaged packed form gives.
var ErrPacked = errors.New("damaged packed bytes")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC is the CRC-32C (Castagnoli) that all formats of the store use.
func CRC(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// MoreCRC is the CRC of what gave sum followed by b.
func MoreCRC(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// Pack appends the packed form of raw to dst: method, raw length, CRC-32C of the raw bytes, then the
// bytes, compressed with s2 where that gains at least a sixteenth.
func Pack(dst, raw []byte) []byte {
	dst = append(dst, packStored)
	method := len(dst) - 1
	dst = binary.AppendUvarint(dst, uint64(len(raw)))
	dst = binary.LittleEndian.AppendUint32(dst, CRC(raw))
	if len(raw) < minCompress || len(raw) > MaxRaw {
		return append(dst, raw...)
	}
	dst = slices.Grow(dst, s2.MaxEncodedLen(len(raw)))
	body := s2.Encode(dst[len(dst):cap(dst)], raw)
	if len(body) > len(raw)-len(raw)/16 {
		return append(dst, raw...)
	}
	dst[method] = packS2
	return dst[:len(dst)+len(body)]
}

// PackedMax is how much room Pack needs for n raw bytes, so that it never has to grow its destination.
func PackedMax(n int) int { return packHead + max(s2.MaxEncodedLen(n), n) }

// packHead bounds what precedes the bytes of a packed form.
const packHead = 1 + binary.MaxVarintLen64 + 4

// Packed describes a packed form without unpacking it.
type Packed struct {
	RawLen int
	CRC    uint32
	method byte
	body   []byte
}

// ParsePacked reads the head of a packed form.
func ParsePacked(b []byte) (p Packed, err error) {
	if len(b) < 6 {
		return p, ErrPacked
	}
	p.method = b[0]
	n, k := binary.Uvarint(b[1:])
	if k <= 0 || n > MaxRaw || len(b) < 1+k+4 {
		return p, ErrPacked
	}
	p.RawLen, p.CRC, p.body = int(n), binary.LittleEndian.Uint32(b[1+k:]), b[1+k+4:]
	switch p.method {
	case packStored:
		if len(p.body) != p.RawLen {
			return p, ErrPacked
		}
	case packS2:
		if l, err := s2.DecodedLen(p.body); err != nil || l != p.RawLen {
			return p, ErrPacked
		}
	default:
		return p, fmt.Errorf("%w: unknown method %d", ErrPacked, p.method)
	}
	return p, nil
}

// Unpack appends the raw bytes of a packed form to dst. It gives ErrPacked, and dst as it was, where
// the form or its checksum is wrong.
func Unpack(dst, packed []byte) ([]byte, error) {
	p, err := ParsePacked(packed)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	if p.method == packStored {
		dst = append(dst, p.body...)
	} else {
		dst = slices.Grow(dst, p.RawLen)
		out, err := s2.Decode(dst[start:start+p.RawLen], p.body)
		if err != nil || len(out) != p.RawLen {
			return dst[:start], ErrPacked
		}
		dst = dst[:start+p.RawLen]
	}
	if CRC(dst[start:]) != p.CRC {
		return dst[:start], fmt.Errorf("%w: checksum differs", ErrPacked)
	}
	return dst, nil
}
