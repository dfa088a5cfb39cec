package cassandra

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"ntpac"
	"ntpac/store/row"
)

var errStop = errors.New("stop")

// Conversation gives a stored conversation with what its visible generation found out.
func (s *Store) Conversation(ctx context.Context, name string, id ntpac.ConversationID) (conv *ntpac.Conversation, err error) {
	err = s.with(ctx, name, func(c *caseInfo) error {
		return s.some(ctx, c, []ntpac.ConversationID{id}, fullRow, func(r *convRow) (err error) {
			conv, err = r.conversation(c)
			return err
		})
	})
	if err == nil && conv == nil {
		err = fmt.Errorf("conversation %v: %w", id, ntpac.ErrNotFound)
	}
	return conv, err
}

// Chunk appends the captured bytes of a chunk to buf; a chunk that does not exist is empty.
func (s *Store) Chunk(ctx context.Context, name string, k ntpac.ChunkKey, buf []byte) ([]byte, error) {
	err := s.with(ctx, name, func(c *caseInfo) error {
		var v []byte
		q := s.query(`SELECT v FROM chunks WHERE c = ? AND id = ? AND stream = ? AND seg = ? AND n = ?`,
			c.id, k.ID[:], int8(k.Stream), k.N/chunksPerPartition, int16(k.N%chunksPerPartition))
		found, err := s.one(ctx, q, &v)
		if err != nil || !found {
			return err
		}
		var packed []byte
		if _, packed, err = cutVersion(v); err == nil {
			buf, err = row.Unpack(buf, packed)
		}
		if err != nil {
			return fmt.Errorf("chunk %d of stream %d of conversation %v: %w", k.N, k.Stream, k.ID, err)
		}
		return nil
	})
	return buf, err
}

// Generations gives the visible generation of a conversation, without what it found.
func (s *Store) Generations(ctx context.Context, name string, id ntpac.ConversationID) (gs []*ntpac.Generation, err error) {
	err = s.with(ctx, name, func(c *caseInfo) error {
		g, err := s.cellOf(ctx, c, id)
		if err == nil && g.state.Visible != nil {
			gs = append(gs, g.state.Visible.Generation(id))
		}
		return err
	})
	return gs, err
}

