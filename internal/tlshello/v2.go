package tlshello

import (
	"ntpac"
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

func parseV2(b []byte) (ok bool, n int) {
	if !ValidV2(b) {
		return false, 0
	}
	return true, 2 + (int(b[0]&0x7f)<<8 | int(b[1]))
}

// takeV2 makes a message of the hello at the cursor, n bytes long with its length.
func (f *flight) takeV2(n int) {
	s := f.s
	off := s.Off()
	b := s.Peek(n)
	f.msgs = append(f.msgs, message{typ: typeV2, body: append([]byte(nil), b...), whole: len(b) == n, at: s.Time(off),
		spans: []ntpac.Span{{Dir: s.Dir, Off: off, Len: min(int64(n), s.End()-off)}}})
	s.MoveTo(min(off+int64(n), s.End()))
}

// typeV2 stands for a client's hello in the form of SSL 2; no TLS message has it.
const typeV2 = 255

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
