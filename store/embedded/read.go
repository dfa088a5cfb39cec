package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"ntpac"
	"ntpac/store/row"
)

// with runs f on a case; a case that does not exist is not looked into.
func (s *Store) with(name string, f func(cs *caseState) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	cs := s.lookup(name)
	if cs == nil {
		return nil
	}
	return f(cs)
}

// buffer lends memory for one read.
func (s *Store) buffer() (*[]byte, func()) {
	b := s.bufs.Get().(*[]byte)
	return b, func() {
		if cap(*b) <= keepMem {
			s.bufs.Put(b)
		}
	}
}

// Conversation gives a stored conversation with what its visible generation found out.
func (s *Store) Conversation(_ context.Context, name string, id ntpac.ConversationID) (c *ntpac.Conversation, err error) {
	err = s.with(name, func(cs *caseState) error {
		snap := s.db.NewSnapshot()
		defer snap.Close()
		c, err = s.conversation(snap, cs, id)
		return err
	})
	if err == nil && c == nil {
		err = fmt.Errorf("conversation %v: %w", id, ntpac.ErrNotFound)
	}
	return c, err
}

// conversation is nil where there is none.
func (s *Store) conversation(r pebble.Reader, cs *caseState, id ntpac.ConversationID) (*ntpac.Conversation, error) {
	v, found, err := get(r, convKey(nil, cs.no, id, subRow))
	if err != nil || !found {
		return nil, err
	}
	st, err := s.stateOf(r, cs, id)
	if err != nil {
		return nil, err
	}
	buf, done := s.buffer()
	defer done()
	c, err := cs.decode(id, v, st)
	if err == nil {
		err = cs.fill(c, v, buf)
	}
	return c, err
}

// decode reads a conversation's value, without its inline payload.
func (cs *caseState) decode(id ntpac.ConversationID, v []byte, st *row.State) (*ntpac.Conversation, error) {
	p, err := parseConv(v)
	if err != nil {
		return nil, fmt.Errorf("conversation %v: %w", id, err)
	}
	c := &ntpac.Conversation{ID: id, Case: cs.name}
	if err := row.DecodeConversation(p.row, c); err != nil {
		return nil, fmt.Errorf("conversation %v: %w", id, err)
	}
	if st != nil {
		st.Overlay(c)
	}
	return c, nil
}

// fill reads a conversation's inline payload.
func (cs *caseState) fill(c *ntpac.Conversation, v []byte, buf *[]byte) error {
	p, err := parseConv(v)
	if err != nil || p.kind == nothing {
		return err
	}
	raw, err := cs.readAnywhere(v[12:], recInline, c.ID[:], buf, nil)
	if err == nil {
		c.Inline, err = row.DecodeInline(raw)
	}
	if err != nil {
		return fmt.Errorf("payload of conversation %v: %w", c.ID, err)
	}
	return nil
}

func (s *Store) stateOf(r pebble.Reader, cs *caseState, id ntpac.ConversationID) (*row.State, error) {
	v, found, err := get(r, convKey(nil, cs.no, id, subState))
	if err != nil || !found {
		return nil, err
	}
	return row.DecodeState(v)
}

// Chunk appends the captured bytes of a chunk to buf; a chunk that does not exist is empty.
func (s *Store) Chunk(_ context.Context, name string, k ntpac.ChunkKey, buf []byte) ([]byte, error) {
	err := s.with(name, func(cs *caseState) error {
		ck := chunkKey(nil, cs.no, k)
		v, found, err := s.get(ck)
		if err != nil || !found {
			return err
		}
		mem, done := s.buffer()
		defer done()
		_, at, err := parseChunk(v)
		if err != nil {
			return err
		}
		packed, err := cs.seg.read(at, recChunk, ck[keyHead:], mem)
		if err != nil {
			return fmt.Errorf("chunk %d of stream %d of conversation %v: %w", k.N, k.Stream, k.ID, err)
		}
		buf, err = row.Unpack(buf, packed)
		return err
	})
	return buf, err
}

