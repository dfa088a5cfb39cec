package node

import (
	"context"
	"sync"
)

// pending counts tasks that are not done. Unlike a WaitGroup, who waits can give up.
type pending struct {
	mu   sync.Mutex
	n    int64
	none chan struct{} // closed when n comes to 0; nil while nobody waits
}

// Add counts another task.
func (p *pending) Add() {
	p.mu.Lock()
	p.n++
	p.mu.Unlock()
}

// Done counts one less.
func (p *pending) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n--; p.n == 0 && p.none != nil {
		close(p.none)
		p.none = nil
	}
}

// Count is how many there are.
func (p *pending) Count() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// Wait waits until no task is pending.
func (p *pending) Wait(ctx context.Context) error {
	p.mu.Lock()
	if p.n == 0 {
		p.mu.Unlock()
		return nil
	}
	if p.none == nil {
		p.none = make(chan struct{})
	}
	none := p.none
	p.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
