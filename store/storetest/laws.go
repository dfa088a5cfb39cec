package storetest

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"ntpac"
)

func roundTrip(b *bench) {
	c := full(1)
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{c, sample(2)}})
	for range 2 {
		same(b.t, "all fields", b.conversation(c.ID), full(1))
		same(b.t, "few fields", b.conversation(idOf(2)), sample(2))
		b.reopen()
	}
	a := found("http", "x")
	a.Error, a.Blobs = "given up", []ntpac.Blob{*body("y")}
	g := generation(1, "http", 7, a)
	g.Keys, g.Error, g.Client, g.ClientBy = "keys", "stopped", ntpac.A, ntpac.ByPayload
	b.commit(&ntpac.Commit{Case: caseName, Generations: []*ntpac.Generation{g}})
	want := *a
	want.Conversation, want.Case, want.Snooper, want.Version = c.ID, caseName, "http", 1
	want.Blobs = []ntpac.Blob{*body("y")}
	want.Blobs[0].Conversation = c.ID
	for range 2 {
		same(b.t, "artifact", b.artifacts(ntpac.Query{Case: caseName}), []*ntpac.Artifact{&want})
		gs, err := b.s.Generations(ctx, caseName, c.ID)
		plain := *g
		plain.Artifacts = nil
		if err != nil {
			b.t.Fatal(err)
		}
		same(b.t, "generation", gs, []*ntpac.Generation{&plain})
		b.reopen()
	}
}

func inline(b *bench) {
	var want []*ntpac.Conversation
	for i, n := range []int{0, 1, 100, 3000, ntpac.InlineSize} {
		c := sample(i)
		c.Inline = &ntpac.Inline{History: bytes.Repeat([]byte{7}, n/10)}
		c.Inline.Stream[0] = bytes.Repeat([]byte("request "), n/8)
		c.Inline.Stream[1] = []byte(strings.Repeat("r", n))
		want = append(want, c)
	}
	in := ntpac.Commit{Case: caseName, Conversations: want}
	b.commit(&in)
	b.commit(&in)
	for range 2 {
		same(b.t, "listed", collect(b.t, b.s.Conversations(ctx, &ntpac.Query{Case: caseName})), want)
		same(b.t, "alone", b.conversation(idOf(3)), want[3])
		b.reopen()
	}
	// A conversation that grows moves from its row to chunks.
	c := sample(4)
	c.Revision = 1
	b.commit(&ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{c}, Chunks: []ntpac.Chunk{pack(c.ID, 0, 0, "now a chunk")}})
	if b.conversation(c.ID).Inline != nil || b.chunk(ntpac.ChunkKey{ID: c.ID}) != "now a chunk" {
		b.t.Fatal("the payload is still in the row")
	}
}

func chunks(b *bench) {
	id := idOf(1)
	big := strings.Repeat("0123456789abcdef", ntpac.ChunkSize/16)
	in := ntpac.Commit{Case: caseName, Stamp: stamp(1, 1), Chunks: []ntpac.Chunk{pack(id, 0, 0, big), pack(id, 0, 1, "partial"),
		pack(id, ntpac.StreamHistory, 0, ""), pack(id, 1, 1<<40, "far")}}
	b.commit(&in)
	longer := ntpac.Commit{Case: caseName, Stamp: stamp(1, 2), Chunks: []ntpac.Chunk{pack(id, 0, 1, "partial, rewritten whole")}}
	b.commit(&longer)
	b.commit(&in) // a replay of what is older
	for range 2 {
		same(b.t, "whole chunk", b.chunk(ntpac.ChunkKey{ID: id}), big)
		same(b.t, "rewritten chunk", b.chunk(ntpac.ChunkKey{ID: id, N: 1}), "partial, rewritten whole")
		same(b.t, "far chunk", b.chunk(ntpac.ChunkKey{ID: id, Stream: 1, N: 1 << 40}), "far")
		same(b.t, "empty chunk", b.chunk(ntpac.ChunkKey{ID: id, Stream: 2}), "")
		same(b.t, "chunk that is not there", b.chunk(ntpac.ChunkKey{ID: id, Stream: 2, N: 1}), "")
		b.reopen()
	}
	// Under one stamp the longer one stays, whichever comes last.
	b.commit(&ntpac.Commit{Case: caseName, Stamp: stamp(1, 3), Chunks: []ntpac.Chunk{pack(id, 1, 0, "abcdef"), pack(id, 1, 0, "abc")}})
	b.commit(&ntpac.Commit{Case: caseName, Stamp: stamp(1, 3), Chunks: []ntpac.Chunk{pack(id, 1, 0, "ab")}})
	same(b.t, "longest", b.chunk(ntpac.ChunkKey{ID: id, Stream: 1}), "abcdef")
	bad := pack(id, 0, 0, big)
	bad.RawLen--
	if b.s.Commit(ctx, &ntpac.Commit{Case: caseName, Chunks: []ntpac.Chunk{bad}}) == nil {
		b.t.Fatal("a chunk of the wrong length was taken")
	}
}

