package store

import (
	"errors"
	"fmt"
	"slices"

	"ntpac"
)

// Reopen goes on with a conversation that was closed, in the state in which it was: all of it is read
// again, for its hashes. It cannot where the conversation, or payload that was kept by reference, is not
// there any more.
func (c *Collector) Reopen(id ntpac.ConversationID) (uint32, bool) {
	conv, err := c.load.Conversation(id)
	if err != nil {
		if !errors.Is(err, ntpac.ErrNotFound) && c.err == nil {
			c.err = fmt.Errorf("reading back conversation %v: %w", id, err)
		}
		return 0, false
	}
	h := c.Open()
	g := c.at(h)
	g.id, g.known = id, true
	if c.reopenSources(g, conv) && c.refill(g, conv) {
		return h, true
	}
	for i := range g.stream {
		c.drop(&g.stream[i].buf)
	}
	c.vacate(h)
	return 0, false
}

// reopenSources restores the sources' indexes.
func (c *Collector) reopenSources(g *gathered, conv *ntpac.Conversation) bool {
	for _, src := range conv.Sources {
		i := slices.Index(c.Sources, src)
		if i < 0 {
			return false
		}
		g.srcs = append(g.srcs, uint16(i))
	}
	return true
}

// refill brings the streams to where they were: the last chunk in its buffer, everything before hashed.
func (c *Collector) refill(g *gathered, conv *ntpac.Conversation) bool {
	var p ntpac.Payload = &loaderPayload{c.load, conv}
	if l, ok := c.load.(PayloadLoader); ok && conv.ByReference() {
		p = l.Payload(conv)
	}
	for i := range 2 {
		s, half := &g.stream[i], &conv.Half[i]
		s.end = half.End
		if len(half.Gaps)+len(half.Conflicts) > 0 {
			m := s.extra()
			m.gaps, m.conflicts = half.Gaps, half.Conflicts
			for _, k := range half.Conflicts {
				m.altBytes += int64(len(k.Alt))
			}
			cost := int64(len(m.conflicts))*altCost + m.altBytes
			c.alts += cost
			c.held += cost
			m.altLost = conv.Flags&ntpac.LimitHistory != 0
		}
	}
	hist := &g.stream[ntpac.StreamHistory]
	hist.end = conv.HistLen
	var got [3]int64
	for i := range uint8(3) {
		q := p
		if conv.Inline != nil && (i == ntpac.StreamHistory || !conv.ByReference()) {
			q = conv.InlinePayload()
		}
		got[i] = c.refillStream(g, i, q, conv.Inline == nil)
	}
	if got != [3]int64{conv.Half[0].Bytes, conv.Half[1].Bytes, conv.HistLen} {
		return false
	}
	for e := range ntpac.Events(conv, p) {
		c.event = g.hs.Append(c.event[:0], e)
	}
	return true
}

func (c *Collector) refillStream(g *gathered, stream uint8, p ntpac.Payload, stored bool) (got int64) {
	s := &g.stream[stream]
	s.n, s.stored = s.end/ntpac.ChunkSize, stored
	s.passed = s.n > 0
	for k := int64(0); k <= s.n; k++ {
		b, err := p.Chunk(stream, k)
		if err != nil {
			return -1
		}
		got += int64(len(b))
		if k == s.n {
			if len(b) > 0 {
				s.buf = append(c.bufs.Get(len(b)), b...)
				c.held += int64(cap(s.buf))
			}
			return got
		}
		if stream != ntpac.StreamHistory && len(b) > 0 {
			m := s.extra()
			if m.sum == nil {
				m.sum = c.hash()
			}
			m.sum.Write(b)
		}
	}
	return got
}

type loaderPayload struct {
	load Loader
	conv *ntpac.Conversation
}

func (p *loaderPayload) Chunk(stream uint8, n int64) ([]byte, error) {
	return p.load.Chunk(ntpac.ChunkKey{ID: p.conv.ID, Stream: stream, N: n}, -1)
}

// PayloadLoader is a Loader that can read payload that was kept by reference.
type PayloadLoader interface {
	Loader
	Payload(c *ntpac.Conversation) ntpac.Payload
}
