package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"ntpac"
	"ntpac/actor"
	"ntpac/capture"
)

// source is the actor that reads one capture. A file is opened when the merge comes to it, so that a
// folder of a thousand files costs no more than the files whose times overlap; a pipe at the beginning,
// as only its contents tell what it is.
type source struct {
	name   string
	index  int
	pipe   *pipe // nil for a file
	file   *capture.File
	mail   *actor.Mailbox[*ntpac.Batch]
	hash   *hasher
	pool   *batchPool
	ran    atomic.Bool      // the reading has begun
	err    error            // why it ended; set before mail is closed
	begun  ntpac.SourceInfo // what it is: known before it is read; of a pipe, when it is opened
	info   ntpac.SourceInfo // and what it was, at its end; set before mail is closed
	first  ntpac.Time       // of its first packet, found by a look before the run
	behind ntpac.Time       // what its clock is behind those of the others
	empty  bool

	drain   context.Context              // ends when no more shall be read
	reading atomic.Pointer[capture.File] // for progress
}

// peek looks at the first packet of a file, and finds out whether it can be read at all.
func (s *source) peek(ctx context.Context) error {
	f, err := capture.Open(ctx, s.name, capture.Options{BlockSize: 16 << 10})
	if err != nil {
		return err
	}
	defer f.Close()
	s.identify(f.Info())
	b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 1)}
	err = f.Next(ctx, b)
	if s.empty = len(b.Packets) == 0; !s.empty {
		s.first = b.Packets[0].TS
	}
	b.Free()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, ntpac.ErrDamaged) {
		return err
	}
	return nil
}

// identify notes what a source is, and nothing of what was read of it.
func (s *source) identify(i ntpac.SourceInfo) {
	s.begun = ntpac.SourceInfo{ID: i.ID, Name: i.Name, Path: i.Path, Format: i.Format, Size: i.Size, Seekable: i.Seekable}
}

// open opens the capture.
func (s *source) open(ctx context.Context) (err error) {
	s.hash = newHasher(ctx)
	o := capture.Options{Index: uint16(s.index), Raw: s.hash.feed}
	if s.pipe != nil {
		o.In = s.pipe
	}
	if s.file, err = capture.Open(ctx, s.name, o); err != nil {
		return err
	}
	s.reading.Store(s.file)
	if s.pipe != nil {
		s.identify(s.file.Info())
	}
	return nil
}

// spawn starts the actors that read and hash it.
func (s *source) spawn(sys *actor.System) {
	sys.Spawn(fmt.Sprintf("source/%d/hash", s.index), actor.Escalate, s.hash.run)
	sys.Spawn(fmt.Sprintf("source/%d", s.index), actor.Escalate, s.run)
}

// close closes what was opened and never read.
func (s *source) close() {
	if s.file != nil && !s.ran.Load() {
		s.file.Close()
	}
}

var errDrained = errors.New("reading was ended early")

// whole reports whether the source was read to its end, damaged or not.
func (s *source) whole() bool { return errors.Is(s.err, io.EOF) || errors.Is(s.err, ntpac.ErrDamaged) }

// run reads until the source or drain ends. What was read is handed on in both cases.
func (s *source) run(ctx context.Context) error {
	s.ran.Store(true)
	s.hash.ctx = ctx
	defer s.mail.Close()
	defer s.hash.mail.Close()
	defer s.file.Close()
	reading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.pipe == nil { // a pipe ends by itself then, and what it gave is read to its end
		defer context.AfterFunc(s.drain, func() { cancel(errDrained) })()
	}
	for s.err == nil {
		b := s.pool.get()
		s.info = s.file.Info()
		s.err = s.file.Next(reading, b)
		if len(b.Packets) == 0 {
			b.Free()
		} else if err := s.mail.Send(ctx, b); err != nil {
			b.Free()
			s.err = err
		}
	}
	s.ended(reading)
	return nil // the dispatcher reports what went wrong: what was read before stays
}

// ended settles why the reading ended. Where a pipe was only left, its last record may be cut: that is
// not damage.
func (s *source) ended(reading context.Context) {
	i := s.file.Info()
	switch {
	case s.pipe != nil && s.pipe.cut.Load():
		i.Damage, i.Damaged, i.Skipped = s.info.Damage, s.info.Damaged, s.info.Skipped
		s.err = errDrained
	case !s.whole() && reading.Err() != nil:
		s.err = context.Cause(reading)
	}
	s.info = i
}

// finish completes what is known of the source when all actors have ended. Only one whose every packet
// was taken in is done.
func (s *source) finish() {
	if s.err == nil { // never opened
		s.info = s.begun
	}
	if s.info.Done = s.whole(); s.info.Done {
		<-s.hash.done
		s.info.SHA256 = s.hash.sum
	}
}

// hasher computes the SHA-256 of a source beside its reading: it costs as much as all of the reading,
// balancing and reassembly together.
type hasher struct {
	ctx  context.Context // of the reading
	mail *actor.Mailbox[rawBytes]
	sum  ntpac.Hash
	done chan struct{}
}

type rawBytes struct {
	b   []byte
	blk *ntpac.Block // held while the bytes are looked at; nil for a copy
}

func newHasher(ctx context.Context) *hasher {
	return &hasher{ctx: ctx, mail: actor.NewMailbox[rawBytes](16), done: make(chan struct{})}
}

// feed is how a source shows its raw bytes.
func (h *hasher) feed(b []byte, blk *ntpac.Block) {
	if blk != nil {
		blk.Retain(1)
	} else {
		b = append([]byte(nil), b...)
	}
	if h.mail.Send(h.ctx, rawBytes{b, blk}) != nil && blk != nil {
		blk.Release()
	}
}

func (h *hasher) run(ctx context.Context) error {
	defer close(h.done)
	sum := sha256.New()
	for {
		r, ok := h.mail.Receive(ctx)
		if !ok {
			break
		}
		sum.Write(r.b)
		if r.blk != nil {
			r.blk.Release()
		}
	}
	sum.Sum(h.sum[:0])
	return nil
}
