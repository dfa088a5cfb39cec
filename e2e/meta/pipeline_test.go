package meta

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"ntpac"
	"ntpac/artifact"
	"ntpac/node"
	"ntpac/reassembly"
	"ntpac/selection"
	"ntpac/snoop/all"
	"ntpac/store/embedded"
	"ntpac/store/memory"
)

// setup says how the pipeline is run.
type setup struct {
	workers   int
	window    ntpac.Time
	checksums reassembly.Checksums
	reference bool
	embedded  bool
	piped     bool // the one file comes over standard input
	exported  bool // the frames of all conversations are exported
}

// input is a capture as the pipeline gets it: one or more files of one merge group.
type input struct {
	files []file
	setup setup
}

// file is one capture file.
type file struct {
	frames []frame
	format format
	cut    int64 // the file ends after so many bytes; 0 leaves it whole
}

// one is the plain case.
func one(fs []frame) input { return input{files: []file{{frames: fs}}} }

// record is a JSON object of the contract.
type record map[string]any

func (r record) text(name string) string { s, _ := r[name].(string); return s }

func (r record) number(name string) int64 {
	n, _ := r[name].(json.Number)
	i, _ := n.Int64()
	return i
}

func (r record) without(names ...string) record {
	out := make(record, len(r))
	for k, v := range r {
		out[k] = v
	}
	for _, n := range names {
		delete(out, n)
	}
	return out
}

// unflagged is the record without one of its flags.
func (r record) unflagged(flag string) record {
	flags, _ := r["flags"].([]any)
	r = r.without()
	r["flags"] = slices.DeleteFunc(slices.Clone(flags), func(f any) bool { return f == flag })
	return r
}

func (r record) line() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// found is a conversation with everything that hangs on it.
type found struct {
	conv      *ntpac.Conversation
	record    record // the conversation's JSON, its PDUs too
	artifacts []record
	stream    [2][]piece // by side
	versions  []artifact.Version
}

// piece is a captured run of a stream.
type piece struct {
	off  int64
	data []byte
}

// ends is what tells conversations apart that no time and no number does: the end points, sorted.
type ends struct {
	proto ntpac.Proto
	a, b  netip.AddrPort
}

func (e ends) String() string { return fmt.Sprintf("%v %v %v", e.proto, e.a, e.b) }

func (f *found) ends() ends { return ends{f.conv.Key.Proto, f.conv.Key.End[0], f.conv.Key.End[1]} }

// output is everything that a run has stored, conversations in the order of their ids.
type output struct {
	convs  []*found
	sum    *node.Summary
	frames []artifact.Frame // with setup.exported
}

// run takes a capture through the whole pipeline. Trouble is a failure of its own: no capture whatever
// may make a run fail.
func run(dir string, in input) (*output, error) {
	var st ntpac.Store = memory.New()
	if in.setup.embedded {
		at := filepath.Join(dir, "store")
		defer os.RemoveAll(at)
		s, err := embedded.Open(at, embedded.Options{SegmentSize: 1 << 20})
		if err != nil {
			return nil, err
		}
		st = s
	}
	defer st.Close()
	var names []string
	for i := range in.files {
		name := filepath.Join(dir, fmt.Sprint("capture", i))
		b := in.files[i].format.encode(in.files[i].frames)
		if c := in.files[i].cut; c > 0 {
			b = b[:min(c, int64(len(b)))]
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return nil, err
		}
		defer os.Remove(name)
		names = append(names, name)
	}
	o := node.Options{Case: "meta", Workers: max(in.setup.workers, 1), Window: in.setup.window, Checksums: in.setup.checksums,
		Reference: in.setup.reference, Snoopers: all.Snoopers(), MaxMemory: 64 << 20, Now: func() time.Time { return time.Unix(1, 0) }}
	if in.setup.piped {
		f, err := os.Open(names[0])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		names[0], o.Stdin = "-", f
	}
	ctx := context.Background()
	sum, err := node.Run(ctx, ctx, st, names, o, &node.Progress{})
	if err != nil {
		return nil, err
	}
	out, err := collect(ctx, st, sum)
	if err != nil || !in.setup.exported {
		return out, err
	}
	return out, out.export(ctx, st)
}

// export lists the frames that an export of everything has.
func (o *output) export(ctx context.Context, st ntpac.Store) error {
	rule, err := selection.Compile("", selection.Options{})
	if err != nil {
		return err
	}
	for f, err := range (&artifact.Export{Store: st, Case: "meta"}).Frames(ctx, rule) {
		if err != nil {
			return err
		}
		o.frames = append(o.frames, *f)
	}
	return nil
}

