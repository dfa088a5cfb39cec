package artifact_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gabriel-vasile/mimetype"

	"ntpac/artifact"
)

var bodies = map[string]string{
	"jpeg":      "\xff\xd8\xff\xe0\x00\x10JFIF" + strings.Repeat("\x01\x80", 1600),
	"png":       "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + strings.Repeat("\x00", 100),
	"gif":       "GIF89a\x01\x00\x01\x00",
	"webp":      "RIFF\x24\x00\x00\x00WEBPVP8 ",
	"pdf":       "%PDF-1.4\n%\xe2\xe3",
	"gzip":      "\x1f\x8b\x08\x00\x00\x00\x00\x00",
	"mp4":       "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
	"zip":       "PK\x03\x04\x14\x00\x00\x00\x08\x00",
	"html":      "<!DOCTYPE html><html><head><title>x</title></head>" + strings.Repeat("<p>text</p>", 300),
	"html2":     "\n\n  <HTML lang=\"en\"><meta charset=\"utf-8\">",
	"json":      `{"id":"1","items":[` + strings.Repeat(`{"n":1,"w":"abc"},`, 10) + `null]}`,
	"array":     `[1, 2, {"a": true}]`,
	"xml":       `<?xml version="1.0" encoding="UTF-8"?><a>` + strings.Repeat("<b/>", 800) + "</a>",
	"rss":       `<?xml version="1.0"?><rss version="2.0"></rss>`,
	"svg":       `<svg xmlns="http://www.w3.org/2000/svg"></svg>`,
	"text":      strings.Repeat("hello world ", 400),
	"script":    strings.Repeat("function a(){return 1};\n", 300),
	"style":     ".a{color:red}\n#b{color:blue}\n",
	"csv":       "a,b,c\n1,2,3\n4,5,6\n",
	"calendar":  "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n",
	"shell":     "#!/bin/sh\necho hi\n",
	"latin1":    "<html>caf\xe9</html>",
	"random":    "\x01\x02\x03\x04\x05\xfe\xff\x00\x00\x10",
	"elf":       "\x7fELF\x02\x01\x01\x00",
	"exe":       "MZ\x90\x00\x03\x00\x00\x00",
	"utf8-cut":  strings.Repeat("x", artifact.SniffSize-1) + "é",
	"json-text": `{not json at all`,
}

// TestSniff compares the quick answers with the library's.
func TestSniff(t *testing.T) {
	for name, body := range bodies {
		got := artifact.Sniff([]byte(body))
		want := mimetype.Detect([]byte(body)[:min(len(body), artifact.SniffSize)]).String()
		if !strings.HasPrefix(want, "text/") {
			want, _, _ = strings.Cut(want, ";")
		}
		if !strings.EqualFold(got, want) {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	if artifact.Sniff(nil) != "" {
		t.Error("nothing has a type")
	}
	// JSON that is cut is JSON.
	if got := artifact.Sniff([]byte(`{"a":[` + strings.Repeat(`"bcd",`, 2000))); got != "application/json" {
		t.Errorf("cut JSON: %q", got)
	}
}

func FuzzSniff(f *testing.F) {
	for _, b := range bodies {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := artifact.Sniff(b); (got == "") != (len(b) == 0) || got != artifact.Sniff(bytes.Clone(b)) {
			t.Fatalf("%q", got)
		}
	})
}

func BenchmarkSniff(b *testing.B) {
	for _, name := range []string{"jpeg", "png", "mp4", "zip", "html", "json", "xml", "text", "script", "random"} {
		body := []byte(bodies[name])
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				artifact.Sniff(body)
			}
		})
	}
}
