package node

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
)

// pipe reads an input that can be read only once, standard input or a named pipe, until drain ends; then
// it says that the input has ended. A read of a pipe that nobody writes to cannot be broken off in every
// case, nor can the opening of one that nobody has opened for writing: they are left behind.
type pipe struct {
	drain context.Context
	open  func() (io.ReadCloser, error)
	cut   atomic.Bool // the end that was told is not the input's own
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

// newPipe makes a pipe that is opened at the first read.
func newPipe(drain context.Context, open func() (io.ReadCloser, error)) *pipe {
	return &pipe{drain: drain, open: open}
}

// openPipe opens the named pipe, or another file that is not a regular one; "-" is stdin.
func openPipe(name string, stdin io.Reader) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		switch {
		case name != "-":
			return os.Open(name)
		case stdin != nil:
			return io.NopCloser(stdin), nil
		}
		return io.NopCloser(os.Stdin), nil
	}
}

// isPipe reports whether what has this name can be read only once. What is not there is none.
func isPipe(name string) bool {
	if name == "-" {
		return true
	}
	st, err := os.Stat(name)
	return err == nil && !st.Mode().IsRegular() && st.Mode()&fs.ModeDir == 0
}

// fill is the reading goroutine, which works one buffer ahead.
func (u *pipe) fill() {
	in, err := u.open()
	if err != nil {
		u.give(piece{err: err})
		return
	}
	defer in.Close()
	defer context.AfterFunc(u.drain, func() { in.Close() })()
	for err == nil {
		select {
		case b := <-u.free:
			var n int
			n, err = in.Read(b)
			if n == 0 && u.drain.Err() != nil {
				return // closed above
			}
			u.give(piece{b[:n], err})
		case <-u.drain.Done():
			return
		}
	}
}

// give hands a piece on. After the drain it still goes to a reader that waits for it.
func (u *pipe) give(x piece) {
	select {
	case u.full <- x:
	case <-u.drain.Done():
		select {
		case u.full <- x:
		default:
		}
	}
}

// Read gives what has been read of the input.
func (u *pipe) Read(p []byte) (int, error) {
	if u.full == nil {
		u.full, u.free = make(chan piece), make(chan []byte, 2)
		u.free <- make([]byte, pieceSize)
		u.free <- make([]byte, pieceSize)
		go u.fill()
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
			u.took(x)
		case <-u.drain.Done():
			select {
			case x := <-u.full:
				u.took(x)
			default:
				u.cut.Store(true)
				u.err = io.EOF
			}
		}
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

func (u *pipe) took(x piece) {
	u.rest, u.err = x.b, x.err
	if x.b != nil {
		u.buf = x.b
	}
	if errors.Is(x.err, fs.ErrClosed) && u.drain.Err() != nil {
		u.cut.Store(true)
		u.err = io.EOF
	}
}
