package meta

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// talk builds one talk of a capture: a conversation, or some that belong together.
type talk struct {
	*pcaptest.Capture
	r *rand.Rand
	n int // its number in the capture
}

const (
	up   = ntpac.Up
	down = ntpac.Down
)

// kinds are the talks that captures are made of.
var kinds = map[string]func(k *talk){
	"http":      func(k *talk) { k.http(k.open(80)) },
	"http6":     func(k *talk) { k.http(k.open6(80)) },
	"vlan":      func(k *talk) { k.tagged(); k.http(k.open(80)) },
	"vxlan":     func(k *talk) { k.tunnelled(); k.http(k.open(80)) },
	"oddport":   func(k *talk) { k.http(k.open(31337)) },
	"midstream": func(k *talk) { k.http(k.tcp(80)) },
	"untilfin":  (*talk).untilFin,
	"reuse":     (*talk).reuse,
	"dns":       func(k *talk) { k.dns(k.client(), k.server(53)) },
	"dns6":      func(k *talk) { k.dns(k.client6(), k.server6(53)) },
	"fragments": (*talk).fragments,
	"tls":       (*talk).tls,
	"smtp":      (*talk).smtp,
	"ftp":       (*talk).ftp,
	"rough":     (*talk).rough,
	"silence":   (*talk).silence,
}

// small are the kinds for histories of which every packet is tried.
var small = []string{"http", "http6", "vlan", "vxlan", "oddport", "midstream", "untilfin", "reuse", "dns", "dns6", "fragments", "tls", "smtp", "ftp", "rough", "silence"}

// build makes a capture of some talks that go on side by side. No two frames have the same time: of
// packets of equal times only their order in the file is known (docs/adr/0002).
func build(r *rand.Rand, names ...string) []frame {
	var all []frame
	for i, name := range names {
		c := pcaptest.New()
		c.ID = uint16(1 + i*5000)
		c.Now += ntpac.Time(r.IntN(100))*ntpac.Second/1000 + ntpac.Time(i)*2003
		kinds[name](&talk{c, r, i})
		for _, f := range c.Frames {
			all = append(all, frame{Frame: f, talk: i})
		}
	}
	return number(inOrder(all))
}

func (k *talk) client() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + k.n)}), uint16(40000+17*k.n))
}

func (k *talk) server(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(200 - k.n)}), port)
}

func (k *talk) client6() netip.AddrPort {
	a := netip.MustParseAddr("2001:db8:7::10").As16()
	a[15] += byte(k.n)
	return netip.AddrPortFrom(netip.AddrFrom16(a), uint16(41000+17*k.n))
}

func (k *talk) server6(port uint16) netip.AddrPort {
	a := netip.MustParseAddr("2001:db8:1::80").As16()
	a[15] += byte(k.n)
	return netip.AddrPortFrom(netip.AddrFrom16(a), port)
}

func (k *talk) tagged() {
	k.Wrap = func(d []byte) []byte { return pcaptest.Tag(0x8100, 42, pcaptest.Ether(d)) }
}

func (k *talk) tunnelled() {
	k.Wrap = func(d []byte) []byte {
		return pcaptest.Ether(pcaptest.VXLAN(netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2"), 77, pcaptest.Ether(d)))
	}
}

// conn gives a connection of a random style.
func (k *talk) conn(client, server netip.AddrPort) *pcaptest.Conn {
	c := k.TCP(client, server)
	c.Seq = [2]uint32{k.r.Uint32(), k.r.Uint32()}
	c.MSS = []int{1448, 1000, 536, 333}[k.r.IntN(4)]
	c.AckEvery = 1 + k.r.IntN(3)
	c.Stamps = k.r.IntN(3) == 0
	return c
}

func (k *talk) tcp(port uint16) *pcaptest.Conn { return k.conn(k.client(), k.server(port)) }

func (k *talk) open(port uint16) *pcaptest.Conn {
	c := k.tcp(port)
	c.Open()
	return c
}

func (k *talk) open6(port uint16) *pcaptest.Conn {
	c := k.conn(k.client6(), k.server6(port))
	c.Open()
	return c
}

// words gives n bytes of text that does not repeat.
func (k *talk) words(n int) []byte {
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, "%x ", k.r.Uint32())
		if k.r.IntN(8) == 0 {
			b = append(b[:len(b)-1], '\n')
		}
	}
	return b[:n]
}

