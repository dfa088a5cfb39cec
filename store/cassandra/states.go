package cassandra

import (
	"bytes"
	"context"
	"fmt"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
	"ntpac/store/row"
)

// The generations of a conversation are read, changed and written by whoever snoops it, perhaps by two at
// once: the new cell is written on condition that the old one is still there, else all begins again with
// what is there now. The parts are written before, under a number that nobody else has.

// convState is one conversation of a commit that has generations.
type convState struct {
	id    ntpac.ConversationID
	parts []partWork

	guess  bool // old was not read now
	old    []byte
	cell   *cell
	new    []byte // the cell to be written
	counts []counted
	out    []partOut
	drop   []int64 // writings that are of no use when new is stored
}

// counted is a part that counts, beside its generation's key.
type counted struct {
	*partWork
	key row.GenerationKey
}

// fold works out what the generations change.
func (t *tx) fold(ctx context.Context) error {
	for all := t.w.parts; len(all) > 0; {
		n := 1
		for n < len(all) && all[n].g.Conversation == all[0].g.Conversation {
			n++
		}
		t.states = append(t.states, &convState{id: all[0].g.Conversation, parts: all[:n]})
		all = all[n:]
	}
	if t.c != nil {
		var ask []*convState
		for _, st := range t.states {
			if st.old, st.guess = t.s.known.get(convName{t.c.id, st.id}); !st.guess {
				ask = append(ask, st)
			}
		}
		if err := t.s.readCells(ctx, t.c, ask, t.s.cons); err != nil {
			return err
		}
	}
	for _, st := range t.states {
		err := st.fold(t)
		if err != nil && st.guess { // refused only by what was read now
			if err = t.s.readCells(ctx, t.c, []*convState{st}, t.s.cons); err == nil {
				err = st.fold(t)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (st *convState) fold(t *tx) (err error) {
	if st.cell, err = decodeCell(st.old); err != nil {
		return fmt.Errorf("generations of conversation %v: %w", st.id, err)
	}
	st.counts, st.out, st.drop, st.new = st.counts[:0], st.out[:0], nil, nil
	changed := false
	for i := range st.parts {
		p := &st.parts[i]
		o, out, drop, err := st.cell.take(p.g, p.packed, uint32(t.in.Stamp>>32), t.s.clock.next)
		if err != nil {
			return err
		}
		changed = changed || o.Changed
		st.drop = append(st.drop, drop...)
		if o.Write {
			st.counts = append(st.counts, counted{p, o.Key})
		}
		if out != nil {
			st.out = append(st.out, *out)
		}
	}
	if changed {
		if st.new = st.cell.append(nil); bytes.Equal(st.new, st.old) {
			st.new = nil
		}
	}
	return nil
}

// maxIDs is how many ids one query names.
const maxIDs = 100

// readCells reads the cells of conversations.
func (s *Store) readCells(ctx context.Context, c *caseInfo, all []*convState, cons gocql.Consistency) error {
	by := map[partition][]*convState{}
	for _, st := range all {
		st.old, st.guess = nil, false
		at := c.partition(st.id)
		by[at] = append(by[at], st)
	}
	type ask struct {
		at  partition
		sts []*convState
	}
	var asks []ask
	for at, sts := range by {
		for len(sts) > 0 {
			n := min(len(sts), maxIDs)
			asks = append(asks, ask{at, sts[:n]})
			sts = sts[n:]
		}
	}
	return parallel(ctx, len(asks), maxRequests/2, func(ctx context.Context, i int) error {
		a := asks[i]
		ids := make([][]byte, len(a.sts))
		of := make(map[ntpac.ConversationID]*convState, len(a.sts))
		for i, st := range a.sts {
			ids[i] = st.id[:]
			of[st.id] = st
		}
		q := s.query(`SELECT id, g FROM conversations WHERE c = ? AND minute = ? AND bucket = ? AND id IN ?`, c.id, a.at.minute, a.at.bucket, ids).Consistency(cons)
		return s.each(ctx, maxIDs, q, func(scan func(dest ...any) bool) error {
			for {
				var id, g []byte
				if !scan(&id, &g) {
					return nil
				}
				if st := of[ntpac.ConversationID(id)]; st != nil {
					st.old = g
				}
			}
		})
	})
}

// index names what the generations own.
func (st *convState) index(exists func(ntpac.ConversationID, string), owns func(ntpac.ConversationID, int8, int64)) {
	app := ""
	if h := st.cell.state.Visible; h != nil {
		app = h.App
	}
	exists(st.id, app)
	for i := range st.out {
		owns(st.id, ownedParts, st.out[i].w)
	}
}

// What one conditional batch holds at most. Its rows are written three times, and it is refused as a
// whole where one of them was changed by somebody else.
const (
	casBytes = 128 << 10
	casRows  = 100
)

// generations stores the cells.
func (t *tx) generations(ctx context.Context) error {
	by := map[partition]int{}
	var groups [][]*convState
	var size []int
	for _, st := range t.states {
		if st.new == nil {
			continue
		}
		at := t.c.partition(st.id)
		i, ok := by[at]
		if n := len(st.new) + len(st.old) + rowOverhead; !ok || size[i]+n > casBytes || len(groups[i]) >= casRows {
			i = len(groups)
			by[at] = i
			groups, size = append(groups, nil), append(size, 0)
		}
		groups[i] = append(groups[i], st)
		size[i] += len(st.new) + len(st.old) + rowOverhead
	}
	// Batches of one partition would only wait for one another: each partition has its turn.
	turns := map[partition][]int{}
	var order []partition
	for i, g := range groups {
		at := t.c.partition(g[0].id)
		if turns[at] == nil {
			order = append(order, at)
		}
		turns[at] = append(turns[at], i)
	}
	return parallel(ctx, len(order), maxRequests/2, func(ctx context.Context, k int) error {
		for _, i := range turns[order[k]] {
			if err := t.swap(ctx, groups[i], int64(size[i])); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxSwaps ends the attempts to store cells that others change all the time.
const maxSwaps = 200

// swap stores the cells of some conversations of one partition.
func (t *tx) swap(ctx context.Context, group []*convState, size int64) error {
	failed := 0
	for n := 0; ; n++ {
		applied, err := t.trySwap(ctx, group, size)
		if err == nil && applied {
			return t.swapped(ctx, group)
		}
		if err != nil {
			if failed++; ctx.Err() != nil || !passing(err) || failed > t.s.opt.Retries {
				return t.s.explain(ctx, err)
			}
		}
		if n == maxSwaps {
			return fmt.Errorf("cassandra: the generations of conversation %v and its neighbours are changed by others all the time", group[0].id)
		}
		if n > 0 || err != nil {
			if err := pause(ctx, time.Millisecond<<min(n, 8), time.Second); err != nil {
				return err
			}
		}
		// Whatever came of it: what is there now is what counts. A serial read finishes what was begun.
		if err := t.s.readCells(ctx, t.c, group, gocql.Consistency(t.s.serial)); err != nil {
			return err
		}
		if group, err = t.again(ctx, group); err != nil || len(group) == 0 {
			return err
		}
	}
}

// again works out what is left to change, and writes the parts that this needs.
func (t *tx) again(ctx context.Context, group []*convState) (left []*convState, err error) {
	for _, st := range group {
		if err := st.fold(t); err != nil {
			return nil, err
		}
		if st.new != nil {
			left = append(left, st)
		} else {
			t.remember(st, st.old)
		}
	}
	if err := t.note(ctx, nil, nil, left); err != nil {
		return nil, err
	}
	return left, t.found(ctx, left)
}

func (t *tx) trySwap(ctx context.Context, group []*convState, size int64) (bool, error) {
	n, err := t.s.gate.enter(ctx, size)
	if err != nil {
		return false, err
	}
	defer t.s.gate.leave(n)
	b := t.s.db.Batch(gocql.UnloggedBatch).Consistency(t.s.cons).SerialConsistency(t.s.serial).DefaultTimestamp(false)
	for _, st := range group {
		at := t.c.partition(st.id)
		if len(st.old) == 0 {
			b.Query(`UPDATE conversations SET g = ? WHERE c = ? AND minute = ? AND bucket = ? AND id = ? IF g = null`, st.new, t.c.id, at.minute, at.bucket, st.id[:])
		} else {
			b.Query(`UPDATE conversations SET g = ? WHERE c = ? AND minute = ? AND bucket = ? AND id = ? IF g = ?`, st.new, t.c.id, at.minute, at.bucket, st.id[:], st.old)
		}
	}
	applied, it, err := b.MapExecCASContext(ctx, map[string]any{})
	if it != nil {
		_ = it.Close()
	}
	return applied, err
}

// swapped remembers the cells and deletes what they do not need any more.
func (t *tx) swapped(ctx context.Context, group []*convState) error {
	for _, st := range group {
		t.remember(st, st.new)
		for _, w := range st.drop {
			if err := t.s.erase(ctx, "parts", "c = ? AND id = ? AND w = ?", t.c.id, st.id[:], w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) remember(st *convState, g []byte) {
	name := convName{t.c.id, st.id}
	if len(g) <= smallCell {
		t.s.known.put(name, g)
	} else {
		t.s.known.drop(name)
	}
}

// cellOf reads the cell of one conversation.
func (s *Store) cellOf(ctx context.Context, c *caseInfo, id ntpac.ConversationID) (*cell, error) {
	at := c.partition(id)
	var g []byte
	if _, err := s.one(ctx, s.query(`SELECT g FROM conversations WHERE c = ? AND minute = ? AND bucket = ? AND id = ?`, c.id, at.minute, at.bucket, id[:]), &g); err != nil {
		return nil, err
	}
	k, err := decodeCell(g)
	if err != nil {
		return nil, fmt.Errorf("generations of conversation %v: %w", id, err)
	}
	return k, nil
}
