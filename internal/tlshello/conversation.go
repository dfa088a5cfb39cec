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
// first byte on, and gives its artifacts: first the hellos with the server's certificates, then, where
// the client shows certificates too, those. Who says which hello decides who is client: a connection's
// opener may be the server of TLS. Both streams are moved. No hello, no artifact.
func ReadConversation(d *ntpac.Dialog, up, down int64) []*ntpac.Artifact {
	h := handshake{d: d, client: readFlight(d.Up, up), server: readFlight(d.Down, down)}
	if h.client.find(TypeServerHello) != nil || h.server.findClient() != nil && h.client.findClient() == nil {
		h.client, h.server = h.server, h.client
	}
	var out []*ntpac.Artifact
	if a := h.hellos(); a != nil {
		out = append(out, a)
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

func (f *flight) find(typ uint8) *message {
	for i := range f.msgs {
		if f.msgs[i].typ == typ {
			return &f.msgs[i]
		}
	}
	return nil
}

func (f *flight) findClient() *message {
	if m := f.find(typeV2); m != nil {
		return m
	}
	return f.find(TypeClientHello)
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

// hellos makes the artifact of both hellos.
func (h *handshake) hellos() *ntpac.Artifact {
	h.f = &artifact.TLS{}
	h.a = &ntpac.Artifact{Type: "tls", Fields: h.f}
	ch := h.clientHello()
	at, sh := h.serverHello()
	if ch == nil && sh == nil {
		return nil
	}
	if ch == nil && h.open(h.client) {
		h.a.Quality = ntpac.Gapped
	}
	switch {
	case sh == nil:
		h.refusal()
		if h.open(h.server) {
			h.a.Quality = ntpac.Gapped
		}
	case sh.Retry, !h.chain(at, sh):
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

func (h *handshake) clientHello() *ClientHello {
	m := h.client.findClient()
	if m == nil {
		return nil
	}
	var ch *ClientHello
	var err error
	if m.typ == typeV2 {
		ch, err = parseClientV2(m.body)
	} else {
		ch, err = ParseClientHello(m.body)
	}
	ch.Fill(h.f, 't', m.whole && err == nil)
	h.use(m, err)
	if m.after {
		h.a.Quality = ntpac.Gapped // it may be the second one, after a request to try again
	}
	return ch
}

// serverHello reads the server's hello: behind a request to try again, the second one.
func (h *handshake) serverHello() (at int, sh *ServerHello) {
	for i := range h.server.msgs {
		m := &h.server.msgs[i]
		if m.typ != TypeServerHello {
			continue
		}
		x, err := ParseServerHello(m.body)
		if x.Cipher == 0 && err != nil {
			continue
		}
		at, sh = i, x
		if x.Retry && i+1 < len(h.server.msgs) {
			continue
		}
		break
	}
	if sh == nil {
		return 0, nil
	}
	m := &h.server.msgs[at]
	sh, err := ParseServerHello(m.body)
	sh.Fill(h.f, m.whole && err == nil)
	h.use(m, err)
	return at, sh
}

// chain reads the certificates behind the server's hello. It reports whether it is known that there
// are no others: TLS 1.3 hides them, before that they come right behind the hello.
func (h *handshake) chain(at int, sh *ServerHello) bool {
	if Encrypted13(sh.Version) {
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
	m := h.client.find(TypeCertificate)
	if m == nil {
		return nil
	}
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