func zombie(b *bench) {
	c := sample(1)
	write := func(stamp uint64, revision uint32, text string) {
		v := *c
		v.Revision, v.SplitBy = revision, text
		b.commit(&ntpac.Commit{Case: caseName, Stamp: stamp, Conversations: []*ntpac.Conversation{&v}, Chunks: []ntpac.Chunk{pack(c.ID, 0, 0, text)}})
	}
	expect := func(text string) {
		b.t.Helper()
		same(b.t, "row", b.conversation(c.ID).SplitBy, text)
		same(b.t, "chunk", b.chunk(ntpac.ChunkKey{ID: c.ID}), text)
	}
	write(stamp(1, 9), 3, "old owner")
	write(stamp(2, 1), 1, "new owner")
	expect("new owner")
	write(stamp(1, 10), 9, "the zombie")
	expect("new owner")
	b.reopen()
	write(stamp(1, 11), 10, "the zombie once more")
	expect("new owner")
	// The same bytes under a higher stamp: a stamp in between must lose all the same.
	write(stamp(4, 0), 1, "new owner")
	write(stamp(3, 0), 2, "between")
	expect("new owner")
	// Within one stamp the revision decides, and of equal ones the later.
	write(stamp(4, 0), 3, "better row")
	write(stamp(4, 0), 2, "worse row")
	same(b.t, "row", b.conversation(c.ID).SplitBy, "better row")

	b.commit(&ntpac.Commit{Case: caseName, Stamp: stamp(2, 0), Generations: []*ntpac.Generation{generation(1, "http", 1, found("http", "new"))}})
	b.commit(&ntpac.Commit{Case: caseName, Stamp: stamp(1, 99), Generations: []*ntpac.Generation{generation(1, "smtp", 5, found("mail", "zombie"))}})
	same(b.t, "types", b.types(c.ID), "http ")
}

func fencing(b *bench) {
	check := func(epoch, version uint32, state string) ntpac.Checkpoint {
		return ntpac.Checkpoint{Shard: 5, Epoch: epoch, Version: version, State: []byte(state),
			Positions: []ntpac.Position{{Source: 1<<64 - 1, Ord: 10, High: base}, {Source: 2, Ord: 1 << 60, High: -5}}}
	}
	write := func(k ntpac.Checkpoint, text string) error {
		c := sample(1)
		c.SplitBy = text
		return b.s.Commit(ctx, &ntpac.Commit{Case: caseName, Stamp: uint64(k.Epoch)<<32 | uint64(k.Version), Checkpoints: []ntpac.Checkpoint{k},
			Conversations: []*ntpac.Conversation{c}})
	}
	steps := []struct {
		epoch, version uint32
		fenced         bool
	}{{1, 1, false}, {1, 2, false}, {1, 2, true}, {1, 1, true}, {3, 0, false}, {2, 7, true}, {3, 1, false}}
	last := ""
	var lastCheck ntpac.Checkpoint
	for i, s := range steps {
		text := string(rune('a' + i))
		k := check(s.epoch, s.version, strings.Repeat(text, 1000*i))
		err := write(k, text)
		if s.fenced != errors.Is(err, ntpac.ErrFenced) || !s.fenced && err != nil {
			b.t.Fatalf("checkpoint %d.%d: %v", s.epoch, s.version, err)
		}
		if !s.fenced {
			last, lastCheck = text, k
		}
		same(b.t, "row of the last accepted commit", b.conversation(idOf(1)).SplitBy, last)
		got, err := b.s.Checkpoints(ctx, caseName)
		if err != nil {
			b.t.Fatal(err)
		}
		same(b.t, "checkpoint", got, []ntpac.Checkpoint{lastCheck})
		if i%2 == 0 {
			b.reopen()
		}
	}
	if err := write(lastCheck, last); err != nil {
		b.t.Fatalf("the same commit again: %v", err)
	}
}

