package ntpac

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// Stream is one direction of a conversation, read forward from a cursor. Captured bytes come in runs
// that end at holes; positions count holes too.
type Stream struct {
	Dir     Dir
	side    Side
	half    *Half
	pay     Payload
	pos     int64  // cursor, a stream position
	gap     int    // index of the first gap that ends behind the cursor
	chunk   []byte // what is loaded
	chunkN  int64  // and which
	idx     int    // index of the cursor in chunk
	scratch []byte
	err     error
	clock   clock
}

// Off is the cursor's position.
func (s *Stream) Off() int64 { return s.pos }

// End is the position behind the last known byte.
func (s *Stream) End() int64 { return s.half.End }

// HeadKnown reports whether position 0 is the first byte of the stream.
func (s *Stream) HeadKnown() bool { return s.half.HeadKnown }

// EOF reports whether the cursor is behind the last byte, or the payload could not be read.
func (s *Stream) EOF() bool { return s.pos >= s.half.End || s.err != nil }

// Gap is the length of the hole at the cursor; 0 where there is none.
func (s *Stream) Gap() int64 {
	if s.err == nil && s.gap < len(s.half.Gaps) {
		if g := s.half.Gaps[s.gap]; g.Off <= s.pos {
			return g.Off + g.Len - s.pos
		}
	}
	return 0
}

// SkipGap moves behind the hole at the cursor and gives its length.
func (s *Stream) SkipGap() int64 {
	n := s.Gap()
	if n > 0 {
		s.MoveTo(s.pos + n)
	}
	return n
}

// MoveTo puts the cursor anywhere in the stream.
func (s *Stream) MoveTo(off int64) {
	if off == s.pos {
		return
	}
	s.pos, s.chunkN, s.chunk = off, -1, nil
	s.gap = gapAt(s.half.Gaps, off)
}

// run is how many positions from the cursor to the next hole or the end.
func (s *Stream) run() int64 {
	end := s.half.End
	if s.gap < len(s.half.Gaps) {
		end = min(end, s.half.Gaps[s.gap].Off)
	}
	return end - s.pos
}

// load makes the cursor's chunk available and gives the bytes from the cursor to the chunk's or the
// run's end.
func (s *Stream) load() []byte {
	n := s.run()
	if n <= 0 || s.err != nil {
		return nil
	}
	if k := s.pos / ChunkSize; k != s.chunkN {
		if s.chunk, s.err = s.pay.Chunk(uint8(s.side), k); s.err != nil {
			return nil
		}
		s.chunkN = k
		s.idx = int(s.pos - k*ChunkSize - s.Missing(k*ChunkSize, s.pos-k*ChunkSize))
	}
	n = min(n, (s.chunkN+1)*ChunkSize-s.pos)
	if int(n) > len(s.chunk)-s.idx {
		s.err = errors.New("stored payload is shorter than its conversation says")
		return nil
	}
	return s.chunk[s.idx : s.idx+int(n) : s.idx+int(n)]
}

// Peek gives the next bytes, at most n and none behind a hole, without moving. They stay valid until
// the stream is used again. Fewer than n mean a hole or the end.
func (s *Stream) Peek(n int) []byte {
	b := s.load()
	if len(b) >= n {
		return b[:n]
	}
	if int64(len(b)) >= s.run() || s.err != nil {
		return b
	}
	n = int(min(int64(n), s.run()))
	pos, gap := s.pos, s.gap
	s.scratch = append(s.scratch[:0], b...)
	for len(s.scratch) < n && s.err == nil {
		s.advance(int64(len(b)))
		b = s.load()
		s.scratch = append(s.scratch, b[:min(len(b), n-len(s.scratch))]...)
	}
	// The chunk at the cursor may have been overwritten: it is loaded again when needed.
	s.pos, s.gap, s.chunkN, s.chunk = pos, gap, -1, nil
	return s.scratch
}

// advance moves the cursor within its run and chunk.
func (s *Stream) advance(n int64) {
	s.pos += n
	s.idx += int(n)
	for s.gap < len(s.half.Gaps) && s.half.Gaps[s.gap].Off+s.half.Gaps[s.gap].Len <= s.pos {
		s.gap++
	}
	if s.chunkN >= 0 && s.pos >= (s.chunkN+1)*ChunkSize {
		s.chunkN, s.chunk = -1, nil
	}
}

