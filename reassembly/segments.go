package reassembly

import "ntpac"

// segment is a run of out-of-order bytes that waits for what comes before it. A segment without data
// stands for bytes that the snap length cut away.
type segment struct {
	off, end int64
	data     []byte // end-off bytes, or none for cut ones
	next     uint32
}

// segmentPool keeps segments in one slab; lists are chains of handles, 0 ends one.
type segmentPool struct {
	slab []segment
	free uint32
}

func (p *segmentPool) at(h uint32) *segment { return &p.slab[h] }

// take makes a segment with a copy of data.
func (p *segmentPool) take(off, end int64, data []byte) uint32 {
	h := p.free
	if h == 0 {
		if len(p.slab) == 0 {
			p.slab = make([]segment, 1, 64)
		}
		p.slab = append(p.slab, segment{})
		h = uint32(len(p.slab) - 1)
	} else {
		p.free = p.slab[h].next
	}
	s := &p.slab[h]
	s.off, s.end, s.next = off, end, 0
	s.data = append(s.data[:0], data...)
	return h
}

// keepCap is the largest buffer that a free segment keeps.
const keepCap = 4096

func (p *segmentPool) give(h uint32) {
	s := &p.slab[h]
	if cap(s.data) > keepCap {
		s.data = nil
	}
	s.next, p.free = p.free, h
}

// insert puts the bytes of [off, off+len(data)) that no held segment has into the list of h; where a
// held segment already has a byte, clash is told both versions. It reports how many bytes were new.
func (r *Reassembler) insert(h *half, off, end int64, data []byte, clash func(off int64, held, b []byte)) (fresh int64) {
	p := &r.segs
	var prev uint32
	cur := h.segs
	for off < end {
		for cur != 0 && p.at(cur).end <= off {
			prev, cur = cur, p.at(cur).next
		}
		stop := end
		if cur != 0 {
			s := p.at(cur)
			if s.off <= off {
				n := min(s.end, end) - off
				if len(data) > 0 && len(s.data) > 0 {
					clash(off, s.data[off-s.off:off-s.off+n], data[:n])
				}
				off += n
				data = data[min(n, int64(len(data))):]
				continue
			}
			stop = min(end, s.off)
		}
		n := stop - off
		k := p.take(off, stop, data[:min(n, int64(len(data)))])
		p.at(k).next = cur
		if prev == 0 {
			h.segs = k
		} else {
			p.at(prev).next = k
		}
		h.nsegs++
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
	for h.segs != 0 {
		k := h.segs
		s := r.segs.at(k)
		if s.off > h.next {
			return
		}
		if s.end > h.next { // always, as segments never overlap what was emitted
			if len(s.data) == 0 {
				r.giveUp(f, side, s.end, ntpac.GapCut)
			} else {
				r.emit(f, side, s.data[h.next-s.off:])
			}
		}
		h.segs = s.next
		h.nsegs--
		r.segs.give(k)
	}
}

// emit seals the next bytes of a side.
func (r *Reassembler) emit(f *flow, side ntpac.Side, b []byte) {
	h := &f.half[side]
	r.sink.Data(f.handle, side, h.next, b)
	h.next += int64(len(b))
	h.bytes += int64(len(b))
}

// giveUp declares everything of a side before end missing.
func (r *Reassembler) giveUp(f *flow, side ntpac.Side, end int64, cause ntpac.GapCause) {
	h := &f.half[side]
	n := end - h.next
	if n <= 0 {
		return
	}
	r.sink.Gap(f.handle, side, ntpac.Gap{Off: h.next, Len: n, Cause: cause})
	h.next = end
	h.missing += n
	r.stats.GapBytes += n
}

// skip gives up the hole at the head of a side as far as the peer has acknowledged it, and goes on
// with what was held behind it.
func (r *Reassembler) skip(f *flow, side ntpac.Side) {
	h := &f.half[side]
	h.gapDue = 0
	end := h.acked
	if h.fin >= 0 {
		end = min(end, h.fin)
	}
	if h.segs != 0 {
		end = min(end, r.segs.at(h.segs).off)
	} else if h.fin < 0 && end == h.next+1 {
		return // most likely a FIN that was not captured: see tailEnd
	}
	r.giveUp(f, side, end, ntpac.GapAcked)
	r.drain(f, side)
}

// skipTo gives up the whole hole before the first held segment, acknowledged or not.
func (r *Reassembler) skipTo(f *flow, side ntpac.Side, cause ntpac.GapCause) {
	h := &f.half[side]
	h.gapDue = 0
	r.giveUp(f, side, r.segs.at(h.segs).off, cause)
	r.drain(f, side)
}
