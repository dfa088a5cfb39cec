package capture

import (
	"encoding/binary"
	"math"
	"math/bits"

	"ntpac"
)

// records walks files of records with fixed headers: pcap in all its variants, and snoop. The fields
// are those of draft-ietf-opsawg-pcap, the variants those that libpcap and Wireshark read.
type records struct {
	kind    content
	big     bool // big-endian
	hdr     int  // length of a record header
	unit    uint32
	mul     ntpac.Time // nanoseconds in one of the sub-second units
	snap    uint32     // a captured length up to this is nothing special
	link    ntpac.LinkType
	swapped lengths
	seen    bool
	last    ntpac.Time // of the record before
	bad     int        // where walk found an odd record: so many bytes ahead
}

// lengths says how a file stores the captured and the original length.
type lengths uint8

const (
	capturedFirst lengths = iota
	originalFirst         // pcap before 2.3
	smallerIs             // pcap 2.3: some writers this way, some that
)

const (
	pcapHeader  = 24
	pcapRecord  = 16
	snoopHeader = 16
	snoopRecord = 24
)

// A snap length that some file states can be too small, or 0; up to this nothing is suspicious.
const usualSnap = 256 << 10

func newFormat(k content) format {
	if k == pcapngFile {
		return &pcapng{}
	}
	return &records{kind: k}
}

