package artifact

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"ntpac"
)

// commonColumns come first in every table of artifacts, in the order of the contract.
var commonColumns = []string{"id", "type", "conversation", "case", "time", "quality", "spans", "snooper", "snooper_version", "error"}

// conversationColumns are the columns of a table of conversations.
var conversationColumns = []string{"id", "revision", "case", "capture", "proto", "src_ip", "src_port", "dst_ip", "dst_port", "first",
	"last", "packets_up", "packets_down", "duplicates_up", "duplicates_down", "bytes_up", "bytes_down", "missing_up",
	"missing_down", "gaps_up", "gaps_down", "overlap_up", "overlap_down", "sha256_up", "sha256_down", "app", "app_by", "close",
	"client_by", "split_by", "flags", "vlan", "tunnel", "tunnel_id"}

// CSV writes the selected artifacts as a table (RFC 4180) and says how many. After the common columns
// come those of the types that were selected, sorted by name, with dots for members of members; lists
// of plain values are joined by semicolons, other lists stay JSON. It goes through the selection
// twice, once for the columns. Text that a spreadsheet would take for a formula gets a quote before it.
func (x *Export) CSV(ctx context.Context, sel ntpac.Selector, w io.Writer) (n int, err error) {
	known := map[string]bool{}
	var own []string
	for r, err := range x.Records(ctx, sel) {
		if err != nil {
			return 0, err
		}
		for name := range flat(RawFields(r.Artifact)) {
			if !known[name] {
				known[name] = true
				own = append(own, name)
			}
		}
	}
	own = slices.DeleteFunc(own, func(s string) bool { return slices.Contains(commonColumns, s) })
	slices.Sort(own)
	t := newTable(w, append(slices.Clone(commonColumns), own...))
	var line []byte
	for r, err := range x.Records(ctx, sel) {
		if err != nil {
			return t.rows, err
		}
		line = AppendArtifact(line[:0], r.Artifact)
		if err := t.row(line); err != nil {
			return t.rows, err
		}
	}
	return t.rows, t.flush()
}

// ConversationsCSV writes the selected conversations as a table and says how many.
func (x *Export) ConversationsCSV(ctx context.Context, sel ntpac.Selector, sources map[ntpac.SourceID]string, w io.Writer) (n int, err error) {
	t := newTable(w, conversationColumns)
	var line []byte
	for c, err := range x.Conversations(ctx, sel) {
		if err != nil {
			return t.rows, err
		}
		line = AppendConversation(line[:0], c, sources)
		if err := t.row(line); err != nil {
			return t.rows, err
		}
	}
	return t.rows, t.flush()
}

// table writes JSON objects as rows.
type table struct {
	w       *csv.Writer
	columns []string
	rows    int
	cells   []string
}

func newTable(w io.Writer, columns []string) *table {
	t := &table{w: csv.NewWriter(w), columns: columns, cells: make([]string, len(columns))}
	_ = t.w.Write(columns) // the error stays in the writer, for flush
	return t
}

func (t *table) row(object []byte) error {
	m := flat(object)
	for i, c := range t.columns {
		t.cells[i] = m[c]
	}
	t.rows++
	return t.w.Write(t.cells)
}

func (t *table) flush() error {
	t.w.Flush()
	return t.w.Error()
}

// flat gives the plain values of a JSON object by name, members of members with dots.
func flat(object []byte) map[string]string {
	out := map[string]string{}
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	if d.Decode(&v) == nil {
		flatten(out, "", v)
	}
	return out
}

func flatten(out map[string]string, prefix string, v map[string]any) {
	for k, e := range v {
		if m, ok := e.(map[string]any); ok {
			flatten(out, prefix+k+".", m)
			continue
		}
		out[prefix+k] = cell(e)
	}
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return harmless(v)
	case json.Number:
		return v.String()
	case []any:
		parts := make([]string, 0, len(v))
		for _, e := range v {
			switch e := e.(type) {
			case string:
				parts = append(parts, e)
			case json.Number:
				parts = append(parts, e.String())
			default:
				return compact(v)
			}
		}
		return harmless(strings.Join(parts, "; "))
	}
	return compact(v)
}

func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// harmless puts a quote before text that spreadsheets would compute.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}
