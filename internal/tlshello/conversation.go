package tlshello

import (
	"errors"
	"fmt"

	"ntpac"
	"ntpac/artifact"
)

// errHole says why a message was not read to its end.
var errHole = errors.New("a part of the handshake was not captured")

// ReadConversation reads the handshake that begins at a position of each direction, 0 for TLS from the
// first byte on, and gives its artifacts: the hellos with the server's certificates; before them, where
// the server asked the client to try again, the first hello and that request; last, where the client
// shows certificates too, those. Who says which hello decides who is client: a connection's opener may
// be the server of TLS. Both streams are moved. No hello, no artifact.
func ReadConversation(d *ntpac.Dialog, up, down int64) []*ntpac.Artifact {
	h := handshake{d: d, client: readFlight(d.Up, up), server: readFlight(d.Down, down)}
	if h.client.find(isServerHello) >= 0 || h.server.find(isClientHello) >= 0 && h.client.find(isClientHello) < 0 {
		h.client, h.server = h.server, h.client
	}
	var out []*ntpac.Artifact
	for _, p := range h.pairs() {
		if a := h.hellos(p); a != nil {
			out = append(out, a)
		}
	}
	if a := h.clientCertificates(); a != nil {
		out = append(out, a)
	}
	return out
}

type handshake struct {
	d              *ntpac.Dialog
	client, server *flight
	a              *ntpac.Artifact
	f              *artifact.TLS
}

// pair is a client's hello and what the server says to it, by their indexes; -1 is none.
type pair struct {
	client, server int
	sure           bool // the client's hello is known to be this one
	two            bool // one of two exchanges: neither hello of it was left out
}

// pairs gives the exchanges of hellos: one, or two where the server asks for another hello (RFC 8446
// section 4.1.4). Which one a client's hello is, where the other was not captured, the request's time
// tells.
func (h *handshake) pairs() []pair {
	c, s := h.client, h.server
	p := pair{client: c.find(isClientHello), server: s.find(isServerHello)}
	second := pair{client: c.next(isClientHello, p.client), server: s.next(isServerHello, p.server), sure: true, two: true}
	retry := p.server >= 0 && s.msgs[p.server].retry()
	switch {
	case retry && p.client >= 0 && second.client < 0 && h.behind(p):
		second.client, p.client = p.client, -1
	case second.client >= 0 && !retry:
		second.server, p.server = p.server, -1
	case second.client < 0 && second.server < 0:
		p.sure = p.server == 0 && s.s.HeadKnown() && !s.msgs[0].after && !retry // the server's first word is no request for another one
		return []pair{p}
	}
	p.sure, p.two = retry || second.client >= 0, true
	return []pair{p, second}
}

// behind reports whether a client's hello was captured behind the server's.
func (h *handshake) behind(p pair) bool {
	c, s := &h.client.msgs[p.client], &h.server.msgs[p.server]
	return h.client.s.Order(c.spans[0].Off) > h.server.s.Order(s.spans[0].Off)
}

func isClientHello(m *message) bool { return m.typ == TypeClientHello || m.typ == typeV2 }

// isServerHello wants a hello that was captured up to its cipher.
func isServerHello(m *message) bool {
	if m.typ != TypeServerHello {
		return m.typ == typeServerV2
	}
	x, err := ParseServerHello(m.body)
	return x.Cipher != 0 || err == nil
}

// retry reports whether a server's hello asks the client for another one.
func (m *message) retry() bool {
	if m.typ != TypeServerHello {
		return false
	}
	x, _ := ParseServerHello(m.body)
	return x.Retry
}

// find gives the index of the first message of a kind, -1 where there is none.
func (f *flight) find(is func(*message) bool) int { return f.next(is, -1) }

// next gives the index of the next message of a kind behind one that there is.
func (f *flight) next(is func(*message) bool, at int) int {
	for i := at + 1; i < len(f.msgs); i++ {
		if is(&f.msgs[i]) {
			return i
		}
	}
	return -1
}

// use notes that the artifact rests on a message.
func (h *handshake) use(m *message, err error) {
	for _, s := range m.spans {
		if k := len(h.a.Spans) - 1; k >= 0 && h.a.Spans[k].Dir == s.Dir && h.a.Spans[k].Off+h.a.Spans[k].Len == s.Off {
			h.a.Spans[k].Len += s.Len
		} else {
			h.a.Spans = append(h.a.Spans, s)
		}
	}
	if h.a.Time == 0 || m.at < h.a.Time {
		h.a.Time = m.at
	}
	if !m.whole {
		err = errHole
		h.a.Quality = ntpac.Gapped
	}
	if err != nil && h.a.Error == "" {
		h.a.Error = err.Error()
	}
}

