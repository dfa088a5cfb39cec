// Package http reads HTTP/1.0 and 1.1 (RFC 9110, RFC 9112) from both sides of a conversation: it
// pairs requests with responses, finds bodies, undoes their codings, and goes on after holes.
package http

import (
	"context"
	"crypto/sha256"
	"hash"
	"slices"
	"sync"

	"ntpac"
)

// Snooper reads HTTP/1.x.
type Snooper struct{ readers sync.Pool }

var _ ntpac.Snooper = (*Snooper)(nil)

// New makes the snooper.
func New() *Snooper { return &Snooper{} }

// Info describes the snooper.
func (*Snooper) Info() ntpac.SnooperInfo {
	return ntpac.SnooperInfo{
		Name: "http", Version: 1, Protos: []ntpac.Proto{ntpac.TCP},
		Ports: []uint16{80, 8080, 8000, 8008, 8081, 8088, 8888, 3128, 591},
		Types: []string{"http", "file", "credential"},
		Holes: "A hole in a body leaves the rest of it in place; a hole in a head or in chunk framing costs that message, and reading goes on at the next start line.",
	}
}

// Snoop reads the whole dialog.
func (sn *Snooper) Snoop(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	r, _ := sn.readers.Get().(*reader)
	if r == nil {
		r = &reader{decSum: sha256.New(), body: bodyReader{sum: sha256.New()}}
	}
	r.begin(d, emit)
	err := r.run(ctx)
	r.end()
	sn.readers.Put(r)
	return err
}

// maxPending bounds the requests that wait for their responses, and the responses that wait for the
// end to be counted.
const maxPending = 1024

// reader reads one dialog.
type reader struct {
	d         *ntpac.Dialog
	emit      ntpac.Emitter
	pending   []*message // requests without a response so far, oldest first
	deferred  []*message // responses whose requests only the end can tell
	free      []*message
	loose     bool // messages were lost: which request a response belongs to must be found by time
	pipelined bool // the client sends requests before earlier ones are answered
	done      [2]bool

	body   bodyReader
	decSum hash.Hash
	head   []byte // the first decoded bytes
	buf    [32 << 10]byte
}

func (r *reader) begin(d *ntpac.Dialog, emit ntpac.Emitter) {
	r.d, r.emit = d, emit
	r.loose, r.pipelined, r.done = !d.Up.HeadKnown() || !d.Down.HeadKnown(), false, [2]bool{}
}

// end lets go of everything that belongs to the dialog.
func (r *reader) end() {
	clear(r.pending)
	clear(r.deferred)
	r.d, r.emit, r.pending, r.deferred = nil, nil, r.pending[:0], r.deferred[:0]
	r.body = bodyReader{sum: r.body.sum, head: r.body.head[:0]}
}

func (r *reader) run(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := r.choose()
		switch {
		case s == nil:
			r.finish()
			return r.d.Err()
		case s.Dir == ntpac.Up:
			r.request(s)
		default:
			r.response(s)
		}
	}
}

// ended reports whether nothing more is to be read of a direction.
func (r *reader) ended(dir ntpac.Dir) bool { return r.done[dir] || r.d.In(dir).EOF() }

// choose gives the stream to read next. While nothing is lost, responses answer requests in their
// order whatever the clocks say, so a request is read first; else the order of capture decides.
func (r *reader) choose() *ntpac.Stream {
	up, down := r.ended(ntpac.Up), r.ended(ntpac.Down)
	switch {
	case up && down:
		return nil
	case up:
		return r.d.Down
	case down:
		return r.d.Up
	case !r.loose && r.mayLeave() || len(r.pending) >= maxPending:
		return r.d.Down
	case !r.loose && len(r.pending) == 0 && r.d.Up.Gap() == 0:
		return r.d.Up
	}
	return r.d.Next()
}

