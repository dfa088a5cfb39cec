package smtp

import (
	"cmp"
	"context"
	"slices"

	"ntpac"
	"ntpac/artifact"
	"ntpac/internal/mail"
	"ntpac/internal/reply"
	"ntpac/internal/tlshello"
)

const (
	maxCommand    = 16 << 10 // a longer line is no command
	maxRecipients = 10_000   // of one message that are kept
)

// session reads one connection: the client's commands in order, each with its reply.
type session struct {
	ctx     context.Context
	d       *ntpac.Dialog
	up      *ntpac.Stream
	when    *ntpac.Dialog // the same dialog, asked for times only: both its questions and those of the pairing go forward
	emit    ntpac.Emitter
	replies reply.Reader
	asked   string // by the last 334 that answers no command
	parser  *mail.Parser

	// the transaction
	start   int64 // where it begins; -1: there is none
	hole    int64 // where the hole began in which a message ended; -1: none did
	from    string
	rcpt    []string
	holed   bool // a hole touches it
	midway  bool // the capture began within it
	chunked bool // BDAT has begun
	taken   int  // recipients that the server accepted
	guess   bool // how many they are is not certain
	lmtp    bool // the server replies to a message once for each of them
}

func (s *session) run() error {
	s.begin()
	for !s.up.EOF() && s.ctx.Err() == nil {
		off := s.up.Off()
		if s.hole >= 0 {
			off, s.hole = s.hole, -1
			s.behindHole(off)
			continue
		}
		if s.up.SkipGap() > 0 {
			s.behindHole(off)
			continue
		}
		line, whole := s.up.Line(maxCommand)
		switch {
		case whole:
			if s.command(off, line) {
				return s.stop()
			}
		case !s.up.EOF() && s.up.Gap() == 0:
			s.passLine()
		}
	}
	return s.stop()
}

// stop ends the session; a message whose chunks stop coming is shown as far as it came.
func (s *session) stop() error {
	if s.chunked {
		s.finish(false, "")
	}
	return s.ctx.Err()
}

// begin takes the greeting, or finds out where in a session the capture began.
func (s *session) begin() {
	if s.up.HeadKnown() {
		if !s.replies.Torn {
			if p := s.replies.Peek(); p != nil && !p.Hole() {
				s.replies.Take()
			} else if p != nil {
				s.replies.Torn = true
			}
		}
		return
	}
	s.midway = true
	if s.up.Gap() == 0 && !s.up.EOF() {
		s.enter(s.up.Off())
	}
}

// behindHole goes on behind a hole among commands, which began at off.
func (s *session) behindHole(off int64) {
	s.replies.Torn = true
	s.holed = true
	if s.start < 0 {
		s.start = off
	}
	if s.chunked {
		s.parser.Gap(off, s.up.Off()-off)
	}
	if !s.up.EOF() {
		s.enter(off)
	}
}

// enter finds out whether the stream, which goes on behind something that was not captured, goes on
// with commands or within a message. The server knows: 354 was its last word before a message.
func (s *session) enter(off int64) {
	code := s.replies.Drain(s.up.Off())
	line := s.peekLine()
	switch {
	case s.handshake():
		s.tls()
	case command(line):
	case code == 334:
		s.authGoesOn()
	case code == 354, headerField(line) && !s.chunked:
		s.message(off)
	case s.midway && !s.up.HeadKnown() && s.up.Off() == off && s.withinMessage(line):
		s.message(off)
	}
}

// withinMessage guesses whether a capture begins in the midst of a message: what comes is no command,
// and the server's next reply is one that a message may get.
func (s *session) withinMessage(line []byte) bool {
	if len(line) == 0 && s.up.EOF() {
		return false
	}
	p := s.replies.Peek()
	if p == nil || p.Hole() {
		return true
	}
	switch p.Code {
	case 250, 421, 450, 451, 452, 550, 552, 554:
		return true
	}
	return false
}

// peekLine gives the line at the cursor without moving; valid until the stream is used again.
func (s *session) peekLine() []byte {
	b := s.up.Peek(1024)
	for i, c := range b {
		if c == '\n' {
			return b[:i]
		}
	}
	return b
}

// passLine skips the rest of a line that is too long.
func (s *session) passLine() {
	for whole := false; !whole && !s.up.EOF() && s.up.Gap() == 0; {
		_, whole = s.up.Line(maxCommand)
	}
}

// answer gives the reply to the command that ends before the cursor.
func (s *session) answer() (*reply.Reply, reply.State) {
	return s.replies.Answer(s.up.Off()-1, s.up.Off(), true)
}

// command reads one line of the client. stop says that nothing more can be read.
func (s *session) command(off int64, line []byte) (stop bool) {
	word, arg := splitCommand(line)
	switch verbOf(word) {
	case ehlo, helo, lhlo:
		s.reset("")
		s.lmtp = word[0]|0x20 == 'l'
	case mailFrom:
		s.reset("")
		s.start, s.from, s.holed, s.midway = off, address(arg), false, false
	case rcptTo:
		s.open(off)
		if len(s.rcpt) < maxRecipients {
			s.rcpt = append(s.rcpt, address(arg))
		}
		p, state := s.answer()
		if state == reply.Got && p.Code < 300 {
			s.taken++
		}
		s.guess = s.guess || state != reply.Got
		return false
	case rset:
		s.reset("the client gave the message up")
	case data:
		s.open(off)
		if s.accepted() {
			s.message(off)
		}
		return false
	case bdat:
		if size, last, ok := chunk(arg); ok {
			s.open(off)
			s.chunk(size, last)
		}
	case auth:
		s.auth(off, string(arg))
		return false
	case starttls:
		p, state := s.answer()
		stop = state == reply.Got && p.Code == 220 || state != reply.Got && s.handshake()
		if stop {
			s.tls()
		}
		return stop
	case other:
		if !s.chunked && (s.replies.Torn || s.d.Down.End() == 0) && headerField(line) {
			s.up.MoveTo(off) // DATA was lost
			s.message(off)
			return false
		}
	}
	s.answer()
	return false
}

