package selection_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ntpac"
	"ntpac/selection"
)

// values by field: small sets, so that random rules often match random conversations.
var (
	somePorts = []string{"53", "80", "443", "50000", "[53, 80]", "[80..500]"}
	someAddrs = []string{"10.0.0.1", "10.0.0.2", "10.0.0.0/24", "10.0.0.0/8", "2001:db8::1", "192.168.0.0/16", "[10.0.0.1..10.0.0.9]", "[10.0.0.2, 2001:db8::/32]"}
	someTimes = []string{"2023-11-14", "2023-11-15", "2023-11-14T22:13:20", "2023-11-14T22:13:20.5", "2023-11-14T22:14", "[2023-11-14..2023-11-15]", "[..2023-11-14T22:13:20]", "[2023-11-15..]"}
	someSizes = []string{"0", "1", "1kB", "1KiB", "1500", "[0..100]", "[1, 1500..]"}
	someApps  = []string{"http", "dns", `""`, "[http, dns]", "[tls]"}
	someSpans = []string{"0", "1s", "90s", "2d", "[1s..1h]"}
)

var fieldValues = []struct {
	names  []string
	ops    []string
	values []string
}{
	{[]string{"port", "src.port", "dst_port"}, []string{"==", "!=", "<", "<=", ">", ">=", "in"}, somePorts},
	{[]string{"ip", "src.ip", "dst.ip", "conversation.ip"}, []string{"==", "!=", "in"}, someAddrs},
	{[]string{"first", "last", "time", "conversation.first"}, []string{"==", "!=", "<", "<=", ">", ">=", "in"}, someTimes},
	{[]string{"bytes", "bytes.up", "packets", "missing_down", "gaps"}, []string{"==", "!=", "<", "<=", ">", ">=", "in"}, someSizes},
	{[]string{"app", "conversation.app"}, []string{"==", "!=", "in"}, someApps},
	{[]string{"duration"}, []string{"<", ">", "in"}, someSpans},
	{[]string{"flags"}, []string{"==", "!="}, []string{"midstream", "one-sided", `"rd"`}},
	{[]string{"app", "case"}, []string{"contains", "startswith", "endswith", "~"}, []string{"t", "HT", `"\\.x"`, "s"}},
	{[]string{"conversation"}, []string{"==", "!=", "in"}, []string{"[" + idOf(1).String() + ", " + idOf(2).String() + "]"}},
	{[]string{"id"}, []string{"==", "!="}, []string{idOf(1).String(), idOf(2).String()}},
	{[]string{"type"}, []string{"==", "!=", "in"}, []string{"http", "dns", "[http, file]"}},
	{[]string{"host", "answers.data"}, []string{"==", "!=", "contains"}, []string{"www.bank.example", "bank", "10.1.2.3"}},
	{[]string{"status", "answers.ttl"}, []string{"==", "!=", "<", ">=", "in"}, []string{"200", "404", "60", "[100..300]"}},
}

// anyRule draws a rule. Operators that a list does not go with are drawn too; the caller tries again.
func anyRule(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		shape := rapid.IntRange(0, 9).Draw(t, "shape")
		if depth == 0 || shape < 4 {
			f := rapid.SampledFrom(fieldValues).Draw(t, "field")
			name := rapid.SampledFrom(f.names).Draw(t, "name")
			if rapid.IntRange(0, 9).Draw(t, "has") == 0 {
				return "has " + name
			}
			op, v := rapid.SampledFrom(f.ops).Draw(t, "op"), rapid.SampledFrom(f.values).Draw(t, "value")
			if strings.HasPrefix(v, "[") && op != "in" {
				op = "in"
			}
			return name + " " + op + " " + v
		}
		sub := anyRule(depth - 1)
		a := sub.Draw(t, "left")
		switch {
		case shape < 6:
			return fmt.Sprintf("!(%s)", a)
		case shape < 8:
			return fmt.Sprintf("(%s && %s)", a, sub.Draw(t, "right"))
		}
		return fmt.Sprintf("(%s or %s)", a, sub.Draw(t, "right"))
	})
}

