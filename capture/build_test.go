package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/klauspost/compress/zstd"

	"ntpac"
)

// pkt is one packet of a test capture.
type pkt struct {
	ts   ntpac.Time
	link ntpac.LinkType
	wire uint32
	data string
}

const testStart = ntpac.Time(1_700_000_000_123_456_000)

// somePackets makes n packets of different sizes, a millisecond apart. The third of each four is cut
// by a snap length.
func somePackets(n int) []pkt {
	var ps []pkt
	for i := range n {
		data := make([]byte, 40+i*17%200)
		for j := range data {
			data[j] = byte(i*7 + j*j)
		}
		p := pkt{ts: testStart + ntpac.Time(i)*1_000_000, link: 1, wire: uint32(len(data)), data: string(data)}
		if i%4 == 2 {
			p.wire += 100
		}
		ps = append(ps, p)
	}
	return ps
}

// shape is a way to write a capture.
type shape struct {
	name  string
	order binary.AppendByteOrder
	write func(s *shape, ps []pkt) *file
	magic uint32
	hdr   int   // pcap: length of record headers
	res   uint8 // pcapng: if_tsresol
	typ   uint32
}

// file is a capture under construction.
type file struct {
	b      []byte
	starts []int // of records or blocks that hold packets
	ends   []int
	frames []int
}

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

func shapes() []shape {
	return []shape{
		{name: "pcap-le-us", order: le, write: buildPcap, magic: magicMicro, hdr: 16},
		{name: "pcap-be-us", order: be, write: buildPcap, magic: magicMicro, hdr: 16},
		{name: "pcap-le-ns", order: le, write: buildPcap, magic: magicNano, hdr: 16},
		{name: "pcap-be-ns", order: be, write: buildPcap, magic: magicNano, hdr: 16},
		{name: "pcap-le-modified", order: le, write: buildPcap, magic: magicModified, hdr: 24},
		{name: "pcap-be-modified", order: be, write: buildPcap, magic: magicModified, hdr: 24},
		{name: "pcap-patched", order: le, write: buildPcap, magic: magicMicro, hdr: 24},
		{name: "pcapng-le-us", order: le, write: buildNg, res: 6, typ: ngEnhanced},
		{name: "pcapng-be-us", order: be, write: buildNg, res: 6, typ: ngEnhanced},
		{name: "pcapng-le-ns", order: le, write: buildNg, res: 9, typ: ngEnhanced},
		{name: "pcapng-be-ns", order: be, write: buildNg, res: 9, typ: ngEnhanced},
		{name: "pcapng-le-100ps", order: le, write: buildNg, res: 10, typ: ngEnhanced},
		{name: "pcapng-be-old", order: be, write: buildNg, res: 6, typ: ngPacket},
		{name: "pcapng-le-old", order: le, write: buildNg, res: 9, typ: ngPacket},
		{name: "snoop", order: be, write: buildSnoop},
	}
}

func (s *shape) build(ps []pkt) *file { return s.write(s, ps) }

func shapeNamed(t testing.TB, name string) *shape {
	for _, s := range shapes() {
		if s.name == name {
			return &s
		}
	}
	t.Fatalf("no shape %s", name)
	return nil
}

func (f *file) frame(data string) {
	f.frames = append(f.frames, len(f.b))
	f.b = append(f.b, data...)
}

func buildPcap(s *shape, ps []pkt) *file {
	f, o := &file{}, s.order
	f.b = o.AppendUint32(f.b, s.magic)
	f.b = o.AppendUint16(f.b, 2)
	f.b = o.AppendUint16(f.b, 4)
	f.b = o.AppendUint64(f.b, 0)
	f.b = o.AppendUint32(f.b, 65535)
	f.b = o.AppendUint32(f.b, 0x5000_0001) // Ethernet, and a remark on frame check sequences
	for _, p := range ps {
		f.starts = append(f.starts, len(f.b))
		sub := uint32(p.ts % ntpac.Second)
		if s.magic != magicNano {
			sub /= 1000
		}
		f.b = o.AppendUint32(f.b, uint32(p.ts/ntpac.Second))
		f.b = o.AppendUint32(f.b, sub)
		f.b = o.AppendUint32(f.b, uint32(len(p.data)))
		f.b = o.AppendUint32(f.b, p.wire)
		if s.hdr == 24 {
			f.b = append(f.b, 2, 0, 0, 0, 8, 0, 4, 0)
		}
		f.frame(p.data)
		f.ends = append(f.ends, len(f.b))
	}
	return f
}

