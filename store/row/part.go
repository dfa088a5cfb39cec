package row

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"ntpac"
)

// partV is the version of the row of a generation's part.
const partV = 1

// AppendPart writes the artifacts and expectations of one part of a generation as one row; what they
// share (conversation, case, snooper, version) is in the generation's state. Fields that are not yet
// encoded are encoded here. Blobs are written without their Data, which is stored once by its hash.
// Format: docs/format/artifact.md.
func AppendPart(b []byte, g *ntpac.Generation) ([]byte, error) {
	b = append(b, partV)
	b = appendUint(b, len(g.Expectations))
	for i := range g.Expectations {
		b = AppendExpectation(b, &g.Expectations[i], g.Conversation)
	}
	b = appendUint(b, len(g.Artifacts))
	start := g.Conversation.Start()
	for _, a := range g.Artifacts {
		js := a.JSON
		if js == nil && a.Fields != nil {
			var err error
			if js, err = json.Marshal(a.Fields); err != nil {
				return b, fmt.Errorf("artifact of type %s: %w", a.Type, err)
			}
		}
		b = append(b, a.ID[:]...)
		b = appendString(b, a.Type)
		b = binary.AppendVarint(b, int64(a.Time-start))
		b = append(b, byte(a.Quality))
		b = appendSpans(b, a.Spans)
		b = appendString(b, a.Error)
		b = appendString(b, js)
		b = appendUint(b, len(a.Blobs))
		for i := range a.Blobs {
			b = AppendBlob(b, &a.Blobs[i], g.Conversation)
		}
	}
	return b, nil
}

func appendSpans(b []byte, spans []ntpac.Span) []byte {
	b = appendUint(b, len(spans))
	for _, s := range spans {
		b = append(b, byte(s.Dir))
		b = appendUint(b, s.Off)
		b = appendUint(b, s.Len)
	}
	return b
}

func (d *decoder) spans() []ntpac.Span {
	n := d.count(3)
	if n == 0 {
		return nil
	}
	s := make([]ntpac.Span, n)
	for i := range s {
		s[i] = ntpac.Span{Dir: ntpac.Dir(d.below(byte(ntpac.Down))), Off: d.positive(), Len: d.positive()}
	}
	return s
}

// DecodePart calls f for each artifact of a part, in order, until it returns false. The generation's
// state says whose they are.
func DecodePart(b []byte, cs string, id ntpac.ConversationID, h *Head, f func(*ntpac.Artifact) bool) error {
	d := decoder{b: b}
	d.version(partV)
	for n := d.count(1); n > 0 && !d.bad; n-- {
		var e ntpac.Expectation
		d.expectation(&e, cs, id)
	}
	for n := d.count(1); n > 0; n-- {
		a := &ntpac.Artifact{Conversation: id, Case: cs, Snooper: h.Snooper, Version: h.Version}
		copy(a.ID[:], d.take(len(a.ID)))
		a.Type = d.string()
		a.Time = id.Start() + ntpac.Time(d.int())
		a.Quality = ntpac.Quality(d.below(byte(ntpac.Guessed)))
		a.Spans = d.spans()
		a.Error = d.string()
		a.JSON = d.bytes()
		if k := d.count(1); k > 0 {
			a.Blobs = make([]ntpac.Blob, k)
			for i := range a.Blobs {
				d.blob(&a.Blobs[i], id)
			}
		}
		if d.bad {
			return ErrRow
		}
		if !f(a) {
			return nil
		}
	}
	return d.end()
}

// DecodeExpectations gives the expectations of a part.
func DecodeExpectations(b []byte, cs string, id ntpac.ConversationID) ([]ntpac.Expectation, error) {
	d := decoder{b: b}
	d.version(partV)
	n := d.count(1)
	if n == 0 {
		return nil, d.err()
	}
	es := make([]ntpac.Expectation, 0, min(n, 64))
	for ; n > 0 && !d.bad; n-- {
		var e ntpac.Expectation
		d.expectation(&e, cs, id)
		es = append(es, e)
	}
	return es, d.err()
}

// appendOther names a conversation that is not id; one that is not set stands for id.
func appendOther(b []byte, c, id ntpac.ConversationID) []byte {
	other := c != id && c != ntpac.ConversationID{}
	b = appendBool(b, other)
	if other {
		b = append(b, c[:]...)
	}
	return b
}

func (d *decoder) other(id ntpac.ConversationID) ntpac.ConversationID {
	if !d.bool() {
		return id
	}
	c := d.id()
	if c == (ntpac.ConversationID{}) {
		d.fail() // appendOther never names it: the row would not be the same when written again
	}
	return c
}

// AppendBlob writes a blob's recipe; a conversation that is not set is that of its generation.
func AppendBlob(b []byte, k *ntpac.Blob, id ntpac.ConversationID) []byte {
	b = append(b, k.SHA256[:]...)
	b = appendUint(b, k.Size)
	b = appendOther(b, k.Conversation, id)
	b = appendSpans(b, k.Spans)
	b = appendUint(b, len(k.Codings))
	for _, c := range k.Codings {
		b = appendString(b, c)
	}
	return b
}

func (d *decoder) blob(k *ntpac.Blob, id ntpac.ConversationID) {
	k.SHA256, k.Size, k.Conversation = d.hash(), d.positive(), d.other(id)
	k.Spans = d.spans()
	if n := d.count(1); n > 0 {
		k.Codings = make([]string, n)
		for i := range k.Codings {
			k.Codings[i] = d.string()
		}
	}
}

// DecodeBlob reads what AppendBlob writes.
func DecodeBlob(b []byte, id ntpac.ConversationID) (*ntpac.Blob, error) {
	d := decoder{b: b}
	k := &ntpac.Blob{}
	d.blob(k, id)
	return k, d.end()
}

// AppendExpectation writes an expectation; an origin that is not set is its generation's conversation.
func AppendExpectation(b []byte, e *ntpac.Expectation, id ntpac.ConversationID) []byte {
	b = append(b, byte(e.Proto))
	b = appendEnd(b, e.From)
	b = appendEnd(b, e.To)
	b = binary.AppendVarint(b, int64(e.Start-id.Start()))
	b = binary.AppendVarint(b, int64(e.End-e.Start))
	b = appendString(b, e.App)
	b = appendOther(b, e.Origin, id)
	return appendString(b, e.Context)
}

func (d *decoder) expectation(e *ntpac.Expectation, cs string, id ntpac.ConversationID) {
	e.Case = cs
	e.Proto = ntpac.Proto(d.u8())
	e.From, e.To = d.endPoint(), d.endPoint()
	e.Start = id.Start() + ntpac.Time(d.int())
	e.End = e.Start + ntpac.Time(d.int())
	e.App = d.string()
	e.Origin = d.other(id)
	e.Context = d.bytes()
}

// DecodeExpectation reads what AppendExpectation writes.
func DecodeExpectation(b []byte, cs string, id ntpac.ConversationID) (e ntpac.Expectation, err error) {
	d := decoder{b: b}
	d.expectation(&e, cs, id)
	return e, d.end()
}
