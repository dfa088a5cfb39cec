package mail

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
)

// decodeWords makes UTF-8 of a header value: encoded words (RFC 2047) anywhere, also within quotes and
// beside other text, as they are really sent; a character that is split between two words of one
// charset is put together. Bytes above ASCII outside of words are UTF-8 or, failing that, Windows-1252.
func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return toUTF8([]byte(s), "")
	}
	var out strings.Builder
	var raw []byte // of adjacent words in one charset
	cs := ""
	flush := func() {
		if len(raw) > 0 {
			out.WriteString(toUTF8(raw, cs))
			raw = raw[:0]
		}
	}
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		w, n, ok := readWord(s[i:])
		between := s[:i]
		if !ok {
			flush()
			out.WriteString(toUTF8([]byte(s[:i+2]), ""))
			s = s[i+2:]
			continue
		}
		if strings.TrimSpace(between) != "" || len(raw) == 0 && out.Len() == 0 {
			flush()
			out.WriteString(toUTF8([]byte(between), ""))
		} else if len(raw) == 0 {
			out.WriteString(between)
		}
		if !strings.EqualFold(w.charset, cs) {
			flush()
		}
		cs = w.charset
		raw = append(raw, w.raw...)
		s = s[i+n:]
	}
	flush()
	out.WriteString(toUTF8([]byte(s), ""))
	return out.String()
}

// word is one encoded word.
type word struct {
	charset string
	raw     []byte
}

// readWord reads an encoded word at the beginning of s and says how long it is.
func readWord(s string) (w word, n int, ok bool) {
	rest := s[2:]
	cs, rest, ok := strings.Cut(rest, "?")
	if !ok || cs == "" || len(cs) > 64 || strings.ContainsAny(cs, " \t\"<>=") {
		return w, 0, false
	}
	enc, rest, ok := strings.Cut(rest, "?")
	if !ok || len(enc) != 1 {
		return w, 0, false
	}
	i := strings.Index(rest, "?=")
	if i < 0 {
		return w, 0, false
	}
	text := rest[:i]
	w.charset, _, _ = strings.Cut(cs, "*") // a language may follow: RFC 2231 section 5
	switch enc {
	case "b", "B":
		w.raw = wordBase64(text)
	case "q", "Q":
		w.raw = wordQ(text)
	default:
		return w, 0, false
	}
	return w, len(s) - len(rest) + i + 2, true
}

// wordBase64 decodes what there is: without padding, with spaces, up to the first foreign character.
func wordBase64(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '=' && c != '-' && c != '_' && base64Value[c] != 0xff {
			b = append(b, c)
		}
	}
	if len(b)%4 == 1 {
		b = b[:len(b)-1]
	}
	n, _ := base64.RawStdEncoding.Decode(b, b)
	return b[:n]
}

// wordQ decodes RFC 2047 section 4.2.
func wordQ(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			b = append(b, ' ')
		case c == '=' && i+2 < len(s) && hexValue(s[i+1]) < 16 && hexValue(s[i+2]) < 16:
			b = append(b, hexValue(s[i+1])<<4|hexValue(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return b
}

// toUTF8 decodes a charset. Bytes that are UTF-8 stay where no charset, or ASCII, or an unknown one is
// named; others are read as Windows-1252, which gives every byte a meaning.
func toUTF8(b []byte, cs string) string {
	cs = strings.ToLower(strings.Trim(cs, " \t\"'"))
	switch cs {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "unknown-8bit", "default":
		if utf8.Valid(b) {
			return string(b)
		}
		if strings.HasPrefix(cs, "utf") {
			return strings.ToValidUTF8(string(b), "\ufffd")
		}
		cs = "windows-1252"
	}
	r, err := charset.Reader(cs, bytes.NewReader(b))
	if err == nil {
		out, err := io.ReadAll(r)
		if err == nil {
			return strings.ToValidUTF8(string(out), "\ufffd")
		}
	}
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// text is what was picked, as UTF-8 with line ends of one kind.
func (t *pickedText) text() string {
	raw := t.raw
	if len(raw) >= t.limit { // do not show half a character
		for i := 0; i < utf8.UTFMax && len(raw) > 0 && !utf8.Valid(raw[max(0, len(raw)-utf8.UTFMax):]); i++ {
			if r, _ := utf8.DecodeLastRune(raw); r != utf8.RuneError {
				break
			}
			raw = raw[:len(raw)-1]
		}
	}
	return strings.ReplaceAll(toUTF8(raw, t.charset), "\r\n", "\n")
}
