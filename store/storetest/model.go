package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"pgregory.net/rapid"

	"ntpac"
	"ntpac/store/row"
)

// model is what a store should hold of one case, kept in the plainest way.
type model struct {
	cs       string
	convs    map[int]version[*ntpac.Conversation]
	chunks   map[ntpac.ChunkKey]version[string]
	gens     map[int]*genModel
	blobs    map[string]map[int]string // text of the body, conversation: name of the generation
	packets  uint64
	fence    ntpac.Checkpoint
	evidence []string
}

type version[T any] struct {
	stamp, next uint64
	v           T
}

func (v version[T]) below(stamp, next uint64) bool {
	return v.stamp < stamp || v.stamp == stamp && v.next <= next
}

type genModel struct {
	visible *genShown
	pending map[string]*genShown
	past    map[string]uint64 // epochs
}

type genShown struct {
	name     string
	epoch    uint64
	revision uint32
	expected bool
	parts    []*ntpac.Generation
}

// older: by epoch, then revision, then that it did not know of an announcement.
func (s *genShown) older(o *genShown) bool {
	switch {
	case s.epoch != o.epoch:
		return s.epoch < o.epoch
	case s.revision != o.revision:
		return s.revision < o.revision
	}
	return o.expected && !s.expected
}

func newModel(cs string) *model {
	return &model{cs: cs, convs: map[int]version[*ntpac.Conversation]{}, chunks: map[ntpac.ChunkKey]version[string]{}, gens: map[int]*genModel{},
		blobs: map[string]map[int]string{}}
}

// step is a commit as the model and the store see it.
type step struct {
	c      *ntpac.Commit
	nums   []int          // of the conversations
	texts  []string       // of the chunks
	gens   []int          // conversations of the generations
	bodies map[int]string // of the generations: what their one artifact's blob is
}

// apply gives false, and changes nothing, where the store must refuse the commit.
func (m *model) apply(s *step) bool {
	gens := map[int]*genModel{}
	for n, g := range m.gens {
		gens[n] = g.clone()
	}
	blobs := map[string]map[int]string{}
	for t, b := range m.blobs {
		blobs[t] = map[int]string{}
		for k, v := range b {
			blobs[t][k] = v
		}
	}
	fence := m.fence
	for _, k := range s.c.Checkpoints {
		if k.Epoch == fence.Epoch && k.Version == fence.Version && string(k.State) == string(fence.State) {
			continue
		}
		if fence.Epoch > k.Epoch || fence.Epoch == k.Epoch && fence.Version >= k.Version {
			return false
		}
		fence = k
	}
	for i, g := range s.c.Generations {
		n := s.gens[i]
		if gens[n] == nil {
			gens[n] = &genModel{pending: map[string]*genShown{}, past: map[string]uint64{}}
		}
		taken, ok := gens[n].take(g, s.c.Stamp>>32)
		if !ok {
			return false
		}
		if t := s.bodies[i]; taken && t != "" {
			if blobs[t] == nil {
				blobs[t] = map[int]string{}
			}
			blobs[t][n] = nameOf(g)
		}
	}
	m.gens, m.blobs, m.fence = gens, blobs, fence
	for i, c := range s.c.Conversations {
		if had, ok := m.convs[s.nums[i]]; !ok || had.below(s.c.Stamp, uint64(c.Revision)) {
			m.convs[s.nums[i]] = version[*ntpac.Conversation]{s.c.Stamp, uint64(c.Revision), c}
		}
	}
	for i, k := range s.c.Chunks {
		if had, ok := m.chunks[k.Key]; !ok || had.below(s.c.Stamp, uint64(k.RawLen)) {
			m.chunks[k.Key] = version[string]{s.c.Stamp, uint64(k.RawLen), s.texts[i]}
		}
	}
	for _, i := range s.c.Sources {
		m.packets = max(m.packets, i.Packets)
	}
	for _, e := range s.c.Evidence {
		if !slices.Contains(m.evidence, string(e.Body)) {
			m.evidence = append(m.evidence, string(e.Body))
		}
	}
	return true
}

