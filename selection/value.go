package selection

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ntpac"
)

// literal is a value as the rule has it.
type literal struct {
	text   string
	quoted bool
	at     int
	open   bool // the absent end of a range
}

// operand is one value or, with isRange, both ends of a range.
type operand struct {
	lo, hi  literal
	isRange bool
}

// value is what an operand means to a field of some kind. Numbers, durations and times are spans: a
// time stands for the whole of the unit in which it is written (2023-11-14 is that day), all else for
// one point.
type value struct {
	text string   // to compare with, and to print
	span [2]int64 // number, duration or moment: first and last
	net  netip.Prefix
	addr [2]netip.Addr // a range of addresses

	// Of values that a field of an artifact, whose kind only the artifact knows, is compared with:
	isNum, isTime, isNet, isBool bool
	ranged                       bool // it has two ends, so that no text equals it
	num                          [2]float64
	bool                         bool
}

// units of size. Bits have none.
var units = []struct {
	name string
	size float64
}{
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"B", 1},
}

var numberShape = regexp.MustCompile(`^([+-]?[0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)$`)

// parseNumber reads a number with or without a unit of size, and gives its canonical text too.
func parseNumber(s string) (n float64, canonical string, ok bool) {
	m := numberShape.FindStringSubmatch(s)
	if m == nil {
		return 0, "", false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, "", false
	}
	if m[2] == "" {
		return n, strings.TrimPrefix(m[1], "+"), true
	}
	for _, u := range units {
		if strings.EqualFold(m[2], u.name) {
			return n * u.size, strings.TrimPrefix(m[1], "+") + u.name, true
		}
	}
	return 0, "", false
}

// parseDuration reads Go's durations and whole or broken days (2d, 1d12h).
func parseDuration(s string) (time.Duration, bool) {
	if s == "0" {
		return 0, true
	}
	var days time.Duration
	if i := strings.IndexByte(s, 'd'); i > 0 {
		n, err := strconv.ParseUint(s[:i], 10, 16)
		if err != nil {
			return 0, false
		}
		days, s = time.Duration(n)*24*time.Hour, s[i+1:]
		if s == "" {
			return days, true
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d+days < d {
		return 0, false
	}
	return d + days, true
}

// parseTime reads a day, a minute, or a second with or without a fraction, in UTC where no zone is
// named, and gives the first and last nanosecond of that unit.
func parseTime(s string) (first, last ntpac.Time, canonical string, ok bool) {
	if t, err := time.Parse("2006-01-02", s); err == nil {
		return moment(t, 24*time.Hour, "2006-01-02")
	}
	local := strings.TrimSuffix(s, "Z")
	for _, layout := range [...]string{"2006-01-02T15:04", "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, local); err == nil {
			return moment(t, time.Minute, "2006-01-02T15:04Z")
		}
	}
	t, err := time.Parse("2006-01-02T15:04:05", local)
	if err != nil {
		if t, err = time.Parse(time.RFC3339, s); err != nil {
			return 0, 0, "", false
		}
	}
	unit, layout := time.Second, "2006-01-02T15:04:05"
	if i := strings.IndexByte(s, '.'); i >= 0 {
		layout += "."
		for i++; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
			unit /= 10
			layout += "0"
		}
	}
	return moment(t, unit, layout+"Z")
}

func moment(t time.Time, unit time.Duration, layout string) (first, last ntpac.Time, canonical string, ok bool) {
	t = t.UTC()
	// What nanoseconds since 1970 cannot count is no time here.
	if y := t.Year(); y < 1678 || y > 2261 || unit < 1 {
		return 0, 0, "", false
	}
	first = ntpac.Time(t.UnixNano())
	return first, first + ntpac.Time(unit) - 1, t.Format(layout), true
}

// parseNet reads an address or a network in CIDR notation.
func parseNet(s string) (p netip.Prefix, canonical string, ok bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), a.String(), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, "", false
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return p, "", false
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	return p, p.String(), true
}

// quoteIfNeeded writes a text whose field takes nothing else: bare where that is one word.
func quoteIfNeeded(s string) string {
	if wordLen(s) == len(s) && s != "" && !isKeyword(s) {
		return s
	}
	return string(appendQuoted(nil, s))
}
