package node_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/artifact"
	"ntpac/internal/pcaptest"
	"ntpac/node"
	"ntpac/store/memory"
)

// stage is a capture in which something goes over a limit.
type stage struct {
	*pcaptest.Capture
	n int
}

// conn opens a connection of its own.
func (s *stage) conn(port uint16) *pcaptest.Conn {
	s.n++
	k := s.TCP(netip.AddrPortFrom(alice, uint16(20000+s.n)), netip.AddrPortFrom(bob, port))
	k.Open()
	return k
}

func (s *stage) talk(port uint16, turns ...string) {
	k := s.conn(port)
	for i, text := range turns {
		if dir := ntpac.Dir(i % 2); text != "" {
			k.Send(dir, []byte(text))
		}
	}
	k.Close()
}

// get is a request and its answer.
func (s *stage) get(head, body string) {
	s.talk(80, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\n"+head+"\r\n\r\n"+body)
}

// zeros are n MiB of zeros, packed by what pack makes.
func zeros(n int, pack func(w io.Writer) io.WriteCloser) []byte {
	var b bytes.Buffer
	w := pack(&b)
	for range n {
		w.Write(make([]byte, 1<<20))
	}
	w.Close()
	return b.Bytes()
}

func packGzip(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

func packDeflate(w io.Writer) io.WriteCloser {
	z, _ := flate.NewWriter(w, 6)
	return z
}

// mailOf is an SMTP session that brings one message.
func (s *stage) mailOf(text string) {
	k := s.conn(25)
	for _, t := range []string{"<220 h", ">EHLO c", "<250 h", ">MAIL FROM:<a@h>", "<250 ok", ">RCPT TO:<b@h>", "<250 ok", ">DATA", "<354 go on"} {
		dir := ntpac.Up
		if t[0] == '<' {
			dir = ntpac.Down
		}
		k.Send(dir, []byte(t[1:]+"\r\n"))
	}
	k.Send(ntpac.Up, []byte(text+"\r\n.\r\n"))
	k.Send(ntpac.Down, []byte("250 ok\r\n"))
	k.Close()
}

// limits are all limits that traffic can hit, each with traffic that does, and the words that must say so:
// in an artifact, in a conversation's flags, or in the ledger.
var limits = []struct {
	name string
	play func(s *stage)
	set  func(o *node.Options)
	says string
}{
	{"gzip bomb", func(s *stage) {
		b := zeros(40, packGzip)
		s.get(fmt.Sprintf("Content-Encoding: gzip, gzip\r\nContent-Length: %d", len(gzipped(b))), string(gzipped(b)))
	}, nil, "over the limit"},
	{"deflate bomb", func(s *stage) {
		b := gzipped(zeros(40, packDeflate))
		s.get(fmt.Sprintf("Content-Encoding: deflate, gzip\r\nContent-Length: %d", len(b)), string(b))
	}, nil, "over the limit"},
	{"header line", func(s *stage) { s.get("X: "+strings.Repeat("x", 70<<10), "") }, nil, "header line over 64 KiB"},
	{"header bomb", func(s *stage) {
		s.get(strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 300)+"Content-Length: 0", "")
	}, nil, "head over 256 KiB"},
	{"Content-Length of 2^63", func(s *stage) { s.get("Content-Length: 9223372036854775808", "abc") }, nil, "bad Content-Length"},
	{"Content-Length of 2^63-1", func(s *stage) { s.get("Content-Length: 9223372036854775807", "abc") }, nil, "bad Content-Length"},
	{"chunk of 2^63", func(s *stage) { s.get("Transfer-Encoding: chunked", "8000000000000000\r\nabc") }, nil, `"error":"`},
	{"chunks", func(s *stage) {
		s.get("Transfer-Encoding: chunked", strings.Repeat("1\r\nx\r\n", 70_000)+"0\r\n\r\n")
	}, nil, `"error":"`},
	{"MIME nesting", func(s *stage) {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		s.mailOf(b.String() + "\r\ndeep")
	}, nil, "parts nested deeper than 32"},
	{"MIME parts", func(s *stage) {
		s.mailOf("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: image/x\r\n\r\nx\r\n", 1005) + "--b--")
	}, nil, "attachments beyond the limit of 1000"},
	{"mail header", func(s *stage) {
		s.mailOf(strings.Repeat("Subject: "+strings.Repeat("s", 900)+"\r\n", 400) + "\r\nbody")
	}, nil,
		"a header is longer than the limit"},
	{"DNS name that loops", func(s *stage) {
		s.UDP(netip.AddrPortFrom(alice, 5353), netip.AddrPortFrom(bob, 53), []byte("\x00\x01\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x01a\xc0\x0c\x00\x01\x00\x01"))
	}, nil, `"error":"`},
	{"FTP line", func(s *stage) {
		s.talk(21, "", "220 ready\r\n", "USER anna\r\n", "331 go on\r\n", "STOR "+strings.Repeat("x", 9000)+"\r\n", "500 no\r\n")
	}, nil, "a line over 8 KiB is no command"},
	{"holes of a conversation", func(s *stage) { gappy(s, 200) }, func(o *node.Options) { o.MaxGaps = 50 }, `"limit-gaps"`},
	{"holes, in the ledger", func(s *stage) { gappy(s, 200) }, func(o *node.Options) { o.MaxGaps = 50 }, "ledger:gaps"},
	{"segments behind a hole", func(s *stage) {
		k := s.conn(9)
		k.AckEvery = 0
		k.Skip(ntpac.Up, 10)
		k.Send(ntpac.Up, make([]byte, 5000*k.MSS))
	}, nil, `"limit-order"`},
	{"bytes behind holes", func(s *stage) {
		for range 4 {
			k := s.conn(9)
			k.AckEvery = 0
			k.Skip(ntpac.Up, 10)
			k.Send(ntpac.Up, make([]byte, 600*k.MSS))
		}
	}, func(o *node.Options) { o.MaxMemory = 6 << 20 }, `"limit-memory"`},
	{"bytes behind holes, in the ledger", func(s *stage) {
		for range 4 {
			k := s.conn(9)
			k.AckEvery = 0
			k.Skip(ntpac.Up, 10)
			k.Send(ntpac.Up, make([]byte, 600*k.MSS))
		}
	}, func(o *node.Options) { o.MaxMemory = 6 << 20 }, "ledger:held"},
	{"versions of bytes", func(s *stage) {
		k := s.conn(9)
		seq := k.Seq[ntpac.Up]
		k.Send(ntpac.Up, []byte("aaaa"))
		for i := range 5000 {
			k.At(ntpac.Up, pcaptest.ACK, seq, k.Seq[ntpac.Down], []byte{byte(i), byte(i >> 8), 1, 2})
		}
	}, nil, `"limit-history"`},
	{"datagrams in fragments", func(s *stage) {
		for i := range 5000 {
			n := len(s.Frames)
			s.Fragments(alice, bob, ntpac.UDP, make([]byte, 1000+i%8), 600)
			s.Frames = s.Frames[:n+1]
		}
	}, nil, "ledger:fragments"},
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// gappy is a connection with n holes.
func gappy(s *stage, n int) {
	k := s.conn(9)
	for range n {
		k.Send(ntpac.Up, []byte("here"))
		k.Skip(ntpac.Up, 10)
		k.Packet(ntpac.Down, pcaptest.ACK, nil)
		s.Wait(2 * ntpac.Second)
	}
	k.Close()
}

// Each limit is hit, is named, and concerns nobody else: the same page is read whole before, beside and
// behind, and the sums balance.
func TestLimitsAreNamed(t *testing.T) {
	page := bytes.Repeat([]byte("the witness's page. "), 500)
	sum := sha256.Sum256(page)
	for _, l := range limits {
		t.Run(l.name, func(t *testing.T) {
			s := &stage{Capture: pcaptest.New()}
			s.Step = ntpac.Second / 10000
			witness := func() { s.get(fmt.Sprintf("Content-Length: %d", len(page)), string(page)) }
			witness()
			beside := s.conn(80)
			beside.Send(ntpac.Up, []byte("GET /beside HTTP/1.1\r\nHost: h\r\n\r\n"))
			head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(page))
			beside.Send(ntpac.Down, append(head, page[:5000]...))
			l.play(s)
			beside.Send(ntpac.Down, page[5000:])
			beside.Close()
			witness()
			o := options()
			if l.set != nil {
				l.set(&o)
			}
			st := memory.New()
			text, done := run(t, st, o, write(t, "limit.pcap", s.Frames))
			if name, ok := strings.CutPrefix(l.says, "ledger:"); ok {
				if done.Ledger.Limits[name] == 0 {
					t.Errorf("the ledger does not name it: %+v", done.Ledger.Limits)
				}
			} else if !strings.Contains(text, l.says) {
				t.Errorf("nothing says %q:\n%.3000s", l.says, text)
			}
			balanced(t, st, done, uint64(len(s.Frames)))
			if n := whole(t, st, hex.EncodeToString(sum[:])); n != 3 {
				t.Errorf("%d of 3 other pages are whole", n)
			}
			if len(done.Ledger.Limits) > 0 && !strings.HasPrefix(l.says, "ledger:") && !strings.Contains(l.says, "limit-") {
				t.Errorf("other limits were hit: %v", done.Ledger.Limits)
			}
		})
	}
}

