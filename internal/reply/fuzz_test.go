package reply

import (
	"bytes"
	"testing"

	"ntpac/snoop/snooptest"
)

// FuzzReply reads any bytes as commands and replies, some segments lost. Replies follow one another
// within the server's stream, keep their limits, and say what the stream says; the answers to commands
// are among them, in their order.
func FuzzReply(f *testing.F) {
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a>\r\n"), []byte("220 ready\r\n250-one\r\n250 two\r\n250 ok\r\n"), uint16(0))
	f.Add([]byte("USER a\r\nPASS b\r\n"), []byte("220-cut\n more\n230Login\r\n12345\r\n221 bye"), uint16(2))
	f.Fuzz(func(t *testing.T, up, down []byte, lost uint16) {
		talk := snooptest.Talk{}
		for len(up)+len(down) > 0 { // in turns, a line each
			for _, b := range []*[]byte{&up, &down} {
				n := bytes.IndexByte(*b, '\n') + 1
				if n == 0 {
					n = len(*b)
				}
				turn := snooptest.Up(string((*b)[:n]))
				if b == &down {
					turn = snooptest.Down(string((*b)[:n]))
				}
				talk.Turns, *b = append(talk.Turns, turn), (*b)[n:]
			}
			if len(talk.Turns) > 200 {
				return
			}
		}
		d := talk.Dialog(func(i int) bool { return lost>>(i%16)&1 != 0 })
		var r Reader
		r.Init(d)
		end := int64(0)
		for p := r.Take(); p != nil; p = r.Take() {
			if p.Off < end || p.Len <= 0 || p.Off+p.Len > d.Down.End() {
				t.Fatalf("reply at %d of %d bytes behind %d, of %d", p.Off, p.Len, end, d.Down.End())
			}
			if !p.Hole() && (p.Code < 100 || p.Code > 599) || len(p.Text) > MaxText+maxLine {
				t.Fatalf("reply %d with %d bytes of text", p.Code, len(p.Text))
			}
			if !p.Broken && d.Down.Missing(p.Off, p.Len) > 0 {
				t.Fatalf("a hole in the reply at %d is not seen", p.Off)
			}
			end = p.Off + p.Len
		}
		d = d.Fresh()
		r.Init(d)
		last := int64(-1)
		for !d.Up.EOF() {
			d.Up.SkipGap()
			at := d.Up.Off()
			if _, whole := d.Up.Line(1 << 10); !whole && d.Up.Off() == at {
				break
			}
			p, state := r.Answer(at, d.Up.Off(), false)
			if state != Got {
				continue
			}
			if p.Hole() || p.Off+p.Len <= last {
				t.Fatalf("answer %d at %d, the one before ends at %d", p.Code, p.Off, last)
			}
			last = p.Off + p.Len
		}
	})
}
