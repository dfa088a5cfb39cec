package capture

import (
	"encoding/binary"
	"math"
	"math/bits"

	"ntpac"
)

// The block types of draft-ietf-opsawg-pcapng that matter here; of the others only the length does.
const (
	ngSection    = 0x0a0d0d0a // section 4.1; the same in both byte orders
	ngInterface  = 1
	ngPacket     = 2 // obsolete
	ngSimple     = 3
	ngNames      = 4
	ngStatistics = 5
	ngEnhanced   = 6
	ngJournal    = 9
	ngSecrets    = 10
	ngCustom     = 0x00000bad
	ngCustomKeep = 0x40000bad

	ngOrder    = 0x1a2b3c4d // the byte-order magic
	ngFrame    = 12         // type, length, and length again at the end
	ngMaxBlock = maxRecord + 1<<20
)

// pcapng walks a pcapng file.
type pcapng struct {
	big    bool // the section's byte order
	hurt   bool // a part of this section was lost: interfaces may be missing
	lost   bool // and one was
	told   bool // and that was noted
	ifaces []iface
	reason string     // what walk found odd
	last   ntpac.Time // of the packet before: simple packets have no time of their own
}

func (p *pcapng) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if p.big {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (p *pcapng) u16(b []byte) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if p.big {
		v = bits.ReverseBytes16(v)
	}
	return v
}

// begin needs no more than a look: the section header is a block like others.
func (p *pcapng) begin(f *File) bool {
	h, ok := f.win.peek(0, ngFrame)
	if ok && !p.order(h) { // it is damaged: go by what makes a length of the length
		p.big = p.u32(h[4:]) > ngMaxBlock
	}
	return ok
}

// order reads a section header's byte order.
func (p *pcapng) order(h []byte) bool {
	switch binary.LittleEndian.Uint32(h[8:]) {
	case ngOrder:
		p.big = false
	case bits.ReverseBytes32(ngOrder):
		p.big = true
	default:
		return false
	}
	return true
}

// padded is a block's true length. Some writers leave the padding out of the length they state.
func padded(n uint32) int { return int(n+3) &^ 3 }

// walk describes the packets ahead. A block counts as sound when its length stands at its end too.
func (p *pcapng) walk(f *File, b *ntpac.Batch) state {
	w := &f.win
	mem, pos := w.mem[:w.end], w.pos
	out := b.Packets[len(b.Packets):cap(b.Packets)]
	blk, ord, trusted := f.place(b), f.info.Packets, f.trusted-w.base
	lo, hi := f.span()
	st, n, sink := full, 0, byte(0)
	for n < len(out) {
		if len(mem)-pos < ngFrame {
			st, f.need = short, ngFrame
			break
		}
		h := mem[pos : pos+ngFrame : pos+ngFrame]
		typ, size := p.u32(h), p.u32(h[4:])
		if typ == ngSection {
			if !p.order(h) {
				st, p.reason = odd, "section header without its byte-order magic"
				break
			}
			size = p.u32(h[4:])
		}
		if size < ngFrame || size > ngMaxBlock {
			st, p.reason = odd, "impossible block length"
			break
		}
		next := pos + padded(size)
		if next > len(mem) {
			st, f.need = short, padded(size)
			break
		}
		if t := pos + touchAhead; t < len(mem) {
			sink += mem[t]
		}
		block := mem[pos:next:next]
		torn := p.u32(block[len(block)-4:]) != size
		if torn && int64(pos) > trusted {
			st, p.reason = odd, tornBlock
			break
		}
		var c frame
		reason := ""
		if typ == ngEnhanced {
			reason = p.enhanced(block, &c)
		} else {
			reason = p.other(f, typ, block, &c)
		}
		if reason != "" {
			st, p.reason = odd, reason
			break
		}
		if p.lost {
			f.note(w.base+int64(pos), 0, "interface description lost: its packets are taken for Ethernet, in microseconds")
			p.lost = false
		}
		if torn {
			f.note(w.base+int64(next-4), 4, tornBlock)
		}
		if c.off == 0 {
			pos = next
			continue
		}
		out[n] = ntpac.Packet{TS: c.ts, Off: w.base + int64(pos) + int64(c.off), Ord: ord + uint64(n), Pos: uint32(pos) + c.off,
			Cap: c.cap, Wire: c.wire, Link: c.link, Blk: blk}
		p.last = c.ts
		lo, hi, pos = min(lo, c.ts), max(hi, c.ts), next
		n++
	}
	f.sink = sink
	f.spanned(n, lo, hi)
	f.took(b, n, pos)
	return st
}