func nameOf(g *ntpac.Generation) string {
	return fmt.Sprint(g.Snooper, g.Version, g.Revision, g.Keys, g.AppBy)
}

func (m *genModel) clone() *genModel {
	c := &genModel{visible: m.visible.clone(), pending: map[string]*genShown{}, past: map[string]uint64{}}
	for k, v := range m.pending {
		c.pending[k] = v.clone()
	}
	for k, v := range m.past {
		c.past[k] = v
	}
	return c
}

func (s *genShown) clone() *genShown {
	if s == nil {
		return nil
	}
	c := *s
	c.parts = slices.Clone(s.parts)
	return &c
}

// take says whether the part's content counts, and false for ok where it came too early.
func (m *genModel) take(g *ntpac.Generation, epoch uint64) (counts, ok bool) {
	name := nameOf(g)
	if e, was := m.past[name]; was && epoch <= e {
		return false, true
	}
	if v := m.visible; v != nil {
		if epoch == 0 {
			epoch = v.epoch
		}
		if (&genShown{epoch: epoch, revision: g.Revision, expected: g.AppBy == ntpac.ByExpectation}).older(v) {
			return false, true
		}
		if v.name == name && !(g.Done && g.Part == 0 && len(v.parts) == 1) {
			v.epoch = epoch
			return false, true
		}
	}
	p := m.pending[name]
	if p == nil {
		p = &genShown{name: name, revision: g.Revision, expected: g.AppBy == ntpac.ByExpectation}
	}
	p.epoch = max(p.epoch, epoch)
	switch {
	case g.Part > len(p.parts):
		return false, false
	case g.Part == len(p.parts):
		p.parts = append(p.parts, g)
	default:
		p.parts[g.Part] = g
	}
	delete(m.past, name)
	m.pending[name] = p
	if !g.Done {
		return true, true
	}
	p.parts = p.parts[:g.Part+1]
	if m.visible != nil && m.visible.name != name {
		m.past[m.visible.name] = m.visible.epoch
	}
	m.visible = p
	for k, o := range m.pending {
		if k == name || o.older(p) {
			delete(m.pending, k)
		}
	}
	return true, true
}

// row is conversation n as the store should give it.
func (m *model) row(n int) *ntpac.Conversation {
	c := *m.convs[n].v
	if g := m.gens[n]; g != nil && g.visible != nil {
		last := g.visible.parts[len(g.visible.parts)-1]
		c.App, c.AppBy, c.Client, c.ClientBy = last.App, last.AppBy, last.Client, last.ClientBy
	}
	return &c
}

// artifacts of conversation n, as type and text.
func (m *model) artifacts(n int) (all []string) {
	if g := m.gens[n]; g != nil && g.visible != nil {
		for _, p := range g.visible.parts {
			for _, a := range p.Artifacts {
				all = append(all, a.Type+string(a.JSON))
			}
		}
	}
	return all
}

const modelRows = 6

var caseCount atomic.Int64

// modelled runs random histories of commits, repetitions and restarts, and asks the store and the model
// the same questions.
func modelled(b *bench) {
	rapid.Check(b.t, func(t *rapid.T) {
		m := newModel(fmt.Sprintf("case %d", caseCount.Add(1)))
		var history []*step
		for range rapid.IntRange(1, 14).Draw(t, "steps") {
			switch k := rapid.IntRange(0, 9).Draw(t, "kind"); {
			case k == 0 && b.h.Reopen != nil:
				b.s = b.h.Reopen(b.t, b.s)
			case k <= 2 && len(history) > 0:
				b.both(t, m, history[rapid.IntRange(0, len(history)-1).Draw(t, "repeat")])
			default:
				s := drawStep(t, m.cs)
				history = append(history, s)
				b.both(t, m, s)
			}
		}
		b.compare(t, m)
		if rapid.Bool().Draw(t, "drop") && len(m.convs) > 0 {
			if err := b.s.Drop(ctx, m.cs); err != nil {
				t.Fatalf("drop: %v", err)
			}
			b.compare(t, newModel(m.cs))
		}
	})
}

