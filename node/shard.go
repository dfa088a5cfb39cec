package node

import (
	"context"
	"errors"

	"ntpac"
	"ntpac/actor"
	"ntpac/reassembly"
	"ntpac/store"
)

// shard is the actor that owns a share of the virtual shards: it reassembles their conversations and
// makes chunks and rows of them for the writer.
type shard struct {
	mail  *actor.Mailbox[*ntpac.Batch]
	re    *reassembly.Reassembler
	col   *store.Collector
	w     *writer
	ctx   context.Context // of the running actor
	src   *Sources
	box   delivery
	err   error
	stats chan<- reassembly.Stats
}

// boxBytes is how much a shard gathers before it sends it to the writer.
const boxBytes = 1 << 20

func (s *shard) run(ctx context.Context) error {
	s.ctx = ctx
	defer func() { s.stats <- s.re.Stats() }()
	for {
		b, ok := s.mail.Receive(ctx)
		if !ok {
			break
		}
		s.re.Push(b)
		b.Free()
		if err := errors.Join(s.err, s.col.Err()); err != nil {
			return err
		}
		if s.mail.Depth() == 0 { // nothing to do but to hand on what there is
			s.send()
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.re.Flush()
	s.send()
	return errors.Join(s.err, s.col.Err())
}

// Chunk takes a packed chunk from the collector.
func (s *shard) Chunk(c ntpac.Chunk) {
	s.box.chunks = append(s.box.chunks, c)
	s.box.bytes += int64(cap(c.Packed))
	s.full()
}

// Conversation takes a finished conversation from the collector.
func (s *shard) Conversation(c *ntpac.Conversation, mem *store.Resident) {
	s.w.pending.Add()
	if c.Revision == 0 {
		s.w.prog.Conversations.Add(1)
	}
	t := &task{id: c.ID, conv: c, mem: mem, credit: mem.Size() + taskOverhead, again: c.Revision > 0}
	s.box.tasks = append(s.box.tasks, t)
	s.box.bytes += t.credit
	s.full()
}

func (s *shard) full() {
	if s.box.bytes >= boxBytes {
		s.send()
	}
}

// send hands the box to the writer. It waits for credit: that is what slows the sources down when the
// store or the snoopers cannot keep up.
func (s *shard) send() {
	if s.box.bytes == 0 || s.err != nil {
		return
	}
	if s.err = s.w.credit.Take(s.ctx, s.box.bytes); s.err == nil {
		s.err = s.w.mail.Send(s.ctx, s.box)
	}
	s.box = delivery{}
}

// shardLoader lets a collector read back what it gave out: everything that waits is committed first.
type shardLoader struct{ s *shard }

func (l *shardLoader) sync() error {
	l.s.send()
	if l.s.err != nil {
		return l.s.err
	}
	return l.s.w.sync(l.s.ctx)
}

// Conversation reads a stored conversation.
func (l *shardLoader) Conversation(id ntpac.ConversationID) (*ntpac.Conversation, error) {
	if err := l.sync(); err != nil {
		return nil, err
	}
	return l.s.w.st.Conversation(l.s.ctx, l.s.w.cs, id)
}

// Chunk reads a stored chunk that has n bytes in its latest version. Only where that is still on its way
// must the writer hurry; n below 0 means that nobody knows.
func (l *shardLoader) Chunk(k ntpac.ChunkKey, n int) ([]byte, error) {
	if n >= 0 {
		if b, err := l.s.w.st.Chunk(l.s.ctx, l.s.w.cs, k, nil); err == nil && len(b) == n {
			return b, nil
		}
	}
	if err := l.sync(); err != nil {
		return nil, err
	}
	return l.s.w.st.Chunk(l.s.ctx, l.s.w.cs, k, nil)
}

// Payload reads the streams of a stored conversation, also where they lie in the sources.
func (l *shardLoader) Payload(c *ntpac.Conversation) ntpac.Payload {
	return Payload(l.s.ctx, l.s.w.st, l.s.src, c)
}
