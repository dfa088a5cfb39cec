package snooptest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ntpac"
)

// found is an artifact, or an expectation, in the form in which the kit compares and keeps it.
type found struct {
	Type    string             `json:"type,omitempty"`
	Time    string             `json:"time,omitempty"`
	Quality ntpac.Quality      `json:"quality"`
	Spans   []ntpac.Span       `json:"spans,omitempty"`
	Error   string             `json:"error,omitempty"`
	Fields  json.RawMessage    `json:"fields,omitempty"`
	Blobs   []string           `json:"blobs,omitempty"`
	Expect  *ntpac.Expectation `json:"expect,omitempty"`
}

// line is the JSON of what was found, the form of golden files.
func (f *found) line() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(f); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// words is the line without what a shift of the stream changes.
func (f *found) words() string {
	g := *f
	g.Spans, g.Time, g.Blobs = nil, "", nil
	return g.line()
}

// common names may not be the names of fields: contract.md.
var common = []string{"id", "type", "conversation", "case", "time", "quality", "spans", "snooper", "snooper_version", "error"}

// read runs a snooper over a dialog, holds every artifact against what always has to be true of it, and
// downgrades as the runner does.
func read(t testing.TB, s ntpac.Snooper, d *ntpac.Dialog, expect json.RawMessage) []*found {
	t.Helper()
	var c Collector
	var err error
	if x, ok := s.(ntpac.ExpectedSnooper); ok && expect != nil {
		e := &ntpac.Expectation{Case: d.Conv.Case, Proto: d.Conv.Key.Proto, To: d.Conv.ServerEnd(), App: s.Info().Name, Context: expect}
		err = x.SnoopExpected(context.Background(), d, e, &c)
	} else {
		err = s.Snoop(context.Background(), d, &c)
	}
	if d.Err() != nil {
		t.Fatalf("payload: %v (snooper: %v)", d.Err(), err)
	}
	var out []*found
	for _, a := range c.Artifacts {
		f, err := newFound(s, d, a)
		if err != nil {
			t.Fatalf("artifact %s %v: %v", a.Type, a.Spans, err)
		}
		out = append(out, f)
	}
	for i := range c.Expectations {
		out = append(out, &found{Expect: &c.Expectations[i]})
	}
	return out
}

func newFound(s ntpac.Snooper, d *ntpac.Dialog, a *ntpac.Artifact) (*found, error) {
	f := &found{Type: a.Type, Time: a.Time.String(), Quality: a.Quality, Spans: a.Spans, Error: a.Error}
	if !slices.Contains(s.Info().Types, a.Type) {
		return nil, fmt.Errorf("type %q is not in Info", a.Type)
	}
	if len(a.Spans) == 0 {
		return nil, fmt.Errorf("no spans")
	}
	for _, p := range a.Spans {
		if p.Off < 0 || p.Len < 0 || p.Off+p.Len > d.In(p.Dir).End() {
			return nil, fmt.Errorf("span %v is outside of the stream, which ends at %d", p, d.In(p.Dir).End())
		}
	}
	if f.Quality == ntpac.Complete {
		f.Quality = d.Quality(a.Spans...)
	}
	if a.Time < d.Conv.First || a.Time > d.Conv.Last {
		return nil, fmt.Errorf("time %v is outside of the conversation", a.Time)
	}
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(a.Fields); err != nil {
		return nil, err
	}
	f.Fields = bytes.TrimSuffix(w.Bytes(), []byte{'\n'})
	for _, b := range a.Blobs {
		f.Blobs = append(f.Blobs, fmt.Sprintf("%v %d %v %v +%d", b.SHA256, b.Size, b.Spans, b.Codings, len(b.Data)))
	}
	return f, nil
}

// wellNamed checks that the fields are an object, none of which has a common name.
func (f *found) wellNamed() error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(f.Fields, &fields); err != nil {
		return fmt.Errorf("fields are not an object: %w", err)
	}
	for _, n := range common {
		if _, ok := fields[n]; ok {
			return fmt.Errorf("field %q has a common name", n)
		}
	}
	return nil
}

// within reports whether an artifact says nothing that another one does not say too: same type, and
// each of its fields has the same value there.
func (f *found) within(o *found) bool {
	if f.Type != o.Type {
		return false
	}
	var a, b map[string]any
	if json.Unmarshal(f.Fields, &a) != nil || json.Unmarshal(o.Fields, &b) != nil {
		return false
	}
	return subset(a, b)
}

func subset(a, b map[string]any) bool {
	for k, v := range a {
		w, ok := b[k]
		if !ok {
			return false
		}
		if x, isObj := v.(map[string]any); isObj {
			if y, isObj := w.(map[string]any); !isObj || !subset(x, y) {
				return false
			}
		} else if !reflect.DeepEqual(v, w) {
			return false
		}
	}
	return true
}

// set counts what was found by its line.
func set(fs []*found) map[string]int {
	m := map[string]int{}
	for _, f := range fs {
		m[f.line()]++
	}
	return m
}

func describe(fs []*found) string {
	m := set(fs)
	var w strings.Builder
	for _, l := range slices.Sorted(maps.Keys(m)) {
		if len(l) > 2000 {
			l = l[:2000] + "..."
		}
		fmt.Fprintf(&w, "\n  %s", l)
	}
	return w.String()
}

// bounds runs a snooper over a talk and says what it took.
func bounds(t testing.TB, s ntpac.Snooper, sc *Script) (fs []*found, took time.Duration, allocated uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	fs = read(t, s, sc.Dialog(nil), sc.Expect)
	took = time.Since(began)
	runtime.ReadMemStats(&after)
	return fs, took, after.TotalAlloc - before.TotalAlloc
}
