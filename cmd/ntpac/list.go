package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ntpac"
	"ntpac/artifact"
	"ntpac/selection"
)

func (a *app) conversationsCommand() *cobra.Command {
	var p place
	var where string
	var show details
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "conversations [--where RULE] [--pdus] [--conflicts] [--json]",
		Short: "Lists stored conversations",
		Long: `Lists the conversations of a case, or those for which a rule holds (help rules),
in the order of their start. With --json each is one JSON object a line; with --pdus
it has a list of its PDUs too: what each side said in one go; with --conflicts a list
of the ranges that were captured with differing bytes, in both versions (base64), and
of the packet that brought the other one.`,
		Example: `  ntpac conversations --where 'app == http && dst.ip in 10.0.0.0/8 && bytes > 1MB'
  ntpac conversations --where 'missing > 0 || has flags' --json
  ntpac conversations --where 'id == 17979cfe362a0000b5c04f2e6d0a1c33' --pdus
  ntpac conversations --where 'overlap > 0' --conflicts`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			rule, err := p.compile("--where", where, selection.Conversations)
			if err != nil {
				return err
			}
			st, err := p.open(a.ctx)
			if err != nil {
				return err
			}
			defer closing(st, &err)
			l := newListing(a.out, asJSON, "START", "PROTO", "CLIENT", "SERVER", "APP", "UP", "DOWN", "MISSING", "CLOSE", "FLAGS", "ID")
			x, done, err := exporting(a.ctx, st, p.cs)
			if err != nil {
				return err
			}
			defer done()
			for c, err := range x.Conversations(a.drain, rule) {
				if err != nil {
					return err
				}
				if err := l.conversation(x, &p, c, show); err != nil {
					return err
				}
			}
			return a.listed(&p, st, l, "conversations", rule)
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&where, "where", "", "only those for which the `RULE` holds (help rules)")
	cmd.Flags().BoolVar(&show.pdus, "pdus", false, "list the PDUs of each too")
	cmd.Flags().BoolVar(&show.conflicts, "conflicts", false, "list what was captured in differing versions too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON lines")
	return cmd
}

