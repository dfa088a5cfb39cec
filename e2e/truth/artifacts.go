package main

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

// ledger has, for one kind, what must be found, what was found, and the two sides of the inverse
// law: what was called complete, and everything that is true.
type ledger struct {
	want, got, called, real []compare.Item
}

type ledgers map[string]*ledger

func (l ledgers) of(kind string) *ledger {
	if l[kind] == nil {
		l[kind] = &ledger{}
	}
	return l[kind]
}

// inverse are the kinds for which nothing may be called complete that is not in the truth, and the
// rows that what was found of them is counted in.
var inverse = map[string][]string{"http": {"http"}, "dns": {"dns query", "dns response"}, "tls": {"tls"},
	"smtp mail": {"smtp mail"}, "credential": {"smtp credential", "ftp credential", "pop3 credential", "imap credential"}, "ftp file": {"ftp file", "ftp file, unannounced"}}

// artifacts compares what was found with what is true.
func (c *comparison) artifacts() error {
	l := ledgers{}
	for _, f := range c.truth.arts {
		c.state(l, f)
	}
	for i := range c.arts {
		if err := c.find(l, &c.arts[i]); err != nil {
			return err
		}
	}
	for kind, x := range l {
		c.tally.AddWanted(c.name, kind, x.want, x.got)
	}
	for kind, rows := range inverse {
		var called, real []compare.Item
		for _, r := range rows {
			called, real = append(called, l.of(r).called...), append(real, l.of(r).real...)
		}
		if kind == "dns" {
			called = distinct(called)
		}
		c.tally.AddWanted(c.name, kind+" called complete", called, real)
	}
	return nil
}

// distinct leaves of equal items the first: a datagram that was sent again is as true as before.
func distinct(items []compare.Item) (out []compare.Item) {
	seen := map[string]bool{}
	for _, it := range items {
		if !seen[it.Keys[0]] {
			seen[it.Keys[0]] = true
			out = append(out, it)
		}
	}
	return out
}

// state enters a fact; keys beside the first are halves of it, true by themselves.
func (c *comparison) state(l ledgers, f *fact) {
	ends := f.Talk.between()
	enter := func(kind string, keys ...string) {
		x := l.of(kind)
		if f.Complete {
			x.want = append(x.want, item(ends, keys[0]))
		}
		for _, k := range keys {
			x.real = append(x.real, item(ends, k))
		}
	}
	switch f.Kind {
	case "http":
		req := requestKey(f.Method, f.Host, f.URI, cli.SumOr(f.ReqBodySHA))
		sent, decoded := cli.NoBytes, cli.NoBytes
		if f.BodyLen > 0 {
			sent, decoded = f.BodySHA, f.DecodedSHA
		}
		res := responseKey(f.Status, sent, decoded)
		enter("http", req+" "+res, req, res)
	case "dns":
		enter("dns query", queryKey(f.ID, f.Name, f.QType))
		enter("dns response", queryKey(f.ID, f.Name, f.QType)+" "+answerKey(strconv.Itoa(f.RCode), f.Answers))
	case "tls":
		server := serverKey(f.Version, f.Cipher, f.CertSHA)
		enter("tls", "sni "+f.SNI+" "+server, "sni "+f.SNI, server)
	case "quic":
		enter("quic", "sni "+f.SNI)
	case "mail":
		var sums []string
		for _, a := range f.Attachments {
			sums = append(sums, a.SHA256)
		}
		enter(f.Protocol+" mail", mailKey(f.From, f.Subject, f.MessageID, f.MessageSHA, sums))
	case "credential":
		enter(f.Protocol+" credential", f.User+" "+f.Password)
	case "ftp_file":
		if f.unannounced() {
			enter("ftp file, unannounced", f.SHA256)
			return
		}
		enter("ftp file", f.SHA256)
		enter("ftp file, named", f.SHA256+" "+f.Filename)
	case "smb_file":
		enter("smb file", f.SHA256)
	case "sip_call":
		enter("sip call", f.CallID)
	case "chat":
		enter("chat", f.From+" "+f.To+" "+f.Text)
	case "ssh":
		enter("ssh", "")
	}
}

// unannounced reports whether nothing of the control connection was captured before all of the data was over:
// no packet tells then that the data is a file at all.
func (f *fact) unannounced() bool {
	if f.Control == nil || f.Control.sight[0] == nil {
		return false
	}
	over := max(f.Talk.sight[0].final, f.Talk.sight[1].final)
	for _, s := range f.Control.sight {
		if s.frames > 0 && s.first <= over {
			return false
		}
	}
	return true
}

// find enters an artifact of ntpac's.
func (c *comparison) find(l ledgers, a *cli.Artifact) error {
	ends := c.ends[a.Conversation]
	enter := func(kind, key string) {
		x := l.of(kind)
		x.got = append(x.got, item(ends, key))
		if a.Quality == "complete" {
			it := item(ends, key)
			it.Show = string(a.Raw)
			x.called = append(x.called, it)
		}
	}
	switch a.Type {
	case "http":
		var h cli.HTTP
		if err := a.Into(&h); err != nil {
			return err
		}
		enter("http", foundHTTP(&h))
	case "dns":
		var d cli.DNS
		if err := a.Into(&d); err != nil {
			return err
		}
		kind, key := foundDNS(&d)
		enter(kind, key)
	case "tls", "quic":
		var t cli.TLS
		if err := a.Into(&t); err != nil {
			return err
		}
		if a.Type == "quic" {
			enter("quic", "sni "+t.SNI)
			return nil
		}
		enter("tls", foundTLS(&t))
	case "mail":
		var m cli.Mail
		if err := a.Into(&m); err != nil {
			return err
		}
		var sums []string
		for _, x := range m.Attachments {
			sums = append(sums, x.SHA256)
		}
		enter(m.Protocol+" mail", mailKey(m.From, m.Subject, m.MessageID, m.SHA256, sums))
	default:
		return findOther(a, enter)
	}
	return nil
}

