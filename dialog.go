package ntpac

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
)

// Payload gives a conversation's captured streams, from memory or from a store.
type Payload interface {
	// Chunk is the captured bytes of a stream's range [n*ChunkSize, (n+1)*ChunkSize), holes left out.
	// The bytes stay valid until the next call for the same stream.
	Chunk(stream uint8, n int64) ([]byte, error)
}

// ErrGap is what Stream.Reader returns when it comes to a hole.
var ErrGap = errors.New("gap in the stream")

// Dialog is a conversation as a snooper reads it: two streams with their holes visible, and the order
// in which their bytes were captured. It is used by one goroutine.
type Dialog struct {
	Conv *Conversation
	Up   *Stream // what the client sent
	Down *Stream // what the server sent
	pay  Payload
}

// NewDialog opens a conversation for reading.
func NewDialog(c *Conversation, p Payload) *Dialog {
	if c.Inline != nil && !c.ByReference() {
		p = inlinePayload{c}
	}
	d := &Dialog{Conv: c, pay: p}
	d.Up, d.Down = d.stream(Up), d.stream(Down)
	return d
}

func (d *Dialog) stream(dir Dir) *Stream {
	s := d.Conv.Side(dir)
	return &Stream{Dir: dir, half: &d.Conv.Half[s], side: s, chunkN: -1, pay: d.pay, clock: clock{pay: d.pay, conv: d.Conv}}
}

// Fresh opens the same dialog again, at its beginning.
func (d *Dialog) Fresh() *Dialog { return NewDialog(d.Conv, d.pay) }

// Swap turns the roles round: what was called up is what the server sent. It says so on the
// conversation (client_by payload), and starts both streams again.
func (d *Dialog) Swap() {
	d.Conv.Client, d.Conv.ClientBy = d.Conv.Client.Other(), ByPayload
	d.Up, d.Down = d.stream(Up), d.stream(Down)
}

// In is the stream of a direction.
func (d *Dialog) In(dir Dir) *Stream {
	if dir == Up {
		return d.Up
	}
	return d.Down
}

// Err is the first failure to read the payload, if there was one.
func (d *Dialog) Err() error { return errors.Join(d.Up.err, d.Down.err) }

// Next gives the stream whose next byte was captured first, and nil at the end of both. A hole counts
// as captured when what follows it was.
func (d *Dialog) Next() *Stream {
	switch {
	case d.Up.EOF() && d.Down.EOF():
		return nil
	case d.Up.EOF():
		return d.Down
	case d.Down.EOF():
		return d.Up
	case d.Down.Order(d.Down.pos) < d.Up.Order(d.Up.pos):
		return d.Down
	}
	return d.Up
}

// Quality says whether a hole touches any of the spans.
func (d *Dialog) Quality(spans ...Span) Quality {
	for _, s := range spans {
		if d.In(s.Dir).Missing(s.Off, s.Len) > 0 {
			return Gapped
		}
	}
	return Complete
}

// Message is one datagram.
type Message struct {
	Dir  Dir
	Off  int64 // where its payload lies in the direction's stream
	Len  int64 // captured bytes
	TS   Time
	Cut  bool // the snap length cut it
	Data []byte
}

// Span is the datagram's range.
func (m *Message) Span() Span { return Span{m.Dir, m.Off, m.Len} }

// Messages lists the datagrams of a conversation in the order of their capture, duplicates left out.
// Data is valid until the next one.
func (d *Dialog) Messages() iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		c := clock{pay: d.pay, conv: d.Conv}
		var m Message
		more := false
		for e := c.next(); e != nil; e = c.next() {
			if e.Flags&(EvDup|EvNoData) != 0 {
				continue
			}
			if !more {
				m = Message{Dir: d.Conv.Dir(e.Side()), Off: e.Start, TS: e.TS}
			}
			m.Len = e.Start + int64(e.Len) - m.Off
			m.Cut = m.Cut || e.Flags&EvCut != 0
			if more = e.Flags&EvMore != 0; more {
				continue
			}
			s := d.In(m.Dir)
			s.MoveTo(m.Off)
			if m.Data = s.Peek(int(m.Len)); int64(len(m.Data)) < m.Len {
				return
			}
			s.Skip(m.Len)
			if !yield(&m) {
				return
			}
		}
	}
}

