package artifact_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"ntpac"
	"ntpac/artifact"
)

// shelf is a store that holds what a test puts into it. What exports do not ask for is not there.
type shelf struct {
	ntpac.Store
	convs     []*ntpac.Conversation
	artifacts []*ntpac.Artifact
	chunks    map[ntpac.ChunkKey][]byte
	blobs     map[ntpac.Hash]*ntpac.Blob
}

func (s *shelf) Conversation(_ context.Context, _ string, id ntpac.ConversationID) (*ntpac.Conversation, error) {
	for _, c := range s.convs {
		if c.ID == id {
			return c, nil
		}
	}
	return nil, ntpac.ErrNotFound
}

func (s *shelf) Conversations(context.Context, *ntpac.Query) iter.Seq2[*ntpac.Conversation, error] {
	return func(yield func(*ntpac.Conversation, error) bool) {
		for _, c := range s.convs {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (s *shelf) Artifacts(context.Context, *ntpac.Query) iter.Seq2[*ntpac.Artifact, error] {
	return func(yield func(*ntpac.Artifact, error) bool) {
		for _, a := range s.artifacts {
			if !yield(a, nil) {
				return
			}
		}
	}
}

func (s *shelf) Chunk(_ context.Context, _ string, k ntpac.ChunkKey, buf []byte) ([]byte, error) {
	return append(buf, s.chunks[k]...), nil
}

func (s *shelf) Blob(_ context.Context, _ string, h ntpac.Hash) (*ntpac.Blob, error) {
	if b, ok := s.blobs[h]; ok {
		return b, nil
	}
	return nil, ntpac.ErrNotFound
}

// everything selects all; only, where set, keeps artifacts of one type.
type everything struct {
	only   string
	onConv error
}

func (e everything) Query() ntpac.Query             { return ntpac.Query{} }
func (e everything) Match(*ntpac.Conversation) bool { return true }
func (e everything) MatchArtifact(r *ntpac.Record) bool {
	return e.only == "" || r.Artifact.Type == e.only
}
func (e everything) String() string        { return "" }
func (e everything) OnConversation() error { return e.onConv }

// add puts an artifact on the shelf, and its bodies as blobs that carry their data.
func (s *shelf) add(typ string, fields map[string]any, bodies ...string) {
	for _, b := range bodies {
		h := ntpac.Hash(sha256.Sum256([]byte(b)))
		if s.blobs == nil {
			s.blobs = map[ntpac.Hash]*ntpac.Blob{}
		}
		s.blobs[h] = &ntpac.Blob{SHA256: h, Size: int64(len(b)), Data: []byte(b)}
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	s.artifacts = append(s.artifacts, &ntpac.Artifact{ID: ntpac.ArtifactID{byte(len(s.artifacts) + 1)}, Type: typ, Case: "c", JSON: raw})
}

func sumOf(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

type obj = map[string]any

func TestExportFiles(t *testing.T) {
	s := &shelf{}
	s.add("file", obj{"filename": "../../etc/passwd", "sha256": sumOf("root"), "size": 4}, "root")
	s.add("file", obj{"filename": "passwd", "sha256": sumOf("other"), "size": 5}, "other")
	s.add("file", obj{"filename": "PASSWD", "sha256": sumOf("third"), "size": 5}, "third")
	s.add("file", obj{"filename": "copy", "sha256": sumOf("root"), "size": 4})
	s.add("file", obj{"source_url": "http://x/a/b.html?q=1", "mime": "text/html", "sha256": sumOf("page")}, "page")
	s.add("file", obj{"filename": "CON.txt", "sha256": sumOf("device")}, "device")
	s.add("file", obj{"filename": "index.jsonl", "sha256": sumOf("index")}, "index")
	s.add("file", obj{"mime": "image/png", "sha256": sumOf("picture")}, "picture")
	s.add("file", obj{"filename": "lost", "sha256": sumOf("lost")})
	s.add("file", obj{"filename": "empty", "sha256": sumOf("")}, "")
	s.add("mail", obj{"subject": "a/b: offer", "sha256": sumOf("From: x"), "attachments": []obj{{"filename": "offer.pdf", "sha256": sumOf("%PDF")}}}, "From: x", "%PDF")
	s.add("http", obj{"uri": "/d/list.json", "response_body": obj{"sha256": sumOf("coded"), "decoded_sha256": sumOf("{}"), "mime": "application/json"}}, "coded", "{}")
	s.add("tls", obj{"certificates": []obj{{"sha256": sumOf("not kept")}}})
	s.add("file", obj{"filename": "wrong", "sha256": sumOf("right")}, "right")
	s.blobs[ntpac.Hash(sha256.Sum256([]byte("right")))].Data = []byte("wrung")

	dir := filepath.Join(t.TempDir(), "out")
	x := &artifact.Export{Store: s, Case: "c"}
	report, err := x.Files(t.Context(), everything{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if report.Files != 11 || report.Known != 1 || report.Failed != 2 || report.First == nil {
		t.Errorf("%+v", report)
	}
	golden(t, "files.golden", listing(t, dir))

	// A second export into the same folder finds everything there.
	again, err := x.Files(t.Context(), everything{}, dir)
	if err != nil || again.Files != 0 || again.Known != 12 {
		t.Errorf("%+v, %v", again, err)
	}
	golden(t, "files.golden", listing(t, dir))
}

// TestExportFilesKeepsWhatIsThere exports into a folder that has other files under the same names.
func TestExportFilesKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	os.WriteFile(victim, []byte("safe"), 0o644)
	os.WriteFile(filepath.Join(dir, "a"), []byte("mine"), 0o644)
	if err := os.Symlink(victim, filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	s := &shelf{}
	s.add("file", obj{"filename": "a", "sha256": sumOf("evil")}, "evil")
	s.add("file", obj{"filename": "b", "sha256": sumOf("live")}, "live")
	report, err := (&artifact.Export{Store: s}).Files(t.Context(), everything{}, dir)
	if err != nil || report.Files != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	if b, _ := os.ReadFile(victim); string(b) != "safe" {
		t.Errorf("the file behind the link is now %q", b)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "a")); string(b) != "mine" {
		t.Errorf("the file that was there is now %q", b)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, sumOf("evil")+"-a")); string(b) != "evil" {
		t.Errorf("the body is %q", b)
	}
}

func listing(t *testing.T, dir string) []byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() == artifact.IndexName {
			b = append([]byte{'\n'}, b...)
		}
		fmt.Fprintf(&out, "%s: %s\n", e.Name(), b)
	}
	return out.Bytes()
}

// FuzzSafeName proves that no name leads out of the folder or into a device.
func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"../x", `..\..\x`, "con", "a\u202egpj.exe", ".htaccess", "x. . ", "-rf", "\xff\x00", strings.Repeat("é", 200) + ".tar"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := artifact.SafeName(s)
		if n == "" {
			return
		}
		if strings.ContainsAny(n, "/\\:\x00\n") || n[0] == '.' || len(n) > 200 || !utf8.ValidString(n) || filepath.Base(n) != n || !filepath.IsLocal(n) {
			t.Errorf("%q became %q", s, n)
		}
		if again := artifact.SafeName(n); again != n {
			t.Errorf("%q became %q, and that %q", s, n, again)
		}
	})
}

