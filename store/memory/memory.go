// Package memory is a store for tests: everything in maps, nothing durable. It follows the same rules as
// the others, in the simplest way.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"ntpac"
	"ntpac/store/row"
)

// Store is a store in memory. It is used by many goroutines.
type Store struct {
	mu     sync.RWMutex
	cases  map[string]*data
	closed bool
}

// New makes an empty store.
func New() *Store { return &Store{cases: map[string]*data{}} }

var errClosed = errors.New("the store is closed")

// data is what is known of one case. Rows are kept encoded, so that nobody outside shares memory.
type data struct {
	convs   map[ntpac.ConversationID]conv
	states  map[ntpac.ConversationID]*row.State
	parts   map[partID][]byte
	chunks  map[ntpac.ChunkKey]chunk
	blobs   map[ntpac.Hash]map[ntpac.ConversationID]recipe
	bodies  map[ntpac.Hash][]byte
	sources map[ntpac.SourceID]ntpac.SourceInfo
	checks  map[uint16][]byte
	log     []ntpac.Evidence
	logged  map[ntpac.Hash]bool
}

type conv struct {
	rank        row.Rank
	row, inline []byte // inline is nil where there is none
}

type chunk struct {
	rank   row.Rank
	packed []byte
}

type partID struct {
	id   ntpac.ConversationID
	gen  row.GenerationKey
	part int
}

type recipe struct {
	gen row.GenerationKey
	row []byte
}

func newData() *data {
	return &data{convs: map[ntpac.ConversationID]conv{}, states: map[ntpac.ConversationID]*row.State{}, parts: map[partID][]byte{},
		chunks: map[ntpac.ChunkKey]chunk{}, blobs: map[ntpac.Hash]map[ntpac.ConversationID]recipe{}, bodies: map[ntpac.Hash][]byte{},
		sources: map[ntpac.SourceID]ntpac.SourceInfo{}, checks: map[uint16][]byte{}, logged: map[ntpac.Hash]bool{}}
}

// Close ends the use of the store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// read runs f on a case that exists.
func (s *Store) read(cs string, f func(d *data) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed
	}
	if d := s.cases[cs]; d != nil {
		return f(d)
	}
	return nil
}

// Conversation gives a stored conversation with what its visible generation found out.
func (s *Store) Conversation(_ context.Context, cs string, id ntpac.ConversationID) (c *ntpac.Conversation, err error) {
	err = s.read(cs, func(d *data) error {
		c, err = d.conversation(cs, id)
		return err
	})
	if err == nil && c == nil {
		err = fmt.Errorf("conversation %v: %w", id, ntpac.ErrNotFound)
	}
	return c, err
}

func (d *data) conversation(cs string, id ntpac.ConversationID) (*ntpac.Conversation, error) {
	v, ok := d.convs[id]
	if !ok {
		return nil, nil
	}
	c := &ntpac.Conversation{ID: id, Case: cs}
	if err := row.DecodeConversation(v.row, c); err != nil {
		return nil, err
	}
	if st := d.states[id]; st != nil {
		st.Overlay(c)
	}
	if v.inline == nil {
		return c, nil
	}
	var err error
	c.Inline, err = row.DecodeInline(bytes.Clone(v.inline))
	return c, err
}

