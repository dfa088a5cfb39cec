package cassandra

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
	"ntpac/store/row"
)

// A checkpoint is one row, moved on by lightweight transaction on condition that it is the one that was
// read, and read at SERIAL. A long one lies in pieces of its own, written before.

// checkpointRow is a row of table checkpoints.
type checkpointRow struct {
	shard          int
	epoch, version int64
	pieces         int
	v              []byte
}

// fence is what a commit does to one shard's checkpoint.
type fence struct {
	shard uint16
	old   *checkpointRow // nil: there is none
	v     []byte         // what it becomes; nil: it is that already
	c     *ntpac.Checkpoint
	first *ntpac.Checkpoint // the commit's first one of the shard, where c is not it
}

// checkpointRows reads one of the partitions.
func (s *Store) checkpointRows(ctx context.Context, c *caseInfo, g int) (rows []checkpointRow, err error) {
	return s.readCheckpoints(ctx, s.query(`SELECT shard, epoch, version, pieces, v FROM checkpoints WHERE c = ? AND g = ?`, c.id, int16(g)))
}

func (s *Store) readCheckpoints(ctx context.Context, q *gocql.Query) (rows []checkpointRow, err error) {
	err = s.each(ctx, page, q.Consistency(gocql.Consistency(s.serial)), func(scan func(dest ...any) bool) error {
		for {
			var r checkpointRow
			if !scan(&r.shard, &r.epoch, &r.version, &r.pieces, &r.v) {
				return nil
			}
			rows = append(rows, r)
		}
	})
	return rows, err
}

// bytesOf gives the encoded checkpoint of a row.
func (s *Store) bytesOf(ctx context.Context, c *caseInfo, r *checkpointRow) ([]byte, error) {
	if r.pieces == 0 {
		return r.v, nil
	}
	var b []byte
	n := 0
	q := s.query(`SELECT v FROM checkpoint_pieces WHERE c = ? AND shard = ? AND epoch = ? AND version = ?`, c.id, r.shard, r.epoch, r.version)
	err := s.each(ctx, chunkPage, q, func(scan func(dest ...any) bool) error {
		var v []byte
		for scan(&v) {
			b = append(b, v...)
			n++
		}
		return nil
	})
	if err == nil && n != r.pieces {
		err = fmt.Errorf("cassandra: the checkpoint of shard %d has %d of %d pieces: %w", r.shard, n, r.pieces, row.ErrRow)
	}
	return b, err
}

// fences refuses the commit where one of its checkpoints is not above what is there.
func (t *tx) fences(ctx context.Context) error {
	t.fence = nil
	at := map[uint16]int{}
	for i := range t.in.Checkpoints {
		c := &t.in.Checkpoints[i]
		f := fence{shard: c.Shard, v: row.AppendCheckpoint(nil, c), c: c}
		k, ok := at[c.Shard]
		switch {
		case !ok:
			at[c.Shard] = len(t.fence)
			t.fence = append(t.fence, f)
		case bytes.Equal(t.fence[k].v, f.v):
		case !row.CheckpointNewer(t.fence[k].c, c):
			return fenced(c, t.fence[k].c.Epoch, t.fence[k].c.Version)
		default:
			// The first one has to be above what is there, too; the last one is what stays.
			f.first = t.fence[k].oldest()
			t.fence[k] = f
		}
	}
	all := make([]*fence, len(t.fence))
	for i := range t.fence {
		all[i] = &t.fence[i]
	}
	return t.look(ctx, all)
}

// oldest is the first checkpoint of its shard in the commit.
func (f *fence) oldest() *ntpac.Checkpoint {
	if f.first != nil {
		return f.first
	}
	return f.c
}

func fenced(c *ntpac.Checkpoint, epoch, version uint32) error {
	return fmt.Errorf("checkpoint %d.%d of shard %d comes after %d.%d: %w", c.Epoch, c.Version, c.Shard, epoch, version, ntpac.ErrFenced)
}

