package node

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"ntpac"
	"ntpac/actor"
	"ntpac/snoop"
)

// snooper is the actor that reads conversations and finds artifacts in them; there are as many as the
// machine has cores. A snooper of a protocol that fails or panics costs only the rest of its conversation.
type snooper struct {
	mail *actor.Mailbox[*task]
	w    *writer
	reg  *snoop.Registry
	src  *Sources
	rule ntpac.Selector
	only []string // names of the snoopers that may run; empty for all
	lost *unread  // what could not be read; nil: that ends the run
}

func (s *snooper) run(ctx context.Context) error {
	for {
		t, ok := s.mail.Receive(ctx)
		if !ok {
			return nil
		}
		for t = s.w.turns.begin(t); t != nil; {
			if err := s.snoop(ctx, t); err != nil {
				return err
			}
			t = s.w.turns.end(t)
		}
	}
}

func (s *snooper) snoop(ctx context.Context, t *task) (err error) {
	c := t.conv
	if c == nil {
		if c, err = s.w.st.Conversation(ctx, s.w.cs, t.id); err != nil {
			return err
		}
	}
	if s.rule != nil && !s.rule.Match(c) {
		s.w.skip(t)
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
		p = Payload(ctx, s.w.st, s.src, c)
	}
	d := ntpac.NewDialog(c, p)
	if len(s.only) > 0 {
		if !s.allowed(d, expect) {
			s.w.done(t)
			return nil
		}
		d = d.Fresh()
	}
	g := snoop.Run(ctx, s.reg, d, snoop.Options{Expected: expect, Part: func(g *ntpac.Generation) error { return s.send(ctx, t, g) }})
	switch err := d.Err(); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return s.send(ctx, t, g)
	case s.lost == nil || !errors.Is(err, ntpac.ErrNoPayload):
		return err
	default: // what was found while it could be read stays
		s.lost.add(err)
		s.w.done(t)
		return nil
	}
}

// send gives a part of what was found to the writer. It waits for credit, so that many big findings do
// not fill the memory while the store is slow.
func (s *snooper) send(ctx context.Context, t *task, g *ntpac.Generation) error {
	n := int64(taskOverhead + 256*len(g.Expectations))
	for _, a := range g.Artifacts {
		n += int64(512 + len(a.JSON))
		for i := range a.Blobs {
			n += int64(len(a.Blobs[i].Data))
		}
	}
	if err := s.w.found.Take(ctx, n); err != nil {
		return err
	}
	return s.w.mail.Send(ctx, delivery{gen: g, of: t, bytes: n})
}

// unread counts conversations whose payload is gone.
type unread struct {
	mu    sync.Mutex
	n     int64
	first error
}

func (u *unread) add(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n++; u.first == nil {
		u.first = err
	}
}

// expected finds what other conversations have said of this one. Of several announcements the latest
// before it counts: ports are used again. If there is none before it, the first one after it does: clocks
// differ.
func (s *snooper) expected(ctx context.Context, c *ntpac.Conversation) (*ntpac.Expectation, error) {
	if !s.w.expects.might(c) {
		return nil, nil
	}
	es, err := s.w.st.Expected(ctx, c)
	if err != nil {
		return nil, err
	}
	var best *ntpac.Expectation
	for i := range es {
		if e := &es[i]; e.Matches(c) && (best == nil || nearer(e, best, c)) {
			best = e
		}
	}
	return best, nil
}

// nearer orders announcements so that the choice never depends on the order of their finding.
func nearer(a, b *ntpac.Expectation, c *ntpac.Conversation) bool {
	if before := a.Before(c); before != b.Before(c) {
		return before
	} else if a.Start != b.Start {
		return a.Start > b.Start == before
	}
	if k := a.Origin.Compare(b.Origin); k != 0 {
		return k < 0
	}
	return string(a.Context) < string(b.Context)
}

// expectIndex remembers which end points were announced, so that the store is asked only for
// conversations that could be meant.
type expectIndex struct {
	mu    sync.RWMutex
	end   map[netip.AddrPort]struct{}
	hosts bool // some of them have no port: any
	any   bool // an announcement without address
}

func newExpectIndex() *expectIndex { return &expectIndex{end: map[netip.AddrPort]struct{}{}} }

// maxExpected is how many end points are remembered; beyond it the store is always asked.
const maxExpected = 1 << 18

func (x *expectIndex) add(e *ntpac.Expectation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.any {
		return
	}
	x.hosts = x.hosts || e.To.Port() == 0
	if !e.To.Addr().IsValid() || len(x.end) >= maxExpected {
		x.any = true
		clear(x.end)
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
	for _, end := range c.Key.End {
		if _, ok := x.end[end]; ok {
			return true
		}
		if x.hosts {
			if _, ok := x.end[netip.AddrPortFrom(end.Addr(), 0)]; ok {
				return true
			}
		}
	}
	return false
}
