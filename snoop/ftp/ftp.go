// Package ftp reads FTP (RFC 959, 2228, 2428, 3659): the control connection's commands with their
// replies, what clients log in with, and the data conversations that transfers announce.
package ftp

import (
	"bytes"
	"context"

	"ntpac"
)

// Snooper reads control connections.
type Snooper struct{}

// New makes the snooper of control connections.
func New() *Snooper { return &Snooper{} }

// Info describes the snooper.
func (*Snooper) Info() ntpac.SnooperInfo {
	return ntpac.SnooperInfo{Name: "ftp", Version: 2, Protos: []ntpac.Proto{ntpac.TCP}, Ports: []uint16{21, 2121},
		Types: []string{"ftp", "credential", "tls"},
		Holes: "Commands are found again at the next line and paired with replies by the order of capture; replies without a command are shown alone."}
}

// Snoop reads the conversation.
func (*Snooper) Snoop(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	s := session{ctx: ctx, d: d, up: d.Up, when: d.Fresh(), emit: emit}
	return s.run()
}

// Probe recognises FTP by the words of both sides: greetings and some commands are those of SMTP and
// POP3 too.
func (*Snooper) Probe(h *ntpac.Head) ntpac.Verdict {
	right := judge(h.Data[ntpac.Up], h.Data[ntpac.Down])
	if right == ntpac.Certain {
		return ntpac.Verdict{Confidence: right}
	}
	if wrong := judge(h.Data[ntpac.Down], h.Data[ntpac.Up]); wrong > right {
		return ntpac.Verdict{Confidence: wrong, Swapped: true}
	}
	return ntpac.Verdict{Confidence: right}
}

// judge says how well the two sides look like an FTP client and server.
func judge(client, server []byte) ntpac.Confidence {
	c, s := clientWords(client), serverWords(server)
	switch {
	case c == foreign || s == foreign:
		return ntpac.NotMine
	case c == own || s == own || c == likely && s == possible:
		return ntpac.Certain
	case c != silent || s != silent:
		return ntpac.Unsure
	}
	return ntpac.NotMine
}

// words says what one side's first bytes are.
type words uint8

const (
	silent   words = iota // nothing was captured
	possible              // FTP, or something that looks like it
	likely                // the beginning of a login, as POP3 has it too
	own                   // FTP
	foreign               // something else
)

// clientWords looks at the client's first lines: one command of FTP alone is enough.
func clientWords(b []byte) words {
	w := silent
	for n := 0; len(b) > 0 && n < 8; n++ {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole && n > 0 {
			break
		}
		b = rest
		verb, arg := splitCommand(clean(line))
		c := commandOf(verb)
		switch {
		case c == nil && n == 0:
			return foreign
		case c == nil:
			return w
		case c.own || is(verb, "type") && len(arg) <= 3 || is(verb, "auth") && (hasFold(arg, "tls") || hasFold(arg, "ssl")):
			return own
		case is(verb, "user"):
			w = likely
		default:
			w = max(w, possible)
		}
	}
	return w
}

// serverWords looks at the server's first reply.
func serverWords(b []byte) words {
	if len(b) == 0 {
		return silent
	}
	if len(b) < 4 || b[0] < '1' || b[0] > '5' || b[1] > '9' || b[1] < '0' || b[2] > '9' || b[2] < '0' || b[3] != ' ' && b[3] != '-' && b[3] != '\r' && b[3] != '\n' {
		return foreign
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	switch string(b[:3]) {
	case "220", "120":
		switch {
		case containsFold(line, "smtp"), containsFold(line, "lmtp"):
			return foreign
		case containsFold(line, "ftp"), bytes.Contains(b, []byte("\n331 ")), bytes.Contains(b, []byte("\n230 ")):
			return own
		case bytes.Contains(b, []byte("\n354 ")):
			return foreign
		}
		return possible
	case "331", "227", "229", "230", "150", "226", "257", "125":
		return own
	case "200", "202", "211", "213", "214", "215", "221", "250", "332", "350", "425", "426", "450", "500", "501", "502", "503", "504", "530", "550", "553", "421":
		if len(b) > 8 && b[5] == '.' { // an enhanced status code of SMTP
			return foreign
		}
		return possible
	}
	return foreign
}

// command is a command of the protocol.
type command struct {
	verb     string // lower case
	own      bool   // no other protocol has it
	transfer bool   // it uses a data conversation
}

// commands are those of RFC 959, 775, 2228, 2389, 2428, 3659 and 7151.
var commands = [...]command{
	{"user", false, false}, {"pass", false, false}, {"acct", true, false}, {"cwd", true, false}, {"cdup", true, false}, {"smnt", true, false},
	{"quit", false, false}, {"rein", true, false}, {"port", true, false}, {"pasv", true, false}, {"type", false, false}, {"stru", true, false},
	{"mode", false, false}, {"retr", false, true}, {"stor", true, true}, {"stou", true, true}, {"appe", true, true}, {"allo", true, false},
	{"rest", false, false}, {"rnfr", true, false}, {"rnto", true, false}, {"abor", true, false}, {"dele", false, false}, {"rmd", true, false},
	{"mkd", true, false}, {"pwd", true, false}, {"list", false, true}, {"nlst", true, true}, {"site", true, false}, {"syst", true, false},
	{"stat", false, false}, {"help", false, false}, {"noop", false, false}, {"xmkd", true, false}, {"xrmd", true, false}, {"xpwd", true, false},
	{"xcup", true, false}, {"xcwd", true, false}, {"auth", false, false}, {"adat", true, false}, {"pbsz", true, false}, {"prot", true, false},
	{"ccc", true, false}, {"mic", true, false}, {"conf", true, false}, {"enc", true, false}, {"feat", true, false}, {"opts", true, false},
	{"eprt", true, false}, {"epsv", true, false}, {"lprt", true, false}, {"lpsv", true, false}, {"mdtm", true, false}, {"mfmt", true, false},
	{"size", true, false}, {"mlst", true, false}, {"mlsd", true, true}, {"host", false, false}, {"clnt", true, false}, {"lang", false, false},
	{"xcrc", true, false}, {"xmd5", true, false}, {"hash", false, false}, {"macb", true, false}}

// commandOf finds a command, nil for a word that is none.
func commandOf(verb []byte) *command {
	for i := range commands {
		if is(verb, commands[i].verb) {
			return &commands[i]
		}
	}
	return nil
}

// clean takes away what Telnet (RFC 854) puts before commands that interrupt.
func clean(line []byte) []byte {
	for len(line) > 0 && line[0] >= 0xf0 {
		line = line[1:]
	}
	return bytes.TrimRight(line, "\r")
}

// splitCommand parts a line into its verb and its argument, whose inner and trailing spaces are kept:
// file names may have them.
func splitCommand(line []byte) (verb, arg []byte) {
	i := bytes.IndexByte(line, ' ')
	if i < 0 {
		return bytes.TrimSpace(line), nil
	}
	return line[:i], line[i+1:]
}

// is compares a word with one in lower case.
func is(b []byte, word string) bool { return len(b) == len(word) && hasFold(b, word) }

// hasFold reports whether b begins with a word, which is given in lower case.
func hasFold(b []byte, word string) bool {
	if len(b) < len(word) {
		return false
	}
	for i := range len(word) {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// containsFold reports whether a word, which is given in lower case, is in b.
func containsFold(b []byte, word string) bool {
	for i := 0; i+len(word) <= len(b); i++ {
		if hasFold(b[i:], word) {
			return true
		}
	}
	return false
}
