package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"ntpac"
	"ntpac/store/row"
)

// generations: parts are invisible until the last one, and replace what was there as a whole.
func generations(b *bench) {
	c := sample(1)
	part := func(n int, done bool, revision uint32, text string) *ntpac.Generation {
		g := generation(1, "http", revision, found(text, text))
		g.Part, g.Done = n, done
		return g
	}
	write := func(g *ntpac.Generation, want string) {
		b.t.Helper()
		b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{g}})
		same(b.t, "types", b.types(c.ID), want)
		b.reopen()
		same(b.t, "types after opening again", b.types(c.ID), want)
	}
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{c}})
	write(part(0, false, 1, "a0"), "")
	write(part(1, false, 1, "a1"), "")
	write(part(2, true, 1, "a2"), "a0 a1 a2 ")
	write(part(0, false, 2, "b0"), "a0 a1 a2 ")
	write(part(1, true, 2, "b1"), "b0 b1 ")
	write(part(0, true, 1, "late"), "b0 b1 ")
	write(part(0, false, 2, "b0"), "b0 b1 ")
	write(part(0, true, 3, "c0"), "c0 ")
	write(part(0, true, 3, "c0 again"), "c0 again ")
	write(generation(1, "http", 4), "")
	if gs, err := b.s.Generations(ctx, caseName, c.ID); err != nil || len(gs) != 1 || gs[0].Revision != 4 {
		b.t.Fatalf("generations: %v, %v", gs, err)
	}
}

// parts come in order; what comes too early is refused.
func parts(b *bench) {
	g := generation(1, "http", 0, found("x", "x"))
	g.Part = 1
	if b.s.Commit(ctx, &ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{g}}) == nil {
		b.t.Fatal("part 1 was taken without part 0")
	}
	var all []*ntpac.Generation
	want := ""
	for i := range 5 {
		g := generation(1, "http", 0)
		for j := range 300 {
			a := found(fmt.Sprintf("%d.%d", i, j), strings.Repeat("text ", j%50))
			g.Artifacts = append(g.Artifacts, a)
			want += a.Type + " "
		}
		g.Part, g.Done = i, i == 4
		all = append(all, g)
	}
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{sample(1)}, Generations: all})
	same(b.t, "artifacts of all parts", b.types(idOf(1)), want)
}

// reidentified: what a conversation was taken for before leaves nothing behind.
func reidentified(b *bench) {
	app := func(a string) int { return len(b.ids(ntpac.Query{Case: caseName, Apps: []string{a}})) }
	first, second := generation(1, "http", 0, found("http", "wrong")), generation(1, "ftp-data", 0, found("file", "right"))
	first.Client, first.ClientBy = ntpac.B, ntpac.ByPayload
	second.AppBy, second.Client, second.ClientBy = ntpac.ByExpectation, ntpac.A, ntpac.ByFirst
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{sample(1)}, Generations: []*ntpac.Generation{first}})
	same(b.t, "http", app("http"), 1)
	c := b.conversation(idOf(1))
	same(b.t, "client", []any{c.Client, c.ClientBy, c.App, c.AppBy}, []any{ntpac.B, ntpac.ByPayload, "http", ntpac.ByContent})
	b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{second}})
	b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{first}})
	for range 2 {
		same(b.t, "conversations by app", []int{app("http"), app("ftp-data")}, []int{0, 1})
		same(b.t, "types", b.types(idOf(1)), "file ")
		c = b.conversation(idOf(1))
		same(b.t, "client", []any{c.Client, c.ClientBy, c.App, c.AppBy}, []any{ntpac.A, ntpac.ByFirst, "ftp-data", ntpac.ByExpectation})
		b.reopen()
	}
	// A reading that did not know of the announcement may come late, and nobody has seen it before.
	late := generation(1, "", 0)
	b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{late}})
	same(b.t, "app after a late reading", b.conversation(idOf(1)).App, "ftp-data")
	// A row that is written again keeps what its generation found out.
	v := sample(1)
	v.Revision = 1
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{v}})
	same(b.t, "app", b.conversation(idOf(1)).App, "ftp-data")
}

