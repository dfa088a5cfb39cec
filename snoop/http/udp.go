package http

import (
	"context"
	"crypto/sha256"

	"ntpac"
	"ntpac/artifact"
)

// datagrams reads HTTP over UDP (SSDP, UPnP Device Architecture 2.0 section 1): each datagram is one
// message. Questions go to a group and answers come from elsewhere, so nothing is paired.
func datagrams(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	for g := range d.Messages() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if a := datagram(g); a != nil {
			emit.Emit(a)
		}
	}
	return d.Err()
}

// datagram makes the artifact of one message; nil for anything else.
func datagram(g *ntpac.Message) *ntpac.Artifact {
	i := indexLF(g.Data)
	if i < 0 {
		return nil
	}
	dir := ntpac.Up
	line := chomp(g.Data[:i])
	if _, _, _, ok := statusLine(line); ok {
		dir = ntpac.Down
	} else if _, _, ok := requestLine(line); !ok {
		return nil
	}
	m := &message{start: g.Off, time: g.TS}
	m.startLine(latin1(line), dir)
	end := headEnd(g.Data)
	if end < 0 {
		end = len(g.Data)
	}
	m.text = latin1(g.Data[i+1 : end])
	m.fields.parse(m.text, m)
	m.text = trimBlank(m.text)
	if body := g.Data[end:]; len(body) > 0 {
		m.datagramBody(body, ntpac.Span{Dir: g.Dir, Off: g.Off + int64(end), Len: int64(len(body))})
	}
	x := exchange{req: m}
	if dir == ntpac.Down {
		x = exchange{resp: m}
	}
	a := &ntpac.Artifact{Type: "http", Time: g.TS, Spans: []ntpac.Span{g.Span()}, Fields: x.fields(), Blobs: m.body.blobs}
	if g.Cut {
		a.Quality, a.Error = ntpac.Gapped, "the snap length cut the datagram"
	}
	return a
}

func (m *message) datagramBody(b []byte, at ntpac.Span) {
	sum := ntpac.Hash(sha256.Sum256(b))
	n := int64(len(b))
	m.body.info = &artifact.Body{SHA256: sum, Size: n, DecodedSHA256: sum, DecodedSize: n, MIME: artifact.Sniff(b)}
	m.body.blobs = []ntpac.Blob{{SHA256: sum, Size: n, Spans: []ntpac.Span{at}}}
}

// turned reports whether the roles are turned round although a SYN told them: the side that was called
// answers, as in tunnels that are opened from within.
func turned(d *ntpac.Dialog) bool {
	up, down := d.Up.Peek(maxFirst), d.Down.Peek(maxFirst)
	return lookAt(up, true) == response && (len(down) == 0 || lookAt(down, true) == request) ||
		lookAt(down, true) == request && len(up) == 0
}

// maxFirst is how much of each direction is looked at to tell the roles.
const maxFirst = 4096

// turn gives the dialog with the roles exchanged, and an emitter that names directions as d does.
func turn(d *ntpac.Dialog, emit ntpac.Emitter) (*ntpac.Dialog, ntpac.Emitter) {
	t := d.Fresh()
	c := *d.Conv
	c.Client = c.Client.Other()
	t.Conv, t.Up, t.Down = &c, t.Down, t.Up
	t.Up.Dir, t.Down.Dir = ntpac.Up, ntpac.Down
	return t, turnedEmitter{emit}
}

type turnedEmitter struct{ ntpac.Emitter }

func (e turnedEmitter) Emit(a *ntpac.Artifact) {
	a.Spans = turnSpans(a.Spans)
	blobs := make([]ntpac.Blob, len(a.Blobs))
	for i, b := range a.Blobs {
		b.Spans = turnSpans(b.Spans)
		blobs[i] = b
	}
	a.Blobs = blobs
	if f, ok := a.Fields.(*artifact.File); ok {
		f.Direction = f.Direction.Other()
	}
	e.Emitter.Emit(a)
}

func turnSpans(spans []ntpac.Span) []ntpac.Span {
	out := make([]ntpac.Span, len(spans))
	for i, s := range spans {
		s.Dir = s.Dir.Other()
		out[i] = s
	}
	return out
}
