package main

import (
	"fmt"
	"strings"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

// carriers are the protocols over which mail is counted apart, with a group of the ground truth that
// tells streams of it. Of some streams only the client's side was captured.
var carriers = []struct{ protocol, group string }{{"smtp", "smtp_response"}, {"smtp", "smtp_request"}, {"pop3", "pop_response"}, {"imap", "imap_response"}}

// carrier is the protocol of a record's stream: other where tshark saw mail in anything else.
func (e *expected) carrier(record map[string]values) string {
	for _, c := range carriers {
		for _, r := range e.Artifacts[c.group] {
			if s, ok := r["stream"]; ok && s.Number == record["stream"].Number {
				return c.protocol
			}
		}
	}
	return "other"
}

// mail compares messages by sender, subject and message id, and the bytes of whole messages by sum.
// What is found in a protocol in which tshark saw no mail is extra there.
func (c *capture) mail() {
	want, got := map[string][]compare.Item{}, map[string][]compare.Item{}
	for _, r := range c.want.Artifacts["imf"] {
		ends, _ := c.want.place(r)
		over := c.want.carrier(r)
		n := messages(r)
		for i := range n {
			from, subject, id := field(r["imf.from"], i, n), field(r["imf.subject"], i, n), field(r["imf.message_id"], i, n)
			want[over] = append(want[over], compare.Item{Keys: []string{mailKey(ends, from, subject, id)}, Near: ends})
		}
	}
	for i := range c.arts {
		a := &c.arts[i]
		var m cli.Mail
		if a.Type != "mail" || !c.read(a, &m) {
			continue
		}
		ends, _ := c.places(a)
		var keys []string
		for n := range 16 { // each part as found, or standing for one that is not known
			part := func(bit int, v string) string {
				if n&bit != 0 {
					return anywhere
				}
				return v
			}
			keys = append(keys, mailKey(part(8, ends), part(1, m.From), part(2, m.Subject), part(4, m.MessageID)))
		}
		over := m.Protocol
		if over != "smtp" && over != "pop3" && over != "imap" {
			over = "other"
		}
		got[over] = append(got[over], compare.Item{Keys: keys, Near: ends})
	}
	for _, over := range []string{"smtp", "pop3", "imap", "other"} {
		c.add(over+" mail", want[over], got[over], c.want.capped("imf"))
	}
	c.bodies("mail body", "imf", c.sums())
}

// messages is how many mails a frame completes: a message has one message id, or else one sender.
func messages(r map[string]values) int {
	if n := len(r["imf.message_id"].List); n > 0 {
		return n
	}
	return max(len(r["imf.from"].List), 1)
}

func field(v values, i, n int) string {
	if s, ok := each(v, i, n); ok {
		return s
	}
	return anywhere
}

func mailKey(ends, from, subject, id string) string {
	return fmt.Sprintf("%s from %s subject %s id %s", ends, address(words(from)), words(subject), strings.Trim(plain(id), "<> "))
}

// ftp compares commands, and the files of the data conversations by sum.
func (c *capture) ftp() {
	var want, got []compare.Item
	for _, r := range c.want.Artifacts["ftp_request"] {
		ends, _ := c.want.place(r)
		commands := r["ftp.request.command"].List
		for i, cmd := range commands {
			want = append(want, compare.Item{Keys: []string{commandKey(ends, cmd, field(r["ftp.request.arg"], i, len(commands)))}, Near: ends + " " + cmd})
		}
	}
	for i := range c.arts {
		a := &c.arts[i]
		var f cli.FTP
		if a.Type != "ftp" || !c.read(a, &f) || f.Command == "" {
			continue
		}
		ends, _ := c.places(a)
		var keys []string
		for _, e := range []string{ends, anywhere} {
			keys = append(keys, commandKey(e, f.Command, f.Arg), commandKey(e, f.Command, anywhere))
		}
		got = append(got, compare.Item{Keys: keys, Near: ends + " " + strings.ToUpper(f.Command)})
	}
	c.add("ftp command", want, got, c.want.capped("ftp_request"))
	c.bodies("ftp file", "ftp-data", c.sums())
}

func commandKey(ends, command, arg string) string {
	return ends + " " + strings.ToUpper(plain(command)) + " " + plain(arg)
}
