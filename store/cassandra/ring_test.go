//go:build cassandra

package cassandra

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"ntpac"
	"ntpac/store/row"
)

// conversationAt makes one that begins in some minute; n tells those of a minute apart.
func conversationAt(minute, n int) *ntpac.Conversation {
	first := ntpac.Time(minute)*minuteNs + ntpac.Time(n)
	id := conversationID(uint64(first), byte(n*7))
	id[9], id[10] = byte(n>>8), byte(n)
	return &ntpac.Conversation{ID: id, First: first, Last: first, Key: ntpac.FlowKey{Proto: ntpac.TCP,
		End: [2]netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 1000), netip.MustParseAddrPort("10.0.1.1:80")}}}
}

func commit(t *testing.T, s *Store, c *ntpac.Commit) {
	t.Helper()
	if err := s.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func gathered(of ntpac.ConversationID, snooper string, revision uint32, size int) *ntpac.Generation {
	g := &ntpac.Generation{Conversation: of, Snooper: snooper, Version: 1, Revision: revision, Done: true, App: snooper, AppBy: ntpac.ByContent}
	for i := range 1 + size/1000 {
		a := &ntpac.Artifact{Type: snooper, JSON: fmt.Appendf(nil, `{"n":%d,"x":"%x"}`, i, rand.Uint64())}
		for range size / (1 + size/1000) / 16 {
			a.Error += fmt.Sprintf("%016x", rand.Uint64())
		}
		g.Artifacts = append(g.Artifacts, a)
	}
	return g
}

// TestBuckets: what is spread over buckets and minutes is listed in the order of ids, page by page, and found
// by address, by application, and one by one.
func TestBuckets(t *testing.T) {
	caseName := t.Name()
	s := open(t, shared(), "buckets=4")
	defer s.Close()
	var all []*ntpac.Conversation
	for _, minute := range []int{0, 59, 60, 28333333, 28333334, 28400000} {
		for n := range 900 {
			all = append(all, conversationAt(minute, n))
		}
	}
	shuffled := slices.Clone(all)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for c := range slices.Chunk(shuffled, 1000) {
		commit(t, s, &ntpac.Commit{Case: caseName, Conversations: c})
	}
	var gs []*ntpac.Generation
	for i := 0; i < len(all); i += 100 {
		gs = append(gs, gathered(all[i].ID, "modbus", 0, 10))
	}
	commit(t, s, &ntpac.Commit{Case: caseName, Generations: gs})
	slices.SortFunc(all, func(a, b *ntpac.Conversation) int { return a.ID.Compare(b.ID) })
	list := func(q ntpac.Query, want func(i int, c *ntpac.Conversation) bool) {
		t.Helper()
		q.Case = caseName
		var ids []ntpac.ConversationID
		for c, err := range s.Conversations(t.Context(), &q) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, c.ID)
		}
		var wanted []ntpac.ConversationID
		for i, c := range all {
			if want(i, c) {
				wanted = append(wanted, c.ID)
			}
		}
		if !slices.Equal(ids, wanted) {
			t.Errorf("%+v: %d conversations, want %d", q, len(ids), len(wanted))
		}
	}
	list(ntpac.Query{}, func(int, *ntpac.Conversation) bool { return true })
	list(ntpac.Query{After: all[2000].ID}, func(i int, _ *ntpac.Conversation) bool { return i > 2000 })
	list(ntpac.Query{From: all[1000].First, To: all[4000].First}, func(i int, _ *ntpac.Conversation) bool { return i >= 1000 && i <= 4000 })
	one := netip.MustParseAddr("10.0.0.77")
	list(ntpac.Query{Addrs: []netip.Prefix{netip.PrefixFrom(one, 32)}}, func(_ int, c *ntpac.Conversation) bool { return c.Key.End[0].Addr() == one })
	list(ntpac.Query{Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.64/30")}}, func(_ int, c *ntpac.Conversation) bool { return c.Key.End[0].Addr().As4()[3]/4 == 16 })
	app := map[ntpac.ConversationID]bool{}
	for _, g := range gs {
		app[g.Conversation] = true
	}
	list(ntpac.Query{Apps: []string{"modbus"}}, func(_ int, c *ntpac.Conversation) bool { return app[c.ID] })
	list(ntpac.Query{IDs: []ntpac.ConversationID{all[5000].ID, all[3].ID, all[4].ID}}, func(i int, _ *ntpac.Conversation) bool { return i == 3 || i == 4 || i == 5000 })
	if n, err := s.Check(t.Context(), caseName, func(p string) { t.Error(p) }); err != nil || n < int64(len(all)) {
		t.Errorf("checked %d: %v", n, err)
	}
}

// TestTogether: nodes that open a new keyspace at the same time make one set of tables, and one case.
func TestTogether(t *testing.T) {
	caseName, keyspace := t.Name(), newKeyspace()
	o, err := ParseURL("cassandra://" + at(t) + "/" + keyspace)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			c := conversationAt(1, n)
			err = s.Commit(t.Context(), &ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{c}, Evidence: []ntpac.Evidence{{Kind: fmt.Sprint(n)}, {Kind: "all"}}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := open(t, keyspace, "")
	defer s.Close()
	n := 0
	for _, err := range s.Conversations(t.Context(), &ntpac.Query{Case: caseName}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if entries, err := row.VerifyChain(s.Log(t.Context(), caseName)); n != 6 || entries != 7 || err != nil {
		t.Errorf("%d conversations, %d entries in the log, %v", n, entries, err)
	}
}

// TestVersion: tables of a newer build, and a keyspace without tables that is only to be read, are refused.
func TestVersion(t *testing.T) {
	keyspace := shared()
	s := open(t, keyspace, "")
	defer s.Close()
	o := s.opt
	set := func(version int) {
		if err := s.exec(t.Context(), `UPDATE ntpac_schema SET version = ? WHERE k = 0 IF version > 0`, version); err != nil {
			t.Fatal(err)
		}
	}
	set(schemaVersion + 1)
	defer set(schemaVersion)
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "version 2 of the tables, and this build knows only version 1: use a newer ntpac") {
		t.Error(err)
	}
	o.Keyspace += "x"
	o.Existing = true
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "there is no store in keyspace") {
		t.Error(err)
	}
	o.Keyspace, o.Existing, o.RF = keyspace, false, 2
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "kept in 1 copies, not in rf=2") {
		t.Error(err)
	}
}

