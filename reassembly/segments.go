package reassembly

import "ntpac"

// segment is a run of out-of-order bytes that waits for what comes before it. A segment without data
// stands for bytes that the snap length cut away.
type segment struct {
	off, end int64
	data     []byte // end-off bytes, or none for cut ones
	next     uint32
	finger   uint32 // of a ring's last one: after which segment bytes came in between at last, 0 for none
}

// segmentPool keeps segments in one slab, the free ones by the size of their buffers. The segments of a
// direction are a ring ordered by offset, held by its last one: both ends are at hand. Handle 0 is none.
type segmentPool struct {
	slab []segment
	free [len(segmentSizes) + 1]uint32 // by class; the last for those without a buffer
	held int64                         // bytes of memory in segments that wait
	kept int64                         // and in free ones
}

// segmentSizes are the sizes of buffers: for keystrokes, small messages, full segments on Ethernet, jumbo
// frames, and what segmentation offload hands to a capture.
var segmentSizes = [...]int{64, 512, 1536, 9216, 65536}

// segmentCost is the memory of a segment beside its buffer.
const segmentCost = 48

// keepAll is what free segments keep of their buffers in all.
const keepAll = 64 << 20

func (p *segmentPool) at(h uint32) *segment { return &p.slab[h] }

// first gives the first of a direction's segments, of which there must be some.
func (p *segmentPool) first(h *half) *segment { return p.at(p.at(h.segs).next) }

// sizeClass is the class of buffers for n bytes.
func sizeClass(n int) int {
	for k, size := range segmentSizes {
		if n <= size {
			return k
		}
	}
	return len(segmentSizes)
}

// take makes a segment with a copy of data.
func (p *segmentPool) take(off, end int64, data []byte) uint32 {
	bare := len(segmentSizes)
	k := bare
	if len(data) > 0 {
		k = sizeClass(len(data))
	}
	h := p.free[k]
	if h == 0 {
		h = p.free[bare]
		if h != 0 {
			p.free[bare] = p.slab[h].next
		} else {
			h = p.more()
		}
	} else {
		p.free[k] = p.slab[h].next
		p.kept -= int64(cap(p.slab[h].data))
	}
	s := &p.slab[h]
	s.off, s.end, s.next, s.finger = off, end, h, 0
	if cap(s.data) < len(data) {
		n := len(data)
		if k < bare {
			n = segmentSizes[k]
		}
		s.data = make([]byte, 0, n)
	}
	s.data = append(s.data[:0], data...)
	p.held += int64(cap(s.data)) + segmentCost
	return h
}

func (p *segmentPool) more() uint32 {
	if len(p.slab) == 0 {
		p.slab = make([]segment, 1, 64)
	}
	p.slab = append(p.slab, segment{})
	return uint32(len(p.slab) - 1)
}

func (p *segmentPool) give(h uint32) {
	s := &p.slab[h]
	p.held -= int64(cap(s.data)) + segmentCost
	k := len(segmentSizes)
	if n := cap(s.data); n > 0 {
		if k = sizeClass(n); k == len(segmentSizes) || n != segmentSizes[k] || p.kept > keepAll {
			s.data, k = nil, len(segmentSizes)
		}
	}
	p.kept += int64(cap(s.data))
	s.data = s.data[:0]
	s.next, p.free[k] = p.free[k], h
}

// shift takes the first segment of a direction out; the caller gives it back.
func (p *segmentPool) shift(h *half) (k uint32) {
	last := p.at(h.segs)
	k = last.next
	if k == last.finger {
		last.finger = 0
	}
	if k == h.segs {
		h.segs = 0
	} else {
		last.next = p.at(k).next
	}
	h.nsegs--
	return k
}

// link puts a segment behind prev; at the end it becomes the last one.
func (p *segmentPool) link(h *half, prev, k uint32, end bool) {
	if h.segs == 0 {
		h.segs = k
	} else {
		p.at(k).next, p.at(prev).next = p.at(prev).next, k
		if end {
			p.at(k).finger, h.segs = p.at(prev).finger, k
		} else {
			p.at(h.segs).finger = k
		}
	}
	h.nsegs++
}

// before gives a segment behind which an offset lies, or the ring's last one to begin with its first. last says
// that nothing follows: most segments come behind all others. What comes in between mostly comes near to where
// the one before it did.
func (p *segmentPool) before(h *half, off int64) (k uint32, last bool) {
	if h.segs == 0 || off >= p.at(h.segs).end {
		return h.segs, true
	}
	if k := p.at(h.segs).finger; k != 0 && p.at(k).end <= off {
		return k, false
	}
	return h.segs, false
}

// unlink takes the segment behind prev out and gives it back.
func (p *segmentPool) unlink(h *half, prev uint32) {
	k := p.at(prev).next
	if last := p.at(h.segs); last.finger == k {
		last.finger = 0
	}
	switch {
	case k == prev:
		h.segs = 0
	case k == h.segs:
		p.at(prev).finger, h.segs = p.at(k).finger, prev
		fallthrough
	default:
		p.at(prev).next = p.at(k).next
	}
	h.nsegs--
	p.give(k)
}

