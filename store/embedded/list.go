package embedded

import (
	"bytes"
	"context"
	"iter"
	"net/netip"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"ntpac"
	"ntpac/store/row"
)

// maxAddrs is how many addresses a query may name, its prefixes written out, for the index of end
// points to be used; wider ones read all conversations of the time range.
const maxAddrs = 64

// Conversations lists the conversations that a query selects, in the order of their ids, as they were
// when the listing began.
func (s *Store) Conversations(ctx context.Context, q *ntpac.Query) iter.Seq2[*ntpac.Conversation, error] {
	return func(yield func(*ntpac.Conversation, error) bool) {
		err := s.list(ctx, q, func(l *listing) error {
			c, err := l.cs.decode(l.id, l.row, l.state)
			if err != nil {
				return err
			}
			if !row.Match(q, c) {
				return nil
			}
			if err := l.cs.fill(c, l.row, l.buf); err != nil {
				return err
			}
			if !yield(c, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop {
			yield(nil, err)
		}
	}
}

// Artifacts lists the artifacts of the visible generations of the conversations that a query selects,
// in the order of the conversations and, within one, of their finding. Blobs come without their data.
func (s *Store) Artifacts(ctx context.Context, q *ntpac.Query) iter.Seq2[*ntpac.Artifact, error] {
	return func(yield func(*ntpac.Artifact, error) bool) {
		err := s.list(ctx, q, func(l *listing) error {
			if l.state == nil || l.state.Visible == nil || l.state.Visible.Empty {
				return nil
			}
			c, err := l.cs.decode(l.id, l.row, l.state)
			if err != nil || !row.Match(q, c) {
				return err
			}
			return l.artifacts(q, yield)
		})
		if err != nil && err != errStop {
			yield(nil, err)
		}
	}
}

// artifacts gives those of the conversation at which the listing is.
func (l *listing) artifacts(q *ntpac.Query, yield func(*ntpac.Artifact, error) bool) error {
	h := l.state.Visible
	for n := range h.Parts {
		b, err := l.s.readPart(l.snap, l.cs, l.id, h.Key, n, l.buf, l.part[:0])
		if err != nil {
			return err
		}
		if len(b) == 0 {
			continue
		}
		l.part = b
		more := true
		err = row.DecodePart(b, l.cs.name, l.id, h, func(a *ntpac.Artifact) bool {
			if len(q.Types) == 0 || slices.Contains(q.Types, a.Type) {
				more = yield(a, nil)
			}
			return more
		})
		if err != nil {
			return err
		}
		if !more {
			return errStop
		}
	}
	return nil
}

// listing goes through conversations. At each one id, row and state are set, until the next.
type listing struct {
	s     *Store
	cs    *caseState
	snap  *pebble.Snapshot
	rows  *pebble.Iterator
	id    ntpac.ConversationID
	row   []byte // empty: there is only a state
	state *row.State
	buf   *[]byte
	part  []byte
}

// list calls visit for the stored conversations that the indexes give for a query.
func (s *Store) list(ctx context.Context, q *ntpac.Query, visit func(*listing) error) error {
	return s.with(q.Case, func(cs *caseState) error {
		snap := s.db.NewSnapshot()
		defer snap.Close()
		prefix := key(nil, cs.no, kindConversation)
		lower, upper := bounds(prefix, q)
		rows, err := snap.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return err
		}
		defer rows.Close()
		buf, done := s.buffer()
		defer done()
		l := &listing{s: s, cs: cs, snap: snap, rows: rows, buf: buf}
		next, stop, err := s.candidates(snap, cs, q)
		if err != nil {
			return err
		}
		if next == nil {
			return l.all(ctx, visit)
		}
		defer stop()
		for {
			id, ok, err := next()
			if err != nil || !ok {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if !row.InRange(q, id) || !rows.SeekGE(convKey(nil, cs.no, id, subRow)) {
				continue
			}
			if err := l.load(); err != nil {
				return err
			}
			if l.id == id && len(l.row) > 0 {
				if err := visit(l); err != nil {
					return err
				}
			}
		}
	})
}

// all visits every conversation in the iterator's bounds.
func (l *listing) all(ctx context.Context, visit func(*listing) error) error {
	for l.rows.First(); l.rows.Valid(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.load(); err != nil {
			return err
		}
		if len(l.row) == 0 {
			continue
		}
		if err := visit(l); err != nil {
			return err
		}
	}
	return l.rows.Error()
}

// load reads row and state of the conversation at the iterator and moves behind them.
func (l *listing) load() error {
	k := l.rows.Key()
	if len(k) != keyHead+idLen+1 {
		return row.ErrRow
	}
	l.id = ntpac.ConversationID(k[keyHead:])
	l.row, l.state = l.row[:0], nil
	for l.rows.Valid() {
		k := l.rows.Key()
		if len(k) != keyHead+idLen+1 || !bytes.Equal(k[keyHead:keyHead+idLen], l.id[:]) {
			break
		}
		if k[keyHead+idLen] == subRow {
			l.row = append(l.row, l.rows.Value()...)
		} else {
			var err error
			if l.state, err = row.DecodeState(l.rows.Value()); err != nil {
				return err
			}
		}
		l.rows.Next()
	}
	return l.rows.Error()
}

// bounds of keys that begin with prefix and an id in the query's range.
func bounds(prefix []byte, q *ntpac.Query) (lower, upper []byte) {
	lower, upper = bytes.Clone(prefix), after(prefix)
	if q.From > 0 {
		lower = row.AppendID(lower, q.From)
	}
	if a := append(append(bytes.Clone(prefix), q.After[:]...), 0xff); q.After != (ntpac.ConversationID{}) && bytes.Compare(a, lower) > 0 {
		lower = a
	}
	if q.To != 0 && q.To+1 > q.To {
		upper = row.AppendID(bytes.Clone(prefix), q.To+1)
	}
	if bytes.Compare(lower, upper) > 0 {
		upper = lower
	}
	return lower, upper
}

// candidates gives the ids that the best index has for a query, in order and each once; next is nil
// where all conversations are to be read.
func (s *Store) candidates(r pebble.Reader, cs *caseState, q *ntpac.Query) (next func() (ntpac.ConversationID, bool, error), stop func(), err error) {
	if len(q.IDs) > 0 {
		ids := slices.Clone(q.IDs)
		slices.SortFunc(ids, ntpac.ConversationID.Compare)
		ids = slices.Compact(ids)
		return func() (id ntpac.ConversationID, ok bool, err error) {
			if len(ids) == 0 {
				return id, false, nil
			}
			id, ids = ids[0], ids[1:]
			return id, true, nil
		}, func() {}, nil
	}
	var prefixes [][]byte
	if len(q.Addrs) > 0 {
		addrs, err := addresses(r, cs, q.Addrs)
		if err != nil {
			return nil, nil, err
		}
		if addrs != nil {
			for _, a := range addrs {
				prefixes = append(prefixes, endKey(nil, cs.no, a))
			}
			return merged(r, prefixes, q)
		}
	}
	if len(q.Apps) > 0 && !slices.Contains(q.Apps, "") {
		apps := slices.Clone(q.Apps)
		slices.Sort(apps)
		for _, a := range slices.Compact(apps) {
			prefixes = append(prefixes, appKey(nil, cs.no, a))
		}
		return merged(r, prefixes, q)
	}
	return nil, nil, nil
}

// addresses lists the stored addresses that lie in the prefixes; nil where they are too many.
func addresses(r pebble.Reader, cs *caseState, ps []netip.Prefix) ([]netip.Addr, error) {
	all := key(nil, cs.no, kindEnd)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: all, UpperBound: after(all)})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	found := []netip.Addr{}
	for _, p := range ps {
		if !p.IsValid() {
			continue
		}
		at := endKey(nil, cs.no, p.Masked().Addr())
		for it.SeekGE(at); it.Valid(); it.SeekGE(at) {
			a, _, ok := row.ParseAddr(it.Key()[keyHead:])
			if !ok || !p.Contains(a) {
				break
			}
			if !slices.Contains(found, a) {
				found = append(found, a)
			}
			if len(found) > maxAddrs {
				return nil, nil
			}
			at = after(endKey(nil, cs.no, a))
		}
		if err := it.Error(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// stream is one of several ordered lists of ids: keys that begin with a prefix.
type stream struct {
	it *pebble.Iterator
	at int // where in its keys the id is
	id ntpac.ConversationID
}

func (m *stream) take() bool {
	if !m.it.Valid() {
		return false
	}
	if k := m.it.Key(); len(k) >= m.at+idLen {
		m.id = ntpac.ConversationID(k[m.at:])
	}
	return true
}

// merged gives the ids behind any of the prefixes.
func merged(r pebble.Reader, prefixes [][]byte, q *ntpac.Query) (func() (ntpac.ConversationID, bool, error), func(), error) {
	var ms []*stream
	stop := func() {
		for _, m := range ms {
			_ = m.it.Close()
		}
	}
	for _, p := range prefixes {
		lower, upper := bounds(p, q)
		it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			stop()
			return nil, nil, err
		}
		ms = append(ms, &stream{it: it, at: len(p)})
		it.First()
	}
	var last ntpac.ConversationID
	begun := false
	return func() (ntpac.ConversationID, bool, error) {
		for {
			var least *stream
			for _, m := range ms {
				if !m.take() {
					if err := m.it.Error(); err != nil {
						return last, false, err
					}
				} else if least == nil || m.id.Compare(least.id) < 0 {
					least = m
				}
			}
			if least == nil {
				return last, false, nil
			}
			id := least.id
			least.it.Next()
			if !begun || id != last {
				begun, last = true, id
				return id, true, nil
			}
		}
	}, stop, nil
}
