package actor_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"ntpac/actor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMailboxBoundsAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		m := actor.NewMailbox[int](2)
		if m.Send(ctx, 1) != nil || m.Send(ctx, 2) != nil || m.Depth() != 2 {
			t.Fatal("two messages should fit")
		}
		sent := make(chan error, 1)
		go func() { sent <- m.Send(ctx, 3) }()
		synctest.Wait()
		if len(sent) != 0 {
			t.Fatal("a full mailbox took a third message")
		}
		if v, ok := m.Receive(ctx); v != 1 || !ok {
			t.Fatal("first in, first out")
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		why := errors.New("stop")
		go func() { sent <- m.Send(ctx, 4) }()
		synctest.Wait()
		cancel(why)
		if err := <-sent; err != why {
			t.Fatalf("a sender that waits gets the cause: %v", err)
		}
		m.Close()
		for want := 2; want <= 3; want++ {
			if v, ok, _ := m.Poll(); v != want || !ok {
				t.Fatal("a closed mailbox still gives what it has")
			}
		}
		if _, ok := m.Receive(t.Context()); ok {
			t.Fatal("an empty closed mailbox gives nothing")
		}
	})
}

func TestCreditIsFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := actor.NewCredit(10)
		ctx := t.Context()
		if err := c.Take(ctx, 8); err != nil {
			t.Fatal(err)
		}
		got := make(chan int, 3)
		for i, n := range []int64{6, 1, 100} { // 100 counts as all there is
			go func() {
				if c.Take(ctx, n) == nil {
					got <- i
				}
			}()
			synctest.Wait()
		}
		if len(got) != 0 {
			t.Fatal("the one byte must not overtake the six that wait before it")
		}
		c.Give(8)
		synctest.Wait()
		if len(got) != 2 || <-got+<-got != 1 || c.Used() != 7 {
			t.Fatalf("used %d", c.Used())
		}
		gone, cancel := context.WithCancel(ctx)
		left := make(chan error, 1)
		go func() { left <- c.Take(gone, 5) }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		c.Give(7)
		synctest.Wait()
		if <-got != 2 || c.Used() != 10 {
			t.Fatalf("used %d", c.Used())
		}
		c.Give(100)
		if c.Used() != 0 {
			t.Fatalf("used %d at the end", c.Used())
		}
	})
}

// TestCreditGoesOnWhenTheFirstLeaves lets the one that waits at the front give up: who waits behind it
// must not go on waiting for that.
func TestCreditGoesOnWhenTheFirstLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := actor.NewCredit(10)
		if err := c.Take(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		big, cancel := context.WithCancel(t.Context())
		results := make(chan error, 1)
		go func() { results <- c.Take(big, 6) }()
		synctest.Wait()
		small := make(chan error, 1)
		go func() { small <- c.Take(t.Context(), 2) }()
		synctest.Wait()
		cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := <-small; err != nil || c.Used() != 10 {
			t.Fatalf("%v, used %d", err, c.Used())
		}
	})
}