// frame is what a packet block says of its frame.
type frame struct {
	ts        ntpac.Time
	off       uint32 // of the frame in its block; 0 where the block is no packet
	cap, wire uint32
	link      ntpac.LinkType
}

// What is wrong with a block, if anything.
const (
	tornBlock   = "block whose two lengths differ"
	tooShort    = "packet block too short"
	tooLong     = "packet longer than its block"
	undescribed = "packet of an interface that was not described"
)

// enhanced reads an enhanced packet block (section 4.3), or says what is wrong with it.
func (p *pcapng) enhanced(b []byte, c *frame) string {
	if len(b) < 32 {
		return tooShort
	}
	return p.packet(b, p.u32(b[8:]), c)
}

// packet reads what the two kinds of packet blocks have in common.
func (p *pcapng) packet(b []byte, number uint32, c *frame) string {
	const head = 28
	c.cap, c.wire = p.u32(b[20:]), p.u32(b[24:])
	if int(c.cap) > len(b)-head-4 {
		return tooLong
	}
	i := p.iface(number)
	if i == nil {
		return undescribed
	}
	c.ts = i.time(uint64(p.u32(b[12:]))<<32 | uint64(p.u32(b[16:])))
	c.off, c.link = head, i.link
	return ""
}

// other reads all other blocks.
func (p *pcapng) other(f *File, typ uint32, b []byte, c *frame) string {
	switch typ {
	case ngSection:
		return p.section(b)
	case ngInterface:
		return p.describe(b)
	case ngSimple:
		return p.simple(b, c)
	case ngPacket:
		return p.obsolete(f, b, c)
	case ngStatistics:
		p.statistics(f, b)
	}
	return ""
}

// section begins a new section (4.1): its interfaces are numbered anew.
func (p *pcapng) section(b []byte) string {
	if len(b) < 28 {
		return "section header too short"
	}
	p.hurt, p.lost, p.told, p.ifaces = false, false, false, p.ifaces[:0]
	return ""
}

// simple reads a simple packet block (4.4), which is of interface 0 and has no time: it takes that of
// the packet before, so that it does not seem to run back.
func (p *pcapng) simple(b []byte, c *frame) string {
	const head = 12
	if len(b) < head+4 {
		return tooShort
	}
	i := p.iface(0)
	if i == nil {
		return undescribed
	}
	c.wire = p.u32(b[8:])
	c.cap = min(c.wire, uint32(len(b)-head-4))
	if i.snap > 0 {
		c.cap = min(c.cap, i.snap)
	}
	c.ts, c.off, c.link = p.last, head, i.link
	return ""
}

// obsolete reads the packet block of older files (appendix A).
func (p *pcapng) obsolete(f *File, b []byte, c *frame) string {
	if len(b) < 32 {
		return tooShort
	}
	if reason := p.packet(b, uint32(p.u16(b[8:])), c); reason != "" {
		return reason
	}
	if drops := p.u16(b[10:]); drops != math.MaxUint16 { // that is: not known
		f.info.Dropped += uint64(drops)
	}
	return ""
}

// mend: a block whose first length leads to other good blocks, or to the end, is taken, and only the length at
// its end held to be wrong. Where the frame is sound and the content is not, just this block is passed
// over.
func (p *pcapng) mend(f *File, _ *ntpac.Batch) {
	reason := p.reason
	h, ok := f.win.peek(0, ngFrame)
	if !ok || !p.known(h) && !p.starts(h) || !f.win.fill(padded(p.u32(h[4:]))) {
		f.search(p.seek, reason)
		return
	}
	size := p.u32(h[4:])
	n := padded(size)
	b, _ := f.win.peek(0, n)
	switch {
	case p.u32(b[n-4:]) == size, f.win.at() <= f.trusted:
		f.lose(n, reason)
	case p.block(f, n) || p.heads(f, n):
		f.trusted = f.win.at()
	default:
		f.search(p.seek, reason)
	}
}

