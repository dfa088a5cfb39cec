package ftp

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"

	"ntpac"
)

// dataEnd is the end point at which one side waits for the next data conversation.
type dataEnd struct {
	known  bool
	client bool           // the client waits: PORT
	at     netip.AddrPort // as it was told; the address may be missing, and the port where the reply to PASV was not captured
	since  ntpac.Time
}

// How long a data conversation may take to begin, and how long behind the command one may whose port is not
// known.
const (
	dataWindow  = 600 * ntpac.Second
	guessWindow = 5 * ntpac.Second
)

// announced is what a control connection says of a data conversation: the expectation's context.
type announced struct {
	Command  string `json:"command,omitempty"`
	Path     string `json:"path,omitempty"`     // the argument, below the working directory where that is known
	Filename string `json:"filename,omitempty"` // the last part of it; none for listings
	User     string `json:"user,omitempty"`
	Sender   string `json:"sender,omitempty"` // the address of the side that sends; empty: not known
	Server   string `json:"server,omitempty"` // the address of the control connection's server
	Mode     string `json:"mode,omitempty"`
	Rest     int64  `json:"rest,omitempty"`
	Order    int    `json:"order"` // of the transfers of one control connection
	Guessed  bool   `json:"guessed,omitempty"`
}

// active keeps what PORT, EPRT or LPRT tells.
func (s *session) active(verb, arg string, at ntpac.Time) {
	var end netip.AddrPort
	var ok bool
	switch verb {
	case "port":
		end, ok = hostPort(arg)
	case "eprt":
		end, ok = extended(arg)
	case "lprt":
		end, ok = long(arg)
	}
	if ok {
		s.data = dataEnd{known: true, client: true, at: end, since: at}
	}
}

// passive keeps what the reply to PASV (227), LPSV (228) or EPSV (229) tells.
func (s *session) passive(code int, reply string, at ntpac.Time) {
	var end netip.AddrPort
	var ok bool
	switch code {
	case 227:
		end, ok = hostPort(reply)
	case 228:
		end, ok = long(parenthesis(reply))
	case 229:
		end, ok = extended(parenthesis(reply))
	}
	if ok {
		s.data = dataEnd{known: true, at: end, since: at}
	}
}

// transfer announces the data conversation of a transfer. Which address the other side really uses is
// not certain behind address translation: both the one that was told and the control connection's own
// are announced.
func (s *session) transfer(t *turn) {
	if t.Code >= 400 && t.Preliminary == "" {
		return // refused: the end point waits for the next one
	}
	end := s.data
	c, v := s.d.Conv.ClientEnd(), s.d.Conv.ServerEnd()
	switch {
	case end.known:
	case s.damaged(): // nobody can say who waits, and where
		end = dataEnd{since: max(s.settled, t.at-guessWindow)}
	case t.verb == "":
		return
	default:
		// RFC 959 section 3.2: without PORT the server connects to the client's control port.
		end = dataEnd{known: true, client: true, at: c, since: t.at}
	}
	s.settled = max(t.at, t.ended)
	s.order++
	e := ntpac.Expectation{Proto: s.d.Conv.Key.Proto, Start: end.since - ntpac.ClockSlack, End: end.since + dataWindow, App: "ftp-data"}
	if t.ended >= end.since && t.ended > 0 && !t.broken {
		e.End = min(e.End, t.ended+ntpac.ClockSlack)
	}
	if end.at.Port() == 0 {
		e.End = min(e.End, t.at+guessWindow)
	}
	own := v.Addr()
	e.From = netip.AddrPortFrom(c.Addr(), 0)
	if end.client {
		own, e.From = c.Addr(), netip.AddrPortFrom(v.Addr(), 0)
	}
	e.Context = s.context(t, end.at.Port() == 0)
	e.To = netip.AddrPortFrom(own, end.at.Port())
	s.emit.Expect(e)
	if told := end.at.Addr(); told.IsValid() && told != own && !told.IsUnspecified() {
		// The other end is not restricted: the data may go between two servers (RFC 959 section 5.2).
		e.To, e.From = end.at, netip.AddrPort{}
		s.emit.Expect(e)
	}
	s.rest = 0
	if end.client {
		s.data.since = max(end.since, t.ended) // PORT stays in force
	} else {
		s.data = dataEnd{}
	}
}

// damaged reports whether the words that tell of data conversations may be lost.
func (s *session) damaged() bool {
	up, down := s.d.Conv.In(ntpac.Up), s.d.Conv.In(ntpac.Down)
	return !up.HeadKnown || !down.HeadKnown || up.Missing+down.Missing > 0 || up.Packets == 0 || down.Packets == 0
}