// TestSay: what was chosen for a ring of one node is said.
func TestSay(t *testing.T) {
	s := open(t, shared(), "")
	defer s.Close()
	s.opt.Say = func(line string) {
		if !strings.Contains(line, "one node: everything is kept once, consistency ONE") {
			t.Error(line)
		}
		s.opt.Say = nil
	}
	if s.describe(); s.opt.Say != nil {
		t.Error("nothing was said")
	}
}

// TestSwap: many stores that find things in the same conversations at the same time leave, of each, the one
// that ranks highest, and no finding without its parts.
func TestSwap(t *testing.T) {
	caseName, keyspace := t.Name(), shared()
	const writers, rounds, rows = 4, 6, 5
	var ids []*ntpac.Conversation
	for n := range rows {
		ids = append(ids, conversationAt(5, n))
	}
	first := open(t, keyspace, "")
	defer first.Close()
	commit(t, first, &ntpac.Commit{Case: caseName, Conversations: ids})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			s := open(t, keyspace, "")
			defer s.Close()
			for r := range rounds {
				var gs []*ntpac.Generation
				for _, c := range ids {
					gs = append(gs, gathered(c.ID, fmt.Sprint("w", w), uint32(r*writers+w), []int{10, 20_000}[(r+w)%2]))
				}
				if err := s.Commit(t.Context(), &ntpac.Commit{Case: caseName, Stamp: 1 << 32, Generations: gs}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, c := range ids {
		gs, err := first.Generations(t.Context(), caseName, c.ID)
		if err != nil || len(gs) != 1 || gs[0].Revision != rounds*writers-1 {
			t.Fatalf("%+v, %v", gs, err)
		}
	}
	if _, err := first.Check(t.Context(), caseName, func(p string) { t.Error(p) }); err != nil {
		t.Fatal(err)
	}
}

// TestMove: of two owners of a shard one is fenced, and what the other wrote stays: its checkpoint, in pieces, whole.
func TestMove(t *testing.T) {
	caseName, keyspace := t.Name(), shared()
	a, b := open(t, keyspace, ""), open(t, keyspace, "")
	defer a.Close()
	defer b.Close()
	before := countRows(t, a, "checkpoint_pieces")
	state := make([]byte, 3<<20)
	for i := range state {
		state[i] = byte(rand.Uint32())
	}
	c := conversationAt(1, 1)
	write := func(s *Store, epoch, version uint32, by string) error {
		v := *c
		v.SplitBy = by
		return s.Commit(t.Context(), &ntpac.Commit{Case: caseName, Stamp: uint64(epoch)<<32 | uint64(version), Conversations: []*ntpac.Conversation{&v},
			Checkpoints: []ntpac.Checkpoint{{Shard: 1023, Epoch: epoch, Version: version, State: state}, {Shard: 7, Epoch: epoch, Version: version}}})
	}
	for v := range uint32(3) {
		if err := write(a, 1, v, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(b, 2, 0, "b"); err != nil {
		t.Fatal(err)
	}
	if err := write(a, 1, 9, "the zombie"); !errors.Is(err, ntpac.ErrFenced) {
		t.Fatalf("the zombie: %v", err)
	}
	// A zombie that was past the check when it fell asleep: its rows come late, and lose.
	z := *c
	z.SplitBy = "the zombie"
	commit(t, a, &ntpac.Commit{Case: caseName, Stamp: 1<<32 | 9, Conversations: []*ntpac.Conversation{&z}})
	if got, err := b.Conversation(t.Context(), caseName, c.ID); err != nil || got.SplitBy != "b" {
		t.Errorf("%+v, %v", got, err)
	}
	ks, err := b.Checkpoints(t.Context(), caseName)
	if err != nil || len(ks) != 2 || ks[0].Shard != 7 || ks[1].Epoch != 2 || !bytes.Equal(ks[1].State, state) {
		t.Fatalf("%d checkpoints, %v", len(ks), err)
	}
	if n := countRows(t, b, "checkpoint_pieces") - before; n != len(pieces(state))+1 {
		t.Errorf("%d pieces: those of replaced checkpoints are among them", n)
	}
	// Both at once, many times: each version is taken by exactly one of them.
	var wg sync.WaitGroup
	won := make([]int, 2)
	for i, s := range []*Store{a, b} {
		wg.Go(func() {
			for v := range uint32(20) {
				err := s.Commit(context.Background(), &ntpac.Commit{Case: caseName, Stamp: 3<<32 | uint64(v), Checkpoints: []ntpac.Checkpoint{{Shard: 7, Epoch: 3, Version: v, State: []byte{byte(i)}}}})
				if err == nil {
					won[i]++
				} else if !errors.Is(err, ntpac.ErrFenced) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if won[0]+won[1] > 20 || won[0]+won[1] == 0 {
		t.Errorf("%v checkpoints were taken of 20", won)
	}
}

func countRows(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	if _, err := s.one(t.Context(), s.query("SELECT count(*) FROM "+table), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDropped: nothing that a case had is left, whatever it was, and its other one is untouched.
func TestDropped(t *testing.T) {
	s := open(t, shared(), "buckets=2")
	defer s.Close()
	fill := func(name string) {
		c := &ntpac.Commit{Case: name, Evidence: []ntpac.Evidence{{Kind: "x"}}, Sources: []ntpac.SourceInfo{{ID: 1}},
			Checkpoints: []ntpac.Checkpoint{{Shard: 1, Epoch: 1}, {Shard: 2, Epoch: 1, State: bytes.Repeat([]byte("0123456789abcdef"), 1<<16)}}}
		for i := range c.Checkpoints[1].State {
			c.Checkpoints[1].State[i] = byte(rand.Uint32())
		}
		for n := range 20 {
			v := conversationAt(n*40, n)
			c.Conversations = append(c.Conversations, v)
			c.Chunks = append(c.Chunks, chunk(v.ID, 0, 0), chunk(v.ID, 1, 64), chunk(v.ID, 2, 1<<40))
			g := gathered(v.ID, "ftp", 0, n*1000)
			body := []byte{byte(n)}
			g.Artifacts[0].Blobs = []ntpac.Blob{{SHA256: sha256.Sum256(body), Size: 1, Data: body}}
			g.Expectations = []ntpac.Expectation{{Proto: ntpac.TCP, To: v.Key.End[0], Start: v.First, End: v.First + 1}}
			c.Generations = append(c.Generations, g)
		}
		c.Chunks = append(c.Chunks, chunk(conversationAt(99, 99).ID, 0, 0)) // of one that has no row yet
		commit(t, s, c)
		for _, g := range c.Generations {
			g.Version = 2
		}
		commit(t, s, &ntpac.Commit{Case: name, Generations: c.Generations})
	}
	fill("stays")
	before := map[string]int{}
	var names []string
	for _, table := range tables {
		name, _, _ := strings.Cut(table, " ")
		names = append(names, name)
		if before[name] = countRows(t, s, name); before[name] == 0 {
			t.Errorf("nothing is in %s", name)
		}
	}
	fill("goes")
	if err := s.Drop(t.Context(), "goes"); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if n := countRows(t, s, name); n != before[name] {
			t.Errorf("%s has %d rows, and had %d before the dropped case", name, n, before[name])
		}
	}
	if _, err := s.Check(t.Context(), "stays", func(p string) { t.Error(p) }); err != nil {
		t.Error(err)
	}
}

func chunk(id ntpac.ConversationID, stream uint8, n int64) ntpac.Chunk {
	b := []byte("payload")
	return ntpac.Chunk{Key: ntpac.ChunkKey{ID: id, Stream: stream, N: n}, Packed: row.Pack(nil, b), RawLen: len(b)}
}

// TestDamage: what was changed in the tables is found, and named.
func TestDamage(t *testing.T) {
	caseName := t.Name()
	s := open(t, shared(), "")
	defer s.Close()
	c := conversationAt(1, 1)
	g := gathered(c.ID, "http", 0, 10_000)
	sum := ntpac.Hash{1}
	g.Artifacts[0].Blobs = []ntpac.Blob{{SHA256: sum, Size: 4, Data: []byte("not of this sum")}}
	commit(t, s, &ntpac.Commit{Case: caseName, Conversations: []*ntpac.Conversation{c}, Chunks: []ntpac.Chunk{chunk(c.ID, 0, 70)},
		Generations: []*ntpac.Generation{g}, Evidence: []ntpac.Evidence{{Kind: "a"}, {Kind: "b"}}})
	info, err := s.lookup(t.Context(), caseName)
	if err != nil {
		t.Fatal(err)
	}
	change := func(stmt string, args ...any) {
		t.Helper()
		if err := s.exec(t.Context(), stmt, args...); err != nil {
			t.Fatal(err)
		}
	}
	change(`UPDATE chunks SET v = ? WHERE c = ? AND id = ? AND stream = 0 AND seg = 1 AND n = 6`, []byte("0123456789ab and nothing packed"), info.id, c.ID[:])
	change(`DELETE FROM log WHERE c = ? AND k = ?`, info.id, logEntryKey(1))
	var found []string
	if _, err := s.Check(t.Context(), caseName, func(p string) { found = append(found, p) }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"chunk 70 of stream 0", "evidence log", "blob " + sum.String()} {
		if !slices.ContainsFunc(found, func(p string) bool { return strings.Contains(p, want) }) {
			t.Errorf("%s: not among %q", want, found)
		}
	}
	if len(found) != 3 {
		t.Errorf("found %q", found)
	}
}

// TestTwice: of two findings of one commit in one conversation the later one counts in the indexes, too.
func TestTwice(t *testing.T) {
	caseName := t.Name()
	s := open(t, shared(), "")
	defer s.Close()
	var c ntpac.Commit
	c.Case = caseName
	find := func(v *ntpac.Conversation, snooper string, revision uint32, body byte, from ntpac.Time) {
		g := gathered(v.ID, snooper, revision, 10)
		g.Artifacts[0].Blobs = []ntpac.Blob{{SHA256: ntpac.Hash{body}, Size: 7}}
		g.Expectations = []ntpac.Expectation{{Proto: ntpac.TCP, To: v.Key.End[0], Start: v.First + from, End: v.First + from + 1000}}
		c.Generations = append(c.Generations, g)
	}
	const bodies = 20
	for n := range 2 * bodies {
		c.Conversations = append(c.Conversations, conversationAt(1, n))
	}
	for n := range bodies { // the order of the generations' keys is as good as random
		a, b := c.Conversations[2*n], c.Conversations[2*n+1]
		for revision := range uint32(3) {
			find(a, fmt.Sprint("snooper ", n), revision, byte(n), 1e9)
		}
		find(a, fmt.Sprint("snooper ", n), 2, byte(n), 0) // the last one again, with another expectation
		find(b, "x", 0, byte(n), 1e9)
	}
	commit(t, s, &c)
	for n := range bodies {
		a := c.Conversations[2*n]
		if k, err := s.Blob(t.Context(), caseName, ntpac.Hash{byte(n)}); err != nil || k.Conversation != a.ID {
			t.Errorf("body %d is that of %v, not of %v, %v", n, k.Conversation, a.ID, err)
		}
		said := *a
		said.Case = caseName
		said.ID[15]++
		said.First += 500
		if es, err := s.Expected(t.Context(), &said); err != nil || len(es) != 1 {
			t.Errorf("%d expectations, %v", len(es), err)
		}
	}
}
