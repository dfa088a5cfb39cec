package main

import (
	"context"
	"errors"
	"iter"
	"sync"

	"ntpac"
	"ntpac/artifact"
	"ntpac/snoop"
)

// snooping reads stored conversations, several at once, and stores what is found in them.
type snooping struct {
	reg     *snoop.Registry
	workers int

	mu            sync.Mutex
	conversations int64
	recognised    int64
	artifacts     map[string]int64
	again         []announced // what turned out to be expected after it was read
}

// announced is a conversation and what another one says of it.
type announced struct {
	c *ntpac.Conversation
	e *ntpac.Expectation
}

func newSnooping(only []string, workers int) (*snooping, error) {
	s := &snooping{reg: snoop.NewRegistry(engine.snoopers()), workers: workers, artifacts: map[string]int64{}}
	if len(only) == 0 {
		return s, nil
	}
	reg, err := s.reg.Only(only...)
	s.reg = reg
	return s, err
}

// run reads all the conversations. Those that others announce while that goes on are read once more,
// with the announcement: which of the two is read first makes no difference.
func (s *snooping) run(ctx context.Context, st ntpac.Store, cs string, all iter.Seq2[*ntpac.Conversation, error]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan announced)
	var wg sync.WaitGroup
	for range s.workers {
		wg.Go(func() {
			for t := range work {
				if err := s.one(ctx, st, cs, t); err != nil {
					cancel(err)
				}
			}
		})
	}
	give := func(t announced) bool {
		select {
		case work <- t:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var failed error
	for c, err := range all {
		if err != nil {
			failed = err
			break
		}
		if !give(announced{c: c}) {
			break
		}
	}
	close(work)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for len(s.again) > 0 && failed == nil {
		t := s.again[0]
		s.again = s.again[1:]
		failed = s.one(ctx, st, cs, t)
	}
	return failed
}

func (s *snooping) one(ctx context.Context, st ntpac.Store, cs string, t announced) error {
	if t.e == nil {
		es, err := st.Expected(ctx, t.c)
		if err != nil {
			return err
		}
		t.e = latest(es, t.c)
	}
	commit := func(g *ntpac.Generation) error {
		return st.Commit(ctx, &ntpac.Commit{Case: cs, Generations: []*ntpac.Generation{g}})
	}
	found := map[string]int64{}
	parts := func(g *ntpac.Generation) error {
		for _, a := range g.Artifacts {
			found[a.Type]++
		}
		return commit(g)
	}
	d := ntpac.NewDialog(t.c, artifact.StorePayload(ctx, st, cs, t.c.ID))
	g := snoop.Run(ctx, s.reg, d, snoop.Options{Expected: t.e, Part: parts})
	if err := errors.Join(context.Cause(ctx), d.Err()); err != nil {
		return err
	}
	if err := parts(g); err != nil {
		return err
	}
	var more []announced
	for i := range g.Expectations {
		cs, err := st.Announced(ctx, &g.Expectations[i])
		if err != nil {
			return err
		}
		for _, c := range cs {
			more = append(more, announced{c, &g.Expectations[i]})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conversations++
	if g.Snooper != "" {
		s.recognised++
	}
	for typ, n := range found {
		s.artifacts[typ] += n
	}
	s.again = append(s.again, more...)
	return nil
}

// latest picks of several announcements of a conversation the one that counts: the last before it,
// for ports are used again.
func latest(es []ntpac.Expectation, c *ntpac.Conversation) (best *ntpac.Expectation) {
	for i := range es {
		e := &es[i]
		switch {
		case !e.Matches(c):
		case best == nil || e.Start > best.Start:
			best = e
		case e.Start == best.Start && e.Origin.Compare(best.Origin) < 0:
			best = e
		}
	}
	return best
}