// selected lists the conversations of a query in order.
func (d *data) selected(q *ntpac.Query) (found []*ntpac.Conversation, err error) {
	var asked map[ntpac.ConversationID]bool
	if len(q.IDs) > 0 {
		asked = map[ntpac.ConversationID]bool{}
		for _, id := range q.IDs {
			asked[id] = true
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(d.convs), ntpac.ConversationID.Compare) {
		if asked != nil && !asked[id] {
			continue
		}
		c, err := d.conversation(q.Case, id)
		if err != nil {
			return nil, err
		}
		if row.Match(q, c) {
			found = append(found, c)
		}
	}
	return found, nil
}

// Conversations lists the conversations that a query selects, in the order of their ids.
func (s *Store) Conversations(ctx context.Context, q *ntpac.Query) iter.Seq2[*ntpac.Conversation, error] {
	return list(ctx, func() (found []*ntpac.Conversation, err error) {
		err = s.read(q.Case, func(d *data) error {
			found, err = d.selected(q)
			return err
		})
		return found, err
	})
}

// list yields what collect gives.
func list[T any](ctx context.Context, collect func() ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		all, err := collect()
		for _, v := range all {
			if err = errors.Join(err, ctx.Err()); err != nil {
				break
			}
			if !yield(v, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

// Artifacts lists the artifacts of the visible generations of the conversations that a query selects.
func (s *Store) Artifacts(ctx context.Context, q *ntpac.Query) iter.Seq2[*ntpac.Artifact, error] {
	return list(ctx, func() (found []*ntpac.Artifact, err error) {
		err = s.read(q.Case, func(d *data) error {
			cs, err := d.selected(q)
			for _, c := range cs {
				st := d.states[c.ID]
				if st == nil || st.Visible == nil || st.Visible.Empty {
					continue
				}
				for n := range st.Visible.Parts {
					p := d.parts[partID{c.ID, st.Visible.Key, n}]
					err = errors.Join(err, row.DecodePart(p, q.Case, c.ID, st.Visible, func(a *ntpac.Artifact) bool {
						if len(q.Types) == 0 || slices.Contains(q.Types, a.Type) {
							found = append(found, a)
						}
						return true
					}))
				}
			}
			return err
		})
		return found, err
	})
}

// Chunk appends the captured bytes of a chunk to buf; a chunk that does not exist is empty.
func (s *Store) Chunk(_ context.Context, cs string, k ntpac.ChunkKey, buf []byte) ([]byte, error) {
	err := s.read(cs, func(d *data) (err error) {
		if c, ok := d.chunks[k]; ok {
			buf, err = row.Unpack(buf, c.packed)
		}
		return err
	})
	return buf, err
}

// Generations gives the visible generation of a conversation, without what it found.
func (s *Store) Generations(_ context.Context, cs string, id ntpac.ConversationID) (gs []*ntpac.Generation, err error) {
	err = s.read(cs, func(d *data) error {
		if st := d.states[id]; st != nil && st.Visible != nil {
			gs = append(gs, st.Visible.Generation(id))
		}
		return nil
	})
	return gs, err
}

// Blob gives a recipe for a body: of the first conversation whose visible generation names it, or else of
// the first that ever did.
func (s *Store) Blob(_ context.Context, cs string, h ntpac.Hash) (found *ntpac.Blob, err error) {
	err = s.read(cs, func(d *data) error {
		for _, id := range slices.SortedFunc(maps.Keys(d.blobs[h]), ntpac.ConversationID.Compare) {
			r := d.blobs[h][id]
			st := d.states[id]
			visible := st != nil && st.Visible != nil && st.Visible.Key == r.gen
			if found == nil || visible {
				if found, err = row.DecodeBlob(r.row, id); err != nil {
					return err
				}
			}
			if visible {
				break
			}
		}
		if found != nil {
			found.Data = bytes.Clone(d.bodies[h])
		}
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("blob %v: %w", h, ntpac.ErrNotFound)
	}
	return found, err
}

// Expected lists the expectations of visible generations that match the conversation.
func (s *Store) Expected(_ context.Context, c *ntpac.Conversation) (es []ntpac.Expectation, err error) {
	err = s.read(c.Case, func(d *data) error {
		for _, id := range slices.SortedFunc(maps.Keys(d.states), ntpac.ConversationID.Compare) {
			v := d.states[id].Visible
			if v == nil || v.Empty {
				continue
			}
			for n := range v.Parts {
				all, err := row.DecodeExpectations(d.parts[partID{id, v.Key, n}], c.Case, id)
				if err != nil {
					return err
				}
				for _, e := range all {
					if e.Matches(c) {
						es = append(es, e)
					}
				}
			}
		}
		return nil
	})
	row.SortExpectations(es)
	return es, err
}

// Announced lists the conversations that an expectation matches.
func (s *Store) Announced(_ context.Context, e *ntpac.Expectation) (found []*ntpac.Conversation, err error) {
	err = s.read(e.Case, func(d *data) error {
		all, err := d.selected(&ntpac.Query{Case: e.Case})
		for _, c := range all {
			if e.Matches(c) {
				found = append(found, c)
			}
		}
		return err
	})
	return found, err
}

// Sources lists the sources of a case by id.
func (s *Store) Sources(_ context.Context, cs string) (all []ntpac.SourceInfo, err error) {
	err = s.read(cs, func(d *data) error {
		for _, id := range slices.Sorted(maps.Keys(d.sources)) {
			all = append(all, d.sources[id])
		}
		return nil
	})
	return all, err
}

// Checkpoints lists the checkpoints of a case by shard.
func (s *Store) Checkpoints(_ context.Context, cs string) (all []ntpac.Checkpoint, err error) {
	err = s.read(cs, func(d *data) error {
		for _, shard := range slices.Sorted(maps.Keys(d.checks)) {
			c, err := row.DecodeCheckpoint(d.checks[shard], shard)
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		return nil
	})
	return all, err
}

// Log lists the evidence log of a case from its first entry.
func (s *Store) Log(ctx context.Context, cs string) iter.Seq2[*ntpac.Evidence, error] {
	return list(ctx, func() (all []*ntpac.Evidence, err error) {
		err = s.read(cs, func(d *data) error {
			for i := range d.log {
				e := d.log[i]
				e.Body = bytes.Clone(e.Body)
				all = append(all, &e)
			}
			return nil
		})
		return all, err
	})
}

// Cases lists the names of the cases in order.
func (s *Store) Cases(context.Context) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, errClosed
	}
	return slices.Sorted(maps.Keys(s.cases)), nil
}

// Drop deletes a case.
func (s *Store) Drop(_ context.Context, cs string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if s.cases[cs] == nil {
		return fmt.Errorf("case %q: %w", cs, ntpac.ErrNotFound)
	}
	delete(s.cases, cs)
	return nil
}

// Interface guard.
var _ ntpac.Store = (*Store)(nil)
