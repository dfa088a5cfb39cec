package capture

import (
	"io"

	"ntpac"
)

// DefaultBlockSize is how much is read at a time: enough to make system calls cheap, little enough
// that the records just read are still in the processor's second-level cache when they are walked.
const DefaultBlockSize = 256 << 10

const (
	minBlockSize = 1 << 10
	spareBlocks  = 64 // how many released blocks a source keeps for its next reads
)

// window is the part of the decompressed source that lies in the current block. What was read is
// never moved while packets may point to it: reading goes on behind it in the same block, and when
// the block is full the unread rest is copied to the front of the next one.
type window struct {
	r     io.Reader
	size  int
	blk   *ntpac.Block
	mem   []byte // all of the block
	pos   int    // the first byte not yet walked
	end   int    // the first byte not yet read
	base  int64  // offset of mem[0] in the decompressed source
	err   error  // why no more bytes will come
	brief bool   // the last read gave less than was asked for
	ahead bool   // looking for something far ahead: take room for more than is needed now

	source ntpac.SourceID
	index  uint16
	spare  chan *ntpac.Block
	give   func(*ntpac.Block)
	tap    func(p []byte, blk *ntpac.Block) // sees what was read, in order
}

func newWindow(r io.Reader, size int, source ntpac.SourceID, index uint16) window {
	spare := make(chan *ntpac.Block, spareBlocks)
	give := func(b *ntpac.Block) {
		if len(b.Mem) != size {
			return
		}
		select {
		case spare <- b:
		default:
		}
	}
	return window{r: r, size: size, source: source, index: index, spare: spare, give: give}
}

// at is the offset in the decompressed source of the first byte not yet walked.
func (w *window) at() int64 { return w.base + int64(w.pos) }

// left is how many bytes were read and not yet walked.
func (w *window) left() int { return w.end - w.pos }

// fill reads until need bytes lie ahead. It reports false when the source ends before.
func (w *window) fill(need int) bool {
	for idle := 0; w.end-w.pos < need; {
		if w.err != nil {
			return false
		}
		if w.end == len(w.mem) || w.pos > 0 && len(w.mem)-w.pos < need {
			w.turn(need)
		}
		room := w.mem[w.end:]
		n, err := w.r.Read(room)
		if n > 0 && w.tap != nil {
			w.tap(room[:n], w.blk)
		}
		w.end += n
		w.err = err
		w.brief = n < len(room)
		if n > 0 {
			idle = 0
		} else if idle++; err == nil && idle > 100 {
			w.err = io.ErrNoProgress
		}
	}
	return true
}

// peek gives n bytes, rel bytes ahead, or false when the source ends before.
func (w *window) peek(rel, n int) ([]byte, bool) {
	if w.end-w.pos < rel+n && !w.fill(rel+n) {
		return nil, false
	}
	return w.mem[w.pos+rel : w.pos+rel+n], true
}

// ready gives n bytes, rel bytes ahead, or nil where they were not read yet.
func (w *window) ready(rel, n int) []byte {
	if w.end-w.pos < rel+n {
		return nil
	}
	return w.mem[w.pos+rel : w.pos+rel+n]
}

// turn begins a new block with what is left of the old one. A big block grows with what is really
// there, since the length that asks for it may be corrupt.
func (w *window) turn(need int) {
	size := w.size
	if need > size {
		if w.ahead {
			need *= 2 // else a search would copy the block again at each step
		}
		size = (min(need, max(4*w.size, 2*w.left())) + 4095) &^ 4095
	}
	b := w.take(size)
	n := copy(b.Mem, w.mem[w.pos:w.end])
	b.Base = w.at()
	if w.blk != nil {
		w.blk.Release()
	}
	w.blk, w.mem, w.base, w.pos, w.end = b, b.Mem, b.Base, 0, n
}

func (w *window) take(size int) *ntpac.Block {
	if size == w.size {
		select {
		case b := <-w.spare:
			b.Reset()
			return b
		default:
		}
	}
	b := ntpac.NewBlock(make([]byte, size), w.give)
	b.Source, b.Index = w.source, w.index
	return b
}

// drop gives up the current block.
func (w *window) drop() {
	if w.blk != nil {
		w.blk.Release()
	}
	w.blk, w.mem, w.pos, w.end = nil, nil, 0, 0
}
