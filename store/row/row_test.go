package row

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"ntpac"
)

func TestPack(t *testing.T) {
	noise := make([]byte, 100_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for _, c := range []struct {
		name string
		raw  []byte
		max  int // length of the packed form
	}{
		{"nothing", nil, 6},
		{"short", []byte("abc"), 9},
		{"text", []byte(strings.Repeat("GET / HTTP/1.1\r\n", 1000)), 1000},
		{"noise", noise, len(noise) + 10},
		{"chunk", bytes.Repeat([]byte{0}, ntpac.ChunkSize), 100},
	} {
		packed := Pack([]byte("before"), c.raw)
		if string(packed[:6]) != "before" || len(packed)-6 > c.max {
			t.Errorf("%s: packed into %d bytes, want at most %d", c.name, len(packed)-6, c.max)
		}
		got, err := Unpack([]byte("x"), packed[6:])
		if err != nil || !bytes.Equal(got[1:], c.raw) || got[0] != 'x' {
			t.Errorf("%s: unpacked into %d bytes: %v", c.name, len(got)-1, err)
		}
		for cut := range min(len(packed)-6, 50) {
			if got, err := Unpack([]byte("x"), packed[6:6+cut]); err == nil || string(got) != "x" {
				t.Errorf("%s: cut at %d: %v", c.name, cut, err)
			}
		}
		for i := range min(len(packed)-6, 200) {
			packed[6+i] ^= 1
			if got, err := Unpack(nil, packed[6:]); err == nil && !bytes.Equal(got, c.raw) {
				t.Errorf("%s: a change of byte %d was not noticed", c.name, i)
			}
			packed[6+i] ^= 1
		}
	}
}

func TestPackAllocates(t *testing.T) {
	raw := bytes.Repeat([]byte("some payload "), 20_000)
	dst := make([]byte, 0, len(raw)+len(raw)/6+64)
	out := make([]byte, 0, len(raw))
	if n := testing.AllocsPerRun(20, func() {
		dst = Pack(dst[:0], raw)
		out, _ = Unpack(out[:0], dst)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func exampleConversation() *ntpac.Conversation {
	c := &ntpac.Conversation{Revision: 3, First: 1e18, Last: 1e18 + 5, App: "http", SplitBy: "new isn", HistLen: 9, VLAN: 7, Sources: []ntpac.SourceID{4}}
	c.ID[0] = 0x0d
	c.Key = ntpac.FlowKey{Proto: ntpac.TCP, End: [2]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:5"), netip.MustParseAddrPort("[2001:db8::1]:80")}}
	c.Half[1] = ntpac.Half{Packets: 3, Bytes: 10, Missing: 5, End: 15, SHA256: ntpac.Hash{1}, HeadKnown: true,
		Gaps: []ntpac.Gap{{Off: 3, Len: 5}}, Conflicts: []ntpac.Conflict{{Off: 1, Alt: []byte("x"), TS: 1e18, Ord: 4}}}
	return c
}

func exampleGeneration() *ntpac.Generation {
	a := &ntpac.Artifact{Type: "http", Time: 1e18, JSON: json.RawMessage(`{"a":1}`), Error: "no", Spans: []ntpac.Span{{Dir: ntpac.Down, Off: 1, Len: 2}},
		Blobs: []ntpac.Blob{{SHA256: ntpac.Hash{2}, Size: 3, Codings: []string{"gzip"}, Conversation: ntpac.ConversationID{9}}}}
	return &ntpac.Generation{Conversation: ntpac.ConversationID{1}, Snooper: "http", Artifacts: []*ntpac.Artifact{a, a},
		Expectations: []ntpac.Expectation{{Proto: ntpac.UDP, To: netip.MustParseAddrPort("10.0.0.1:5"), Start: 5, End: 9, App: "rtp", Context: json.RawMessage(`1`)}}}
}

func FuzzUnpack(f *testing.F) {
	f.Add(Pack(nil, []byte("short")))
	f.Add(Pack(nil, bytes.Repeat([]byte("text "), 100)))
	f.Add([]byte{packS2, 200, 1, 0, 0, 0, 0, 200, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		// A claim of much more than a chunk is only memory, and is left to production.
		if p, err := ParsePacked(b); err == nil && p.RawLen > 1<<22 {
			return
		}
		raw, err := Unpack([]byte("x"), b)
		if err != nil {
			if string(raw) != "x" {
				t.Fatalf("an error and %d bytes", len(raw))
			}
			return
		}
		if again, err := Unpack(nil, Pack(nil, raw[1:])); err != nil || !bytes.Equal(again, raw[1:]) {
			t.Fatal("not the same after packing again", err)
		}
	})
}

func FuzzConversation(f *testing.F) {
	f.Add(AppendConversation(nil, exampleConversation()))
	f.Add(AppendConversation(nil, &ntpac.Conversation{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, d ntpac.Conversation
		if DecodeConversation(b, &c) != nil {
			return
		}
		if err := DecodeConversation(AppendConversation(nil, &c), &d); err != nil || !reflect.DeepEqual(c, d) {
			t.Fatalf("%v\n%+v\n%+v", err, c, d)
		}
	})
}

func FuzzPart(f *testing.F) {
	b, err := AppendPart(nil, exampleGeneration())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		g := &ntpac.Generation{Conversation: ntpac.ConversationID{1}}
		h := &Head{Snooper: "http"}
		if DecodePart(b, "c", g.Conversation, h, func(a *ntpac.Artifact) bool { g.Artifacts = append(g.Artifacts, a); return true }) != nil {
			return
		}
		var err error
		if g.Expectations, err = DecodeExpectations(b, "c", g.Conversation); err != nil {
			t.Fatal(err)
		}
		again, err := AppendPart(nil, g)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = DecodePart(again, "c", g.Conversation, h, func(a *ntpac.Artifact) bool {
			if !reflect.DeepEqual(a, g.Artifacts[n]) {
				t.Fatalf("artifact %d: %+v, was %+v", n, a, g.Artifacts[n])
			}
			n++
			return true
		})
		if err != nil || n != len(g.Artifacts) {
			t.Fatal(n, err)
		}
	})
}

func FuzzRows(f *testing.F) {
	var s State
	for _, g := range []*ntpac.Generation{exampleGeneration(), {Part: 0, Revision: 1}, {Snooper: "x", Done: true, Revision: 2}} {
		if _, err := s.Take(g, 1); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(s.Append(nil))
	e := Chain(ntpac.Evidence{Kind: "ingest", Body: []byte("{}")}, 0, ntpac.Hash{})
	f.Add(AppendEvidence(nil, &e))
	f.Add(AppendCheckpoint(nil, &ntpac.Checkpoint{Epoch: 1, Version: 2, Positions: []ntpac.Position{{Source: 1, Ord: 2, High: 3}}, State: []byte("state")}))
	f.Add(AppendInline(nil, &ntpac.Inline{Stream: [2][]byte{[]byte("a"), []byte("b")}, History: []byte("c")}))
	g := exampleGeneration()
	f.Add(AppendBlob(nil, &g.Artifacts[0].Blobs[0], g.Conversation))
	f.Add(AppendExpectation(nil, &g.Expectations[0], g.Conversation))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := DecodeState(b); err == nil {
			if again, err := DecodeState(s.Append(nil)); err != nil || !reflect.DeepEqual(s, again) {
				t.Fatal("state", err)
			}
		}
		if e, err := DecodeEvidence(b, 1); err == nil {
			if again, err := DecodeEvidence(AppendEvidence(nil, e), 1); err != nil || !reflect.DeepEqual(e, again) {
				t.Fatal("evidence", err)
			}
		}
		if in, err := DecodeInline(b); err == nil {
			if again, err := DecodeInline(AppendInline(nil, in)); err != nil || !reflect.DeepEqual(in, again) {
				t.Fatal("inline", err)
			}
		}
		id := ntpac.ConversationID{1}
		if k, err := DecodeBlob(b, id); err == nil {
			if again, err := DecodeBlob(AppendBlob(nil, k, id), id); err != nil && k.Conversation != (ntpac.ConversationID{}) || err == nil && again.Size != k.Size {
				t.Fatal("blob", err)
			}
		}
		if e, err := DecodeExpectation(b, "c", id); err == nil {
			if again, err := DecodeExpectation(AppendExpectation(nil, &e, id), "c", id); err != nil || again.To != e.To || again.End != e.End {
				t.Fatal("expectation", err)
			}
		}
		if len(b) < 1<<16 {
			_, _ = DecodeCheckpoint(b, 1)
		}
	})
}

// TestEvidenceHash pins the hash: logs must verify for ever.
func TestEvidenceHash(t *testing.T) {
	e := Chain(ntpac.Evidence{Key: sha256.Sum256([]byte("key")), At: 1_700_000_000_000_000_000, Kind: "ingest", Body: []byte(`{"name":"x.pcap"}`)}, 6, ntpac.Hash{1, 2, 3})
	const want = "504c1abe9715c782fdb2b824b88797f27001043208a1ea7be812491249beac03"
	if e.Hash.String() != want {
		t.Errorf("hash %v, want %s", e.Hash, want)
	}
}

// TestPast: a state does not grow with the number of generations.
func TestPast(t *testing.T) {
	var s State
	for i := range 1000 {
		o, err := s.Take(&ntpac.Generation{Snooper: "x", Version: i, Done: true}, 1)
		if err != nil || !o.Shown {
			t.Fatal(o, err)
		}
	}
	if n := len(s.Append(nil)); n > 300 {
		t.Errorf("%d bytes of state", n)
	}
}
