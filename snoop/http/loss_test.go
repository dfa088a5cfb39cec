package http

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/artifact"
	"ntpac/snoop"
	"ntpac/snoop/snooptest"
)

// TestBothSidesLost loses an answer and the request behind it: the next answer must not be called the
// first request's for certain.
func TestBothSidesLost(t *testing.T) {
	long := strings.Repeat("x", 1500)
	talk := snooptest.Talk{Turns: []snooptest.Turn{
		snooptest.Up("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),                                 // 0
		snooptest.Down("HTTP/1.1 200 OK\r\nContent-Length: 1500\r\n\r\n" + long),           // 1, 2
		snooptest.Up("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 1500\r\n\r\n" + long), // 3, 4
		snooptest.Down("HTTP/1.1 204 No Content\r\n\r\n"),                                  // 5
		snooptest.Up("GET /c HTTP/1.1\r\nHost: h\r\n\r\n"),                                 // 6
		snooptest.Down("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"),            // 7
	}}
	for _, lost := range [][]int{{1, 3}, {1, 3, 4}, {1, 2, 3}, {1, 2, 3, 4}, {7, 5}, {5, 6}, {1, 2, 3, 4, 5, 6}} {
		for _, headless := range []bool{false, true} {
			talk.NoSyn = headless
			d := talk.Dialog(func(i int) bool { return slices.Contains(lost, i) })
			g := snoop.Run(context.Background(), snoop.NewRegistry([]ntpac.Snooper{New()}), d, snoop.Options{})
			for _, a := range g.Artifacts {
				f, ok := a.Fields.(*artifact.HTTP)
				if !ok || a.Quality != ntpac.Complete {
					continue
				}
				want := map[string]int{"/a": 200, "/b": 204, "/c": 404}[f.URI]
				if f.Status != want {
					t.Errorf("without %v: %s %s is called answered with %d for certain", lost, f.Method, f.URI, f.Status)
				}
			}
		}
	}
}

// TestHoleInStartLine loses a few bytes at every place of a start line: the other exchanges must not suffer, and
// this one must not be called complete.
func TestHoleInStartLine(t *testing.T) {
	up, down := make([]string, 3), make([]string, 3)
	for i := range up {
		up[i] = fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
		down[i] = fmt.Sprintf("HTTP/1.1 20%d OK\r\nContent-Length: 60\r\n\r\n%s", i, strings.Repeat("0123456789", 6))
	}
	for dir := range ntpac.Dir(2) {
		for hurt := range 3 {
			line := strings.Index([]string{up[hurt], down[hurt]}[dir], "\n")
			for at := range line {
				for _, n := range []int{1, 5, 9} {
					var talk snooptest.Talk
					drop := -1
					for i := range 3 {
						for d, text := range []string{up[i], down[i]} {
							if i != hurt || d != int(dir) || at+n >= len(text) {
								talk.Turns = append(talk.Turns, snooptest.Turn{Dir: ntpac.Dir(d), Data: []byte(text)})
								continue
							}
							if at > 0 {
								talk.Turns = append(talk.Turns, snooptest.Turn{Dir: ntpac.Dir(d), Data: []byte(text[:at])})
							}
							drop = len(talk.Turns)
							talk.Turns = append(talk.Turns, snooptest.Turn{Dir: ntpac.Dir(d), Data: []byte(text[at : at+n])},
								snooptest.Turn{Dir: ntpac.Dir(d), Data: []byte(text[at+n:])})
						}
					}
					g := snoop.Run(t.Context(), snoop.NewRegistry([]ntpac.Snooper{New()}), talk.Dialog(func(i int) bool { return i == drop }), snoop.Options{})
					var whole []string
					for _, a := range g.Artifacts {
						if f, ok := a.Fields.(*artifact.HTTP); ok && a.Quality == ntpac.Complete {
							whole = append(whole, fmt.Sprint(f.URI, f.Status))
						}
					}
					var want []string
					for i := range 3 {
						if i != hurt {
							want = append(want, fmt.Sprintf("/%d20%d", i, i))
						}
					}
					if !slices.Equal(whole, want) {
						t.Errorf("without %d bytes at %d of %v start line %d: complete are %v, want %v", n, at, dir, hurt, whole, want)
					}
				}
			}
		}
	}
}
