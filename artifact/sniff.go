package artifact

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"
)

// SniffSize is how many of a body's first bytes Sniff looks at.
const SniffSize = 3072

// Sniff names the MIME type of a body by its first bytes; empty for no bytes. Only text types carry
// a charset.
func Sniff(head []byte) string {
	if len(head) == 0 {
		return ""
	}
	head = head[:min(len(head), SniffSize)]
	if t := sniffBinary(head); t != "" {
		return t
	}
	if t := sniffText(head); t != "" {
		return t
	}
	t := mimetype.Detect(head).String()
	if i := strings.IndexByte(t, ';'); i >= 0 && !strings.HasPrefix(t, "text/") {
		t = t[:i]
	}
	return t
}

// sniffBinary knows the commonest binary types on sight; mimetype would say the same after trying
// dozens of others.
func sniffBinary(b []byte) string {
	switch b[0] {
	case 0xff:
		if has(b, "\xff\xd8\xff") {
			return "image/jpeg"
		}
	case 0x89:
		if has(b, "\x89PNG\r\n\x1a\n") && !(len(b) > 40 && string(b[37:41]) == "acTL") {
			return "image/png"
		}
	case 'G':
		if has(b, "GIF87a") || has(b, "GIF89a") {
			return "image/gif"
		}
	case 'R':
		if has(b, "RIFF") && len(b) >= 12 && string(b[8:12]) == "WEBP" {
			return "image/webp"
		}
	case '%':
		if has(b, "%PDF-") {
			return "application/pdf"
		}
	case 0x1f:
		if has(b, "\x1f\x8b") {
			return "application/gzip"
		}
	}
	return ""
}

// sniffText knows HTML, XML, JSON and plain text in UTF-8 by how they begin, where mimetype parses
// all of the head. What might be anything more special is left to mimetype.
func sniffText(b []byte) string {
	t := bytes.TrimLeft(b, " \t\r\n")
	if len(t) == 0 || !plainUTF8(b) {
		return ""
	}
	switch c := t[0]; {
	case c == '<':
		switch {
		case hasFold(t, "<!doctype html"), hasFold(t, "<html"):
			return htmlType(t)
		case has(t, "<?xml"):
			return xmlType(t)
		}
	case c == '{' || c == '[':
		if beginsJSON(t) {
			return "application/json"
		}
	case (c|0x20 >= 'a' && c|0x20 <= 'z' || c == '/' || c == '.') && !special(t):
		return "text/plain; charset=utf-8"
	}
	return ""
}

// plainUTF8 reports whether the bytes are UTF-8, but for a character cut at their end, and free of
// the control characters that only binary formats have.
func plainUTF8(b []byte) bool {
	for _, c := range b[:min(len(b), 512)] {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' {
			return false
		}
	}
	for i := 0; i < utf8.UTFMax && i < len(b); i++ {
		if utf8.Valid(b[:len(b)-i]) {
			return bytes.IndexByte(b, 0) < 0
		}
	}
	return false
}

// htmlType is HTML in UTF-8, unless the document itself names another charset.
func htmlType(b []byte) string {
	if i := bytes.Index(b, []byte("charset=")); i >= 0 && !hasFold(bytes.TrimLeft(b[i+len("charset="):], `"' `), "utf-8") {
		return ""
	}
	return "text/html; charset=utf-8"
}

// xmlType is XML in UTF-8 whose root element is of no known format.
func xmlType(b []byte) string {
	i := bytes.Index(b, []byte("?>"))
	if i < 0 || bytes.Contains(b[:i], []byte("encoding")) && !bytes.Contains(bytes.ToLower(b[:i]), []byte("utf-8")) {
		return ""
	}
	b = bytes.TrimLeft(b[i+2:], " \t\r\n")
	if len(b) < 2 || b[0] != '<' || b[1] == '!' || b[1] == '?' || bytes.Contains(b, []byte("xmlns")) {
		return ""
	}
	for _, root := range [...]string{"<rss", "<feed", "<svg", "<kml", "<html", "<rdf", "<opml", "<plist", "<gpx", "<tcx", "<x3d"} {
		if hasFold(b, root) {
			return ""
		}
	}
	return "text/xml; charset=utf-8"
}

// beginsJSON reports whether an object with a first name, or an array with a first value, begins here.
func beginsJSON(b []byte) bool {
	open := b[0]
	b = bytes.TrimLeft(b[1:], " \t\r\n")
	if len(b) == 0 {
		return false
	}
	if open == '[' {
		switch c := b[0]; {
		case c == '{' || c == '[':
			return beginsJSON(b[:min(len(b), 256)])
		case c == '"' || c == '-' || c == ']' || c >= '0' && c <= '9':
			return true
		}
		return has(b, "true") || has(b, "false") || has(b, "null")
	}
	if b[0] != '"' {
		return b[0] == '}'
	}
	i := bytes.IndexByte(b[1:], '"')
	return i >= 0 && has(bytes.TrimLeft(b[i+2:], " \t\r\n"), ":")
}

// special reports whether text may have a format of its own: a table by the separators in its first
// line, or one of the formats that begin with a keyword.
func special(b []byte) bool {
	line := b[:min(len(b), 256)]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = b[:i]
	}
	if bytes.ContainsAny(line, ",\t") {
		return true
	}
	for _, word := range [...]string{"BEGIN:", "WEBVTT", "WARC/", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "solid ", "ply", "dBase", "ID3", "BM", "MZ", "PK"} {
		if has(b, word) {
			return true
		}
	}
	return false
}

func has(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

func hasFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}