// Generations gives the visible generation of a conversation, without what it found.
func (s *Store) Generations(_ context.Context, name string, id ntpac.ConversationID) (gs []*ntpac.Generation, err error) {
	err = s.with(name, func(cs *caseState) error {
		st, err := s.stateOf(s.db, cs, id)
		if err == nil && st != nil && st.Visible != nil {
			gs = append(gs, st.Visible.Generation(id))
		}
		return err
	})
	return gs, err
}

// maxRecipes is how many recipes of one body are looked at for one whose generation is visible.
const maxRecipes = 64

// Blob gives a recipe for a body: of the first conversation whose visible generation names it, or else,
// since a body that was reported once stays provable, of the first that ever did.
func (s *Store) Blob(_ context.Context, name string, h ntpac.Hash) (found *ntpac.Blob, err error) {
	err = s.with(name, func(cs *caseState) error {
		n := 0
		err := s.scan(hashKey(nil, cs.no, kindBlob, h), func(k, v []byte) error {
			if len(v) < len(row.GenerationKey{}) {
				return row.ErrRow
			}
			id := ntpac.ConversationID(k[len(k)-idLen:])
			gen := row.GenerationKey(v)
			st, err := s.stateOf(s.db, cs, id)
			if err != nil {
				return err
			}
			visible := st != nil && st.Visible != nil && st.Visible.Key == gen
			if found == nil || visible {
				if found, err = row.DecodeBlob(v[len(gen):], id); err != nil {
					return err
				}
			}
			if n++; visible || n == maxRecipes {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop || found == nil {
			return err
		}
		return s.body(cs, found)
	})
	if err == nil && found == nil {
		err = fmt.Errorf("blob %v: %w", h, ntpac.ErrNotFound)
	}
	return found, err
}

var errStop = errors.New("stop")

// body sets the bytes of a blob that has no recipe.
func (s *Store) body(cs *caseState, b *ntpac.Blob) error {
	v, ok, err := s.get(hashKey(nil, cs.no, kindBody, b.SHA256))
	if err != nil || !ok {
		return err
	}
	buf, done := s.buffer()
	defer done()
	b.Data, err = cs.readAnywhere(v, recBody, b.SHA256[:], buf, nil)
	return err
}

// Expected lists the expectations of visible generations that match the conversation.
func (s *Store) Expected(_ context.Context, c *ntpac.Conversation) (es []ntpac.Expectation, err error) {
	err = s.with(c.Case, func(cs *caseState) error {
		s.mu.Lock()
		have := cs.classes
		s.mu.Unlock()
		for class := range byte(classes) {
			if have&(1<<class) == 0 {
				continue
			}
			var last []byte
			for _, end := range c.Key.End {
				prefix := expectKey(nil, cs.no, class, c.Key.Proto, end)
				if bytes.Equal(prefix, last) {
					continue // both ends look the same to this class
				}
				last = prefix
				if err := s.expected(cs, c, prefix, &es); err != nil {
					return err
				}
			}
		}
		return nil
	})
	row.SortExpectations(es)
	return es, err
}

// expectTail is what follows the prefix of an expectation's key: id, generation, part, number.
const expectTail = idLen + 8 + 4 + 4

func (s *Store) expected(cs *caseState, c *ntpac.Conversation, prefix []byte, es *[]ntpac.Expectation) error {
	return s.scan(prefix, func(k, v []byte) error {
		if len(k) != len(prefix)+expectTail {
			return nil
		}
		k = k[len(prefix):]
		id, gen := ntpac.ConversationID(k), row.GenerationKey(k[idLen:])
		part, n := int(binary.BigEndian.Uint32(k[idLen+8:])), int(binary.BigEndian.Uint32(k[idLen+12:]))
		e, err := row.DecodeExpectation(v, cs.name, id)
		if err != nil || !e.Matches(c) {
			return err
		}
		st, err := s.stateOf(s.db, cs, id)
		if err != nil || st == nil || st.Visible == nil || st.Visible.Key != gen || part >= st.Visible.Parts {
			return err
		}
		// The entry may have outlived its part: what the part says is what holds.
		buf, done := s.buffer()
		defer done()
		b, err := s.readPart(s.db, cs, id, gen, part, buf, nil)
		if err != nil || b == nil {
			return err
		}
		all, err := row.DecodeExpectations(b, cs.name, id)
		if err == nil && n < len(all) && all[n].Matches(c) && all[n].To == e.To {
			*es = append(*es, all[n])
		}
		return err
	})
}

// Announced lists the conversations that an expectation matches.
func (s *Store) Announced(ctx context.Context, e *ntpac.Expectation) (found []*ntpac.Conversation, err error) {
	end := e.To
	if !end.Addr().IsValid() {
		end = e.From
	}
	if !end.Addr().IsValid() {
		for c, err := range s.Conversations(ctx, &ntpac.Query{Case: e.Case, From: e.Start, To: e.End}) {
			if err != nil {
				return nil, err
			}
			if e.Matches(c) {
				found = append(found, c)
			}
		}
		return found, nil
	}
	err = s.with(e.Case, func(cs *caseState) error {
		prefix := endKey(nil, cs.no, end.Addr())
		lower, upper := bounds(prefix, &ntpac.Query{From: e.Start, To: e.End})
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return err
		}
		defer it.Close()
		for it.First(); it.Valid(); it.Next() {
			k, v := it.Key()[len(prefix):], it.Value()
			if len(k) != idLen+2 || len(v) != 1 || ntpac.Proto(v[0]) != e.Proto {
				continue
			}
			if p := binary.BigEndian.Uint16(k[idLen:]); end.Port() != 0 && p != end.Port() {
				continue
			}
			id := ntpac.ConversationID(k)
			if n := len(found); n > 0 && found[n-1].ID == id {
				continue
			}
			c, err := s.conversation(s.db, cs, id)
			if err != nil {
				return err
			}
			if c != nil && e.Matches(c) {
				found = append(found, c)
			}
		}
		return it.Error()
	})
	return found, err
}

// Sources lists the sources of a case by id.
func (s *Store) Sources(_ context.Context, name string) (all []ntpac.SourceInfo, err error) {
	err = s.with(name, func(cs *caseState) error {
		return s.scan(key(nil, cs.no, kindSource), func(_, v []byte) error {
			i, err := decodeSource(v)
			all = append(all, i)
			return err
		})
	})
	return all, err
}

// Checkpoints lists the checkpoints of a case by shard.
func (s *Store) Checkpoints(_ context.Context, name string) (all []ntpac.Checkpoint, err error) {
	err = s.with(name, func(cs *caseState) error {
		return s.scan(key(nil, cs.no, kindCheckpoint), func(k, v []byte) error {
			c, err := row.DecodeCheckpoint(v, binary.BigEndian.Uint16(k[keyHead:]))
			all = append(all, c)
			return err
		})
	})
	return all, err
}

// Log lists the evidence log of a case from its first entry.
func (s *Store) Log(_ context.Context, name string) iter.Seq2[*ntpac.Evidence, error] {
	return func(yield func(*ntpac.Evidence, error) bool) {
		err := s.with(name, func(cs *caseState) error {
			return s.scan(key(nil, cs.no, kindLog), func(k, v []byte) error {
				e, err := row.DecodeEvidence(v, binary.BigEndian.Uint64(k[keyHead:]))
				if err != nil {
					return fmt.Errorf("evidence log: %w", err)
				}
				if !yield(e, nil) {
					return errStop
				}
				return nil
			})
		})
		if err != nil && err != errStop {
			yield(nil, err)
		}
	}
}
