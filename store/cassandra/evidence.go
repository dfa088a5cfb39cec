package cassandra

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
	"ntpac/store/row"
)

// The evidence log of a case is one partition: its head (number and hash of the last entry), the entries
// by number, and their keys. Entries are added in one conditional batch that moves the head, so two nodes
// can never continue the same entry.

// logBytes is how much one batch of entries holds at most.
const logBytes = 512 << 10

// evidence adds the entries whose keys are not in the log.
func (t *tx) evidence(ctx context.Context) error {
	left := t.in.Evidence
	for n, failed := 0, 0; len(left) > 0; n++ {
		seq, head, err := t.s.logHead(ctx, t.c)
		if err != nil {
			return err
		}
		// The keys are read after the head: what comes between moves it, and the batch is refused.
		add, rest, err := t.missing(ctx, left, seq, head)
		if err != nil {
			return err
		}
		if len(add) == 0 {
			left = rest
			continue
		}
		applied, err := t.tryLog(ctx, seq, add)
		switch {
		case applied && err == nil:
			left = rest
			continue
		case err != nil:
			if failed++; ctx.Err() != nil || !passing(err) || failed > t.s.opt.Retries {
				return t.s.explain(ctx, err)
			}
		case n == maxSwaps:
			return errors.New("cassandra: the evidence log is written by others all the time")
		}
		if err := pause(ctx, time.Millisecond<<min(n, 10), maxPause); err != nil {
			return err
		}
	}
	return nil
}

// missing chains the next entries that are not in the log, as many as one batch takes, and gives the rest.
func (t *tx) missing(ctx context.Context, left []ntpac.Evidence, seq uint64, head ntpac.Hash) (add []ntpac.Evidence, rest []ntpac.Evidence, err error) {
	n, size := 0, 0
	var keys [][]byte
	for n < len(left) && n < maxIDs && (n == 0 || size+len(left[n].Body) <= logBytes) {
		key := row.EvidenceKey(&left[n])
		keys = append(keys, logKeyKey(key))
		size += len(left[n].Body) + 300
		n++
	}
	there := map[string]bool{}
	q := t.s.query(`SELECT k FROM log WHERE c = ? AND k IN ?`, t.c.id, keys).Consistency(t.s.cons)
	err = t.s.each(ctx, maxIDs, q, func(scan func(dest ...any) bool) error {
		var k []byte
		for scan(&k) {
			there[string(k)] = true
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for i := range left[:n] {
		if there[string(keys[i])] {
			continue
		}
		there[string(keys[i])] = true
		e := row.Chain(left[i], seq, head)
		seq, head = e.Seq, e.Hash
		add = append(add, e)
	}
	return add, left[n:], nil
}

// tryLog adds entries behind number seq.
func (t *tx) tryLog(ctx context.Context, seq uint64, add []ntpac.Evidence) (bool, error) {
	b := t.s.db.Batch(gocql.UnloggedBatch).Consistency(t.s.cons).SerialConsistency(t.s.serial).DefaultTimestamp(false)
	last := &add[len(add)-1]
	if seq == 0 {
		b.Query(`UPDATE log SET seq = ?, head = ? WHERE c = ? IF seq = null`, int64(last.Seq), last.Hash[:], t.c.id)
	} else {
		b.Query(`UPDATE log SET seq = ?, head = ? WHERE c = ? IF seq = ?`, int64(last.Seq), last.Hash[:], t.c.id, int64(seq))
	}
	size := int64(0)
	for i := range add {
		e := &add[i]
		v := row.AppendEvidence(nil, e)
		size += int64(len(v)) + 2*rowOverhead
		b.Query(`INSERT INTO log (c, k, v) VALUES (?, ?, ?)`, t.c.id, logEntryKey(e.Seq), v)
		b.Query(`INSERT INTO log (c, k, v) VALUES (?, ?, ?)`, t.c.id, logKeyKey(e.Key), binary.BigEndian.AppendUint64(nil, e.Seq))
	}
	n, err := t.s.gate.enter(ctx, size)
	if err != nil {
		return false, err
	}
	defer t.s.gate.leave(n)
	applied, it, err := b.MapExecCASContext(ctx, map[string]any{})
	if it != nil {
		_ = it.Close()
	}
	return applied, err
}

// logHead reads number and hash of the last entry; 0 where there is none.
func (s *Store) logHead(ctx context.Context, c *caseInfo) (uint64, ntpac.Hash, error) {
	var seq *int64
	var head []byte
	q := s.query(`SELECT seq, head FROM log WHERE c = ? LIMIT 1`, c.id).Consistency(gocql.Consistency(s.serial))
	found, err := s.one(ctx, q, &seq, &head)
	if err != nil || !found || seq == nil {
		return 0, ntpac.Hash{}, err
	}
	if len(head) != len(ntpac.Hash{}) || *seq < 0 {
		return 0, ntpac.Hash{}, fmt.Errorf("evidence log: %w", row.ErrRow)
	}
	return uint64(*seq), ntpac.Hash(head), nil
}

// Log lists the evidence log of a case from its first entry.
func (s *Store) Log(ctx context.Context, name string) iter.Seq2[*ntpac.Evidence, error] {
	return func(yield func(*ntpac.Evidence, error) bool) {
		err := s.with(ctx, name, func(c *caseInfo) error { return s.log(ctx, c, yield) })
		if err != nil && err != errStop {
			yield(nil, err)
		}
	}
}

func (s *Store) log(ctx context.Context, c *caseInfo, yield func(*ntpac.Evidence, error) bool) error {
	q := s.query(`SELECT k, v FROM log WHERE c = ? AND k >= ? AND k < ?`, c.id, []byte{logEntry}, []byte{logEntry + 1})
	return s.each(ctx, page, q, func(scan func(dest ...any) bool) error {
		for {
			var k, v []byte
			if !scan(&k, &v) {
				return nil
			}
			if len(k) != 9 {
				return fmt.Errorf("evidence log: %w", row.ErrRow)
			}
			e, err := row.DecodeEvidence(v, binary.BigEndian.Uint64(k[1:]))
			if err != nil {
				return fmt.Errorf("evidence log: %w", err)
			}
			if !yield(e, nil) {
				return errStop
			}
		}
	})
}
