package selection

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"ntpac"
)

// reading is one way to understand an atom: a field and what the operands mean to it.
type reading struct {
	f      *field
	values []value // by operand
	test   func(s *subject) (present, holds bool)
}

// checker types the atoms of a rule.
type checker struct {
	rule  string
	names *names
}

func (k *checker) check(n node) *Error {
	switch n := n.(type) {
	case group:
		for _, p := range n.parts {
			if err := k.check(p); err != nil {
				return err
			}
		}
	case negation:
		return k.check(n.part)
	case *atom:
		return k.atom(n)
	}
	return nil
}

// atom resolves the name and types the operands for each of its readings. A reading that the operands
// do not fit is left out where another one remains: the flags of DNS are not those of conversations.
// A name that both have for the same kind of thing, such as ip, is held to that kind.
func (k *checker) atom(a *atom) *Error {
	fields := k.names.find(a.name)
	if len(fields) == 0 {
		return k.unknown(a)
	}
	var first *Error
	for _, f := range fields {
		r := &reading{f: f}
		if err := k.operands(a, r); err != nil {
			if f.of == Conversations && f.values == nil {
				return err
			}
			first = err
			continue
		}
		r.test = compile(a.op, r)
		a.readings = append(a.readings, r)
	}
	if len(a.readings) == 0 {
		return first
	}
	return nil
}

func (k *checker) unknown(a *atom) *Error {
	n := k.names
	if _, ok := n.extra[a.name]; n.of == Conversations && (ok || n.art[a.name] != nil) {
		return errorAt(k.rule, a.at, "%s is a field of artifacts: a rule for conversations cannot ask for it", a.name)
	}
	name, prefix := a.name, ""
	if own, ok := strings.CutPrefix(a.name, "conversation."); ok {
		name, prefix = own, "conversation."
	}
	if s := closest(name, n.all()); s != "" && s != name {
		return errorAt(k.rule, a.at, "there is no field %s: did you mean %s%s?", a.name, prefix, s)
	}
	return errorAt(k.rule, a.at, "there is no field %s", a.name)
}

// operands types all operands of an atom for one field.
func (k *checker) operands(a *atom, r *reading) *Error {
	if err := k.operator(a, r.f); err != nil {
		return err
	}
	for _, o := range a.operands {
		if o.isRange && r.f.kind == text {
			return errorAt(k.rule, a.opAt, "%s is text: a range needs numbers, times or addresses", a.name)
		}
		v, err := k.operand(a, r.f, o)
		if err != nil {
			return err
		}
		r.values = append(r.values, v)
	}
	return nil
}

// operator says whether fields of this kind can be compared like that.
func (k *checker) operator(a *atom, f *field) *Error {
	switch a.op {
	case less, atMost, more, atLeast:
		if f.kind == text {
			return errorAt(k.rule, a.opAt, "%s is text, and %s compares numbers and times", a.name, a.op)
		}
		if f.kind == address {
			return errorAt(k.rule, a.opAt, "%s is an address: use == or in", a.name)
		}
	case contains, startsWith, endsWith, matches:
		if f.kind != text && f.kind != anything {
			return errorAt(k.rule, a.opAt, "%s is no text: use == != < <= > >= or in", a.name)
		}
	}
	return nil
}

func (k *checker) operand(a *atom, f *field, o operand) (value, *Error) {
	switch f.kind {
	case text:
		return k.text(a, f, o.lo)
	case address:
		return k.addresses(a, o)
	case anything:
		return k.anything(a, o)
	}
	v := value{span: [2]int64{math.MinInt64, math.MaxInt64}}
	if !o.lo.open {
		lo, err := k.span(a, f.kind, o.lo)
		if err != nil {
			return v, err
		}
		v.span = lo
	}
	if o.isRange {
		v.span[1] = math.MaxInt64
		if !o.hi.open {
			hi, err := k.span(a, f.kind, o.hi)
			if err != nil {
				return v, err
			}
			v.span[1] = hi[1]
		}
		if v.span[1] < v.span[0] {
			return v, errorAt(k.rule, o.lo.at, "this range ends before it begins")
		}
	}
	return v, nil
}

