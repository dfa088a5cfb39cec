package node

import (
	"fmt"
	"slices"

	"ntpac"
)

// referenced is the payload of a conversation whose streams lie in its sources: the history says where.
type referenced struct {
	src  *Sources
	c    *ntpac.Conversation
	hist ntpac.Payload
	side [2]refSide
}

// refSide reads one side forward; going back starts again.
type refSide struct {
	hist  *ntpac.EventReader
	at    int64         // the chunk that comes next
	carry []ntpac.Event // events that reach into later chunks
	full  []byte
	have  []ntpac.Span // covered ranges of the chunk, sorted, apart
}

// ReferencedPayload gives access to a conversation whose payload was kept by reference. hist reads its
// history.
func ReferencedPayload(src *Sources, c *ntpac.Conversation, hist ntpac.Payload) ntpac.Payload {
	return &referenced{src: src, c: c, hist: hist}
}

// Chunk collects a chunk's bytes from the frames that brought them first.
func (p *referenced) Chunk(stream uint8, n int64) ([]byte, error) {
	if stream == ntpac.StreamHistory {
		return p.hist.Chunk(stream, n)
	}
	r, half := &p.side[stream], &p.c.Half[stream]
	if r.hist == nil || n < r.at {
		r.hist, r.at, r.carry = ntpac.NewEventReader(p.c, p.hist), 0, nil
	}
	lo, hi := n*ntpac.ChunkSize, min((n+1)*ntpac.ChunkSize, half.End)
	if lo >= hi {
		return nil, nil
	}
	want := hi - lo - half.MissingIn(lo, hi-lo)
	if r.full = r.full[:0]; int64(cap(r.full)) < hi-lo {
		r.full = make([]byte, hi-lo)
	}
	full := r.full[:hi-lo]
	r.have = r.have[:0]
	var got int64
	old := r.carry
	r.carry = nil
	for i := range old {
		k, err := p.take(r, &old[i], full, lo, hi)
		if err != nil {
			return nil, err
		}
		got += k
	}
	for got < want {
		e := r.hist.Next()
		if e == nil {
			return nil, fmt.Errorf("%w: the history of %s does not cover its stream", ntpac.ErrNoPayload, p.c.ID)
		}
		if e.Side() != ntpac.Side(stream) || e.Len == 0 || e.Flags&(ntpac.EvDup|ntpac.EvNoData) != 0 {
			continue
		}
		k, err := p.take(r, e, full, lo, hi)
		if err != nil {
			return nil, err
		}
		got += k
	}
	r.at = n + 1
	packed := full[:0] // the holes are taken out in place
	for _, s := range r.have {
		packed = append(packed, full[s.Off-lo:s.Off-lo+s.Len]...)
	}
	return packed, nil
}

// take reads what an event brought to [lo, hi) and no earlier one had.
func (p *referenced) take(r *refSide, e *ntpac.Event, full []byte, lo, hi int64) (got int64, err error) {
	end := e.Start + int64(e.Len)
	if end > hi {
		r.carry = append(r.carry, *e)
	}
	a, b := max(e.Start, lo), min(end, hi)
	for a < b {
		stop := b
		i, inside := slices.BinarySearchFunc(r.have, a, func(s ntpac.Span, at int64) int {
			switch {
			case s.Off+s.Len <= at:
				return -1
			case s.Off > at:
				return 1
			}
			return 0
		})
		if inside {
			a = r.have[i].Off + r.have[i].Len
			continue
		}
		if i < len(r.have) {
			stop = min(stop, r.have[i].Off)
		}
		dst := full[a-lo : a-lo : stop-lo]
		if _, err := p.src.Append(dst, p.c.Sources[e.Source], e.Off+int64(e.Pos)+a-e.Start, int(stop-a)); err != nil {
			return got, err
		}
		r.cover(i, a, stop)
		got += stop - a
		a = stop
	}
	return got, nil
}

// cover notes a range that lies before have[i] and touches at most its neighbours.
func (r *refSide) cover(i int, a, b int64) {
	if i > 0 && r.have[i-1].Off+r.have[i-1].Len == a {
		r.have[i-1].Len += b - a
		if i < len(r.have) && r.have[i].Off == b {
			r.have[i-1].Len += r.have[i].Len
			r.have = slices.Delete(r.have, i, i+1)
		}
		return
	}
	if i < len(r.have) && r.have[i].Off == b {
		r.have[i].Off, r.have[i].Len = a, r.have[i].Len+b-a
		return
	}
	r.have = slices.Insert(r.have, i, ntpac.Span{Off: a, Len: b - a})
}
