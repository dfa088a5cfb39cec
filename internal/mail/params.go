package mail

import (
	"strconv"
	"strings"
)

// params are the parameters of a field such as Content-Type, as RFC 2231 and what is really sent
// write them.
type params []param

type param struct {
	name    string // lower case, without the section number and the asterisk
	section int    // -1: not continued
	coded   bool   // percent-encoded, with a charset before the first section
	value   string
}

// parameters splits a structured field into its first token (lower case) and its parameters. It takes
// everything that comes: missing quotes, semicolons within quotes, comments.
func parameters(v string) (token string, ps params) {
	i := strings.IndexByte(v, ';')
	if i < 0 {
		return strings.ToLower(strings.TrimSpace(comment(v))), nil
	}
	token, v = strings.ToLower(strings.TrimSpace(comment(v[:i]))), v[i+1:]
	for v != "" && len(ps) < 256 {
		v = strings.TrimLeft(v, " \t;")
		eq := strings.IndexAny(v, "=;")
		if eq < 0 {
			break
		}
		if v[eq] == ';' {
			v = v[eq+1:]
			continue
		}
		name := strings.ToLower(strings.TrimSpace(v[:eq]))
		var value string
		value, v = paramValue(strings.TrimLeft(v[eq+1:], " \t"))
		ps = append(ps, newParam(name, value))
	}
	return token, ps
}

// comment takes away what follows an opening parenthesis.
func comment(s string) string {
	s, _, _ = strings.Cut(s, "(")
	return s
}

// paramValue reads a quoted string or a token and gives the rest behind it.
func paramValue(v string) (value, rest string) {
	if !strings.HasPrefix(v, `"`) {
		i := strings.IndexByte(v, ';')
		if i < 0 {
			i = len(v)
		}
		return strings.TrimSpace(v[:i]), v[i:]
	}
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"':
			return b.String(), v[i+1:]
		case c == '\\' && i+1 < len(v) && (v[i+1] == '"' || v[i+1] == '\\'):
			i++
			b.WriteByte(v[i])
		default:
			b.WriteByte(c) // a backslash before anything else is one: paths of Windows
		}
	}
	return b.String(), ""
}

// newParam reads what RFC 2231 puts into a parameter's name.
func newParam(name, value string) param {
	p := param{name: name, section: -1, value: value}
	if strings.HasSuffix(name, "*") {
		p.name, p.coded, p.section = name[:len(name)-1], true, 0
	}
	if base, n, ok := strings.Cut(p.name, "*"); ok {
		if k, err := strconv.Atoi(n); err == nil && k >= 0 && k < 256 {
			p.name, p.section = base, k
		}
	}
	return p
}

// get is the value of a parameter: the extended form (RFC 2231) where there is one, else the plain one.
func (ps params) get(name string) string {
	var plain string
	var raw []byte
	charset := ""
	found := false
	for want := 0; ; want++ {
		hit := false
		for _, p := range ps {
			if p.name != name {
				continue
			}
			if p.section < 0 {
				if plain == "" {
					plain = p.value
				}
				continue
			}
			if p.section != want || hit {
				continue
			}
			hit, found = true, true
			v := p.value
			if p.coded && want == 0 {
				if cs, rest, ok := strings.Cut(v, "'"); ok {
					if _, text, ok := strings.Cut(rest, "'"); ok {
						charset, v = cs, text
					}
				}
			}
			if p.coded {
				raw = append(raw, percent(v)...)
			} else {
				raw = append(raw, v...)
			}
		}
		if !hit {
			break
		}
	}
	if !found {
		return plain
	}
	return toUTF8(raw, charset)
}

// percent undoes percent-encoding and leaves alone what is none.
func percent(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := hexValue(s[i+1]), hexValue(s[i+2]); hi < 16 && lo < 16 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return b
}
