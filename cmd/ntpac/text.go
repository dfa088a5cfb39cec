package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"ntpac"
)

// number is any count.
type number interface{ ~int | ~int64 | ~uint64 }

// grouped writes a count with its thousands apart: 1,234,567.
func grouped[N number](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

func plural[N number](n N, what string) string {
	switch stem, y := strings.CutSuffix(what, "y"); {
	case n == 1:
		return "1 " + what
	case y:
		return grouped(n) + " " + stem + "ies"
	case strings.HasSuffix(what, "sh"):
		return grouped(n) + " " + what + "es"
	}
	return grouped(n) + " " + what + "s"
}

// bytesText writes a size with three digits: 12.3 MB.
func bytesText(n int64) string {
	f, unit := float64(n), 0
	units := [...]string{"B", "kB", "MB", "GB", "TB"}
	for f >= 999.5 && unit < len(units)-1 {
		f /= 1000
		unit++
	}
	switch {
	case unit == 0:
		return fmt.Sprintf("%d B", n)
	case f < 9.995:
		return fmt.Sprintf("%.2f %s", f, units[unit])
	case f < 99.95:
		return fmt.Sprintf("%.1f %s", f, units[unit])
	}
	return fmt.Sprintf("%.0f %s", f, units[unit])
}

// timeText writes a moment for people, to the millisecond, in UTC.
func timeText(t ntpac.Time) string { return t.Std().Format("2006-01-02 15:04:05.000") }

func spanText(t ntpac.Time) string {
	d := time.Duration(t)
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// clean drops what evidence must not do to a terminal: controls, and marks that turn the direction.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// short cuts text to n characters.
func short(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