func (b *bench) both(t *rapid.T, m *model, s *step) {
	ok := m.apply(s)
	if err := b.s.Commit(ctx, s.c); (err == nil) != ok {
		t.Fatalf("commit: %v, and the model says %v", err, ok)
	}
}

// drawStep makes a random commit.
func drawStep(t *rapid.T, cs string) *step {
	num := func(max int, label string) int { return rapid.IntRange(0, max).Draw(t, label) }
	s := &step{c: &ntpac.Commit{Case: cs, Stamp: stamp(uint64(num(2, "epoch")), uint64(num(3, "version")))}, bodies: map[int]string{}}
	for range num(4, "conversations") {
		n := num(modelRows-1, "row")
		c := sample(n)
		c.Case, c.Revision, c.SplitBy = cs, uint32(num(2, "revision")), fmt.Sprint(num(99, "text"))
		if size := num(3, "inline"); size > 0 {
			c.Inline = &ntpac.Inline{History: sprint("%0*d", size*150, num(99, "history"))}
		}
		s.c.Conversations, s.nums = append(s.c.Conversations, c), append(s.nums, n)
	}
	for range num(3, "chunks") {
		text := fmt.Sprintf("%0*d", 1+num(3, "length")*40, num(9, "bytes"))
		s.c.Chunks = append(s.c.Chunks, pack(idOf(num(modelRows-1, "row")), uint8(num(2, "stream")), int64(num(1, "number")), text))
		s.texts = append(s.texts, text)
	}
	for i := range num(4, "generations") {
		n := num(modelRows-1, "row")
		g := drawGeneration(t, n, num)
		if num(1, "blob") == 1 && len(g.Artifacts) > 0 {
			s.bodies[i] = fmt.Sprint("body ", num(2, "body"))
			g.Artifacts[0].Blobs = []ntpac.Blob{*body(s.bodies[i])}
		}
		for range num(2, "expectations") {
			g.Expectations = append(g.Expectations, drawExpectation(t, cs, n, num))
		}
		s.c.Generations, s.gens = append(s.c.Generations, g), append(s.gens, n)
	}
	if num(2, "source") == 0 {
		s.c.Sources = []ntpac.SourceInfo{{ID: 1, Packets: uint64(num(9, "packets"))}}
	}
	if num(2, "checkpoint") == 0 {
		s.c.Checkpoints = []ntpac.Checkpoint{{Shard: 1, Epoch: uint32(num(2, "epoch")) + 1, Version: uint32(num(2, "version")), State: sprint("%d", num(1, "state"))}}
	}
	for range num(2, "evidence") {
		n := num(20, "entry")
		s.c.Evidence = append(s.c.Evidence, ntpac.Evidence{Kind: "k", Body: sprint("%d", n), At: ntpac.Time(n)})
	}
	return s
}

func drawGeneration(t *rapid.T, n int, num func(int, string) int) *ntpac.Generation {
	// Fewer identities than a store remembers of one conversation.
	g := &ntpac.Generation{Conversation: idOf(n), Snooper: []string{"", "http", "ftp-data"}[num(2, "snooper")], Version: 1,
		Revision: uint32(num(1, "revision")), Client: ntpac.Side(num(1, "client")), ClientBy: ntpac.ByPayload, Error: fmt.Sprint(num(1, "error"))}
	g.App = g.Snooper
	switch g.Snooper {
	case "http":
		g.AppBy = ntpac.ByContent
	case "ftp-data":
		g.AppBy = ntpac.ByExpectation
	}
	for range num(3, "artifacts") {
		g.Artifacts = append(g.Artifacts, found([]string{"http", "file"}[num(1, "type")], fmt.Sprintf("%0*d", 1+num(3, "length")*90, num(99, "text"))))
	}
	switch num(5, "part") {
	case 0:
		g.Part = 0
	case 1:
		g.Part = 1
	case 2:
		g.Part, g.Done = 1, true
	default:
		g.Done = true
	}
	return g
}