// span reads a number, a duration or a time.
func (k *checker) span(a *atom, kind kind, l literal) ([2]int64, *Error) {
	bad := func(what string) *Error {
		return errorAt(k.rule, l.at, "%s needs %s, not %s", a.name, what, l.text)
	}
	switch kind {
	case number:
		n, _, ok := parseNumber(l.text)
		if !ok || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
			return [2]int64{}, bad("a whole number such as 1500, 10kB or 2MiB")
		}
		return [2]int64{int64(n), int64(n)}, nil
	case duration:
		d, ok := parseDuration(l.text)
		if !ok {
			return [2]int64{}, bad("a duration such as 90s, 5m or 1h30m")
		}
		return [2]int64{int64(d), int64(d)}, nil
	}
	first, last, _, ok := parseTime(l.text)
	if !ok {
		return [2]int64{}, bad("a time such as 2023-11-14 or 2023-11-14T22:13:20Z")
	}
	return [2]int64{int64(first), int64(last)}, nil
}

func (k *checker) text(a *atom, f *field, l literal) (value, *Error) {
	v := value{text: l.text}
	if a.op == matches {
		return k.expression(l)
	}
	if f.lower || f.digits > 0 {
		v.text = strings.ToLower(l.text)
	}
	if f.name == "proto" {
		if n, _, ok := parseNumber(l.text); ok && n >= 0 && n < 256 && n == math.Trunc(n) {
			v.text = ntpac.Proto(n).String()
		}
	}
	if a.op != equal && a.op != unequal && a.op != in || l.text == "" {
		return v, nil
	}
	switch {
	case f.name == "proto":
		if _, ok := ntpac.ParseProto(v.text); !ok {
			return v, errorAt(k.rule, l.at, "there is no protocol %s%s", l.text, didYouMean(v.text, []string{"tcp", "udp", "icmp", "icmpv6", "sctp"}))
		}
	case f.name == "type" && f.of == Artifacts:
		if t := k.names.types(); len(t) > 0 && !slices.Contains(t, v.text) {
			return v, errorAt(k.rule, l.at, "there is no type of artifact %s%s", l.text, didYouMean(v.text, t))
		}
	case f.values != nil && !slices.Contains(f.values, v.text):
		return v, errorAt(k.rule, l.at, "%s is one of %s, not %s%s", a.name, strings.Join(f.values, ", "), l.text, didYouMean(v.text, f.values))
	case f.digits > 0 && (len(v.text) != f.digits || !allHex(v.text)):
		return v, errorAt(k.rule, l.at, "%s has %d hexadecimal digits, and this is not such a one: startswith finds parts", a.name, f.digits)
	}
	return v, nil
}

