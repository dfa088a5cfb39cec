package mail

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"

	"ntpac"
)

// attachment10MB is a message with one attachment of 10 MB in base64, and a short text.
func attachment10MB() []byte {
	raw := make([]byte, 10<<20)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(raw)
	var b bytes.Buffer
	b.WriteString("From: a@example.com\r\nSubject: big\r\nContent-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n--=_x\r\n\r\ntext\r\n--=_x\r\n" +
		"Content-Type: application/octet-stream; name=big.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	line := make([]byte, 78)
	for i := 0; i < len(raw); i += 57 {
		n := min(57, len(raw)-i)
		base64.StdEncoding.Encode(line, raw[i:i+n])
		k := base64.StdEncoding.EncodedLen(n)
		copy(line[k:], "\r\n")
		b.Write(line[:k+2])
	}
	b.WriteString("--=_x--\r\n")
	return b.Bytes()
}

// BenchmarkBase64 reads a message with a big attachment once: transparency, lines, decoding, and the
// hashes of message and attachment.
func BenchmarkBase64(b *testing.B) {
	d := carried(attachment10MB(), true, nil)
	p := NewParser(ntpac.Down)
	b.SetBytes(d.Down.End())
	b.ReportAllocs()
	for b.Loop() {
		d.Down.MoveTo(0)
		p.Reset(ntpac.Down)
		p.ReadDot(d.Down, func(int64) bool { return false })
		if m := p.Finish(); m.Attachments[0].Size != 10<<20 {
			b.Fatal(m.Attachments[0].Size)
		}
	}
}

// BenchmarkText reads a small message, as most are.
func BenchmarkText(b *testing.B) {
	text := []byte("From: a@example.com\r\nTo: b@example.com\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.com>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" +
		string(bytes.Repeat([]byte("All work and no play makes Jack a dull boy.\r\n"), 60)))
	d := carried(text, true, nil)
	p := NewParser(ntpac.Down)
	b.SetBytes(d.Down.End())
	b.ReportAllocs()
	for b.Loop() {
		d.Down.MoveTo(0)
		p.Reset(ntpac.Down)
		p.ReadDot(d.Down, func(int64) bool { return false })
		p.Finish()
	}
}
