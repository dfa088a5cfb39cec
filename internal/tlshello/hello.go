// Package tlshello reads what TLS says before it encrypts: the hellos and the certificates, from
// handshake messages (which QUIC carries too) or from the records of a conversation (also those that
// begin in its middle, after STARTTLS).
package tlshello

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ntpac/artifact"
	"ntpac/internal/wire"
)

// Types of handshake messages (RFC 8446 section 4, RFC 5246 section 7.4).
const (
	TypeClientHello = 1
	TypeServerHello = 2
	TypeCertificate = 11
)

// Extensions that are read (IANA, TLS ExtensionType Values).
const (
	extServerName  = 0
	extGroups      = 10
	extPoints      = 11
	extSignatures  = 13
	extALPN        = 16
	extVersions    = 43
	version13      = 0x0304
	version12      = 0x0303
	versionSSL2    = 0x0002
	draft13        = 0x7f00
	helloRandomLen = 32
)

// ErrHello is what a hello gives whose lengths contradict one another.
var ErrHello = errors.New("malformed hello")

// ClientHello is a client's hello. GREASE values (RFC 8701) are in the lists, as they were sent.
type ClientHello struct {
	Version    uint16 // legacy_version
	Ciphers    []uint16
	Extensions []uint16 // types, in their order
	Groups     []uint16
	Points     []uint8
	Signatures []uint16
	Versions   []uint16 // supported_versions
	SNI        string
	ALPN       []string
	V2         bool   // in the form of SSL 2
	rawALPN    string // the first protocol's bytes
}

// ServerHello is a server's hello, or its request to try again.
type ServerHello struct {
	Version    uint16 // as negotiated
	Legacy     uint16 // as the fixed field says
	Cipher     uint16
	Extensions []uint16
	ALPN       string
	Retry      bool // HelloRetryRequest
}

// ParseClientHello reads the body of a ClientHello (RFC 8446 section 4.1.2). With an error, what came
// before the damage is there.
func ParseClientHello(body []byte) (*ClientHello, error) {
	r := wire.New(body)
	h := &ClientHello{Version: r.U16()}
	r.Skip(helloRandomLen)
	r.Vec8()
	h.Ciphers = u16s(r.Vec16())
	r.Vec8()
	if !r.OK() {
		return h, r.Err()
	}
	err := extensions(&r, func(typ uint16, x *wire.Reader) {
		h.Extensions = append(h.Extensions, typ)
		h.extension(typ, x)
	})
	return h, err
}

// extensions gives each extension of a hello. A hello may end without any. Where the list is cut
// short, the extensions before the cut are given, and the last one as far as it goes.
func extensions(r *wire.Reader, each func(typ uint16, x *wire.Reader)) error {
	if r.Empty() {
		return r.Err()
	}
	n := int(r.U16())
	short := n > r.Len()
	list := r.Sub(min(n, r.Len()))
	for list.OK() && !list.Empty() {
		typ, n := list.U16(), int(list.U16())
		if n > list.Len() && short {
			n = list.Len()
		}
		if x := list.Sub(n); x.OK() {
			each(typ, &x)
		}
	}
	switch {
	case short:
		return wire.ErrShort
	case !list.OK() || !r.Empty():
		return ErrHello
	}
	return r.Err()
}

func (h *ClientHello) extension(typ uint16, x *wire.Reader) {
	switch typ {
	case extServerName:
		for names := x.Sub16(); names.OK() && !names.Empty(); {
			kind, name := names.U8(), names.Vec16()
			if kind == 0 && names.OK() && h.SNI == "" {
				h.SNI = text(name)
			}
		}
	case extGroups:
		h.Groups = u16s(x.Vec16())
	case extPoints:
		h.Points = slices.Clone(x.Vec8())
	case extSignatures:
		h.Signatures = u16s(x.Vec16())
	case extVersions:
		h.Versions = u16s(x.Vec8())
	case extALPN:
		for names := x.Sub16(); names.OK() && !names.Empty(); {
			if n := names.Vec8(); names.OK() {
				if len(h.ALPN) == 0 {
					h.rawALPN = string(n)
				}
				h.ALPN = append(h.ALPN, text(n))
			}
		}
	}
}

