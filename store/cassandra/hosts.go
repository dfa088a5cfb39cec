package cassandra

import (
	"errors"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// shy chooses hosts as another policy does, but those last that did not answer lately. A host that is
// frozen keeps its connections, so the driver would go on asking it and wait for the time-out each time.
type shy struct {
	gocql.HostSelectionPolicy
	mu   sync.Mutex
	mute map[string]*muteness
}

// muteness is how long a host is passed over: twice as long each time it does not answer.
type muteness struct {
	until time.Time
	wait  time.Duration
}

const (
	firstMute = 15 * time.Second
	maxMute   = 2 * time.Minute
)

func newShy(p gocql.HostSelectionPolicy) *shy {
	return &shy{HostSelectionPolicy: p, mute: map[string]*muteness{}}
}

// Pick gives the hosts in their order, mute ones behind the others.
func (p *shy) Pick(statement gocql.ExecutableStatement) gocql.NextHost {
	next := p.HostSelectionPolicy.Pick(statement)
	p.mu.Lock()
	all := len(p.mute) == 0
	p.mu.Unlock()
	var last []gocql.SelectedHost
	return func() gocql.SelectedHost {
		for {
			h := next()
			if h == nil {
				break
			}
			if all || h.Info() == nil || !p.isMute(h.Info().HostID()) {
				return &watched{h, p}
			}
			last = append(last, h)
		}
		if len(last) == 0 {
			return nil
		}
		h := last[0]
		last = last[1:]
		return &watched{h, p}
	}
}

func (p *shy) isMute(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.mute[id]
	return m != nil && time.Now().Before(m.until)
}

// watched tells how a host did.
type watched struct {
	gocql.SelectedHost
	p *shy
}

// Mark is called with the outcome of each request.
func (w *watched) Mark(err error) {
	w.SelectedHost.Mark(err)
	if h := w.Info(); h != nil {
		w.p.mark(h.HostID(), err)
	}
}

func (p *shy) mark(id string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.mute[id]
	switch {
	case errors.Is(err, gocql.ErrTimeoutNoResponse):
		now := time.Now()
		if m == nil {
			m = &muteness{wait: firstMute / 2}
			p.mute[id] = m
		}
		if now.Before(m.until) { // asked at the same time as the others
			return
		}
		m.wait = min(2*m.wait, maxMute)
		m.until = now.Add(m.wait)
	case err == nil && m != nil:
		delete(p.mute, id)
	}
}
