package selection

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

func compileExpression(s string) (*regexp.Regexp, error) { return regexp.Compile(s) }

// predicate is a rule, or part of one, ready to be asked.
type predicate func(s *subject) bool

func predicateOf(n node) predicate {
	switch n := n.(type) {
	case group:
		parts := make([]predicate, len(n.parts))
		for i, p := range n.parts {
			parts[i] = predicateOf(p)
		}
		return func(s *subject) bool {
			for _, p := range parts {
				if p(s) != n.and {
					return !n.and
				}
			}
			return n.and
		}
	case negation:
		part := predicateOf(n.part)
		return func(s *subject) bool { return !part(s) }
	case *atom:
		return n.predicate()
	}
	return func(*subject) bool { return true }
}

// predicate asks the first reading whose field the subject has. Where it has none, the atom does not
// hold, whatever it compares: != finds only what is there and differs.
func (a *atom) predicate() predicate {
	differs := a.op == unequal
	readings := a.readings
	return func(s *subject) bool {
		for _, r := range readings {
			if present, holds := r.test(s); present {
				return holds != differs
			}
		}
		return false
	}
}

// compile makes the test of one reading. Of != it is the test of ==.
func compile(op operator, r *reading) func(s *subject) (present, holds bool) {
	f := r.f
	switch {
	case f.ints != nil:
		test := testInt(op, r.values)
		return func(s *subject) (bool, bool) {
			if !f.here(s) {
				return false, false
			}
			a, b := f.ints(s)
			return true, test(a) || a != b && test(b)
		}
	case f.addrs != nil:
		test := testAddr(op, r.values)
		return func(s *subject) (bool, bool) {
			if !f.here(s) {
				return false, false
			}
			a, b := f.addrs(s)
			return true, test(a) || a != b && test(b)
		}
	case f.texts != nil:
		test := testText(op, r.values)
		return func(s *subject) (bool, bool) {
			if !f.here(s) {
				return false, false
			}
			return true, f.texts(s, test)
		}
	}
	test := testAny(op, r.values)
	return func(s *subject) (bool, bool) {
		if s.a == nil {
			return false, false
		}
		return walk(s.own(), f.path, test)
	}
}

func testInt(op operator, values []value) func(int64) bool {
	if op == has {
		return func(n int64) bool { return n != 0 }
	}
	v := values[0].span
	switch op {
	case less:
		return func(n int64) bool { return n < v[0] }
	case atMost:
		return func(n int64) bool { return n <= v[1] }
	case more:
		return func(n int64) bool { return n > v[1] }
	case atLeast:
		return func(n int64) bool { return n >= v[0] }
	}
	return func(n int64) bool {
		for i := range values {
			if v := &values[i].span; v[0] <= n && n <= v[1] {
				return true
			}
		}
		return false
	}
}

func testAddr(op operator, values []value) func(netip.Addr) bool {
	if op == has {
		return netip.Addr.IsValid
	}
	return func(a netip.Addr) bool {
		a = a.Unmap().WithZone("")
		return slices.ContainsFunc(values, func(v value) bool { return v.holdsAddr(a) })
	}
}

func (v *value) holdsAddr(a netip.Addr) bool {
	if v.net.IsValid() {
		return v.net.Contains(a)
	}
	return v.addr[0].IsValid() && a.BitLen() == v.addr[0].BitLen() && !a.Less(v.addr[0]) && !v.addr[1].Less(a)
}

func testText(op operator, values []value) func(string) bool {
	if op == has {
		return func(s string) bool { return s != "" }
	}
	want := values[0].text
	switch op {
	case contains:
		return func(s string) bool { return indexFold(s, want, false) }
	case startsWith:
		return func(s string) bool { return indexFold(s, want, true) }
	case endsWith:
		return func(s string) bool { return hasSuffixFold(s, want) }
	case matches:
		return regexp.MustCompile(want).MatchString
	}
	if len(values) == 1 {
		return func(s string) bool { return s == want }
	}
	set := make(map[string]bool, len(values))
	for _, v := range values {
		set[v.text] = true
	}
	return func(s string) bool { return set[s] }
}

// indexFold reports whether s has want in it, or at its head, letters of any case being equal.
func indexFold(s, want string, head bool) bool {
	for {
		if prefixFold(s, want) {
			return true
		}
		if head || s == "" {
			return false
		}
		_, n := utf8.DecodeRuneInString(s)
		s = s[n:]
	}
}

// prefixFold reports whether s begins with want, letters of any case being equal.
func prefixFold(s, want string) bool {
	n := 0
	for range want {
		if n == len(s) {
			return false
		}
		_, k := utf8.DecodeRuneInString(s[n:])
		n += k
	}
	return strings.EqualFold(s[:n], want)
}

func hasSuffixFold(s, want string) bool {
	n := len(s)
	for range want {
		if n == 0 {
			return false
		}
		_, k := utf8.DecodeLastRuneInString(s[:n])
		n -= k
	}
	return strings.EqualFold(s[n:], want)
}

// own is what the artifact's type adds, decoded once.
func (s *subject) own() any {
	if s.parsed {
		return s.fields
	}
	s.parsed = true
	raw := []byte(s.a.JSON)
	if len(raw) == 0 && s.a.Fields != nil {
		raw, _ = json.Marshal(s.a.Fields)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&s.fields) != nil {
		s.fields = nil
	}
	return s.fields
}

// walk follows a path into decoded JSON, into each element of lists, and tests what it finds there.
func walk(v any, path []string, test func(any) bool) (present, holds bool) {
	switch x := v.(type) {
	case nil:
		return false, false
	case []any:
		for _, e := range x {
			p, h := walk(e, path, test)
			if present = present || p; h {
				return true, true
			}
		}
		return present, false
	case map[string]any:
		if len(path) > 0 {
			return walk(x[path[0]], path[1:], test)
		}
	}
	if len(path) > 0 {
		return false, false
	}
	return true, test(v)
}
