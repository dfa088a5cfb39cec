// Package actor has what every running part of the system is made of: a bounded mailbox, an address,
// one goroutine with private state, and supervision. The stages themselves know nothing of it.
package actor

import (
	"context"
	"sync"
)

// Mailbox is the only way to an actor: a bounded queue. Who sends into a full one waits; that wait is
// the back-pressure, from the slowest actor to the source.
type Mailbox[T any] struct {
	ch     chan T
	closed sync.Once
}

// NewMailbox makes a mailbox for n messages.
func NewMailbox[T any](n int) *Mailbox[T] { return &Mailbox[T]{ch: make(chan T, n)} }

// Send delivers a message, waiting for room. It fails only when ctx ends.
func (m *Mailbox[T]) Send(ctx context.Context, v T) error {
	select {
	case m.ch <- v:
		return nil
	default:
	}
	select {
	case m.ch <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Receive waits for a message. ok is false when the mailbox was closed and is empty, or ctx ended.
func (m *Mailbox[T]) Receive(ctx context.Context) (v T, ok bool) {
	select {
	case v, ok = <-m.ch:
		return v, ok
	case <-ctx.Done():
		return v, false
	}
}

// Poll takes a message if there is one now. closed reports that none will ever come again.
func (m *Mailbox[T]) Poll() (v T, ok, closed bool) {
	select {
	case v, ok = <-m.ch:
		return v, ok, !ok
	default:
		return v, false, false
	}
}

// C is the mailbox as a channel, to wait for several things at once.
func (m *Mailbox[T]) C() <-chan T { return m.ch }

// In is the mailbox as a channel to send into, to wait for several things at once.
func (m *Mailbox[T]) In() chan<- T { return m.ch }

// Close says that nothing more will be sent. Only the senders' owner calls it, once they are done.
func (m *Mailbox[T]) Close() { m.closed.Do(func() { close(m.ch) }) }

// Depth is how many messages wait.
func (m *Mailbox[T]) Depth() int { return len(m.ch) }

// Credit bounds a resource that many messages share, in bytes: who wants to send takes credit, who
// releases the buffer gives it back.
type Credit struct {
	mu    sync.Mutex
	free  int64
	total int64
	wait  []creditWait
}

type creditWait struct {
	n     int64
	ready chan struct{}
}

// NewCredit makes n bytes of credit.
func NewCredit(n int64) *Credit { return &Credit{free: n, total: n} }

// Take waits for n bytes, first come first served. More than there is in all counts as all.
func (c *Credit) Take(ctx context.Context, n int64) error {
	n = min(n, c.total)
	c.mu.Lock()
	if len(c.wait) == 0 && c.free >= n {
		c.free -= n
		c.mu.Unlock()
		return nil
	}
	w := creditWait{n, make(chan struct{})}
	c.wait = append(c.wait, w)
	c.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		c.forget(w)
		return context.Cause(ctx)
	}
}

// forget takes back a wish whose context has ended. Those behind it may have what they wait for now.
func (c *Credit) forget(w creditWait) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.wait {
		if c.wait[i].ready == w.ready {
			c.wait = append(c.wait[:i], c.wait[i+1:]...)
			c.give(0)
			return
		}
	}
	c.give(w.n) // it came just now
}

// Give returns n bytes. However much is given, there is never more than in all.
func (c *Credit) Give(n int64) {
	c.mu.Lock()
	c.give(n)
	c.mu.Unlock()
}

func (c *Credit) give(n int64) {
	c.free = min(c.free+n, c.total)
	for len(c.wait) > 0 && c.free >= c.wait[0].n {
		c.free -= c.wait[0].n
		close(c.wait[0].ready)
		c.wait = c.wait[1:]
	}
}

// Total is how much there is in all.
func (c *Credit) Total() int64 { return c.total }

// Used is how much is taken: from 0 to Total.
func (c *Credit) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total - c.free
}
