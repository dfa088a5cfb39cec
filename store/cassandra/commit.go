package cassandra

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
	"ntpac/store/row"
)

// What one batch holds at most: rows of one partition.
const (
	batchBytes = 900 << 10
	batchRows  = 500
)

const rowOverhead = 100 // bytes of a row beside its values, as they travel

// Commit makes everything in c durable. What is refused leaves nothing behind. Where it fails for another
// reason, a part of it may be there: made again, it is made whole.
func (s *Store) Commit(ctx context.Context, c *ntpac.Commit) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	w, err := prepare(c)
	if err != nil {
		return err
	}
	t := &tx{s: s, in: c, w: w, seq: s.clock.next()}
	if t.time, err = writeTime(c.Stamp); err != nil {
		return err
	}
	if t.c, err = s.lookup(ctx, c.Case); err != nil {
		return err
	}
	if t.c == nil {
		if err := row.CheckCase(c.Case); err != nil {
			return err
		}
	}
	// What can be refused comes first and changes nothing.
	for _, step := range []func(context.Context) error{t.fences, t.fold} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if t.c == nil {
		if t.c, err = s.create(ctx, c.Case); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{t.index, t.payload, t.generations, t.conversations, t.sources, t.evidence, t.checkpoints} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tx is one commit under way.
type tx struct {
	s    *Store
	in   *ntpac.Commit
	w    *work
	c    *caseInfo // nil: the case is not there yet
	time int64     // write timestamp of its rows
	seq  int64

	fence  []fence
	states []*convState
}

// work is a commit made ready: encoded and packed, of each thing the version that stays.
type work struct {
	chunks []*ntpac.Chunk
	convs  []convWork
	parts  []partWork // by conversation, those of one in their order
}

type convWork struct {
	c           *ntpac.Conversation
	row, inline []byte
}

type partWork struct {
	g      *ntpac.Generation
	packed []byte // empty where there is nothing in it
}

func prepare(c *ntpac.Commit) (*work, error) {
	w := &work{}
	for i := range c.Chunks {
		k := &c.Chunks[i]
		if p, err := row.ParsePacked(k.Packed); err != nil || p.RawLen != k.RawLen {
			return nil, fmt.Errorf("chunk %d of stream %d of conversation %v: not packed, or not as long as it says", k.Key.N, k.Key.Stream, k.Key.ID)
		}
		w.chunks = append(w.chunks, k)
	}
	slices.SortStableFunc(w.chunks, func(a, b *ntpac.Chunk) int {
		return cmp.Or(a.Key.ID.Compare(b.Key.ID), cmp.Compare(a.Key.Stream, b.Key.Stream), cmp.Compare(a.Key.N, b.Key.N), cmp.Compare(a.RawLen, b.RawLen))
	})
	w.chunks = lasts(w.chunks, func(a, b *ntpac.Chunk) bool { return a.Key == b.Key })
	cs := slices.Clone(c.Conversations)
	slices.SortStableFunc(cs, func(a, b *ntpac.Conversation) int {
		return cmp.Or(a.ID.Compare(b.ID), cmp.Compare(a.Revision, b.Revision))
	})
	cs = lasts(cs, func(a, b *ntpac.Conversation) bool { return a.ID == b.ID })
	var raw []byte
	for _, v := range cs {
		k := convWork{c: v, row: row.AppendConversation(nil, v)}
		if v.Inline != nil {
			raw = row.AppendInline(raw[:0], v.Inline)
			k.inline = row.Pack(nil, raw)
		}
		w.convs = append(w.convs, k)
	}
	for _, g := range c.Generations {
		k := partWork{g: g}
		if len(g.Artifacts) > 0 || len(g.Expectations) > 0 {
			var err error
			if raw, err = row.AppendPart(raw[:0], g); err != nil {
				return nil, err
			}
			k.packed = row.Pack(nil, raw)
		}
		w.parts = append(w.parts, k)
	}
	slices.SortStableFunc(w.parts, func(a, b partWork) int { return a.g.Conversation.Compare(b.g.Conversation) })
	return w, nil
}

// lasts keeps of neighbours that are the same thing the last.
func lasts[T any](all []T, same func(a, b T) bool) []T {
	out := all[:0]
	for _, v := range all {
		if n := len(out); n > 0 && same(out[n-1], v) {
			out[n-1] = v
		} else {
			out = append(out, v)
		}
	}
	return out
}

// op is one statement of a batch.
type op struct {
	stmt string
	args []any
	size int
}

// batches are statements by the partition that they write to, in the order in which partitions came.
type batches[K comparable] struct {
	at   map[K]int
	list [][]op
	rows map[string]int // by the name of a row, where it is in its partition's list
}

func (b *batches[K]) add(k K, size int, stmt string, args ...any) {
	if b.at == nil {
		b.at = map[K]int{}
	}
	i, ok := b.at[k]
	if !ok {
		i = len(b.list)
		b.at[k] = i
		b.list = append(b.list, nil)
	}
	b.list[i] = append(b.list[i], op{stmt, args, size + rowOverhead})
}

// put is add for a row that the same commit may write twice: within one write timestamp the later one would
// not stay by itself.
func (b *batches[K]) put(k K, row string, size int, stmt string, args ...any) {
	if b.rows == nil {
		b.rows = map[string]int{}
	}
	if i, ok := b.rows[row]; ok {
		b.list[b.at[k]][i] = op{stmt, args, size + rowOverhead}
		return
	}
	b.add(k, size, stmt, args...)
	b.rows[row] = len(b.list[b.at[k]]) - 1
}

// write runs the batches, each cut to what one may hold, with one write timestamp.
func (b *batches[K]) write(ctx context.Context, s *Store, time int64) error {
	var cut [][]op
	for _, ops := range b.list {
		from, size := 0, 0
		for i := range ops {
			if i > from && (size+ops[i].size > batchBytes || i-from >= batchRows) {
				cut = append(cut, ops[from:i])
				from, size = i, 0
			}
			size += ops[i].size
		}
		cut = append(cut, ops[from:])
	}
	return parallel(ctx, len(cut), maxRequests, func(ctx context.Context, i int) error { return s.batch(ctx, cut[i], time) })
}

// batch writes rows of one partition together.
func (s *Store) batch(ctx context.Context, ops []op, time int64) error {
	size := int64(0)
	for i := range ops {
		size += int64(ops[i].size)
	}
	n, err := s.gate.enter(ctx, size)
	if err != nil {
		return err
	}
	defer s.gate.leave(n)
	return s.try(ctx, func() error {
		if len(ops) == 1 {
			return s.query(ops[0].stmt, ops[0].args...).WithTimestamp(time).ExecContext(ctx)
		}
		b := s.db.Batch(gocql.UnloggedBatch).Consistency(s.cons).WithTimestamp(time)
		b.Entries = make([]gocql.BatchEntry, len(ops))
		for i := range ops {
			b.Entries[i] = gocql.BatchEntry{Stmt: ops[i].stmt, Args: ops[i].args, Idempotent: true}
		}
		return b.ExecContext(ctx)
	})
}

// conversations writes the rows. A conversation exists when its row does, so this comes after what is
// said in it.
func (t *tx) conversations(ctx context.Context) error {
	var b batches[partition]
	for i := range t.w.convs {
		k := &t.w.convs[i]
		at := t.c.partition(k.c.ID)
		v := append(appendVersion(make([]byte, 0, versionLen+len(k.row)), k.c.Revision, t.seq), k.row...)
		if len(k.inline) == 0 {
			b.add(at, len(v), `INSERT INTO conversations (c, minute, bucket, id, v) VALUES (?, ?, ?, ?, ?)`, t.c.id, at.minute, at.bucket, k.c.ID[:], v)
		} else {
			p := append(appendVersion(make([]byte, 0, versionLen+len(k.inline)), k.c.Revision, t.seq), k.inline...)
			b.add(at, len(v)+len(p), `INSERT INTO conversations (c, minute, bucket, id, v, p) VALUES (?, ?, ?, ?, ?, ?)`, t.c.id, at.minute, at.bucket, k.c.ID[:], v, p)
		}
	}
	if err := b.write(ctx, t.s, t.time); err != nil {
		return err
	}
	for i := range t.w.convs {
		name := convName{t.c.id, t.w.convs[i].c.ID}
		t.s.linked.put(name, struct{}{})
		t.s.known.putNew(name, nil) // most likely nobody has read it yet
	}
	return nil
}

// chunkPart is a partition of payload.
type chunkPart struct {
	id     ntpac.ConversationID
	stream uint8
	seg    int64
}

// payload writes chunks, big parts, bodies, and what finds them.
func (t *tx) payload(ctx context.Context) error {
	var b batches[chunkPart]
	for _, k := range t.w.chunks {
		at := chunkPart{k.Key.ID, k.Key.Stream, k.Key.N / chunksPerPartition}
		v := append(appendVersion(make([]byte, 0, versionLen+len(k.Packed)), uint32(k.RawLen), t.seq), k.Packed...)
		b.add(at, len(v), `INSERT INTO chunks (c, id, stream, seg, n, v) VALUES (?, ?, ?, ?, ?, ?)`,
			t.c.id, k.Key.ID[:], int8(at.stream), at.seg, int16(k.Key.N%chunksPerPartition), v)
	}
	if err := b.write(ctx, t.s, t.time); err != nil {
		return err
	}
	if err := t.found(ctx, t.states); err != nil {
		return err
	}
	return t.links(ctx)
}

// sources writes what is known of the sources; the value decides which of two stays.
func (t *tx) sources(ctx context.Context) error {
	if len(t.in.Sources) == 0 {
		return nil
	}
	var b batches[gocql.UUID]
	for i := range t.in.Sources {
		src := &t.in.Sources[i]
		js, err := json.Marshal(src)
		if err != nil {
			return err
		}
		v := row.Pack(sourceRank(src, t.s.clock.next()), js)
		b.add(t.c.id, len(v), `INSERT INTO sources (c, id, v) VALUES (?, ?, ?)`, t.c.id, int64(src.ID), v)
	}
	return b.write(ctx, t.s, timeAlways)
}

// flushKey names a row of the index of end points by its content, so that a repetition adds none.
func flushKey(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:12]
}