func blobs(b *bench) {
	with := func(n int, revision uint32, bs ...*ntpac.Blob) *ntpac.Generation {
		a := found("file", "f")
		for _, k := range bs {
			a.Blobs = append(a.Blobs, *k)
		}
		return generation(n, "http", revision, a)
	}
	get := func(s string) ntpac.ConversationID {
		b.t.Helper()
		k, err := b.s.Blob(ctx, caseName, body(s).SHA256)
		if err != nil {
			b.t.Fatal(err)
		}
		want := body(s)
		want.Conversation = k.Conversation
		k.Data = nil
		same(b.t, "recipe", k, want)
		return k.Conversation
	}
	for n := range 3 {
		b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{sample(n)}, Generations: []*ntpac.Generation{with(n, 0, body("x"))}})
	}
	same(b.t, "first conversation", get("x"), idOf(0))
	b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{with(0, 1, body("y"))}})
	same(b.t, "first that still names it", get("x"), idOf(1))
	for n := range 3 {
		b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{with(n, 2)}})
	}
	b.reopen()
	same(b.t, "nobody names it any more", get("x"), idOf(0))
	data := body("made")
	data.Data, data.Spans, data.Codings = []byte(strings.Repeat("made", 1000)), nil, nil
	b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{with(1, 3, data), with(2, 3, data)}})
	b.reopen()
	k, err := b.s.Blob(ctx, caseName, data.SHA256)
	if err != nil || string(k.Data) != string(data.Data) {
		b.t.Fatalf("data of a blob: %d bytes, %v", len(k.Data), err)
	}
	_, err = b.s.Blob(ctx, caseName, body("nothing").SHA256)
	notFound(b.t, "blob", err)
}

// expectations are found whichever of the two is written first, and go with their generation.
func expectations(b *bench) {
	data := sample(8)
	e := ntpac.Expectation{Case: caseName, Proto: data.Key.Proto, From: data.Key.End[0], To: data.Key.End[1], Start: at(1), End: at(9),
		App: "ftp-data", Context: json.RawMessage(`{"path":"/etc"}`)}
	want := e
	want.Origin = idOf(1)
	control := generation(1, "ftp", 0, found("ftp", "PORT"))
	none := netip.AddrPort{}
	for i, v := range []ntpac.Expectation{e, {To: e.To}, {To: e.To, From: netip.AddrPortFrom(e.From.Addr(), 0)},
		{To: netip.AddrPortFrom(e.To.Addr(), 0), From: e.From}, {To: none, From: e.From}, {To: netip.AddrPortFrom(netip.Addr{}, e.To.Port())},
		{}, {To: e.From, From: e.To}} {
		v.Case, v.Proto, v.Start, v.End, v.App, v.Context = e.Case, e.Proto, e.Start, e.End, e.App, sprint("%d", i)
		control.Expectations = append(control.Expectations, v)
	}
	miss := e
	miss.End = at(7)
	control.Expectations = append(control.Expectations, miss)
	expected := func() (n []string) {
		b.t.Helper()
		es, err := b.s.Expected(ctx, data)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range es {
			n = append(n, string(e.Context))
			same(b.t, "origin", e.Origin, idOf(1))
		}
		return n
	}
	announced := func(want int) {
		b.t.Helper()
		for i := range control.Expectations[:8] {
			e := control.Expectations[i]
			e.Origin = idOf(1)
			cs, err := b.s.Announced(ctx, &e)
			if err != nil {
				b.t.Fatal(err)
			}
			n := 0
			for _, c := range cs {
				if c.ID == data.ID {
					n++
				}
			}
			same(b.t, fmt.Sprintf("conversations that expectation %d announced", i), n, want)
		}
	}
	same(b.t, "expected", len(expected()), 0)
	open := *control
	open.Done = false
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{sample(1)}, Generations: []*ntpac.Generation{&open}})
	same(b.t, "expected before it is done", len(expected()), 0)
	b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{control}})
	announced(0)
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{data, sample(9)}})
	for range 2 {
		same(b.t, "expected", expected(), []string{"0", "1", "2", "3", "4", "5", "6", "7"})
		announced(1)
		b.reopen()
	}
	fewer := *control
	fewer.Expectations = control.Expectations[3:5]
	b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{&fewer}})
	same(b.t, "expected after replacing", expected(), []string{"3", "4"})
	b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{generation(1, "ftp", 1)}})
	same(b.t, "expected after the next generation", len(expected()), 0)
}