func anyConversation() *rapid.Generator[*ntpac.Conversation] {
	return rapid.Custom(func(t *rapid.T) *ntpac.Conversation {
		end := func(label string) netip.AddrPort {
			a := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "10.9.0.1", "192.168.3.4", "2001:db8::1"}).Draw(t, label)
			return netip.AddrPortFrom(netip.MustParseAddr(a), rapid.SampledFrom([]uint16{53, 80, 443, 50000}).Draw(t, label+" port"))
		}
		c := &ntpac.Conversation{ID: idOf(rapid.Byte().Draw(t, "id") & 3), Case: "test", App: rapid.SampledFrom([]string{"", "http", "dns", "tls"}).Draw(t, "app")}
		c.Key = ntpac.FlowKey{Proto: rapid.SampledFrom([]ntpac.Proto{ntpac.TCP, ntpac.UDP}).Draw(t, "proto"), End: [2]netip.AddrPort{end("a"), end("b")}}
		c.Client = ntpac.Side(rapid.IntRange(0, 1).Draw(t, "client"))
		c.First = start + ntpac.Time(rapid.SampledFrom([]int64{-1e9, 0, 5e8, 6e8, 1e9, 60e9, 86400e9}).Draw(t, "first"))
		c.Last = c.First + ntpac.Time(rapid.SampledFrom([]int64{0, 1e9, 3600e9, 172800e9}).Draw(t, "last"))
		c.Flags = ntpac.ConvFlags(rapid.IntRange(0, 7).Draw(t, "flags"))
		for s := range c.Half {
			h := &c.Half[s]
			h.Bytes = rapid.SampledFrom([]int64{0, 1, 1000, 1024, 1500}).Draw(t, "bytes")
			h.Packets = uint64(rapid.IntRange(0, 2).Draw(t, "packets"))
			if rapid.Bool().Draw(t, "gap") {
				h.Gaps, h.Missing = []ntpac.Gap{{Len: 1}}, 1
			}
		}
		return c
	})
}

// TestLaws holds random rules against random conversations and artifacts.
func TestLaws(t *testing.T) {
	samples := records()
	rapid.Check(t, func(t *rapid.T) {
		text := anyRule(3).Draw(t, "rule")
		of := rapid.SampledFrom([]selection.Target{selection.Any, selection.Artifacts, selection.Conversations}).Draw(t, "of")
		r, err := selection.Compile(text, options(of))
		if err != nil {
			return // a field of artifacts in a rule for conversations
		}
		again, err := selection.Compile(r.String(), options(of))
		if err != nil || again.String() != r.String() || show(again.Query()) != show(r.Query()) {
			t.Fatalf("canonical form of %s: %s, then %s (%v)", text, r, again, err)
		}
		not, err := selection.Compile("!("+text+")", options(of))
		if err != nil {
			t.Fatal(err)
		}
		c := anyConversation().Draw(t, "conversation")
		holds := r.Match(c)
		if again.Match(c) != holds || not.Match(c) == holds {
			t.Fatalf("%s: %v, canonical %v, negated %v", text, holds, again.Match(c), not.Match(c))
		}
		if holds && !within(r.Query(), c, "") || !holds && !within(not.Query(), c, "") {
			t.Fatalf("%s: the query%s excludes what matches", text, show(r.Query()))
		}
		rec := *rapid.SampledFrom(samples).Draw(t, "artifact")
		a := *rec.Artifact
		a.Time = c.First + ntpac.Time(rapid.Int64Range(0, int64(c.Last-c.First)).Draw(t, "time"))
		rec = ntpac.Record{Artifact: &a, Conversation: c}
		holds = r.MatchArtifact(&rec)
		if again.MatchArtifact(&rec) != holds || not.MatchArtifact(&rec) == holds {
			t.Fatalf("%s: differs on %s", text, a.JSON)
		}
		if of != selection.Conversations && (holds && !within(r.Query(), c, a.Type) || !holds && !within(not.Query(), c, a.Type)) {
			t.Fatalf("%s: the query%s excludes what matches", text, show(r.Query()))
		}
	})
}

// FuzzCompile proves that no text breaks the parser, and that what it accepts has a canonical form.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`app == http && ip in [10.0.0.0/8, ::1] || !(has host)`, `uri ~ "\.exe$" and first in [2023-11-14..]`,
		`bytes > 1.5KiB or duration <= 1d2h`, `flags == "a\x01\\\"" && status in [..5, -3..2.5]`, `time == 2023-11-14T22:13:20.123456789+01:00`} {
		f.Add(s)
	}
	samples := conversations()
	recs := records()
	f.Fuzz(func(t *testing.T, rule string) {
		r, err := selection.Compile(rule, options(selection.Any))
		if err != nil {
			_ = err.Error()
			return
		}
		again, err := selection.Compile(r.String(), options(selection.Any))
		if err != nil || again.String() != r.String() {
			t.Fatalf("canonical form of %q: %q, then %q (%v)", rule, r, again, err)
		}
		for _, c := range samples {
			if holds := r.Match(c); holds != again.Match(c) || holds && !within(r.Query(), c, "") {
				t.Fatalf("%q on %v", rule, c)
			}
		}
		for _, x := range recs {
			if holds := r.MatchArtifact(x); holds != again.MatchArtifact(x) || holds && !within(r.Query(), x.Conversation, x.Artifact.Type) {
				t.Fatalf("%q on %s", rule, x.Artifact.JSON)
			}
		}
	})
}