// mayLeave reports whether the answer to the newest request decides that the connection is HTTP no
// longer: nothing more of the client can be read before it.
func (r *reader) mayLeave() bool {
	if len(r.pending) == 0 {
		return false
	}
	m := r.pending[len(r.pending)-1]
	return m.method == "CONNECT" || m.fields.upgrade != ""
}

// lost notes that any number of messages may be missing here.
func (r *reader) lost() { r.loose = true }

func (r *reader) message(s *ntpac.Stream) *message {
	var m *message
	if k := len(r.free); k > 0 {
		m, r.free = r.free[k-1], r.free[:k-1]
	} else {
		m = &message{}
	}
	*m = message{start: s.Off(), order: s.Order(s.Off()), time: s.Time(s.Off())}
	return m
}

// drop gives a message back for reuse.
func (r *reader) drop(m *message) {
	if m != nil && len(r.free) < 64 {
		r.free = append(r.free, m)
	}
}

// open reads the head of the next message; nil where there is none here: the cursor moved on. body
// says that the body follows.
func (r *reader) open(s *ntpac.Stream) (m *message, body bool) {
	if s.Gap() > 0 {
		r.lost()
		s.SkipGap()
		return r.openTail(s)
	}
	if s.Off() == 0 && !s.HeadKnown() && !starts(s) {
		return r.openTail(s)
	}
	skipBlank(s)
	if s.EOF() || s.Gap() > 0 {
		return nil, false
	}
	if !starts(s) {
		return r.astray(s)
	}
	m = r.message(s)
	if readHead(s, m) {
		return m, true
	}
	if g := s.Gap(); g > 0 {
		return m, r.bridge(s, m)
	}
	r.astray(s)
	return m, false
}

// maxLoss is the longest hole that a head may reach over. It is the limit of the ICDF2C 2015 rules:
// more than two segments of any Ethernet.
const maxLoss = 4 << 10

// bridge moves over the hole in a head, and reads the head's rest where it is to be seen.
func (r *reader) bridge(s *ntpac.Stream, m *message) (body bool) {
	r.lost()
	g := s.SkipGap()
	if g <= maxLoss && readTail(s, m) {
		return true
	}
	seek(s)
	return false
}

// openTail reads a message whose start line is in the hole before the cursor, if the end of its head
// is to be seen; else it looks for the next start line.
func (r *reader) openTail(s *ntpac.Stream) (*message, bool) {
	if s.EOF() || starts(s) {
		return nil, false
	}
	m := r.message(s)
	if readTail(s, m) {
		m.cutHead("the start line is missing")
		return m, true
	}
	r.drop(m)
	seek(s)
	return nil, false
}

// astray moves from bytes that are no message to the next that are.
func (r *reader) astray(s *ntpac.Stream) (*message, bool) {
	if last := r.newest(); s.Dir == ntpac.Up && last != nil && last.method == "CONNECT" {
		r.done[ntpac.Up] = true // a tunnel, whose answer is not to be seen
		return nil, false
	}
	seek(s)
	return nil, false
}

func (r *reader) newest() *message {
	if k := len(r.pending); k > 0 {
		return r.pending[k-1]
	}
	return nil
}

// request reads the next request.
func (r *reader) request(s *ntpac.Stream) {
	m, body := r.open(s)
	if m == nil {
		return
	}
	if body {
		r.requestBody(s, m)
	}
	if !r.loose && len(r.pending) > 0 && !r.ended(ntpac.Down) && r.d.Down.Gap() == 0 {
		r.pipelined = true
	}
	r.pending = append(r.pending, m)
	if r.ended(ntpac.Down) && len(r.deferred) == 0 && !r.mayLeave() || len(r.pending) > maxPending {
		r.unanswered(0)
	}
}

func (r *reader) requestBody(s *ntpac.Stream, m *message) {
	f, n := m.requestFraming(s)
	if f == noBody || m.expects() && (starts(s) || s.EOF()) {
		return
	}
	r.readBody(s, m, f, n, m.codings())
	if r.body.lost {
		r.lostIn(s)
	}
}

