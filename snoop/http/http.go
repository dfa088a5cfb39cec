// Package http reads HTTP/1.0 and 1.1 (RFC 9110, RFC 9112) from both sides of a conversation: it
// pairs requests with responses, finds bodies, undoes their codings, and goes on after holes.
package http

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
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
		Name: "http", Version: 2, Protos: []ntpac.Proto{ntpac.TCP, ntpac.UDP},
		Ports: []uint16{80, 8080, 8000, 8008, 8081, 8088, 8888, 3128, 591, 1900},
		Types: []string{"http", "file", "credential", "tls"},
		Holes: "A hole in a body leaves the rest of it in place; a hole in a head or in chunk framing costs that message, and reading goes on at the next start line.",
	}
}

// Snoop reads the whole dialog.
func (sn *Snooper) Snoop(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	if d.Conv.Key.Proto == ntpac.UDP {
		return datagrams(ctx, d, emit)
	}
	if turned(d) {
		d, emit = turn(d, emit)
	}
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

// Limits of the requests that wait for their responses, and of the responses that wait for the end to
// be counted.
const (
	maxPending = 1024
	maxHeld    = 4 << 20 // bytes of heads
)

// reader reads one dialog.
type reader struct {
	d         *ntpac.Dialog
	emit      ntpac.Emitter
	pending   []*message // requests without a response so far, oldest first
	deferred  []*message // responses whose requests only the end can tell
	held      int        // bytes of heads in both
	free      []*message
	pipelined bool // the client sends requests before earlier ones are answered
	midstream bool // the beginning is not known, and no exchange was read yet

	// By direction.
	lost  [2]bool // messages were lost, and which request a response belongs to must be found by time
	hole  [2]bool // a hole came between two messages, and no counterpart has yet shown what was in it
	done  [2]bool // what follows is not HTTP
	begun [2]bool // a head that is not known was dealt with
	whole [2]bool // the last message was followed to its end

	answered int64 // where the last response ended
	breaks   int   // how often something that the server said was lost
	asked    bool  // over is set:
	over     bool  // the end of the server's stream is known

	orphan bool // since the last request, a response came whose request is not known

	body   bodyReader
	decSum hash.Hash
	head   []byte // the first decoded bytes
	buf    [32 << 10]byte
}

func (r *reader) begin(d *ntpac.Dialog, emit ntpac.Emitter) {
	r.d, r.emit = d, emit
	r.answered, r.breaks, r.asked = 0, 0, false
	r.pipelined, r.orphan, r.midstream = false, false, !d.Up.HeadKnown() || !d.Down.HeadKnown()
	r.lost, r.hole, r.done, r.begun, r.whole = [2]bool{}, [2]bool{}, [2]bool{}, [2]bool{}, [2]bool{true, true}
}

// end lets go of everything that belongs to the dialog.
func (r *reader) end() {
	clear(r.pending)
	clear(r.deferred)
	r.d, r.emit, r.held, r.pending, r.deferred = nil, nil, 0, r.pending[:0], r.deferred[:0]
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
	case !r.loose() && r.mayLeave() || r.full():
		return r.d.Down
	case !r.loose() && len(r.pending) == 0 && r.d.Up.Gap() == 0:
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

// loose reports whether responses cannot simply be counted.
func (r *reader) loose() bool { return r.midstream || r.lost[ntpac.Up] || r.lost[ntpac.Down] }

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
		r.lose(s.Dir)
		r.hole[s.Dir] = r.whole[s.Dir] && !(s.Dir == ntpac.Up && r.orphan)
		s.SkipGap()
		return r.openTail(s)
	}
	if !s.HeadKnown() && !r.begun[s.Dir] {
		r.begun[s.Dir] = true
		r.hole[ntpac.Down] = r.hole[ntpac.Down] || s.Dir == ntpac.Down // answers may have come before
		if !starts(s) {
			r.lose(s.Dir)
			return r.openTail(s)
		}
	}
	if skipBlank(s) {
		return nil, false // what follows may have come much later
	}
	odd := !starts(s)
	if odd && !malformed(s) {
		return r.astray(s)
	}
	m = r.message(s)
	r.whole[s.Dir] = true
	switch {
	case odd && readSimple(s, m):
		return m, false
	case odd:
		m.fail("malformed request line")
	}
	if readHead(s, m) {
		return m, true
	}
	if g := s.Gap(); g > 0 {
		return m, r.bridge(s, m)
	}
	seek(s, false)
	return m, false
}

// maxLoss is the longest hole that a head may reach over. It is the limit of the ICDF2C 2015 rules:
// more than two segments of any Ethernet.
const maxLoss = 4 << 10

// bridge moves over the hole in a head, and reads the head's rest where it is to be seen.
func (r *reader) bridge(s *ntpac.Stream, m *message) (body bool) {
	r.lose(s.Dir)
	g := s.SkipGap()
	if g <= maxLoss && readTail(s, m) {
		return true
	}
	r.whole[s.Dir] = false
	seek(s, false)
	return false
}

// openTail reads a message whose start line is not to be seen before the cursor, if the end of its head
// is; else it looks for the next start line.
func (r *reader) openTail(s *ntpac.Stream) (*message, bool) {
	if s.EOF() {
		return nil, false
	}
	m := r.message(s)
	if readTail(s, m) {
		m.cutHead("the start line is missing")
		r.hole[s.Dir], r.whole[s.Dir] = false, true
		return m, true
	}
	r.drop(m)
	seek(s, false)
	return nil, false
}