func (a *app) artifactsCommand() *cobra.Command {
	var p place
	var where, kind string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "artifacts [--where RULE] [--kind KIND] [--json]",
		Short: "Lists stored artifacts",
		Long: `Lists the artifacts of a case, or those for which a rule holds (help rules), in the
order of their conversations. A rule may name the fields of artifacts and those of
their conversations.`,
		Example: `  ntpac artifacts --kind http --where 'host contains bank && status == 200'
  ntpac artifacts --where 'type == file && filename ~ "\.exe$" && src.ip == 10.1.2.3' --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			sel, err := p.artifactRule(where, kind)
			if err != nil {
				return err
			}
			st, err := p.open(a.ctx)
			if err != nil {
				return err
			}
			defer closing(st, &err)
			l := newListing(a.out, asJSON, "TIME", "TYPE", "QUALITY", "WHAT", "CONVERSATION")
			x := &artifact.Export{Store: st, Case: p.cs}
			for r, err := range x.Records(a.drain, sel) {
				if err != nil {
					return err
				}
				if err := l.artifact(r.Artifact); err != nil {
					return err
				}
			}
			return a.listed(&p, st, l, "artifacts", sel)
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&where, "where", "", "only those for which the `RULE` holds (help rules)")
	cmd.Flags().StringVar(&kind, "kind", "", "only those of the type `KIND`, such as http or file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON lines")
	_ = cmd.RegisterFlagCompletionFunc("kind", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return artifactTypes(), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// closing closes the store at the end of a command and keeps its error where there is no other.
func closing(st ntpac.Store, err *error) {
	if e := st.Close(); *err == nil {
		*err = e
	}
}

// artifactRule compiles a rule for artifacts, of one kind where that is given.
func (p *place) artifactRule(where, kind string) (ntpac.Selector, error) {
	rule, err := p.compile("--where", where, selection.Artifacts)
	if err != nil || kind == "" {
		return rule, err
	}
	if types := artifactTypes(); !slices.Contains(types, kind) {
		return nil, ntpac.Usagef("--kind %s: there is no such type of artifact; there are %s", kind, strings.Join(types, " "))
	}
	return &ofKind{rule, kind}, nil
}

// ofKind is a rule that holds for artifacts of one type only.
type ofKind struct {
	*selection.Rule
	kind string
}

func (k *ofKind) Query() ntpac.Query {
	q := k.Rule.Query()
	q.Types = []string{k.kind}
	return q
}

func (k *ofKind) MatchArtifact(r *ntpac.Record) bool {
	return r.Artifact.Type == k.kind && k.Rule.MatchArtifact(r)
}

func (k *ofKind) String() string {
	if rule := k.Rule.String(); rule != "" {
		return "type == " + k.kind + " && (" + rule + ")"
	}
	return "type == " + k.kind
}

// listed ends a listing and notes in the evidence log what was selected and seen.
func (a *app) listed(p *place, st ntpac.Store, l *listing, what string, sel ntpac.Selector) error {
	if err := l.end(); err != nil {
		return err
	}
	if l.n == 0 {
		fmt.Fprintf(a.err, "no %s match\n", what)
	}
	return note(a.ctx, st, p.cs, "select", map[string]any{"what": what, "rule": sel.String(), "found": l.n})
}

// listing writes either JSON lines or a table.
type listing struct {
	out  *bufio.Writer
	tab  *tabwriter.Writer // nil with JSON
	line []byte
	n    int
}

// A table's columns are aligned over so many rows at once, so that no listing has to be held as a whole.
const alignedRows = 500

func newListing(w io.Writer, asJSON bool, columns ...string) *listing {
	l := &listing{out: bufio.NewWriterSize(w, 64<<10)}
	if !asJSON {
		l.tab = tabwriter.NewWriter(l.out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(l.tab, strings.Join(columns, "\t"))
	}
	return l
}

// row ends a row of either kind. Listings that somebody watches appear as they grow.
func (l *listing) row(cells ...any) error {
	l.n++
	if l.tab == nil {
		l.line = append(l.line, '\n')
		_, err := l.out.Write(l.line)
		return err
	}
	for i, c := range cells {
		sep := "\t"
		if i == len(cells)-1 {
			sep = "\n"
		}
		if _, err := fmt.Fprint(l.tab, clean(fmt.Sprint(c)), sep); err != nil {
			return err
		}
	}
	if l.n%alignedRows == 0 {
		return l.tab.Flush()
	}
	return nil
}

// end writes what is left. An empty table has no heads either.
func (l *listing) end() error {
	if l.tab != nil && l.n > 0 {
		if err := l.tab.Flush(); err != nil {
			return err
		}
	}
	if l.n == 0 {
		return nil
	}
	return l.out.Flush()
}

// details are what a conversation is listed with.
type details struct{ pdus, conflicts bool }

func (l *listing) conversation(x *artifact.Export, p *place, c *ntpac.Conversation, show details) error {
	var payload ntpac.Payload
	if show != (details{}) {
		payload = x.Payload(c)
	}
	if l.tab == nil {
		l.line = artifact.AppendConversation(l.line[:0], c, p.sources)
		if show.pdus {
			l.members("pdus", func(item func(add func(b []byte) []byte)) error {
				for u := range artifact.PDUs(c, payload) {
					item(u.AppendJSON)
				}
				return nil
			})
		}
		if show.conflicts {
			err := l.members("conflicts", func(item func(add func(b []byte) []byte)) error {
				for v, err := range artifact.Conflicts(c, payload) {
					if err != nil {
						return err
					}
					item(func(b []byte) []byte { return v.AppendJSON(b, p.sources) })
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return l.row()
	}
	up, down := c.In(ntpac.Up), c.In(ntpac.Down)
	err := l.row(timeText(c.First), c.Key.Proto, c.ClientEnd(), c.ServerEnd(), c.App, bytesText(up.Bytes), bytesText(down.Bytes),
		bytesText(up.Missing+down.Missing), c.Close, strings.Join(c.Flags.Names(), ","), c.ID)
	if err != nil {
		return err
	}
	return l.details(p, c, payload, show)
}

// members adds a list to the JSON object that is being written.
func (l *listing) members(name string, each func(item func(add func(b []byte) []byte)) error) error {
	l.line = append(append(append(l.line[:len(l.line)-1], `,"`...), name...), `":[`...)
	first := true
	err := each(func(add func(b []byte) []byte) {
		if !first {
			l.line = append(l.line, ',')
		}
		l.line, first = add(l.line), false
	})
	l.line = append(l.line, "]}"...)
	return err
}

// details writes the lines below a conversation's own.
func (l *listing) details(p *place, c *ntpac.Conversation, payload ntpac.Payload, show details) error {
	if show.pdus {
		for u := range artifact.PDUs(c, payload) {
			if _, err := fmt.Fprintf(l.tab, "  %s\t%s\tat %d\t%s\t%s\t\t\t\t\t\t\n", timeText(u.First), u.Dir, u.Off, bytesText(u.Len), plural(u.Packets, "packet")); err != nil {
				return err
			}
		}
	}
	if show.conflicts {
		for v, err := range artifact.Conflicts(c, payload) {
			if err != nil {
				return err
			}
			kept := "missing"
			if v.Kept != nil {
				kept = short(fmt.Sprintf("%q", v.Kept), 30)
			}
			if _, err := fmt.Fprintf(l.tab, "  %s\t%s\tat %d\t%s\tnot %s\tpacket %d of %s\t\t\t\t\t\n", timeText(v.Time), v.Dir, v.Off,
				kept, short(fmt.Sprintf("%q", v.Other), 30), v.Packet, clean(artifact.CaptureName(v.Source, p.sources))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *listing) artifact(a *ntpac.Artifact) error {
	if l.tab == nil {
		l.line = artifact.AppendArtifact(l.line[:0], a)
		return l.row()
	}
	return l.row(timeText(a.Time), a.Type, a.Quality, short(gist(a), 100), a.Conversation)
}

// gists names for the usual types the fields that tell most; of others all plain fields are shown.
var gists = map[string][]string{
	"http":       {"method", "host", "uri", "status", "content_type"},
	"dns":        {"query", "qtype", "rcode", "answers.data"},
	"tls":        {"sni", "version", "cipher", "alpn", "certificates.subject"},
	"mail":       {"from", "to", "subject", "attachments.filename"},
	"file":       {"filename", "mime", "size", "source_url", "sha256"},
	"credential": {"protocol", "user", "password", "secret", "success"},
	"ftp":        {"user", "command", "arg", "code", "reply"},
}

// gist is an artifact in a few words.
func gist(a *ntpac.Artifact) string {
	var fields map[string]any
	if json.Unmarshal(artifact.RawFields(a), &fields) != nil {
		fields = nil
	}
	var parts []string
	if names, ok := gists[a.Type]; ok {
		for _, n := range names {
			parts = append(parts, plain(fields, strings.Split(n, "."))...)
		}
	} else {
		for _, k := range slices.Sorted(keysOf(fields)) {
			for _, v := range plain(fields[k], nil) {
				parts = append(parts, k+"="+v)
			}
		}
	}
	if a.Error != "" {
		parts = append(parts, "("+a.Error+")")
	}
	return strings.Join(parts, " ")
}

func keysOf(m map[string]any) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// plain gives the texts and numbers at a path, at most three of a list.
func plain(v any, path []string) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		if len(path) > 0 {
			return plain(v[path[0]], path[1:])
		}
	case []any:
		for i, e := range v {
			if i == 3 {
				return append(out, "…")
			}
			out = append(out, plain(e, path)...)
		}
	case string:
		if v != "" && len(path) == 0 {
			return []string{v}
		}
	case float64:
		if len(path) == 0 {
			return []string{fmt.Sprint(json.Number(fmt.Sprintf("%.15g", v)))}
		}
	case bool:
		if len(path) == 0 {
			return []string{fmt.Sprint(v)}
		}
	}
	return out
}
