package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"ntpac"
)

// Bounds of a link.
const (
	Window     = 32   // frames of one source that may be on the way, where the caller does not say
	maxSources = 4096 // of one link
)

// Credits come back in messages of this length: version, kind, count, source. See docs/format/frame.md.
const creditSize = 16

const kindCredit = 1

// ErrClosed is given for what cannot be sent any more.
var ErrClosed = errors.New("link closed")

// batched is how much credit a receiver gathers before it gives it back.
func batched(window int) int { return max(window/4, 1) }

// cost is how many credits a frame takes: one, or as many as it is longer than a buffer, but never more
// than there are while the receiver still gathers some.
func cost(size, window int) int { return min((size+FrameSize-1)/FrameSize, window-window/4) }

// Sender is the balancer's end of a link. The streams of its sources may be used by several goroutines.
type Sender struct {
	conn   net.Conn
	window int

	write sync.Mutex // held while a frame goes out
	parts net.Buffers
	two   [2][]byte

	mu      sync.Mutex
	streams map[ntpac.SourceID]*Stream
	dead    chan struct{}
	ending  bool  // Finish was called
	err     error // why it is dead
}

// NewSender makes a link over a connection, which it then owns. Both ends must be given the same window;
// 0 means Window.
func NewSender(conn net.Conn, window int) *Sender {
	if window <= 0 {
		window = Window
	}
	return &Sender{conn: conn, window: window, streams: map[ntpac.SourceID]*Stream{}, dead: make(chan struct{})}
}

// Finish says that nothing more will be sent; what was flushed reaches the receiver, who then sees
// io.EOF. The link ends when the receiver leaves, with nil from Credits. (Closing at once would not do:
// TCP drops what is on the way when the one who closes has credits unread.)
func (s *Sender) Finish() error {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok { // TCP and TLS
		return c.CloseWrite()
	}
	return s.Close()
}

// Close ends the link at once; frames may be lost that were flushed.
func (s *Sender) Close() error {
	s.fail(ErrClosed)
	return nil
}

func (s *Sender) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.dead)
		_ = s.conn.Close() // why it ends is known already
	}
	return s.err
}

// Credits takes what the receiver gives back, until the link ends: the caller has a goroutine for it. It
// returns nil when the link was closed here, or finished and then left by the receiver.
func (s *Sender) Credits() error {
	var m [creditSize]byte
	for {
		_, err := io.ReadFull(s.conn, m[:])
		if err == nil {
			err = s.credit(&m)
		}
		if err != nil {
			return s.left(err)
		}
	}
}