func sources(b *bench) {
	i := ntpac.SourceInfo{ID: 1<<64 - 2, Name: "x.pcap", Path: "/x.pcap", Format: "pcap", Size: 100, SHA256: body("x").SHA256, Seekable: true,
		Packets: 7, First: base, Last: base + 1, Done: true, Skipped: 3, Damage: []ntpac.Damage{{Off: 1, Len: 2, Reason: "cut"}},
		Restarts: []ntpac.RestartPos{{Ord: 1, Raw: 2, Off: 3, High: base}}}
	early := ntpac.SourceInfo{ID: i.ID, Name: "x.pcap", Packets: 100}
	other := ntpac.SourceInfo{ID: 2, Name: "y.pcap"}
	b.commit(&ntpac.Commit{Case: caseName, Sources: []ntpac.SourceInfo{early, i, other}})
	b.commit(&ntpac.Commit{Case: caseName, Sources: []ntpac.SourceInfo{early}})
	for range 2 {
		got, err := b.s.Sources(ctx, caseName)
		if err != nil {
			b.t.Fatal(err)
		}
		same(b.t, "sources", got, []ntpac.SourceInfo{other, i})
		b.reopen()
	}
}

func evidence(b *bench) {
	entry := func(i int) ntpac.Evidence {
		return ntpac.Evidence{Key: body(fmt.Sprint(i)).SHA256, At: at(i), Kind: "ingest", Body: sprint(`{"n":%d}`, i)}
	}
	b.commit(&ntpac.Commit{Case: caseName, Evidence: []ntpac.Evidence{entry(0), entry(1), entry(0)}})
	b.reopen()
	b.commit(&ntpac.Commit{Case: caseName, Evidence: []ntpac.Evidence{entry(1), entry(2)}})
	b.commit(&ntpac.Commit{Case: caseName, Evidence: []ntpac.Evidence{entry(0), entry(1), entry(2)}})
	// Entries without a key are told apart by what they say.
	b.commit(&ntpac.Commit{Case: caseName, Evidence: []ntpac.Evidence{{At: 1, Kind: "export"}, {At: 2, Kind: "export"}, {At: 1, Kind: "export"}}})
	b.commit(&ntpac.Commit{Case: "another", Evidence: []ntpac.Evidence{entry(0)}})
	log := collect(b.t, b.s.Log(ctx, caseName))
	var kinds []string
	for i, e := range log {
		same(b.t, "number", e.Seq, uint64(i+1))
		kinds = append(kinds, e.Kind+string(e.Body))
	}
	same(b.t, "log", kinds, []string{`ingest{"n":0}`, `ingest{"n":1}`, `ingest{"n":2}`, "export", "export"})
	if n, err := row.VerifyChain(b.s.Log(ctx, caseName)); n != 5 || err != nil {
		b.t.Fatalf("chain of %d entries: %v", n, err)
	}
	for i := range log {
		changed := *log[i]
		changed.At++
		if _, err := row.VerifyChain(func(yield func(*ntpac.Evidence, error) bool) {
			for j, e := range log {
				if j == i {
					e = &changed
				}
				if !yield(e, nil) {
					return
				}
			}
		}); err == nil {
			b.t.Fatalf("a change of entry %d was not noticed", i+1)
		}
	}
}

