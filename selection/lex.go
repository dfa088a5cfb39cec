package selection

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// kindOfToken tells tokens apart. Operators and punctuation are tokens of their own text.
type kindOfToken uint8

const (
	endToken kindOfToken = iota
	wordToken
	quotedToken
	signToken
)

type token struct {
	kind kindOfToken
	text string // of a quoted one: what it means
	at   int    // byte position in the rule
}

// is reports whether the token is this sign or, in any case of letters, this keyword.
func (t token) is(s string) bool {
	switch t.kind {
	case signToken:
		return t.text == s
	case wordToken:
		return isKeyword(s) && strings.EqualFold(t.text, s)
	}
	return false
}

var keywords = [...]string{"and", "or", "not", "in", "has", "contains", "startswith", "endswith"}

func isKeyword(s string) bool {
	for _, k := range keywords {
		if strings.EqualFold(k, s) {
			return true
		}
	}
	return false
}

// signs, longest first.
var signs = [...]string{"&&", "||", "==", "!=", "<=", ">=", "..", "<", ">", "~", "!", "(", ")", "[", "]", ","}

// lex cuts a rule into tokens; the last one is the end.
func lex(rule string) ([]token, *Error) {
	var out []token
	for at := 0; at < len(rule); {
		r, n := utf8.DecodeRuneInString(rule[at:])
		switch {
		case r == utf8.RuneError && n == 1:
			return nil, errorAt(rule, at, "this is not text (UTF-8)")
		case unicode.IsSpace(r):
			at += n
			continue
		case r == '"' || r == '\'':
			text, n, err := unquote(rule, at)
			if err != nil {
				return nil, err
			}
			out = append(out, token{quotedToken, text, at})
			at += n
			continue
		}
		if n := wordLen(rule[at:]); n > 0 {
			out = append(out, token{wordToken, rule[at : at+n], at})
			at += n
			continue
		}
		s := signAt(rule[at:])
		if s == "" {
			return nil, errorAt(rule, at, "%s", strange(r))
		}
		out = append(out, token{signToken, s, at})
		at += len(s)
	}
	return append(out, token{kind: endToken, at: len(rule)}), nil
}

func strange(r rune) string {
	switch r {
	case '=':
		return "equality is written =="
	case '&':
		return "write && or the word and"
	case '|':
		return "write || or the word or"
	}
	return "unexpected " + string(r) + ": a text with such signs needs quotes"
}

func signAt(s string) string {
	for _, x := range signs {
		if strings.HasPrefix(s, x) {
			return x
		}
	}
	return ""
}

// wordLen is the length of the bare word at the head of s: a field, a keyword or a value. Two dots
// end it, for they make a range.
func wordLen(s string) int {
	for i, r := range s {
		if r == '.' && strings.HasPrefix(s[i:], "..") {
			return i
		}
		if r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_.-:/%@+", r) {
			return i
		}
	}
	return len(s)
}

// unquote reads the quoted text at rule[at]. Between double quotes \" \\ \n \r \t and \xNN are what
// they are in Go; any other backslash stands for itself, so that "\.exe$" is the expression it looks
// like. Between single quotes nothing is special.
func unquote(rule string, at int) (text string, n int, err *Error) {
	s := rule[at:]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			if !utf8.ValidString(s[1:i]) {
				return "", 0, errorAt(rule, at, "this is not text (UTF-8)")
			}
			return b.String(), i + 1, nil
		case c == '\\' && s[0] == '"' && i+1 < len(s):
			i++
			switch c := s[i]; c {
			case '"', '\\':
				b.WriteByte(c)
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			case 'x':
				if i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
					b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
					i += 2
					break
				}
				b.WriteString(`\x`)
			default:
				b.WriteByte('\\')
				b.WriteByte(c)
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, errorAt(rule, at, "this quote is never closed")
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// appendQuoted writes text so that unquote reads it again.
func appendQuoted(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\r':
			b = append(b, '\\', 'r')
		case r == '\t':
			b = append(b, '\\', 't')
		case r < ' ' || r == 0x7f || r == utf8.RuneError && n == 1:
			b = append(b, '\\', 'x', digits[s[i]>>4], digits[s[i]&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}