// whole counts complete exchanges whose answer has this hash.
func whole(t *testing.T, st ntpac.Store, sum string) (n int) {
	t.Helper()
	for a, err := range st.Artifacts(t.Context(), &ntpac.Query{Case: "test", Types: []string{"http"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if line := artifact.AppendArtifact(nil, a); a.Quality == ntpac.Complete && bytes.Contains(line, []byte(sum)) {
			n++
		}
	}
	return n
}

// With a seed of its own a case gives the same answers again, whatever the number of workers, also where
// conversations are ended for want of room; without one the seed is secret.
func TestFullTablesAgree(t *testing.T) {
	s := &stage{Capture: pcaptest.New()}
	for i := range 6000 {
		k := s.TCP(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 4000), netip.AddrPortFrom(bob, 80))
		k.Packet(ntpac.Up, pcaptest.SYN, nil)
		if i%3 == 0 {
			k.Packet(ntpac.Down, pcaptest.SYN|pcaptest.ACK, nil)
			k.Send(ntpac.Up, []byte("hello"))
		}
	}
	file := write(t, "full.pcap", s.Frames)
	var want string
	for _, workers := range []int{1, 2, 5} {
		o := options()
		o.Workers, o.MaxFlows, o.Seed, o.NoSnoop = workers, 2*ntpac.Shards, 99, true
		text, sum := run(t, memory.New(), o, file)
		if sum.Reassembly.Evicted == 0 {
			t.Fatalf("%+v", sum.Reassembly)
		}
		if want == "" {
			want = text
		}
		if text != want {
			a, b := strings.Split(want, "\n"), strings.Split(text, "\n")
			i := slices.IndexFunc(a, func(l string) bool { return !slices.Contains(b, l) })
			t.Errorf("%d workers: %d and %d conversations; the first that differs: %s", workers, len(a), len(b), a[max(i, 0)])
		}
	}
}