func drop(b *bench) {
	fill := func(cs string) {
		v := sample(1)
		v.Case, v.Inline = cs, &ntpac.Inline{History: sprint("%s %0300d", cs, 1)}
		b.commit(&ntpac.Commit{Case: cs, Conversations: []*ntpac.Conversation{v}, Chunks: []ntpac.Chunk{pack(v.ID, 0, 0, "payload of "+cs)},
			Generations: []*ntpac.Generation{generation(1, "http", 0, found("http", cs))}, Evidence: []ntpac.Evidence{{Kind: cs}},
			Sources: []ntpac.SourceInfo{{ID: 1, Name: cs}}, Checkpoints: []ntpac.Checkpoint{{Epoch: 9, Version: 1}}})
	}
	fill("one")
	fill("two")
	if err := b.s.Drop(ctx, "one"); err != nil {
		b.t.Fatal(err)
	}
	notFound(b.t, "dropping twice", b.s.Drop(ctx, "one"))
	for range 2 {
		cases, err := b.s.Cases(ctx)
		if err != nil {
			b.t.Fatal(err)
		}
		same(b.t, "cases", cases, []string{"two"})
		_, err = b.s.Conversation(ctx, "one", idOf(1))
		notFound(b.t, "conversation of a dropped case", err)
		c, err := b.s.Conversation(ctx, "two", idOf(1))
		if err != nil || !strings.HasPrefix(string(c.Inline.History), "two ") {
			b.t.Fatalf("conversation of the other case: %v, %v", c, err)
		}
		for cs, want := range map[string]string{"one": "", "two": "payload of two"} {
			got, err := b.s.Chunk(ctx, cs, ntpac.ChunkKey{ID: idOf(1)}, nil)
			if err != nil || string(got) != want {
				b.t.Fatalf("chunk of case %s: %q, %v", cs, got, err)
			}
		}
		b.reopen()
	}
	// A new case of the same name has nothing of the old one, not even its fence.
	b.commit(&ntpac.Commit{Case: "one", Checkpoints: []ntpac.Checkpoint{{Epoch: 1, Version: 1}}, Evidence: []ntpac.Evidence{{Kind: "again"}}})
	b.reopen()
	log := collect(b.t, b.s.Log(ctx, "one"))
	if len(log) != 1 || log[0].Seq != 1 || len(b.ids(ntpac.Query{Case: "one"})) != 0 {
		b.t.Fatalf("the new case begins with %d entries", len(log))
	}
}

// allOrNothing: a commit that is refused leaves nothing, not even its case.
func allOrNothing(b *bench) {
	bad := generation(1, "http", 0)
	bad.Part = 3
	for _, cs := range []string{caseName, ""} {
		err := b.s.Commit(ctx, &ntpac.Commit{Case: cs, Conversations: []*ntpac.Conversation{sample(1)}, Chunks: []ntpac.Chunk{pack(idOf(1), 0, 0, "x")},
			Evidence: []ntpac.Evidence{{Kind: "x"}}, Generations: []*ntpac.Generation{bad}})
		if err == nil {
			b.t.Fatal("a bad commit was taken")
		}
		cases, err := b.s.Cases(ctx)
		if err != nil || len(cases) != 0 {
			b.t.Fatalf("cases after a refused commit: %v, %v", cases, err)
		}
	}
	if err := b.s.Commit(ctx, &ntpac.Commit{Conversations: []*ntpac.Conversation{sample(1)}}); !errors.Is(err, ntpac.ErrUsage) {
		b.t.Fatalf("a commit without a case: %v", err)
	}
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{sample(2)}, Chunks: []ntpac.Chunk{pack(idOf(2), 0, 0, "y")}})
	b.reopen()
	same(b.t, "conversations", b.ids(ntpac.Query{Case: caseName}), []ntpac.ConversationID{idOf(2)})
	same(b.t, "chunk", b.chunk(ntpac.ChunkKey{ID: idOf(2)}), "y")
}

