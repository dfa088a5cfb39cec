package http_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"ntpac"
	"ntpac/artifact"
)

func exchanges(as []*ntpac.Artifact) (out []*ntpac.Artifact) {
	for _, a := range as {
		if a.Type == "http" {
			out = append(out, a)
		}
	}
	return out
}

// bomb is zeros, coded with gzip twice or once.
func bomb(n int64, times int) string {
	zeros := make([]byte, 1<<20)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for ; n > 0; n -= int64(len(zeros)) {
		w.Write(zeros)
	}
	w.Close()
	for ; times > 1; times-- {
		var c bytes.Buffer
		w := gzip.NewWriter(&c)
		w.Write(b.Bytes())
		w.Close()
		b = c
	}
	return b.String()
}

// TestLimits holds what is too big, contradicts itself or makes no sense against what is said of it.
func TestLimits(t *testing.T) {
	long := strings.Repeat("a", 70<<10)
	big := strings.Repeat("X-A: "+strings.Repeat("b", 1000)+"\r\n", 300)
	double := bomb(24<<20, 2)
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	tests := []struct {
		name  string
		turns []string
		want  []string // method, target, status, body, decoded, quality, error of each exchange
	}{
		{"long field line", []string{"> GET / HTTP/1.1\r\nX: " + long + "\r\nHost: h\r\n\r\n", "< " + ok},
			[]string{"GET / 200 2 2 complete request: header line over 64 KiB"}},
		{"head bomb", []string{"> GET / HTTP/1.1\r\n" + big + "\r\n", "< " + ok, "> GET /2 HTTP/1.1\r\n\r\n", "< " + ok},
			[]string{"GET / 200 2 2 gapped request: head over 256 KiB", "GET /2 200 2 2 complete "}},
		{"endless start line", []string{"> GET /" + long + " HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", "< " + ok},
			[]string{"  0 0 0 guessed request: 71698 bytes that belong to no message", "GET /2 200 2 2 complete "}},
		{"absurd length", []string{"> GET / HTTP/1.1\r\n\r\n", "< HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc"},
			[]string{"GET / 200 3 3 complete response: bad Content-Length"}},
		{"great length", []string{"> GET / HTTP/1.1\r\n\r\n", "< HTTP/1.1 200 OK\r\nContent-Length: 4000000000000000000\r\n\r\nabc"},
			[]string{"GET / 200 3 3 gapped response: the stream ends 3999999999999999997 bytes before the body does"}},
		{"contradicting lengths", []string{"> GET / HTTP/1.1\r\n\r\n> GET /2 HTTP/1.1\r\n\r\n"[:20], "< HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nfour"},
			[]string{"GET / 200 4 4 guessed response: contradicting Content-Length fields"}},
		{"chunk over 2^64", []string{"> GET / HTTP/1.1\r\n\r\n", "< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000004\r\nabcd\r\n0\r\n\r\n"},
			[]string{"GET / 200 30 30 complete response: the body is not chunked as announced"}},
		{"bomb", []string{"> GET / HTTP/1.1\r\n\r\n", "< HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: " + fmt.Sprint(len(double)) + "\r\n\r\n" + double},
			[]string{fmt.Sprintf("GET / 200 %d 0 complete response: the body does not decode (gzip, gzip): gzip: ", len(double))}},
		{"answer to HEAD, alone", []string{"< HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"},
			[]string{"  200 0 0 gapped ", "  200 1 1 gapped "}},
		{"no chunks, alone", []string{"< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
			[]string{"  200 0 0 gapped "}},
	}
	for _, tc := range tests {
		got := exchanges(snoop(t, talk(tc.turns...).Dialog(nil)))
		if len(got) != len(tc.want) {
			t.Errorf("%s: %d exchanges, not %d", tc.name, len(got), len(tc.want))
			continue
		}
		for i, a := range got {
			h := a.Fields.(*artifact.HTTP)
			body := artifact.Body{}
			if h.ResponseBody != nil {
				body = *h.ResponseBody
			}
			s := fmt.Sprintf("%s %s %d %d %d %v %s", h.Method, h.URI, h.Status, body.Size, body.DecodedSize, a.Quality, a.Error)
			if s != tc.want[i] && !(strings.HasPrefix(s, tc.want[i]) && strings.HasSuffix(tc.want[i], ": ")) {
				t.Errorf("%s:\n%s\nnot\n%s", tc.name, s, tc.want[i])
			}
		}
	}
}

// TestManyChunks has a body of more chunks than a recipe may have: it is hashed, and not a blob.
func TestManyChunks(t *testing.T) {
	d := talk("> GET / HTTP/1.1\r\n\r\n", "< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1\r\nx\r\n", 70000)+"0\r\n\r\n").Dialog(nil)
	as := snoop(t, d)
	h := as[0].Fields.(*artifact.HTTP)
	if h.ResponseBody.Size != 70000 || len(as[0].Blobs) != 0 || as[0].Error == "" {
		t.Errorf("%+v, %d blobs, %q", h.ResponseBody, len(as[0].Blobs), as[0].Error)
	}
}

// TestHoleInBody loses a part of a body: the rest stays in its place, and what was decoded before the
// hole is kept.
func TestHoleInBody(t *testing.T) {
	body := strings.Repeat("0123456789", 500)
	d := talk("> GET / HTTP/1.1\r\n\r\n", "< HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+body, "> GET /2 HTTP/1.1\r\n\r\n", "< HTTP/1.1 204 No Content\r\n\r\n").
		Dialog(func(i int) bool { return i == 2 })
	as := snoop(t, d)
	h := as[0].Fields.(*artifact.HTTP)
	if b := h.ResponseBody; as[0].Quality != ntpac.Gapped || b.Size != 4000 || b.Missing != 1000 {
		t.Errorf("%v %+v", as[0].Quality, b)
	}
	if sp := as[0].Blobs[0].Spans; len(sp) != 1 || sp[0].Len != 5000 {
		t.Errorf("the recipe is %v", sp)
	}
	if f := as[1].Fields.(*artifact.File); f.Missing != 1000 || as[1].Quality != ntpac.Gapped {
		t.Errorf("file %+v %v", f, as[1].Quality)
	}
	if last := as[2]; last.Quality != ntpac.Complete || last.Fields.(*artifact.HTTP).Status != 204 {
		t.Errorf("after the hole: %s", say(last))
	}
}