// look reads the checkpoints that are there and compares.
func (t *tx) look(ctx context.Context, fs []*fence) error {
	if t.c == nil {
		return nil
	}
	by := map[int16][]*fence{}
	var gs []int16
	for _, f := range fs {
		g := int16(f.shard % checkpointPartitions)
		if by[g] == nil {
			gs = append(gs, g)
		}
		by[g] = append(by[g], f)
		f.old = nil
	}
	err := parallel(ctx, len(gs), maxRequests/2, func(ctx context.Context, i int) error {
		shards := make([]int, len(by[gs[i]]))
		for k, f := range by[gs[i]] {
			shards[k] = int(f.shard)
		}
		q := t.s.query(`SELECT shard, epoch, version, pieces, v FROM checkpoints WHERE c = ? AND g = ? AND shard IN ?`, t.c.id, gs[i], shards)
		rows, err := t.s.readCheckpoints(ctx, q)
		for k := range rows {
			for _, f := range by[gs[i]] {
				if int(f.shard) == rows[k].shard {
					f.old = &rows[k]
				}
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range fs {
		if err := t.compare(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// compare refuses a checkpoint that is not above the old one.
func (t *tx) compare(ctx context.Context, f *fence) error {
	r := f.old
	if r == nil {
		return nil
	}
	for _, c := range []*ntpac.Checkpoint{f.oldest(), f.c} {
		o := &ntpac.Checkpoint{Epoch: uint32(r.epoch), Version: uint32(r.version)}
		if row.CheckpointNewer(o, c) {
			continue
		}
		if row.CheckpointNewer(c, o) {
			return fenced(c, o.Epoch, o.Version)
		}
		had, err := t.s.bytesOf(ctx, t.c, r)
		if err != nil {
			return err
		}
		if !bytes.Equal(had, row.AppendCheckpoint(nil, c)) {
			return fenced(c, o.Epoch, o.Version)
		}
		if c == f.c {
			f.v = nil // the same commit again
			return nil
		}
	}
	return nil
}

// hereMax is the length up to which a checkpoint lies in its row, which is written three times.
const hereMax = 2 << 10

// pieceKey is a partition of pieces.
type pieceKey struct {
	shard   uint16
	epoch   uint32
	version uint32
}

// checkpoints moves the checkpoints, after everything they stand for is in the store.
func (t *tx) checkpoints(ctx context.Context) error {
	t.fence = slices.DeleteFunc(t.fence, func(f fence) bool { return f.v == nil })
	var b batches[pieceKey]
	by := map[int][]*fence{}
	for i := range t.fence {
		f := &t.fence[i]
		g := int(f.shard % checkpointPartitions)
		by[g] = append(by[g], f)
		if len(f.v) > hereMax {
			for n, p := range pieces(f.v) {
				b.add(pieceKey{f.shard, f.c.Epoch, f.c.Version}, len(p), `INSERT INTO checkpoint_pieces (c, shard, epoch, version, n, v) VALUES (?, ?, ?, ?, ?, ?)`,
					t.c.id, int(f.shard), int64(f.c.Epoch), int64(f.c.Version), n, p)
			}
		}
	}
	if err := b.write(ctx, t.s, t.s.clock.next()); err != nil {
		return err
	}
	var groups [][]*fence
	for _, fs := range by {
		groups = append(groups, fs)
	}
	return parallel(ctx, len(groups), maxRequests/2, func(ctx context.Context, i int) error { return t.move(ctx, groups[i]) })
}

// move moves checkpoints of one partition, all of them or none.
func (t *tx) move(ctx context.Context, fs []*fence) error {
	for n := 0; len(fs) > 0; n++ {
		applied, err := t.tryMove(ctx, fs)
		if err == nil && applied {
			return t.dropPieces(ctx, fs)
		}
		if err != nil && (ctx.Err() != nil || !passing(err) || n >= t.s.opt.Retries) {
			return t.s.explain(ctx, err)
		}
		if n == maxSwaps {
			return errors.New("cassandra: the checkpoints are changed by others all the time")
		}
		if err := pause(ctx, time.Millisecond<<min(n, 8), maxPause); err != nil {
			return err
		}
		var left, moved []*fence
		old := map[*fence]*checkpointRow{}
		for _, f := range fs {
			f.first, old[f] = nil, f.old // of what was written before only the last counts
		}
		if err := t.look(ctx, fs); err != nil {
			return err
		}
		for _, f := range fs {
			if f.v != nil {
				left = append(left, f)
				continue
			}
			f.old = old[f] // it was moved after all
			moved = append(moved, f)
		}
		if err := t.dropPieces(ctx, moved); err != nil {
			return err
		}
		fs = left
	}
	return nil
}

func (t *tx) tryMove(ctx context.Context, fs []*fence) (bool, error) {
	size := int64(0)
	b := t.s.db.Batch(gocql.UnloggedBatch).Consistency(t.s.cons).SerialConsistency(t.s.serial).DefaultTimestamp(false)
	for _, f := range fs {
		v, n := f.v, 0
		if len(v) > hereMax {
			v, n = []byte{}, len(pieces(v))
		}
		size += int64(len(v)) + rowOverhead
		g := int16(f.shard % checkpointPartitions)
		if f.old == nil {
			b.Query(`INSERT INTO checkpoints (c, g, shard, epoch, version, pieces, v) VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS`,
				t.c.id, g, int(f.shard), int64(f.c.Epoch), int64(f.c.Version), n, v)
		} else {
			b.Query(`UPDATE checkpoints SET epoch = ?, version = ?, pieces = ?, v = ? WHERE c = ? AND g = ? AND shard = ? IF epoch = ? AND version = ?`,
				int64(f.c.Epoch), int64(f.c.Version), n, v, t.c.id, g, int(f.shard), f.old.epoch, f.old.version)
		}
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

// dropPieces deletes those of the checkpoints that were replaced.
func (t *tx) dropPieces(ctx context.Context, fs []*fence) error {
	for _, f := range fs {
		if o := f.old; o != nil && o.pieces > 0 && (o.epoch != int64(f.c.Epoch) || o.version != int64(f.c.Version)) {
			if err := t.s.erase(ctx, "checkpoint_pieces", "c = ? AND shard = ? AND epoch = ? AND version = ?", t.c.id, o.shard, o.epoch, o.version); err != nil {
				return err
			}
		}
	}
	return nil
}

// Checkpoints lists the checkpoints of a case by shard.
func (s *Store) Checkpoints(ctx context.Context, name string) (all []ntpac.Checkpoint, err error) {
	err = s.with(ctx, name, func(c *caseInfo) error {
		found := make([][]ntpac.Checkpoint, checkpointPartitions)
		err := parallel(ctx, checkpointPartitions, maxRequests/2, func(ctx context.Context, g int) error {
			rows, err := s.checkpointRows(ctx, c, g)
			for i := range rows {
				k, err := s.checkpoint(ctx, c, &rows[i])
				if err != nil {
					return err
				}
				found[g] = append(found[g], k)
			}
			return err
		})
		all = slices.Concat(found...)
		slices.SortFunc(all, func(a, b ntpac.Checkpoint) int { return int(a.Shard) - int(b.Shard) })
		return err
	})
	return all, err
}

// checkpoint decodes a row. Where it was replaced while its pieces were read, the new one is read.
func (s *Store) checkpoint(ctx context.Context, c *caseInfo, r *checkpointRow) (k ntpac.Checkpoint, err error) {
	for range 10 {
		b, err := s.bytesOf(ctx, c, r)
		if err == nil {
			return row.DecodeCheckpoint(b, uint16(r.shard))
		}
		now := checkpointRow{shard: r.shard}
		q := s.query(`SELECT epoch, version, pieces, v FROM checkpoints WHERE c = ? AND g = ? AND shard = ?`, c.id, int16(r.shard%checkpointPartitions), r.shard)
		found, err2 := s.one(ctx, q.Consistency(gocql.Consistency(s.serial)), &now.epoch, &now.version, &now.pieces, &now.v)
		if err2 != nil || !found || now.epoch == r.epoch && now.version == r.version {
			return k, errors.Join(err, err2)
		}
		r = &now
	}
	return k, fmt.Errorf("cassandra: the checkpoint of shard %d is replaced all the time", r.shard)
}