// context describes the transfer. It is a guess where not even the port of the data is known.
func (s *session) context(t *turn, guess bool) json.RawMessage {
	a := announced{Command: t.Command, Path: s.absolute(t.Arg), User: s.user, Rest: s.rest, Order: s.order, Guessed: guess}
	c, v := s.d.Conv.ClientEnd().Addr().String(), s.d.Conv.ServerEnd().Addr().String()
	switch t.verb {
	case "stor", "stou", "appe":
		a.Sender, a.Filename = c, baseName(t.Arg)
		if t.verb == "stou" {
			if name := namedFile(t.prelim + "\n" + t.Reply); name != "" {
				a.Filename, a.Path = baseName(name), s.absolute(name)
			}
		}
	case "retr":
		a.Sender, a.Filename = v, baseName(t.Arg)
	case "list", "nlst", "mlsd":
		a.Sender = v
	default: // the command was not captured: the reply often names the file
		name := openedFile(t.prelim)
		a.Path, a.Filename, a.Server, a.Guessed = name, baseName(name), v, true
	}
	if s.typ != "" && s.typ != "I" && s.typ != "L" {
		a.Mode = s.typ
	}
	if s.mode != "" && s.mode != "S" {
		a.Mode += s.mode
	}
	b, err := json.Marshal(a)
	if err != nil {
		return nil
	}
	return b
}

// baseName is the last part of a path of any system; empty for a directory.
func baseName(p string) string {
	p = strings.TrimRight(p, " ")
	if i := strings.LastIndexAny(p, `/\`); i >= 0 {
		return p[i+1:]
	}
	if p == "." {
		return ""
	}
	return p
}

// namedFile finds the name that a server gives to a unique file: "FILE: name" (RFC 1123 section 4.1.2.9).
func namedFile(reply string) string {
	_, rest, ok := strings.Cut(reply, "FILE: ")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(name)
}

// openedFile finds the name in "Opening BINARY mode data connection for name (123 bytes)".
func openedFile(reply string) string {
	_, rest, ok := strings.Cut(reply, " for ")
	if !ok {
		return ""
	}
	if i := strings.LastIndex(rest, " ("); i > 0 {
		rest = rest[:i]
	}
	name := strings.TrimRight(rest, ". \r\n")
	switch strings.ToLower(name) {
	case "file list", "directory listing", "directory list", "/bin/ls", "mlsd", "nlst", "ls":
		return ""
	}
	return strings.TrimSpace(name)
}

// parenthesis is what stands within the last parentheses, or all where there are none.
func parenthesis(s string) string {
	i := strings.LastIndexByte(s, '(')
	if i < 0 {
		return s
	}
	s, _, _ = strings.Cut(s[i+1:], ")")
	return s
}

// hostPort finds h1,h2,h3,h4,p1,p2 (RFC 959 section 4.1.2), with or without parentheses, anywhere in
// a text: where it stands in a reply is up to the server (RFC 1123 section 4.1.2.6).
func hostPort(s string) (netip.AddrPort, bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			continue
		}
		n, k := numbers(s[i:])
		if len(n) == 6 {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5])), true
		}
		i += k
	}
	return netip.AddrPort{}, false
}

// numbers reads numbers below 256 with commas between them and says how far.
func numbers(s string) (out []byte, read int) {
	for i := 0; i < len(s) && len(out) < 64; {
		v, k := 0, i
		for k < len(s) && s[k] >= '0' && s[k] <= '9' && v < 256 {
			v = v*10 + int(s[k]-'0')
			k++
		}
		if k == i || v > 255 {
			return out, max(i, k)
		}
		out = append(out, byte(v))
		if i = k; i >= len(s) || s[i] != ',' {
			return out, i
		}
		for i++; i < len(s) && s[i] == ' '; i++ {
		}
	}
	return out, len(s)
}

// extended reads <d>family<d>address<d>port<d> (RFC 2428); family and address may be missing.
func extended(s string) (netip.AddrPort, bool) {
	s = strings.TrimSpace(s)
	if len(s) < 5 {
		return netip.AddrPort{}, false
	}
	f := strings.Split(s, s[:1])
	if len(f) < 4 {
		return netip.AddrPort{}, false
	}
	port, err := strconv.ParseUint(f[3], 10, 16)
	if err != nil || port == 0 {
		return netip.AddrPort{}, false
	}
	var addr netip.Addr
	if f[2] != "" {
		if addr, err = netip.ParseAddr(f[2]); err != nil {
			return netip.AddrPort{}, false
		}
	}
	return netip.AddrPortFrom(addr.WithZone(""), uint16(port)), true
}

// long reads family,length,address...,2,port (RFC 1639).
func long(s string) (netip.AddrPort, bool) {
	n, _ := numbers(strings.TrimSpace(s))
	if len(n) < 2 || len(n) < 2+int(n[1])+3 {
		return netip.AddrPort{}, false
	}
	addr, ok := netip.AddrFromSlice(n[2 : 2+int(n[1])])
	rest := n[2+int(n[1]):]
	if !ok || rest[0] != 2 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr, uint16(rest[1])<<8|uint16(rest[2])), true
}
