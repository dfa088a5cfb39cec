package cassandra

import (
	"context"
	"fmt"

	"ntpac"
	"ntpac/store/row"
)

// partKey is a partition of parts.
type partKey struct {
	id ntpac.ConversationID
	w  int64
}

// found writes what the generations need before their cells are stored: big parts, bodies, and the
// indexes that find bodies and expectations. The indexes are hints, checked against the cells.
func (t *tx) found(ctx context.Context, states []*convState) error {
	var parts batches[partKey]
	var bodies batches[ntpac.Hash]
	var blobs batches[endPart]
	var expected batches[int16]
	classes := map[byte]bool{}
	for _, st := range states {
		for _, p := range st.out {
			v := append(appendVersion(make([]byte, 0, versionLen+len(p.packed)), 0, t.s.clock.next()), p.packed...)
			parts.add(partKey{st.id, p.w}, len(v), `INSERT INTO parts (c, id, w, n, v) VALUES (?, ?, ?, ?, ?)`, t.c.id, st.id[:], p.w, p.n, v)
		}
		for i := range st.counts {
			k := &st.counts[i]
			for _, a := range k.g.Artifacts {
				for j := range a.Blobs {
					t.blob(&blobs, &bodies, &a.Blobs[j], st.id, k.key)
				}
			}
			for j := range k.g.Expectations {
				e := &k.g.Expectations[j]
				class := classOf(e.To)
				classes[class] = true
				key, h := expectKey(class, e.Proto, e.To)
				v := row.AppendExpectation(nil, e, st.id)
				name := fmt.Sprintf("%s %s %s %d %d", key, st.id[:], k.key[:], k.g.Part, j)
				expected.put(h, name, len(key)+len(v), `INSERT INTO expected (c, h, k, id, gen, part, n, v) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
					t.c.id, h, key, st.id[:], k.key[:], k.g.Part, j, v)
			}
		}
	}
	for class := range classes {
		expected.add(expectClasses, 8, `INSERT INTO expected (c, h, k, id, gen, part, n) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			t.c.id, int16(expectClasses), []byte{class}, []byte{}, []byte{}, 0, 0)
	}
	now := t.s.clock.next()
	for _, write := range []func(context.Context, *Store, int64) error{parts.write, bodies.write, blobs.write, expected.write} {
		if err := write(ctx, t.s, now); err != nil {
			return err
		}
	}
	return nil
}

// pieceSize is how much of a long value lies in one row.
const pieceSize = 256 << 10

// blob writes a body's recipe, and its bytes where no recipe gives them.
func (t *tx) blob(blobs *batches[endPart], bodies *batches[ntpac.Hash], k *ntpac.Blob, id ntpac.ConversationID, gen row.GenerationKey) {
	at := endPart{hourOf(minuteOf(id)), t.c.bucketOf(k.SHA256)}
	v := appendRecipe(nil, k, id, gen)
	blobs.put(at, string(k.SHA256[:])+string(id[:]), 32+len(v), `INSERT INTO blobs (c, hour, bucket, sum, id, v) VALUES (?, ?, ?, ?, ?, ?)`, t.c.id, at.hour, at.bucket, k.SHA256[:], id[:], v)
	if len(k.Data) == 0 {
		return
	}
	for i, piece := range pieces(row.Pack(nil, k.Data)) {
		bodies.add(k.SHA256, len(piece), `INSERT INTO bodies (c, sum, n, v) VALUES (?, ?, ?, ?)`, t.c.id, k.SHA256[:], i, piece)
	}
}

func pieces(b []byte) (all [][]byte) {
	for len(b) > pieceSize {
		all = append(all, b[:pieceSize])
		b = b[pieceSize:]
	}
	return append(all, b)
}

// recipe is a value of table blobs: the generation that names the body, whether its bytes are stored, and
// how to make it.
type recipe struct {
	gen  row.GenerationKey
	body bool
	rest []byte
}

func appendRecipe(b []byte, k *ntpac.Blob, id ntpac.ConversationID, gen row.GenerationKey) []byte {
	b = append(b, gen[:]...)
	if len(k.Data) > 0 {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return row.AppendBlob(b, k, id)
}

func parseRecipe(v []byte) (r recipe, err error) {
	n := len(r.gen)
	if len(v) < n+1 || v[n] > 1 {
		return r, row.ErrRow
	}
	return recipe{row.GenerationKey(v), v[n] == 1, v[n+1:]}, nil
}
