package capture

import (
	"encoding/binary"
	"io"
	"math"
	"slices"
	"testing"

	"ntpac"
)

// Two sections of different byte orders, each with interfaces of its own.
func TestSectionsAndInterfaces(t *testing.T) {
	f := &file{}
	a := pkt{testStart, 1, 4, "abcd"}
	b := pkt{testStart + 5, 101, 9, "efghi"}
	c := pkt{testStart + 1000, 113, 3, "jkl"}
	old := pkt{testStart - testStart%1000, 113, 6, "mnopqr"}
	f.section(le)
	f.iface(le, 1, 0, option(le, ifTsresol, []byte{9}))
	f.iface(le, 101, 0, option(le, ifTsresol, []byte{9}), option(le, ifTsoffset, le.AppendUint64(nil, 100)))
	f.packet(le, ngEnhanced, 1, uint64(b.ts-100*ntpac.Second), b)
	f.packet(le, ngEnhanced, 0, uint64(a.ts), a)
	f.block(le, ngSecrets, []byte("keys"))
	f.block(le, 0x1234, []byte("nobody knows"))
	f.section(be)
	f.iface(be, 113, 0)
	f.block(be, ngCustom, []byte("0123"))
	f.packet(be, ngPacket, 0, uint64(old.ts/1000), old)
	f.section(be)
	f.iface(be, 113, 0, option(be, ifTsresol, []byte{9}), option(be, ifTsoffset, be.AppendUint64(nil, math.MaxUint64)))
	f.packet(be, ngEnhanced, 0, uint64(c.ts+ntpac.Second), c)
	d := readAll(t, f.b, Options{})
	if same(t, d, []pkt{b, a, old, c}, f); d.err != io.EOF {
		t.Error(d.err)
	}
}

func TestSimplePackets(t *testing.T) {
	f := &file{}
	simple := func(wire uint32, data string) {
		f.frames = append(f.frames, len(f.b)+12)
		f.block(le, ngSimple, append(le.AppendUint32(nil, wire), data...))
	}
	first := pkt{testStart, 1, 6, "abcdef"}
	f.section(le)
	f.iface(le, 1, 10, option(le, ifTsresol, []byte{9}))
	simple(5, "early")
	f.packet(le, ngEnhanced, 0, uint64(testStart), first)
	simple(5, "later")
	simple(40, "cut at ten")
	want := []pkt{{0, 1, 5, "early"}, first, {testStart, 1, 5, "later"}, {testStart, 1, 40, "cut at ten"}}
	f.section(be)
	f.iface(be, 12, 0)
	f.frames = append(f.frames, len(f.b)+12)
	f.block(be, ngSimple, append(be.AppendUint32(nil, 7), "no snap"...))
	want = append(want, pkt{testStart, 12, 7, "no snap"})
	d := readAll(t, f.b, Options{})
	if same(t, d, want, f); d.err != io.EOF {
		t.Error(d.err)
	}
}

func TestDrops(t *testing.T) {
	f := &file{}
	stats := func(o binary.AppendByteOrder, n uint32, os, iface uint64) {
		body := o.AppendUint32(nil, n)
		body = o.AppendUint64(body, 0)
		body = append(body, option(o, isbIfdrop, o.AppendUint64(nil, iface))...)
		f.block(o, ngStatistics, append(body, option(o, isbOsdrop, o.AppendUint64(nil, os))...))
	}
	f.section(be)
	f.iface(be, 1, 0)
	f.iface(be, 1, 0)
	stats(be, 0, 3, 4)
	stats(be, 0, 10, 4) // counts go on: 14
	stats(be, 1, 0, 100)
	stats(be, 9, 5, 5) // no such interface
	f.section(le)
	f.iface(le, 1, 0)
	stats(le, 0, 1000, 0)
	if d := readAll(t, f.b, Options{}); d.info.Dropped != 1114 || d.err != io.EOF {
		t.Errorf("%d dropped, %v", d.info.Dropped, d.err)
	}
}

