package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"unicode/utf8"

	"ntpac"
)

// FuzzMessage reads anything as a message with two lost segments. It must not fail, stay within the
// limits, and give recipes that lead to what was hashed.
func FuzzMessage(f *testing.F) {
	for _, b := range messages(f) {
		f.Add(b, uint8(1), uint8(9), true)
		f.Add(b, uint8(255), uint8(255), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, lost, lost2 uint8, dots bool) {
		d := carried(b, dots, func(i int) bool { return i == int(lost) || i == int(lost2) })
		p := NewParser(ntpac.Down)
		if dots {
			p.ReadDot(d.Down, func(at int64) bool { return at%2 == 0 })
		} else {
			p.ReadN(d.Down, d.Down.End())
		}
		m := p.Finish()
		if len(m.Text) > 4*MaxText || !utf8.ValidString(m.Text) || len(m.Attachments) > MaxParts {
			t.Fatal("over the limits")
		}
		if d.Down.Missing(0, d.Down.End()) > 0 && bytes.Contains(b, []byte("\r\n.")) {
			return // a dot at a hole's edge may be one that ends the message: the recipe would end there
		}
		check(t, d, m)
	})
}

// FuzzSplit reads a message in two pieces, and in one.
func FuzzSplit(f *testing.F) {
	for _, b := range messages(f) {
		f.Add(b, 30)
	}
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		at = max(0, min(at, len(b)))
		p := NewParser(ntpac.Down)
		p.Write(0, b)
		want := dump(p.Finish())
		p.Reset(ntpac.Down)
		p.Write(0, b[:at])
		p.Write(int64(at), b[at:])
		if got := dump(p.Finish()); got != want {
			t.Fatalf("cut at %d:\n%s\nnot\n%s", at, got, want)
		}
	})
}

// FuzzOracle compares with the standard library where that one reads a message without complaint.
func FuzzOracle(f *testing.F) {
	for _, b := range messages(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, err := netmail.ReadMessage(bytes.NewReader(b))
		if err != nil || mboxFrom(b) || bytes.HasPrefix(b, []byte(":")) || bytes.Contains(b, []byte("\n:")) {
			return
		}
		var want []Attachment
		if !walk(map[string][]string(msg.Header), msg.Body, 0, &want) {
			return
		}
		p := NewParser(ntpac.Up)
		p.Write(0, b)
		m := p.Finish()
		if len(m.Attachments) != len(want) {
			t.Fatalf("%d attachments, not %d\n%q", len(m.Attachments), len(want), b)
		}
		for i := range want {
			got := m.Attachments[i].Attachment
			if got.Filename != want[i].Filename || got.SHA256 != want[i].SHA256 || got.Size != want[i].Size {
				t.Fatalf("attachment %d: %+v, not %+v\n%q", i, got, want[i].Attachment, b)
			}
		}
	})
}

// walk lists the attachments of an entity as the standard library reads them; false where it complains,
// or where the message has what is read differently on purpose.
func walk(h map[string][]string, body io.Reader, depth int, out *[]Attachment) bool {
	for k, v := range h {
		if k == "" || strings.ContainsFunc(k, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return false
		}
		if strings.HasPrefix(k, "Content-") && (len(v) > 1 || strings.ContainsAny(v[0], "(\\?%*\t\n\r") || !utf8.ValidString(v[0])) {
			return false
		}
	}
	get := func(k string) string { return strings.Join(h[k], "") }
	ct := get("Content-Type")
	if ct == "" {
		ct = "text/plain"
	}
	typ, params, err := mime.ParseMediaType(ct)
	if err != nil || !strings.Contains(typ, "/") || depth > 4 {
		return false
	}
	disp, dparams := "", map[string]string{}
	if v := get("Content-Disposition"); v != "" {
		if disp, dparams, err = mime.ParseMediaType(v); err != nil {
			return false
		}
	}
	if strings.HasPrefix(typ, "multipart/") {
		if typ == "multipart/digest" || params["boundary"] == "" || strings.ContainsAny(params["boundary"], " \t\r\n") {
			return false
		}
		raw, err := io.ReadAll(body)
		if err != nil || !bytes.Contains(raw, []byte("\n--"+params["boundary"]+"--")) {
			return false
		}
		// There a boundary must end its lines as the first one does.
		if n := bytes.Count(raw, []byte("\r\n")); n > 0 && n < bytes.Count(raw, []byte("\n")) {
			return false
		}
		r := multipart.NewReader(bytes.NewReader(raw), params["boundary"])
		for {
			part, err := r.NextRawPart()
			if err == io.EOF {
				return true
			}
			if err != nil || !walk(map[string][]string(part.Header), part, depth+1, out) {
				return false
			}
		}
	}
	if strings.HasPrefix(typ, "message/") {
		return false
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return false
	}
	switch cte := strings.ToLower(get("Content-Transfer-Encoding")); cte {
	case "base64":
		clean := strings.NewReplacer("\r", "", "\n", "").Replace(string(raw))
		if raw, err = base64.StdEncoding.DecodeString(clean); err != nil {
			return false
		}
	case "quoted-printable":
		if bytes.Contains(bytes.ReplaceAll(raw, crlf, nil), []byte("\r")) || len(raw) > 500 {
			return false
		}
		if raw, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(raw))); err != nil {
			return false
		}
	case "", "7bit", "8bit", "binary":
	default:
		return false
	}
	name := dparams["filename"]
	if name == "" {
		name = params["name"]
	}
	if disp == "attachment" || name != "" || typ != "text/plain" && typ != "text/html" {
		a := Attachment{}
		a.Filename, a.Size, a.SHA256 = name, int64(len(raw)), sha256.Sum256(raw)
		*out = append(*out, a)
	}
	return true
}
