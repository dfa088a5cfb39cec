package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// Pauses between the repetitions of a request.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 10 * time.Second
)

// try runs a request, again and again where it failed for a reason that may pass. Every request that
// goes through it can be repeated without changing its outcome.
func (s *Store) try(ctx context.Context, request func() error) error {
	for n := 0; ; n++ {
		err := request()
		if err == nil || ctx.Err() != nil || !passing(err) || n >= s.opt.Retries {
			return s.explain(ctx, err)
		}
		if err := pause(ctx, firstPause<<min(n, 20), maxPause); err != nil {
			return err
		}
	}
}

// pause waits for about d, at most most.
func pause(ctx context.Context, d, most time.Duration) error {
	d = min(d, most)
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// passing reports whether an error may pass: everything but what the request itself is to blame for.
func passing(err error) bool {
	switch e := err.(type) {
	case *gocql.RequestErrInvalid, *gocql.RequestErrSyntax, *gocql.RequestErrConfig, *gocql.RequestErrUnauthorized,
		*gocql.RequestErrCredentials, *gocql.RequestErrAlreadyExists, *gocql.RequestErrFunctionFailure:
		return false
	case gocql.RequestError:
		return e.Code() != gocql.ErrCodeSyntax && e.Code() != gocql.ErrCodeInvalid
	}
	return !errors.Is(err, gocql.ErrNotFound) && !errors.Is(err, gocql.ErrSessionClosed)
}

// explain makes of what the driver says what a user can act upon.
func (s *Store) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return explain(&s.opt, err)
}

func explain(o *Options, err error) error {
	at := hostNames(o.Hosts)
	what := oneLine(err)
	switch e := err.(type) {
	case *gocql.RequestErrUnavailable:
		return fmt.Errorf("cassandra: too few replicas answer: %d of the %d that consistency %v needs; are all nodes of the ring running? (%s)",
			e.Alive, e.Required, e.Consistency, what)
	case *gocql.RequestErrWriteTimeout, *gocql.RequestErrReadTimeout, *gocql.RequestErrCASWriteUnknown:
		return fmt.Errorf("cassandra: the replicas did not answer in time, after %d repetitions: the ring is overloaded or nodes are down (%s)", o.Retries, what)
	case *gocql.RequestErrUnauthorized, *gocql.RequestErrCredentials:
		return fmt.Errorf("cassandra: the ring at %s refuses this user (%s)", at, what)
	}
	switch {
	case errors.Is(err, gocql.ErrNoConnections), errors.Is(err, gocql.ErrNoConnectionsStarted),
		strings.Contains(what, "dial tcp"), strings.Contains(what, "unable to create session"), strings.Contains(what, "unable to connect"):
		return fmt.Errorf("cassandra: no host answers at %s, is it running? (%s)", at, what)
	case errors.Is(err, gocql.ErrTimeoutNoResponse):
		return fmt.Errorf("cassandra: no answer within %v from the ring at %s, after %d repetitions", o.Timeout, at, o.Retries)
	}
	return fmt.Errorf("cassandra: %s", what)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func hostNames(hosts []string) string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = strings.TrimSuffix(h, ":"+defaultPort)
	}
	return strings.Join(names, ", ")
}

// query makes a statement that can be repeated.
func (s *Store) query(stmt string, args ...any) *gocql.Query {
	return s.db.Query(stmt, args...).Consistency(s.cons).Idempotent(true)
}

// exec runs one statement.
func (s *Store) exec(ctx context.Context, stmt string, args ...any) error {
	return s.try(ctx, func() error { return s.query(stmt, args...).ExecContext(ctx) })
}

// one reads one row; false where there is none.
func (s *Store) one(ctx context.Context, q *gocql.Query, dest ...any) (found bool, err error) {
	err = s.try(ctx, func() error {
		err := q.ScanContext(ctx, dest...)
		found = err == nil
		if errors.Is(err, gocql.ErrNotFound) {
			return nil
		}
		return err
	})
	return found, err
}

// Lengths of pages, in rows.
const (
	chunkPage = 16 // of chunks and pieces, up to 256 KiB each
	page      = 200
	bigPage   = 5000
)

// each reads all rows of a query, page by page; a page that failed is asked for again. scan reads one row
// with the function it is given and must not keep the memory it got in the round before.
func (s *Store) each(ctx context.Context, size int, q *gocql.Query, scan func(scan func(dest ...any) bool) error) error {
	var state []byte
	for {
		next, err := s.page(ctx, size, q, state, scan)
		if err != nil || len(next) == 0 {
			return err
		}
		state = next
	}
}

// page reads one page and gives where the next begins; empty behind the last.
func (s *Store) page(ctx context.Context, size int, q *gocql.Query, state []byte, scan func(scan func(dest ...any) bool) error) (next []byte, err error) {
	var it *gocql.Iter
	err = s.try(ctx, func() error {
		it = q.PageSize(size).PageState(state).IterContext(ctx)
		if it.NumRows() > 0 || len(it.PageState()) > 0 {
			return nil
		}
		return it.Close()
	})
	if err != nil {
		return nil, err
	}
	next = append(next, it.PageState()...)
	for more := true; more; {
		err := scan(func(dest ...any) bool { more = it.Scan(dest...); return more })
		if err != nil {
			_ = it.Close()
			return nil, err
		}
	}
	return next, s.explain(ctx, it.Close())
}

// gate bounds the writes under way, in bytes and in number, so that a slow ring holds up those who write
// and is not buried.
type gate struct {
	mu    sync.Mutex
	bytes int64 // free
	slots int   // free
	all   int64
	queue []*waiter
}

type waiter struct {
	bytes int64
	ready chan struct{}
}

const maxRequests = 32

func newGate(bytes int64) *gate { return &gate{bytes: bytes, slots: maxRequests, all: bytes} }

// enter waits for room; what is bigger than everything waits for everything. It gives what leave gives back.
func (g *gate) enter(ctx context.Context, n int64) (int64, error) {
	n = min(n, g.all)
	g.mu.Lock()
	if len(g.queue) == 0 && g.bytes >= n && g.slots > 0 {
		g.bytes -= n
		g.slots--
		g.mu.Unlock()
		return n, nil
	}
	w := &waiter{n, make(chan struct{})}
	g.queue = append(g.queue, w)
	g.mu.Unlock()
	select {
	case <-w.ready:
		return n, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.ready: // it came just now
		return n, nil
	default:
	}
	for i := range g.queue {
		if g.queue[i] == w {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			break
		}
	}
	g.wake()
	return 0, context.Cause(ctx)
}

func (g *gate) leave(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes += n
	g.slots++
	g.wake()
}

func (g *gate) wake() {
	for len(g.queue) > 0 && g.bytes >= g.queue[0].bytes && g.slots > 0 {
		w := g.queue[0]
		g.queue = g.queue[1:]
		g.bytes -= w.bytes
		g.slots--
		close(w.ready)
	}
}

// clock gives microseconds of the wall clock that never repeat and never go back in this process: of two
// writes the later has the higher one.
type clock struct {
	mu   sync.Mutex
	last int64
}

func (c *clock) next() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last+1, time.Now().UnixMicro())
	return c.last
}

// parallel runs all tasks, some at a time, and gives the first error; the others are then cut short.
func parallel(ctx context.Context, n, limit int, task func(ctx context.Context, i int) error) error {
	switch n {
	case 0:
		return nil
	case 1:
		return task(ctx, 0)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	next := 0
	for range min(n, limit) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= n || first != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := task(ctx, i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
						cancel(err)
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}
