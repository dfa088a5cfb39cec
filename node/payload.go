package node

import (
	"context"

	"ntpac"
)

// Payload opens the payload of a stored conversation, wherever it is kept.
func Payload(ctx context.Context, st ntpac.Store, src *Sources, c *ntpac.Conversation) ntpac.Payload {
	hist := StoredPayload(ctx, st, c)
	if !c.ByReference() {
		if c.Inline != nil {
			return c.InlinePayload()
		}
		return hist
	}
	if c.Inline != nil {
		hist = c.InlinePayload()
	}
	return ReferencedPayload(src, c, hist)
}

// stored reads a conversation's payload from the store.
type stored struct {
	ctx context.Context
	st  ntpac.Store
	c   *ntpac.Conversation
	buf [3][]byte
}

// StoredPayload gives access to the streams of a stored conversation.
func StoredPayload(ctx context.Context, st ntpac.Store, c *ntpac.Conversation) ntpac.Payload {
	return &stored{ctx: ctx, st: st, c: c}
}

// Chunk reads and unpacks one chunk.
func (p *stored) Chunk(stream uint8, n int64) (b []byte, err error) {
	b, err = p.st.Chunk(p.ctx, p.c.Case, ntpac.ChunkKey{ID: p.c.ID, Stream: stream, N: n}, p.buf[stream][:0])
	p.buf[stream] = b
	return b, err
}
