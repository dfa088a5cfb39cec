package artifact_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"

	"ntpac"
	"ntpac/artifact"
)

func sum(s string) ntpac.Hash { return sha256.Sum256([]byte(s)) }

// dialog is a conversation kept in its row, of which the bytes [hole, hole+1000) of what the client
// sent were not captured.
func dialog(up, down string, hole int) *ntpac.Dialog {
	c := &ntpac.Conversation{Key: ntpac.FlowKey{Proto: ntpac.TCP}, Client: ntpac.A, Inline: &ntpac.Inline{}}
	c.Half[ntpac.A].End, c.Half[ntpac.B].End = int64(len(up)), int64(len(down))
	if hole >= 0 {
		up = up[:hole] + up[hole+1000:]
		c.Half[ntpac.A].Gaps = []ntpac.Gap{{Off: int64(hole), Len: 1000}}
	}
	c.Inline.Stream = [2][]byte{[]byte(up), []byte(down)}
	return ntpac.NewDialog(c, nil)
}

// TestOpenBlob follows recipes over streams with and without holes.
func TestOpenBlob(t *testing.T) {
	gz := string(encode("gzip", []byte("hello, hello")))
	up := strings.Repeat("0123456789", 250)
	tests := []struct {
		name string
		hole int
		blob ntpac.Blob
		want string
		err  error
	}{
		{"data", -1, ntpac.Blob{Data: []byte("as it is"), Size: 8}, "as it is", nil},
		{"coded data", -1, ntpac.Blob{Data: []byte("aGk="), Size: 2, Codings: []string{"base64"}}, "hi", nil},
		{"one span", -1, ntpac.Blob{Spans: []ntpac.Span{{Dir: ntpac.Up, Off: 5, Len: 10}}, Size: 10}, "5678901234", nil},
		{"two spans, both ways", -1, ntpac.Blob{Spans: []ntpac.Span{{Dir: ntpac.Down, Off: 0, Len: 4}, {Dir: ntpac.Up, Off: 2400, Len: 3}}, Size: 7}, "head012", nil},
		{"coded span", -1, ntpac.Blob{Spans: []ntpac.Span{{Dir: ntpac.Down, Off: 4, Len: int64(len(gz))}}, Codings: []string{"gzip"}, Size: 12}, "hello, hello", nil},
		{"hole", 1000, ntpac.Blob{Spans: []ntpac.Span{{Dir: ntpac.Up, Off: 990, Len: 1020}}, Size: 20}, "01234567890123456789", nil},
		{"all hole", 1000, ntpac.Blob{Spans: []ntpac.Span{{Dir: ntpac.Up, Off: 1000, Len: 1000}}, Size: 0}, "", nil},
		{"prefix", -1, ntpac.Blob{Spans: []ntpac.Span{{Dir: ntpac.Down, Off: 4, Len: int64(len(gz)) - 9}}, Codings: []string{"gzip"}, Size: 4}, "hell", nil},
		{"short", -1, ntpac.Blob{Spans: []ntpac.Span{{Dir: ntpac.Up, Off: 2490, Len: 100}}, Size: 100}, "0123456789", io.ErrUnexpectedEOF},
		{"beyond", -1, ntpac.Blob{Spans: []ntpac.Span{{Dir: ntpac.Up, Off: 9000, Len: 100}, {Dir: ntpac.Up, Off: -1, Len: 5}}, Size: 1}, "", io.ErrUnexpectedEOF},
	}
	for _, tc := range tests {
		open := func(ntpac.ConversationID) (*ntpac.Dialog, error) {
			return dialog(up, "head"+gz+"tail", tc.hole), nil
		}
		r, err := artifact.OpenBlob(&tc.blob, open)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		got, err := io.ReadAll(r)
		r.Close()
		if string(got) != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
		tc.blob.SHA256 = sum(tc.want)
		if err := artifact.CheckBlob(&tc.blob, open); (err == nil) != (tc.err == nil) {
			t.Errorf("%s: %v", tc.name, err)
		}
		tc.blob.SHA256 = sum("other")
		if artifact.CheckBlob(&tc.blob, open) == nil {
			t.Errorf("%s: a wrong sum passes", tc.name)
		}
	}
	gone := errors.New("gone")
	if err := artifact.CheckBlob(&tests[2].blob, func(ntpac.ConversationID) (*ntpac.Dialog, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("no payload: %v", err)
	}
	if err := artifact.CheckBlob(&ntpac.Blob{Data: []byte("x"), Size: 1, Codings: []string{"rot13"}}, nil); !errors.Is(err, artifact.ErrUnknownCoding) {
		t.Errorf("unknown coding: %v", err)
	}
}
