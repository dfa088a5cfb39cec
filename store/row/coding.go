// Package row has what all stores share: the packed form of payload, the binary rows of conversations,
// artifacts, expectations and checkpoints, the rules by which one write yields to another, the evidence
// chain, and how a query is checked against a row. Formats: docs/format.
package row

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"ntpac"
)

// ErrRow is what a damaged row gives.
var ErrRow = errors.New("damaged row")

func appendUint[T ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int | ~int64](b []byte, v T) []byte {
	return binary.AppendUvarint(b, uint64(v))
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendEnd writes an end point: length of the address (0, 4, 16), address, port.
func appendEnd(b []byte, e netip.AddrPort) []byte {
	b = AppendAddr(b, e.Addr())
	return binary.BigEndian.AppendUint16(b, e.Port())
}

// AppendAddr writes an address as its length (0 where there is none) and its bytes. It sorts IPv4
// before IPv6 and addresses of one family by value.
func AppendAddr(b []byte, a netip.Addr) []byte {
	switch {
	case a.Is4():
		v := a.As4()
		return append(append(b, 4), v[:]...)
	case a.IsValid():
		v := a.As16()
		return append(append(b, 16), v[:]...)
	}
	return append(b, 0)
}

// ParseAddr reads what AppendAddr writes and gives the rest.
func ParseAddr(b []byte) (a netip.Addr, rest []byte, ok bool) {
	d := decoder{b: b}
	a = d.addr()
	return a, d.b, !d.bad
}

// decoder reads a row field by field. After the first bad one everything is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) err() error {
	if d.bad {
		return ErrRow
	}
	return nil
}

// end is err for a row that must be used up.
func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return ErrRow
	}
	return nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// upto is a number that must not exceed max.
func (d *decoder) upto(max uint64) uint64 {
	v := d.uint()
	if v > max {
		d.fail()
		return 0
	}
	return v
}

// positive is a length or offset.
func (d *decoder) positive() int64 { return int64(d.upto(1<<63 - 1)) }

// count is a number of items of at least size bytes each that follow.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if v := d.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if v := d.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if v := d.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) bool() bool {
	v := d.u8()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

func (d *decoder) string() string { return string(d.take(d.count(1))) }

// bytes is a copy, nil where empty.
func (d *decoder) bytes() []byte {
	v := d.take(d.count(1))
	if len(v) == 0 {
		return nil
	}
	return append([]byte(nil), v...)
}

func (d *decoder) hash() (h ntpac.Hash) { copy(h[:], d.take(len(h))); return h }

func (d *decoder) id() (id ntpac.ConversationID) { copy(id[:], d.take(len(id))); return id }

func (d *decoder) addr() netip.Addr {
	switch n := d.u8(); n {
	case 0:
	case 4:
		if v := d.take(4); v != nil {
			return netip.AddrFrom4([4]byte(v))
		}
	case 16:
		if v := d.take(16); v != nil {
			return netip.AddrFrom16([16]byte(v))
		}
	default:
		d.fail()
	}
	return netip.Addr{}
}

func (d *decoder) endPoint() netip.AddrPort {
	a := d.addr()
	return netip.AddrPortFrom(a, d.u16())
}

// version checks the first byte of a row.
func (d *decoder) version(want byte) {
	if d.u8() != want {
		d.fail()
	}
}
