package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"ntpac"
	"ntpac/capture"
)

// frames gives captured frames again from the captures in which they lie, after it has made sure that
// these are what they were.
type frames struct {
	ctx  context.Context
	info map[ntpac.SourceID]ntpac.SourceInfo
	open map[ntpac.SourceID]*reopened
	buf  []byte
}

func newFrames(ctx context.Context, infos []ntpac.SourceInfo) *frames {
	f := &frames{ctx: ctx, info: map[ntpac.SourceID]ntpac.SourceInfo{}, open: map[ntpac.SourceID]*reopened{}}
	for _, s := range infos {
		f.info[s.ID] = s
	}
	return f
}

// ReadFrame gives n bytes at an offset of a source. They are valid until the next call.
func (f *frames) ReadFrame(src ntpac.SourceID, off int64, n int) ([]byte, ntpac.LinkType, error) {
	r := f.open[src]
	if r == nil {
		var err error
		if r, err = f.reopen(src); err != nil {
			return nil, 0, err
		}
		f.open[src] = r
	}
	var err error
	f.buf, err = r.reader.AppendFrame(f.buf[:0], off, n)
	return f.buf, r.link(off), err
}

func (f *frames) close() {
	for _, r := range f.open {
		r.reader.Close()
	}
}

// reopened is a capture that is read again.
type reopened struct {
	reader *capture.Reader
	from   []int64 // from this offset on the frames have
	links  []ntpac.LinkType
}

// link is the link type of the frame at an offset.
func (r *reopened) link(off int64) ntpac.LinkType {
	i := sort.Search(len(r.from), func(i int) bool { return r.from[i] > off })
	if i == 0 {
		return 0
	}
	return r.links[i-1]
}

// reopen reads a capture once as a whole: it must have the size and the hash that it had, and its
// frames' link types are learnt on the way.
func (f *frames) reopen(id ntpac.SourceID) (*reopened, error) {
	info, ok := f.info[id]
	switch {
	case !ok:
		return nil, fmt.Errorf("the case does not know the capture %x: %w", uint64(id), ntpac.ErrNoPayload)
	case info.Path == "":
		return nil, fmt.Errorf("the packets of %s are gone: it was standard input, or was not kept: %w", info.Name, ntpac.ErrNoPayload)
	}
	lost := func(why string) error {
		return fmt.Errorf("the packets of %s cannot be read again: %s %s: %w", info.Name, info.Path, why, ntpac.ErrNoPayload)
	}
	if st, err := os.Stat(info.Path); err != nil {
		return nil, lost("is not there")
	} else if info.Size >= 0 && st.Size() != info.Size {
		return nil, lost(fmt.Sprintf("has %s bytes now, and had %s", grouped(st.Size()), grouped(info.Size)))
	}
	r := &reopened{}
	sum, err := r.scan(f.ctx, info.Path)
	switch {
	case err != nil && !errors.Is(err, ntpac.ErrDamaged):
		return nil, lost(err.Error())
	case !info.SHA256.IsZero() && sum != info.SHA256:
		return nil, lost("has changed: its SHA-256 is another one")
	}
	if r.reader, err = capture.OpenAt(info.Path); err != nil {
		return nil, lost(err.Error())
	}
	return r, nil
}

func (r *reopened) scan(ctx context.Context, path string) (sum ntpac.Hash, err error) {
	src, err := capture.Open(ctx, path, capture.Options{Hash: true})
	if err != nil {
		return sum, err
	}
	defer src.Close()
	b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 1024)}
	for {
		err := src.Next(ctx, b)
		for i := range b.Packets {
			if p := &b.Packets[i]; len(r.links) == 0 || r.links[len(r.links)-1] != p.Link {
				r.from, r.links = append(r.from, p.Off), append(r.links, p.Link)
			}
		}
		b.Free()
		if err == io.EOF {
			err = nil
		} else if err == nil {
			continue
		}
		return src.Info().SHA256, err
	}
}
