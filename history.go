package ntpac

import (
	"encoding/binary"
	"errors"
)

// EventFlags say what one packet did in its conversation.
type EventFlags uint16

// What a packet of a conversation's history is.
const (
	EvSideB  EventFlags = 1 << iota // side B sent it
	EvPush                          // PSH: a message may end here
	EvSyn                           // SYN
	EvFin                           // FIN
	EvRst                           // RST
	EvDup                           // the same packet, captured again; counts in duplicates
	EvBadSum                        // its checksum is wrong
	EvNoData                        // its payload added nothing: retransmitted, outside the stream, keep-alive
	EvMore                          // a fragment: the datagram goes on in the next event
	EvCut                           // the snap length cut it: Wire is not Cap
	evSource                        // wire: the source changes here
	evJump                          // wire: the stream position is not where this side left off
	evPos                           // wire: the payload's place differs from this side's last
)

// Event is one packet in the history of a conversation. Together the events are the conversation's
// provenance (which packet brought which range of which stream), its time line, and the list of the
// frames to export.
type Event struct {
	TS     Time
	Ord    uint64 // ordinal in its source
	Off    int64  // its frame in the decompressed source
	Start  int64  // stream offset of its first payload byte; without one, where the side left off before
	Len    uint32 // payload bytes captured
	Pos    uint32 // the payload's first byte in the frame
	Cap    uint32 // captured and
	Wire   uint32 // original frame length
	Source uint16 // index in Conversation.Sources
	Flags  EventFlags
}

// Side is the side that sent the packet.
func (e *Event) Side() Side { return Side(e.Flags & EvSideB) }

// HistoryState is what both the writer and the reader of a history keep between two events: the
// encoding holds differences only, about ten bytes a packet. The zero value starts a history.
type HistoryState struct {
	ts   Time
	ord  uint64
	off  int64
	next [2]int64
	pos  [2]uint16
	tail [2]uint16 // bytes of the frame after the payload (padding)
	src  uint16
}

// Append encodes an event onto b. Format: docs/format/history.md.
func (h *HistoryState) Append(b []byte, e *Event) []byte {
	s := e.Side()
	tail := int64(e.Cap) - int64(e.Pos) - int64(e.Len)
	f := e.Flags &^ (evSource | evJump | evPos | EvCut)
	if e.Wire != e.Cap {
		f |= EvCut
	}
	if e.Source != h.src {
		f |= evSource
	}
	start := e.Start
	if e.Len == 0 { // where nothing was brought, only the order counts
		start = h.next[s]
	}
	if start != h.next[s] {
		f |= evJump
	}
	if e.Pos != uint32(h.pos[s]) || tail != int64(h.tail[s]) {
		f |= evPos
	}
	b = binary.AppendUvarint(b, uint64(f))
	if f&evSource != 0 {
		b = binary.AppendUvarint(b, uint64(e.Source))
		h.src, h.ord, h.off = e.Source, 0, 0
	}
	b = binary.AppendVarint(b, int64(e.TS-h.ts))
	b = binary.AppendVarint(b, int64(e.Ord-h.ord))
	b = binary.AppendVarint(b, e.Off-h.off)
	b = binary.AppendUvarint(b, uint64(e.Len))
	if f&evJump != 0 {
		b = binary.AppendVarint(b, start-h.next[s])
	}
	if f&evPos != 0 {
		b = binary.AppendUvarint(b, uint64(e.Pos))
		b = binary.AppendVarint(b, tail)
	}
	if f&EvCut != 0 {
		b = binary.AppendUvarint(b, uint64(e.Wire))
	}
	h.step(e, s, start, tail)
	return b
}

func (h *HistoryState) step(e *Event, s Side, start, tail int64) {
	h.ts, h.ord, h.off = e.TS, e.Ord, e.Off
	h.next[s] = start + int64(e.Len)
	h.pos[s], h.tail[s] = uint16(e.Pos), uint16(tail)
}

var errHistory = errors.New("damaged history")

// Next decodes the event at the head of b and gives the rest. An event never takes more than
// MaxEvent bytes; b must hold it whole.
func (h *HistoryState) Next(b []byte, e *Event) ([]byte, error) {
	r := varints{b: b}
	f := EventFlags(r.uint())
	*e = Event{Flags: f &^ (evSource | evJump | evPos), Source: h.src}
	s := e.Side()
	if f&evSource != 0 {
		e.Source = uint16(r.uint())
		h.src, h.ord, h.off = e.Source, 0, 0
	}
	e.TS = h.ts + Time(r.int())
	e.Ord = h.ord + uint64(r.int())
	e.Off = h.off + r.int()
	e.Len = uint32(r.uint())
	e.Start = h.next[s]
	if f&evJump != 0 {
		e.Start += r.int()
	}
	tail := int64(h.tail[s])
	e.Pos = uint32(h.pos[s])
	if f&evPos != 0 {
		e.Pos = uint32(r.uint())
		tail = r.int()
	}
	e.Cap = uint32(int64(e.Pos) + int64(e.Len) + tail)
	e.Wire = e.Cap
	if f&EvCut != 0 {
		e.Wire = uint32(r.uint())
	}
	if r.bad {
		return nil, errHistory
	}
	h.step(e, s, e.Start, tail)
	return r.b, nil
}

// MaxEvent bounds the encoded length of one event.
const MaxEvent = 10 * binary.MaxVarintLen64

type varints struct {
	b   []byte
	bad bool
}

func (r *varints) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *varints) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}