func drawExpectation(t *rapid.T, cs string, n int, num func(int, string) int) ntpac.Expectation {
	end := func(label string) netip.AddrPort {
		e := sample(num(modelRows-1, label)).Key.End[num(1, label)]
		switch num(4, label) {
		case 0:
			return netip.AddrPort{}
		case 1:
			return netip.AddrPortFrom(e.Addr(), 0)
		case 2:
			return netip.AddrPortFrom(netip.Addr{}, e.Port())
		}
		return e
	}
	start := num(modelRows, "start")
	return ntpac.Expectation{Case: cs, Proto: []ntpac.Proto{ntpac.TCP, ntpac.UDP}[num(1, "proto")], From: end("from"), To: end("to"), Start: at(start),
		End: at(start + num(modelRows, "end")), App: "x", Origin: idOf(n), Context: json.RawMessage(fmt.Sprint(num(999, "context")))}
}

// compare asks store and model the same questions.
func (b *bench) compare(t *rapid.T, m *model) {
	for range 3 {
		q := drawQuery(t, m.cs)
		var rows []*ntpac.Conversation
		var texts, got []string
		for n := range modelRows {
			if m.convs[n].v == nil {
				continue
			}
			if c := m.row(n); naive(&q, c.ID, c.Key.End, c.App) {
				rows = append(rows, c)
				for _, a := range m.artifacts(n) {
					if len(q.Types) == 0 || slices.ContainsFunc(q.Types, func(t string) bool { return a[:len(t)] == t }) {
						texts = append(texts, a)
					}
				}
			}
		}
		for _, a := range collect(t, b.s.Artifacts(ctx, &q)) {
			got = append(got, a.Type+string(a.JSON))
		}
		same(t, "conversations", collect(t, b.s.Conversations(ctx, &q)), rows)
		same(t, "artifacts", got, texts)
	}
	for n := range modelRows {
		b.compareRow(t, m, n)
	}
	for text := range m.blobs {
		b.compareBlob(t, m, text)
	}
	checks, err1 := b.s.Checkpoints(ctx, m.cs)
	srcs, err2 := b.s.Sources(ctx, m.cs)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("reading: %v", err)
	}
	if m.fence.Epoch > 0 {
		same(t, "checkpoints", checks, []ntpac.Checkpoint{m.fence})
	} else {
		same(t, "checkpoints", len(checks), 0)
	}
	if m.packets > 0 {
		same(t, "packets", srcs[0].Packets, m.packets)
	}
	var log []string
	for _, e := range collect(t, b.s.Log(ctx, m.cs)) {
		log = append(log, string(e.Body))
	}
	same(t, "log", log, m.evidence)
	if n, err := row.VerifyChain(b.s.Log(ctx, m.cs)); err != nil || int(n) != len(log) {
		t.Fatalf("chain: %d, %v", n, err)
	}
}