// expression checks a regular expression; it is compiled again where it is used.
func (k *checker) expression(l literal) (value, *Error) {
	if _, err := compileExpression(l.text); err != nil {
		return value{}, errorAt(k.rule, l.at, "this is no regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return value{text: l.text}, nil
}

func allHex(s string) bool {
	for i := range len(s) {
		if !isHex(s[i]) {
			return false
		}
	}
	return true
}

func (k *checker) addresses(a *atom, o operand) (value, *Error) {
	var v value
	read := func(l literal) (netip.Prefix, *Error) {
		p, _, ok := parseNet(l.text)
		if !ok {
			return p, errorAt(k.rule, l.at, "%s needs an address or a network such as 10.0.0.0/8, not %s", a.name, l.text)
		}
		return p, nil
	}
	if !o.isRange {
		var err *Error
		v.net, err = read(o.lo)
		return v, err
	}
	if o.lo.open || o.hi.open {
		at := max(o.lo.at, o.hi.at)
		return v, errorAt(k.rule, at, "a range of addresses needs both ends")
	}
	lo, err := read(o.lo)
	if err != nil {
		return v, err
	}
	hi, err := read(o.hi)
	if err != nil {
		return v, err
	}
	v.addr = [2]netip.Addr{lo.Addr(), lastOf(hi)}
	if v.addr[0].BitLen() != v.addr[1].BitLen() {
		return v, errorAt(k.rule, o.lo.at, "the ends of this range are of different families")
	}
	if v.addr[1].Less(v.addr[0]) {
		return v, errorAt(k.rule, o.lo.at, "this range ends before it begins")
	}
	return v, nil
}

// lastOf is the highest address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// anything reads a value for a field whose kind is seen only in the artifact: as everything that it
// can be. Quoted it is text and nothing else.
func (k *checker) anything(a *atom, o operand) (value, *Error) {
	if a.op == matches {
		return k.expression(o.lo)
	}
	v := value{text: o.lo.text}
	if n := len(v.text); (n == 32 || n == 40 || n == 64) && allHex(v.text) {
		v.text = strings.ToLower(v.text)
	}
	if o.lo.quoted && !o.isRange {
		if needsOrder(a.op) {
			return v, errorAt(k.rule, o.lo.at, "%s compares numbers and times, not text", a.op)
		}
		return v, nil
	}
	v.num = [2]float64{math.Inf(-1), math.Inf(1)}
	v.span = [2]int64{math.MinInt64, math.MaxInt64}
	v.isNum, v.isTime = true, true
	if !o.lo.open {
		v.setLow(o.lo.text)
	}
	if o.isRange {
		v.setHigh(o)
	}
	if !o.isRange {
		v.net, _, v.isNet = parseNet(o.lo.text)
		v.isBool, v.bool = o.lo.text == "true" || o.lo.text == "false", o.lo.text == "true"
	}
	at := max(o.lo.at, o.hi.at)
	switch {
	case (o.isRange || needsOrder(a.op)) && !v.isNum && !v.isTime && !(o.isRange && v.isNet):
		return v, errorAt(k.rule, at, "expected a number or a time to compare with, not %s", cmp.Or(o.hi.text, o.lo.text))
	case o.isRange && (v.isNum && v.num[1] < v.num[0] || v.isTime && v.span[1] < v.span[0] || v.isNet && v.addr[1].Less(v.addr[0])):
		return v, errorAt(k.rule, o.lo.at, "this range ends before it begins")
	}
	return v, nil
}

func needsOrder(op operator) bool { return op == less || op == atMost || op == more || op == atLeast }

func (v *value) setLow(s string) {
	n, _, ok := parseNumber(s)
	v.isNum, v.num = ok, [2]float64{n, n}
	first, last, _, ok := parseTime(s)
	v.isTime, v.span = ok, [2]int64{int64(first), int64(last)}
}

// setHigh makes v the range that o is. An address may be an end too.
func (v *value) setHigh(o operand) {
	v.ranged = true
	v.num[1], v.span[1] = math.Inf(1), math.MaxInt64
	if o.hi.open {
		return
	}
	n, _, ok := parseNumber(o.hi.text)
	v.isNum, v.num[1] = v.isNum && ok, n
	_, last, _, ok := parseTime(o.hi.text)
	v.isTime, v.span[1] = v.isTime && ok, int64(last)
	lo, _, ok1 := parseNet(o.lo.text)
	hi, _, ok2 := parseNet(o.hi.text)
	if ok1 && ok2 && !o.lo.open && lo.Addr().BitLen() == hi.Addr().BitLen() {
		v.isNet, v.addr = true, [2]netip.Addr{lo.Addr(), lastOf(hi)}
	}
}

// shown says how the atom is written: under the canonical name of its field, and each literal in the
// canonical form of its kind. Where the artifact decides the kind, the literal stays as it is.
func (a *atom) shown() (name string, show func(literal) string) {
	r := a.readings[0]
	for _, x := range a.readings {
		if x.f.kind == anything {
			r = x
		}
	}
	return r.f.name, func(l literal) string {
		switch r.f.kind {
		case number:
			_, s, _ := parseNumber(l.text)
			return s
		case instant:
			_, _, s, _ := parseTime(l.text)
			return s
		case address:
			_, s, _ := parseNet(l.text)
			return s
		case text:
			for i, o := range a.operands {
				if o.lo == l && a.op != matches {
					return quoteIfNeeded(r.values[i].text)
				}
			}
			return string(appendQuoted(nil, l.text))
		case anything:
			if !l.quoted && utf8.ValidString(l.text) {
				return l.text
			}
			return string(appendQuoted(nil, l.text))
		}
		return l.text
	}
}
