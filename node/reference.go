package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"ntpac"
	"ntpac/capture"
)

// Sources gives the bytes of sources again: the payload of conversations that was kept by reference,
// and the frames to export. Before the first byte of a source is given, its size and SHA-256 are
// compared with what was noted when it was ingested.
type Sources struct {
	known  map[ntpac.SourceID]ntpac.SourceInfo
	verify bool
	mu     sync.Mutex
	open   map[ntpac.SourceID]*capture.Reader
	failed map[ntpac.SourceID]error
}

// OpenSources prepares the sources of a case. verify is false only within the run that reads them.
func OpenSources(infos []ntpac.SourceInfo, verify bool) *Sources {
	s := &Sources{known: map[ntpac.SourceID]ntpac.SourceInfo{}, verify: verify, open: map[ntpac.SourceID]*capture.Reader{}, failed: map[ntpac.SourceID]error{}}
	for _, i := range infos {
		s.known[i.ID] = i
	}
	return s
}

// Close closes the files.
func (s *Sources) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, r := range s.open {
		errs = append(errs, r.Close())
	}
	clear(s.open)
	return errors.Join(errs...)
}

func (s *Sources) reader(id ntpac.SourceID) (*capture.Reader, error) {
	if r := s.open[id]; r != nil {
		return r, nil
	}
	if err := s.failed[id]; err != nil {
		return nil, err
	}
	r, err := s.check(id)
	if err != nil {
		s.failed[id] = err
		return nil, err
	}
	s.open[id] = r
	return r, nil
}

// check opens a source, if it still is what it was.
func (s *Sources) check(id ntpac.SourceID) (*capture.Reader, error) {
	info, ok := s.known[id]
	if !ok || info.Path == "" {
		return nil, fmt.Errorf("%w: it came from %q, which cannot be read again", ntpac.ErrNoPayload, info.Name)
	}
	st, err := os.Stat(info.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: its source is needed again: %w", ntpac.ErrNoPayload, err)
	}
	if st.Size() != info.Size {
		return nil, fmt.Errorf("%w: %s has %d bytes now, %d when it was ingested", ntpac.ErrNoPayload, info.Path, st.Size(), info.Size)
	}
	if s.verify && !info.SHA256.IsZero() {
		sum, err := capture.Sum(info.Path)
		if err != nil {
			return nil, err
		}
		if sum != info.SHA256 {
			return nil, fmt.Errorf("%w: %s has changed since it was ingested: its SHA-256 is %s, not %s", ntpac.ErrNoPayload, info.Path, sum, info.SHA256)
		}
	}
	return capture.OpenAt(info.Path)
}

// Append reads n bytes at an offset of the decompressed source.
func (s *Sources) Append(dst []byte, id ntpac.SourceID, off int64, n int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.reader(id)
	if err != nil {
		return dst, err
	}
	return r.AppendFrame(dst, off, n)
}

// referenced is the payload of a conversation whose streams lie in its sources: the history says where.
type referenced struct {
	src  *Sources
	c    *ntpac.Conversation
	hist ntpac.Payload
	side [2]refSide
}

// refSide reads one side forward; going back starts again.
type refSide struct {
	hist  *ntpac.EventReader
	at    int64         // the chunk that comes next
	carry []ntpac.Event // events that reach into later chunks
	buf   []byte
	have  []ntpac.Span // covered ranges of the chunk, sorted, apart
}

// ReferencedPayload gives access to a conversation whose payload was kept by reference. hist reads its
// history.
func ReferencedPayload(src *Sources, c *ntpac.Conversation, hist ntpac.Payload) ntpac.Payload {
	return &referenced{src: src, c: c, hist: hist}
}

// Chunk collects a chunk's bytes from the frames that brought them first.
func (p *referenced) Chunk(stream uint8, n int64) ([]byte, error) {
	if stream == ntpac.StreamHistory {
		return p.hist.Chunk(stream, n)
	}
	r, half := &p.side[stream], &p.c.Half[stream]
	if r.hist == nil || n < r.at {
		r.hist, r.at, r.carry = ntpac.NewEventReader(p.c, p.hist), 0, nil
	}
	lo, hi := n*ntpac.ChunkSize, min((n+1)*ntpac.ChunkSize, half.End)
	if lo >= hi {
		return nil, nil
	}
	want := hi - lo - half.MissingIn(lo, hi-lo)
	full := make([]byte, hi-lo)
	r.have = r.have[:0]
	var got int64
	old := r.carry
	r.carry = nil
	for i := range old {
		k, err := p.take(r, &old[i], full, lo, hi)
		if err != nil {
			return nil, err
		}
		got += k
	}
	for got < want {
		e := r.hist.Next()
		if e == nil {
			return nil, fmt.Errorf("%w: the history of %s does not cover its stream", ntpac.ErrNoPayload, p.c.ID)
		}
		if e.Side() != ntpac.Side(stream) || e.Len == 0 || e.Flags&(ntpac.EvDup|ntpac.EvNoData) != 0 {
			continue
		}
		k, err := p.take(r, e, full, lo, hi)
		if err != nil {
			return nil, err
		}
		got += k
	}
	r.at = n + 1
	r.buf = r.buf[:0]
	for _, s := range r.have {
		r.buf = append(r.buf, full[s.Off-lo:s.Off-lo+s.Len]...)
	}
	return r.buf, nil
}

// take reads what an event brought to [lo, hi) and no earlier one had.
func (p *referenced) take(r *refSide, e *ntpac.Event, full []byte, lo, hi int64) (got int64, err error) {
	end := e.Start + int64(e.Len)
	if end > hi {
		r.carry = append(r.carry, *e)
	}
	a, b := max(e.Start, lo), min(end, hi)
	for a < b {
		stop := b
		i, inside := slices.BinarySearchFunc(r.have, a, func(s ntpac.Span, at int64) int {
			switch {
			case s.Off+s.Len <= at:
				return -1
			case s.Off > at:
				return 1
			}
			return 0
		})
		if inside {
			a = r.have[i].Off + r.have[i].Len
			continue
		}
		if i < len(r.have) {
			stop = min(stop, r.have[i].Off)
		}
		dst := full[a-lo : a-lo : stop-lo]
		if _, err := p.src.Append(dst, p.c.Sources[e.Source], e.Off+int64(e.Pos)+a-e.Start, int(stop-a)); err != nil {
			return got, err
		}
		r.cover(i, a, stop)
		got += stop - a
		a = stop
	}
	return got, nil
}

// cover notes a range that lies before have[i] and touches at most its neighbours.
func (r *refSide) cover(i int, a, b int64) {
	if i > 0 && r.have[i-1].Off+r.have[i-1].Len == a {
		r.have[i-1].Len += b - a
		if i < len(r.have) && r.have[i].Off == b {
			r.have[i-1].Len += r.have[i].Len
			r.have = slices.Delete(r.have, i, i+1)
		}
		return
	}
	if i < len(r.have) && r.have[i].Off == b {
		r.have[i].Off, r.have[i].Len = a, r.have[i].Len+b-a
		return
	}
	r.have = slices.Insert(r.have, i, ntpac.Span{Off: a, Len: b - a})
}

// Payload opens the payload of a stored conversation, wherever it is kept.
func Payload(ctx context.Context, st ntpac.Store, src *Sources, c *ntpac.Conversation) ntpac.Payload {
	hist := StoredPayload(ctx, st, c)
	if !c.ByReference() {
		if c.Inline != nil {
			return c.InlinePayload()
		}
		return hist
	}
	if c.Inline != nil {
		hist = c.InlinePayload()
	}
	return ReferencedPayload(src, c, hist)
}