// repeated commits a history, then all of it again in several orders: nothing may change.
func repeated(b *bench) {
	var history []*ntpac.Commit
	for i := range 12 {
		n := i % 3
		c := sample(n)
		c.Revision, c.SplitBy = uint32(i/3), string(rune('a'+i))
		a := found("http", c.SplitBy)
		a.Blobs = []ntpac.Blob{*body(c.SplitBy)}
		history = append(history, &ntpac.Commit{Case: caseName, Stamp: stamp(1, uint64(i/6)), Conversations: []*ntpac.Conversation{c},
			Chunks:      []ntpac.Chunk{pack(c.ID, 0, 0, strings.Repeat("payload ", i+1))},
			Generations: []*ntpac.Generation{generation(n, []string{"", "http"}[i%2], c.Revision, a)},
			Sources:     []ntpac.SourceInfo{{ID: 1, Name: "x.pcap", Packets: uint64(i), Done: i == 11}},
			Evidence:    []ntpac.Evidence{{At: at(i), Kind: "ingest", Body: sprint("%d", i)}}})
	}
	for _, c := range history {
		b.commit(c)
	}
	before := b.everything()
	for _, step := range []int{1, 5, 7, 11} { // coprime to 12: each is a permutation
		for i := range history {
			b.commit(history[i*step%len(history)])
		}
		same(b.t, "after repeating", b.everything(), before)
		b.reopen()
	}
	same(b.t, "after opening again", b.everything(), before)
}

// everything lists all that a case holds.
func (b *bench) everything() []any {
	b.t.Helper()
	sources, err1 := b.s.Sources(ctx, caseName)
	checks, err2 := b.s.Checkpoints(ctx, caseName)
	cases, err3 := b.s.Cases(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		b.t.Fatal(err)
	}
	all := []any{collect(b.t, b.s.Conversations(ctx, &ntpac.Query{Case: caseName})), b.artifacts(ntpac.Query{Case: caseName}),
		sources, checks, cases, collect(b.t, b.s.Log(ctx, caseName))}
	for _, c := range all[0].([]*ntpac.Conversation) {
		gs, err := b.s.Generations(ctx, caseName, c.ID)
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, gs, b.chunk(ntpac.ChunkKey{ID: c.ID}))
	}
	return all
}

