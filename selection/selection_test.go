package selection_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/selection"
)

// TestRules asks each rule of testdata/rules.txt about the samples.
func TestRules(t *testing.T) {
	var out strings.Builder
	of := selection.Conversations
	for _, rule := range lines(t, "rules.txt") {
		switch rule {
		case "# conversations":
			continue
		case "# artifacts":
			of = selection.Artifacts
			continue
		}
		r, err := selection.Compile(rule, options(of))
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		fmt.Fprintf(&out, "%s\n  = %s\n", rule, r)
		if q := show(r.Query()); q != "" {
			fmt.Fprintf(&out, "  query%s\n", q)
		}
		fmt.Fprintf(&out, "  matches %s\n", strings.Join(matching(t, r, of), " "))
		again, err := selection.Compile(r.String(), options(of))
		if err != nil {
			t.Errorf("canonical form of %s: %v", rule, err)
		} else if again.String() != r.String() {
			t.Errorf("canonical form of %s: %s, then %s", rule, r, again)
		} else if a, b := matching(t, r, of), matching(t, again, of); !slices.Equal(a, b) || show(r.Query()) != show(again.Query()) {
			t.Errorf("canonical form %s means something else", r)
		}
	}
	golden(t, "rules.golden", []byte(out.String()))
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// matching numbers the samples that match, and checks that the query does not exclude them.
func matching(t *testing.T, r *selection.Rule, of selection.Target) (out []string) {
	t.Helper()
	if of == selection.Conversations {
		for i, c := range conversations() {
			if r.Match(c) {
				out = append(out, fmt.Sprint(i))
				if !within(r.Query(), c, "") {
					t.Errorf("%s: the query excludes conversation %d", r, i)
				}
			}
		}
		return out
	}
	for i, rec := range records() {
		if r.MatchArtifact(rec) {
			out = append(out, fmt.Sprintf("%d:%s", i, rec.Artifact.Type))
			if !within(r.Query(), rec.Conversation, rec.Artifact.Type) {
				t.Errorf("%s: the query excludes artifact %d", r, i)
			}
		}
	}
	return out
}

// within is what a store does with a query. typ is empty for conversations.
func within(q ntpac.Query, c *ntpac.Conversation, typ string) bool {
	if q.IDs != nil && !slices.Contains(q.IDs, c.ID) || q.Apps != nil && !slices.Contains(q.Apps, c.App) {
		return false
	}
	if typ != "" && q.Types != nil && !slices.Contains(q.Types, typ) {
		return false
	}
	if c.First < q.From && q.From != 0 || q.To != 0 && c.First > q.To {
		return false
	}
	for _, p := range q.Addrs {
		if p.Contains(c.Key.End[0].Addr()) || p.Contains(c.Key.End[1].Addr()) {
			return true
		}
	}
	return q.Addrs == nil
}

func show(q ntpac.Query) string {
	var b strings.Builder
	if q.From != 0 {
		fmt.Fprintf(&b, " from %v", q.From)
	}
	if q.To != 0 {
		fmt.Fprintf(&b, " to %v", q.To)
	}
	if q.IDs != nil {
		fmt.Fprintf(&b, " ids %v", q.IDs)
	}
	if q.Addrs != nil {
		fmt.Fprintf(&b, " addrs %v", q.Addrs)
	}
	if q.Apps != nil {
		fmt.Fprintf(&b, " apps %v", q.Apps)
	}
	if q.Types != nil {
		fmt.Fprintf(&b, " types %v", q.Types)
	}
	return b.String()
}

// TestErrors shows what is said of each bad rule of testdata/errors.txt.
func TestErrors(t *testing.T) {
	var out strings.Builder
	for _, rule := range lines(t, "errors.txt") {
		_, err := selection.Compile(rule, options(selection.Any))
		if err == nil {
			t.Errorf("%s: no error", rule)
			continue
		}
		var e *selection.Error
		if !errors.As(err, &e) || !errors.Is(err, ntpac.ErrUsage) || strings.Count(err.Error(), "\n") != 2 {
			t.Errorf("%s: %#v", rule, err)
		}
		fmt.Fprintf(&out, "%v\n\n", err)
	}
	_, err := selection.Compile("port == 80 && host == x", options(selection.Conversations))
	fmt.Fprintf(&out, "%v\n\n", err)
	r, err := selection.Compile("port == 80 && !has host", options(selection.Any))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%v\n", r.OnConversation())
	golden(t, "errors.golden", []byte(out.String()))
}

// TestDepth proves that no rule can exhaust the stack.
func TestDepth(t *testing.T) {
	for _, s := range []string{"(", "!", "not ", "!("} {
		if _, err := selection.Compile(strings.Repeat(s, 100_000)+"has app", options(selection.Any)); !errors.Is(err, ntpac.ErrUsage) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := selection.Compile(strings.Repeat("a", 1<<20+1), options(selection.Any)); !errors.Is(err, ntpac.ErrUsage) {
		t.Error(err)
	}
}

// TestWithoutConversation asks about an artifact whose conversation is not known.
func TestWithoutConversation(t *testing.T) {
	rec := &ntpac.Record{Artifact: records()[0].Artifact}
	for rule, want := range map[string]bool{"host contains bank": true, "dst.port == 80": false, "app != x": false, "type == http || has app": true} {
		r, err := selection.Compile(rule, options(selection.Artifacts))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.MatchArtifact(rec); got != want {
			t.Errorf("%s: %v", rule, got)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	r, err := selection.Compile("proto == tcp && ip in 10.0.0.0/8 && bytes > 1kB && first in [2023-11-14..2023-11-20]", options(selection.Conversations))
	if err != nil {
		b.Fatal(err)
	}
	c := conversations()[0]
	b.ReportAllocs()
	for b.Loop() {
		if !r.Match(c) {
			b.Fatal("no match")
		}
	}
}

func BenchmarkMatchArtifact(b *testing.B) {
	r, err := selection.Compile("type == http && host contains BANK", options(selection.Artifacts))
	if err != nil {
		b.Fatal(err)
	}
	rec := records()[0]
	b.ReportAllocs()
	for b.Loop() {
		if !r.MatchArtifact(rec) {
			b.Fatal("no match")
		}
	}
}
