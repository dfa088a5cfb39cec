package actor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/thejerf/suture/v4"
)

// System runs and supervises the actors of one process. Each has an address ("shard/3"). An actor that
// ends without an error is done; one that fails or panics is restarted if its state can be made again,
// else the failure ends the whole system: what it had stored stays, and running again is harmless.
type System struct {
	sup  *suture.Supervisor
	stop context.CancelCauseFunc
	done chan error
	wg   sync.WaitGroup
	mu   sync.Mutex
	fail error
}

// Policy says what is to be done when an actor fails.
type Policy uint8

// The policies.
const (
	Escalate Policy = iota // its private state is lost: end the system with the error
	Restart                // it has no state worth keeping: start it again, with back-off
)

// NewSystem starts a supervisor. The context it gives to actors ends when the system fails or ctx ends.
func NewSystem(ctx context.Context, name string) *System {
	ctx, stop := context.WithCancelCause(ctx)
	s := &System{stop: stop, done: make(chan error, 1)}
	s.sup = suture.New(name, suture.Spec{EventHook: func(suture.Event) {}})
	go func() { s.done <- s.sup.Serve(ctx) }()
	return s
}

type service struct {
	sys     *System
	address string
	policy  Policy
	run     func(ctx context.Context) error
	once    sync.Once
}

// Serve runs the actor once, as suture asks.
func (v *service) Serve(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("actor %s panicked: %v\n%s", v.address, p, debug.Stack())
		}
		if err != nil && v.policy == Restart && ctx.Err() == nil {
			return
		}
		if err != nil {
			v.sys.failed(fmt.Errorf("%s: %w", v.address, err))
		}
		v.once.Do(v.sys.wg.Done)
		err = suture.ErrDoNotRestart
	}()
	return v.run(ctx)
}

// String is the actor's address.
func (v *service) String() string { return v.address }

// Spawn starts an actor.
func (s *System) Spawn(address string, p Policy, run func(ctx context.Context) error) {
	s.wg.Add(1)
	s.sup.Add(&service{sys: s, address: address, policy: p, run: run})
}

func (s *System) failed(err error) {
	s.mu.Lock()
	if s.fail == nil {
		s.fail = err
	}
	s.mu.Unlock()
	s.stop(err)
}

// Wait waits until every actor has ended and gives the first failure.
func (s *System) Wait() error {
	ended := make(chan struct{})
	go func() { s.wg.Wait(); close(ended) }()
	select {
	case <-ended:
		s.stop(nil)
		<-s.done
	case <-s.done: // the system failed; an actor that waited to be restarted will not be
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil && errors.Is(s.fail, context.Canceled) {
		return context.Canceled
	}
	return s.fail
}
