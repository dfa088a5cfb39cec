package store

import (
	"fmt"

	"ntpac"
)

// A collector keeps within its budget by parking: the partial chunks of conversations that have been quiet
// are written early. What comes then is gathered apart; the chunk is read again, and written whole, when it is
// full, when its conversation ends, or when what has come must be parked too. Payload that is kept by reference is only hashed and
// forgotten: its source has it. The hand goes round over all conversations, as a
// clock's: who has got something since it last passed is passed once more.

// parkMin is the least that is parked at first: smaller buffers will go into the row.
const parkMin = 8 << 10

// parkAny is the least that is parked when that was not enough.
const parkAny = 64

// parkMore is the least that is parked of a chunk that was parked before: it costs reading that.
const parkMore = 4 << 10

// room makes place for n more bytes in the buffer of a stream.
func (c *Collector) room(s *stream, n int) {
	want := len(s.buf) + n
	if s.passed && s.kept == 0 {
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
		if len(s.buf) < least || s.kept > 0 && len(s.buf) < parkMore || s == busy {
			continue
		}
		c.unpark(g, uint8(i))
		c.sum(s, uint8(i))
		c.give(g, uint8(i))
		s.kept = int32(len(s.buf))
		c.drop(&s.buf)
		c.Parked++
	}
}

// unpark loads what was parked of a stream's chunk, and puts it before what has come since.
func (c *Collector) unpark(g *gathered, stream uint8) {
	s := &g.stream[stream]
	if s.kept == 0 {
		return
	}
	b, err := c.load.Chunk(ntpac.ChunkKey{ID: g.id, Stream: stream, N: s.n}, int(s.kept))
	if err == nil && len(b) != int(s.kept) {
		err = fmt.Errorf("it has %d bytes, not %d", len(b), s.kept)
	}
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("reading back a chunk of conversation %v: %w", g.id, err)
	}
	whole := append(append(c.bufs.Get(len(b)+len(s.buf)), b...), s.buf...)
	c.held += int64(cap(whole)) - int64(cap(s.buf))
	c.bufs.Put(s.buf)
	s.buf, s.kept = whole, 0
	s.summed = min(s.summed, int32(len(whole))) // it is more only after a failure
}