func zipped(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

func chunked(b []byte, n int) []byte {
	var out []byte
	for len(b) > 0 {
		c := b[:min(n, len(b))]
		b = b[len(c):]
		out = append(append(fmt.Appendf(out, "%x\r\n", len(c)), c...), "\r\n"...)
	}
	return append(out, "0\r\n\r\n"...)
}

// http is a kept connection with a body of each kind.
func (k *talk) http(c *pcaptest.Conn) {
	get := func(path string) {
		c.Send(up, fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: www%d.example\r\nUser-Agent: Meta/1\r\nReferer: http://www.example/\r\n\r\n", path, k.n))
	}
	answer := func(head string, body []byte) {
		c.Send(down, append([]byte("HTTP/1.1 200 OK\r\nServer: X\r\n"+head+"\r\n"), body...))
	}
	get("plain.txt")
	body := k.words(1500 + k.r.IntN(1500))
	answer(fmt.Sprintf("Content-Type: text/plain\r\nContent-Length: %d\r\n", len(body)), body)
	get("zipped.html")
	body = zipped(k.words(2000 + k.r.IntN(2000)))
	answer(fmt.Sprintf("Content-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n", len(body)), body)
	form := k.words(500 + k.r.IntN(800))
	c.Send(up, append(fmt.Appendf(nil, "POST /form HTTP/1.1\r\nHost: www%d.example\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", k.n, len(form)), form...))
	c.Send(down, []byte("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"))
	get("chunked.js")
	answer("Content-Type: text/javascript\r\nTransfer-Encoding: chunked\r\n", chunked(k.words(1000+k.r.IntN(2000)), 100+k.r.IntN(900)))
	get("last")
	answer("Content-Length: 4\r\n", []byte("done"))
	c.Close()
}

// untilFin is a body that only the end of the connection ends.
func (k *talk) untilFin() {
	c := k.open(8080)
	c.Send(up, []byte("GET /old HTTP/1.0\r\n\r\n"))
	c.Packet(up, pcaptest.FIN|pcaptest.ACK, nil) // half closed
	c.Packet(down, pcaptest.ACK, nil)
	c.Send(down, append([]byte("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"), k.words(3000)...))
	c.Packet(down, pcaptest.FIN|pcaptest.ACK, nil)
	c.Packet(up, pcaptest.ACK, nil)
}

// reuse is three connections between the same ports: one closed, one not, one reset.
func (k *talk) reuse() {
	for i := range 3 {
		c := k.open(80)
		c.Send(up, fmt.Appendf(nil, "GET /%d HTTP/1.1\r\nHost: reuse.example\r\n\r\n", i))
		body := k.words(700 + 100*i)
		c.Send(down, append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)), body...))
		switch i {
		case 0:
			c.Close()
		case 2:
			c.Reset(down)
		}
		k.Wait(2 * ntpac.Second)
	}
}

func name(s string) (b []byte) {
	for _, l := range strings.Split(s, ".") {
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0)
}

