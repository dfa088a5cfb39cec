package artifact

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"

	"ntpac"
)

// Export takes what a rule selects out of a case: the bodies as files, the records as JSON lines or
// CSV, the packets as a capture. It changes nothing in the store.
type Export struct {
	Store ntpac.Store
	Case  string
	// Payload gives a conversation's streams; nil reads the chunks of the store.
	Payload func(c *ntpac.Conversation) ntpac.Payload
}

// recorder is a store that lists artifacts beside their conversations, because reading each conversation
// apart takes it long.
type recorder interface {
	Records(ctx context.Context, q *ntpac.Query) iter.Seq2[*ntpac.Record, error]
}

// Records lists the artifacts that the rule selects, each beside its conversation, in the store's
// order. The conversation is nil where the store has none.
func (x *Export) Records(ctx context.Context, sel ntpac.Selector) iter.Seq2[*ntpac.Record, error] {
	return func(yield func(*ntpac.Record, error) bool) {
		q := sel.Query()
		q.Case = x.Case
		if s, ok := x.Store.(recorder); ok {
			for r, err := range s.Records(ctx, &q) {
				if err != nil {
					yield(nil, err)
					return
				}
				if sel.MatchArtifact(r) && !yield(r, nil) {
					return
				}
			}
			return
		}
		var c *ntpac.Conversation
		var of ntpac.ConversationID // whose conversation c is
		known := false
		for a, err := range x.Store.Artifacts(ctx, &q) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !known || of != a.Conversation {
				if c, err = x.Store.Conversation(ctx, x.Case, a.Conversation); err != nil && !errors.Is(err, ntpac.ErrNotFound) {
					yield(nil, err)
					return
				}
				of, known = a.Conversation, true
			}
			if r := (&ntpac.Record{Artifact: a, Conversation: c}); sel.MatchArtifact(r) && !yield(r, nil) {
				return
			}
		}
	}
}

// Conversations lists those that the rule selects, by id. A rule that only artifacts can answer
// selects the conversations of those artifacts.
func (x *Export) Conversations(ctx context.Context, sel ntpac.Selector) iter.Seq2[*ntpac.Conversation, error] {
	if r, ok := sel.(interface{ OnConversation() error }); ok && r.OnConversation() != nil {
		return x.conversationsOfRecords(ctx, sel)
	}
	return func(yield func(*ntpac.Conversation, error) bool) {
		q := sel.Query()
		q.Case = x.Case
		for c, err := range x.Store.Conversations(ctx, &q) {
			if err != nil {
				yield(nil, err)
				return
			}
			if sel.Match(c) && !yield(c, nil) {
				return
			}
		}
	}
}

func (x *Export) conversationsOfRecords(ctx context.Context, sel ntpac.Selector) iter.Seq2[*ntpac.Conversation, error] {
	return func(yield func(*ntpac.Conversation, error) bool) {
		var last ntpac.ConversationID
		for r, err := range x.Records(ctx, sel) {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case r.Conversation == nil || r.Conversation.ID == last:
				continue
			}
			if last = r.Conversation.ID; !yield(r.Conversation, nil) {
				return
			}
		}
	}
}

// JSON writes the selected artifacts as JSON lines and says how many.
func (x *Export) JSON(ctx context.Context, sel ntpac.Selector, w io.Writer) (n int, err error) {
	b := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	for r, err := range x.Records(ctx, sel) {
		if err != nil {
			return n, err
		}
		line = append(AppendArtifact(line[:0], r.Artifact), '\n')
		if _, err := b.Write(line); err != nil {
			return n, err
		}
		n++
	}
	return n, b.Flush()
}

// ConversationsJSON writes the selected conversations as JSON lines and says how many.
func (x *Export) ConversationsJSON(ctx context.Context, sel ntpac.Selector, sources map[ntpac.SourceID]string, w io.Writer) (n int, err error) {
	b := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	for c, err := range x.Conversations(ctx, sel) {
		if err != nil {
			return n, err
		}
		line = append(AppendConversation(line[:0], c, sources), '\n')
		if _, err := b.Write(line); err != nil {
			return n, err
		}
		n++
	}
	return n, b.Flush()
}

// open gives the dialogs of stored conversations.
func (x *Export) open(ctx context.Context) Opener {
	return func(id ntpac.ConversationID) (*ntpac.Dialog, error) {
		c, err := x.Store.Conversation(ctx, x.Case, id)
		if err != nil {
			return nil, err
		}
		return ntpac.NewDialog(c, x.payload(ctx, c)), nil
	}
}

func (x *Export) payload(ctx context.Context, c *ntpac.Conversation) ntpac.Payload {
	if x.Payload != nil {
		return x.Payload(c)
	}
	return StorePayload(ctx, x.Store, x.Case, c.ID)
}

// StorePayload reads a conversation's streams and history from the chunks of a store.
func StorePayload(ctx context.Context, st ntpac.Store, cs string, id ntpac.ConversationID) ntpac.Payload {
	return &storePayload{ctx: ctx, st: st, cs: cs, id: id}
}

type storePayload struct {
	ctx context.Context
	st  ntpac.Store
	cs  string
	id  ntpac.ConversationID
	buf [3][]byte // by stream
}

func (p *storePayload) Chunk(stream uint8, n int64) ([]byte, error) {
	b, err := p.st.Chunk(p.ctx, p.cs, ntpac.ChunkKey{ID: p.id, Stream: stream, N: n}, p.buf[stream][:0])
	if err == nil {
		p.buf[stream] = b
	}
	return b, err
}