// rest has nothing to do: a block proves itself.
func (p *pcapng) rest(*File, *ntpac.Batch) {}

// tail: a packet whose lengths agree was cut by the end; anything else may be a corrupt length that
// reaches over good blocks.
func (p *pcapng) tail(f *File, _ *ntpac.Batch) {
	h, ok := f.win.peek(0, 28)
	if !ok || p.known(h) && p.u32(h) == ngEnhanced && p.fits(h, p.u32(h[4:])) && p.u32(h[4:])-32-p.u32(h[20:]) < 4 {
		f.lose(f.win.left(), cutShort)
		return
	}
	f.search(p.seek, cutShort)
}

// starts reports whether a section can begin with this.
func (p *pcapng) starts(h []byte) bool {
	if binary.LittleEndian.Uint32(h) != ngSection || !p.order(h) {
		return false
	}
	size := p.u32(h[4:])
	return size >= 28 && size <= ngMaxBlock
}

// heads reports whether the first lengths of three blocks lead from one to the next, from rel bytes
// ahead, or to the end of the source. It is a weaker proof than that of block.
func (p *pcapng) heads(f *File, rel int) bool {
	for range chained {
		h, ok := f.win.peek(rel, ngFrame)
		if !ok {
			return f.win.left() == rel
		}
		size := p.u32(h[4:])
		if !p.known(h) {
			return false
		}
		if p.u32(h) == ngEnhanced {
			if h, ok = f.win.peek(rel, 28); !ok || !p.fits(h, size) {
				return false
			}
		}
		rel += int(size)
	}
	return true
}

// known reports whether a block header has a type and a length that can be. Only types that are in use are
// believed in a search.
func (p *pcapng) known(h []byte) bool {
	size := p.u32(h[4:])
	if size < ngFrame || size > ngMaxBlock || size%4 != 0 {
		return false
	}
	switch p.u32(h) {
	case ngInterface, ngPacket, ngSimple, ngNames, ngStatistics, ngEnhanced, ngJournal, ngSecrets, ngCustom, ngCustomKeep:
		return true
	}
	return false
}

// block proves the block that begins rel bytes ahead.
func (p *pcapng) block(f *File, rel int) bool {
	h, ok := f.win.peek(rel, ngFrame)
	if !ok {
		return false
	}
	if binary.LittleEndian.Uint32(h) == ngSection {
		return p.header(f, rel, h)
	}
	if !p.known(h) {
		return false
	}
	size := p.u32(h[4:])
	if p.u32(h) == ngEnhanced {
		if h, ok = f.win.peek(rel, 28); !ok || !p.fits(h, size) {
			return false
		}
	}
	end, ok := f.win.peek(rel+int(size)-4, 4)
	return ok && p.u32(end) == size
}

// header proves a section header, whichever its byte order.
func (p *pcapng) header(f *File, rel int, h []byte) bool {
	q := pcapng{}
	if !q.order(h) {
		return false
	}
	size := q.u32(h[4:])
	if size < 28 || size > ngMaxBlock || size%4 != 0 {
		return false
	}
	end, ok := f.win.peek(rel+int(size)-4, 4)
	return ok && q.u32(end) == size
}

// fits reports whether the lengths in an enhanced packet block go together, with room for options.
func (p *pcapng) fits(h []byte, size uint32) bool {
	n := p.u32(h[20:])
	return n <= size-32 && size >= 32 && size-32-n < 64<<10 && (len(p.ifaces) == 0 || int(p.u32(h[8:])) < len(p.ifaces))
}

// seek looks for the next block that proves itself.
func (p *pcapng) seek(f *File) bool {
	p.hurt = true
	w := &f.win
	for w.fill(ngFrame) {
		mem := w.mem[:w.end]
		pos, last := w.pos, len(mem)-ngFrame
		for pos <= last && !p.known(mem[pos:]) && binary.LittleEndian.Uint32(mem[pos:]) != ngSection {
			pos++
		}
		w.pos = pos
		if pos > last {
			continue
		}
		if p.block(f, 0) {
			return true
		}
		w.pos++
	}
	w.pos = w.end
	return false
}
