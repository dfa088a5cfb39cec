package store

import (
	"fmt"

	"ntpac"
)

// A collector keeps within its budget by parking: the partial chunks of conversations that have been quiet
// are written early, and read again when more comes. Payload that is kept by reference is only hashed and
// forgotten: its source has it. The hand goes round over all conversations, as a
// clock's: who has got something since it last passed is passed once more.

// parkMin is the least that is parked at first: smaller buffers will go into the row.
const parkMin = 8 << 10

// parkAny is the least that is parked when that was not enough.
const parkAny = 64

// room makes place for n more bytes in the buffer of a stream.
func (c *Collector) room(s *stream, n int) {
	want := len(s.buf) + n
	if s.passed {
		want = ntpac.ChunkSize // it has filled one, and will most likely fill another
	}
	b := c.bufs.Get(want)
	b = append(b, s.buf...)
	c.held += int64(cap(b)) - int64(cap(s.buf))
	c.bufs.Put(s.buf)
	s.buf = b
	if c.used() > max(c.Budget, c.parkAt) {
		c.park(s)
	}
}

// park writes partial chunks until three quarters of the budget are left in memory. Where that much cannot
// be parked it is not tried again before an eighth has come on top.
func (c *Collector) park(busy *stream) {
	for _, least := range []int{parkMin, parkAny} {
		for range 2 * c.n {
			if c.used() <= c.Budget*3/4 {
				c.parkAt = 0
				return
			}
			c.hand = (c.hand + 1) % c.n
			g := c.at(c.hand)
			switch {
			case !g.used || !g.known:
			case g.touched:
				g.touched = false
			default:
				c.parkOne(g, least, busy)
			}
		}
	}
	c.parkAt = c.used() + c.Budget/8
}

func (c *Collector) parkOne(g *gathered, least int, busy *stream) {
	for i := range g.stream {
		s := &g.stream[i]
		if s.more != nil {
			c.drop(&s.more.prev)
		}
		if len(s.buf) < least || s.parked || s == busy {
			continue
		}
		c.sum(s, uint8(i))
		c.give(g, uint8(i))
		c.drop(&s.buf)
		s.parked = true
		c.Parked++
	}
}

// unpark loads the partial chunk of a stream again.
func (c *Collector) unpark(g *gathered, stream uint8) {
	s := &g.stream[stream]
	want := int64(s.summed)
	if stream == ntpac.StreamHistory {
		want = s.end - s.n*ntpac.ChunkSize
	}
	b, err := c.load.Chunk(ntpac.ChunkKey{ID: g.id, Stream: stream, N: s.n}, int(want))
	if err == nil && int64(len(b)) != want {
		err = fmt.Errorf("it has %d bytes, not %d", len(b), want)
	}
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("reading back a chunk of conversation %v: %w", g.id, err)
	}
	s.buf = append(c.bufs.Get(max(len(b), 1)), b...)
	c.held += int64(cap(s.buf))
	s.parked, s.summed = false, int32(len(s.buf))
}
