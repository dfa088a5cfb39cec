package ntpac

import (
	"errors"
	"iter"
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

// Ended reports whether a packet shows that a direction ends where its stream ends: its FIN, or a RST. The
// other side's FIN does not, as a client may end its direction before the server has answered. It reads the
// whole history.
func (d *Dialog) Ended(dir Dir) bool {
	for e := range Events(d.Conv, d.pay) {
		if e.Flags&EvBadSum == 0 && (e.Flags&EvRst != 0 || e.Flags&EvFin != 0 && e.Side() == d.Conv.Side(dir)) {
			return true
		}
	}
	return false
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
