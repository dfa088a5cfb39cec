package http_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/artifact"
	"ntpac/snoop/http"
	"ntpac/snoop/snooptest"
)

func snoop(t testing.TB, d *ntpac.Dialog) []*ntpac.Artifact {
	t.Helper()
	var c snooptest.Collector
	if err := http.New().Snoop(context.Background(), d, &c); err != nil {
		t.Fatal(err)
	}
	return c.Artifacts
}

// talk plays turns: "> " says what the client says, "< " the server.
func talk(turns ...string) *snooptest.Talk {
	var t snooptest.Talk
	for _, s := range turns {
		dir := ntpac.Up
		if s[0] == '<' {
			dir = ntpac.Down
		}
		t.Turns = append(t.Turns, snooptest.Turn{Dir: dir, Data: []byte(s[2:])})
	}
	return &t
}

// say writes what an artifact says, but for its time.
func say(a *ntpac.Artifact) string {
	f, err := json.Marshal(a.Fields)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v %v %q %s", a.Type, a.Quality, a.Spans, a.Error, f)
	for _, x := range a.Blobs {
		fmt.Fprintf(&b, " %v %d %v %v", x.SHA256, x.Size, x.Spans, x.Codings)
	}
	return b.String()
}

func sayAll(as []*ntpac.Artifact) []string {
	var out []string
	for _, a := range as {
		out = append(out, say(a))
	}
	slices.Sort(out)
	return out
}

// TestSegments cuts what each end says into other segments: nothing found may change.
func TestSegments(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, sc := range snooptest.Load(t, "testdata") {
		if sc.Proto == ntpac.UDP {
			continue
		}
		want := sayAll(snoop(t, sc.Dialog(nil)))
		for range 20 {
			cut := sc.Talk
			cut.Turns = nil
			most := 1 + r.IntN(400)
			for _, turn := range sc.Turns {
				for data := turn.Data; ; {
					n := min(len(data), 1+r.IntN(most))
					cut.Turns = append(cut.Turns, snooptest.Turn{Dir: turn.Dir, Data: data[:n]})
					if data = data[n:]; len(data) == 0 {
						break
					}
				}
			}
			if got := sayAll(snoop(t, cut.Dialog(nil))); !slices.Equal(got, want) {
				t.Fatalf("%s in segments of up to %d bytes:\n%s\nnot\n%s", sc.Name, most, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// TestBlobs makes every blob by its recipe, whole and with each segment lost in turn.
func TestBlobs(t *testing.T) {
	made := 0
	for _, sc := range snooptest.Load(t, "testdata") {
		for lost := -1; lost < sc.Segments(); lost++ {
			d := sc.Dialog(func(i int) bool { return i == lost })
			for _, a := range snoop(t, d.Fresh()) {
				for i := range a.Blobs {
					if err := artifact.CheckBlob(&a.Blobs[i], func(ntpac.ConversationID) (*ntpac.Dialog, error) { return d.Fresh(), nil }); err != nil {
						t.Errorf("%s, segment %d lost: %v: %v", sc.Name, lost, say(a), err)
					}
					made++
				}
			}
		}
	}
	if made < 1000 {
		t.Errorf("only %d blobs", made)
	}
}

// TestSkew lets the server's packets be stamped before the client's: while nothing is lost, order
// alone pairs.
func TestSkew(t *testing.T) {
	tk := talk("< HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"> GET /1 HTTP/1.1\r\n\r\n", "> GET /2 HTTP/1.1\r\n\r\n")
	var got []string
	for _, a := range snoop(t, tk.Dialog(nil)) {
		if h, ok := a.Fields.(*artifact.HTTP); ok {
			got = append(got, fmt.Sprintf("%s %d %v", h.URI, h.Status, a.Quality))
		}
	}
	if want := []string{"/1 200 complete", "/2 404 complete"}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

// TestPipelinedLoss loses an answer of a client that is known to pipeline: what follows is counted from
// the end, and called guessed.
func TestPipelinedLoss(t *testing.T) {
	var turns []string
	for i := range 3 {
		turns = append(turns, fmt.Sprintf("> GET /%d HTTP/1.1\r\n\r\n", i))
	}
	turns = append(turns, "< HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0", "> GET /3 HTTP/1.1\r\n\r\n")
	for i := 1; i < 4; i++ {
		turns = append(turns, fmt.Sprintf("< HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", i))
	}
	d := talk(turns...).Dialog(func(i int) bool { return i == 5 }) // the answer to /1
	var got []string
	for _, a := range snoop(t, d) {
		if h, ok := a.Fields.(*artifact.HTTP); ok {
			got = append(got, fmt.Sprintf("%s %d %v", h.URI, h.Status, a.Quality))
		}
	}
	if want := []string{"/0 200 complete", "/1 0 gapped", "/2 200 guessed", "/3 200 guessed"}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

// TestImpatient has a client that does not wait for an answer, in a conversation whose beginning was not
// captured: as nothing is lost between, the answers are to the oldest requests.
func TestImpatient(t *testing.T) {
	answer := func(n int) string { return fmt.Sprintf("< HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n) }
	k := talk("< the end of an answer", "> GET /0 HTTP/1.1\r\n\r\n", "> GET /1 HTTP/1.1\r\n\r\n", answer(0), answer(1),
		"> GET /2 HTTP/1.1\r\n\r\n", answer(2))
	k.NoSyn = true
	var got []string
	for _, a := range snoop(t, k.Dialog(nil)) {
		if h, ok := a.Fields.(*artifact.HTTP); ok && h.URI != "" {
			got = append(got, fmt.Sprintf("%s %d %v", h.URI, h.Status, a.Quality))
			if h.Status != 0 && h.ResponseBody.SHA256 != sha256.Sum256([]byte(h.URI[1:])) {
				t.Errorf("%s has another's answer", h.URI)
			}
		}
	}
	if want := []string{"/0 200 guessed", "/1 200 guessed", "/2 200 guessed"}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}
