package artifact_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ntpac"
	"ntpac/artifact"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with testdata/name, or rewrites it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, d)
	}
}

func sampleConversations() []*ntpac.Conversation {
	rich := &ntpac.Conversation{
		ID: ntpac.ConversationID{0x17, 0x97, 15: 0xfe}, Revision: 3, Case: "caf\u00e9 \"x\"\n", Client: ntpac.B,
		Key: ntpac.FlowKey{Proto: ntpac.TCP, Tunnel: ntpac.VXLAN, TunnelID: 77, End: [2]netip.AddrPort{
			netip.MustParseAddrPort("10.0.0.2:80"), netip.MustParseAddrPort("10.0.0.9:50000")}},
		First: 1_700_000_000_000_000_001, Last: 1_700_000_001_000_000_000,
		App: "http", AppBy: ntpac.ByContent, Close: ntpac.CloseFin, ClientBy: ntpac.ByPayload, SplitBy: "syn",
		Flags: ntpac.Midstream | ntpac.HeadUnknown, VLAN: 12, Sources: []ntpac.SourceID{2, 1, 0xabc},
		Half: [2]ntpac.Half{
			{Packets: 4, Duplicates: 1, Bytes: 900, Missing: 100, End: 1000, Overlap: 2, SHA256: ntpac.Hash{1, 2},
				Gaps: []ntpac.Gap{{Off: 10, Len: 60, Cause: ntpac.GapAcked}, {Off: 500, Len: 40, Cause: ntpac.GapCut}}},
			{Packets: 2, Bytes: 50, End: 50, SHA256: ntpac.Hash{9}},
		},
	}
	silent := &ntpac.Conversation{
		Case: "default", Sources: []ntpac.SourceID{1}, Flags: ntpac.OneSided,
		Key: ntpac.FlowKey{Proto: 200, End: [2]netip.AddrPort{
			netip.MustParseAddrPort("[2001:db8::1]:0"), netip.MustParseAddrPort("[2001:db8::2]:0")}},
		Half: [2]ntpac.Half{{SHA256: ntpac.Hash{5}}, {}},
	}
	return []*ntpac.Conversation{rich, silent, {}}
}

var sourceNames = map[ntpac.SourceID]string{1: "a.pcap", 2: "b\xff.pcap"}

func TestAppendConversation(t *testing.T) {
	var out []byte
	for _, c := range sampleConversations() {
		line := artifact.AppendConversation(nil, c, sourceNames)
		if !json.Valid(line) || bytes.ContainsAny(line, "\n") {
			t.Errorf("not one JSON line: %s", line)
		}
		out = append(append(out, line...), '\n')
	}
	golden(t, "conversations.golden.jsonl", out)
}

func sampleArtifacts() []*ntpac.Artifact {
	return []*ntpac.Artifact{
		{ID: ntpac.ArtifactID{1}, Type: "file", Conversation: ntpac.ConversationID{2}, Case: "default", Time: 5,
			Quality: ntpac.Gapped, Spans: []ntpac.Span{{Dir: ntpac.Down, Off: 7, Len: 9}, {Dir: ntpac.Up, Len: 1}},
			Snooper: "http", Version: 2, Error: "chunk length \x01", Fields: artifact.File{Protocol: "http", Filename: "a.txt", Size: 3}},
		{Type: "dns", JSON: json.RawMessage(" {\n \"query\": \"a b\"\n} ")},
		{Type: "empty", JSON: json.RawMessage("{ }")},
		{Type: "broken", JSON: json.RawMessage("[1]")},
		{Type: "none"},
	}
}

func TestAppendArtifact(t *testing.T) {
	var out []byte
	for _, a := range sampleArtifacts() {
		line := artifact.AppendArtifact(nil, a)
		if !json.Valid(line) || bytes.ContainsAny(line, "\n") {
			t.Errorf("not one JSON line: %s", line)
		}
		out = append(append(out, line...), '\n')
	}
	golden(t, "artifacts.golden.jsonl", out)
}

// FuzzString proves that any text survives: what is UTF-8 exactly, the rest as replacement characters.
func FuzzString(f *testing.F) {
	f.Add("plain")
	f.Add("a\"\\\x00\x1f\u2028\xffé")
	f.Fuzz(func(t *testing.T, s string) {
		line := artifact.AppendConversation(nil, &ntpac.Conversation{Case: s}, nil)
		var got struct{ Case string }
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if want := string([]rune(s)); got.Case != want {
			t.Fatalf("%q became %q", s, got.Case)
		}
	})
}

