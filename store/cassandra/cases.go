package cassandra

import (
	"context"
	"errors"
	"fmt"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
	"ntpac/store/row"
)

// caseInfo is what the store knows of a case.
type caseInfo struct {
	name    string
	id      gocql.UUID
	buckets int
	seen    time.Time
}

// Kinds of rows in table cases.
const (
	caseLive    = 0 // by name
	caseDropped = 1 // by id: what is still to be deleted
)

// caseAge is for how long a case that was seen is not looked up again. Within it, what is written to a
// case that another node has dropped is lost, as what was written just before is.
const caseAge = time.Second

// lookup finds a case; nil where there is none.
func (s *Store) lookup(ctx context.Context, name string) (*caseInfo, error) {
	s.mu.Lock()
	c := s.cases[name]
	s.mu.Unlock()
	if c != nil && time.Since(c.seen) < caseAge {
		return c, nil
	}
	return s.load(ctx, name, s.cons)
}

func (s *Store) load(ctx context.Context, name string, cons gocql.Consistency) (*caseInfo, error) {
	c := &caseInfo{name: name, seen: time.Now()}
	found, err := s.one(ctx, s.query(`SELECT id, buckets FROM cases WHERE k = ? AND name = ?`, caseLive, name).Consistency(cons), &c.id, &c.buckets)
	if err != nil {
		return nil, err
	}
	if found && (c.buckets < 1 || c.buckets > maxBuckets || c.buckets&(c.buckets-1) != 0) {
		return nil, fmt.Errorf("cassandra: case %q has %d buckets: %w", name, c.buckets, row.ErrRow)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !found {
		delete(s.cases, name)
		return nil, nil
	}
	s.cases[name] = c
	return c, nil
}

// create makes a case, unless another node has made it in the meantime.
func (s *Store) create(ctx context.Context, name string) (*caseInfo, error) {
	buckets := s.opt.Buckets
	if buckets == 0 {
		buckets = defaultBuckets
		if s.ring.nodes == 1 {
			buckets = 1
		}
	}
	id := gocql.MustRandomUUID()
	_, err := s.applied(ctx, func() *gocql.Query {
		return s.db.Query(`INSERT INTO cases (k, name, id, buckets) VALUES (?, ?, ?, ?) IF NOT EXISTS`, caseLive, name, id, buckets)
	}, func() (bool, error) {
		c, err := s.load(ctx, name, gocql.Consistency(s.serial))
		return c != nil, err
	})
	if err != nil {
		return nil, err
	}
	c, err := s.load(ctx, name, gocql.Consistency(s.serial))
	if err == nil && c == nil {
		err = fmt.Errorf("cassandra: case %q was dropped while it was made", name)
	}
	return c, err
}

// with runs f on a case; a case that does not exist is not looked into.
func (s *Store) with(ctx context.Context, name string, f func(c *caseInfo) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	c, err := s.lookup(ctx, name)
	if err != nil || c == nil {
		return err
	}
	return f(c)
}

// Cases lists the names of the cases in order.
func (s *Store) Cases(ctx context.Context) (names []string, err error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	err = s.each(ctx, bigPage, s.query(`SELECT name FROM cases WHERE k = ?`, caseLive), func(scan func(dest ...any) bool) error {
		var name string
		for scan(&name) {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// Drop deletes a case: its name, so that it does not exist, and then what it had. Where that is cut short,
// the next call goes on with it, whichever case it is for.
func (s *Store) Drop(ctx context.Context, name string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	c, err := s.load(ctx, name, gocql.Consistency(s.serial))
	if err != nil {
		return err
	}
	if c == nil {
		return errors.Join(fmt.Errorf("case %q: %w", name, ntpac.ErrNotFound), s.sweep(ctx))
	}
	if err := s.exec(ctx, `INSERT INTO cases (k, name, id, buckets) VALUES (?, ?, ?, ?)`, caseDropped, c.id.String(), c.id, c.buckets); err != nil {
		return err
	}
	gone, err := s.applied(ctx, func() *gocql.Query {
		return s.db.Query(`DELETE FROM cases WHERE k = ? AND name = ? IF id = ?`, caseLive, name, c.id)
	}, func() (bool, error) {
		now, err := s.load(ctx, name, gocql.Consistency(s.serial))
		return now == nil || now.id != c.id, err
	})
	if err == nil && !gone {
		err = fmt.Errorf("cassandra: case %q could not be dropped: it is being changed", name)
	}
	s.mu.Lock()
	delete(s.cases, name)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.sweep(ctx)
}

// sweep deletes what dropped cases have left. A case whose name is still there was not dropped in the end.
func (s *Store) sweep(ctx context.Context) error {
	type dropped struct {
		name string
		c    *caseInfo
	}
	var all []dropped
	err := s.each(ctx, bigPage, s.query(`SELECT name, id, buckets FROM cases WHERE k = ?`, caseDropped), func(scan func(dest ...any) bool) error {
		var c caseInfo
		for scan(&c.name, &c.id, &c.buckets) {
			v := c
			all = append(all, dropped{c.name, &v})
		}
		return nil
	})
	if err != nil || len(all) == 0 {
		return err
	}
	live := map[gocql.UUID]bool{}
	err = s.each(ctx, bigPage, s.query(`SELECT id FROM cases WHERE k = ?`, caseLive).Consistency(gocql.Consistency(s.serial)), func(scan func(dest ...any) bool) error {
		var id gocql.UUID
		for scan(&id) {
			live[id] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range all {
		if live[d.c.id] {
			continue // another node is about to take its name away
		}
		if err := s.sweepCase(ctx, d.c); err != nil {
			return err
		}
		if err := s.exec(ctx, `DELETE FROM cases WHERE k = ? AND name = ?`, caseDropped, d.name); err != nil {
			return err
		}
	}
	return nil
}

// sweepCase deletes all partitions of a case, those of the indexes that name the others last.
func (s *Store) sweepCase(ctx context.Context, c *caseInfo) error {
	hours, err := s.hours(ctx, c, 0, hourOf(lastMinute))
	if err != nil {
		return err
	}
	for _, h := range hours {
		ms, err := s.minutes(ctx, c, h, 0, lastMinute)
		if err != nil {
			return err
		}
		if err := parallel(ctx, len(ms), maxRequests/2, func(ctx context.Context, i int) error { return s.sweepPartition(ctx, c, ms[i].partition) }); err != nil {
			return err
		}
		for b := range c.buckets {
			if err := s.sweepBodies(ctx, c, h, int16(b)); err != nil {
				return err
			}
			for _, t := range []string{"blobs", "ends"} {
				if err := s.erase(ctx, t, "c = ? AND hour = ? AND bucket = ?", c.id, h, int16(b)); err != nil {
					return err
				}
			}
		}
		if err := s.erase(ctx, "minutes", "c = ? AND hour = ?", c.id, h); err != nil {
			return err
		}
	}
	for h := range expectPartitions + 1 {
		if err := s.erase(ctx, "expected", "c = ? AND h = ?", c.id, int16(h-1)); err != nil {
			return err
		}
	}
	for g := range checkpointPartitions {
		if err := s.sweepCheckpoints(ctx, c, g); err != nil {
			return err
		}
	}
	for _, t := range []string{"sources", "log", "hours"} {
		if err := s.erase(ctx, t, "c = ?", c.id); err != nil {
			return err
		}
	}
	return nil
}

// erase deletes a partition, and what may still come to it from a writer that does not know.
func (s *Store) erase(ctx context.Context, table, where string, args ...any) error {
	return s.exec(ctx, fmt.Sprintf("DELETE FROM %s USING TIMESTAMP %d WHERE %s", table, timeDrop, where), args...)
}

func (s *Store) sweepPartition(ctx context.Context, c *caseInfo, at partition) error {
	err := s.each(ctx, bigPage, s.query(`SELECT id, what, n FROM owned WHERE c = ? AND minute = ? AND bucket = ?`, c.id, at.minute, at.bucket),
		func(scan func(dest ...any) bool) error {
			var id []byte
			var what int8
			var n int64
			for scan(&id, &what, &n) {
				var err error
				if what == ownedParts {
					err = s.erase(ctx, "parts", "c = ? AND id = ? AND w = ?", c.id, id, n)
				} else {
					err = s.erase(ctx, "chunks", "c = ? AND id = ? AND stream = ? AND seg = ?", c.id, id, what, n)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil {
		return err
	}
	for _, t := range []string{"conversations", "owned"} {
		if err := s.erase(ctx, t, "c = ? AND minute = ? AND bucket = ?", c.id, at.minute, at.bucket); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) sweepBodies(ctx context.Context, c *caseInfo, hour int32, bucket int16) error {
	return s.each(ctx, bigPage, s.query(`SELECT sum, v FROM blobs WHERE c = ? AND hour = ? AND bucket = ?`, c.id, hour, bucket),
		func(scan func(dest ...any) bool) error {
			var sum, v []byte
			for scan(&sum, &v) {
				if r, err := parseRecipe(v); err == nil && r.body {
					if err := s.erase(ctx, "bodies", "c = ? AND sum = ?", c.id, sum); err != nil {
						return err
					}
				}
			}
			return nil
		})
}

func (s *Store) sweepCheckpoints(ctx context.Context, c *caseInfo, g int) error {
	rows, err := s.checkpointRows(ctx, c, g)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.pieces > 0 {
			if err := s.erase(ctx, "checkpoint_pieces", "c = ? AND shard = ? AND epoch = ? AND version = ?", c.id, r.shard, r.epoch, r.version); err != nil {
				return err
			}
		}
	}
	return s.erase(ctx, "checkpoints", "c = ? AND g = ?", c.id, int16(g))
}
