package http_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"strings"
	"testing"

	"ntpac"
	"ntpac/snoop/http"
)

// discard is an emitter that forgets.
type discard struct{ n int }

func (d *discard) Emit(*ntpac.Artifact)     { d.n++ }
func (d *discard) Expect(ntpac.Expectation) {}

func benchmark(b *testing.B, exchanges int, turns ...string) {
	tk := talk(turns...)
	size := 0
	for _, t := range tk.Turns {
		size += len(t.Data)
	}
	d := tk.Dialog(nil)
	sn := http.New()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if err := sn.Snoop(context.Background(), d.Fresh(), &discard{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(exchanges), "ns/exchange")
}

const browser = "Host: www.example.net\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\nReferer: http://www.example.net/index.html\r\nConnection: keep-alive\r\n"

// BenchmarkSmall has exchanges with a kilobyte of head and a body of 200 bytes.
func BenchmarkSmall(b *testing.B) {
	var turns []string
	const n = 100
	for i := range n {
		turns = append(turns, fmt.Sprintf("> GET /page/%d?x=1 HTTP/1.1\r\n%sCookie: sid=%s\r\n\r\n", i, browser, strings.Repeat("c", 250)),
			"< HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Type: text/plain\r\nX: "+
				strings.Repeat("d", 200)+"\r\nContent-Length: 200\r\n\r\n"+strings.Repeat("e", 200))
	}
	benchmark(b, n, turns...)
}

// BenchmarkNoBody has the snooper's own cost: nothing is hashed.
func BenchmarkNoBody(b *testing.B) {
	var turns []string
	const n = 100
	for i := range n {
		turns = append(turns, fmt.Sprintf("> GET /page/%d?x=1 HTTP/1.1\r\n%s\r\n", i, browser), "< HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n")
	}
	benchmark(b, n, turns...)
}

func BenchmarkLarge(b *testing.B) {
	body := string(bytes.Repeat([]byte("\xff\xd8\xff0123456789abcdef"), 500_000))
	head := "< HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
	b.Run("length", func(b *testing.B) {
		benchmark(b, 1, "> GET / HTTP/1.1\r\n\r\n", fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body))
	})
	b.Run("chunked", func(b *testing.B) {
		var c strings.Builder
		for rest := body; rest != ""; {
			n := min(len(rest), 8000)
			fmt.Fprintf(&c, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		benchmark(b, 1, "> GET / HTTP/1.1\r\n\r\n", head+"Transfer-Encoding: chunked\r\n\r\n"+c.String()+"0\r\n\r\n")
	})
	b.Run("gzip", func(b *testing.B) {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		for i := range 200_000 {
			fmt.Fprintf(w, "%d: the quick brown fox %x\n", i, i*i)
		}
		w.Close()
		benchmark(b, 1, "> GET / HTTP/1.1\r\n\r\n", fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", head, z.Len(), z.String()))
	})
}

func BenchmarkProbe(b *testing.B) {
	h := ntpac.Head{Proto: ntpac.TCP, Known: [2]bool{true, true}}
	h.Data[ntpac.Up] = []byte("GET / HTTP/1.1\r\n" + browser + "\r\n")
	h.Data[ntpac.Down] = []byte("HTTP/1.1 200 OK\r\n\r\n")
	sn := http.New()
	b.ReportAllocs()
	for b.Loop() {
		sn.Probe(&h)
	}
}