// readParts calls f with each part of the visible generation, unpacked, in order. Where the generation was
// replaced since the cell was read, g becomes what it is now.
func (s *Store) readParts(ctx context.Context, c *caseInfo, id ntpac.ConversationID, g *cell, f func(part []byte) error) error {
	packed, err := s.loadParts(ctx, c, id, g)
	for _, p := range packed {
		if err != nil {
			break
		}
		var b []byte
		if b, err = row.Unpack(nil, p); err == nil {
			if err := f(b); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return fmt.Errorf("artifacts of conversation %v: %w", id, err)
	}
	return nil
}

// loadParts gives the parts, packed, those with nothing in them left out.
func (s *Store) loadParts(ctx context.Context, c *caseInfo, id ntpac.ConversationID, g *cell) (all [][]byte, err error) {
	for range 5 {
		part, w, stored := g.visible()
		if !stored {
			if len(part) > 0 {
				all = append(all, part)
			}
			return all, nil
		}
		want, n := g.state.Visible.Parts, 0
		q := s.query(`SELECT n, v FROM parts WHERE c = ? AND id = ? AND w = ? AND n < ?`, c.id, id[:], w, want)
		err := s.each(ctx, chunkPage, q, func(scan func(dest ...any) bool) error {
			for {
				var i int
				var v []byte
				if !scan(&i, &v) {
					return nil
				}
				_, packed, err := cutVersion(v)
				if err != nil {
					return err
				}
				if n++; len(packed) > 0 {
					all = append(all, packed)
				}
			}
		})
		if err != nil || n == want {
			return all, err
		}
		now, err := s.cellOf(ctx, c, id)
		if err != nil {
			return nil, err
		}
		*g, all = *now, nil
	}
	return nil, fmt.Errorf("parts are missing: %w", row.ErrRow)
}

// maxRecipes is how many recipes of one body are looked at for one whose generation is visible.
const maxRecipes = 64

// Blob gives a recipe for a body: of the first conversation whose visible generation names it, or else,
// since a body that was reported once stays provable, of the first that ever did.
func (s *Store) Blob(ctx context.Context, name string, h ntpac.Hash) (found *ntpac.Blob, err error) {
	err = s.with(ctx, name, func(c *caseInfo) error {
		hours, err := s.hours(ctx, c, 0, hourOf(lastMinute))
		if err != nil {
			return err
		}
		body := false
		for n := 0; len(hours) > 0 && n < maxRecipes; {
			some := hours[:min(len(hours), maxRequests/2)]
			hours = hours[len(some):]
			rs := make([][]recipeRow, len(some))
			err := parallel(ctx, len(some), len(some), func(ctx context.Context, i int) (err error) {
				rs[i], err = s.recipes(ctx, c, some[i], h)
				return err
			})
			if err != nil {
				return err
			}
			for _, r := range slices.Concat(rs...) {
				g, err := s.cellOf(ctx, c, r.id)
				if err != nil {
					return err
				}
				body = body || r.body
				visible := g.state.Visible != nil && g.state.Visible.Key == r.gen
				if found == nil || visible {
					if found, err = row.DecodeBlob(r.rest, r.id); err != nil {
						return err
					}
				}
				if n++; visible || n == maxRecipes {
					n = maxRecipes
					break
				}
			}
		}
		if found == nil {
			return nil
		}
		return s.body(ctx, c, found)
	})
	if err == nil && found == nil {
		err = fmt.Errorf("blob %v: %w", h, ntpac.ErrNotFound)
	}
	return found, err
}

type recipeRow struct {
	recipe
	id ntpac.ConversationID
}

// recipes reads those of a body from one hour.
func (s *Store) recipes(ctx context.Context, c *caseInfo, hour int32, h ntpac.Hash) (rs []recipeRow, err error) {
	q := s.query(`SELECT id, v FROM blobs WHERE c = ? AND hour = ? AND bucket = ? AND sum = ? LIMIT ?`, c.id, hour, c.bucketOf(h), h[:], maxRecipes)
	err = s.each(ctx, maxRecipes, q, func(scan func(dest ...any) bool) error {
		for {
			var id, v []byte
			if !scan(&id, &v) {
				return nil
			}
			r, err := parseRecipe(v)
			if err != nil || len(id) != 16 {
				return fmt.Errorf("recipe of blob %v: %w", h, row.ErrRow)
			}
			rs = append(rs, recipeRow{r, ntpac.ConversationID(id)})
		}
	})
	return rs, err
}

// body sets the bytes of a blob that has no recipe.
func (s *Store) body(ctx context.Context, c *caseInfo, b *ntpac.Blob) error {
	var packed []byte
	q := s.query(`SELECT v FROM bodies WHERE c = ? AND sum = ?`, c.id, b.SHA256[:])
	err := s.each(ctx, chunkPage, q, func(scan func(dest ...any) bool) error {
		var v []byte
		for scan(&v) {
			packed = append(packed, v...)
		}
		return nil
	})
	if err == nil && len(packed) > 0 {
		if b.Data, err = row.Unpack(nil, packed); err != nil {
			err = fmt.Errorf("blob %v: %w", b.SHA256, err)
		}
	}
	return err
}

// Expected lists the expectations of visible generations that match the conversation.
func (s *Store) Expected(ctx context.Context, conv *ntpac.Conversation) (es []ntpac.Expectation, err error) {
	err = s.with(ctx, conv.Case, func(c *caseInfo) error {
		origins, err := s.origins(ctx, c, conv)
		if err != nil {
			return err
		}
		// The index may have outlived what it says: what the parts say is what holds.
		for _, id := range origins {
			g, err := s.cellOf(ctx, c, id)
			if err != nil {
				return err
			}
			err = s.readParts(ctx, c, id, g, func(part []byte) error {
				all, err := row.DecodeExpectations(part, c.name, id)
				for _, e := range all {
					if e.Matches(conv) {
						es = append(es, e)
					}
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	row.SortExpectations(es)
	return es, err
}

// origins lists the conversations that may have announced another one.
func (s *Store) origins(ctx context.Context, c *caseInfo, conv *ntpac.Conversation) (ids []ntpac.ConversationID, err error) {
	var have []byte
	err = s.each(ctx, classes, s.query(`SELECT k FROM expected WHERE c = ? AND h = ?`, c.id, int16(expectClasses)), func(scan func(dest ...any) bool) error {
		var k []byte
		for scan(&k) {
			have = append(have, k...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, class := range have {
		var last []byte
		for _, end := range conv.Key.End {
			k, h := expectKey(class, conv.Key.Proto, end)
			if bytes.Equal(k, last) {
				continue // both ends look the same to this class
			}
			last = k
			q := s.query(`SELECT id, v FROM expected WHERE c = ? AND h = ? AND k = ?`, c.id, h, k)
			err := s.each(ctx, page, q, func(scan func(dest ...any) bool) error {
				for {
					var id, v []byte
					if !scan(&id, &v) {
						return nil
					}
					if len(id) != 16 {
						return fmt.Errorf("expectation: %w", row.ErrRow)
					}
					origin := ntpac.ConversationID(id)
					e, err := row.DecodeExpectation(v, c.name, origin)
					if err != nil {
						return err
					}
					if e.Matches(conv) {
						ids = append(ids, origin)
					}
				}
			})
			if err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(ids, ntpac.ConversationID.Compare)
	return slices.Compact(ids), nil
}

// Announced lists the conversations that an expectation matches.
func (s *Store) Announced(ctx context.Context, e *ntpac.Expectation) (found []*ntpac.Conversation, err error) {
	q := &ntpac.Query{Case: e.Case, From: e.Start, To: e.End}
	end := e.To
	if !end.Addr().IsValid() {
		end = e.From
	}
	if a := end.Addr(); a.IsValid() {
		q.Addrs = []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}
	}
	err = s.with(ctx, e.Case, func(c *caseInfo) error {
		return s.list(ctx, c, &plan{q: q, cols: fullRow, port: end.Port(), proto: &e.Proto}, func(r *convRow) error {
			conv, err := r.conversation(c)
			if err == nil && e.Matches(conv) {
				found = append(found, conv)
			}
			return err
		})
	})
	return found, err
}

// Sources lists the sources of a case by id.
func (s *Store) Sources(ctx context.Context, name string) (all []ntpac.SourceInfo, err error) {
	err = s.with(ctx, name, func(c *caseInfo) error {
		return s.each(ctx, page, s.query(`SELECT id, v FROM sources WHERE c = ?`, c.id), func(scan func(dest ...any) bool) error {
			for {
				var id int64
				var v []byte
				if !scan(&id, &v) {
					return nil
				}
				i, err := decodeSource(v)
				if err != nil {
					return fmt.Errorf("source %x: %w", uint64(id), err)
				}
				all = append(all, i)
			}
		})
	})
	slices.SortFunc(all, func(a, b ntpac.SourceInfo) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
	return all, err
}

func decodeSource(v []byte) (i ntpac.SourceInfo, err error) {
	if len(v) < sourceRankLen {
		return i, row.ErrRow
	}
	js, err := row.Unpack(nil, v[sourceRankLen:])
	if err == nil {
		err = json.Unmarshal(js, &i)
	}
	return i, err
}
