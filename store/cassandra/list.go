package cassandra

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
	"ntpac/store/row"
)

// Which values of a conversation are read.
const (
	fullRow = "id, v, p, g"
	headRow = "id, v, g" // without the inline payload
)

// convRow is a row of table conversations as it was read.
type convRow struct {
	id      ntpac.ConversationID
	v, p, g []byte
	cell    *cell
}

// conversation decodes it; cell is then set.
func (r *convRow) conversation(c *caseInfo) (*ntpac.Conversation, error) {
	g, err := decodeCell(r.g)
	if err != nil {
		return nil, fmt.Errorf("generations of conversation %v: %w", r.id, err)
	}
	r.cell = g
	return decodeConversation(c.name, r.id, r.v, r.p, g)
}

// scanRows reads rows with the columns that were asked for.
func scanRows(cols string, scan func(dest ...any) bool, f func(r convRow) error) error {
	for {
		var id []byte
		var r convRow
		dest := []any{&id, &r.v, &r.p, &r.g}
		if cols == headRow {
			dest = []any{&id, &r.v, &r.g}
		}
		if !scan(dest...) {
			return nil
		}
		if len(id) != len(r.id) {
			return fmt.Errorf("conversation %x: %w", id, row.ErrRow)
		}
		r.id = ntpac.ConversationID(id)
		if err := f(r); err != nil {
			return err
		}
	}
}

// Conversations lists the conversations that a query selects, in the order of their ids. What is committed
// while it is listed may be in it.
func (s *Store) Conversations(ctx context.Context, q *ntpac.Query) iter.Seq2[*ntpac.Conversation, error] {
	return func(yield func(*ntpac.Conversation, error) bool) {
		err := s.with(ctx, q.Case, func(c *caseInfo) error {
			return s.list(ctx, c, &plan{q: q, cols: fullRow}, func(r *convRow) error {
				conv, err := r.conversation(c)
				if err == nil && row.Match(q, conv) && !yield(conv, nil) {
					err = errStop
				}
				return err
			})
		})
		if err != nil && err != errStop {
			yield(nil, err)
		}
	}
}

