package selection

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strconv"
)

// testAny makes the test of a field whose kind is seen only in the artifact. A number is compared as
// one, a text as what the rule's value can be: text, address, time or number.
func testAny(op operator, values []value) func(any) bool {
	switch op {
	case has:
		return isThere
	case contains, startsWith, endsWith:
		test := testText(op, values)
		return func(x any) bool { return test(textOf(x)) }
	case matches:
		re := regexp.MustCompile(values[0].text)
		return func(x any) bool { return re.MatchString(textOf(x)) }
	}
	return func(x any) bool {
		for i := range values {
			if values[i].compare(op, x) {
				return true
			}
		}
		return false
	}
}

// isThere is what has asks: neither empty, nor zero, nor false.
func isThere(x any) bool {
	switch x := x.(type) {
	case string:
		return x != ""
	case bool:
		return x
	case json.Number:
		n, err := x.Float64()
		return err != nil || n != 0
	case map[string]any:
		return len(x) > 0
	}
	return false
}

func textOf(x any) string {
	switch x := x.(type) {
	case string:
		return x
	case json.Number:
		return x.String()
	case bool:
		return strconv.FormatBool(x)
	}
	return ""
}

func (v *value) compare(op operator, x any) bool {
	switch x := x.(type) {
	case bool:
		return v.isBool && !needsOrder(op) && x == v.bool
	case json.Number:
		if !v.isNum {
			return !needsOrder(op) && !v.ranged && x.String() == v.text
		}
		n, err := x.Float64()
		return err == nil && ordered(op, n, v.num)
	case string:
		return v.compareText(op, x)
	}
	return false
}

func (v *value) compareText(op operator, s string) bool {
	order := v.ranged || needsOrder(op)
	if !order && s == v.text {
		return true
	}
	if v.isNet && !needsOrder(op) {
		if a, err := netip.ParseAddr(s); err == nil {
			return v.holdsAddr(a.Unmap().WithZone(""))
		}
	}
	if v.isTime {
		if first, _, _, ok := parseTime(s); ok {
			return ordered(op, int64(first), v.span)
		}
	}
	if order && v.isNum {
		if n, _, ok := parseNumber(s); ok {
			return ordered(op, n, v.num)
		}
	}
	return false
}

func ordered[T int64 | float64](op operator, n T, v [2]T) bool {
	switch op {
	case less:
		return n < v[0]
	case atMost:
		return n <= v[1]
	case more:
		return n > v[1]
	case atLeast:
		return n >= v[0]
	}
	return v[0] <= n && n <= v[1]
}
