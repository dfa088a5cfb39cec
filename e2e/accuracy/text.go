package main

import (
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"
)

// longest is where the ground truth cuts a value; three dots follow.
const longest = 600

// plain makes two tools' spellings of one text equal: tshark's escapes are undone, and every byte
// that is not printable ASCII, however a tool shows it, becomes one question mark. Runs of white
// space become a space. What is longer than the ground truth keeps is cut.
func plain(s string) string { return short(spelled(s)) }

// short cuts a text before the ground truth would: escapes and replacements make cuts fall at
// different places.
func short(s string) string { return s[:min(len(s), longest-100)] }

func spelled(s string) string {
	if len(s) > longest && strings.HasSuffix(s, "...") {
		s = s[:len(s)-3]
	}
	var b strings.Builder
	last := byte(0)
	put := func(c byte) {
		if c == '\t' || c == '\r' || c == '\n' {
			c = ' '
		}
		if c < ' ' || c > '~' {
			c = '?'
		}
		if (c == ' ' || c == '?') && c == last {
			return
		}
		last = c
		b.WriteByte(c)
	}
	for i := 0; i < len(s); {
		if s[i] == '\\' {
			c, n := escaped(s[i:])
			put(c)
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r < utf8.RuneSelf {
			put(byte(r))
		} else {
			put(0)
		}
		i += n
	}
	return strings.TrimSpace(b.String())
}

// escaped reads an escape at the head of s: \xHH, \ooo, \r, \n, \t, or a character that stands for itself.
func escaped(s string) (byte, int) {
	if len(s) < 2 {
		return '\\', 1
	}
	switch s[1] {
	case 'r', 'n', 't':
		return ' ', 2
	case 'x':
		if len(s) >= 4 {
			if v, err := strconv.ParseUint(s[2:4], 16, 8); err == nil {
				return byte(v), 4
			}
		}
	}
	if len(s) >= 4 && s[1] >= '0' && s[1] <= '9' {
		if v, err := strconv.ParseUint(s[1:4], 10, 8); err == nil { // of DNS names, by RFC 4343
			return byte(v), 4
		}
	}
	return s[1], 2
}

// domain makes spellings of one domain name equal.
func domain(s string) string {
	s = strings.ToLower(plain(s))
	if s == "<root>" {
		return ""
	}
	return strings.TrimSuffix(s, ".")
}

// words decodes the encoded words of a mail header.
func words(s string) string {
	d := mime.WordDecoder{}
	if t, err := d.DecodeHeader(s); err == nil {
		s = t
	}
	return plain(s)
}

// address is the address of a From header, without the display name.
func address(s string) string {
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		s, _, _ = strings.Cut(s[i+1:], ">")
	}
	return strings.ToLower(strings.TrimSpace(s))
}

// each gives the i-th of n values, if the field has just as many; of a field without values, the
// empty one. Otherwise it is not known which value belongs where.
func each(v values, i, n int) (string, bool) {
	switch len(v.List) {
	case n:
		return v.List[i], true
	case 0:
		return "", true
	}
	return "", false
}
