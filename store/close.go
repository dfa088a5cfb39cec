package store

import (
	"crypto/sha256"

	"ntpac"
)

// Close completes the conversation's record and hands everything out.
func (c *Collector) Close(h uint32, ended *ntpac.Conversation) {
	own := *ended // the reassembler makes its next one in the same place
	conv := &own
	g := c.at(h)
	c.Identify(h, conv.ID)
	for _, i := range g.srcs {
		conv.Sources = append(conv.Sources, c.Sources[i])
	}
	if c.Reference {
		conv.Flags |= ntpac.Referenced
	}
	hist := &g.stream[ntpac.StreamHistory]
	conv.HistLen = hist.end
	size, resident, inline := 0, true, true
	for i := range g.stream {
		s := &g.stream[i]
		resident = resident && !s.passed && s.kept == 0
		if c.Reference && i < 2 {
			continue
		}
		inline = inline && !s.stored && !s.passed
		size += len(s.buf)
	}
	for i := range 2 {
		s, half := &g.stream[i], &conv.Half[i]
		half.SHA256 = c.finalSum(s)
		if m := s.more; m != nil {
			half.Gaps, half.Conflicts = m.gaps, m.conflicts
			g.blind = g.blind || m.altLost
		}
	}
	if g.blind {
		conv.Flags |= ntpac.LimitHistory
	}
	if inline = inline && size <= ntpac.InlineSize; inline {
		conv.Inline = &ntpac.Inline{History: hist.buf}
		if !c.Reference {
			conv.Inline.Stream = [2][]byte{g.stream[0].buf, g.stream[1].buf}
		}
	} else {
		for i := range uint8(3) {
			if len(g.stream[i].buf) > 0 {
				c.unpark(g, i)
				c.give(g, i)
			}
		}
	}
	c.release(h, conv, resident, inline)
}

func (c *Collector) finalSum(s *stream) (sum ntpac.Hash) {
	switch {
	case s.more != nil && s.more.sum != nil:
		s.more.sum.Write(s.buf[s.summed-s.kept:])
		s.more.sum.Sum(sum[:0])
	case len(s.buf) > 0 && c.Hash == nil: // most streams: no state to make
		sum = sha256.Sum256(s.buf)
	case len(s.buf) > 0:
		h := c.Hash()
		h.Write(s.buf)
		h.Sum(sum[:0])
	}
	return sum
}

// vacate makes the place of a conversation free.
func (c *Collector) vacate(h uint32) {
	g := c.at(h)
	for i := range g.stream {
		if m := g.stream[i].more; m != nil {
			cost := int64(len(m.conflicts))*altCost + m.altBytes
			c.alts -= cost
			c.held -= cost
		}
	}
	*g = gathered{}
	c.free = append(c.free, h)
	c.open--
}

// release forgets a conversation and gives its record out, with its buffers while they are whole.
func (c *Collector) release(h uint32, conv *ntpac.Conversation, resident, inline bool) {
	g := c.at(h)
	var mem *Resident
	if resident || inline {
		mem = &Resident{bufs: c.bufs, whole: resident, half: [2]*ntpac.Half{&conv.Half[0], &conv.Half[1]}}
		for i := range g.stream {
			s := &g.stream[i]
			mem.stream[i] = s.buf
			c.held -= int64(cap(s.buf))
			s.buf = nil
		}
	}
	for i := range g.stream {
		s := &g.stream[i]
		c.drop(&s.buf)
		if s.more != nil {
			c.drop(&s.more.prev)
		}
	}
	c.vacate(h)
	if c.err == nil {
		c.out.Conversation(conv, mem)
	}
}
