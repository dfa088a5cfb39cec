package mail

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/artifact"
	"ntpac/snoop/snooptest"
)

// update reports whether golden files are to be written anew; the kit of talks has the flag.
func update() bool { return flag.Lookup("update").Value.String() == "true" }

// stuff sends a message as SMTP does: with transparency dots and the dot that ends it.
func stuff(m []byte) []byte {
	b := bytes.ReplaceAll(m, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(b, []byte(".")) {
		b = append([]byte("."), b...)
	}
	if !bytes.HasSuffix(b, crlf) {
		b = append(b, crlf...)
	}
	return append(b, ".\r\n"...)
}

// carried is a dialog whose server sends the message, dot-stuffed or counted, without the segments
// named by drop.
func carried(m []byte, dots bool, drop func(int) bool) *ntpac.Dialog {
	if dots {
		m = stuff(m)
	}
	t := snooptest.Talk{Turns: []snooptest.Turn{snooptest.Up("x"), {Dir: ntpac.Down, Data: m}}}
	return t.Dialog(func(i int) bool { return drop != nil && drop(i-1) })
}

// readAll reads the message that a dialog carries.
func readAll(d *ntpac.Dialog, dots bool) *Message {
	p := NewParser(ntpac.Down)
	if dots {
		p.ReadDot(d.Down, func(int64) bool { return false })
	} else {
		p.ReadN(d.Down, d.Down.End())
	}
	return p.Finish()
}

// check follows all recipes of a message.
func check(t testing.TB, d *ntpac.Dialog, m *Message) {
	t.Helper()
	open := func(ntpac.ConversationID) (*ntpac.Dialog, error) { return d.Fresh(), nil }
	if err := artifact.CheckBlob(&m.Blob, open); err != nil {
		t.Fatalf("the message %v %v: %v", m.Blob.Spans, m.Blob.Codings, err)
	}
	for i := range m.Attachments {
		a := &m.Attachments[i]
		if err := artifact.CheckBlob(&a.Blob, open); err != nil {
			t.Fatalf("attachment %d %q %v %v: %v", i, a.Filename, a.Blob.Spans, a.Blob.Codings, err)
		}
		if a.Blob.SHA256 != a.SHA256 || a.Blob.Size != a.Size {
			t.Fatalf("attachment %d: blob and description differ", i)
		}
		for _, s := range a.Spans {
			if s.Off < 0 || s.Len < 0 || s.Off+s.Len > d.Down.End() {
				t.Fatalf("attachment %d: span %v outside of the stream", i, s)
			}
		}
	}
}

func messages(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatal("no messages", err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[f] = b
	}
	return out
}

// TestGolden compares what is found in each message of testdata with the file beside it.
func TestGolden(t *testing.T) {
	for name, b := range messages(t) {
		d := carried(b, true, nil)
		m := readAll(d, true)
		check(t, d, m)
		counted := carried(b, false, nil)
		n := readAll(counted, false)
		check(t, counted, n)
		if n.Size != int64(len(b)) || n.Text != m.Text && bytes.HasSuffix(b, crlf) || len(n.Attachments) != len(m.Attachments) {
			t.Errorf("%s: counted and dotted differ", name)
		}
		m.Blob = ntpac.Blob{}
		for i := range m.Attachments {
			m.Attachments[i].Blob, m.Attachments[i].end = ntpac.Blob{}, 0
		}
		got, err := json.MarshalIndent(m, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(name, ".eml") + ".golden"
		if update() {
			if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(got)+"\n" {
			t.Errorf("%s: got\n%s", golden, got)
		}
	}
}

// TestSplit cuts each message at every place; what is found must not depend on it.
func TestSplit(t *testing.T) {
	p := NewParser(ntpac.Down)
	read := func(b []byte, cuts ...int) string {
		p.Reset(ntpac.Down)
		at := 0
		for _, c := range append(cuts, len(b)) {
			p.Write(int64(at), b[at:c])
			at = c
		}
		return dump(p.Finish())
	}
	for name, b := range messages(t) {
		want := read(b)
		every := make([]int, len(b))
		for i := range b {
			every[i] = i
			if got := read(b, i); got != want {
				t.Fatalf("%s cut at %d:\n%s\nnot\n%s", name, i, got, want)
			}
		}
		if got := read(b, every...); got != want {
			t.Fatalf("%s byte by byte:\n%s\nnot\n%s", name, got, want)
		}
	}
}

func dump(m *Message) string {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestHoles loses ranges of each message: recipes still give what was hashed, and an attachment that
// no hole touches, nor the delimiter behind it, is found as it is.
func TestHoles(t *testing.T) {
	p := NewParser(ntpac.Down)
	for name, b := range messages(t) {
		p.Reset(ntpac.Down)
		p.Write(0, b)
		whole := p.Finish().Attachments
		for off := 0; off < len(b); off++ {
			for _, n := range [][]int{{1, 40}, {2}, {7}}[off%3] {
				n = min(n, len(b)-off)
				p.Reset(ntpac.Down)
				p.Write(0, b[:off])
				p.Gap(int64(off), int64(n))
				p.Write(int64(off+n), b[off+n:])
				m := p.Finish()
				if m.Size != int64(len(b)-n) || m.Missing != int64(n) {
					t.Fatalf("%s: size %d, missing %d", name, m.Size, m.Missing)
				}
				recipes(t, name, b, off, n, m)
				if strings.HasSuffix(name, "noboundary.eml") {
					continue // the first delimiter says where the parts are
				}
				for _, a := range whole {
					if !touched(a.Spans, off, n) && !slices.ContainsFunc(m.Attachments, func(b Attachment) bool { return a.Attachment == b.Attachment }) {
						t.Fatalf("%s: hole at %d+%d: attachment %q %v is not touched, but not found", name, off, n, a.Filename, a.Spans)
					}
				}
			}
		}
	}
}

// recipes follows the recipes of a message with a hole in memory.
func recipes(t *testing.T, name string, b []byte, off, n int, m *Message) {
	t.Helper()
	for i := range m.Attachments {
		bl := m.Attachments[i].Blob
		var src []byte
		for _, s := range bl.Spans {
			for k := s.Off; k < s.Off+s.Len; k++ {
				if int(k) < off || int(k) >= off+n {
					src = append(src, b[k])
				}
			}
		}
		bl.Spans, bl.Data = nil, src
		if err := artifact.CheckBlob(&bl, nil); err != nil {
			t.Fatalf("%s: hole at %d+%d: attachment %q %v: %v", name, off, n, m.Attachments[i].Filename, m.Attachments[i].Blob.Spans, err)
		}
	}
}

func touched(spans []ntpac.Span, off, n int) bool {
	const delimiter = len("\r\n--=_found_anyway--\r\n")
	for _, s := range spans {
		if s.Off < int64(off+n) && int64(off) < s.Off+s.Len+int64(delimiter) {
			return true
		}
	}
	return false
}

// TestLimits builds messages that are over every limit.
func TestLimits(t *testing.T) {
	deep := ""
	for i := range 3 * MaxDepth {
		b := string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		deep += "Content-Type: multipart/mixed; boundary=" + b + "\r\n\r\n--" + b + "\r\n"
	}
	many := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: image/x\r\n\r\nx\r\n", MaxParts+5)
	header := strings.Repeat("Subject: "+strings.Repeat("s", 1000)+"\r\n", 400) + "\r\nbody\r\n"
	long := "\r\n" + strings.Repeat("word ", 40000) + "\r\n"
	nest := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 100) + "Subject: x\r\n\r\nx\r\n"
	for _, c := range []struct {
		text, damage string
		parts        int
	}{
		{deep, "parts nested deeper than 32", 1},
		{many, "5 attachments beyond the limit of 1000", MaxParts},
		{header, "a header is longer than the limit", 0},
		{long, "", 0},
		{nest, "", containers + 1},
	} {
		p := NewParser(ntpac.Down)
		p.Write(0, []byte(c.text))
		m := p.Finish()
		if m.Damage != c.damage || len(m.Attachments) != c.parts || len(m.Text) > MaxText || m.Size != int64(len(c.text)) {
			t.Errorf("%.40q: damage %q, %d attachments, text of %d", c.text, m.Damage, len(m.Attachments), len(m.Text))
		}
	}
}
