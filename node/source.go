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

// source is the actor that reads one capture file. It is opened when the merge comes to it, so that a
// folder of a thousand files costs no more than the files whose times overlap.
type source struct {
	name  string
	index int
	file  *capture.File
	mail  *actor.Mailbox[*ntpac.Batch]
	hash  *hasher
	pool  *batchPool
	err   error            // set before mail is closed
	begun ntpac.SourceInfo // what is known before it is read,
	info  ntpac.SourceInfo // and at its end; set before mail is closed
	first ntpac.Time       // of its first packet, found by a look before the run
	empty bool
	used  bool // everything that was read went through the balancer

	drain   context.Context              // ends when no more shall be read
	reading atomic.Pointer[capture.File] // for progress
}

// peek looks at the first packet of a source, and finds out whether it can be read at all.
func (s *source) peek(ctx context.Context) error {
	f, err := capture.Open(ctx, s.name, capture.Options{BlockSize: 16 << 10})
	if err != nil {
		return err
	}
	defer f.Close()
	b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 1)}
	err = f.Next(ctx, b)
	s.begun = f.Info()
	s.info = s.begun
	if s.empty = len(b.Packets) == 0; !s.empty {
		s.first = b.Packets[0].TS
	}
	b.Free()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, ntpac.ErrDamaged) {
		return err
	}
	return nil
}

// open starts the actors that read and hash the file.
func (s *source) open(ctx context.Context, sys *actor.System, stdin io.Reader) (err error) {
	if s.file != nil {
		return nil
	}
	s.hash = newHasher()
	s.file, err = capture.Open(ctx, s.name, capture.Options{Index: uint16(s.index), Stdin: stdin, Raw: s.hash.feed(ctx)})
	if err != nil {
		return err
	}
	s.reading.Store(s.file)
	s.begun = s.file.Info()
	sys.Spawn(fmt.Sprintf("source/%d/hash", s.index), actor.Escalate, s.hash.run)
	sys.Spawn(fmt.Sprintf("source/%d", s.index), actor.Escalate, s.run)
	return nil
}

var errDrained = errors.New("reading was ended early")

// whole reports whether the source was read to its end, damaged or not.
func (s *source) whole() bool { return errors.Is(s.err, io.EOF) || errors.Is(s.err, ntpac.ErrDamaged) }

func (s *source) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer context.AfterFunc(s.drain, func() { cancel(errDrained) })()
	defer s.mail.Close()
	defer s.hash.mail.Close()
	for {
		b := s.pool.get()
		err := s.file.Next(ctx, b)
		if len(b.Packets) > 0 {
			if s.err = s.mail.Send(ctx, b); s.err != nil {
				s.file.Close()
				return nil
			}
		} else {
			b.Free()
		}
		if err != nil {
			s.err = err
			s.info = s.file.Info()
			s.file.Close()
			return nil // the dispatcher reports what went wrong: what was read before stays
		}
	}
}

// finish completes what is known of the source when its actors have ended. Only one whose every packet
// was taken in is done.
func (s *source) finish() error {
	switch {
	case s.used:
		<-s.hash.done
		s.info.SHA256, s.info.Done = s.hash.sum, true
	case s.empty && s.file == nil: // it was never opened for the merge
		sum, err := capture.Sum(s.name)
		if err != nil {
			return err
		}
		s.info = s.begun
		s.info.SHA256, s.info.Done = sum, true
	default:
		if s.err == nil {
			s.info = s.begun
		}
		s.info.Done = false
	}
	return nil
}

// hasher computes the SHA-256 of a source beside its reading: it costs as much as all of the reading,
// balancing and reassembly together.
type hasher struct {
	mail *actor.Mailbox[rawBytes]
	sum  ntpac.Hash
	done chan struct{}
}

type rawBytes struct {
	b   []byte
	blk *ntpac.Block // held while the bytes are looked at; nil for a copy
}

func newHasher() *hasher {
	return &hasher{mail: actor.NewMailbox[rawBytes](16), done: make(chan struct{})}
}

// feed gives the callback through which a source shows its raw bytes.
func (h *hasher) feed(ctx context.Context) func([]byte, *ntpac.Block) {
	return func(b []byte, blk *ntpac.Block) {
		if blk != nil {
			blk.Retain(1)
		} else {
			b = append([]byte(nil), b...)
		}
		if h.mail.Send(ctx, rawBytes{b, blk}) != nil && blk != nil {
			blk.Release()
		}
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
