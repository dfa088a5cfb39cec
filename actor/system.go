package actor

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/thejerf/suture/v4"
)

// System runs and supervises the actors of one process. Each has an address ("shard/3"). An actor that
// ends without an error is done; one that fails or panics is restarted if its state can be made again,
// else the failure ends the whole system: what it had stored stays, and running again is harmless.
type System struct {
	sup    *suture.Supervisor
	outer  context.Context // whoever started the system may end it by this
	stop   context.CancelCauseFunc
	served <-chan error

	mu    sync.Mutex
	alive int
	none  chan struct{} // closed when no actor is alive any more; nil while nobody waits
	fail  error
}

// Policy says what is to be done when an actor fails.
type Policy uint8

// The policies.
const (
	Escalate Policy = iota // its private state is lost: end the system with the error
	Restart                // it has no state worth keeping: start it again, with back-off
)

// patience is how long actors may take to end when the system ends. Whoever does not even then is left
// behind: a snooper that calculates for ever must not keep the process.
const patience = 5 * time.Second

// NewSystem starts a supervisor. The context it gives to actors ends when the system fails or ctx ends.
func NewSystem(ctx context.Context, name string) *System {
	inner, stop := context.WithCancelCause(ctx)
	s := &System{outer: ctx, stop: stop}
	s.sup = suture.New(name, suture.Spec{Timeout: patience, EventHook: func(suture.Event) {}})
	s.served = s.sup.ServeBackground(inner)
	return s
}

type service struct {
	sys     *System
	address string
	policy  Policy
	run     func(ctx context.Context) error
}

// Serve runs the actor once, as suture asks.
func (v *service) Serve(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p, debug.Stack())
		}
		if err != nil && v.policy == Restart && ctx.Err() == nil {
			return
		}
		v.sys.ended(v.address, err)
		err = suture.ErrDoNotRestart
	}()
	return v.run(ctx)
}

// panicked makes an error of a panic: one line with its place. A panic with an error wraps that.
func panicked(p any, stack []byte) error {
	verb := "%v"
	if _, ok := p.(error); ok {
		verb = "%w"
	}
	return fmt.Errorf("panicked at %s: "+verb, place(stack), p)
}

// place is where a stack trace says that a panic began: file and line without folders.
func place(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i := len(lines) - 1; i >= 0; i-- { // of a panic within a panic, the first one
		if !strings.HasPrefix(lines[i], "panic(") {
			continue
		}
		for _, l := range lines[i+2:] {
			at, _, _ := strings.Cut(strings.TrimSpace(l), " ")
			if strings.HasPrefix(l, "\t") && !strings.Contains(at, "/runtime/") {
				return at[strings.LastIndexByte(at, '/')+1:]
			}
		}
	}
	return "an unknown place"
}

// String is the actor's address.
func (v *service) String() string { return v.address }

// Spawn starts an actor. Whoever calls it is an actor of the system itself, or has not called Wait yet.
func (s *System) Spawn(address string, p Policy, run func(ctx context.Context) error) {
	s.mu.Lock()
	s.alive++
	s.mu.Unlock()
	s.sup.Add(&service{sys: s, address: address, policy: p, run: run})
}

// ended notes that an actor has ended for good. Its failure ends the system.
func (s *System) ended(address string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.fail == nil {
		s.fail = fmt.Errorf("%s: %w", address, err)
		if s.outer.Err() != nil { // what fails now fails for that
			s.fail = context.Cause(s.outer)
		}
		s.stop(s.fail)
	}
	if s.alive--; s.alive == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
}

// Wait waits until every actor has ended and gives the first failure, with the actor's address; or,
// when the system's context was ended from outside, the cause of that. It never waits much longer than
// actors may take to end, and then says which ones did not.
func (s *System) Wait() error {
	s.mu.Lock()
	none := make(chan struct{})
	if s.alive == 0 {
		close(none)
	} else {
		s.none = none
	}
	s.mu.Unlock()
	whole := true
	select {
	case <-none:
		s.stop(nil)
		<-s.served
	case <-s.served:
		select {
		case <-none:
		default:
			whole = false // some wait to be started again, and will not be; or they hang
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.fail
	if err == nil && !whole {
		err = context.Cause(s.outer)
	}
	if report, _ := s.sup.UnstoppedServiceReport(); len(report) > 0 && err != nil {
		var names []string
		for _, u := range report {
			names = append(names, u.Name)
		}
		err = fmt.Errorf("%w (still running: %s)", err, strings.Join(names, ", "))
	}
	return err
}