func buildSnoop(_ *shape, ps []pkt) *file {
	f := &file{b: []byte("snoop\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x04")}
	for _, p := range ps {
		f.starts = append(f.starts, len(f.b))
		pad := -len(p.data) & 3
		for _, v := range []uint32{p.wire, uint32(len(p.data)), uint32(24 + len(p.data) + pad), 0,
			uint32(p.ts / ntpac.Second), uint32(p.ts % ntpac.Second / 1000)} {
			f.b = be.AppendUint32(f.b, v)
		}
		f.frame(p.data)
		f.b = append(f.b, make([]byte, pad)...)
		f.ends = append(f.ends, len(f.b))
	}
	return f
}

// block appends a pcapng block around body.
func (f *file) block(o binary.AppendByteOrder, typ uint32, body []byte) {
	n := uint32(12 + (len(body)+3)&^3)
	f.b = o.AppendUint32(f.b, typ)
	f.b = o.AppendUint32(f.b, n)
	f.b = append(f.b, body...)
	f.b = append(f.b, make([]byte, -len(body)&3)...)
	f.b = o.AppendUint32(f.b, n)
}

func (f *file) section(o binary.AppendByteOrder) {
	body := o.AppendUint32(nil, ngOrder)
	body = o.AppendUint32(body, 1)
	f.block(o, ngSection, o.AppendUint64(body, 1<<64-1))
}

// option is one option of a block.
func option(o binary.AppendByteOrder, code uint16, v []byte) []byte {
	b := o.AppendUint16(nil, code)
	b = o.AppendUint16(b, uint16(len(v)))
	b = append(b, v...)
	return append(b, make([]byte, -len(v)&3)...)
}

func (f *file) iface(o binary.AppendByteOrder, link uint16, snap uint32, options ...[]byte) {
	body := o.AppendUint16(nil, link)
	body = o.AppendUint16(body, 0)
	body = o.AppendUint32(body, snap)
	f.block(o, ngInterface, append(body, bytes.Join(options, nil)...))
}

// packet appends a packet block of either kind.
func (f *file) packet(o binary.AppendByteOrder, typ uint32, iface int, units uint64, p pkt) {
	f.starts = append(f.starts, len(f.b))
	var body []byte
	if typ == ngPacket {
		body = o.AppendUint16(body, uint16(iface))
		body = o.AppendUint16(body, 0xffff)
	} else {
		body = o.AppendUint32(body, uint32(iface))
	}
	for _, v := range []uint32{uint32(units >> 32), uint32(units), uint32(len(p.data)), p.wire} {
		body = o.AppendUint32(body, v)
	}
	f.frames = append(f.frames, len(f.b)+28)
	f.block(o, typ, append(body, p.data...))
	f.ends = append(f.ends, len(f.b))
}

func buildNg(s *shape, ps []pkt) *file {
	f, o := &file{}, s.order
	f.section(o)
	f.iface(o, 1, 0, option(o, 2, []byte("eth0")), option(o, ifTsresol, []byte{s.res}), option(o, optEnd, nil))
	f.block(o, ngNames, make([]byte, 9))
	for _, p := range ps {
		units := uint64(p.ts)
		switch s.res {
		case 6:
			units /= 1000
		case 10:
			units *= 10
		}
		f.packet(o, s.typ, 0, units, p)
	}
	return f
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func (p pkt) String() string {
	return fmt.Sprintf("%v link %d %d/%d", p.ts, p.link, len(p.data), p.wire)
}