// tls shows the handshake that follows the reply to STARTTLS (RFC 3207). Nothing behind it can be read.
func (s *session) tls() {
	for _, a := range tlshello.ReadConversation(s.d, s.up.Off(), s.replies.End()) {
		s.emit.Emit(a)
	}
	s.up.MoveTo(s.up.End())
}

// handshake reports whether a TLS record comes next.
func (s *session) handshake() bool {
	b := s.up.Peek(2)
	return len(b) == 2 && b[0] == 22 && b[1] == 3
}

// open begins a transaction whose MAIL command was not captured.
func (s *session) open(off int64) {
	if s.start < 0 {
		s.start = off
	}
}

// reset ends the transaction; why says what became of a message whose chunks had begun.
func (s *session) reset(why string) {
	if s.chunked {
		s.finish(false, why)
	}
	s.start, s.from, s.rcpt, s.taken, s.guess, s.holed, s.midway = -1, "", nil, 0, false, false, false
}

// accepted reports whether the server wants the message that DATA announces. Where its reply was not
// captured, what the client does tells.
func (s *session) accepted() bool {
	p, state := s.answer()
	if state == reply.Got && p.Code < 300 { // never the reply to DATA: pairing is out of step
		s.replies.Torn = true
		if p, state = s.replies.Peek(), reply.Lost; p != nil && p.Code == 354 {
			p, state = s.replies.Take(), reply.Got
		}
	}
	if state == reply.Got {
		return p.Code < 400
	}
	return !s.up.EOF() && (s.up.Gap() > 0 || !command(s.peekLine()))
}

// message reads what follows DATA, from the cursor on.
func (s *session) message(off int64) {
	if s.up.EOF() {
		return
	}
	s.open(off)
	s.prepare()
	if s.replies.Torn {
		s.replies.Drain(s.up.Off())
	}
	if off < s.up.Off() && s.d.Up.Missing(off, s.up.Off()-off) > 0 || s.midway {
		s.parser.HeadLost()
	}
	end := s.parser.ReadDot(s.up, s.over)
	n, guess := 1, false
	if s.lmtp {
		n, guess = s.taken, s.guess
	}
	s.finish(end == mail.Ended, "")
	if end == mail.InHole {
		s.hole = s.holeBefore(s.up.Off())
		return
	}
	s.replies.Torn = s.replies.Torn || guess
	for range n {
		s.answer()
	}
}

// holeBefore is where the hole that ends at a position begins.
func (s *session) holeBefore(at int64) int64 {
	gaps := s.d.Conv.In(ntpac.Up).Gaps
	i, ok := slices.BinarySearchFunc(gaps, at, func(g ntpac.Gap, at int64) int { return cmp.Compare(g.Off+g.Len, at) })
	if !ok {
		return at
	}
	return gaps[i].Off
}

func (s *session) prepare() {
	if s.parser == nil {
		s.parser = mail.NewParser(ntpac.Up)
		return
	}
	s.parser.Reset(ntpac.Up)
}

// over says whether the message is over before a position: the server has replied to it, or what
// follows are commands.
func (s *session) over(at int64) bool {
	if at >= s.up.End() {
		return true
	}
	p := s.replies.Peek()
	for p != nil && p.Code == 354 {
		s.replies.Take()
		p = s.replies.Peek()
	}
	if p != nil && !p.Hole() {
		return s.d.Down.Order(p.Off) < s.up.Order(at)
	}
	back := s.up.Off()
	s.up.MoveTo(at)
	is := command(s.peekLine())
	s.up.MoveTo(back)
	return is
}

// chunk reads the octets of one BDAT command.
func (s *session) chunk(size int64, last bool) {
	if !s.chunked {
		s.prepare()
		s.chunked = true
		if s.holed || s.midway {
			s.parser.HeadLost()
		}
	}
	if whole := s.parser.ReadN(s.up, size); last || !whole {
		s.finish(whole, "")
	}
}

// finish ends the message and shows it. whole says that its end was seen.
func (s *session) finish(whole bool, why string) {
	m := s.parser.Finish()
	span := ntpac.Span{Dir: ntpac.Up, Off: s.start, Len: s.up.Off() - s.start}
	f := &artifact.Mail{Protocol: "smtp", MailFrom: s.from, RcptTo: s.rcpt}
	m.Fill(f)
	a := &ntpac.Artifact{Type: "mail", Time: s.when.Up.Time(s.start), Spans: []ntpac.Span{span}, Quality: s.d.Quality(span),
		Fields: f, Blobs: []ntpac.Blob{m.Blob}, Error: why}
	if a.Error == "" {
		a.Error = m.Damage
	}
	switch {
	case s.midway:
		a.Quality = ntpac.Guessed
	case !whole || s.holed || m.Missing > 0:
		a.Quality = ntpac.Gapped
	}
	s.emit.Emit(a)
	for _, a := range m.Files(s.when, "smtp") {
		if !whole || s.holed || s.midway {
			a.Quality = max(a.Quality, ntpac.Gapped)
		}
		s.emit.Emit(a)
	}
	s.chunked = false
	s.reset("")
}
