package memory

import (
	"bytes"
	"context"
	"fmt"

	"ntpac"
	"ntpac/store/row"
)

// Commit takes everything in c, or nothing of it.
func (s *Store) Commit(ctx context.Context, c *ntpac.Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d := s.cases[c.Case]
	if d == nil {
		if err := row.CheckCase(c.Case); err != nil {
			return err
		}
		d = newData()
	}
	t := tx{d: d, c: c, states: map[ntpac.ConversationID]*row.State{}, checks: map[uint16][]byte{}}
	// What can be refused comes first and changes nothing.
	for _, step := range []func() error{t.verify, t.checkpoints, t.generations} {
		if err := step(); err != nil {
			return err
		}
	}
	t.apply()
	s.cases[c.Case] = d
	return nil
}

type tx struct {
	d      *data
	c      *ntpac.Commit
	states map[ntpac.ConversationID]*row.State
	checks map[uint16][]byte
	then   []func()
}

func (t *tx) verify() error {
	for i := range t.c.Chunks {
		k := &t.c.Chunks[i]
		if p, err := row.ParsePacked(k.Packed); err != nil || p.RawLen != k.RawLen {
			return fmt.Errorf("chunk %d of conversation %v: not packed, or not as long as it says", k.Key.N, k.Key.ID)
		}
	}
	return nil
}

func (t *tx) checkpoints() error {
	for i := range t.c.Checkpoints {
		c := &t.c.Checkpoints[i]
		had, found := t.checks[c.Shard]
		if !found {
			had, found = t.d.checks[c.Shard]
		}
		v := row.AppendCheckpoint(nil, c)
		if found && !bytes.Equal(had, v) {
			o, err := row.DecodeCheckpoint(had, c.Shard)
			if err != nil {
				return err
			}
			if !row.CheckpointNewer(&o, c) {
				return fmt.Errorf("checkpoint %d.%d of shard %d: %w", c.Epoch, c.Version, c.Shard, ntpac.ErrFenced)
			}
		}
		t.checks[c.Shard] = v
	}
	return nil
}

func (t *tx) generations() error {
	for _, g := range t.c.Generations {
		st := t.states[g.Conversation]
		if st == nil {
			st = &row.State{}
			if had := t.d.states[g.Conversation]; had != nil {
				var err error
				if st, err = row.DecodeState(had.Append(nil)); err != nil {
					return err
				}
			}
			t.states[g.Conversation] = st
		}
		o, err := st.Take(g, uint32(t.c.Stamp>>32))
		if err != nil {
			return err
		}
		part, err := row.AppendPart(nil, g)
		if err != nil {
			return err
		}
		t.then = append(t.then, func() {
			if o.Write {
				t.d.parts[partID{g.Conversation, o.Key, g.Part}] = part
				t.blobs(g, o.Key)
			}
			for _, m := range o.Dropped {
				for n := range m.Parts {
					delete(t.d.parts, partID{g.Conversation, m.Key, n})
				}
			}
		})
	}
	return nil
}

func (t *tx) blobs(g *ntpac.Generation, gen row.GenerationKey) {
	for _, a := range g.Artifacts {
		for i := range a.Blobs {
			b := &a.Blobs[i]
			if t.d.blobs[b.SHA256] == nil {
				t.d.blobs[b.SHA256] = map[ntpac.ConversationID]recipe{}
			}
			t.d.blobs[b.SHA256][g.Conversation] = recipe{gen, row.AppendBlob(nil, b, g.Conversation)}
			if _, ok := t.d.bodies[b.SHA256]; !ok && len(b.Data) > 0 {
				t.d.bodies[b.SHA256] = bytes.Clone(b.Data)
			}
		}
	}
}

func (t *tx) apply() {
	d := t.d
	for i := range t.c.Chunks {
		k := &t.c.Chunks[i]
		rank := row.Rank{Stamp: t.c.Stamp, Next: uint64(k.RawLen)}
		if had, ok := d.chunks[k.Key]; !ok || had.rank.Yields(rank) {
			d.chunks[k.Key] = chunk{rank, bytes.Clone(k.Packed)}
		}
	}
	for _, c := range t.c.Conversations {
		rank := row.Rank{Stamp: t.c.Stamp, Next: uint64(c.Revision)}
		if had, ok := d.convs[c.ID]; !ok || had.rank.Yields(rank) {
			v := conv{rank: rank, row: row.AppendConversation(nil, c)}
			if c.Inline != nil {
				v.inline = row.AppendInline([]byte{}, c.Inline)
			}
			d.convs[c.ID] = v
		}
	}
	for id, st := range t.states {
		d.states[id] = st
	}
	for _, f := range t.then {
		f()
	}
	for _, i := range t.c.Sources {
		if had, ok := d.sources[i.ID]; !ok || row.SourceYields(&had, &i) {
			d.sources[i.ID] = i
		}
	}
	for shard, v := range t.checks {
		d.checks[shard] = v
	}
	for _, e := range t.c.Evidence {
		seq, head := uint64(0), ntpac.Hash{}
		if n := len(d.log); n > 0 {
			seq, head = d.log[n-1].Seq, d.log[n-1].Hash
		}
		if e = row.Chain(e, seq, head); !d.logged[e.Key] {
			e.Body = bytes.Clone(e.Body)
			d.log, d.logged[e.Key] = append(d.log, e), true
		}
	}
}
