package smtp

import (
	"encoding/base64"
	"strings"

	"ntpac"
	"ntpac/artifact"
	"ntpac/internal/reply"
)

// maxRounds bounds the exchanges of one authentication.
const maxRounds = 16

// exchange is what one authentication (RFC 4954) consists of: base64 undone.
type exchange struct {
	mechanism  string
	challenges []string
	responses  []string
}

// auth reads AUTH and the lines that belong to it, and shows the credential.
func (s *session) auth(off int64, arg string) {
	mech, initial, _ := strings.Cut(arg, " ")
	x := exchange{mechanism: strings.ToUpper(mech)}
	if initial = strings.TrimSpace(initial); initial != "" {
		x.responses = append(x.responses, undo(initial))
	}
	s.rounds(&x, off, false)
}

// authGoesOn reads what is left of an authentication of which a hole has taken the command: what the
// server asks tells the mechanism.
func (s *session) authGoesOn() {
	x := exchange{challenges: []string{undo(s.asked)}}
	switch asked := strings.ToLower(x.challenges[0]); {
	case strings.HasPrefix(asked, "user"):
		x.mechanism = "LOGIN"
	case strings.HasPrefix(asked, "pass"):
		x.mechanism, x.responses = "LOGIN", []string{""}
	case strings.HasPrefix(asked, "<") && strings.HasSuffix(asked, ">"):
		x.mechanism = "CRAM-MD5"
	case asked == "":
		x.mechanism = "PLAIN"
	default:
		return
	}
	off := s.up.Off()
	if line, whole := s.up.Line(maxCommand); whole {
		x.responses = append(x.responses, undo(string(line)))
		s.rounds(&x, off, true)
	}
}

// rounds reads the server's challenges and the client's responses, which began at off, and shows the
// credential. lost says that something of it was not captured.
func (s *session) rounds(x *exchange, off int64, lost bool) {
	first, last := int64(-1), int64(-1)
	end := s.up.Off()
	var success *bool
rounds:
	for range maxRounds {
		p, state := s.answer()
		if p != nil {
			if first < 0 {
				first = p.Off
			}
			last = p.Off + p.Len
			lost = lost || p.Broken
		}
		lost = lost || state == reply.Lost
		switch {
		case state == reply.Got && p.Code == 334:
			x.challenges = append(x.challenges, undo(string(p.Text)))
		case state == reply.Got:
			ok := p.Code == 235
			success = &ok
			break rounds
		case s.up.EOF() || s.up.Gap() > 0 || command(s.peekLine()):
			break rounds
		}
		line, whole := s.up.Line(maxCommand)
		if !whole {
			lost = true
			break
		}
		end = s.up.Off()
		x.responses = append(x.responses, undo(string(line)))
	}
	c := x.credential()
	if c.User == "" && c.Password == "" && c.Secret == "" {
		return
	}
	c.Protocol, c.Success = "smtp", success
	up := ntpac.Span{Dir: ntpac.Up, Off: off, Len: end - off}
	a := &ntpac.Artifact{Type: "credential", Time: s.when.Up.Time(off), Spans: []ntpac.Span{up}, Fields: c}
	if first >= 0 {
		a.Spans = append(a.Spans, ntpac.Span{Dir: ntpac.Down, Off: first, Len: last - first})
	}
	if a.Quality = s.d.Quality(a.Spans...); lost || success == nil { // it rests on the answer, too
		a.Quality = ntpac.Gapped
	}
	s.emit.Emit(a)
}

// undo undoes base64; what is none stays. "=" is an empty response, "*" gives up.
func undo(s string) string {
	s = strings.TrimSpace(s)
	if s == "=" || s == "*" {
		return ""
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return s
	}
	return string(b)
}

// credential reads the exchange by its mechanism.
func (x *exchange) credential() *artifact.Credential {
	c := &artifact.Credential{Mechanism: x.mechanism}
	at := func(i int) string {
		if i < len(x.responses) {
			return x.responses[i]
		}
		return ""
	}
	switch m := x.mechanism; {
	case m == "PLAIN": // RFC 4616
		if p := strings.SplitN(at(0), "\x00", 3); len(p) == 3 {
			c.User, c.Password = p[1], p[2]
			if c.User == "" {
				c.User = p[0]
			}
		}
	case m == "LOGIN":
		c.User, c.Password = at(0), at(1)
	case m == "CRAM-MD5": // RFC 2195
		if i := strings.LastIndexByte(at(0), ' '); i >= 0 {
			c.User, c.Secret = at(0)[:i], at(0)[i+1:]
		}
		if len(x.challenges) > 0 {
			c.Challenge = x.challenges[0]
		}
	case m == "XOAUTH2", m == "OAUTHBEARER": // RFC 7628
		for f := range strings.SplitSeq(at(0), "\x01") {
			f = strings.TrimPrefix(f, "n,")
			switch k, v, _ := strings.Cut(f, "="); k {
			case "user", "a":
				c.User = strings.TrimSuffix(v, ",")
			case "auth":
				c.Secret = v
			}
		}
	case m == "DIGEST-MD5": // RFC 2831
		c.User, c.Secret = attribute(at(0), "username"), at(0)
		if len(x.challenges) > 0 {
			c.Challenge = x.challenges[0]
		}
	case strings.HasPrefix(m, "SCRAM-"): // RFC 5802
		c.User, c.Secret = attribute(at(0), "n"), attribute(at(1), "p")
	default:
		c.Secret = encoded(x.responses)
	}
	return c
}

// attribute finds name=value, perhaps quoted, in a list with commas.
func attribute(s, name string) string {
	for f := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(strings.TrimSpace(f), "="); ok && strings.EqualFold(k, name) {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

// encoded gives responses of an unknown mechanism as they were sent.
func encoded(responses []string) string {
	var out []string
	for _, r := range responses {
		if r != "" {
			out = append(out, base64.StdEncoding.EncodeToString([]byte(r)))
		}
	}
	return strings.Join(out, " ")
}
