package tlshello

import (
	"bytes"

	"ntpac/internal/wire"
)

// minHello is the shortest hello: version, random, an empty session id, cipher and compression.
const minHello = 2 + helloRandomLen + 1 + 2 + 1

// Hello says which hello begins here, TypeClientHello or TypeServerHello, at the head of a record; 0
// where none does. Its lengths must agree with one another as far as the bytes go. It allocates nothing.
func Hello(b []byte) uint8 {
	if len(b) < headerLen+4 || b[0] != recordHandshake || !ValidRecord(b) {
		return 0
	}
	typ := b[headerLen]
	size := int(b[headerLen+1])<<16 | int(b[headerLen+2])<<8 | int(b[headerLen+3])
	if typ != TypeClientHello && typ != TypeServerHello || size < minHello || size > maxRecord {
		return 0
	}
	body := b[headerLen+4:]
	cut := len(body) < size
	r := wire.New(body[:min(size, len(body))])
	if v := r.U16(); v>>8 != 3 && v&0xff00 != draft13 || v == 0 {
		return 0
	}
	r.Skip(helloRandomLen)
	if typ == TypeServerHello {
		return serverForm(&r, cut)
	}
	if n := r.U8(); n > 32 {
		return 0
	}
	r.Seek(2 + helloRandomLen)
	r.Vec8()
	if n := len(r.Vec16()); r.OK() && (n == 0 || n&1 == 1) {
		return 0
	}
	if n := len(r.Vec8()); r.OK() && n == 0 {
		return 0
	}
	return form(&r, cut, typ)
}

// serverForm goes on with what follows the random value of a server's hello.
func serverForm(r *wire.Reader, cut bool) uint8 {
	if n := len(r.Vec8()); n > 32 {
		return 0
	}
	r.U16()
	if z := r.U8(); r.OK() && z > 1 { // no compression, or DEFLATE
		return 0
	}
	return form(r, cut, TypeServerHello)
}

// form checks that the extensions, where there are any, end with the hello.
func form(r *wire.Reader, cut bool, typ uint8) uint8 {
	switch {
	case !r.OK() && !cut:
		return 0
	case !r.OK(), r.Empty():
		return typ
	}
	n := int(r.U16())
	if r.OK() && (n < r.Len() || n > r.Len() && !cut) {
		return 0
	}
	return typ
}

// FindHello gives the place of the first hello in a run of bytes and which one it is; -1 without. It is
// how TLS shows that begins behind the opening words of another protocol. It allocates nothing.
func FindHello(b []byte) (at int, typ uint8) {
	for i := 0; ; i++ {
		k := bytes.IndexByte(b[i:], recordHandshake)
		if k < 0 {
			return -1, 0
		}
		i += k
		if typ := Hello(b[i:]); typ != 0 {
			return i, typ
		}
	}
}
