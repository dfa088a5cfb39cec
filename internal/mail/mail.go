// Package mail reads Internet messages (RFC 5322) with MIME bodies (RFC 2045 to 2049, 2231) as they
// lie in captured streams. It reads them once, in pieces and in bounded memory, goes on behind holes,
// and says of each attachment where in the stream it lies. SMTP, POP3 and IMAP share it.
package mail

import (
	"cmp"
	"slices"

	"ntpac"
	"ntpac/artifact"
)

// The limits of one message. What lies beyond is still hashed and part of the message; Message.Damage
// says that it was not looked into.
const (
	MaxDepth   = 32        // nested multiparts and messages
	MaxParts   = 1000      // attachments
	MaxText    = 64 << 10  // bytes of text
	MaxHeader  = 256 << 10 // bytes of one header
	maxLine    = 4 << 10   // a longer line is read in pieces
	maxSpans   = 16 << 10  // ranges of one recipe
	outSize    = 12 << 10  // decoded bytes hashed at once
	containers = 8         // nested messages that are attachments themselves
)

// Message is what a Parser found in one message.
type Message struct {
	From, To, CC, BCC, Subject, Date, MessageID string
	Text                                        string
	Size                                        int64 // captured bytes
	Missing                                     int64
	SHA256                                      ntpac.Hash
	Blob                                        ntpac.Blob
	Attachments                                 []Attachment
	Damage                                      string // what could not be read as it should, empty for none
}

// Attachment is an attachment and where it lies.
type Attachment struct {
	artifact.Attachment
	Spans []ntpac.Span // its header and body, holes included, and before them what names the boundaries
	Blob  ntpac.Blob

	end int64 // of the body
}

// Fill sets what the message says in a mail artifact; the envelope is the caller's.
func (m *Message) Fill(a *artifact.Mail) {
	a.From, a.To, a.CC, a.BCC, a.Subject = m.From, m.To, m.CC, m.BCC, m.Subject
	a.Date, a.MessageID, a.Text = m.Date, m.MessageID, m.Text
	a.Size, a.Missing, a.SHA256 = m.Size, m.Missing, m.SHA256
	a.Attachments = make([]artifact.Attachment, len(m.Attachments))
	for i := range m.Attachments {
		a.Attachments[i] = m.Attachments[i].Attachment
	}
}

// Files makes a file artifact of each attachment. A hole anywhere in the message makes all of them
// gapped, since each names its message by the hash; Missing says which of them it touches. d is asked
// for times in the order of the stream.
func (m *Message) Files(d *ntpac.Dialog, protocol string) []*ntpac.Artifact {
	out := make([]*ntpac.Artifact, len(m.Attachments))
	order := make([]int, len(m.Attachments)) // a nested message comes behind its parts
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(m.Attachments[i].own().Off, m.Attachments[j].own().Off) })
	for _, i := range order {
		t := &m.Attachments[i]
		own := t.own()
		q := d.Quality(t.Spans...)
		if m.Missing > 0 {
			q = ntpac.Gapped
		}
		out[i] = &ntpac.Artifact{Type: "file", Time: d.In(own.Dir).Time(own.Off), Quality: q,
			Spans: t.Spans, Blobs: []ntpac.Blob{t.Blob},
			Fields: &artifact.File{Protocol: protocol, Filename: t.Filename, MIME: t.MIME, Size: t.Size, SHA256: t.SHA256,
				Direction: own.Dir, Parent: m.SHA256.String(), Missing: t.Missing}}
	}
	return out
}

// own is the attachment's own span, behind those of what is around it.
func (t *Attachment) own() ntpac.Span { return t.Spans[len(t.Spans)-1] }

// ranges collects the stream positions that a body is made of.
type ranges struct {
	spans   []ntpac.Span
	stuffed bool // dots of the carrier's transparency lie within
	broken  bool // too many ranges
}

func (r *ranges) reset() { *r = ranges{spans: r.spans[:0]} }

// add appends a range. dot is where the last transparency dot lies: a recipe begins with it, so that
// undoing the transparency takes it out.
func (r *ranges) add(dir ntpac.Dir, off, n, dot int64) {
	if n == 0 {
		return
	}
	if k := len(r.spans) - 1; k >= 0 {
		last := &r.spans[k]
		switch end := last.Off + last.Len; {
		case end == off:
			last.Len += n
			return
		case end == dot && dot+1 == off:
			last.Len += n + 1
			r.stuffed = true
			return
		}
	}
	if dot+1 == off {
		off, n, r.stuffed = dot, n+1, true
	}
	if len(r.spans) >= maxSpans {
		r.broken = true
		return
	}
	r.spans = append(r.spans, ntpac.Span{Dir: dir, Off: off, Len: n})
}

// bridge goes on behind a hole: what reads a recipe leaves holes out.
func (r *ranges) bridge(off, n int64) {
	if k := len(r.spans) - 1; k >= 0 && r.spans[k].Off+r.spans[k].Len == off {
		r.spans[k].Len += n
	}
}

// cut takes out everything from off on, which lies in the last range or the one before.
func (r *ranges) cut(off int64) {
	for k := len(r.spans) - 1; k >= 0; k-- {
		s := &r.spans[k]
		if off > s.Off && off <= s.Off+s.Len {
			s.Len = off - s.Off
			return
		}
		r.spans = r.spans[:k]
		if off == s.Off {
			return
		}
	}
}

// dropHead lets the last range begin at off.
func (r *ranges) dropHead(off int64) {
	k := len(r.spans) - 1
	if k < 0 {
		return
	}
	s := &r.spans[k]
	s.Off, s.Len = off, s.Off+s.Len-off
	if s.Len <= 0 {
		r.spans = r.spans[:k]
	}
}

// blob makes the recipe of a body.
func (r *ranges) blob(sum ntpac.Hash, size int64, codings ...string) ntpac.Blob {
	b := ntpac.Blob{SHA256: sum, Size: size}
	if r.stuffed {
		b.Codings = append(b.Codings, "dot")
	}
	for _, c := range codings {
		if c != "" {
			b.Codings = append(b.Codings, c)
		}
	}
	b.Spans = append([]ntpac.Span(nil), r.spans...)
	return b
}