func TestPDUs(t *testing.T) {
	const b, push, fin = ntpac.EvSideB, ntpac.EvPush, ntpac.EvFin
	var out []byte
	for _, x := range []struct {
		title  string
		proto  ntpac.Proto
		gaps   []ntpac.Gap // of side A
		events []ntpac.Event
	}{
		{"tcp, question and answer", ntpac.TCP, nil, []ntpac.Event{
			{TS: 1, Len: 3, Flags: push}, {TS: 2, Len: 1000, Flags: b}, {TS: 3, Start: 1000, Len: 1000, Flags: b},
			{TS: 4, Start: 2000, Len: 500, Flags: b | push}, {TS: 5, Start: 3, Len: 3}, {TS: 6, Start: 2500, Len: 1, Flags: b}, {TS: 7, Start: 6, Len: 1}}},
		{"tcp, a hole", ntpac.TCP, []ntpac.Gap{{Off: 10, Len: 10}}, []ntpac.Event{
			{TS: 1, Len: 10}, {TS: 2, Start: 20, Len: 5}, {TS: 3, Start: 25, Len: 5}}},
		{"tcp, out of order, overlapping, and a hole that nobody explains", ntpac.TCP, nil, []ntpac.Event{
			{TS: 1, Len: 10}, {TS: 2, Start: 20, Len: 5, Flags: push}, {TS: 3, Len: 10, Flags: ntpac.EvNoData},
			{TS: 4, Start: 5, Len: 15}, {TS: 5, Start: 90, Len: 10, Flags: fin}}},
		{"udp, a fragmented datagram, a duplicate and an empty one", ntpac.UDP, nil, []ntpac.Event{
			{TS: 1, Len: 10, Flags: ntpac.EvMore}, {TS: 2, Start: 10, Len: 5}, {TS: 2, Start: 10, Len: 5, Flags: ntpac.EvDup},
			{TS: 3, Len: 5, Flags: b}, {TS: 4, Start: 15}}},
	} {
		c := conversationOf(x.proto, x.events)
		c.Half[ntpac.A].Gaps = x.gaps
		out = append(append(out, x.title...), '\n')
		for p := range artifact.PDUs(c, nil) {
			out = append(p.AppendJSON(out), '\n')
		}
	}
	golden(t, "pdus.golden", out)
}

func TestConflicts(t *testing.T) {
	c := conversationOf(ntpac.TCP, []ntpac.Event{{TS: 1, Len: 4}, {TS: 2, Start: 10, Len: 4}})
	c.Inline.Stream[ntpac.A] = []byte("abcdwxyz")
	c.Sources = []ntpac.SourceID{1, 2}
	half := &c.Half[ntpac.A]
	half.Gaps = []ntpac.Gap{{Off: 4, Len: 6}}
	half.Conflicts = []ntpac.Conflict{{Off: 11, Alt: []byte("?!"), TS: 3, Ord: 7, From: 1}, {Off: 5, Alt: []byte("late"), TS: 4, Ord: 8}}
	var out []byte
	for v, err := range artifact.Conflicts(c, nil) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(v.AppendJSON(out, sourceNames), '\n')
	}
	golden(t, "conflicts.golden", out)
}

// conversationOf makes a conversation with the given history and nothing else.
func conversationOf(p ntpac.Proto, events []ntpac.Event) *ntpac.Conversation {
	c := &ntpac.Conversation{Key: ntpac.FlowKey{Proto: p}, Inline: &ntpac.Inline{}}
	var h ntpac.HistoryState
	for i := range events {
		e := &events[i]
		e.Pos, e.Cap = 54, 54+e.Len
		if e.Wire == 0 {
			e.Wire = e.Cap
		}
		c.Inline.History = h.Append(c.Inline.History, e)
		half := &c.Half[e.Side()]
		half.End = max(half.End, e.Start+int64(e.Len))
	}
	c.HistLen = int64(len(c.Inline.History))
	return c
}

func BenchmarkAppendConversation(b *testing.B) {
	c := sampleConversations()[0]
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = artifact.AppendConversation(buf[:0], c, sourceNames)
	}
}

func TestFields(t *testing.T) {
	f := artifact.Fields()
	for name, types := range map[string]string{
		"host": "http ntlm smb socks", "sha256": "file mail", "response_body.missing": "http", "answers.data": "dns",
		"answers": "dns", "interim": "http", "exif": "file", "success": "credential",
	} {
		if got := strings.Join(f[name], " "); got != types {
			t.Errorf("%s: %q, want %q", name, got, types)
		}
	}
	for name := range f {
		if strings.HasPrefix(name, "sha256.") {
			t.Errorf("%s is no field", name)
		}
	}
}
