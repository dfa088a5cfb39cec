package reply

import (
	"fmt"
	"strings"
	"testing"

	"ntpac/snoop/snooptest"
)

// TestReplies reads what servers say, and what they should not say.
func TestReplies(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"220 ready\r\n", "220 ready"},
		{"220-one\r\n220-two\r\n220 three\r\n250 ok\r\n", "220 one\ntwo\nthree|250 ok"},
		{"220-one\r\n 331 inside\r\n331 too\r\nfree text\r\n220 end\r\n", "220 one\n 331 inside\n331 too\nfree text\nend"},
		{"250\r\n250-\r\n250 \r\n", "250 |250 \n"},
		{"230Login\r\n12345 no\r\nno reply\r\n\r\n999 no\r\n221 bye", "230 Login|221 bye!"},
		{"220 bare\n221 lf\n", "220 bare|221 lf"},
		{"211-cut\r\n more", "211 cut\n more!"},
		{"250 " + strings.Repeat("x", 9000) + "\r\n251 y\r\n", "250 " + strings.Repeat("x", MaxText-4) + "|251 y"},
	} {
		talk := snooptest.Talk{Turns: []snooptest.Turn{snooptest.Up("x"), snooptest.Down(c.in)}}
		var r Reader
		r.Init(talk.Dialog(nil))
		var got []string
		for p := r.Take(); p != nil; p = r.Take() {
			g := fmt.Sprintf("%d %s", p.Code, p.Text[:min(len(p.Text), MaxText)])
			if p.Broken {
				g += "!"
			}
			got = append(got, g)
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%.40q:\n got %.200q\nwant %.200q", c.in, s, c.want)
		}
	}
}

// TestPairing loses turns of a dialog of commands and replies in every way; every answer that is given
// without doubt must be the right one. Replies carry the number of their command.
func TestPairing(t *testing.T) {
	const n = 6
	var turns []snooptest.Turn
	for i := range n {
		turns = append(turns, snooptest.Up(fmt.Sprintf("CMD%d\r\n", i)), snooptest.Down(fmt.Sprintf("250 %d\r\n", i)))
	}
	talk := snooptest.Talk{Turns: turns}
	for lost := range 1 << (2 * n) {
		d := talk.Dialog(func(i int) bool { return lost>>i&1 != 0 })
		var r Reader
		r.Init(d)
		given := 0
		for !d.Up.EOF() {
			if d.Up.SkipGap() > 0 {
				r.Torn = true
				continue
			}
			line, _ := d.Up.Line(100)
			cmd := string(line)
			p, state := r.Answer(d.Up.Off()-1, d.Up.Off(), true)
			var i int
			if _, err := fmt.Sscanf(cmd, "CMD%d", &i); err != nil {
				t.Fatal(err)
			}
			captured := lost>>(2*i+1)&1 == 0
			if state != Got {
				if captured {
					t.Fatalf("lost %b: %s has no answer", lost, cmd)
				}
				continue
			}
			given++
			if !p.Broken && (string(p.Text) != fmt.Sprint(i) || !captured) {
				t.Fatalf("lost %b: %s was answered with %s", lost, cmd, p.Text)
			}
		}
		if lost == 0 && given != n {
			t.Fatalf("%d answers", given)
		}
	}
}