func (r *records) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if r.big {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (r *records) begin(f *File) bool {
	if r.kind == snoopFile {
		return r.beginSnoop(f)
	}
	h, ok := f.win.peek(0, pcapHeader)
	if !ok {
		return false
	}
	r.hdr, r.unit, r.mul = pcapRecord, 1e6, 1e3
	switch m := binary.BigEndian.Uint32(h); m {
	case magicMicro, magicNano, magicModified:
		r.big = true
	}
	switch r.u32(h) {
	case magicNano:
		r.unit, r.mul = 1e9, 1
	case magicModified:
		r.hdr = 24
	}
	r.version(h)
	r.snap = min(max(r.u32(h[16:]), usualSnap), maxRecord)
	f.win.pos += pcapHeader
	if !f.eager { // at a pipe, this would wait for several packets
		r.guess(f)
	}
	return true
}

// version reads the link type, whose upper bits tell of frame check sequences, and knows the odd versions.
func (r *records) version(h []byte) {
	r.link = ntpac.LinkType(r.u32(h[20:]))
	version := r.u32(h[4:])
	major, minor := version&0xffff, version>>16
	if r.big {
		major, minor = minor, major
	}
	if major == 2 && minor == 2 && r.link == 6 { // AIX: interface types, and nanoseconds
		r.link, r.unit, r.mul = 1, 1e9, 1
	}
	switch {
	case major == 2 && minor < 3, major == 543: // 543.0 is DG/UX
		r.swapped = originalFirst
	case major == 2 && minor == 3:
		r.swapped = smallerIs
	}
}

// guess finds the length of the record headers: patched libpcaps wrote longer ones under either magic
// number (24 bytes; 20 at Nokia; 28 in a short-lived version).
func (r *records) guess(f *File) {
	declared := r.hdr
	f.win.ahead = true
	defer func() { f.win.ahead = false }()
	for i, hdr := range [...]int{declared, 16, 24, 20, 28} {
		r.hdr = hdr
		if n, end := r.chain(f, 0, 0, false, sound); n == chained || end && (n > 0 || i == 0) {
			return
		}
	}
	r.hdr = declared
}

func (r *records) beginSnoop(f *File) bool {
	h, ok := f.win.peek(0, snoopHeader)
	if !ok {
		return false
	}
	r.big, r.hdr, r.unit, r.mul, r.snap = true, snoopRecord, 1e6, 1e3, usualSnap
	r.link = snoopLink(r.u32(h[12:]))
	f.win.pos += snoopHeader
	return true
}

// snoopLink translates the data link types of RFC 1761, section 4, and of Solaris since.
func snoopLink(t uint32) ntpac.LinkType {
	switch t {
	case 0, 4: // IEEE 802.3, Ethernet
		return 1
	case 2: // token ring
		return 6
	case 5: // HDLC
		return 104
	case 8: // FDDI
		return 10
	case 26: // IP over InfiniBand
		return 242
	}
	return math.MaxUint16 // no link type: the packets are counted as unreadable
}

// record is a record header, read.
type record struct {
	ts        ntpac.Time
	sub       uint32 // sub-second units
	cap, wire uint32
	step      int // to the next record header
	zero      bool
}

func (r *records) parse(h []byte) record {
	var c record
	sec, sub, n, orig := r.u32(h), r.u32(h[4:]), r.u32(h[8:]), r.u32(h[12:])
	c.zero = sec|sub|n|orig == 0
	if r.kind == snoopFile {
		orig, n, sec, sub = sec, sub, r.u32(h[16:]), r.u32(h[20:])
		c.step = int(r.u32(h[8:]))
	} else {
		if r.swapped == originalFirst || r.swapped == smallerIs && n > orig {
			n, orig = orig, n
		}
		c.step = r.hdr + int(n)
	}
	c.ts, c.sub, c.cap, c.wire = r.time(sec, sub), sub, n, orig
	return c
}

// time leaves an impossible fraction of a second away.
func (r *records) time(sec, sub uint32) ntpac.Time {
	if sub >= r.unit {
		sub = 0
	}
	return ntpac.Time(sec)*ntpac.Second + ntpac.Time(sub)*r.mul
}

// walk describes the records ahead.
func (r *records) walk(f *File, b *ntpac.Batch) state {
	if r.kind == snoopFile || r.swapped != capturedFirst {
		return r.walkAny(f, b)
	}
	return r.walkPcap(f, b)
}

// nearby is how far from its neighbour a timestamp may lie before it is looked at twice.
const nearby = 86400 * ntpac.Second

// walkPcap is the fast way. A record is taken when the header behind it is sound too, for a record that
// damage has shortened reaches over the next ones. So it always looks one header ahead.
func (r *records) walkPcap(f *File, b *ntpac.Batch) state {
	w := &f.win
	mem, pos, hdr := w.mem[:w.end], w.pos, r.hdr
	out := b.Packets[len(b.Packets):cap(b.Packets)]
	blk, ord, trusted := f.place(b), f.info.Packets, f.trusted-w.base
	big, unit, mul, snap, last, link := r.big, r.unit, r.mul, r.snap, r.last, r.link
	lo, hi := f.span()
	if !r.seen && len(mem)-pos >= hdr {
		last = r.parse(mem[pos:]).ts
	}
	var c ntpac.Packet // the record at pos, once its own header was found sound
	st, n, next, known, doubt, sink := full, 0, pos, false, false, byte(0)
	for {
		if len(mem)-next < hdr {
			st, f.need = short, next-pos+hdr
			break
		}
		h := mem[next : next+16 : next+16]
		one, two := binary.LittleEndian.Uint64(h), binary.LittleEndian.Uint64(h[8:])
		sec, sub, caplen, wire := uint32(one), uint32(one>>32), uint32(two), uint32(two>>32)
		if big {
			sec, sub, caplen, wire = bits.ReverseBytes32(sec), bits.ReverseBytes32(sub), bits.ReverseBytes32(caplen), bits.ReverseBytes32(wire)
		}
		ts := ntpac.Time(sec)*ntpac.Second + ntpac.Time(sub)*mul
		suspect := caplen > snap || caplen > wire || wire-1 >= maxRecord || sub >= unit || uint64(ts-last+nearby) > uint64(2*nearby)
		if suspect {
			if int64(next) > trusted {
				st, r.bad = odd, next-pos
				break
			}
			ts = r.time(sec, sub)
		}
		if known {
			if doubt {
				r.remark(f, mem[pos:], w.base+int64(pos))
			}
			out[n] = c
			n++
			lo, hi, r.last = min(lo, c.TS), max(hi, c.TS), c.TS
		}
		pos = next
		if n == len(out) {
			break
		}
		if t := pos + touchAhead; t < len(mem) {
			sink += mem[t]
		}
		c = ntpac.Packet{TS: ts, Off: w.base + int64(pos+hdr), Ord: ord + uint64(n), Pos: uint32(pos + hdr),
			Cap: caplen, Wire: wire, Link: link, Blk: blk}
		next, last, known, doubt = pos+hdr+int(caplen), ts, true, suspect
	}
	f.sink, r.seen = sink, r.seen || n > 0
	f.spanned(n, lo, hi)
	f.took(b, n, pos)
	return st
}

// touchAhead is how far ahead of the record being walked the block is touched.
const touchAhead = 2 << 10

// walkAny is the way for rare formats.
func (r *records) walkAny(f *File, b *ntpac.Batch) state {
	for len(b.Packets) < cap(b.Packets) {
		h := f.win.ready(0, r.hdr)
		if h == nil {
			f.need = r.hdr
			return short
		}
		c := r.parse(h)
		if at := f.win.at(); at > f.trusted && r.score(&c, r.last, r.seen, f.otherTime(r.last)) > 0 {
			r.bad = 0
			return odd
		}
		if h = f.win.ready(c.step, r.hdr); h == nil {
			f.need = c.step + r.hdr
			return short
		}
		d := r.parse(h)
		if at := f.win.at() + int64(c.step); at > f.trusted && r.score(&d, c.ts, true, f.otherTime(c.ts)) > 0 {
			r.bad = c.step
			return odd
		}
		r.take(f, b)
	}
	return full
}

// take puts the record ahead, which lies whole in the window, into the batch.
func (r *records) take(f *File, b *ntpac.Batch) {
	w := &f.win
	h := w.mem[w.pos:w.end]
	c := r.parse(h)
	r.remark(f, h, w.at())
	lo, hi := f.span()
	pos := w.pos + r.hdr
	b.Packets[:len(b.Packets)+1][len(b.Packets)] = ntpac.Packet{TS: c.ts, Off: w.base + int64(pos), Ord: f.info.Packets,
		Pos: uint32(pos), Cap: c.cap, Wire: c.wire, Link: r.link, Blk: f.place(b)}
	f.spanned(1, min(lo, c.ts), max(hi, c.ts))
	f.took(b, 1, w.pos+c.step)
	r.last, r.seen = c.ts, true
}

func (r *records) rest(f *File, b *ntpac.Batch) {
	h := f.win.ready(0, r.hdr)
	if h == nil {
		return
	}
	if c := r.parse(h); c.step == f.win.left() && r.score(&c, r.last, r.seen, f.otherTime(r.last)) <= sound {
		r.take(f, b)
	}
}

// remark notes what is wrong with a record that is taken all the same, and a snoop record's drops.
func (r *records) remark(f *File, h []byte, at int64) {
	fraction := 4
	if r.kind == snoopFile {
		f.info.Dropped = max(f.info.Dropped, uint64(r.u32(h[12:])))
		fraction = 20
	}
	if r.u32(h[fraction:]) >= r.unit {
		f.note(at+int64(fraction), 4, "impossible fraction of a second, left away")
	}
}

// span gives the lowest and highest timestamp so far, ready to be lowered and raised.
func (f *File) span() (lo, hi ntpac.Time) {
	if f.info.Packets == 0 {
		return noTime, -noTime
	}
	return f.info.First, f.info.Last
}

func (f *File) spanned(n int, lo, hi ntpac.Time) {
	if n > 0 {
		f.info.First, f.info.Last = lo, hi
	}
}
