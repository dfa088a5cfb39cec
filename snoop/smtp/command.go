package smtp

import (
	"bytes"
	"strings"
)

// verb is a command.
type verb uint8

const (
	other verb = iota
	ehlo
	helo
	lhlo
	mailFrom
	rcptTo
	data
	bdat
	rset
	auth
	starttls
	quit
	noop
	help
	vrfy
	expn
	etrn
	xclient
)

// verbs are the commands by their words, in lower case.
var verbs = [...]struct {
	word string
	verb verb
}{{"ehlo", ehlo}, {"helo", helo}, {"lhlo", lhlo}, {"mail", mailFrom}, {"rcpt", rcptTo}, {"data", data}, {"bdat", bdat},
	{"rset", rset}, {"auth", auth}, {"starttls", starttls}, {"quit", quit}, {"noop", noop}, {"help", help}, {"vrfy", vrfy},
	{"expn", expn}, {"etrn", etrn}, {"xclient", xclient}, {"xforward", xclient}, {"send", mailFrom}, {"soml", mailFrom}, {"saml", mailFrom}}

func verbOf(word []byte) verb {
	for i := range verbs {
		if len(word) == len(verbs[i].word) && hasFold(word, verbs[i].word) {
			return verbs[i].verb
		}
	}
	return other
}

// splitCommand parts a line into its verb and what follows.
func splitCommand(line []byte) (word, arg []byte) {
	line = bytes.TrimRight(line, " \t\r")
	i := bytes.IndexByte(line, ' ')
	if i < 0 {
		return line, nil
	}
	return line[:i], bytes.TrimLeft(line[i:], " \t")
}

// command reports whether a line is certainly a command rather than text or a line of a message.
func command(line []byte) bool {
	word, arg := splitCommand(line)
	switch verbOf(word) {
	case other:
		return false
	case mailFrom:
		return hasFold(arg, "from:") || hasFold(arg, "from ")
	case rcptTo:
		return hasFold(arg, "to:") || hasFold(arg, "to ")
	case data, rset, quit, starttls:
		return len(arg) == 0
	case noop, help:
		return len(arg) == 0 || string(word) == strings.ToUpper(string(word))
	case bdat:
		_, _, ok := chunk(arg)
		return ok
	}
	return len(arg) > 0 && bytes.IndexByte(arg, ' ') < 0 || string(word) == strings.ToUpper(string(word))
}

// chunk reads the arguments of BDAT (RFC 3030 section 2).
func chunk(arg []byte) (size int64, last, ok bool) {
	n, rest, _ := bytes.Cut(arg, []byte(" "))
	if len(n) == 0 || len(n) > 18 {
		return 0, false, false
	}
	for _, c := range n {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		size = size*10 + int64(c-'0')
	}
	rest = bytes.TrimSpace(rest)
	last = len(rest) == 4 && hasFold(rest, "last")
	return size, last, last || len(rest) == 0
}

// address reads the path of MAIL FROM and RCPT TO (RFC 5321 section 4.1.2), also where the brackets
// are missing. The route of old paths is left out; the null path is "<>".
func address(arg []byte) string {
	i := bytes.IndexByte(arg, ':')
	if i < 0 {
		if i = bytes.IndexByte(arg, ' '); i < 0 {
			return ""
		}
	}
	arg = bytes.TrimSpace(arg[i+1:])
	if len(arg) == 0 || arg[0] != '<' {
		a, _, _ := bytes.Cut(arg, []byte(" "))
		return text(a)
	}
	quoted := false
	end := len(arg)
	for i, c := range arg {
		if c == '"' && arg[i-1] != '\\' {
			quoted = !quoted
		}
		if c == '>' && !quoted {
			end = i
			break
		}
	}
	a := bytes.TrimSpace(arg[1:end])
	if len(a) == 0 {
		return "<>"
	}
	if a[0] == '@' {
		if k := bytes.IndexByte(a, ':'); k > 0 {
			a = a[k+1:]
		}
	}
	return text(a)
}

// text keeps an address as valid UTF-8.
func text(b []byte) string { return strings.ToValidUTF8(string(b), "\ufffd") }

// headerNames are fields with which messages begin, in lower case.
var headerNames = [...]string{"received:", "return-path:", "from:", "to:", "date:", "subject:", "message-id:", "mime-version:",
	"content-type:", "dkim-signature:", "x-", "reply-to:", "cc:", "sender:", "delivered-to:", "user-agent:", "content-transfer-encoding:",
	"authentication-results:", "arc-seal:", "importance:", "organization:", "in-reply-to:", "references:", "list-"}

// headerField reports whether a line looks like a field of a message's header.
func headerField(line []byte) bool {
	i := bytes.IndexByte(line, ':')
	if i <= 0 || bytes.IndexByte(line[:i], ' ') >= 0 {
		return false
	}
	for _, n := range headerNames {
		if hasFold(line, n) {
			return true
		}
	}
	return false
}