func TestExportRecords(t *testing.T) {
	s := &shelf{}
	s.add("http", obj{"method": "GET", "status": 200, "host": "=cmd|' /C calc'!A0", "response_body": obj{"size": 5, "mime": "text/plain"}})
	s.add("dns", obj{"query": "x.example", "flags": []string{"-rd", "ra"}, "answers": []obj{{"name": "x", "ttl": 5}}, "response": true, "none": nil})
	s.add("call", obj{"from": "+420 123", "text": "two\nlines, and \"quotes\"", "jitter": -1.5})
	x := &artifact.Export{Store: s}
	var table, lines bytes.Buffer
	if n, err := x.CSV(t.Context(), everything{}, &table); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	golden(t, "artifacts.golden.csv", table.Bytes())
	if n, err := x.JSON(t.Context(), everything{only: "dns"}, &lines); n != 1 || err != nil || !json.Valid(lines.Bytes()) {
		t.Fatal(n, err)
	}
	table.Reset()
	s.convs = sampleConversations()
	if n, err := x.ConversationsCSV(t.Context(), everything{}, sourceNames, &table); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	golden(t, "conversations.golden.csv", table.Bytes())
}

// frameLog is both ends of an export of packets.
type frameLog struct {
	written []string
	last    ntpac.Time
	back    int // how often time ran back
	fail    error
}

func (l *frameLog) ReadFrame(src ntpac.SourceID, off int64, n int) ([]byte, ntpac.LinkType, error) {
	return []byte(fmt.Sprintf("%d@%d+%d", src, off, n)), 1, l.fail
}

