package tlshello

import (
	"ntpac"
	"ntpac/artifact"
	"ntpac/internal/wire"
)

// maxV2 is the longest hello in the form of SSL 2 (two bytes of length).
const maxV2 = 2 + 1<<15 - 1

// ValidV2 reports whether a client's hello in the form of SSL 2 begins here, in which old clients also
// offer SSL 3 and TLS (RFC 5246 appendix E.2). It wants the 11 bytes of its head.
func ValidV2(b []byte) bool {
	r := wire.New(b[:min(len(b), 11)])
	n := r.U16()
	typ, version := r.U8(), r.U16()
	ciphers, session, challenge := r.U16(), r.U16(), r.U16()
	return r.OK() && n&0x8000 != 0 && typ == 1 && (version == versionSSL2 || version >= 0x0300 && version <= version12) &&
		ciphers > 0 && ciphers%3 == 0 && (session == 0 || session == 16) && challenge >= 16 && challenge <= 32 &&
		int(n&0x7fff) == 9+int(ciphers)+int(session)+int(challenge)
}

// ValidServerV2 reports whether a server's hello of SSL 2 itself begins here (draft-hickman-netscape-ssl,
// section 5.6). It wants the 13 bytes of its head.
func ValidServerV2(b []byte) bool {
	r := wire.New(b[:min(len(b), 13)])
	n := r.U16()
	typ, again, kind, version := r.U8(), r.U8(), r.U8(), r.U16()
	certificate, ciphers, connection := r.U16(), r.U16(), r.U16()
	return r.OK() && n&0x8000 != 0 && typ == 4 && again <= 1 && kind <= 1 && version == versionSSL2 &&
		ciphers%3 == 0 && connection >= 16 && connection <= 32 && int(n&0x7fff) == 11+int(certificate)+int(ciphers)+int(connection)
}

// These stand for hellos in the form of SSL 2; no TLS message has such types.
const (
	typeServerV2 = 254
	typeV2       = 255 // a client's
)

// takeV2 makes a message of the hello in the form of SSL 2 at the cursor, where there is one. Behind a
// server's nothing comes in the clear.
func (f *flight) takeV2() {
	s := f.s
	b := s.Peek(maxV2)
	typ := uint8(typeV2)
	switch {
	case ValidServerV2(b):
		typ, f.sealed = typeServerV2, true
	case !ValidV2(b):
		return
	}
	off, n := s.Off(), 2+(int(b[0]&0x7f)<<8|int(b[1]))
	b = b[:min(n, len(b))]
	f.msgs = append(f.msgs, message{typ: typ, body: append([]byte(nil), b...), whole: len(b) == n, at: s.Time(off),
		spans: []ntpac.Span{{Dir: s.Dir, Off: off, Len: min(int64(n), s.End()-off)}}})
	s.MoveTo(min(off+int64(n), s.End()))
}

// fillServerV2 writes what a server's hello of SSL 2, with its length, says.
func fillServerV2(a *artifact.TLS, b []byte) error {
	r := wire.New(b)
	r.Skip(7)
	certificate := int(r.U16())
	r.Skip(4)
	a.Version = VersionName(versionSSL2)
	if der := r.Bytes(certificate); r.OK() && certificate > 0 {
		a.Certificates = append(a.Certificates, NewCertificate(der))
	}
	return r.Err()
}

// parseClientV2 reads a hello in the form of SSL 2, with its length.
func parseClientV2(b []byte) (*ClientHello, error) {
	r := wire.New(b)
	r.Skip(3)
	h := &ClientHello{Version: r.U16(), V2: true}
	ciphers := int(r.U16())
	r.Skip(4)
	for list := r.Sub(ciphers); list.OK() && !list.Empty(); {
		if c := list.U24(); c < 1<<16 { // the others are ciphers of SSL 2 itself
			h.Ciphers = append(h.Ciphers, uint16(c))
		}
	}
	return h, r.Err()
}
