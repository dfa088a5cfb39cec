package tlshello

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Grease reports whether a value is one that clients send to keep servers tolerant (RFC 8701).
func Grease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// JA3 is the fingerprint of a client's hello: the MD5 of version, ciphers, extensions, groups and
// point formats in decimal, GREASE left out (github.com/salesforce/ja3).
func (h *ClientHello) JA3() string {
	b := strconv.AppendUint(nil, uint64(h.Version), 10)
	b = dashed(append(b, ','), h.Ciphers)
	b = dashed(append(b, ','), h.Extensions)
	b = dashed(append(b, ','), h.Groups)
	b = append(b, ',')
	for i, p := range h.Points {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(p), 10)
	}
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// JA3S is the fingerprint of a server's hello: the MD5 of version, cipher and extensions.
func (h *ServerHello) JA3S() string {
	b := strconv.AppendUint(nil, uint64(h.Legacy), 10)
	b = strconv.AppendUint(append(b, ','), uint64(h.Cipher), 10)
	b = dashed(append(b, ','), h.Extensions)
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func dashed(b []byte, list []uint16) []byte {
	first := true
	for _, v := range list {
		if Grease(v) {
			continue
		}
		if !first {
			b = append(b, '-')
		}
		b, first = strconv.AppendUint(b, uint64(v), 10), false
	}
	return b
}

// JA4 is the newer fingerprint of a client's hello (github.com/FoxIO-LLC/ja4, the part under the BSD
// licence): readable facts, a hash of the sorted ciphers, and one of the sorted extensions with the
// signature algorithms.
func (h *ClientHello) JA4(transport byte) string {
	ciphers, exts := hexes(h.Ciphers), hexes(h.Extensions)
	name := byte('i')
	if slices.Contains(h.Extensions, extServerName) {
		name = 'd'
	}
	a := fmt.Sprintf("%c%s%c%02d%02d%s", transport, ja4Version(h.Offered()), name, min(len(ciphers), 99), min(len(exts), 99), h.ja4ALPN())
	slices.Sort(ciphers)
	slices.Sort(exts)
	exts = slices.DeleteFunc(exts, func(e string) bool { return e == "0000" || e == "0010" })
	c := strings.Join(exts, ",")
	if s := hexes(h.Signatures); len(s) > 0 {
		c += "_" + strings.Join(s, ",")
	}
	return a + "_" + short(strings.Join(ciphers, ",")) + "_" + short(c)
}

func ja4Version(v uint16) string {
	switch v {
	case version13:
		return "13"
	case version12:
		return "12"
	case 0x0302:
		return "11"
	case 0x0301:
		return "10"
	case 0x0300:
		return "s3"
	case versionSSL2:
		return "s2"
	case 0xfeff:
		return "d1"
	case 0xfefd:
		return "d2"
	case 0xfefc:
		return "d3"
	}
	return "00"
}

// ja4ALPN is the first and the last character of the first protocol, of its hexadecimal form where
// they are no letters or digits.
func (h *ClientHello) ja4ALPN() string {
	if len(h.rawALPN) == 0 {
		return "00"
	}
	s := h.rawALPN
	if !alnum(s[0]) || !alnum(s[len(s)-1]) {
		s = hex.EncodeToString([]byte(s))
	}
	return string([]byte{s[0], s[len(s)-1]})
}

func alnum(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

func hexes(list []uint16) []string {
	var out []string
	for _, v := range list {
		if !Grease(v) {
			out = append(out, fmt.Sprintf("%04x", v))
		}
	}
	return out
}

func short(s string) string {
	if s == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