func TestTimestamps(t *testing.T) {
	const late = latest
	for _, c := range []struct {
		res   uint8
		units uint64
		want  ntpac.Time
	}{
		{6, 1_700_000_000_123_456, 1_700_000_000_123_456_000},
		{0, 1_700_000_000, 1_700_000_000_000_000_000},
		{3, 1_700_000_000_123, 1_700_000_000_123_000_000},
		{9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789},
		{12, 5_000_123_456_789_999, 5_000_123_456_789},
		{28, math.MaxUint64, 1},
		{29, math.MaxUint64, 0},
		{127, math.MaxUint64, 0},
		{6, math.MaxUint64, late},
		{9, math.MaxUint64, late},
		{0x80, 7, 7_000_000_000},
		{0x80 | 1, 3, 1_500_000_000},
		{0x80 | 32, 1_700_000_000<<32 | 1<<31, 1_700_000_000_500_000_000},
		{0x80 | 20, 1_700_000_000<<20 | 1<<18, 1_700_000_000_250_000_000},
		{0x80 | 64, 1 << 63, 500_000_000},
		{0x80 | 66, 1 << 63, 125_000_000},
		{0x80 | 93, math.MaxUint64, 1},
		{0x80 | 94, math.MaxUint64, 0},
		{0xff, math.MaxUint64, 0},
		{0x80, math.MaxUint64, late},
		{0x80 | 10, math.MaxUint64, late},
	} {
		var i iface
		if i.resolution(c.res); i.time(c.units) != c.want {
			t.Errorf("%d units at resolution %#x: %d, want %d", c.units, c.res, i.time(c.units), c.want)
		}
	}
}

// A packet whose block is sound but whose content is not costs just itself.
func TestUnsoundPackets(t *testing.T) {
	want := somePackets(5)
	f := shapeNamed(t, "pcapng-le-ns").build(want)
	le.PutUint32(f.b[f.starts[1]+20:], 5000) // captured length
	le.PutUint32(f.b[f.starts[3]+8:], 7)     // interface
	d := readAll(t, f.b, Options{})
	same(t, d, []pkt{want[0], want[2], want[4]}, nil)
	settled(t, d, len(f.b))
	if d.info.Damaged != 2 || d.info.Damage[0].Reason != tooLong || d.info.Damage[1].Reason != undescribed {
		t.Errorf("%+v", d.info.Damage)
	}
}

// Where an interface description is lost its packets are taken for what is commonest, which is noted.
func TestLostInterfaceDescription(t *testing.T) {
	want := somePackets(5)
	f := shapeNamed(t, "pcapng-be-us").build(want)
	f.b[28+5] ^= 0x10 // the length of the block behind the section header
	d := readAll(t, f.b, Options{})
	same(t, d, want, f)
	settled(t, d, len(f.b))
	if d.info.Damaged != 2 {
		t.Errorf("%+v", d.info.Damage)
	}
}

// Some writers leave the padding out of the length they state.
func TestLengthWithoutPadding(t *testing.T) {
	want := []pkt{{testStart, 1, 5, "abcde"}, {testStart + 1, 1, 4, "fghi"}}
	f := &file{}
	f.section(le)
	f.iface(le, 1, 0, option(le, ifTsresol, []byte{9}))
	for _, p := range want {
		at := len(f.b)
		f.packet(le, ngEnhanced, 0, uint64(p.ts), p)
		n := uint32(32 + len(p.data))
		le.PutUint32(f.b[at+4:], n)
		le.PutUint32(f.b[len(f.b)-4:], n)
	}
	d := readAll(t, f.b, Options{})
	if same(t, d, want, f); d.err != io.EOF {
		t.Error(d.err)
	}
}

func TestDamagedSectionHeader(t *testing.T) {
	for _, name := range []string{"pcapng-le-ns", "pcapng-be-ns"} {
		want := somePackets(5)
		f := shapeNamed(t, name).build(want)
		for i := range 4 {
			raw := slices.Clone(f.b)
			raw[8+i] ^= 0xff // the byte-order magic
			d := readAll(t, raw, Options{})
			same(t, d, want, f)
			settled(t, d, len(raw))
		}
	}
}
