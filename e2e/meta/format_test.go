package meta

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"

	"ntpac"
)

// format is a container of frames.
type format struct {
	ng   bool // pcapng
	big  bool // big endian
	zip  bool
	two  bool // pcapng: a section for each half of the frames
	late bool // pcapng: times count from an offset (if_tsoffset)
}

var formats = []format{{}, {big: true}, {zip: true}, {ng: true}, {ng: true, big: true}, {ng: true, zip: true, two: true}, {ng: true, big: true, late: true}}

func (f format) order() binary.AppendByteOrder {
	if f.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// encode writes frames with nanoseconds.
func (f format) encode(fs []frame) []byte {
	var b []byte
	switch {
	case f.ng && f.two:
		b = append(f.section(fs[:len(fs)/2]), f.section(fs[len(fs)/2:])...)
	case f.ng:
		b = f.section(fs)
	default:
		b = f.classic(fs)
	}
	if !f.zip {
		return b
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

func (f format) classic(fs []frame) []byte {
	o := f.order()
	b := o.AppendUint32(nil, 0xa1b23c4d)
	b = o.AppendUint16(b, 2)
	b = o.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = o.AppendUint32(b, 262144)
	b = o.AppendUint32(b, 1)
	for i := range fs {
		b = f.record(b, &fs[i])
	}
	return b
}

// fileHead is the length of a classic pcap's header, recordHead that of each record's.
const (
	fileHead   = 24
	recordHead = 16
)

func (f format) record(b []byte, p *frame) []byte {
	o := f.order()
	b = o.AppendUint32(b, uint32(p.TS/ntpac.Second))
	b = o.AppendUint32(b, uint32(p.TS%ntpac.Second))
	b = o.AppendUint32(b, uint32(len(p.Data)))
	b = o.AppendUint32(b, uint32(p.Wire))
	return append(b, p.Data...)
}

// section writes a section with one interface whose times are nanoseconds.
func (f format) section(fs []frame) []byte {
	o := f.order()
	b := f.block(nil, 0x0a0d0d0a, func(b []byte) []byte {
		b = o.AppendUint32(b, 0x1a2b3c4d)
		b = o.AppendUint16(b, 1)
		b = o.AppendUint16(b, 0)
		return o.AppendUint64(b, ^uint64(0))
	})
	var base ntpac.Time
	if f.late {
		base = 1_000_000_000
	}
	b = f.block(b, 1, func(b []byte) []byte {
		b = o.AppendUint16(b, 1)
		b = o.AppendUint16(b, 0)
		b = o.AppendUint32(b, 262144)
		b = o.AppendUint16(o.AppendUint16(b, 9), 1) // if_tsresol
		b = append(b, 9, 0, 0, 0)
		b = o.AppendUint16(o.AppendUint16(b, 14), 8) // if_tsoffset
		b = o.AppendUint64(b, uint64(base))
		return o.AppendUint32(b, 0)
	})
	for i := range fs {
		p := &fs[i]
		b = f.block(b, 6, func(b []byte) []byte {
			ts := uint64(p.TS - base*ntpac.Second)
			b = o.AppendUint32(b, 0)
			b = o.AppendUint32(b, uint32(ts>>32))
			b = o.AppendUint32(b, uint32(ts))
			b = o.AppendUint32(b, uint32(len(p.Data)))
			b = o.AppendUint32(b, uint32(p.Wire))
			return append(b, p.Data...)
		})
	}
	return b
}

func (f format) block(b []byte, kind uint32, body func([]byte) []byte) []byte {
	o := f.order()
	in := body(nil)
	for len(in)%4 != 0 {
		in = append(in, 0)
	}
	n := uint32(len(in) + 12)
	b = o.AppendUint32(o.AppendUint32(b, kind), n)
	return o.AppendUint32(append(b, in...), n)
}
