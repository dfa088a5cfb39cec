package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"ntpac"
	"ntpac/cluster"
	"ntpac/node"
	"ntpac/snoop/all"
	"ntpac/snoop/snooptest"
	"ntpac/store/memory"
	"ntpac/store/row"
)

// targetOf is the fuzz target of a snooper.
var targetOf = map[string]string{"dns": "snoop/dns/FuzzDNS", "tls": "snoop/tls/FuzzTLS", "http": "snoop/http/FuzzHTTP",
	"smtp": "snoop/smtp/FuzzSnoop", "ftp": "snoop/ftp/FuzzSnoop", "ftp-data": "snoop/ftp/FuzzData"}

// codings are the content codings in the order in which FuzzDecoder counts them.
var codings = []string{"gzip", "deflate", "br", "zstd", "base64", "qp", "dot"}

// fromConversations runs a capture through the product, and makes seeds of what it found.
func fromConversations(ctx context.Context, c *corpus, path string) error {
	st := memory.New()
	defer st.Close()
	o := node.Options{Case: "seeds", Workers: 1, Snoopers: all.Snoopers()}
	if _, err := node.Run(ctx, ctx, st, []string{path}, o, &node.Progress{}); err != nil {
		if errors.Is(err, ntpac.ErrNotCapture) {
			return nil
		}
		return err
	}
	dialogs := map[ntpac.ConversationID]*ntpac.Dialog{}
	for v, err := range st.Conversations(ctx, &ntpac.Query{Case: o.Case}) {
		if err != nil {
			return err
		}
		d := ntpac.NewDialog(v, node.Payload(ctx, st, nil, v))
		dialogs[v.ID] = d
		fromDialog(c, d)
		if err := d.Err(); err != nil {
			return err
		}
	}
	parts := map[ntpac.ConversationID]*ntpac.Generation{}
	for a, err := range st.Artifacts(ctx, &ntpac.Query{Case: o.Case}) {
		if err != nil {
			return err
		}
		g := parts[a.Conversation]
		if g == nil {
			g = &ntpac.Generation{Conversation: a.Conversation, Snooper: a.Snooper}
			parts[a.Conversation] = g
		}
		g.Artifacts = append(g.Artifacts, a)
		if d := dialogs[a.Conversation]; d != nil {
			fromArtifact(c, d, a)
		}
	}
	for _, g := range parts {
		if b, err := row.AppendPart(nil, g); err == nil {
			c.add("store/row/FuzzPart", g.Snooper+fmt.Sprint(len(g.Artifacts)), b)
		}
	}
	return nil
}

// fromDialog makes seeds of a conversation as a whole.
func fromDialog(c *corpus, d *ntpac.Dialog) {
	v := d.Conv
	b := row.AppendConversation(nil, v)
	kind := fmt.Sprint(v.Key.Proto, v.Flags, v.Close, len(v.Half[0].Gaps), len(v.Half[1].Gaps))
	c.add("store/row/FuzzConversation", kind, b)
	c.add("store/embedded/FuzzValue", kind, append(make([]byte, 13), b...))
	if v.Inline != nil {
		in := row.AppendInline(nil, v.Inline)
		c.add("store/row/FuzzRows", kind, in)
		c.add("store/row/FuzzUnpack", kind, row.Pack(nil, in))
		c.add("FuzzHistory", kind, v.Inline.History, int64(v.First), int64(1), uint32(60), uint32(54), uint16(0))
	}
	if v.App == "" {
		return
	}
	info := snooperInfo(v.App)
	t := talkOf(d)
	if target := targetOf[v.App]; target != "" {
		c.add(target, "", snooptest.Pack(info, t))
	}
	switch v.App {
	case "ftp", "smtp":
		up, down := said(d, ntpac.Up), said(d, ntpac.Down)
		c.add("internal/reply/FuzzReply", "", up, down, uint16(0))
	case "dns":
		for i, turn := range t.Turns {
			if i < 6 {
				c.add("snoop/dns/FuzzOracle", "", turn.Data)
			}
		}
	case "tls":
		for _, turn := range t.Turns {
			if len(turn.Data) > 9 && turn.Data[0] == 22 {
				c.add("internal/tlshello/FuzzParse", "", turn.Data[9:])
			}
		}
	}
}