func queries(b *bench) {
	const n = 60
	var all []*ntpac.Conversation
	var gs []*ntpac.Generation
	apps := []string{"", "http", "dns", "smtp"}
	for i := range n {
		all = append(all, sample(i))
		if i%5 != 0 {
			gs = append(gs, generation(i, apps[i%4], 0, found([]string{"http", "dns"}[i%2], string(rune(i))), found("file", string(rune(i)))))
		}
	}
	for i := 0; i < n; i += 13 { // in several commits, later ones first
		lo := max(n-i-13, 0)
		b.commit(&ntpac.Commit{Case: caseName, Conversations: all[lo : n-i]})
	}
	b.commit(&ntpac.Commit{Case: caseName, Generations: gs})
	b.commit(&ntpac.Commit{Case: "another", Conversations: []*ntpac.Conversation{sample(100)}})
	p := netip.MustParsePrefix
	for _, q := range []ntpac.Query{
		{}, {From: at(10)}, {To: at(20)}, {From: at(10), To: at(20)}, {From: at(20), To: at(10)}, {After: idOf(30)}, {From: at(10), After: idOf(5)},
		{Addrs: []netip.Prefix{p("10.0.0.1/32")}}, {Addrs: []netip.Prefix{p("10.0.0.0/8"), p("2001:db8::/32")}},
		{Addrs: []netip.Prefix{p("0.0.0.0/0")}}, {Addrs: []netip.Prefix{p("::/0")}}, {Addrs: []netip.Prefix{p("172.16.0.0/12")}},
		{Addrs: []netip.Prefix{p("192.168.7.9/32")}, From: at(5), To: at(40), After: idOf(7)},
		{Apps: []string{"http"}}, {Apps: []string{"dns", "smtp", "dns"}}, {Apps: []string{"", "http"}}, {Apps: []string{"telnet"}},
		{Apps: []string{"http"}, Addrs: []netip.Prefix{p("10.0.0.2/32")}, From: at(3)},
		{IDs: []ntpac.ConversationID{idOf(9), idOf(3), idOf(9), idOf(1000)}}, {IDs: []ntpac.ConversationID{idOf(9), idOf(3)}, Apps: []string{"dns"}},
		{IDs: []ntpac.ConversationID{idOf(9), idOf(3)}, After: idOf(5)},
		{Types: []string{"file"}}, {Types: []string{"http", "dns"}, Apps: []string{"smtp"}}, {Types: []string{"call"}},
	} {
		q.Case = caseName
		var ids []ntpac.ConversationID
		var kinds []string
		for i, c := range all {
			app := ""
			if i%5 != 0 {
				app = apps[i%4]
			}
			if !naive(&q, c.ID, c.Key.End, app) {
				continue
			}
			ids = append(ids, c.ID)
			for _, t := range []string{[]string{"http", "dns"}[i%2], "file"} {
				if i%5 != 0 && (len(q.Types) == 0 || slices.Contains(q.Types, t)) {
					kinds = append(kinds, c.ID.String()+t)
				}
			}
		}
		var got []string
		for _, a := range b.artifacts(q) {
			got = append(got, a.Conversation.String()+a.Type)
		}
		same(b.t, "conversations", b.ids(q), ids)
		same(b.t, "artifacts", got, kinds)
	}
}

// naive says, by the words of Query, whether a conversation is selected.
func naive(q *ntpac.Query, id ntpac.ConversationID, end [2]netip.AddrPort, app string) bool {
	in := func(p netip.Prefix) bool { return p.Contains(end[0].Addr()) || p.Contains(end[1].Addr()) }
	switch {
	case len(q.IDs) > 0 && !slices.Contains(q.IDs, id),
		q.From != 0 && id.Start() < q.From, q.To != 0 && id.Start() > q.To,
		len(q.Addrs) > 0 && !slices.ContainsFunc(q.Addrs, in),
		len(q.Apps) > 0 && !slices.Contains(q.Apps, app),
		q.After != ntpac.ConversationID{} && id.Compare(q.After) <= 0:
		return false
	}
	return true
}

// resume reads a listing in pieces.
func resume(b *bench) {
	var all []*ntpac.Conversation
	for i := range 50 {
		all = append(all, sample(i))
	}
	b.commit(&ntpac.Commit{Case: caseName, Conversations: all})
	q := ntpac.Query{Case: caseName, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	want := b.ids(q)
	var got []ntpac.ConversationID
	for more := true; more; {
		more = false
		for c, err := range b.s.Conversations(ctx, &q) {
			if err != nil {
				b.t.Fatal(err)
			}
			got, more = append(got, c.ID), true
			if q.After = c.ID; len(got)%7 == 0 {
				break
			}
		}
		b.reopen()
	}
	same(b.t, "in pieces", got, want)
}
