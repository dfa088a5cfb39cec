package reassembly_test

import (
	"ntpac"
	"ntpac/store"
)

// nullSink does nothing.
type nullSink struct{}

func (nullSink) Open() uint32                                    { return 0 }
func (nullSink) Identify(uint32, ntpac.ConversationID)           {}
func (nullSink) Event(uint32, *ntpac.Event)                      {}
func (nullSink) Data(uint32, ntpac.Side, int64, []byte)          {}
func (nullSink) Gap(uint32, ntpac.Side, ntpac.Gap)               {}
func (nullSink) Given(uint32, ntpac.Side, int64) ([]byte, int64) { return nil, 0 }
func (nullSink) Conflict(uint32, ntpac.Side, ntpac.Conflict)     {}
func (nullSink) Known(uint32, ntpac.Side, int64, []byte) bool    { return false }
func (nullSink) Close(uint32, *ntpac.Conversation)               {}
func (nullSink) Reopen(ntpac.ConversationID) (uint32, bool)      { return 0, true }

// historySink encodes every conversation's history, and forgets it.
type historySink struct {
	nullSink
	states []ntpac.HistoryState
	free   []uint32
	buf    []byte
}

func (s *historySink) Open() uint32 {
	if n := len(s.free); n > 0 {
		h := s.free[n-1]
		s.free = s.free[:n-1]
		s.states[h] = ntpac.HistoryState{}
		return h
	}
	s.states = append(s.states, ntpac.HistoryState{})
	return uint32(len(s.states) - 1)
}

func (s *historySink) Event(h uint32, e *ntpac.Event) {
	if len(s.buf) > 1<<16 {
		s.buf = s.buf[:0]
	}
	s.buf = s.states[h].Append(s.buf, e)
}

func (s *historySink) Close(h uint32, _ *ntpac.Conversation)           { s.free = append(s.free, h) }
func (s *historySink) Reopen(ntpac.ConversationID) (h uint32, ok bool) { return s.Open(), true }

// discard gives every buffer back at once. Of closed conversations it keeps nothing.
type discard struct{ bufs *store.Buffers }

func (d discard) Chunk(c ntpac.Chunk) { d.bufs.Put(c.Packed) }

func (d discard) Conversation(_ *ntpac.Conversation, mem *store.Resident) { mem.Release() }

type noLoader struct{}

func (noLoader) Conversation(ntpac.ConversationID) (*ntpac.Conversation, error) {
	return nil, ntpac.ErrNotFound
}

func (noLoader) Chunk(ntpac.ChunkKey, int) ([]byte, error) { return nil, ntpac.ErrNotFound }