// left ends the link because nothing more can be read from it.
func (s *Sender) left(err error) error {
	s.mu.Lock()
	ending := s.ending
	s.mu.Unlock()
	if ending && err == io.EOF {
		err = ErrClosed
	} else {
		err = fmt.Errorf("link: credits: %w", err)
	}
	if err = s.fail(err); errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

func (s *Sender) credit(m *[creditSize]byte) error {
	if le.Uint16(m[:]) != Version || le.Uint16(m[2:]) != kindCredit {
		return &Error{WrongVersion}
	}
	s.mu.Lock()
	t := s.streams[ntpac.SourceID(le.Uint64(m[8:]))]
	s.mu.Unlock()
	if t == nil || !t.give(int64(le.Uint32(m[4:]))) {
		return &Error{TooMany}
	}
	return nil
}

// Stream carries the packets of one source over a link. Use by one goroutine.
type Stream struct {
	Header Header // Watermark and Table are the caller's to move; First and Last are not looked at

	s      *Sender
	enc    encoder
	mu     sync.Mutex
	credit int64
	more   chan struct{}
}

// Stream begins the stream of a source, of whose packets those from h.First on will be sent.
func (s *Sender) Stream(h Header) *Stream {
	t := &Stream{Header: h, s: s, enc: newEncoder(h.First), credit: int64(s.window), more: make(chan struct{}, 1)}
	s.mu.Lock()
	s.streams[h.Source] = t
	s.mu.Unlock()
	return t
}

// Add copies a packet into the stream's frame; a full one is sent first, for which Add waits for credit.
func (t *Stream) Add(ctx context.Context, b *ntpac.Batch, p *ntpac.Packet) error {
	for {
		ok, err := t.enc.add(b, p)
		if ok || err != nil {
			return err
		}
		if err := t.Flush(ctx); err != nil {
			return err
		}
	}
}

// Flush sends what the frame holds; without packets, only what the header says.
func (t *Stream) Flush(ctx context.Context) error {
	if err := t.take(ctx, int64(cost(len(t.enc.head)+len(t.enc.body), t.s.window))); err != nil {
		return err
	}
	t.enc.seal(&t.Header)
	err := t.s.send(t.enc.head, t.enc.body)
	t.enc.reset()
	return err
}

// send writes a frame with one system call where the connection has it.
func (s *Sender) send(head, body []byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	s.two = [2][]byte{head, body}
	s.parts = s.two[:]
	if _, err := s.parts.WriteTo(s.conn); err != nil {
		return s.fail(fmt.Errorf("link: %w", err))
	}
	return nil
}

func (t *Stream) take(ctx context.Context, n int64) error {
	for {
		t.mu.Lock()
		ok := t.credit >= n
		if ok {
			t.credit -= n
		}
		t.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-t.more:
		case <-t.s.dead:
			return t.s.fail(ErrClosed)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (t *Stream) give(n int64) bool {
	t.mu.Lock()
	t.credit += n
	ok := t.credit <= int64(t.s.window)
	t.mu.Unlock()
	select {
	case t.more <- struct{}{}:
	default:
	}
	return ok
}

// Received counts what came over a link.
type Received struct {
	Frames, Packets uint64
	Bytes           uint64
	Refused         [reasons]uint64
}

// Receiver is the owner's end of a link.
type Receiver struct {
	conn   net.Conn
	window int
	stats  Received
	header [HeaderSize]byte

	mu      sync.Mutex
	free    []*buffer
	sources map[ntpac.SourceID]*account
	due     []*account // those to which credit is owed
	poke    chan struct{}
	dead    chan struct{}
	closed  bool
}

// account is the credit of one source.
type account struct {
	source ntpac.SourceID
	out    int // credits on the way or in memory
	owed   int // released, not given back yet
	listed bool
}

// buffer is one frame in memory.
type buffer struct {
	block *ntpac.Block
	mem   []byte
	of    *account
	cost  int
}

// NewReceiver makes the other end of a link over a connection, which it then owns.
func NewReceiver(conn net.Conn, window int) *Receiver {
	if window <= 0 {
		window = Window
	}
	return &Receiver{conn: conn, window: window, sources: map[ntpac.SourceID]*account{}, poke: make(chan struct{}, 1), dead: make(chan struct{})}
}

// Received gives the counts. Not while Next runs.
func (r *Receiver) Received() Received { return r.stats }

// Next reads a frame into an empty batch. io.EOF says that the sender closed the link between two frames,
// an *Error that it sent what no sender sends. The batch's one block gives its credit back when the last
// holder releases it.
func (r *Receiver) Next(b *ntpac.Batch) (Header, error) {
	if _, err := io.ReadFull(r.conn, r.header[:]); err != nil {
		if err == io.EOF {
			return Header{}, err
		}
		return Header{}, fmt.Errorf("link: header: %w", err)
	}
	size, err := frameLength(r.header[:])
	if err != nil {
		return Header{}, r.refuse(err)
	}
	k := r.buffer(size)
	f := k.mem[:size]
	copy(f, r.header[:])
	if _, err := io.ReadFull(r.conn, f[HeaderSize:]); err != nil {
		r.put(k)
		return Header{}, fmt.Errorf("link: frame: %w", noEOF(err))
	}
	h, err := decode(f, k.block, b)
	if err == nil {
		k.cost = cost(size, r.window)
		err = r.charge(k, h.Source)
	}
	if err != nil {
		b.Packets, b.Datagrams, b.Watermark = b.Packets[:0], b.Datagrams[:0], 0
		r.put(k)
		return Header{}, r.refuse(err)
	}
	k.block.Reset()
	k.block.Mem = f
	b.Blocks = append(b.Blocks, k.block)
	r.stats.Frames++
	r.stats.Packets += uint64(len(b.Packets))
	r.stats.Bytes += uint64(size)
	return h, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Receiver) refuse(err error) error {
	var e *Error
	if errors.As(err, &e) {
		r.stats.Refused[e.Reason]++
	}
	return err
}

// buffer gives one for a frame of the length.
func (r *Receiver) buffer(size int) *buffer {
	r.mu.Lock()
	n := len(r.free)
	if n > 0 && size <= FrameSize {
		k := r.free[n-1]
		r.free = r.free[:n-1]
		r.mu.Unlock()
		return k
	}
	r.mu.Unlock()
	k := &buffer{mem: make([]byte, max(size, FrameSize))}
	k.block = ntpac.NewBlock(nil, func(*ntpac.Block) { r.release(k) })
	return k
}

func (r *Receiver) put(k *buffer) {
	if len(k.mem) == FrameSize {
		r.mu.Lock()
		r.free = append(r.free, k)
		r.mu.Unlock()
	}
}

// charge takes a frame's credits from its source.
func (r *Receiver) charge(k *buffer, source ntpac.SourceID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.sources[source]
	if a == nil {
		if len(r.sources) == maxSources {
			return &Error{TooMany}
		}
		a = &account{source: source}
		r.sources[source] = a
	}
	if a.out+k.cost > r.window {
		return &Error{TooMany}
	}
	a.out += k.cost
	k.of = a
	return nil
}

// release is called when nobody needs a frame any more, by whoever was last. It never waits: credits
// are written by the goroutine that the caller has for them.
func (r *Receiver) release(k *buffer) {
	r.mu.Lock()
	a := k.of
	a.owed += k.cost
	if len(k.mem) == FrameSize {
		r.free = append(r.free, k)
	}
	ripe := !a.listed && a.owed >= batched(r.window)
	if ripe {
		a.listed = true
		r.due = append(r.due, a)
	}
	r.mu.Unlock()
	if ripe {
		select {
		case r.poke <- struct{}{}:
		default:
		}
	}
}

// Credits gives credit back, a quarter of a window at a time, until the link ends: the caller has a
// goroutine for it. It returns nil when the link was closed here.
func (r *Receiver) Credits() error {
	var msgs []byte
	for {
		select {
		case <-r.poke:
		case <-r.dead:
			return nil
		}
		msgs = r.collect(msgs[:0])
		if _, err := r.conn.Write(msgs); err != nil {
			select {
			case <-r.dead:
				return nil
			default:
				return fmt.Errorf("link: credits: %w", err)
			}
		}
	}
}

// collect writes down what is owed.
func (r *Receiver) collect(b []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.due {
		b = le.AppendUint16(b, Version)
		b = le.AppendUint16(b, kindCredit)
		b = le.AppendUint32(b, uint32(a.owed))
		b = le.AppendUint64(b, uint64(a.source))
		a.out -= a.owed
		a.owed, a.listed = 0, false
	}
	r.due = r.due[:0]
	return b
}

// Close ends the link. Batches that were read stay good.
func (r *Receiver) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	close(r.dead)
	return r.conn.Close()
}
