package main

import (
	"context"
	"io"
)

// untilDrained reads from in until drain ends, and then says that the input has ended: a read of a
// pipe that nobody writes to cannot be broken off, so it is left behind.
type untilDrained struct {
	drain context.Context
	in    io.Reader
	full  chan piece
	free  chan []byte
	rest  []byte // of buf, not yet given
	buf   []byte
	err   error
}

type piece struct {
	b   []byte // the part that was read of a whole buffer
	err error
}

const pieceSize = 256 << 10

func newUntilDrained(drain context.Context, in io.Reader) *untilDrained {
	return &untilDrained{drain: drain, in: in}
}

// begin starts the reading goroutine, which works one buffer ahead.
func (u *untilDrained) begin() {
	u.full, u.free = make(chan piece), make(chan []byte, 2)
	u.free <- make([]byte, pieceSize)
	u.free <- make([]byte, pieceSize)
	go func() {
		for {
			select {
			case b := <-u.free:
				n, err := u.in.Read(b)
				select {
				case u.full <- piece{b[:n], err}:
				case <-u.drain.Done():
					return
				}
				if err != nil {
					return
				}
			case <-u.drain.Done():
				return
			}
		}
	}()
}

func (u *untilDrained) Read(p []byte) (int, error) {
	if u.full == nil {
		u.begin()
	}
	for len(u.rest) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		if u.buf != nil {
			u.free <- u.buf[:cap(u.buf)]
			u.buf = nil
		}
		select {
		case x := <-u.full:
			u.rest, u.buf, u.err = x.b, x.b, x.err
		case <-u.drain.Done():
			u.err = io.EOF
		}
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}
