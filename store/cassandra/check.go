package cassandra

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"ntpac"
	"ntpac/store/row"
)

// Check reads everything of a case again: each row, each piece of payload with its checksums, and the chain
// of the evidence log. What is wrong is reported, one line each; checked counts what was read. The error is
// for what kept it from reading.
func (s *Store) Check(ctx context.Context, name string, report func(problem string)) (checked int64, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	c, err := s.lookup(ctx, name)
	if err != nil {
		return 0, err
	}
	if c == nil {
		return 0, fmt.Errorf("case %q: %w", name, ntpac.ErrNotFound)
	}
	k := checker{s: s, c: c, report: report}
	err = k.all(ctx)
	return k.checked, err
}

type checker struct {
	s       *Store
	c       *caseInfo
	mu      sync.Mutex
	report  func(string)
	checked int64
}

// note counts something that was read, and reports what is wrong with it.
func (k *checker) note(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.checked++
	if err != nil {
		k.report(err.Error())
	}
}

func (k *checker) all(ctx context.Context) error {
	hours, err := k.s.hours(ctx, k.c, 0, hourOf(lastMinute))
	if err != nil {
		return err
	}
	for _, h := range hours {
		ms, err := k.s.minutes(ctx, k.c, h, 0, lastMinute)
		if err != nil {
			return err
		}
		for _, m := range ms {
			for _, f := range []func(context.Context, partition) error{k.conversations, k.owned} {
				if err := f(ctx, m.partition); err != nil {
					return err
				}
			}
		}
		for b := range k.c.buckets {
			if err := k.bodies(ctx, h, int16(b)); err != nil {
				return err
			}
		}
	}
	if err := k.checkpoints(ctx); err != nil {
		return err
	}
	if err := k.sources(ctx); err != nil {
		return err
	}
	n, err := row.VerifyChain(func(yield func(*ntpac.Evidence, error) bool) {
		if err := k.s.log(ctx, k.c, yield); err != nil && err != errStop {
			yield(nil, err)
		}
	})
	k.checked += int64(n)
	if err != nil && ctx.Err() == nil {
		k.report(err.Error())
	}
	return nil
}

func (k *checker) conversations(ctx context.Context, at partition) error {
	q := k.s.query(`SELECT `+fullRow+` FROM conversations WHERE c = ? AND minute = ? AND bucket = ?`, k.c.id, at.minute, at.bucket)
	return k.s.each(ctx, page, q, func(scan func(dest ...any) bool) error {
		return scanRows(fullRow, scan, func(r convRow) error {
			var err error
			switch {
			case k.c.partition(r.id) != at:
				err = fmt.Errorf("conversation %v lies in minute %d, bucket %d, where it does not belong", r.id, at.minute, at.bucket)
			case len(r.v) > 0:
				_, err = r.conversation(k.c)
			default:
				r.cell, err = decodeCell(r.g)
			}
			if err == nil && r.cell.state.Visible != nil {
				h := r.cell.state.Visible
				err = k.s.readParts(ctx, k.c, r.id, r.cell, func(part []byte) error {
					return row.DecodePart(part, k.c.name, r.id, h, func(*ntpac.Artifact) bool { return true })
				})
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			k.note(err)
			return nil
		})
	})
}

// owned checks the payload of the conversations of one partition.
func (k *checker) owned(ctx context.Context, at partition) error {
	var all []chunkPart
	q := k.s.query(`SELECT id, what, n FROM owned WHERE c = ? AND minute = ? AND bucket = ?`, k.c.id, at.minute, at.bucket)
	err := k.s.each(ctx, bigPage, q, func(scan func(dest ...any) bool) error {
		var id []byte
		var what int8
		var n int64
		for scan(&id, &what, &n) {
			if what < ownedParts && len(id) == 16 {
				all = append(all, chunkPart{ntpac.ConversationID(id), uint8(what), n})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return parallel(ctx, len(all), maxRequests/8, func(ctx context.Context, i int) error { return k.chunks(ctx, all[i]) })
}

func (k *checker) chunks(ctx context.Context, at chunkPart) error {
	q := k.s.query(`SELECT n, v FROM chunks WHERE c = ? AND id = ? AND stream = ? AND seg = ?`, k.c.id, at.id[:], int8(at.stream), at.seg)
	var out []byte
	return k.s.each(ctx, chunkPage, q, func(scan func(dest ...any) bool) error {
		var n int16
		var v []byte
		for scan(&n, &v) {
			_, packed, err := cutVersion(v)
			if err == nil {
				out, err = row.Unpack(out[:0], packed)
			}
			if err != nil {
				err = fmt.Errorf("chunk %d of stream %d of conversation %v: %w", at.seg*chunksPerPartition+int64(n), at.stream, at.id, err)
			}
			k.note(err)
		}
		return nil
	})
}

// bodies checks recipes, and the bodies that they name.
func (k *checker) bodies(ctx context.Context, hour int32, bucket int16) error {
	q := k.s.query(`SELECT sum, id, v FROM blobs WHERE c = ? AND hour = ? AND bucket = ?`, k.c.id, hour, bucket)
	return k.s.each(ctx, page, q, func(scan func(dest ...any) bool) error {
		var sum, id, v []byte
		for scan(&sum, &id, &v) {
			r, err := parseRecipe(v)
			var b *ntpac.Blob
			if err == nil && len(sum) == len(ntpac.Hash{}) && len(id) == 16 {
				b, err = row.DecodeBlob(r.rest, ntpac.ConversationID(id))
			} else if err == nil {
				err = row.ErrRow
			}
			if err == nil && r.body {
				if err = k.s.body(ctx, k.c, b); err == nil && ntpac.Hash(sha256.Sum256(b.Data)) != ntpac.Hash(sum) {
					err = fmt.Errorf("its bytes have the sum %x", sha256.Sum256(b.Data))
				}
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				err = fmt.Errorf("blob %x: %w", sum, err)
			}
			k.note(err)
		}
		return nil
	})
}

func (k *checker) checkpoints(ctx context.Context) error {
	for g := range checkpointPartitions {
		rows, err := k.s.checkpointRows(ctx, k.c, g)
		if err != nil {
			return err
		}
		for i := range rows {
			_, err := k.s.checkpoint(ctx, k.c, &rows[i])
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				err = fmt.Errorf("checkpoint of shard %d: %w", rows[i].shard, err)
			}
			k.note(err)
		}
	}
	return nil
}

func (k *checker) sources(ctx context.Context) error {
	return k.s.each(ctx, page, k.s.query(`SELECT id, v FROM sources WHERE c = ?`, k.c.id), func(scan func(dest ...any) bool) error {
		var id int64
		var v []byte
		for scan(&id, &v) {
			_, err := decodeSource(v)
			if err != nil {
				err = fmt.Errorf("source %x: %w", uint64(id), err)
			}
			k.note(err)
		}
		return nil
	})
}
