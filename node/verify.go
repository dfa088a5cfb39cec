package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"ntpac"
	"ntpac/artifact"
	"ntpac/store"
)

// Verified counts what Verify has looked at.
type Verified struct {
	Records       int64 `json:"records"` // as they lie on the disk
	Conversations int64 `json:"conversations"`
	Blobs         int64 `json:"blobs"`
	Sources       int64 `json:"sources"`
	Skipped       int64 `json:"skipped"` // sources that are no longer there; their payload was copied
	Problems      int64 `json:"problems"`
}

// Verify checks every stored hash of a case: records and the evidence log as they lie on the disk, the
// streams of conversations, the bodies of artifacts, and the sources that are still where they were.
// Each difference is reported in a line.
func Verify(ctx context.Context, st ntpac.Store, cs string, report func(string)) (*Verified, error) {
	v := &Verified{}
	problem := func(format string, a ...any) {
		if ctx.Err() != nil {
			return // what cannot be read now is not for that reason wrong
		}
		v.Problems++
		report(fmt.Sprintf(format, a...))
	}
	if k, ok := st.(store.Checker); ok {
		n, err := k.Check(ctx, cs, func(p string) { problem("%s", p) })
		if v.Records = n; err != nil {
			return v, err
		}
	}
	infos, err := st.Sources(ctx, cs)
	if err != nil {
		return v, err
	}
	src := OpenSources(ctx, infos, true)
	defer src.Close()
	if err := v.sources(ctx, src, infos, problem); err != nil {
		return v, err
	}
	for c, err := range st.Conversations(ctx, &ntpac.Query{Case: cs}) {
		if err != nil { // the records as they lie on the disk were all looked at above
			if ctx.Err() != nil {
				return v, err
			}
			problem("a conversation cannot be read: %v", err)
			break
		}
		if ctx.Err() != nil {
			return v, context.Cause(ctx)
		}
		v.Conversations++
		checkStreams(ntpac.NewDialog(c, Payload(ctx, st, src, c)), problem)
	}
	return v, v.blobs(ctx, st, src, cs, problem)
}

func (v *Verified) sources(ctx context.Context, src *Sources, infos []ntpac.SourceInfo, problem func(string, ...any)) error {
	for i := range infos {
		s := &infos[i]
		if s.Path == "" || s.SHA256.IsZero() {
			v.Skipped++
			continue
		}
		switch err := src.Check(s.ID); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist):
			v.Skipped++
		case err != nil:
			v.Sources++
			problem("source %s: %v", s.Name, err)
		default:
			v.Sources++
		}
	}
	return nil
}

func checkStreams(d *ntpac.Dialog, problem func(string, ...any)) {
	for _, s := range []*ntpac.Stream{d.Up, d.Down} {
		half := d.Conv.In(s.Dir)
		sum, n := sha256.New(), int64(0)
		s.Each(s.End(), func(_ int64, b []byte) { sum.Write(b); n += int64(len(b)) })
		switch {
		case d.Err() != nil:
			problem("conversation %s: %v", d.Conv.ID, d.Err())
			return
		case n != half.Bytes:
			problem("conversation %s: %d bytes stored %s, %d recorded", d.Conv.ID, n, s.Dir, half.Bytes)
		case n > 0 && ntpac.Hash(sum.Sum(nil)) != half.SHA256:
			problem("conversation %s: the bytes sent %s do not have the recorded SHA-256 %s", d.Conv.ID, s.Dir, half.SHA256)
		}
	}
}

// blobs makes the body of every artifact again and compares its hash.
func (v *Verified) blobs(ctx context.Context, st ntpac.Store, src *Sources, cs string, problem func(string, ...any)) error {
	open := Opener(ctx, st, src, cs)
	for a, err := range st.Artifacts(ctx, &ntpac.Query{Case: cs}) {
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			problem("an artifact cannot be read: %v", err)
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for i := range a.Blobs {
			v.Blobs++
			if err := artifact.CheckBlob(&a.Blobs[i], open); err != nil {
				problem("artifact %s: %v", a.ID, err)
			}
		}
	}
	return nil
}

// Opener opens stored conversations for reading, the last one from memory.
func Opener(ctx context.Context, st ntpac.Store, src *Sources, cs string) artifact.Opener {
	var last *ntpac.Conversation
	return func(id ntpac.ConversationID) (*ntpac.Dialog, error) {
		if last == nil || last.ID != id {
			c, err := st.Conversation(ctx, cs, id)
			if err != nil {
				return nil, err
			}
			last = c
		}
		return ntpac.NewDialog(last, Payload(ctx, st, src, last)), nil
	}
}

// ErrDiffers is what verification ends with when anything is not as it was stored.
var ErrDiffers = errors.New("verification found differences")