// hellos makes the artifact of a pair of hellos.
func (h *handshake) hellos(p pair) *ntpac.Artifact {
	h.f = &artifact.TLS{}
	h.a = &ntpac.Artifact{Type: "tls", Fields: h.f}
	ch, sh := h.clientHello(p), h.serverHello(p)
	if ch == nil && sh == nil {
		return nil
	}
	if ch == nil && (p.two || h.open(h.client)) {
		h.a.Quality = ntpac.Gapped
	}
	switch {
	case sh == nil:
		h.refusal()
		if p.two || h.open(h.server) {
			h.a.Quality = ntpac.Gapped
		}
	case !h.chain(p.server, sh):
		h.a.Quality = ntpac.Gapped
	}
	if sh != nil {
		FillHidden(h.f, sh)
	}
	return h.a
}

// open reports whether a direction may have said more in the clear than was captured: it was heard,
// but bytes are missing, or the capture ended first.
func (h *handshake) open(f *flight) bool {
	half := h.d.Conv.In(f.s.Dir)
	switch h.d.Conv.Close {
	case ntpac.Open, ntpac.CloseEnd, ntpac.CloseLimit:
		if !f.sealed {
			return true
		}
	}
	return half.Packets > 0 && (f.lost || !half.HeadKnown)
}

func (h *handshake) clientHello(p pair) *ClientHello {
	if p.client < 0 {
		return nil
	}
	m := &h.client.msgs[p.client]
	var ch *ClientHello
	var err error
	if m.typ == typeV2 {
		ch, err = parseClientV2(m.body)
	} else {
		ch, err = ParseClientHello(m.body)
	}
	ch.Fill(h.f, 't', m.whole && err == nil)
	h.use(m, err)
	if m.after && !p.sure {
		h.a.Quality = ntpac.Gapped // it may be the second one, after a request to try again
	}
	return ch
}

func (h *handshake) serverHello(p pair) *ServerHello {
	if p.server < 0 {
		return nil
	}
	m := &h.server.msgs[p.server]
	if m.typ == typeServerV2 {
		h.use(m, fillServerV2(h.f, m.body))
		return &ServerHello{Version: versionSSL2, Legacy: versionSSL2}
	}
	sh, err := ParseServerHello(m.body)
	sh.Fill(h.f, m.whole && err == nil)
	h.use(m, err)
	return sh
}

// chain reads the certificates behind the server's hello. It reports whether it is known that there
// are no others: TLS 1.3 hides them, SSL 2 has
// them in the hello, else they come right behind it.
func (h *handshake) chain(at int, sh *ServerHello) bool {
	if Encrypted13(sh.Version) || sh.Version == versionSSL2 {
		return true
	}
	f := h.server
	if at+1 == len(f.msgs) {
		return f.ccs && !f.hungry || !h.open(f)
	}
	for i := at + 1; i < len(f.msgs); i++ {
		m := &f.msgs[i]
		if m.typ == TypeCertificate {
			certs, err := ParseCertificates(m.body)
			h.f.Certificates = certs
			h.use(m, err)
			return true
		}
		if !m.after && i == at+1 {
			return true // something else comes right behind the hello: no certificate is sent
		}
	}
	return false
}

// refusal reads the alert with which a server answers instead of a hello.
func (h *handshake) refusal() {
	f := h.server
	if f.alert < 0 || len(f.msgs) > 0 {
		return
	}
	h.f.Alert = alertName(f.alert)
	h.a.Spans = append(h.a.Spans, f.alerts)
	f.sealed = true
}

// clientCertificates makes the artifact of the certificates by which a client proves itself.
func (h *handshake) clientCertificates() *ntpac.Artifact {
	i := h.client.find(func(m *message) bool { return m.typ == TypeCertificate })
	if i < 0 {
		return nil
	}
	m := &h.client.msgs[i]
	certs, err := ParseCertificates(m.body)
	if len(certs) == 0 {
		return nil
	}
	h.a = &ntpac.Artifact{Type: "tls", Fields: &artifact.TLS{ClientCerts: certs}}
	h.use(m, err)
	return h.a
}

var alerts = map[int]string{0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow",
	40: "handshake_failure", 42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked",
	45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied",
	50: "decode_error", 51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
	86: "inappropriate_fallback", 90: "user_canceled", 109: "missing_extension", 110: "unsupported_extension",
	112: "unrecognized_name", 113: "bad_certificate_status_response", 115: "unknown_psk_identity",
	116: "certificate_required", 120: "no_application_protocol"}

// alertName is the name of an alert (RFC 8446 section 6).
func alertName(d int) string {
	if n, ok := alerts[d]; ok {
		return n
	}
	return fmt.Sprintf("alert %d", d)
}