// Artifacts lists the artifacts of the visible generations of the conversations that a query selects, in
// the order of the conversations and, within one, of their finding. Blobs come without their data.
func (s *Store) Artifacts(ctx context.Context, q *ntpac.Query) iter.Seq2[*ntpac.Artifact, error] {
	return func(yield func(*ntpac.Artifact, error) bool) {
		err := s.records(ctx, q, headRow, func(a *ntpac.Artifact, _ *ntpac.Conversation) bool { return yield(a, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// Records lists what Artifacts does, each beside its conversation, which costs no reading of its own.
func (s *Store) Records(ctx context.Context, q *ntpac.Query) iter.Seq2[*ntpac.Record, error] {
	return func(yield func(*ntpac.Record, error) bool) {
		err := s.records(ctx, q, fullRow, func(a *ntpac.Artifact, c *ntpac.Conversation) bool {
			return yield(&ntpac.Record{Artifact: a, Conversation: c}, nil)
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

func (s *Store) records(ctx context.Context, q *ntpac.Query, cols string, f func(*ntpac.Artifact, *ntpac.Conversation) bool) error {
	err := s.with(ctx, q.Case, func(c *caseInfo) error {
		return s.list(ctx, c, &plan{q: q, cols: cols}, func(r *convRow) error {
			conv, err := r.conversation(c)
			if err != nil || !row.Match(q, conv) {
				return err
			}
			return s.readParts(ctx, c, r.id, r.cell, func(part []byte) error {
				more := true
				err := row.DecodePart(part, c.name, r.id, r.cell.state.Visible, func(a *ntpac.Artifact) bool {
					if len(q.Types) == 0 || slices.Contains(q.Types, a.Type) {
						more = f(a, conv)
					}
					return more
				})
				if err == nil && !more {
					err = errStop
				}
				return err
			})
		})
	})
	if err == errStop {
		return nil
	}
	return err
}

// plan is how a query is answered.
type plan struct {
	q     *ntpac.Query
	cols  string
	port  uint16       // of the address: 0 for any
	proto *ntpac.Proto // nil for any
}

// maxAddrs is how many addresses a query may name for the index of end points to be used; prefixes of
// more than one address read all conversations of the time range.
const maxAddrs = 16

// list calls visit with the rows that may be selected, in order.
func (s *Store) list(ctx context.Context, c *caseInfo, p *plan, visit func(*convRow) error) error {
	q := p.q
	in := func(r *convRow) error {
		if len(r.v) == 0 || !row.InRange(q, r.id) { // without v there is only a generation
			return nil
		}
		return visit(r)
	}
	if len(q.IDs) > 0 {
		return s.some(ctx, c, q.IDs, p.cols, in)
	}
	from, to := minutesOf(q)
	hours, err := s.hours(ctx, c, hourOf(from), hourOf(to))
	if err != nil {
		return err
	}
	single := len(q.Addrs) > 0 && len(q.Addrs) <= maxAddrs && !slices.ContainsFunc(q.Addrs, func(a netip.Prefix) bool { return !a.IsSingleIP() })
	for _, h := range hours {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if single {
			ids, err := s.linkedIDs(ctx, c, p, h, from, to)
			if err == nil {
				err = s.some(ctx, c, ids, p.cols, in)
			}
			if err != nil {
				return err
			}
			continue
		}
		ms, err := s.minutes(ctx, c, h, from, to)
		if err != nil {
			return err
		}
		if len(q.Apps) > 0 && !slices.Contains(q.Apps, "") {
			ms = slices.DeleteFunc(ms, func(m minuteRow) bool {
				return !slices.ContainsFunc(m.apps, func(a string) bool { return slices.Contains(q.Apps, a) })
			})
		}
		for len(ms) > 0 {
			n := 1
			for n < len(ms) && ms[n].minute == ms[0].minute {
				n++
			}
			if err := s.minute(ctx, c, ms[:n], p.cols, q.After, in); err != nil {
				return err
			}
			ms = ms[n:]
		}
	}
	return nil
}

// minutesOf is the range of minutes in which what a query selects began.
func minutesOf(q *ntpac.Query) (from, to int32) {
	first := max(q.From, 0)
	if t := q.After.Start(); t > first {
		first = t
	}
	from, to = int32(first/minuteNs), lastMinute
	if q.To > 0 {
		to = int32(q.To / minuteNs)
	}
	if q.After.Start() < 0 { // sorts behind all others
		from = minuteOf(q.After)
	}
	return from, to
}

// hours lists the hours in which conversations of a case began.
func (s *Store) hours(ctx context.Context, c *caseInfo, from, to int32) (hours []int32, err error) {
	q := s.query(`SELECT hour FROM hours WHERE c = ? AND hour >= ? AND hour <= ?`, c.id, from, to)
	err = s.each(ctx, bigPage, q, func(scan func(dest ...any) bool) error {
		var h int32
		for scan(&h) {
			hours = append(hours, h)
		}
		return nil
	})
	return hours, err
}

// minuteRow is a partition that has conversations, and the applications that were found in it.
type minuteRow struct {
	partition
	apps []string
}

// minutes lists the partitions of one hour.
func (s *Store) minutes(ctx context.Context, c *caseInfo, hour, from, to int32) (ms []minuteRow, err error) {
	q := s.query(`SELECT minute, bucket, apps FROM minutes WHERE c = ? AND hour = ? AND minute >= ? AND minute <= ?`, c.id, hour, from, to)
	err = s.each(ctx, bigPage, q, func(scan func(dest ...any) bool) error {
		for {
			var m minuteRow
			if !scan(&m.minute, &m.bucket, &m.apps) {
				return nil
			}
			ms = append(ms, m)
		}
	})
	return ms, err
}

// some visits the conversations with some ids that are there, in order and each once.
func (s *Store) some(ctx context.Context, c *caseInfo, ids []ntpac.ConversationID, cols string, visit func(*convRow) error) error {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, ntpac.ConversationID.Compare)
	ids = slices.Compact(ids)
	for len(ids) > 0 {
		// As many as one query takes, and no more than of one minute: so their order is that of the ids.
		n := 1
		for n < len(ids) && n < maxIDs && minuteOf(ids[n]) == minuteOf(ids[0]) {
			n++
		}
		by := map[int16][][]byte{}
		var at []int16
		for _, id := range ids[:n] {
			b := c.partition(id).bucket
			if by[b] == nil {
				at = append(at, b)
			}
			by[b] = append(by[b], id[:])
		}
		found := make([][]convRow, len(at))
		minute := minuteOf(ids[0])
		err := parallel(ctx, len(at), maxRequests/2, func(ctx context.Context, i int) error {
			q := s.query(`SELECT `+cols+` FROM conversations WHERE c = ? AND minute = ? AND bucket = ? AND id IN ?`, c.id, minute, at[i], by[at[i]])
			return s.each(ctx, maxIDs, q, func(scan func(dest ...any) bool) error {
				return scanRows(cols, scan, func(r convRow) error { found[i] = append(found[i], r); return nil })
			})
		})
		if err != nil {
			return err
		}
		rows := slices.Concat(found...)
		slices.SortFunc(rows, func(a, b convRow) int { return a.id.Compare(b.id) })
		for i := range rows {
			if len(rows[i].v) == 0 {
				continue
			}
			if err := visit(&rows[i]); err != nil {
				return err
			}
		}
		ids = ids[n:]
	}
	return nil
}

// bucketList reads one partition page by page.
type bucketList struct {
	q     *gocql.Query
	cols  string
	state []byte
	rows  []convRow
	ended bool
}

// fill reads the next page where the last one is used up.
func (s *Store) fill(ctx context.Context, l *bucketList) error {
	for len(l.rows) == 0 && !l.ended {
		l.rows = l.rows[:0]
		next, err := s.page(ctx, page, l.q, l.state, func(scan func(dest ...any) bool) error {
			return scanRows(l.cols, scan, func(r convRow) error { l.rows = append(l.rows, r); return nil })
		})
		if err != nil {
			return err
		}
		l.state, l.ended = next, len(next) == 0
	}
	return nil
}

// minute visits the conversations of one minute, merged from its buckets.
func (s *Store) minute(ctx context.Context, c *caseInfo, ms []minuteRow, cols string, after ntpac.ConversationID, visit func(*convRow) error) error {
	lists := make([]*bucketList, len(ms))
	for i, m := range ms {
		lists[i] = &bucketList{cols: cols, q: s.query(`SELECT `+cols+` FROM conversations WHERE c = ? AND minute = ? AND bucket = ? AND id >= ?`, c.id, m.minute, m.bucket, after[:])}
	}
	err := parallel(ctx, len(lists), maxRequests/2, func(ctx context.Context, i int) error { return s.fill(ctx, lists[i]) })
	if err != nil {
		return err
	}
	for {
		var least *bucketList
		for _, l := range lists {
			if len(l.rows) > 0 && (least == nil || bytes.Compare(l.rows[0].id[:], least.rows[0].id[:]) < 0) {
				least = l
			}
		}
		if least == nil {
			return nil
		}
		r := least.rows[0]
		least.rows = least.rows[1:]
		if err := visit(&r); err != nil {
			return err
		}
		if err := s.fill(ctx, least); err != nil {
			return err
		}
	}
}

// linkedIDs lists, from the index, the conversations of one hour that have one of the query's addresses.
func (s *Store) linkedIDs(ctx context.Context, c *caseInfo, p *plan, hour, from, to int32) (ids []ntpac.ConversationID, err error) {
	for _, a := range p.q.Addrs {
		addr := a.Addr()
		class, bucket := c.endClass(addr)
		q := s.query(`SELECT v FROM ends WHERE c = ? AND hour = ? AND bucket = ? AND h = ? AND minute >= ? AND minute <= ?`, c.id, hour, bucket, class, from, to)
		err := s.each(ctx, page, q, func(scan func(dest ...any) bool) error {
			var v []byte
			for scan(&v) {
				b, err := row.Unpack(nil, v)
				if err == nil {
					err = findEnds(b, addr, func(id ntpac.ConversationID, port uint16, proto ntpac.Proto) {
						if (p.port == 0 || p.port == port) && (p.proto == nil || *p.proto == proto) && row.InRange(p.q, id) {
							ids = append(ids, id)
						}
					})
				}
				if err != nil {
					return fmt.Errorf("index of end points: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}