func drawQuery(t *rapid.T, cs string) ntpac.Query {
	num := func(max int, label string) int { return rapid.IntRange(0, max).Draw(t, label) }
	q := ntpac.Query{Case: cs}
	if num(3, "from") == 0 {
		q.From = at(num(modelRows, "time"))
	}
	if num(3, "to") == 0 {
		q.To = at(num(modelRows, "time"))
	}
	if num(3, "after") == 0 {
		q.After = idOf(num(modelRows, "row"))
	}
	if num(2, "addrs") == 0 {
		a := sampleAddrs[num(len(sampleAddrs)-1, "addr")]
		q.Addrs = append(q.Addrs, netip.PrefixFrom(a, a.BitLen()-8*num(3, "bits")).Masked())
	}
	for range num(1, "apps") * num(2, "apps") {
		q.Apps = append(q.Apps, []string{"", "http", "ftp-data"}[num(2, "app")])
	}
	for range num(1, "ids") * num(3, "ids") {
		q.IDs = append(q.IDs, idOf(num(modelRows, "row")))
	}
	if num(2, "types") == 0 {
		q.Types = []string{[]string{"http", "file"}[num(1, "type")]}
	}
	return q
}

func (b *bench) compareRow(t *rapid.T, m *model, n int) {
	for stream := range uint8(3) {
		for k := range int64(2) {
			key := ntpac.ChunkKey{ID: idOf(n), Stream: stream, N: k}
			got, err := b.s.Chunk(ctx, m.cs, key, nil)
			if err != nil {
				t.Fatalf("chunk: %v", err)
			}
			same(t, "chunk", string(got), m.chunks[key].v)
		}
	}
	gs, err := b.s.Generations(ctx, m.cs, idOf(n))
	if err != nil {
		t.Fatalf("generations: %v", err)
	}
	if g := m.gens[n]; g == nil || g.visible == nil {
		same(t, "generations", len(gs), 0)
	} else {
		want := *g.visible.parts[len(g.visible.parts)-1]
		want.Artifacts, want.Expectations = nil, nil
		same(t, "generations", gs, []*ntpac.Generation{&want})
	}
	if m.convs[n].v == nil {
		return
	}
	got, err := b.s.Conversation(ctx, m.cs, idOf(n))
	if err != nil {
		t.Fatalf("conversation: %v", err)
	}
	same(t, "conversation", got, m.row(n))
	var want []ntpac.Expectation
	for k := range modelRows {
		if g := m.gens[k]; g != nil && g.visible != nil {
			for _, p := range g.visible.parts {
				for _, e := range p.Expectations {
					if e.Matches(got) {
						want = append(want, e)
					}
					b.compareAnnounced(t, m, &e)
				}
			}
		}
	}
	row.SortExpectations(want)
	es, err := b.s.Expected(ctx, got)
	if err != nil {
		t.Fatalf("expected: %v", err)
	}
	key := func(e ntpac.Expectation) string { return fmt.Sprint(e) }
	same(t, "expected", sortedBy(es, key), sortedBy(want, key))
}

func sortedBy[T any](s []T, key func(T) string) []string {
	var all []string
	for _, v := range s {
		all = append(all, key(v))
	}
	slices.Sort(all)
	return all
}

func (b *bench) compareAnnounced(t *rapid.T, m *model, e *ntpac.Expectation) {
	var want []ntpac.ConversationID
	for n := range modelRows {
		if c := m.convs[n].v; c != nil && e.Matches(c) {
			want = append(want, c.ID)
		}
	}
	cs, err := b.s.Announced(ctx, e)
	if err != nil {
		t.Fatalf("announced: %v", err)
	}
	var got []ntpac.ConversationID
	for _, c := range cs {
		got = append(got, c.ID)
	}
	same(t, "announced", got, want)
}

func (b *bench) compareBlob(t *rapid.T, m *model, text string) {
	want, fallback := -1, -1
	for n := range modelRows {
		name, ok := m.blobs[text][n]
		if !ok {
			continue
		}
		if fallback < 0 {
			fallback = n
		}
		if v := m.gens[n].visible; want < 0 && v != nil && v.name == name {
			want = n
		}
	}
	if want < 0 {
		want = fallback
	}
	k, err := b.s.Blob(ctx, m.cs, body(text).SHA256)
	if err != nil {
		t.Fatalf("blob: %v", err)
	}
	same(t, "blob of conversation", k.Conversation, idOf(want))
}
