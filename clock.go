package ntpac

import (
	"iter"
	"slices"
)

// clock walks the history to say when which byte came. Questions mostly go forward.
type clock struct {
	pay   Payload
	conv  *Conversation
	st    HistoryState
	buf   []byte // not yet decoded
	read  int64  // bytes of history taken from the payload
	n     uint64 // events decoded
	ev    Event
	ended bool
	ahead []moment // of one side, by position: what may still be asked for
}

type moment struct {
	start, end int64
	ts         Time
	n          uint64
}

// next decodes the next event, nil at the end.
func (c *clock) next() *Event {
	if c.ended {
		return nil
	}
	for len(c.buf) < MaxEvent && c.read < c.conv.HistLen {
		b, err := c.pay.Chunk(StreamHistory, c.read/ChunkSize)
		b = b[min(int64(len(b)), c.read%ChunkSize):]
		if err != nil || len(b) == 0 {
			break
		}
		c.buf = append(append([]byte(nil), c.buf...), b...)
		c.read += int64(len(b))
	}
	if len(c.buf) == 0 {
		c.ended = true
		return nil
	}
	rest, err := c.st.Next(c.buf, &c.ev)
	if err != nil {
		c.ended = true
		return nil
	}
	c.buf = rest
	c.n++
	return &c.ev
}

func (c *clock) at(side Side, off int64) (Time, uint64) {
	if len(c.ahead) > 0 && off < c.ahead[0].start {
		*c = clock{pay: c.pay, conv: c.conv}
	}
	for {
		for i := range c.ahead {
			if m := &c.ahead[i]; off < m.end {
				if off >= m.start || c.ended {
					c.drop(i)
					return c.ahead[0].ts, c.ahead[0].n
				}
				break
			}
		}
		e := c.next()
		if e == nil {
			if k := len(c.ahead); k > 0 {
				for i := range c.ahead {
					if off < c.ahead[i].end {
						return c.ahead[i].ts, c.ahead[i].n
					}
				}
				return c.ahead[k-1].ts, c.ahead[k-1].n
			}
			return c.conv.Last, ^uint64(0)
		}
		if e.Side() != side || e.Len == 0 || e.Flags&(EvDup|EvNoData) != 0 {
			continue
		}
		m := moment{e.Start, e.Start + int64(e.Len), e.TS, c.n}
		i := len(c.ahead)
		for i > 0 && c.ahead[i-1].start > m.start {
			i--
		}
		c.ahead = slices.Insert(c.ahead, i, m)
		if len(c.ahead) > 64 && c.ahead[0].end <= off {
			c.drop(1)
		}
	}
}

// drop forgets moments before i, but keeps i.
func (c *clock) drop(i int) {
	if i > 0 {
		c.ahead = append(c.ahead[:0], c.ahead[i:]...)
	}
}

// EventReader reads a conversation's history.
type EventReader struct{ k clock }

// NewEventReader opens the history of a conversation.
func NewEventReader(c *Conversation, p Payload) *EventReader {
	if c.Inline != nil {
		p = inlinePayload{c}
	}
	return &EventReader{clock{pay: p, conv: c}}
}

// Next gives the next event, nil at the end. It is valid until the next call.
func (r *EventReader) Next() *Event { return r.k.next() }

// Events lists the whole history of a conversation.
func Events(c *Conversation, p Payload) iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		r := NewEventReader(c, p)
		for e := r.Next(); e != nil && yield(e); e = r.Next() {
		}
	}
}

// inlinePayload reads the streams that a small conversation keeps in its row.
type inlinePayload struct{ c *Conversation }

func (p inlinePayload) Chunk(stream uint8, n int64) ([]byte, error) {
	lo, hi := n*ChunkSize, (n+1)*ChunkSize
	b := p.c.Inline.History
	if stream != StreamHistory {
		h := &p.c.Half[stream]
		b = p.c.Inline.Stream[stream]
		lo -= h.MissingIn(0, min(lo, h.End))
		hi -= h.MissingIn(0, min(hi, h.End))
	}
	l := int64(len(b))
	return b[min(lo, l):min(hi, l)], nil
}

// InlinePayload reads a small conversation's streams from its row.
func (c *Conversation) InlinePayload() Payload { return inlinePayload{c} }
