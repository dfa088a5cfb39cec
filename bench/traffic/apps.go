package traffic

import (
	"encoding/base64"
	"fmt"
	"math"
)

// heavy is a size from a heavy tail: most are near least, a few a thousand times that (Pareto,
// exponent 1.2), at most a megabyte.
func (g *generator) heavy(least float64) int {
	return min(int(least/math.Pow(1-g.r.Float64(), 1/1.2)), 1<<20)
}

func (g *generator) dns() *talk {
	t := g.talk(false, 53)
	name := t.host[server].name
	kind, address := byte(1), t.host[server].v4[:]
	if g.r.IntN(3) == 0 {
		kind, address = 28, t.host[server].v6[:]
	}
	id := g.r.IntN(1 << 16)
	question := append(dnsName(name), 0, kind, 0, 1)
	t.say(client, []byte{byte(id >> 8), byte(id), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, question)
	if g.r.IntN(10) == 0 { // no such name
		t.say(server, []byte{byte(id >> 8), byte(id), 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0}, question)
		return t
	}
	t.say(server, []byte{byte(id >> 8), byte(id), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, question,
		[]byte{0xc0, 12, 0, kind, 0, 1, 0, 0, 1, 44, 0, byte(len(address))}, address)
	return t
}

func (g *generator) http() *talk {
	t := g.talk(true, 80)
	name := t.host[server].name
	n := 1 + int(g.r.ExpFloat64()*3)
	for i := range n {
		path := fmt.Sprintf("/%s/%s%d", g.pool.word(g.r), g.pool.word(g.r), g.r.IntN(1e6))
		request := fmt.Sprintf(" %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: minigen/1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n", path, name)
		t.think(100)
		if g.r.IntN(20) == 0 {
			form := fmt.Sprintf("name=%s&text=%s", g.pool.word(g.r), g.pool.word(g.r))
			t.say(client, fmt.Appendf(nil, "POST%sContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", request, len(form), form))
		} else {
			t.say(client, fmt.Appendf(nil, "GET%s\r\n", request))
		}
		t.think(10)
		connection := "keep-alive"
		if i == n-1 {
			connection = "close"
		}
		t.say(server, g.response(connection)...)
	}
	t.close()
	return t
}

func (g *generator) response(connection string) [][]byte {
	head := func(status, kind string, rest string) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 %s\r\nServer: minigen\r\nContent-Type: %s\r\nConnection: %s\r\n%s\r\n", status, kind, connection, rest)
	}
	sized := func(status, kind, extra string, body []byte) [][]byte {
		return [][]byte{head(status, kind, fmt.Sprintf("%sContent-Length: %d\r\n", extra, len(body))), body}
	}
	switch x := g.r.IntN(10); {
	case x < 3:
		return sized("200 OK", "text/html", "", g.pool.text(g.r, g.heavy(2500)))
	case x < 5:
		return sized("200 OK", "text/html", "Content-Encoding: gzip\r\n", g.pool.zipped[g.r.IntN(len(g.pool.zipped))])
	case x < 8:
		return sized("200 OK", "image/jpeg", "", append([]byte{0xff, 0xd8, 0xff, 0xe0}, g.pool.random(g.r, g.heavy(6000))...))
	case x < 9:
		out := [][]byte{head("200 OK", "text/plain", "Transfer-Encoding: chunked\r\n")}
		for range 1 + g.r.IntN(8) {
			b := g.pool.text(g.r, 100+g.r.IntN(4000))
			out = append(out, fmt.Appendf(nil, "%x\r\n", len(b)), b, []byte("\r\n"))
		}
		return append(out, []byte("0\r\n\r\n"))
	default:
		return [][]byte{fmt.Appendf(nil, "HTTP/1.1 304 Not Modified\r\nConnection: %s\r\n\r\n", connection)}
	}
}

// tls is a handshake of TLS 1.2 (RFC 5246) in the clear, and opaque records.
func (g *generator) tls() *talk {
	t := g.talk(true, 443)
	t.say(client, g.clientHello(t.host[server].name))
	hello := append(append([]byte{3, 3}, g.pool.random(g.r, 32)...), 0, 0xc0, 0x2f, 0)
	cert := vector(3, vector(3, g.pool.certs[g.r.IntN(len(g.pool.certs))]))
	t.say(server, record(22, handshake(2, hello)), record(22, handshake(11, cert)), record(22, handshake(14, nil)))
	t.say(client, record(22, handshake(16, vector(1, g.pool.random(g.r, 32)))), record(20, []byte{1}), record(22, g.pool.random(g.r, 40)))
	t.say(server, record(20, []byte{1}), record(22, g.pool.random(g.r, 40)))
	for range 1 + g.r.IntN(5) {
		t.think(200)
		t.say(client, record(23, g.pool.random(g.r, 100+g.r.IntN(900))))
		var out [][]byte
		for n := g.heavy(4000); n > 0; n -= 16000 {
			out = append(out, record(23, g.pool.random(g.r, min(n, 16000)+24)))
		}
		t.say(server, out...)
	}
	t.close()
	return t
}

func (g *generator) clientHello(name string) []byte {
	extension := func(kind byte, body []byte) []byte { return append([]byte{0, kind}, vector(2, body)...) }
	sni := vector(2, append([]byte{0}, vector(2, []byte(name))...))
	var ext []byte
	ext = append(ext, extension(0, sni)...)
	ext = append(ext, extension(10, vector(2, []byte{0, 0x1d, 0, 0x17}))...)
	ext = append(ext, extension(11, vector(1, []byte{0}))...)
	ext = append(ext, extension(13, vector(2, []byte{4, 3, 8, 4, 4, 1}))...)
	ext = append(ext, extension(16, vector(2, []byte("\x02h2\x08http/1.1")))...)
	b := append([]byte{3, 3}, g.pool.random(g.r, 32)...)
	b = append(b, 0)
	b = append(b, vector(2, []byte{0xc0, 0x2f, 0xc0, 0x2b, 0xc0, 0x30, 0, 0x9c})...)
	b = append(b, 1, 0)
	return record(22, handshake(1, append(b, vector(2, ext)...)))
}

// vector is a length of n bytes and what it measures.
func vector(n int, b []byte) []byte {
	out := make([]byte, n, n+len(b))
	for i, l := n-1, len(b); i >= 0; i, l = i-1, l>>8 {
		out[i] = byte(l)
	}
	return append(out, b...)
}

func handshake(kind byte, b []byte) []byte { return append([]byte{kind}, vector(3, b)...) }
func record(kind byte, b []byte) []byte    { return append([]byte{kind, 3, 3}, vector(2, b)...) }

func (g *generator) smtp() *talk {
	t := g.talk(true, 25)
	line := func(dir int, format string, a ...any) {
		t.think(10)
		t.say(dir, fmt.Appendf(nil, format+"\r\n", a...))
	}
	from, to := g.pool.word(g.r)+"@example.org", g.pool.word(g.r)+"@"+t.host[server].name
	line(server, "220 %s ESMTP", t.host[server].name)
	line(client, "EHLO client.example.org")
	line(server, "250-%s\r\n250 8BITMIME", t.host[server].name)
	line(client, "MAIL FROM:<%s>", from)
	line(server, "250 ok")
	line(client, "RCPT TO:<%s>", to)
	line(server, "250 ok")
	line(client, "DATA")
	line(server, "354 go ahead")
	t.say(client, g.mail(from, to), []byte("\r\n.\r\n"))
	line(server, "250 queued")
	line(client, "QUIT")
	line(server, "221 bye")
	t.close()
	return t
}

// mail is a message with an attachment (RFC 5322, RFC 2045).
func (g *generator) mail(from, to string) []byte {
	id := g.r.Uint64()
	b := fmt.Appendf(nil, "From: <%s>\r\nTo: <%s>\r\nSubject: %s %s\r\nMessage-ID: <%x@example.org>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMIME-Version: 1.0\r\n",
		from, to, g.pool.word(g.r), g.pool.word(g.r), id)
	b = fmt.Appendf(b, "Content-Type: multipart/mixed; boundary=\"b%x\"\r\n\r\n--b%x\r\nContent-Type: text/plain\r\n\r\n", id, id)
	b = append(b, g.pool.text(g.r, 200+g.r.IntN(1000))...)
	b = fmt.Appendf(b, "\r\n--b%x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"%s.bin\"\r\n\r\n", id, g.pool.word(g.r))
	data := g.pool.random(g.r, g.heavy(3000))
	for len(data) > 0 {
		n := min(len(data), 57)
		b = base64.StdEncoding.AppendEncode(b, data[:n])
		b = append(b, "\r\n"...)
		data = data[n:]
	}
	return fmt.Appendf(b, "--b%x--\r\n", id)
}
