// Package selection is the rule language that picks conversations and artifacts, by hand (--where) or
// as conversations close (--snoop).
//
//	app == http && dst.ip in 10.0.0.0/8 && bytes > 1MB && first in [2023-11-14..2023-11-20]
//	type == file && filename ~ "\.exe$" and not host endswith ".example.org"
//	close in [rst, idle] || gaps > 0 || has flags
//
// A rule compares fields with values, joined by && (and), || (or), ! (not) and parentheses; the empty
// rule holds for everything. Fields are those of the contract; of a conversation, src and dst, up and
// down may also be set off by a dot (dst.ip, bytes.up), and ip, port, bytes, packets, missing, gaps,
// overlap, duplicates and sha256 alone mean either side or the sum of both. Of an artifact any field
// of its JSON can be named, with dots for what lies deeper; of lists it is enough that one element
// matches. What an artifact does not have is asked of its conversation; a name that both have means
// the artifact's, and conversation.NAME the other one.
//
//	== !=                 equal, and there but different
//	< <= > >=             of numbers, durations and times
//	in                    one of [a, b], within [a..b], [a..] or [..b], or in the network 10.0.0.0/8
//	contains startswith endswith   of texts, letters of any case being equal
//	~                     the text matches a regular expression (RE2)
//	has FIELD             there, and neither empty, zero nor false
//
// Sizes may have a unit (kB MB GB TB are powers of ten, KiB MiB GiB TiB of two), durations must (90s,
// 5m, 1h30m, 2d). A time stands for the whole of the unit in which it is written: 2023-11-14 is that
// day, 2023-11-14T22:13:20 that second; UTC where no zone is named. Text needs quotes where it has
// spaces or operators in it.
package selection

import "ntpac"

// Target says what a rule will be asked about.
type Target uint8

// What rules are for.
const (
	Any           Target = iota // both: every field may be named
	Conversations               // fields of artifacts are errors; id is the conversation's
	Artifacts
)

// Options say what names mean in a rule.
type Options struct {
	Of Target
	// ArtifactFields names the fields of single types of artifacts, deeper ones with dots, and the
	// types that have them. Other names than these, the common ones and those of conversations are
	// errors.
	ArtifactFields map[string][]string
	// CaptureName gives the name of a source, for the field capture.
	CaptureName func(ntpac.SourceID) string
}

// Rule is a compiled rule. It may be used by many goroutines at once.
type Rule struct {
	root  node
	text  string
	match predicate
	query ntpac.Query
	rule  string
}

var _ ntpac.Selector = (*Rule)(nil)

// Compile reads and checks a rule. What is wrong with it is an *Error.
func Compile(rule string, o Options) (*Rule, error) {
	root, err := parse(rule)
	if err != nil {
		return nil, err
	}
	k := checker{rule: rule, names: newNames(&o)}
	if err := k.check(root); err != nil {
		return nil, err
	}
	b := boundsOf(root, false)
	return &Rule{root: root, text: string(root.write(nil, false)), match: predicateOf(root), query: b.query(), rule: rule}, nil
}

// Query is the part of the rule that a store can answer: every conversation that matches, and that of
// every artifact that matches, is within it. The caller sets the case.
func (r *Rule) Query() ntpac.Query { return r.query }

// Match asks the whole rule of a conversation. Fields of artifacts are absent.
func (r *Rule) Match(c *ntpac.Conversation) bool { return r.match(&subject{c: c}) }

// MatchArtifact asks the whole rule of an artifact beside its conversation.
func (r *Rule) MatchArtifact(a *ntpac.Record) bool {
	return r.match(&subject{c: a.Conversation, a: a.Artifact})
}

// String is the canonical text: it gives the same rule, and the same text, when compiled again.
func (r *Rule) String() string { return r.text }

// OnConversation says why the rule cannot be asked of conversations alone; nil where it can.
func (r *Rule) OnConversation() error {
	if a := artifactOnly(r.root); a != nil {
		return errorAt(r.rule, a.at, "%s is a field of artifacts: a rule for conversations cannot ask for it", a.name)
	}
	return nil
}

// artifactOnly finds the first atom that no conversation can answer.
func artifactOnly(n node) *atom {
	switch n := n.(type) {
	case group:
		for _, p := range n.parts {
			if a := artifactOnly(p); a != nil {
				return a
			}
		}
	case negation:
		return artifactOnly(n.part)
	case *atom:
		if n.readings[len(n.readings)-1].f.of == Artifacts {
			return n
		}
	}
	return nil
}
