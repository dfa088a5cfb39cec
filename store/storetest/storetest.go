// Package storetest holds every store against the same laws: what is committed is there, whole, once,
// and in order; what is older never comes back; and what a store answers is what a naive model answers.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ntpac"
	"ntpac/store/row"
)

// Harness makes the stores that are tested.
type Harness struct {
	// Open makes a new, empty store, which the kit closes.
	Open func(t *testing.T) ntpac.Store
	// Reopen closes a store and opens it again; nil for a store that keeps nothing.
	Reopen func(t *testing.T, s ntpac.Store) ntpac.Store
}

// Run runs the whole kit.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		f    func(*bench)
	}{
		{"RoundTrip", roundTrip}, {"Inline", inline}, {"Chunks", chunks}, {"Zombie", zombie}, {"Fencing", fencing},
		{"Repeated", repeated}, {"Generations", generations}, {"Parts", parts}, {"Reidentified", reidentified}, {"Blobs", blobs},
		{"Queries", queries}, {"Resume", resume}, {"Expectations", expectations}, {"Sources", sources}, {"Evidence", evidence},
		{"Drop", drop}, {"AllOrNothing", allOrNothing}, {"Empty", empty}, {"Concurrent", concurrent}, {"Closed", closed},
		{"Model", modelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{t: t, h: h, s: h.Open(t)}
			defer func() { b.s.Close() }()
			c.f(b)
		})
	}
}

// bench is one test's store.
type bench struct {
	t *testing.T
	h Harness
	s ntpac.Store
}

var ctx = context.Background()

// reopen closes and opens the store, where it keeps anything.
func (b *bench) reopen() {
	if b.h.Reopen != nil {
		b.s = b.h.Reopen(b.t, b.s)
	}
}

func (b *bench) commit(c *ntpac.Commit) {
	b.t.Helper()
	if err := b.s.Commit(ctx, c); err != nil {
		b.t.Fatalf("commit: %v", err)
	}
}

func (b *bench) conversation(id ntpac.ConversationID) *ntpac.Conversation {
	b.t.Helper()
	c, err := b.s.Conversation(ctx, caseName, id)
	if err != nil {
		b.t.Fatalf("conversation %v: %v", id, err)
	}
	return c
}

func (b *bench) chunk(k ntpac.ChunkKey) string {
	b.t.Helper()
	got, err := b.s.Chunk(ctx, caseName, k, []byte("before "))
	if err != nil || len(got) < 7 || string(got[:7]) != "before " {
		b.t.Fatalf("chunk %v: %q, %v", k, got, err)
	}
	return string(got[7:])
}

func (b *bench) ids(q ntpac.Query) []ntpac.ConversationID {
	b.t.Helper()
	var ids []ntpac.ConversationID
	for _, c := range collect(b.t, b.s.Conversations(ctx, &q)) {
		ids = append(ids, c.ID)
	}
	return ids
}

func (b *bench) artifacts(q ntpac.Query) []*ntpac.Artifact {
	b.t.Helper()
	return collect(b.t, b.s.Artifacts(ctx, &q))
}

// types lists the types of a conversation's visible artifacts.
func (b *bench) types(id ntpac.ConversationID) string {
	b.t.Helper()
	s := ""
	for _, a := range b.artifacts(ntpac.Query{Case: caseName, IDs: []ntpac.ConversationID{id}}) {
		s += a.Type + " "
	}
	return s
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func collect[T any](t fataler, list iter.Seq2[T, error]) (all []T) {
	t.Helper()
	for v, err := range list {
		if err != nil {
			t.Fatalf("listing: %v", err)
		}
		all = append(all, v)
	}
	return all
}

var options = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty(),
	cmp.FilterValues(func(a, b []byte) bool { return len(a)+len(b) > 0 }, cmp.Comparer(bytes.Equal))}

func same(t fataler, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, options...); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

func notFound(t fataler, what string, err error) {
	t.Helper()
	if !errors.Is(err, ntpac.ErrNotFound) {
		t.Fatalf("%s: %v, want ErrNotFound", what, err)
	}
}

func pack(id ntpac.ConversationID, stream uint8, n int64, s string) ntpac.Chunk {
	return ntpac.Chunk{Key: ntpac.ChunkKey{ID: id, Stream: stream, N: n}, Packed: row.Pack(nil, []byte(s)), RawLen: len(s)}
}

func stamp(epoch, version uint64) uint64 { return epoch<<32 | version }

func sprint(format string, a ...any) []byte { return fmt.Appendf(nil, format, a...) }
