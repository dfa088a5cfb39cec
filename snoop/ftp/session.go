package ftp

import (
	"context"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"ntpac"
	"ntpac/artifact"
	"ntpac/internal/reply"
	"ntpac/internal/tlshello"
)

const (
	maxCommand = 8 << 10 // a longer line is no command
	maxVerb    = 64      // bytes of a word that is no command which are kept
)

// session reads one control connection: the client's commands in order, each with its replies.
type session struct {
	ctx     context.Context
	d       *ntpac.Dialog
	up      *ntpac.Stream
	when    *ntpac.Dialog // the same dialog, asked for times only: both its questions and those of the pairing go forward
	emit    ntpac.Emitter
	replies reply.Reader

	user    string
	named   ntpac.Span // the command that named the user
	since   ntpac.Time // and when
	logged  bool
	doubt   bool // a hole may have taken the command that names the user
	cwd     string
	typ     string // of representation: A, E, I, L
	mode    string // of transfer: S, B, C, Z
	rest    int64
	data    dataEnd
	order   int        // of transfers
	settled ntpac.Time // when the last of them was over, or was asked for
}

// turn is a command and what the server said to it.
type turn struct {
	artifact.FTP
	verb    string // lower case
	at      ntpac.Time
	span    ntpac.Span
	state   reply.State
	answers []ntpac.Span // of the preliminary and the final reply, or the hole that took them
	prelim  string       // text of the preliminary reply
	broken  bool
	ended   ntpac.Time // when the final reply came
}

func (s *session) run() error {
	s.replies.Init(s.d)
	s.replies.Orphan = s.orphan
	s.doubt = !s.up.HeadKnown() // USER may have been said before
	s.greeting()
	torn := false
	for !s.up.EOF() && s.ctx.Err() == nil {
		off := s.up.Off()
		if s.up.SkipGap() > 0 {
			s.hole()
			if s.handshake() {
				s.tls()
				return s.ctx.Err()
			}
			torn = true
			continue
		}
		line, whole := s.up.Line(maxCommand)
		switch {
		case whole:
			verb, arg := splitCommand(clean(line))
			known := commandOf(verb) != nil || !torn && plain(verb)
			if known && s.command(off, verb, arg) {
				return nil
			}
		case !s.up.EOF() && s.up.Gap() == 0:
			for !whole && !s.up.EOF() && s.up.Gap() == 0 {
				_, whole = s.up.Line(maxCommand)
			}
		}
		torn = torn && !whole
	}
	for p := s.replies.Take(); p != nil && s.ctx.Err() == nil; p = s.replies.Take() {
		if !p.Hole() {
			s.orphan(p)
		}
	}
	return s.ctx.Err()
}

