package selection

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"ntpac"
)

// Error says what is wrong with a rule and where.
type Error struct {
	Col  int    // the column, counted in characters from 1
	Msg  string // the reason, in one line
	Rule string
}

// Error shows the rule, a caret below the place, and the reason.
func (e *Error) Error() string {
	rule := []rune(printable(e.Rule))
	// The caret line repeats tabs, so that it stays in step on every terminal.
	pad := make([]rune, 0, e.Col)
	for i := 0; i < e.Col-1; i++ {
		if i < len(rule) && rule[i] == '\t' {
			pad = append(pad, '\t')
		} else {
			pad = append(pad, ' ')
		}
	}
	return string(rule) + "\n" + string(pad) + "^\n" + e.Line()
}

// Line is the error on one line, without the rule.
func (e *Error) Line() string { return fmt.Sprintf("column %d: %s", e.Col, e.Msg) }

// Is makes a bad rule a usage error.
func (e *Error) Is(target error) bool { return target == ntpac.ErrUsage }

// printable replaces what would disturb a terminal or break the line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// errorAt makes an error for the byte position at.
func errorAt(rule string, at int, format string, a ...any) *Error {
	at = min(at, len(rule))
	return &Error{Col: utf8.RuneCountInString(rule[:at]) + 1, Msg: printable(fmt.Sprintf(format, a...)), Rule: rule}
}

// closest gives the name that a mistyped one most likely means; empty where none is near.
func closest(name string, known []string) string {
	best, limit := "", 1
	if len(name) > 4 {
		limit = 2
	}
	for _, k := range known {
		if d := distance(strings.ToLower(name), k, limit); d <= limit && (d < limit || best == "") {
			best, limit = k, d
		}
	}
	return best
}

// distance counts the characters to insert, delete, replace or swap with their neighbour to make b
// from a. It may give up with more than limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur, prev, before := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}

func didYouMean(name string, known []string) string {
	if s := closest(name, known); s != "" {
		return ": did you mean " + s + "?"
	}
	return ""
}