// ParseServerHello reads the body of a ServerHello (RFC 8446 section 4.1.3). With an error, what came
// before the damage is there.
func ParseServerHello(body []byte) (*ServerHello, error) {
	r := wire.New(body)
	h := &ServerHello{Legacy: r.U16()}
	h.Version = h.Legacy
	h.Retry = string(r.Bytes(helloRandomLen)) == retryRandom
	early := h.Legacy&0xff00 == draft13 // drafts before 22 had neither session id nor compression here
	if !early {
		r.Vec8()
	}
	h.Cipher = r.U16()
	if !early {
		r.U8()
	}
	if !r.OK() {
		return h, r.Err()
	}
	err := extensions(&r, func(typ uint16, x *wire.Reader) {
		h.Extensions = append(h.Extensions, typ)
		switch typ {
		case extVersions:
			if v := x.U16(); x.OK() {
				h.Version = v
			}
		case extALPN:
			names := x.Sub16()
			h.ALPN = text(names.Vec8())
		}
	})
	return h, err
}

// retryRandom is the random value that makes a ServerHello a HelloRetryRequest: SHA-256 of that word.
const retryRandom = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
	"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

// Offered is the highest version that the client offers.
func (h *ClientHello) Offered() uint16 {
	best := uint16(0)
	for _, v := range h.Versions {
		if !Grease(v) && rank(v) > rank(best) {
			best = v
		}
	}
	if best == 0 {
		return h.Version
	}
	return best
}

// rank orders versions; drafts of TLS 1.3 come right below it.
func rank(v uint16) int {
	if v&0xff00 == draft13 {
		return version13<<8 - 256 + int(v&0xff)
	}
	return int(v) << 8
}

// Encrypted13 reports whether a version hides everything behind the server's hello.
func Encrypted13(v uint16) bool { return v >= version13 && v < 0x0400 || v&0xff00 == draft13 }

// Fill writes what the client's hello says. whole tells that nothing of it is missing: fingerprints
// are made of whole hellos only. transport is t for TCP, q for QUIC, d for DTLS.
func (h *ClientHello) Fill(a *artifact.TLS, transport byte, whole bool) {
	a.SNI, a.ClientALPN, a.ClientVersion = h.SNI, h.ALPN, VersionName(h.Offered())
	if whole && !h.V2 {
		a.JA3, a.JA4 = h.JA3(), h.JA4(transport)
	}
}

// Fill writes what the server's hello says.
func (h *ServerHello) Fill(a *artifact.TLS, whole bool) {
	a.Version = VersionName(h.Version)
	a.Cipher, a.CipherName = fmt.Sprintf("0x%04x", h.Cipher), cipherName(h.Cipher)
	a.ALPN = h.ALPN
	if whole {
		a.JA3S = h.JA3S()
	}
}

// FillHidden gives the client's list of application protocols where the server's choice is encrypted.
func FillHidden(a *artifact.TLS, s *ServerHello) {
	if a.ALPN == "" && Encrypted13(s.Version) {
		a.ALPN = strings.Join(a.ClientALPN, ",")
	}
}

// VersionName is the name of a version: "TLS 1.2".
func VersionName(v uint16) string {
	switch {
	case v == versionSSL2:
		return "SSL 2.0"
	case v == 0x0300:
		return "SSL 3.0"
	case v >= 0x0301 && v <= version13:
		return fmt.Sprintf("TLS 1.%d", v-0x0301)
	case v&0xff00 == draft13:
		return fmt.Sprintf("TLS 1.3 draft %d", v&0xff)
	case v == 0xfeff:
		return "DTLS 1.0"
	case v == 0xfefd:
		return "DTLS 1.2"
	case v == 0xfefc:
		return "DTLS 1.3"
	}
	return fmt.Sprintf("0x%04x", v)
}

func cipherName(id uint16) string {
	if n := tls.CipherSuiteName(id); !strings.HasPrefix(n, "0x") {
		return n
	}
	return ""
}

// u16s reads a list of two-byte values; an odd byte at its end is dropped.
func u16s(b []byte) []uint16 {
	if len(b) < 2 {
		return nil
	}
	out := make([]uint16, 0, len(b)/2)
	for r := wire.New(b); r.Len() >= 2; {
		out = append(out, r.U16())
	}
	return out
}

// text keeps readable ASCII; every other byte becomes \xDD.
func text(b []byte) string {
	var w strings.Builder
	for _, c := range b {
		if c > ' ' && c < 0x7f && c != '\\' {
			w.WriteByte(c)
		} else {
			fmt.Fprintf(&w, `\x%02x`, c)
		}
	}
	return w.String()
}
