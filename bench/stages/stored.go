package main

import (
	"context"
	"errors"
	"hash"
	"os"

	"ntpac"
	"ntpac/balancer"
	"ntpac/reassembly"
	"ntpac/store"
	"ntpac/store/embedded"
)

// How much payload and how many rows go into one commit, as in the product.
const (
	commitBytes = 8 << 20
	commitRows  = 2048
	gatherBytes = 120 << 20 // of payload in memory before quiet conversations are parked: one worker's
)

// stored puts the conversations of a capture into an embedded store, on one goroutine and without
// snoopers. The streams are not hashed: the budget counts SHA-256 apart.
func (o *options) stored(p *pass) (n int64, err error) {
	dir, err := os.MkdirTemp(o.tmp, "ntpac-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	st, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	bufs := &store.Buffers{}
	k := &keeper{st: st, bufs: bufs, c: ntpac.Commit{Case: "bench"}, waiting: map[ntpac.ChunkKey]int{}}
	col := store.NewCollector(k, &reader{k}, bufs)
	col.Sources, col.Budget = []ntpac.SourceID{1}, gatherBytes
	col.Hash = func() hash.Hash { return noHash{} }
	bal := balancer.New(balancer.Config{Seed: 1})
	r := reassembly.New(reassembly.Config{Case: "bench"}, col)
	in := newIntake(r)
	err = each(p, func(b *ntpac.Batch) error {
		bal.Prepare(b)
		in.push(b)
		return k.err
	})
	r.Flush()
	k.commit()
	return k.bytes, errors.Join(err, k.err)
}

// keeper commits what a collector has made ready.
type keeper struct {
	st    ntpac.Store
	bufs  *store.Buffers
	c     ntpac.Commit
	held  []*store.Resident
	size  int64 // of the commit
	bytes int64 // in all, as stored
	err   error

	waiting map[ntpac.ChunkKey]int // where a chunk lies in the commit
}

// Chunk takes a chunk.
func (k *keeper) Chunk(c ntpac.Chunk) {
	if at, ok := k.waiting[c.Key]; ok { // a parked one that has grown
		k.bufs.Put(k.c.Chunks[at].Packed)
		k.c.Chunks[at] = c
	} else {
		k.waiting[c.Key] = len(k.c.Chunks)
		k.c.Chunks = append(k.c.Chunks, c)
	}
	k.grown(int64(len(c.Packed)))
}

// Conversation takes a conversation.
func (k *keeper) Conversation(c *ntpac.Conversation, mem *store.Resident) {
	k.c.Conversations = append(k.c.Conversations, c)
	k.held = append(k.held, mem)
	k.grown(mem.Size())
}

func (k *keeper) grown(n int64) {
	k.size += n
	k.bytes += n
	if k.size >= commitBytes || len(k.c.Chunks)+len(k.c.Conversations) >= commitRows {
		k.commit()
	}
}

func (k *keeper) commit() {
	k.err = errors.Join(k.err, k.st.Commit(context.Background(), &k.c))
	for i := range k.c.Chunks {
		k.bufs.Put(k.c.Chunks[i].Packed)
	}
	for _, m := range k.held {
		m.Release()
	}
	k.c = ntpac.Commit{Case: k.c.Case, Chunks: k.c.Chunks[:0], Conversations: k.c.Conversations[:0]}
	k.held, k.size = k.held[:0], 0
	clear(k.waiting)
}

// reader reads back what a keeper was given.
type reader struct{ k *keeper }

// Conversation reads a conversation.
func (r *reader) Conversation(id ntpac.ConversationID) (*ntpac.Conversation, error) {
	r.k.commit()
	return r.k.st.Conversation(context.Background(), r.k.c.Case, id)
}

// Chunk reads a chunk, from the commit where it still waits.
func (r *reader) Chunk(key ntpac.ChunkKey, n int) ([]byte, error) {
	if at, ok := r.k.waiting[key]; ok {
		return store.Unpack(make([]byte, 0, n), r.k.c.Chunks[at].Packed)
	}
	return r.k.st.Chunk(context.Background(), r.k.c.Case, key, make([]byte, 0, n))
}

// noHash is the sum of nothing.
type noHash struct{}

func (noHash) Write(b []byte) (int, error) { return len(b), nil }
func (noHash) Sum(b []byte) []byte         { return b }
func (noHash) Reset()                      {}
func (noHash) Size() int                   { return 0 }
func (noHash) BlockSize() int              { return 1 }