// astray moves from bytes that are no message, though no hole explains them, to the next that are. They
// give an artifact that says so. But bytes that are the first answer to a request are one of HTTP/0.9.
func (r *reader) astray(s *ntpac.Stream) (*message, bool) {
	if last := r.newest(); s.Dir == ntpac.Up && last != nil && last.method == "CONNECT" {
		r.done[ntpac.Up] = true // a tunnel, whose answer is not to be seen
		r.tunnel()
		return nil, false
	}
	m := r.message(s)
	if s.Dir == ntpac.Down && s.Off() == 0 && len(r.pending) > 0 && r.pending[0].line && !r.loose() {
		if r.pending[0].version != "HTTP/0.9" {
			m.fail("no status line")
			m.quality = ntpac.Guessed // that it is an answer at all
		}
		m.headEnd = m.start
		m.line, m.version = true, "HTTP/0.9"
		return m, true
	}
	seek(s, false)
	m.headEnd, m.end = s.Off(), s.Off()
	m.fail(fmt.Sprintf("%d bytes that belong to no message", m.end-m.start))
	m.quality = ntpac.Guessed
	switch {
	case s.Dir == ntpac.Up && m.start == 0 && s.EOF() && !r.loose():
		return m, false // all that the client said: what comes back answers it
	case s.Dir == ntpac.Up:
		r.exchange(m, nil, ntpac.Complete)
	default:
		r.exchange(nil, m, ntpac.Complete)
	}
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
	if !r.lost[ntpac.Down] && !r.ended(ntpac.Down) && r.d.Down.Gap() == 0 && (len(r.pending) > 0 || r.hole[ntpac.Up]) {
		// An earlier request is not answered yet: one that waits, or one in the hole before this one.
		r.pipelined = true
	}
	r.hole[ntpac.Up], r.orphan = false, false
	m.breaks = r.breaks
	r.pending = append(r.pending, m)
	r.held += len(m.text)
	if r.ended(ntpac.Down) && len(r.deferred) == 0 && !r.mayLeave() || r.full() && r.ended(ntpac.Down) {
		r.unanswered(r.silence())
	}
}

func (r *reader) requestBody(s *ntpac.Stream, m *message) {
	f, n := m.requestFraming(s)
	if f == noBody || m.expects() && (starts(s) || s.EOF() || r.refused(s)) {
		return
	}
	r.readBody(s, m, f, n, m.codings())
	r.lostIn(s)
}

// refused reports whether a final answer came before the body that begins at the cursor could.
func (r *reader) refused(s *ntpac.Stream) bool {
	down := r.d.Down
	_, status, _, ok := statusLine(down.Peek(len("HTTP/1.1 200")))
	return ok && status >= 200 && len(r.pending) == 0 && !r.loose() && (s.Off()+s.Gap() == s.End() || down.Order(down.Off()) < s.Order(s.Off()))
}

// lostIn goes on behind a body whose framing was lost; behind a hole, open does.
func (r *reader) lostIn(s *ntpac.Stream) {
	if !r.body.lost {
		return
	}
	r.whole[s.Dir] = false
	r.broken(s.Dir)
	if s.Gap() == 0 {
		seek(s, false)
	}
}

// lose notes that messages of a direction may be lost.
func (r *reader) lose(dir ntpac.Dir) {
	r.lost[dir] = true
	r.broken(dir)
}

// broken notes that a direction could not be followed from one message to the next.
func (r *reader) broken(dir ntpac.Dir) {
	if dir == ntpac.Down {
		r.breaks++
	}
}

// response reads the next response and answers the request to which it belongs.
func (r *reader) response(s *ntpac.Stream) {
	m, body := r.open(s)
	if m == nil {
		return
	}
	req, sure := r.match(m)
	if m.status >= 100 && m.status < 200 && m.status != 101 {
		if req != nil {
			req.interim = append(req.interim, interim{m.status, ntpac.Span{Dir: ntpac.Down, Off: m.start, Len: m.end - m.start}})
			req.interimQuality = worse(req.interimQuality, worse(m.quality, sure))
		}
		r.drop(m)
		return
	}
	switch {
	case m.status == 101, m.tunnels(req):
		r.done = [2]bool{true, true}
	case body:
		r.responseBody(s, m, req)
	}
	if req != nil && r.loose() && m.end > m.start && s.Order(m.end-1) < req.order {
		req = nil // it had ended when the request was sent: its beginning was captured late
	}
	r.answer(req, m, sure)
	r.answered = s.Off()
	if r.done[ntpac.Up] {
		r.tunnel()
	}
}

func (r *reader) responseBody(s *ntpac.Stream, m, req *message) {
	f, n := m.responseFraming(s, req)
	if f == noBody {
		return
	}
	r.readBody(s, m, f, n, m.codings())
	r.lostIn(s)
	if f == byClose && !r.closed() {
		m.quality = worse(m.quality, ntpac.Guessed)
	}
}

// closed reports whether the end of the server's stream is known to be the end of what it sent.
func (r *reader) closed() bool {
	if !r.asked {
		c := r.d.Conv.Close
		r.asked, r.over = true, c == ntpac.CloseRst || c == ntpac.CloseFin && r.d.Ended(ntpac.Down)
	}
	return r.over
}