// Skip moves the cursor forward by at most n, not over a hole, and says how far.
func (s *Stream) Skip(n int64) int64 {
	n = max(min(n, s.run()), 0)
	if s.chunkN >= 0 && s.pos+n < (s.chunkN+1)*ChunkSize {
		s.advance(n)
	} else if n > 0 {
		s.MoveTo(s.pos + n)
	}
	return n
}

// Rest gives the bytes to the end of the loaded part of the run; none at a hole or the end.
func (s *Stream) Rest() []byte { return s.load() }

// Line reads a line without its end (LF or CRLF), which must come within max bytes. ok is false where
// a hole, the end of the stream or the limit came first: what was read until there is given, and the
// cursor stands behind it.
func (s *Stream) Line(max int) (line []byte, ok bool) {
	b := s.load()
	i := bytes.IndexByte(b, '\n')
	if i < 0 && len(b) < max {
		b = s.Peek(max)
		i = bytes.IndexByte(b, '\n')
	}
	if i < 0 || i >= max {
		b = b[:min(len(b), max)]
		s.Skip(int64(len(b)))
		return b, false
	}
	s.Skip(int64(i) + 1)
	if i > 0 && b[i-1] == '\r' {
		i--
	}
	return b[:i], true
}

// Each gives the captured bytes of the next n positions piece by piece and moves behind them. It
// crosses holes and says how many positions were missing, including those behind the stream's end.
func (s *Stream) Each(n int64, f func(off int64, b []byte)) (missing int64) {
	end := s.pos + n
	for s.pos < end {
		if g := s.Gap(); g > 0 {
			g = min(g, end-s.pos)
			missing += g
			s.MoveTo(s.pos + g)
			continue
		}
		b := s.load()
		if len(b) == 0 {
			return missing + end - s.pos
		}
		b = b[:min(int64(len(b)), end-s.pos)]
		f(s.pos, b)
		s.advance(int64(len(b)))
	}
	return missing
}

// Missing counts the missing positions in a range, including those behind the stream's end.
func (s *Stream) Missing(off, n int64) int64 { return s.half.MissingIn(off, n) }

// MissingIn counts the missing positions in a range, including those behind the stream's end.
func (h *Half) MissingIn(off, n int64) (missing int64) {
	end := off + n
	if end > h.End {
		missing = end - max(off, h.End)
		end = h.End
	}
	for i := gapAt(h.Gaps, off); i < len(h.Gaps) && h.Gaps[i].Off < end; i++ {
		g := h.Gaps[i]
		missing += min(g.Off+g.Len, end) - max(g.Off, off)
	}
	return missing
}

// Reader reads the next n positions from the cursor: io.EOF behind them, ErrGap at a hole,
// io.ErrUnexpectedEOF where the stream ends before.
func (s *Stream) Reader(n int64) io.Reader { return &streamReader{s, n} }

type streamReader struct {
	s *Stream
	n int64
}

func (r *streamReader) Read(p []byte) (int, error) {
	if r.n <= 0 {
		return 0, io.EOF
	}
	if r.s.Gap() > 0 {
		return 0, ErrGap
	}
	b := r.s.load()
	if len(b) == 0 {
		if r.s.err != nil {
			return 0, r.s.err
		}
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p[:min(int64(len(p)), r.n)], b)
	r.s.advance(int64(n))
	r.n -= int64(n)
	return n, nil
}

// Time is when the byte at a position was captured; of a hole, when what follows it was.
func (s *Stream) Time(off int64) Time { ts, _ := s.clock.at(s.side, s.solid(off)); return ts }

// Order numbers the packets of the conversation: it says which packet brought the byte at a position. What
// lies behind the last captured byte comes after all packets: nothing tells when it was said.
func (s *Stream) Order(off int64) uint64 {
	off = s.solid(off)
	if off >= s.half.End {
		return ^uint64(0)
	}
	_, n := s.clock.at(s.side, off)
	return n
}

// solid is the first captured position at or behind off.
func (s *Stream) solid(off int64) int64 {
	if i := gapAt(s.half.Gaps, off); i < len(s.half.Gaps) && s.half.Gaps[i].Off <= off {
		return s.half.Gaps[i].Off + s.half.Gaps[i].Len
	}
	return off
}

// gapAt is the index of the first gap that ends behind off.
func gapAt(gaps []Gap, off int64) int {
	i, _ := slices.BinarySearchFunc(gaps, off, func(g Gap, off int64) int {
		if g.Off+g.Len <= off {
			return -1
		}
		return 1
	})
	return i
}
