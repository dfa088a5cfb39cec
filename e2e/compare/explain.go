package compare

import (
	"bufio"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Explanations are the reasons why single differences are right. A reason never makes an agreement
// of a difference: it is counted apart.
type Explanations struct {
	mu    sync.Mutex
	known map[[3]string]*explanation
}

type explanation struct {
	reason string
	line   int
	used   bool
}

// ReadExplanations reads lines of four tab-separated columns: capture, kind, key, reason. Lines that
// start with # and empty ones are passed over. Every column must be filled: there are no patterns.
func ReadExplanations(r io.Reader) (*Explanations, error) {
	e := &Explanations{known: map[[3]string]*explanation{}}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for n := 1; s.Scan(); n++ {
		if strings.TrimSpace(s.Text()) == "" || strings.HasPrefix(s.Text(), "#") {
			continue
		}
		col := strings.Split(s.Text(), "\t")
		if len(col) != 4 || col[0] == "" || col[1] == "" || col[2] == "" || strings.TrimSpace(col[3]) == "" {
			return nil, fmt.Errorf("explanation line %d: want capture, kind, key, reason, tab-separated", n)
		}
		k := [3]string{col[0], col[1], col[2]}
		if e.known[k] != nil {
			return nil, fmt.Errorf("explanation line %d repeats line %d", n, e.known[k].line)
		}
		e.known[k] = &explanation{reason: strings.TrimSpace(col[3]), line: n}
	}
	return e, s.Err()
}

// Column makes a key fit for a column: tabs and line ends are escaped.
func Column(key string) string {
	if !strings.ContainsAny(key, "\t\n\r\\") {
		return key
	}
	q := strconv.Quote(key)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func (e *Explanations) reason(capture, kind, key string) (string, bool) {
	if e == nil {
		return "", false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.known[[3]string{capture, kind, Column(key)}]
	if x == nil {
		return "", false
	}
	x.used = true
	return x.reason, true
}

// Stale lists the line numbers of explanations that explained nothing, of captures that were looked at.
func (e *Explanations) Stale(looked func(capture string) bool) (lines []int) {
	if e == nil {
		return nil
	}
	for k, x := range e.known {
		if !x.used && looked(k[0]) {
			lines = append(lines, x.line)
		}
	}
	sort.Ints(lines)
	return lines
}