// Stream is one direction of a conversation, read forward from a cursor. Captured bytes come in runs
// that end at holes; positions count holes too.
type Stream struct {
	Dir     Dir
	side    Side
	half    *Half
	pay     Payload
	pos     int64  // cursor, a stream position
	gap     int    // index of the first gap that ends behind the cursor
	chunk   []byte // what is loaded
	chunkN  int64  // and which
	idx     int    // index of the cursor in chunk
	scratch []byte
	err     error
	clock   clock
}

// Off is the cursor's position.
func (s *Stream) Off() int64 { return s.pos }

// End is the position behind the last known byte.
func (s *Stream) End() int64 { return s.half.End }

// HeadKnown reports whether position 0 is the first byte of the stream.
func (s *Stream) HeadKnown() bool { return s.half.HeadKnown }

// EOF reports whether the cursor is behind the last byte, or the payload could not be read.
func (s *Stream) EOF() bool { return s.pos >= s.half.End || s.err != nil }

// Gap is the length of the hole at the cursor; 0 where there is none.
func (s *Stream) Gap() int64 {
	if s.err == nil && s.gap < len(s.half.Gaps) {
		if g := s.half.Gaps[s.gap]; g.Off <= s.pos {
			return g.Off + g.Len - s.pos
		}
	}
	return 0
}

// SkipGap moves behind the hole at the cursor and gives its length.
func (s *Stream) SkipGap() int64 {
	n := s.Gap()
	if n > 0 {
		s.MoveTo(s.pos + n)
	}
	return n
}

// MoveTo puts the cursor anywhere in the stream.
func (s *Stream) MoveTo(off int64) {
	if off == s.pos {
		return
	}
	s.pos, s.chunkN, s.chunk = off, -1, nil
	s.gap = gapAt(s.half.Gaps, off)
}

// run is how many positions from the cursor to the next hole or the end.
func (s *Stream) run() int64 {
	end := s.half.End
	if s.gap < len(s.half.Gaps) {
		end = min(end, s.half.Gaps[s.gap].Off)
	}
	return end - s.pos
}

// load makes the cursor's chunk available and gives the bytes from the cursor to the chunk's or the
// run's end.
func (s *Stream) load() []byte {
	n := s.run()
	if n <= 0 || s.err != nil {
		return nil
	}
	if k := s.pos / ChunkSize; k != s.chunkN {
		if s.chunk, s.err = s.pay.Chunk(uint8(s.side), k); s.err != nil {
			return nil
		}
		s.chunkN = k
		s.idx = int(s.pos - k*ChunkSize - s.Missing(k*ChunkSize, s.pos-k*ChunkSize))
	}
	n = min(n, (s.chunkN+1)*ChunkSize-s.pos)
	if int(n) > len(s.chunk)-s.idx {
		s.err = errors.New("stored payload is shorter than its conversation says")
		return nil
	}
	return s.chunk[s.idx : s.idx+int(n) : s.idx+int(n)]
}

// Peek gives the next bytes, at most n and none behind a hole, without moving. They stay valid until
// the stream is used again. Fewer than n mean a hole or the end.
func (s *Stream) Peek(n int) []byte {
	b := s.load()
	if len(b) >= n {
		return b[:n]
	}
	if int64(len(b)) >= s.run() || s.err != nil {
		return b
	}
	n = int(min(int64(n), s.run()))
	pos, gap := s.pos, s.gap
	s.scratch = append(s.scratch[:0], b...)
	for len(s.scratch) < n && s.err == nil {
		s.advance(int64(len(b)))
		b = s.load()
		s.scratch = append(s.scratch, b[:min(len(b), n-len(s.scratch))]...)
	}
	// The chunk at the cursor may have been overwritten: it is loaded again when needed.
	s.pos, s.gap, s.chunkN, s.chunk = pos, gap, -1, nil
	return s.scratch
}

// advance moves the cursor within its run and chunk.
func (s *Stream) advance(n int64) {
	s.pos += n
	s.idx += int(n)
	for s.gap < len(s.half.Gaps) && s.half.Gaps[s.gap].Off+s.half.Gaps[s.gap].Len <= s.pos {
		s.gap++
	}
	if s.chunkN >= 0 && s.pos >= (s.chunkN+1)*ChunkSize {
		s.chunkN, s.chunk = -1, nil
	}
}