// findOther enters artifacts that are named by one or two values.
func findOther(a *cli.Artifact, enter func(kind, key string)) error {
	switch a.Type {
	case "credential":
		var x cli.Credential
		if err := a.Into(&x); err != nil {
			return err
		}
		if slices.Contains([]string{"smtp", "pop3", "imap", "ftp"}, x.Protocol) { // the truth lists those only
			enter(x.Protocol+" credential", x.User+" "+x.Password)
		}
	case "file":
		var f cli.File
		if err := a.Into(&f); err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(f.Protocol, "ftp"):
			enter("ftp file", cli.SumOr(f.SHA256))
			enter("ftp file, named", cli.SumOr(f.SHA256)+" "+path.Base(f.Filename))
		case strings.HasPrefix(f.Protocol, "smb"):
			enter("smb file", cli.SumOr(f.SHA256))
		}
	case "call":
		var x struct {
			CallID string `json:"call_id"`
		}
		if err := a.Into(&x); err != nil {
			return err
		}
		enter("sip call", x.CallID)
	case "chat":
		var x struct{ From, To, Text string }
		if err := a.Into(&x); err != nil {
			return err
		}
		enter("chat", x.From+" "+x.To+" "+x.Text)
	case "ssh":
		enter("ssh", "")
	}
	return nil
}

func item(ends, key string) compare.Item {
	return compare.Item{Keys: []string{ends + " " + key}, Near: ends}
}

func requestKey(method, host, uri, sum string) string {
	return fmt.Sprintf("%s %s%s body %s", method, host, uri, sum)
}

func responseKey(status int, sent, decoded string) string {
	return fmt.Sprintf("%d body %s decoded %s", status, sent, decoded)
}

// foundHTTP is the key of an exchange, or of the half of it that was found.
func foundHTTP(h *cli.HTTP) string {
	body, _ := h.RequestBody.Sums()
	sent, decoded := h.ResponseBody.Sums()
	req, res := requestKey(h.Method, h.Host, h.URI, body), responseKey(int(h.Status), sent, decoded)
	switch {
	case h.Status == 0:
		return req
	case h.Method == "":
		return res
	}
	return req + " " + res
}

func queryKey(id int64, name, kind string) string {
	return fmt.Sprintf("0x%04x %s %s", id, strings.TrimSuffix(strings.ToLower(name), "."), kind)
}

func answerKey(rcode string, answers []string) string {
	slices.Sort(answers)
	return "rcode " + rcode + " [" + strings.Join(answers, ", ") + "]"
}

func foundDNS(d *cli.DNS) (kind, key string) {
	key = queryKey(int64(d.TXID), d.Query, d.QType)
	if !d.Response {
		return "dns query", key
	}
	var data []string
	for _, r := range d.Answers {
		switch v := strings.TrimSuffix(r.Data, "."); r.Type {
		case "TXT":
			data = append(data, strings.Trim(r.Data, `"`))
		case "MX":
			data = append(data, v[strings.LastIndexByte(v, ' ')+1:])
		default:
			data = append(data, v)
		}
	}
	return "dns response", key + " " + answerKey(rcode(d.RCode), data)
}

// rcode gives the number of a response code that may be a name.
func rcode(v any) string {
	switch x := v.(type) {
	case float64:
		return strconv.Itoa(int(x))
	case string:
		switch s := strings.ToUpper(x); s {
		case "", "NOERROR":
			return "0"
		case "NXDOMAIN":
			return "3"
		default:
			return s
		}
	}
	return "0"
}

// serverKey is what a server's hello and certificate say. The generator's ciphers have names.
func serverKey(version, cipher, cert string) string {
	version = strings.TrimSpace(strings.TrimPrefix(strings.ToUpper(version), "TLS"))
	cipher = strings.ToLower(cipher)
	switch cipher {
	case "tls_aes_128_gcm_sha256":
		cipher = "0x1301"
	case "tls_ecdhe_rsa_with_aes_128_gcm_sha256":
		cipher = "0xc02f"
	}
	return "version " + strings.TrimPrefix(version, "V") + " cipher " + cipher + " certificate " + strings.ToLower(cert)
}

func foundTLS(t *cli.TLS) string {
	cert := ""
	if len(t.Certificates) > 0 {
		cert = t.Certificates[0].SHA256
	}
	server := serverKey(t.Version, t.Cipher, cert)
	switch {
	case t.Cipher == "":
		return "sni " + t.SNI
	case t.SNI == "":
		return server
	}
	return "sni " + t.SNI + " " + server
}

func mailKey(from, subject, id, sum string, attachments []string) string {
	if i := strings.LastIndexByte(from, '<'); i >= 0 {
		from = strings.TrimSuffix(from[i+1:], ">")
	}
	slices.Sort(attachments)
	return fmt.Sprintf("from %s subject %s id %s sum %s attachments %s", from, subject, strings.Trim(id, "<>"), sum, strings.Join(attachments, ","))
}