// question and reply are DNS messages (RFC 1035 section 4).
func question(id uint16, host string) []byte {
	b := be.AppendUint16(nil, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	return append(append(b, name(host)...), 0, 16, 0, 1)
}

func reply(id uint16, host string, texts ...[]byte) []byte {
	b := question(id, host)
	b[2], b[3] = 0x81, 0x80
	be.PutUint16(b[6:], uint16(len(texts)))
	for _, t := range texts {
		b = append(b, 0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60)
		b = be.AppendUint16(b, uint16(1+len(t)))
		b = append(append(b, byte(len(t))), t...)
	}
	return b
}

func (k *talk) dns(client, server netip.AddrPort) {
	for i := range 4 {
		id, host := uint16(k.r.Uint32()), fmt.Sprintf("host%d.example", i)
		k.UDP(client, server, question(id, host))
		k.UDP(server, client, reply(id, host, k.words(20), k.words(50)))
		k.Wait(80 * ntpac.Second / 1000)
	}
}

// fragments are answers too long for a packet, over both versions of IP, between short ones.
func (k *talk) fragments() {
	for _, e := range [][2]netip.AddrPort{{k.client(), k.server(53)}, {k.client6(), k.server6(53)}} {
		for i := range 2 {
			id, host := uint16(k.r.Uint32()), fmt.Sprintf("long%d.example", i)
			k.UDP(e[0], e[1], question(id, host))
			var texts [][]byte
			for range 12 {
				texts = append(texts, k.words(200))
			}
			k.Fragments(e[1].Addr(), e[0].Addr(), ntpac.UDP, pcaptest.UDP(e[1], e[0], reply(id, host, texts...)), 600+k.r.IntN(600))
			k.UDP(e[0], e[1], question(id+1, "short.example"))
			k.UDP(e[1], e[0], reply(id+1, "short.example", k.words(30)))
			k.Wait(100 * ntpac.Second / 1000)
		}
	}
}

func (k *talk) tls() {
	c := k.open(443)
	for _, m := range transcript() {
		c.Send(m.dir, m.data)
	}
	c.Close()
}

func (k *talk) smtp() {
	c := k.open(25)
	say := func(u, d string) {
		if u != "" {
			c.Send(up, []byte(u+"\r\n"))
		}
		c.Send(down, []byte(d+"\r\n"))
	}
	say("", "220 mail.example ESMTP")
	say("EHLO client.example", "250-mail.example\r\n250 AUTH PLAIN")
	say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00anna\x00secret")), "235 ok")
	say(fmt.Sprintf("MAIL FROM:<anna%d@example.org>", k.n), "250 ok")
	say("RCPT TO:<bob@example.net>", "250 ok")
	say("DATA", "354 go on")
	var b []byte
	b = fmt.Appendf(b, "From: Anna <anna%d@example.org>\r\nTo: bob@example.net\r\nSubject: the plan\r\nMessage-ID: <%d@example.org>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xyz\r\n\r\n--xyz\r\nContent-Type: text/plain\r\n\r\n", k.n, k.n)
	b = append(b, bytes.ReplaceAll(k.words(600), []byte("\n"), []byte("\r\n"))...)
	for i := range 2 {
		b = fmt.Appendf(b, "\r\n--xyz\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"a%d.bin\"\r\n\r\n", i)
		for data := k.words(900); len(data) > 0; data = data[min(57, len(data)):] {
			b = append(base64.StdEncoding.AppendEncode(b, data[:min(57, len(data))]), "\r\n"...)
		}
	}
	c.Send(up, append(b, "--xyz--\r\n.\r\n"...))
	say("", "250 queued")
	say("QUIT", "221 bye")
	c.Close()
}

// ftp is a control conversation and a data conversation in each direction.
func (k *talk) ftp() {
	c := k.open(21)
	say := func(u, d string) {
		if u != "" {
			c.Send(up, []byte(u+"\r\n"))
		}
		c.Send(down, []byte(d+"\r\n"))
	}
	say("", "220 ready")
	say("USER anna", "331 password")
	say("PASS secret", "230 welcome")
	for i, cmd := range []string{"RETR down.txt", "STOR up.txt"} {
		port := uint16(51000 + 100*k.n + i)
		say("EPSV", fmt.Sprintf("229 Entering Extended Passive Mode (|||%d|)", port))
		say(cmd, "150 go on")
		d := k.conn(netip.AddrPortFrom(k.client().Addr(), k.client().Port()+1+uint16(i)), k.server(port))
		d.Open()
		dir := down
		if i == 1 {
			dir = up
		}
		d.Send(dir, k.words(2500))
		d.Packet(dir, pcaptest.FIN|pcaptest.ACK, nil)
		d.Packet(dir.Other(), pcaptest.FIN|pcaptest.ACK, nil)
		d.Packet(dir, pcaptest.ACK, nil)
		say("", "226 done")
	}
	say("QUIT", "221 bye")
	c.Close()
}

// rough is an unknown protocol on a bad line: losses before the tap's sender that were sent again, whole
// and in other pieces, segments that came early, keep-alives, a probe of a closed window.
func (k *talk) rough() {
	c := k.open(9999)
	ack := pcaptest.ACK
	data := k.words(6000)
	for i := 0; i < len(data); i += 500 {
		at := c.Seq[up]
		part := data[i : i+500]
		switch k.r.IntN(6) {
		case 0: // sent again, a little later
			c.Packet(up, ack, part)
			k.Wait(70 * ntpac.Second / 1000)
			c.At(up, ack, at, c.Seq[down], part)
		case 1: // two halves in the wrong order
			c.At(up, ack, at+200, c.Seq[down], part[200:])
			c.At(up, ack, at, c.Seq[down], part[:200])
			c.Seq[up] += 500
		case 2: // sent again in a bigger piece
			c.Packet(up, ack, part[:300])
			c.At(up, ack, at, c.Seq[down], part)
			c.Seq[up] += 200
		case 3: // a keep-alive and its answer
			c.Packet(up, ack|pcaptest.PSH, part)
			c.Packet(down, ack, nil)
			c.At(up, ack, c.Seq[up]-1, c.Seq[down], []byte{0})
			c.Packet(down, ack, nil)
		case 4: // a probe of the closed window, whose byte comes again with the rest
			c.At(up, ack, at, c.Seq[down], part[:1])
			c.Packet(up, ack|pcaptest.PSH, part)
		default:
			c.Send(up, part)
		}
		if k.r.IntN(3) == 0 {
			c.Send(down, k.words(100))
		}
	}
	c.Packet(down, ack, nil)
	c.Close()
}

// silence is datagrams with pauses that split them.
func (k *talk) silence() {
	for i := range 3 {
		k.UDP(k.client(), k.server(7777), fmt.Appendf(nil, "ask %d", i))
		k.UDP(k.server(7777), k.client(), fmt.Appendf(nil, "answer %d", i))
		k.Wait(601 * ntpac.Second)
	}
}