// TestCreditNeverExceedsItsTotal has many take and give, some more than there is, some giving up.
func TestCreditNeverExceedsItsTotal(t *testing.T) {
	c := actor.NewCredit(100)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				n := int64((g*31+i*17)%140 + 1)
				ctx, cancel := context.WithCancel(context.Background())
				if i%7 == 0 {
					cancel()
				}
				if c.Take(ctx, n) == nil {
					if u := c.Used(); u < min(n, 100) || u > 100 {
						t.Errorf("used %d with %d of it here", u, n)
					}
					c.Give(min(n, 100))
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if c.Used() != 0 || c.Total() != 100 {
		t.Fatalf("used %d of %d", c.Used(), c.Total())
	}
}

func TestSystem(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		run  func(s *actor.System)
		want string
		is   error
	}{
		{"nobody", func(*actor.System) {}, "", nil},
		{"all done", func(s *actor.System) {
			for range 3 {
				s.Spawn("a", actor.Escalate, func(context.Context) error { return nil })
			}
		}, "", nil},
		{"actors that begin others", func(s *actor.System) {
			s.Spawn("a", actor.Escalate, func(context.Context) error {
				s.Spawn("b", actor.Escalate, func(context.Context) error { return boom })
				return nil
			})
		}, "b: boom", boom},
		{"failure ends all", func(s *actor.System) {
			s.Spawn("waits", actor.Escalate, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
			s.Spawn("fails", actor.Escalate, func(context.Context) error { return boom })
		}, "fails: boom", boom},
		{"panic is a failure", func(s *actor.System) {
			s.Spawn("shard/7", actor.Escalate, func(context.Context) error { panic("ouch") })
		}, "shard/7: panicked at actor_test.go:", nil},
		{"a panic with an error is that error", func(s *actor.System) {
			s.Spawn("shard/7", actor.Escalate, func(context.Context) error { panic(boom) })
		}, "shard/7: panicked at actor_test.go:", boom},
		{"a panic of the runtime", func(s *actor.System) {
			s.Spawn("shard/7", actor.Escalate, func(context.Context) error { var p *int; *p = 1; return nil })
		}, "shard/7: panicked at actor_test.go:", nil},
		{"a failure while another is started again and again", func(s *actor.System) {
			s.Spawn("again", actor.Restart, func(context.Context) error { return boom })
			s.Spawn("fails", actor.Escalate, func(context.Context) error { return boom })
		}, "fails: boom", boom},
		{"begun too late", func(s *actor.System) {
			s.Spawn("late", actor.Escalate, func(ctx context.Context) error {
				<-ctx.Done()
				s.Spawn("too late", actor.Escalate, func(context.Context) error { return nil })
				return nil
			})
			s.Spawn("fails", actor.Escalate, func(context.Context) error { return boom })
		}, "fails: boom", boom},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := actor.NewSystem(t.Context(), "test")
			c.run(s)
			err := s.Wait()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if c.is != nil && !errors.Is(err, c.is) || err != nil && strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q", err)
			}
		})
	}
}

// TestRestart starts an actor that fails again: at once, and after some failures with a pause.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, n := time.Now(), 0
		s := actor.NewSystem(t.Context(), "test")
		s.Spawn("again", actor.Restart, func(context.Context) error {
			if n++; n == 3 {
				panic("once")
			}
			if n < 9 {
				return errors.New("boom")
			}
			return nil
		})
		if err := s.Wait(); err != nil || n != 9 {
			t.Fatalf("%v after %d", err, n)
		}
		if took := time.Since(begun); took < 5*time.Second || took > time.Minute {
			t.Fatalf("eight failures in a row took %v", took)
		}
	})
}

// TestEndWhileRestarting ends a system in the pause before an actor is started again.
func TestEndWhileRestarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		s := actor.NewSystem(ctx, "test")
		s.Spawn("again", actor.Restart, func(context.Context) error { return errors.New("boom") })
		synctest.Wait() // it is in its pause now
		cancel(stop)
		if err := s.Wait(); err != stop {
			t.Fatal(err)
		}
	})
}

// TestEndFromOutside gives the cause, whatever the actors make of it.
func TestEndFromOutside(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := actor.NewSystem(ctx, "test")
	s.Spawn("a", actor.Escalate, func(ctx context.Context) error { <-ctx.Done(); return errors.New("something was broken off") })
	s.Spawn("b", actor.Escalate, func(ctx context.Context) error { <-ctx.Done(); panic("and something else") })
	cancel(stop)
	if err := s.Wait(); err != stop {
		t.Fatal(err)
	}
}

// TestHangingActor leaves behind who does not end when the system does, and says who that is.
func TestHangingActor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom, free := errors.New("boom"), make(chan struct{})
		s := actor.NewSystem(t.Context(), "test")
		s.Spawn("snooper/3", actor.Escalate, func(context.Context) error { <-free; return nil })
		s.Spawn("fails", actor.Escalate, func(context.Context) error { return boom })
		if err := s.Wait(); !errors.Is(err, boom) || !strings.Contains(err.Error(), "still running: snooper/3") {
			t.Fatal(err)
		}
		close(free)
	})
}
