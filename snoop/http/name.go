package http

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// dispositionName is the file name of a Content-Disposition field (RFC 6266), its folders taken off;
// empty for none.
func dispositionName(v string) string {
	var name, extended string
	for _, rest := cutUnquoted(v, ';'); rest != ""; {
		var p string
		p, rest = cutUnquoted(rest, ';')
		key, value, ok := strings.Cut(p, "=")
		if !ok {
			continue
		}
		value = unquote(strings.TrimSpace(value))
		switch key = strings.ToLower(strings.TrimSpace(key)); key {
		case "filename":
			name = value
		case "filename*":
			extended = extendedValue(value)
		}
	}
	if extended != "" {
		name = extended
	}
	return name[strings.LastIndexAny(name, `/\\`)+1:]
}

// cutUnquoted cuts a field value at the first separator outside quotes.
func cutUnquoted(v string, sep byte) (param, rest string) {
	quoted := false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			return v[:i], v[i+1:]
		}
	}
	return v, ""
}

// unquote takes the quotes off a quoted string. A backslash before anything but a quote or another
// backslash is kept: browsers send paths so.
func unquote(v string) string {
	if len(v) < 2 || v[0] != '"' {
		return v
	}
	v = strings.TrimSuffix(v[1:], `"`)
	if strings.IndexByte(v, '\\') < 0 {
		return v
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(v)
}

// extendedValue reads charset'language'text (RFC 8187); empty where it makes no sense.
func extendedValue(v string) string {
	charset, rest, ok := strings.Cut(v, "'")
	if !ok {
		return ""
	}
	if _, rest, ok = strings.Cut(rest, "'"); !ok {
		return ""
	}
	text, err := url.PathUnescape(rest)
	if err != nil {
		return ""
	}
	if strings.EqualFold(charset, "iso-8859-1") || !utf8.ValidString(text) {
		return latin1([]byte(text))
	}
	return text
}

// lastSegment is the last part of a target's path, percent-decoded where that gives a name.
func lastSegment(target string) string {
	if _, rest, ok := strings.Cut(target, "://"); ok {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return ""
		}
		target = rest[i:]
	}
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	raw := target[strings.LastIndexByte(target, '/')+1:]
	if strings.IndexByte(raw, '%') < 0 {
		return raw
	}
	name, err := url.PathUnescape(raw)
	if err != nil || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '/' || r == 0x7f }) {
		return raw
	}
	return name
}
