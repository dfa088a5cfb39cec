package node

import (
	"context"
	"net/netip"
	"sync"

	"ntpac"
	"ntpac/actor"
	"ntpac/snoop"
)

// snooper is the actor that reads conversations and finds artifacts in them. It has no state, so it
// may be restarted; there are as many as the machine has cores.
type snooper struct {
	mail    *actor.Mailbox[*task]
	w       *writer
	reg     *snoop.Registry
	rule    ntpac.Selector
	payload func(*ntpac.Conversation) ntpac.Payload
	expects *expectIndex
	turns   *turns
	only    []string // names of the snoopers that may run; empty for all
}

func (s *snooper) run(ctx context.Context) error {
	for {
		t, ok := s.mail.Receive(ctx)
		if !ok {
			return nil
		}
		for t = s.turns.begin(t); t != nil; {
			if err := s.snoop(ctx, t); err != nil {
				return err
			}
			t = s.turns.end(t)
		}
	}
}

// turns lets only one snooper at a time read a conversation. An announcement that comes while it is
// being read makes it be read again; what that finds must be stored after what the first reading found.
type turns struct {
	mu   sync.Mutex
	busy map[ntpac.ConversationID][]*task // what waits behind the one being read
}

func newTurns() *turns { return &turns{busy: map[ntpac.ConversationID][]*task{}} }

// begin gives the task back if nobody reads its conversation; else whoever does will take it.
func (k *turns) begin(t *task) *task {
	k.mu.Lock()
	defer k.mu.Unlock()
	wait, busy := k.busy[t.conv.ID]
	if busy {
		k.busy[t.conv.ID] = append(wait, t)
		return nil
	}
	k.busy[t.conv.ID] = nil
	return t
}

// end gives the next task for the same conversation.
func (k *turns) end(t *task) *task {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := t.conv.ID
	wait := k.busy[id]
	if len(wait) == 0 {
		delete(k.busy, id)
		return nil
	}
	k.busy[id] = wait[1:]
	return wait[0]
}

func (s *snooper) snoop(ctx context.Context, t *task) error {
	c := t.conv
	if s.rule != nil && !s.rule.Match(c) {
		s.w.done(t)
		return nil
	}
	expect, err := s.expected(ctx, c)
	if err != nil {
		return err
	}
	var p ntpac.Payload
	if t.mem.Whole() {
		p = t.mem
	} else {
		p = s.payload(c)
	}
	d := ntpac.NewDialog(c, p)
	if len(s.only) > 0 {
		if !s.allowed(d, expect) {
			s.w.done(t)
			return nil
		}
		d = d.Fresh()
	}
	g := snoop.Run(ctx, s.reg, d, snoop.Options{Expected: expect, Part: func(g *ntpac.Generation) error {
		return s.w.mail.Send(ctx, delivery{gen: g})
	}})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.w.mail.Send(ctx, delivery{gen: g, last: t})
}

// expected finds what other conversations have said of this one. Of several announcements the latest
// before it counts: ports are used again.
func (s *snooper) expected(ctx context.Context, c *ntpac.Conversation) (*ntpac.Expectation, error) {
	if !s.expects.might(c) {
		return nil, nil
	}
	es, err := s.w.st.Expected(ctx, c)
	if err != nil {
		return nil, err
	}
	var best *ntpac.Expectation
	for i := range es {
		if e := &es[i]; e.Matches(c) && (best == nil || later(e, best)) {
			best = e
		}
	}
	return best, nil
}

// later orders announcements so that the choice never depends on the order of their finding.
func later(a, b *ntpac.Expectation) bool {
	if a.Start != b.Start {
		return a.Start > b.Start
	}
	if k := a.Origin.Compare(b.Origin); k != 0 {
		return k < 0
	}
	return string(a.Context) < string(b.Context)
}

// expectIndex remembers which end points were announced, so that the store is asked only for
// conversations that could be meant.
type expectIndex struct {
	mu  sync.RWMutex
	end map[netip.AddrPort]struct{}
	any bool // an announcement without port or address
}

func newExpectIndex() *expectIndex { return &expectIndex{end: map[netip.AddrPort]struct{}{}} }

func (x *expectIndex) add(e *ntpac.Expectation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !e.To.Addr().IsValid() || e.To.Port() == 0 {
		x.any = true
		return
	}
	x.end[e.To] = struct{}{}
}

func (x *expectIndex) might(c *ntpac.Conversation) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.any {
		return true
	}
	if len(x.end) == 0 {
		return false
	}
	_, a := x.end[c.Key.End[0]]
	_, b := x.end[c.Key.End[1]]
	return a || b
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
