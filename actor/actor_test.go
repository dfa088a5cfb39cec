package actor_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

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

func TestSystem(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		run  func(s *actor.System)
		want string
	}{
		{"all done", func(s *actor.System) {
			for range 3 {
				s.Spawn("a", actor.Escalate, func(context.Context) error { return nil })
			}
		}, ""},
		{"failure ends all", func(s *actor.System) {
			s.Spawn("waits", actor.Escalate, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
			s.Spawn("fails", actor.Escalate, func(context.Context) error { return boom })
		}, "fails: boom"},
		{"panic is a failure", func(s *actor.System) {
			s.Spawn("shard/7", actor.Escalate, func(context.Context) error { panic("ouch") })
		}, "shard/7: actor shard/7 panicked: ouch"},
		{"restart", func(s *actor.System) {
			var n atomic.Int32
			s.Spawn("again", actor.Restart, func(context.Context) error {
				if n.Add(1) < 3 {
					return boom
				}
				return nil
			})
		}, ""},
		{"a failure while another waits to be restarted", func(s *actor.System) {
			s.Spawn("again", actor.Restart, func(context.Context) error { return boom })
			s.Spawn("fails", actor.Escalate, func(context.Context) error { return boom })
		}, "fails: boom"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := actor.NewSystem(t.Context(), "test")
			c.run(s)
			err := s.Wait()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}