// empty: a case that nobody has written to is empty, not an error.
func empty(b *bench) {
	for range 2 {
		_, err := b.s.Conversation(ctx, caseName, idOf(1))
		notFound(b.t, "conversation", err)
		_, err = b.s.Blob(ctx, caseName, ntpac.Hash{1})
		notFound(b.t, "blob", err)
		all := b.everything()
		for i, v := range all {
			same(b.t, "nothing", v, []any{[]*ntpac.Conversation{}, []*ntpac.Artifact{}, []ntpac.SourceInfo{}, []ntpac.Checkpoint{}, []string{}, []*ntpac.Evidence{}}[i])
		}
		es, err := b.s.Expected(ctx, sample(1))
		if err != nil || len(es) > 0 {
			b.t.Fatal(es, err)
		}
		cs, err := b.s.Announced(ctx, &ntpac.Expectation{Case: caseName})
		if err != nil || len(cs) > 0 {
			b.t.Fatal(cs, err)
		}
		b.reopen()
	}
}

// concurrent: readers see whole commits, in order, while others write.
func concurrent(b *bench) {
	const commits, rows = 40, 8
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for w := range 2 {
		cs := []string{"left", "right"}[w]
		writers.Go(func() {
			for i := range commits {
				c := ntpac.Commit{Case: cs, Stamp: 1}
				for j := range rows {
					v := sample(i*rows + j)
					v.Case, v.Inline = cs, &ntpac.Inline{History: sprint("%0*d", 10+j*100, i)}
					c.Conversations = append(c.Conversations, v)
					c.Generations = append(c.Generations, generation(i*rows+j, "http", 0, found("http", "a"), found("file", "b")))
					c.Chunks = append(c.Chunks, pack(v.ID, 0, 0, "payload"))
				}
				if err := b.s.Commit(ctx, &c); err != nil {
					b.t.Error(err)
					return
				}
			}
		})
		readers.Go(func() {
			for more := true; more; {
				select {
				case <-done:
					more = false
				default:
				}
				b.readWhole(cs, rows)
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	for _, cs := range []string{"left", "right"} {
		same(b.t, "rows in the end", len(b.ids(ntpac.Query{Case: cs})), commits*rows)
	}
}

func (b *bench) readWhole(cs string, rows int) {
	n := 0
	for c, err := range b.s.Conversations(ctx, &ntpac.Query{Case: cs}) {
		if err != nil {
			b.t.Error(err)
			return
		}
		if c.ID != idOf(n) || c.App != "http" || c.Inline == nil {
			b.t.Errorf("row %d is %v, app %q", n, c.ID, c.App)
			return
		}
		if n++; n%50 == 0 {
			if k, err := b.s.Chunk(ctx, cs, ntpac.ChunkKey{ID: c.ID}, nil); err != nil || string(k) != "payload" {
				b.t.Errorf("chunk %q: %v", k, err)
			}
		}
	}
	if n%rows != 0 {
		b.t.Errorf("half a commit: %d rows", n)
	}
	k := 0
	for _, err := range b.s.Artifacts(ctx, &ntpac.Query{Case: cs}) {
		if err != nil {
			b.t.Error(err)
			return
		}
		k++
	}
	if k < 2*n || k%(2*rows) != 0 {
		b.t.Errorf("%d artifacts of %d conversations or more", k, n)
	}
}

// closed: a closed store says so.
func closed(b *bench) {
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{sample(1)}})
	if err := b.s.Close(); err != nil {
		b.t.Fatal(err)
	}
	_, err1 := b.s.Conversation(ctx, caseName, idOf(1))
	_, err2 := b.s.Cases(ctx)
	var err3 error
	for _, err := range b.s.Conversations(ctx, &ntpac.Query{Case: caseName}) {
		err3 = err
	}
	for i, err := range []error{err1, err2, err3, b.s.Commit(ctx, &ntpac.Commit{Case: caseName}), b.s.Drop(ctx, caseName)} {
		if err == nil || errors.Is(err, ntpac.ErrNotFound) {
			b.t.Errorf("use %d of a closed store: %v", i, err)
		}
	}
	if err := b.s.Close(); err != nil {
		b.t.Errorf("closing twice: %v", err)
	}
}

var _ fataler = (*testing.T)(nil)