func (l *frameLog) Packet(ts ntpac.Time, link ntpac.LinkType, wire uint32, frame []byte) error {
	if ts < l.last {
		l.back++
	}
	l.last = ts
	l.written = append(l.written, fmt.Sprintf("%d %s/%d", ts, frame, wire))
	return nil
}

func TestExportPcap(t *testing.T) {
	one := conversationOf(ntpac.TCP, []ntpac.Event{
		{TS: 10, Off: 100, Len: 5}, {TS: 30, Off: 300, Len: 6, Wire: 1500}, {TS: 20, Off: 200, Ord: 1, Flags: ntpac.EvDup}, {TS: 60, Off: 900, Source: 1}})
	one.First, one.Sources = 10, []ntpac.SourceID{7, 8}
	two := conversationOf(ntpac.UDP, []ntpac.Event{{TS: 25, Off: 250, Len: 1}, {TS: 60, Off: 600, Ord: 9}})
	two.ID, two.First, two.Sources = ntpac.ConversationID{1}, 25, []ntpac.SourceID{7}
	s := &shelf{convs: []*ntpac.Conversation{one, two}, artifacts: []*ntpac.Artifact{{Conversation: two.ID}, {Conversation: two.ID, Type: "x"}}}
	x := &artifact.Export{Store: s}
	log := &frameLog{}
	if n, err := x.Pcap(t.Context(), everything{}, log, log); n != 6 || err != nil {
		t.Fatal(n, err)
	}
	want := []string{"10 7@100+59/59", "20 7@200+54/54", "25 7@250+55/55", "30 7@300+60/1500", "60 7@600+54/54", "60 8@900+54/54"}
	if !slices.Equal(log.written, want) {
		t.Errorf("got %q", log.written)
	}
	log = &frameLog{}
	if n, err := x.Pcap(t.Context(), everything{onConv: errors.New("artifacts only")}, log, log); n != 2 || err != nil {
		t.Fatal("packets behind artifacts:", n, err)
	}
	log.fail = fmt.Errorf("a.pcap has changed: %w", ntpac.ErrNoPayload)
	if _, err := x.Pcap(t.Context(), everything{}, log, log); !errors.Is(err, ntpac.ErrNoPayload) {
		t.Error(err)
	}
	two.Inline.History, two.HistLen = []byte{1}, 1
	if _, err := x.Pcap(t.Context(), everything{}, &frameLog{}, log); err == nil {
		t.Error("a damaged history went through")
	}
}

// TestExportPcapChunks reads histories of several chunks, out of order within the reorder window.
func TestExportPcapChunks(t *testing.T) {
	s := &shelf{chunks: map[ntpac.ChunkKey][]byte{}}
	const packets = 60_000
	for i := range 2 {
		c := &ntpac.Conversation{ID: ntpac.ConversationID{byte(i + 1)}, First: ntpac.Time(i), Sources: []ntpac.SourceID{1}}
		var h ntpac.HistoryState
		var b []byte
		for k := range packets {
			ts := ntpac.Time(k)*1e6 + ntpac.Time(i)
			if k%2 == 1 {
				ts -= 800e6 * ntpac.Time(k) / packets
			}
			b = h.Append(b, &ntpac.Event{TS: ts, Ord: uint64(k*2 + i), Off: int64(k) * 2000, Cap: 54, Pos: 54, Wire: 54})
		}
		c.HistLen = int64(len(b))
		for n, part := range slices.Collect(slices.Chunk(b, ntpac.ChunkSize)) {
			s.chunks[ntpac.ChunkKey{ID: c.ID, Stream: ntpac.StreamHistory, N: int64(n)}] = part
		}
		s.convs = append(s.convs, c)
	}
	log := &frameLog{}
	n, err := (&artifact.Export{Store: s}).Pcap(t.Context(), everything{}, log, log)
	if n != 2*packets || err != nil || log.back != 0 {
		t.Fatalf("%d packets, %v, time ran back %d times", n, err, log.back)
	}
	for k := range s.chunks {
		if k.N == 1 {
			delete(s.chunks, k)
		}
	}
	if _, err := (&artifact.Export{Store: s}).Pcap(t.Context(), everything{}, log, log); !errors.Is(err, ntpac.ErrNoPayload) {
		t.Error("history cut short:", err)
	}
}
