package artifact

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"

	"ntpac"
)

// Opener gives the dialog of a conversation, so that the recipes of blobs can be followed.
type Opener func(id ntpac.ConversationID) (*ntpac.Dialog, error)

// OpenBlob reads the bytes of a blob by its recipe: the captured bytes of its spans one after
// another, holes left out, with its codings undone, or its Data. It gives exactly Size bytes:
// io.ErrUnexpectedEOF where the recipe yields fewer. Close must be called.
func OpenBlob(b *ntpac.Blob, open Opener) (io.ReadCloser, error) {
	if len(b.Spans) == 0 {
		return newBlobReader(b, bytes.NewReader(b.Data))
	}
	d, err := open(b.Conversation)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", b.SHA256, err)
	}
	return newBlobReader(b, NewSpanReader(d, b.Spans))
}

// CheckBlob makes the blob and compares its size and SHA-256 with what it says of itself.
func CheckBlob(b *ntpac.Blob, open Opener) error {
	r, err := OpenBlob(b, open)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return fmt.Errorf("blob %s: %w", b.SHA256, err)
	}
	if got := ntpac.Hash(sum.Sum(nil)); got != b.SHA256 {
		return fmt.Errorf("blob %s: its recipe gives %s", b.SHA256, got)
	}
	return nil
}

// blobReader gives the first bytes of what the codings yield. A coded body that was captured in part
// is a blob too: its recipe yields Size bytes and then fails, which nobody needs to see.
type blobReader struct {
	dec  io.ReadCloser
	left int64
}

func newBlobReader(b *ntpac.Blob, src io.Reader) (io.ReadCloser, error) {
	dec, err := NewDecoder(b.Codings, src)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", b.SHA256, err)
	}
	return &blobReader{dec, b.Size}, nil
}

func (r *blobReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n, err := r.dec.Read(p[:min(int64(len(p)), r.left)])
	if r.left -= int64(n); r.left == 0 {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *blobReader) Close() error { return r.dec.Close() }

// SpanReader reads the captured bytes of spans, one span after another, holes left out.
type SpanReader struct {
	d     *ntpac.Dialog
	spans []ntpac.Span
	s     *ntpac.Stream
	end   int64
}

// NewSpanReader reads spans of a dialog; it moves the dialog's streams.
func NewSpanReader(d *ntpac.Dialog, spans []ntpac.Span) *SpanReader {
	return &SpanReader{d: d, spans: spans}
}

func (r *SpanReader) Read(p []byte) (int, error) {
	for {
		if r.s == nil {
			if len(r.spans) == 0 {
				return 0, io.EOF
			}
			sp := r.spans[0]
			r.spans = r.spans[1:]
			if sp.Len <= 0 || sp.Off < 0 {
				continue
			}
			r.s = r.d.In(sp.Dir)
			r.s.MoveTo(sp.Off)
			r.end = sp.Off + sp.Len
		}
		r.s.SkipGap()
		b := r.s.Rest()
		if left := r.end - r.s.Off(); left <= 0 || len(b) == 0 {
			if err := r.d.Err(); err != nil {
				return 0, err
			}
			r.s = nil
			continue
		} else {
			n := copy(p, b[:min(int64(len(b)), left)])
			r.s.Skip(int64(n))
			return n, nil
		}
	}
}
