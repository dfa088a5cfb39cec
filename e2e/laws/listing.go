package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	"ntpac/e2e/cli"
)

// row is one JSON line.
type row map[string]any

func (r row) text(field string) string { s, _ := r[field].(string); return s }

// line is the row with its fields in order: equal rows give equal lines.
func (r row) line() string {
	b, err := json.Marshal(map[string]any(r))
	if err != nil {
		return err.Error() // what was decoded can be encoded
	}
	return string(b)
}

// listing is everything a store shows of a case.
type listing struct {
	conversations, artifacts []row
}

func list(ctx context.Context, b *cli.Binary, store string) (*listing, error) {
	l := &listing{}
	for _, x := range []struct {
		command string
		rows    *[]row
	}{{"conversations", &l.conversations}, {"artifacts", &l.artifacts}} {
		lines, err := b.Lines(ctx, store, x.command)
		if err != nil {
			return nil, err
		}
		for i, line := range lines {
			r := row{}
			d := json.NewDecoder(bytes.NewReader(line))
			d.UseNumber()
			if err := d.Decode(&r); err != nil {
				return nil, fmt.Errorf("ntpac %s, line %d: %w", x.command, i+1, err)
			}
			*x.rows = append(*x.rows, r)
		}
	}
	return l, nil
}

// sourceFields are what law 1 leaves out: how often and from where a packet was captured.
var sourceFields = []string{"capture", "duplicates_up", "duplicates_down", "source", "sources", "packets"}

// law1 is the listing without what may differ between captures of the same traffic: the fields that
// tell of sources, and the conversations that a memory limit touched, with their artifacts.
func (l *listing) law1() *listing {
	out := &listing{}
	limited := map[string]bool{}
	for _, r := range l.conversations {
		flags, _ := r["flags"].([]any)
		if slices.Contains(flags, any("limit-memory")) {
			limited[r.text("id")] = true
			continue
		}
		out.conversations = append(out.conversations, r.without(sourceFields))
	}
	for _, r := range l.artifacts {
		if !limited[r.text("conversation")] {
			out.artifacts = append(out.artifacts, r.without(sourceFields))
		}
	}
	return out
}

func (r row) without(fields []string) row {
	out := row{}
	for k, v := range r {
		if !slices.Contains(fields, k) {
			out[k] = v
		}
	}
	return out
}

// differ says how another listing differs; nil when the sorted lines are the same.
func (l *listing) differ(o *listing) error {
	if err := differ("conversations", l.conversations, o.conversations); err != nil {
		return err
	}
	return differ("artifacts", l.artifacts, o.artifacts)
}

func differ(what string, want, got []row) error {
	a, b := lines(want), lines(got)
	if slices.Equal(a, b) {
		return nil
	}
	missing, extra := minus(want, got), minus(got, want)
	changed, fields := pairs(&missing, &extra)
	msg := fmt.Sprintf("%s: %d wanted, %d got: %d missing, %d extra, %d changed", what, len(want), len(got), len(missing), len(extra), changed)
	if len(fields) > 0 {
		msg += " in " + strings.Join(fields, "; ")
	}
	for _, x := range []struct {
		name string
		rows []row
	}{{"missing", missing}, {"extra", extra}} {
		for _, r := range x.rows[:min(len(x.rows), 3)] {
			msg += fmt.Sprintf("\n    %s %.400s", x.name, r.line())
		}
	}
	return fmt.Errorf("%s", msg)
}

func lines(rows []row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.line()
	}
	sort.Strings(out)
	return out
}

// minus is the rows of a that b has not.
func minus(a, b []row) (out []row) {
	has := map[string]int{}
	for _, r := range b {
		has[r.line()]++
	}
	for _, r := range a {
		if k := r.line(); has[k] > 0 {
			has[k]--
		} else {
			out = append(out, r)
		}
	}
	return out
}

// pairs takes rows of the same id out of both lists, and says which fields differ, how often, and
// gives an example of each.
func pairs(missing, extra *[]row) (changed int, fields []string) {
	byID := map[string]row{}
	for _, r := range *extra {
		byID[r.text("id")] = r
	}
	count, example := map[string]int{}, map[string]string{}
	*missing = slices.DeleteFunc(*missing, func(a row) bool {
		id := a.text("id")
		b, ok := byID[id]
		if !ok {
			return false
		}
		delete(byID, id)
		changed++
		for _, k := range changes(a, b) {
			if count[k]++; example[k] == "" {
				example[k] = fmt.Sprintf("%.160v, not %.160v, in %s", b[k], a[k], id)
			}
		}
		return true
	})
	*extra = slices.DeleteFunc(*extra, func(r row) bool { _, left := byID[r.text("id")]; return !left })
	for k, n := range count {
		fields = append(fields, fmt.Sprintf("%s (%d: %s)", k, n, example[k]))
	}
	sort.Strings(fields)
	return changed, fields
}

func changes(a, b row) (fields []string) {
	for k := range a {
		if !reflect.DeepEqual(a[k], b[k]) {
			fields = append(fields, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			fields = append(fields, k)
		}
	}
	return fields
}
