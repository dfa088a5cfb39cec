package artifact

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"iter"

	"ntpac"
)

// FrameReader gives captured frames again, from the sources themselves: n bytes at an offset of the
// decompressed source. Where a source is gone or is not what it was, its error wraps
// ntpac.ErrNoPayload.
type FrameReader interface {
	ReadFrame(src ntpac.SourceID, off int64, n int) ([]byte, ntpac.LinkType, error)
}

// FrameWriter writes a capture; capture.Writer is one.
type FrameWriter interface {
	Packet(ts ntpac.Time, link ntpac.LinkType, wire uint32, frame []byte) error
}

// Frame says where one packet of a conversation lies.
type Frame struct {
	TS        ntpac.Time
	Ord       uint64 // its place in its source
	Off       int64
	Source    ntpac.SourceID
	Cap, Wire uint32
}

func (f *Frame) compare(o *Frame) int {
	return cmp.Or(cmp.Compare(f.TS, o.TS), cmp.Compare(f.Source, o.Source), cmp.Compare(f.Ord, o.Ord))
}

// Pcap writes exactly the packets of the selected conversations, in the order of their time, and says
// how many.
func (x *Export) Pcap(ctx context.Context, sel ntpac.Selector, r FrameReader, w FrameWriter) (n int, err error) {
	for f, err := range x.Frames(ctx, sel) {
		if err != nil {
			return n, err
		}
		b, link, err := r.ReadFrame(f.Source, f.Off, int(f.Cap))
		if err != nil {
			return n, err
		}
		if err := w.Packet(f.TS, link, f.Wire, b); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// The order of a history may run back in time by the reorder window that it was made with. So frames
// wait until all that is read is this much later, or so many wait.
const (
	orderWindow = 10 * ntpac.Second
	orderLimit  = 1 << 16
)

// Frames lists the packets of the selected conversations in the order of their time. What it holds
// grows with the conversations that are open at one moment, not with the packets.
func (x *Export) Frames(ctx context.Context, sel ntpac.Selector) iter.Seq2[*Frame, error] {
	return func(yield func(*Frame, error) bool) {
		m := merger{yield: yield}
		for c, err := range x.Conversations(ctx, sel) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			// Conversations come in the order of their start: nothing older follows.
			if !m.drain(c.First) || !m.open(c, x.payload(ctx, c)) {
				return
			}
		}
		const end = ntpac.Time(1<<63 - 1)
		if m.drain(end) {
			m.release(end)
		}
	}
}

// merger merges the histories of open conversations.
type merger struct {
	live    histories
	waiting frames
	yield   func(*Frame, error) bool
}

func (m *merger) open(c *ntpac.Conversation, p ntpac.Payload) bool {
	h := &history{c: c, p: p}
	if c.Inline != nil {
		h.buf, h.read = c.Inline.History, int64(len(c.Inline.History))
	}
	return m.step(h, false)
}

// step puts a history with its next event among the open ones.
func (m *merger) step(h *history, first bool) bool {
	more, err := h.next()
	switch {
	case err != nil:
		m.yield(nil, fmt.Errorf("conversation %s: %w", h.c.ID, err))
		return false
	case more && first:
		heap.Fix(&m.live, 0)
	case more:
		heap.Push(&m.live, h)
	case first:
		heap.Pop(&m.live)
	}
	return true
}

// drain takes the events that are older than the given time.
func (m *merger) drain(until ntpac.Time) bool {
	for len(m.live) > 0 && m.live[0].ev.TS < until {
		h := m.live[0]
		e := &h.ev
		if int(e.Source) >= len(h.c.Sources) {
			m.yield(nil, fmt.Errorf("conversation %s: its history names a source that it does not have", h.c.ID))
			return false
		}
		now := e.TS
		heap.Push(&m.waiting, Frame{TS: e.TS, Ord: e.Ord, Off: e.Off, Source: h.c.Sources[e.Source], Cap: e.Cap, Wire: e.Wire})
		if !m.step(h, true) || !m.release(now-orderWindow) {
			return false
		}
	}
	return true
}

// release gives the waiting frames that are older than the given time, and those over the limit.
func (m *merger) release(until ntpac.Time) bool {
	for len(m.waiting) > 0 && (len(m.waiting) > orderLimit || m.waiting[0].TS < until) {
		f := heap.Pop(&m.waiting).(Frame)
		if !m.yield(&f, nil) {
			return false
		}
	}
	return true
}

// history reads the events of one conversation and holds no more of them than one chunk.
type history struct {
	c    *ntpac.Conversation
	p    ntpac.Payload
	st   ntpac.HistoryState
	buf  []byte
	read int64 // bytes of the history that were taken from the payload
	ev   ntpac.Event
}

func (h *history) next() (more bool, err error) {
	for len(h.buf) < ntpac.MaxEvent && h.read < h.c.HistLen {
		b, err := h.p.Chunk(ntpac.StreamHistory, h.read/ntpac.ChunkSize)
		if err != nil {
			return false, err
		}
		b = b[min(int64(len(b)), h.read%ntpac.ChunkSize):]
		if len(b) == 0 {
			return false, fmt.Errorf("its stored history is shorter than it says: %w", ntpac.ErrNoPayload)
		}
		h.buf = append(h.buf[:len(h.buf):len(h.buf)], b...)
		h.read += int64(len(b))
	}
	if len(h.buf) == 0 {
		return false, nil
	}
	h.buf, err = h.st.Next(h.buf, &h.ev)
	return err == nil, err
}

// histories is a heap, the one with the oldest event first.
type histories []*history

func (h histories) Len() int           { return len(h) }
func (h histories) Less(i, j int) bool { return h[i].ev.TS < h[j].ev.TS }
func (h histories) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *histories) Push(x any)        { *h = append(*h, x.(*history)) }
func (h *histories) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}

// frames is a heap, the oldest first.
type frames []Frame

func (f frames) Len() int           { return len(f) }
func (f frames) Less(i, j int) bool { return f[i].compare(&f[j]) < 0 }
func (f frames) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *frames) Push(x any)        { *f = append(*f, x.(Frame)) }
func (f *frames) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}