// Skip moves the cursor forward by at most n, not over a hole, and says how far.
func (s *Stream) Skip(n int64) int64 {
	n = max(min(n, s.run()), 0)
	if s.chunkN >= 0 && s.pos+n < (s.chunkN+1)*ChunkSize {
		s.advance(n)
	} else if n > 0 {
		s.MoveTo(s.pos + n)
	}
	return n
}

// Rest gives the bytes to the end of the loaded part of the run; none at a hole or the end.
func (s *Stream) Rest() []byte { return s.load() }

// Line reads a line without its end (LF or CRLF), which must come within max bytes. ok is false where
// a hole, the end of the stream or the limit came first: what was read until there is given, and the
// cursor stands behind it.
func (s *Stream) Line(max int) (line []byte, ok bool) {
	b := s.load()
	i := bytes.IndexByte(b, '\n')
	if i < 0 && len(b) < max {
		b = s.Peek(max)
		i = bytes.IndexByte(b, '\n')
	}
	if i < 0 || i >= max {
		b = b[:min(len(b), max)]
		s.Skip(int64(len(b)))
		return b, false
	}
	s.Skip(int64(i) + 1)
	if i > 0 && b[i-1] == '\r' {
		i--
	}
	return b[:i], true
}

// Each gives the captured bytes of the next n positions piece by piece and moves behind them. It
// crosses holes and says how many positions were missing, including those behind the stream's end.
func (s *Stream) Each(n int64, f func(off int64, b []byte)) (missing int64) {
	end := s.pos + n
	for s.pos < end {
		if g := s.Gap(); g > 0 {
			g = min(g, end-s.pos)
			missing += g
			s.MoveTo(s.pos + g)
			continue
		}
		b := s.load()
		if len(b) == 0 {
			return missing + end - s.pos
		}
		b = b[:min(int64(len(b)), end-s.pos)]
		f(s.pos, b)
		s.advance(int64(len(b)))
	}
	return missing
}

// Missing counts the missing positions in a range, including those behind the stream's end.
func (s *Stream) Missing(off, n int64) int64 { return s.half.MissingIn(off, n) }

// MissingIn counts the missing positions in a range, including those behind the stream's end.
func (h *Half) MissingIn(off, n int64) (missing int64) {
	end := off + n
	if end > h.End {
		missing = end - max(off, h.End)
		end = h.End
	}
	for i := gapAt(h.Gaps, off); i < len(h.Gaps) && h.Gaps[i].Off < end; i++ {
		g := h.Gaps[i]
		missing += min(g.Off+g.Len, end) - max(g.Off, off)
	}
	return missing
}

// Reader reads the next n positions from the cursor: io.EOF behind them, ErrGap at a hole,
// io.ErrUnexpectedEOF where the stream ends before.
func (s *Stream) Reader(n int64) io.Reader { return &streamReader{s, n} }

type streamReader struct {
	s *Stream
	n int64
}

func (r *streamReader) Read(p []byte) (int, error) {
	if r.n <= 0 {
		return 0, io.EOF
	}
	if r.s.Gap() > 0 {
		return 0, ErrGap
	}
	b := r.s.load()
	if len(b) == 0 {
		if r.s.err != nil {
			return 0, r.s.err
		}
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p[:min(int64(len(p)), r.n)], b)
	r.s.advance(int64(n))
	r.n -= int64(n)
	return n, nil
}

// Time is when the byte at a position was captured; of a hole, when what follows it was.
func (s *Stream) Time(off int64) Time { ts, _ := s.clock.at(s.side, s.solid(off)); return ts }

// Order numbers the packets of the conversation: it says which packet brought the byte at a position.
func (s *Stream) Order(off int64) uint64 { _, n := s.clock.at(s.side, s.solid(off)); return n }

// solid is the first captured position at or behind off.
func (s *Stream) solid(off int64) int64 {
	if i := gapAt(s.half.Gaps, off); i < len(s.half.Gaps) && s.half.Gaps[i].Off <= off {
		return s.half.Gaps[i].Off + s.half.Gaps[i].Len
	}
	return off
}

// gapAt is the index of the first gap that ends behind off.
func gapAt(gaps []Gap, off int64) int {
	i, _ := slices.BinarySearchFunc(gaps, off, func(g Gap, off int64) int {
		if g.Off+g.Len <= off {
			return -1
		}
		return 1
	})
	return i
}

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
