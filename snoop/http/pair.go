package http

import (
	"slices"

	"ntpac"
)

// match finds the request that a response answers, and says how sure that is: the oldest one, as long
// as nothing was lost. After a loss it is the newest one that was sent before the response came: a
// client that does not pipeline has had the answers to all before it. With pipelining only the end can
// tell.
func (r *reader) match(m *message) (*message, ntpac.Quality) {
	hole := r.hole[ntpac.Down]
	r.hole[ntpac.Down] = false
	if !r.loose() {
		if len(r.pending) > 0 {
			return r.pending[0], ntpac.Complete
		}
		return nil, ntpac.Complete
	}
	// Nothing that the server said is lost since the oldest request: the client did not wait for its answer.
	r.pipelined = r.pipelined || len(r.pending) > 1 && r.pending[0].breaks == r.breaks
	if r.pipelined {
		return nil, ntpac.Guessed
	}
	k := len(r.pending)
	for k > 0 && r.pending[k-1].order >= m.order {
		k--
	}
	if k == 0 || m.status == 408 { // which servers also say unasked
		return nil, ntpac.Complete
	}
	sure := ntpac.Complete
	switch {
	case hole && (r.d.Up.Gap() > 0 || r.hole[ntpac.Up]):
		// The answer may have been in the hole, and this one is to a request that is in the hole of the
		// other direction.
		sure, r.orphan = ntpac.Gapped, true
	case k == 1 && hole && !r.lost[ntpac.Up] && !r.midstream:
		r.pending[0].interimQuality = ntpac.Gapped // what was in the hole answered this request too
	}
	for ; k > 1; k-- {
		r.unanswered(ntpac.Gapped)
	}
	return r.pending[0], sure
}

// answer emits an exchange whose response was read.
func (r *reader) answer(req, m *message, sure ntpac.Quality) {
	switch {
	case req != nil:
		r.exchange(r.pop(&r.pending), m, sure)
		if len(r.pending) == 0 {
			r.lost, r.midstream = [2]bool{}, false
		}
	case r.loose() && r.pipelined:
		for len(r.deferred) > 0 && (len(r.deferred) >= maxPending || r.held > maxHeld) {
			r.exchange(nil, r.pop(&r.deferred), ntpac.Gapped)
		}
		r.deferred = append(r.deferred, m)
		r.held += len(m.text)
	default:
		r.hole[ntpac.Up], r.orphan = false, true
		r.exchange(nil, m, ntpac.Gapped) // servers hardly ever speak unasked
	}
}

// unanswered emits the oldest pending request alone.
func (r *reader) unanswered(q ntpac.Quality) {
	r.exchange(r.pop(&r.pending), nil, q)
}

// pop takes the oldest of the messages that wait.
func (r *reader) pop(from *[]*message) *message {
	m := (*from)[0]
	*from = slices.Delete(*from, 0, 1)
	r.held -= len(m.text)
	return m
}

// full reports whether no more requests may wait.
func (r *reader) full() bool {
	return len(r.pending) >= maxPending || r.held > maxHeld && len(r.pending) > 0
}

// silence is the quality of a request that has no answer in the end: complete only where there surely
// was none.
func (r *reader) silence() ntpac.Quality {
	if r.midstream || r.lost[ntpac.Down] || !r.closed() || r.d.Down.Gap() > 0 || r.d.Conv.In(ntpac.Down).Packets == 0 {
		return ntpac.Gapped
	}
	return ntpac.Complete
}

// finish pairs what waited for the end. Responses that were counted from the end backwards are a
// guess: the server may have left the last requests unanswered.
func (r *reader) finish() {
	for len(r.deferred) > 0 {
		m := r.deferred[0]
		skip := len(r.pending) - len(r.deferred)
		for ; skip > 0; skip-- {
			r.unanswered(ntpac.Gapped)
		}
		if skip < 0 || r.pending[0].order > m.order {
			r.exchange(nil, r.pop(&r.deferred), ntpac.Gapped)
		} else {
			r.exchange(r.pop(&r.pending), r.pop(&r.deferred), ntpac.Guessed)
		}
	}
	for len(r.pending) > 0 {
		r.unanswered(r.silence())
	}
}