// plain reports whether an unknown word may be a command.
func plain(verb []byte) bool {
	for _, c := range verb {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return len(verb) > 0
}

// greeting takes what the server says before the client may speak.
func (s *session) greeting() {
	for !s.replies.Torn {
		p := s.replies.Peek()
		if p == nil {
			return
		}
		if p.Hole() {
			s.replies.Torn = true
			return
		}
		s.replies.Take()
		s.orphan(p)
		if p.Code >= 200 {
			return
		}
	}
}

// hole goes on behind a hole among commands. Where the next data conversation will be, the server's
// replies go on to tell.
func (s *session) hole() {
	s.replies.Torn = true
	s.doubt = s.doubt || !s.logged
	s.cwd, s.rest = "", 0
	if !s.up.EOF() {
		s.replies.Drain(s.up.Off())
	}
}

// orphan shows a reply whose command was not captured, or that has none.
func (s *session) orphan(p *reply.Reply) {
	span := ntpac.Span{Dir: ntpac.Down, Off: p.Off, Len: p.Len}
	f := &artifact.FTP{Code: p.Code, Reply: text(p.Text)}
	if p.Code < 200 {
		f = &artifact.FTP{Preliminary: strconv.Itoa(p.Code) + " " + text(p.Text)}
	}
	a := &ntpac.Artifact{Type: "ftp", Time: s.when.Down.Time(p.Off), Spans: []ntpac.Span{span}, Quality: s.d.Quality(span), Fields: f}
	if p.Broken || s.replies.Torn {
		a.Quality = ntpac.Gapped
	}
	s.emit.Emit(a)
	switch p.Code {
	case 200:
		s.data = dataEnd{} // it may have answered a PORT
	case 227, 228, 229:
		s.passive(p.Code, string(p.Text), a.Time)
	case 125, 150:
		s.transfer(&turn{prelim: text(p.Text), at: a.Time})
	case 230:
		s.logged = true
	}
}

// command reads one command with its replies. stop says that nothing more can be read.
func (s *session) command(off int64, verb, arg []byte) (stop bool) {
	verb = verb[:min(len(verb), maxVerb)]
	t := &turn{verb: strings.ToLower(text(verb)), span: ntpac.Span{Dir: ntpac.Up, Off: off, Len: s.up.Off() - off}}
	t.Command, t.Arg, t.at = strings.ToUpper(text(verb)), text(arg), s.when.Up.Time(off)
	s.answer(t)
	if t.verb == "user" {
		s.user, s.named, s.since, s.logged, s.doubt = t.Arg, t.span, t.at, false, false
	}
	t.User = s.user
	s.show(t)
	return s.effect(t)
}

// answer takes the replies to a command: preliminary ones and the final one.
func (s *session) answer(t *turn) {
	for range 8 {
		p, state := s.replies.Answer(s.up.Off()-1, s.up.Off(), false)
		t.state = state
		if p != nil {
			t.answers = append(t.answers, ntpac.Span{Dir: ntpac.Down, Off: p.Off, Len: p.Len})
			t.broken = t.broken || p.Broken
		}
		if state != reply.Got {
			return
		}
		if p.Code >= 200 {
			t.Code, t.Reply = p.Code, text(p.Text)
			t.ended = s.when.Down.Time(p.Off)
			return
		}
		t.prelim = text(p.Text)
		t.Preliminary = strconv.Itoa(p.Code) + " " + t.prelim
	}
}

// show emits the command.
func (s *session) show(t *turn) {
	a := &ntpac.Artifact{Type: "ftp", Time: t.at, Spans: s.spans(t), Fields: &t.FTP}
	if t.User != "" && t.span != s.named && s.named.Len > 0 { // whose command it is rests on USER
		a.Spans = append(a.Spans, s.named)
	}
	a.Quality = s.quality(t, a.Spans)
	s.emit.Emit(a)
}

func (s *session) spans(t *turn) []ntpac.Span {
	return append([]ntpac.Span{t.span}, t.answers...)
}

// quality says how far a command and its answer can be trusted. A server that has not answered, though
// it was heard, has lost its answer, unless the connection ended in order.
func (s *session) quality(t *turn, spans []ntpac.Span) ntpac.Quality {
	q := s.d.Quality(spans...)
	switch {
	case t.broken, s.doubt, t.state == reply.Lost:
		q = ntpac.Gapped
	case t.state == reply.None && s.d.Down.End() > 0:
		if c := s.d.Conv.Close; s.replies.Torn || c != ntpac.CloseFin && c != ntpac.CloseRst {
			q = ntpac.Gapped
		}
	}
	return q
}

// effect keeps what a command changes.
func (s *session) effect(t *turn) (stop bool) {
	done := t.Code >= 200 && t.Code < 300 || t.state != reply.Got
	switch t.verb {
	case "user":
		s.cwd = ""
		if t.Code == 230 || t.Code >= 500 {
			s.credential(t, "")
		}
	case "pass":
		s.credential(t, t.Arg)
	case "rein":
		s.user, s.logged, s.cwd = "", false, ""
	case "cwd", "xcwd":
		if done {
			s.enter(t.Arg)
		}
	case "cdup", "xcup":
		if done && s.cwd != "" {
			s.cwd = path.Dir(s.cwd)
		}
	case "pwd", "xpwd":
		if t.Code == 257 {
			s.cwd = quoted(t.Reply)
		}
	case "type":
		if done {
			s.typ = strings.ToUpper(t.Arg[:min(1, len(t.Arg))])
		}
	case "mode":
		if done {
			s.mode = strings.ToUpper(t.Arg[:min(1, len(t.Arg))])
		}
	case "rest":
		s.rest, _ = strconv.ParseInt(strings.TrimSpace(t.Arg), 10, 64)
		s.rest = max(s.rest, 0)
	case "port", "eprt", "lprt":
		if done {
			s.active(t.verb, t.Arg, t.at)
		}
	case "pasv", "epsv", "lpsv":
		switch {
		case t.Code == 227 || t.Code == 228 || t.Code == 229:
			s.passive(t.Code, t.Reply, t.at)
		case t.state != reply.Got:
			s.data = dataEnd{known: true, since: t.at}
		}
	case "auth":
		if stop = t.Code == 234 || t.Code == 334 || t.state != reply.Got && s.handshake(); stop {
			s.tls()
		}
		return stop
	default:
		if c := commandOf([]byte(t.verb)); c != nil && c.transfer {
			s.transfer(t)
		}
	}
	return false
}

// tls shows the handshake that follows the reply to AUTH (RFC 4217). Nothing behind it can be read.
func (s *session) tls() {
	for _, a := range tlshello.ReadConversation(s.d, s.up.Off(), s.replies.End()) {
		s.emit.Emit(a)
	}
}

// handshake reports whether a TLS record comes next.
func (s *session) handshake() bool {
	b := s.up.Peek(2)
	return len(b) == 2 && b[0] == 22 && b[1] == 3
}

// credential shows a login. USER alone is one where the server wants no password.
func (s *session) credential(t *turn, password string) {
	c := &artifact.Credential{Protocol: "ftp", User: s.user, Password: password}
	a := &ntpac.Artifact{Type: "credential", Time: t.at, Fields: c}
	if password != "" && s.named.Len > 0 {
		a.Time = s.since
		a.Spans = append(a.Spans, s.named)
	}
	a.Spans = append(a.Spans, s.spans(t)...)
	if a.Quality = s.quality(t, a.Spans); s.named.Len == 0 {
		a.Quality = ntpac.Gapped // whose password it is was not captured
	}
	switch {
	case t.Code == 230 || t.Code == 202:
		s.logged = true
		fallthrough
	case t.Code >= 400:
		ok := s.logged
		c.Success = &ok
	}
	s.emit.Emit(a)
}

// enter keeps the working directory, where it can be known.
func (s *session) enter(dir string) {
	switch {
	case strings.HasPrefix(dir, "/"):
		s.cwd = path.Clean(dir)
	case s.cwd != "":
		s.cwd = path.Join(s.cwd, dir)
	}
}

// absolute gives the path of a command's argument, as far as the working directory is known.
func (s *session) absolute(arg string) string {
	if s.cwd == "" || arg == "" || strings.HasPrefix(arg, "/") {
		return arg
	}
	return path.Join(s.cwd, arg)
}

// quoted is the path in a reply to PWD (RFC 959 appendix II): quotes within are doubled.
func quoted(reply string) string {
	_, rest, ok := strings.Cut(reply, `"`)
	if !ok {
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] == '"' {
			if i+1 >= len(rest) || rest[i+1] != '"' {
				return b.String()
			}
			i++
		}
		b.WriteByte(rest[i])
	}
	return ""
}

// text makes UTF-8 of what was sent; bytes that are not UTF-8 are read as Latin-1.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}
