package store

import (
	"slices"

	"ntpac"
)

// oldChunk is a chunk that was loaded to compare with it.
type oldChunk struct {
	key ntpac.ChunkKey
	b   []byte
}

// Given gives back bytes given before, from off on.
func (c *Collector) Given(h uint32, side ntpac.Side, off int64) (b []byte, hole int64) {
	g := c.at(h)
	s := &g.stream[side]
	if off >= s.end {
		return nil, 0
	}
	gaps := s.gaps()
	i, _ := slices.BinarySearchFunc(gaps, off, func(g ntpac.Gap, off int64) int {
		if g.Off+g.Len <= off {
			return -1
		}
		return 1
	})
	run := s.end - off // to the next hole
	if i < len(gaps) {
		if gaps[i].Off <= off {
			return nil, gaps[i].Off + gaps[i].Len - off
		}
		run = gaps[i].Off - off
	}
	k := off / ntpac.ChunkSize
	lo := k * ntpac.ChunkSize
	half := ntpac.Half{End: s.end, Gaps: gaps}
	b = c.given(g, uint8(side), k, off-lo-half.MissingIn(lo, off-lo))
	if len(b) == 0 {
		g.blind = true
		return nil, 0
	}
	return b[:min(int64(len(b)), run)], 0
}

// given finds bytes of a chunk that was gathered before, from at on: in memory, or in the store.
func (c *Collector) given(g *gathered, stream uint8, k, at int64) []byte {
	s := &g.stream[stream]
	kept := int64(s.kept)
	switch {
	case k == s.n && at >= kept:
		return from(s.buf, at-kept)
	case s.more != nil && s.more.prev != nil && k == s.more.prevN:
		return from(s.more.prev, at)
	case !g.known || c.Reference:
		return nil
	}
	key := ntpac.ChunkKey{ID: g.id, Stream: stream, N: k}
	if c.old.key != key {
		n := kept
		if k != s.n {
			half := ntpac.Half{End: s.end, Gaps: s.gaps()}
			n = ntpac.ChunkSize - half.MissingIn(k*ntpac.ChunkSize, ntpac.ChunkSize)
		}
		b, err := c.load.Chunk(key, int(n))
		if err != nil {
			return nil
		}
		c.old = oldChunk{key, b}
	}
	return from(c.old.b, at)
}

func from(b []byte, at int64) []byte { return b[min(at, int64(len(b))):] }

// Limits of the alternatives that one side keeps. All open conversations together keep a quarter of the budget.
const (
	maxConflicts = 4096
	maxAltBytes  = 4 << 20
	altCost      = 96      // of one, beside its bytes
	leastAlts    = 1 << 20 // however small the budget is
)

// Conflict keeps an alternative.
func (c *Collector) Conflict(h uint32, side ntpac.Side, k ntpac.Conflict) {
	g := c.at(h)
	m := g.stream[side].extra()
	cost := altCost + int64(len(k.Alt))
	if len(m.conflicts) >= maxConflicts || m.altBytes+int64(len(k.Alt)) > maxAltBytes || c.alts+cost > max(c.Budget/4, leastAlts) {
		m.altLost = true
		c.Lost++
		return
	}
	m.altBytes += int64(len(k.Alt))
	c.alts += cost
	c.held += cost
	k.Alt = slices.Clone(k.Alt)
	k.From = g.source(k.From)
	m.conflicts = append(m.conflicts, k)
}

// Known reports whether an alternative is kept.
func (c *Collector) Known(h uint32, side ntpac.Side, off int64, alt []byte) bool {
	m := c.at(h).stream[side].more
	return m != nil && ntpac.HasConflict(m.conflicts, off, alt)
}
