package http

import (
	"context"
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