func snooperInfo(app string) ntpac.SnooperInfo {
	for _, s := range all.Snoopers() {
		if s.Info().Name == app {
			return s.Info()
		}
	}
	return ntpac.SnooperInfo{}
}

// talkOf writes a conversation as a talk: a turn for each packet that brought something, and of each hole
// nothing.
func talkOf(d *ntpac.Dialog) *snooptest.Talk {
	v := d.Conv
	t := &snooptest.Talk{Proto: v.Key.Proto, Client: v.ClientEnd(), Server: v.ServerEnd(), NoSyn: v.ClientBy != ntpac.BySyn}
	if v.Key.Proto != ntpac.TCP {
		for m := range d.Messages() {
			if t.Turns = append(t.Turns, snooptest.Turn{Dir: m.Dir, Data: bytes.Clone(m.Data)}); len(t.Turns) >= 40 {
				break
			}
		}
		return t
	}
	size := 0
	for s := d.Next(); s != nil && size < longest; s = d.Next() {
		s.SkipGap()
		b := bytes.Clone(s.Peek(snooptest.SegmentSize))
		if len(b) == 0 {
			continue
		}
		s.Skip(int64(len(b)))
		t.Turns = append(t.Turns, snooptest.Turn{Dir: s.Dir, Data: b})
		size += len(b)
	}
	return t
}

// said is the beginning of what one end said.
func said(d *ntpac.Dialog, dir ntpac.Dir) []byte {
	s := d.Fresh().In(dir)
	s.SkipGap()
	return bytes.Clone(s.Peek(8 << 10))
}

// fromArtifact makes seeds of the ranges on which an artifact rests.
func fromArtifact(c *corpus, d *ntpac.Dialog, a *ntpac.Artifact) {
	if a.Type == "mail" {
		for _, s := range a.Spans {
			if b := ranges(d, s); bytes.Count(b, []byte("\n")) > 3 && s.Dir == ntpac.Up {
				c.add("internal/mail/FuzzMessage", "", b, uint8(1), uint8(9), true)
				c.add("internal/mail/FuzzSplit", "", b, len(b)/2)
				c.add("internal/mail/FuzzOracle", "", b)
			}
		}
	}
	for i := range a.Blobs {
		k := &a.Blobs[i]
		b := ranges(d, k.Spans...)
		c.add("artifact/FuzzSniff", a.Type, b[:min(len(b), 1<<10)])
		for n, name := range codings {
			if len(k.Codings) == 1 && strings.TrimPrefix(k.Codings[0], "x-") == name {
				c.add("artifact/FuzzDecoder", "", byte(n), b)
			}
		}
	}
}

func ranges(d *ntpac.Dialog, spans ...ntpac.Span) (b []byte) {
	f := d.Fresh()
	for _, s := range spans {
		in := f.In(s.Dir)
		in.MoveTo(s.Off)
		in.Each(min(s.Len, longest), func(_ int64, p []byte) { b = append(b, p...) })
	}
	return b
}

// wire is a connection that keeps what is sent over it.
type wire struct {
	net.Conn
	sent []byte
}

func (w *wire) Write(b []byte) (int, error) { w.sent = append(w.sent, b...); return len(b), nil }
func (w *wire) Close() error                { return nil }

// fromBatch makes seeds of the frames in which packets travel between nodes.
func fromBatch(ctx context.Context, c *corpus, b *ntpac.Batch) error {
	var w wire
	s := cluster.NewSender(&w, 0)
	t := s.Stream(cluster.Header{Group: 3, Source: 4, Index: 6, First: b.Packets[0].Ord})
	for i := range b.Packets[:min(len(b.Packets), 12)] {
		if err := t.Add(ctx, b, &b.Packets[i]); err != nil {
			return err
		}
	}
	if err := t.Flush(ctx); err != nil {
		return err
	}
	c.add("cluster/FuzzFrame", "", w.sent, false)
	c.add("cluster/FuzzLink", "", w.sent, uint8(1))
	return nil
}
