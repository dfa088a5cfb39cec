package capture

import (
	"math/bits"

	"ntpac"
)

// iface is what an interface description block says (draft-ietf-opsawg-pcapng, section 4.2).
type iface struct {
	link  ntpac.LinkType
	snap  uint32     // 0: no limit
	mul   uint64     // nanoseconds in a unit; 0 where a unit is no whole number of them
	most  uint64     // the most units that mul takes to latest
	div   uint64     // where units are finer than nanoseconds: units in one
	shift uint8      // where units are powers of two: units are 2^-shift seconds
	off   ntpac.Time // added to all times
	drops uint64     // by the last interface statistics
}

// latest bounds timestamps, so that with an offset they still fit: the year 2115.
const latest = 4_600_000_000 * ntpac.Second

// Option codes.
const (
	optEnd        = 0
	ifTsresol     = 9
	ifTsoffset    = 14
	isbIfdrop     = 5
	isbOsdrop     = 7
	maxInterfaces = 1 << 16
)

// describe takes in an interface description block.
func (p *pcapng) describe(b []byte) string {
	const head = 16
	if len(b) < head+4 {
		return "interface description too short"
	}
	if len(p.ifaces) == maxInterfaces {
		return "too many interfaces"
	}
	i := iface{link: ntpac.LinkType(p.u16(b[8:])), snap: p.u32(b[12:])}
	i.resolution(6)
	p.options(b[head:len(b)-4], func(code uint16, v []byte) {
		switch {
		case code == ifTsresol && len(v) >= 1:
			i.resolution(v[0])
		case code == ifTsoffset && len(v) >= 8:
			hi, lo := p.u32(v), p.u32(v[4:])
			if !p.big {
				hi, lo = lo, hi
			}
			sec := int64(uint64(hi)<<32 | uint64(lo))
			i.off = ntpac.Time(min(max(sec, -4_000_000_000), 4_000_000_000)) * ntpac.Second
		}
	})
	p.ifaces = append(p.ifaces, i)
	return ""
}

// resolution sets the unit of timestamps: 10^-v seconds, or 2^-v with the highest bit set.
func (i *iface) resolution(v uint8) {
	i.mul, i.div, i.shift = 0, 0, 0
	switch {
	case v&0x80 != 0:
		i.shift = v & 0x7f
	case v <= 9:
		i.mul = power10(9 - v)
		i.most = uint64(latest) / i.mul
	case v <= 28:
		i.div = power10(v - 9)
	default: // every 64-bit number is less than a nanosecond
		i.shift = 127
	}
}

func power10(n uint8) uint64 {
	v := uint64(1)
	for ; n > 0; n-- {
		v *= 10
	}
	return v
}

// time converts a timestamp.
func (i *iface) time(units uint64) ntpac.Time {
	switch {
	case i.mul > 0:
		return ntpac.Time(min(units, i.most)*i.mul) + i.off
	case i.div > 0:
		return ntpac.Time(min(units/i.div, uint64(latest))) + i.off
	}
	return i.binary(units)
}

func (i *iface) binary(units uint64) ntpac.Time {
	if i.shift >= 94 { // 2^64 units are less than a nanosecond
		return i.off
	}
	hi, lo := bits.Mul64(units, uint64(ntpac.Second))
	if i.shift >= 64 {
		return ntpac.Time(hi>>(i.shift-64)) + i.off
	}
	if hi>>i.shift != 0 {
		return latest + i.off
	}
	ns := lo >> i.shift
	if i.shift > 0 {
		ns |= hi << (64 - i.shift)
	}
	return ntpac.Time(min(ns, uint64(latest))) + i.off
}

// lostInterface stands in for one whose description was lost with a damaged part of the file: the
// commonest link type and the default resolution.
var lostInterface = func() iface {
	i := iface{link: 1}
	i.resolution(6)
	return i
}()

// iface gives an interface of this section by its number, or nil.
func (p *pcapng) iface(n uint32) *iface {
	if n < uint32(len(p.ifaces)) {
		return &p.ifaces[n]
	}
	if p.hurt && n < 256 {
		p.lost, p.told = p.lost || !p.told, true
		return &lostInterface
	}
	return nil
}

// statistics takes the drop counters out of an interface statistics block (4.6). They count from the
// start of the capture, so of several blocks the last holds.
func (p *pcapng) statistics(f *File, b []byte) {
	const head = 20
	if len(b) < head+4 {
		return
	}
	n := p.u32(b[8:])
	if n >= uint32(len(p.ifaces)) {
		return
	}
	drops := uint64(0)
	p.options(b[head:len(b)-4], func(code uint16, v []byte) {
		if (code == isbIfdrop || code == isbOsdrop) && len(v) >= 8 {
			hi, lo := p.u32(v), p.u32(v[4:])
			if !p.big {
				hi, lo = lo, hi
			}
			drops += uint64(hi)<<32 | uint64(lo)
		}
	})
	i := &p.ifaces[n]
	f.info.Dropped += drops - i.drops
	i.drops = drops
}

// options goes through the options of a block (3.5), as far as they are sound.
func (p *pcapng) options(b []byte, each func(code uint16, v []byte)) {
	for len(b) >= 4 {
		code, n := p.u16(b), int(p.u16(b[2:]))
		if code == optEnd || 4+n > len(b) {
			return
		}
		each(code, b[4:4+n])
		b = b[min(len(b), 4+(n+3)&^3):]
	}
}