// collect reads everything out of a store.
func collect(ctx context.Context, st ntpac.Store, sum *node.Summary) (*output, error) {
	out := &output{sum: sum}
	src := node.OpenSources(ctx, sum.Sources, false)
	defer src.Close()
	names := map[ntpac.SourceID]string{}
	for i := range sum.Sources {
		names[sum.Sources[i].ID] = sum.Sources[i].Name
	}
	byID := map[ntpac.ConversationID]*found{}
	for c, err := range st.Conversations(ctx, &ntpac.Query{Case: "meta"}) {
		if err != nil {
			return nil, err
		}
		f := &found{conv: c}
		pay := node.Payload(ctx, st, src, c)
		b := artifact.AppendConversation(nil, c, names)
		b = append(b[:len(b)-1], `,"pdus":[`...)
		n := 0
		for u := range artifact.PDUs(c, pay) {
			if n++; n > 1 {
				b = append(b, ',')
			}
			b = u.AppendJSON(b)
		}
		if f.record, err = parse(append(b, "]}"...)); err != nil {
			return nil, err
		}
		if f.stream, err = streams(c, pay); err != nil {
			return nil, fmt.Errorf("%s: %w", c.ID, err)
		}
		for v, err := range artifact.Conflicts(c, pay) {
			if err != nil {
				return nil, err
			}
			f.versions = append(f.versions, v)
		}
		out.convs = append(out.convs, f)
		byID[c.ID] = f
	}
	for a, err := range st.Artifacts(ctx, &ntpac.Query{Case: "meta"}) {
		if err != nil {
			return nil, err
		}
		r, err := parse(artifact.AppendArtifact(nil, a))
		if err != nil {
			return nil, err
		}
		f := byID[a.Conversation]
		if f == nil {
			return nil, fmt.Errorf("artifact %s has no conversation", a.ID)
		}
		f.artifacts = append(f.artifacts, r)
	}
	return out, nil
}

func parse(b []byte) (r record, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%s: %w", b, err)
	}
	return r, nil
}

func streams(c *ntpac.Conversation, pay ntpac.Payload) (out [2][]piece, err error) {
	d := ntpac.NewDialog(c, pay)
	for _, dir := range []ntpac.Dir{ntpac.Up, ntpac.Down} {
		s, side := d.In(dir), c.Side(dir)
		s.Each(s.End(), func(off int64, b []byte) {
			ps := out[side]
			if n := len(ps); n > 0 && ps[n-1].off+int64(len(ps[n-1].data)) == off {
				ps[n-1].data = append(ps[n-1].data, b...)
				return
			}
			out[side] = append(ps, piece{off, bytes.Clone(b)})
		})
	}
	return out, d.Err()
}

// where keeps the conversations that ok chooses.
func (o *output) where(ok func(f *found) bool) *output {
	out := &output{sum: o.sum}
	for _, f := range o.convs {
		if ok(f) {
			out.convs = append(out.convs, f)
		}
	}
	return out
}

// view says what of a conversation and of an artifact a law compares: nil leaves the record out.
type view struct {
	conv func(f *found) record
	art  func(f *found, a record) record
}

// lines is what a view shows, as sorted lines of text.
func (o *output) lines(v view) []string {
	var out []string
	for _, f := range o.convs {
		if v.conv != nil {
			if r := v.conv(f); r != nil {
				out = append(out, "conversation "+r.line())
			}
		}
		for _, a := range f.artifacts {
			if v.art == nil {
				continue
			}
			if r := v.art(f, a); r != nil {
				out = append(out, "artifact "+r.line())
			}
		}
	}
	sort.Strings(out)
	return out
}

// equal compares two outputs through a view.
func equal(want, got *output, v view) error {
	a, b := want.lines(v), got.lines(v)
	missing, extra := minus(a, b), minus(b, a)
	if len(missing)+len(extra) == 0 {
		return nil
	}
	var msg strings.Builder
	fmt.Fprintf(&msg, "%d records are gone, %d are new", len(missing), len(extra))
	for i := range max(len(missing), len(extra)) {
		if i == 4 {
			break
		}
		var m, e string
		if i < len(missing) {
			m = missing[i]
			fmt.Fprintf(&msg, "\n    want %s", clip(m))
		}
		if i < len(extra) {
			e = extra[i]
			fmt.Fprintf(&msg, "\n    got  %s", clip(e))
		}
		if d := difference(m, e); d != "" {
			fmt.Fprintf(&msg, "\n    which differ in %s", d)
		}
	}
	return fmt.Errorf("%s", msg.String())
}

func clip(s string) string {
	if len(s) > 900 {
		return s[:900] + "..."
	}
	return s
}

// difference names the fields in which two lines differ.
func difference(a, b string) string {
	_, ja, ok1 := strings.Cut(a, " ")
	_, jb, ok2 := strings.Cut(b, " ")
	if !ok1 || !ok2 {
		return ""
	}
	ra, err1 := parse([]byte(ja))
	rb, err2 := parse([]byte(jb))
	if err1 != nil || err2 != nil {
		return ""
	}
	var out []string
	for k := range ra {
		if x, y := fmt.Sprint(ra[k]), fmt.Sprint(rb[k]); x != y {
			out = append(out, fmt.Sprintf("%s (%.120s, not %.120s)", k, y, x))
		}
	}
	sort.Strings(out)
	return strings.Join(out, "; ")
}

// minus gives the lines of a, each as often as it stands there, that b has not.
func minus(a, b []string) (out []string) {
	has := map[string]int{}
	for _, s := range b {
		has[s]++
	}
	for _, s := range a {
		if has[s]--; has[s] < 0 {
			out = append(out, s)
		}
	}
	return out
}

// mustRun is run for tests that have no law of their own.
func mustRun(t *testing.T, in input) *output {
	t.Helper()
	out, err := run(t.TempDir(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