// fill puts data into the segment behind prev, one of bytes that the snap length cut away from another
// packet. What is left of it on both sides stays cut. It gives the segment with the data.
func (p *segmentPool) fill(h *half, prev uint32, off int64, data []byte) (k uint32) {
	s := p.at(p.at(prev).next)
	from, to, last := s.off, s.end, p.at(prev).next == h.segs
	end := off + int64(len(data))
	p.unlink(h, prev)
	if h.segs == 0 {
		prev = 0
	}
	for _, part := range [...]struct {
		off, end int64
		data     []byte
	}{{from, off, nil}, {off, end, data}, {end, to, nil}} {
		if part.off == part.end {
			continue
		}
		x := p.take(part.off, part.end, part.data)
		p.link(h, prev, x, last)
		if prev = x; part.data != nil {
			k = x
		}
	}
	return k
}

// insert puts the bytes of [off, end) that no held segment has into those of h; where a held segment
// already has a byte, clash is told both versions. It reports how many bytes were new.
func (r *Reassembler) insert(h *half, off, end int64, data []byte, clash func(off int64, held, b []byte)) (fresh int64) {
	p := &r.segs
	prev, last := p.before(h, off) // last: nothing is behind prev
	for off < end {
		for !last && p.at(p.at(prev).next).end <= off {
			prev = p.at(prev).next
			last = prev == h.segs
		}
		stop := end
		if !last {
			s := p.at(p.at(prev).next)
			if s.off <= off {
				n := min(s.end, end) - off
				m := min(n, int64(len(data)))
				switch {
				case m == 0:
				case len(s.data) > 0:
					clash(off, s.data[off-s.off:off-s.off+m], data[:m])
				default:
					prev = p.fill(h, prev, off, data[:m])
					last, fresh, n = prev == h.segs, fresh+m, m
				}
				off, data = off+n, data[m:]
				continue
			}
			stop = min(end, s.off)
		}
		n := stop - off
		k := p.take(off, stop, data[:min(n, int64(len(data)))])
		p.link(h, prev, k, last)
		fresh += n
		prev = k
		off = stop
		data = data[min(n, int64(len(data))):]
	}
	return fresh
}

// drain emits the held segments that have become next.
func (r *Reassembler) drain(f *flow, side ntpac.Side) {
	h := &f.half[side]
	for h.segs != 0 && r.segs.first(h).off <= h.next {
		k := r.segs.shift(h)
		s := r.segs.at(k)
		if s.end > h.next {
			if len(s.data) == 0 {
				r.giveUp(f, side, s.end, ntpac.GapCut)
			} else {
				r.emit(f, side, s.data[h.next-s.off:])
			}
		}
		r.segs.give(k)
	}
}

// emit seals the next bytes of a side.
func (r *Reassembler) emit(f *flow, side ntpac.Side, b []byte) {
	h := &f.half[side]
	r.sink.Data(f.handle, side, h.next, b)
	r.stats.Payload.Stream += uint64(len(b))
	h.next += int64(len(b))
}

// giveUp declares everything of a side before end missing.
func (r *Reassembler) giveUp(f *flow, side ntpac.Side, end int64, cause ntpac.GapCause) {
	h := &f.half[side]
	n := end - h.next
	if n <= 0 {
		return
	}
	g := ntpac.Gap{Off: h.next, Len: n, Cause: cause}
	r.sink.Gap(f.handle, side, g)
	h.next = end
	h.high = max(h.high, end)
	f.gaps++
	r.gaps++
	r.extras.of(f).missing[side] += n
	r.stats.gap(g)
}

// arm has the holes below what the peer has acknowledged given up when the window has passed since. While
// it waits for some, it does not begin to wait for more: a hole waits for two windows at most, however
// many there are.
func (r *Reassembler) arm(f *flow, ix uint32, side ntpac.Side) {
	h := &f.half[side]
	if h.gapDue != 0 {
		if h.next < r.extras.of(f).due[side] {
			return
		}
		h.gapDue = 0
	}
	if h.acked > h.next && h.packets > 0 && h.state&(haveBase|holding) == haveBase {
		x := r.extras.of(f)
		if x.ackedAt[side] == 0 { // it was acknowledged before anything was known of the side
			x.ackedAt[side] = f.last
		}
		h.gapDue, x.due[side] = x.ackedAt[side]+r.cfg.Window, h.acked
		r.wait(f, ix, h.gapDue)
	}
}

// skip gives up the holes of a side that have become due, and goes on with what was held behind them.
func (r *Reassembler) skip(f *flow, ix uint32, side ntpac.Side) {
	h := &f.half[side]
	due := r.extras.of(f).due[side]
	h.gapDue = 0
	for progress := true; progress && h.next < due; {
		was := h.next
		r.giveUp(f, side, min(r.ackedHole(h), due), ntpac.GapAcked)
		r.drain(f, side)
		progress = h.next > was
	}
	if h.next >= due {
		r.arm(f, ix, side)
	}
}

// ackedHole says up to where the hole at next is known to have reached the peer. Behind the last
// captured byte a single one is most likely a FIN that was not captured: see tailEnd.
func (r *Reassembler) ackedHole(h *half) int64 {
	end := h.acked
	if h.fin >= 0 {
		end = min(end, h.fin)
	}
	if h.segs != 0 {
		return min(end, r.segs.first(h).off)
	}
	if h.fin < 0 && end == h.next+1 {
		return h.next
	}
	return end
}

// skipTo gives up the whole hole before the first held segment: what the peer has acknowledged of it,
// and the rest for another cause.
func (r *Reassembler) skipTo(f *flow, side ntpac.Side, cause ntpac.GapCause) {
	h := &f.half[side]
	h.gapDue = 0
	r.giveUp(f, side, r.ackedHole(h), ntpac.GapAcked)
	r.giveUp(f, side, r.segs.first(h).off, cause)
	r.drain(f, side)
}
