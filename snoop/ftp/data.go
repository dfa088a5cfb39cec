package ftp

import (
	"context"
	"crypto/sha256"
	"encoding/json"

	"ntpac"
	"ntpac/artifact"
)

// Data reads data conversations. They carry nothing but the file: what it is, the control connection
// has announced. One from the server's port 20 that nobody has announced is shown as a file without a
// name.
type Data struct{}

// NewData makes the snooper of data conversations.
func NewData() *Data { return &Data{} }

// Info describes the snooper.
func (*Data) Info() ntpac.SnooperInfo {
	return ntpac.SnooperInfo{Name: "ftp-data", Version: 1, Protos: []ntpac.Proto{ntpac.TCP}, Ports: []uint16{20},
		Types: []string{"file"}, Holes: "The file is what was captured of it; holes are counted."}
}

// Probe takes what comes from or goes to port 20 and flows in one direction.
func (*Data) Probe(h *ntpac.Head) ntpac.Verdict {
	if (h.Port[ntpac.Up] == 20 || h.Port[ntpac.Down] == 20) && (len(h.Data[ntpac.Up]) == 0) != (len(h.Data[ntpac.Down]) == 0) {
		return ntpac.Verdict{Confidence: ntpac.Unsure}
	}
	return ntpac.Verdict{}
}

// Snoop reads a data conversation that nobody has announced.
func (*Data) Snoop(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	return file(ctx, d, &announced{}, "", emit)
}

// SnoopExpected reads a data conversation that a control connection has announced.
func (*Data) SnoopExpected(ctx context.Context, d *ntpac.Dialog, e *ntpac.Expectation, emit ntpac.Emitter) error {
	var a announced
	if len(e.Context) > 0 {
		if err := json.Unmarshal(e.Context, &a); err != nil {
			return err
		}
	}
	control := ""
	if e.Origin != (ntpac.ConversationID{}) {
		control = e.Origin.String()
	}
	return file(ctx, d, &a, control, emit)
}

// file shows what the conversation carries in the direction of the transfer.
func file(ctx context.Context, d *ntpac.Dialog, a *announced, control string, emit ntpac.Emitter) error {
	s := carrier(d, a)
	if a.Command == "" && a.Server != "" { // the command was not captured: the direction tells
		a.Command = "STOR"
		if sender := d.Conv.Key.End[d.Conv.Side(s.Dir)].Addr(); sender.String() == a.Server {
			a.Command = "RETR"
		}
	}
	sum := sha256.New()
	var head []byte
	var size int64
	s.MoveTo(0)
	for !s.EOF() && ctx.Err() == nil {
		if s.SkipGap() > 0 {
			continue
		}
		b := s.Rest()
		if len(b) == 0 {
			break
		}
		sum.Write(b)
		head = append(head, b[:min(len(b), artifact.SniffSize-len(head))]...)
		size += int64(len(b))
		s.Skip(int64(len(b)))
	}
	f := &artifact.FTPFile{Command: a.Command, User: a.User, Control: control, Mode: a.Mode, Offset: a.Rest,
		File: artifact.File{Protocol: "ftp", Filename: a.Filename, Path: a.Path, Size: size, Direction: s.Dir, Missing: s.Missing(0, s.End())}}
	f.MIME = artifact.Sniff(head)
	sum.Sum(f.SHA256[:0])
	span := ntpac.Span{Dir: s.Dir, Len: s.End()}
	t := &ntpac.Artifact{Type: "file", Time: d.Conv.First, Spans: []ntpac.Span{span}, Fields: f,
		Blobs: []ntpac.Blob{{SHA256: f.SHA256, Size: size, Spans: []ntpac.Span{span}}}}
	if size > 0 {
		t.Time = s.Time(0)
	}
	t.Quality = quality(d, s, a, control)
	emit.Emit(t)
	return ctx.Err()
}

// quality of a file: it is complete only where its beginning and its end were seen.
func quality(d *ntpac.Dialog, s *ntpac.Stream, a *announced, control string) ntpac.Quality {
	switch {
	case a.Guessed || control == "" && a.Command == "":
		return ntpac.Guessed
	case !s.HeadKnown() || s.Missing(0, s.End()) > 0 || d.Conv.In(s.Dir).Packets == 0:
		return ntpac.Gapped
	case d.Conv.Close != ntpac.CloseFin && d.Conv.Close != ntpac.CloseRst:
		return ntpac.Gapped
	}
	return ntpac.Complete
}

// carrier is the direction that the file goes: the sender's, else the one with more bytes.
func carrier(d *ntpac.Dialog, a *announced) *ntpac.Stream {
	up, down := d.Conv.In(ntpac.Up), d.Conv.In(ntpac.Down)
	switch {
	case up.Bytes == 0 && down.Bytes > 0:
		return d.Down
	case down.Bytes == 0 && up.Bytes > 0:
		return d.Up
	case a.Sender != "" && d.Conv.ClientEnd().Addr().String() == a.Sender:
		return d.Up
	case a.Sender != "" && d.Conv.ServerEnd().Addr().String() == a.Sender:
		return d.Down
	case up.Bytes > down.Bytes:
		return d.Up
	}
	return d.Down
}