// lostIn goes on behind a body whose framing was lost.
func (r *reader) lostIn(s *ntpac.Stream) {
	if s.Gap() > 0 {
		return // open reads on behind the hole
	}
	seek(s)
}

// response reads the next response and answers the request to which it belongs.
func (r *reader) response(s *ntpac.Stream) {
	m, body := r.open(s)
	if m == nil {
		return
	}
	req := r.match(m)
	if m.status >= 100 && m.status < 200 && m.status != 101 {
		if req != nil {
			req.interim = append(req.interim, m.status)
		}
		r.drop(m)
		return
	}
	switch {
	case m.status == 101, m.tunnels(req):
		r.done = [2]bool{true, true}
	case body:
		if f, n := m.responseFraming(s, req); f != noBody {
			r.readBody(s, m, f, n, m.codings())
			if r.body.lost {
				r.lostIn(s)
			} else if f == byClose && !r.closed() {
				m.quality = worse(m.quality, ntpac.Guessed)
			}
		}
	}
	r.answer(req, m)
}

// closed reports whether the end of the stream is known to be the end of what was sent.
func (r *reader) closed() bool {
	c := r.d.Conv.Close
	return c == ntpac.CloseFin || c == ntpac.CloseRst
}

// match finds the request that a response answers: the oldest one, as long as nothing was lost. After
// a loss it is the newest one that was sent before the response came: a client that does not pipeline
// has had the answers to all before it. With pipelining only the end can tell.
func (r *reader) match(m *message) *message {
	if !r.loose {
		if len(r.pending) > 0 {
			return r.pending[0]
		}
		return nil
	}
	if r.pipelined {
		return nil
	}
	k := len(r.pending)
	for k > 0 && r.pending[k-1].order >= m.order {
		k--
	}
	if k == 0 {
		return nil
	}
	for ; k > 1; k-- {
		r.unanswered(0)
	}
	return r.pending[0]
}

// answer emits an exchange whose response was read.
func (r *reader) answer(req, m *message) {
	switch {
	case req != nil:
		r.pending = slices.Delete(r.pending, 0, 1)
		r.exchange(req, m, ntpac.Complete)
		r.loose = r.loose && len(r.pending) > 0
	case r.loose && r.pipelined:
		if len(r.deferred) == maxPending {
			r.exchange(nil, r.deferred[0], ntpac.Gapped)
			r.deferred = slices.Delete(r.deferred, 0, 1)
		}
		r.deferred = append(r.deferred, m)
	default:
		r.exchange(nil, m, r.alone(ntpac.Up))
	}
}

// alone is the quality of a message whose counterpart, of the direction, was not found: it is complete
// only where there surely was none.
func (r *reader) alone(dir ntpac.Dir) ntpac.Quality {
	if r.loose || r.d.In(dir).Gap() > 0 || r.d.Conv.In(dir).Packets == 0 {
		return ntpac.Gapped
	}
	return ntpac.Complete
}

// unanswered emits the i-th pending request alone.
func (r *reader) unanswered(i int) {
	m := r.pending[i]
	r.pending = slices.Delete(r.pending, i, i+1)
	r.exchange(m, nil, r.alone(ntpac.Down))
}

// finish pairs what waited for the end. Responses that were counted from the end backwards are a
// guess: the server may have left the last requests unanswered.
func (r *reader) finish() {
	for len(r.deferred) > 0 {
		m := r.deferred[0]
		skip := len(r.pending) - len(r.deferred)
		for ; skip > 0; skip-- {
			r.unanswered(0)
		}
		if skip < 0 || r.pending[0].order > m.order {
			r.exchange(nil, m, ntpac.Gapped)
		} else {
			req := r.pending[0]
			r.pending = slices.Delete(r.pending, 0, 1)
			r.exchange(req, m, ntpac.Guessed)
		}
		r.deferred = slices.Delete(r.deferred, 0, 1)
	}
	for len(r.pending) > 0 {
		r.unanswered(0)
	}
}
