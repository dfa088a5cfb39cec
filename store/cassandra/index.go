package cassandra

import (
	"context"

	"ntpac"
	"ntpac/store/row"
)

// index notes which hours, minutes and partitions of payload there are, before anything is in them.
func (t *tx) index(ctx context.Context) error {
	return t.note(ctx, t.w.convs, t.w.chunks, t.states)
}

func (t *tx) note(ctx context.Context, convs []convWork, chunks []*ntpac.Chunk, states []*convState) error {
	var owned batches[partition]
	var minutes batches[int32]
	written := map[mark]bool{}
	fresh := func(m mark) bool {
		if _, ok := t.s.said.get(m); ok || written[m] {
			return false
		}
		written[m] = true
		return true
	}
	hours := map[int32]bool{}
	exists := func(id ntpac.ConversationID, app string) {
		at := t.c.partition(id)
		h := hourOf(at.minute)
		if fresh(mark{c: t.c.id, at: at}) {
			hours[h] = true
			minutes.add(h, 16, `INSERT INTO minutes (c, hour, minute, bucket) VALUES (?, ?, ?, ?)`, t.c.id, h, at.minute, at.bucket)
		}
		if app != "" && fresh(mark{c: t.c.id, at: at, app: app}) {
			minutes.add(h, 16+len(app), `UPDATE minutes SET apps = apps + ? WHERE c = ? AND hour = ? AND minute = ? AND bucket = ?`,
				[]string{app}, t.c.id, h, at.minute, at.bucket)
		}
	}
	owns := func(id ntpac.ConversationID, what int8, n int64) {
		exists(id, "")
		at := t.c.partition(id)
		if fresh(mark{t.c.id, at, id, what + 1, n, ""}) {
			owned.add(at, 32, `INSERT INTO owned (c, minute, bucket, id, what, n) VALUES (?, ?, ?, ?, ?, ?)`, t.c.id, at.minute, at.bucket, id[:], what, n)
		}
	}
	for i := range convs {
		exists(convs[i].c.ID, convs[i].c.App)
	}
	for _, k := range chunks {
		owns(k.Key.ID, int8(k.Key.Stream), k.Key.N/chunksPerPartition)
	}
	for _, st := range states {
		st.index(exists, owns)
	}
	if len(hours) > 0 {
		var b batches[struct{}]
		for h := range hours {
			b.add(struct{}{}, 8, `INSERT INTO hours (c, hour) VALUES (?, ?)`, t.c.id, h)
		}
		if err := b.write(ctx, t.s, timeAlways); err != nil {
			return err
		}
	}
	if err := minutes.write(ctx, t.s, timeAlways); err != nil {
		return err
	}
	if err := owned.write(ctx, t.s, timeAlways); err != nil {
		return err
	}
	for m := range written {
		t.s.said.put(m, struct{}{})
	}
	return nil
}

// endPart is a partition of the index of end points, endGroup a row of it.
type endPart struct {
	hour   int32
	bucket int16
}

type endGroup struct {
	at     endPart
	class  int16
	minute int32
}

// links writes the end points of the conversations that are new to this store: for each minute and each
// class of addresses one row with all of them.
func (t *tx) links(ctx context.Context) error {
	groups := map[endGroup][]endRow{}
	for i := range t.w.convs {
		c := t.w.convs[i].c
		if _, ok := t.s.linked.get(convName{t.c.id, c.ID}); ok {
			continue // the end points of an id never change
		}
		m := minuteOf(c.ID)
		for _, e := range c.Key.End {
			class, bucket := t.c.endClass(e.Addr())
			g := endGroup{endPart{hourOf(m), bucket}, class, m}
			groups[g] = append(groups[g], endRow{e.Addr(), c.ID, e.Port(), c.Key.Proto})
		}
	}
	var b batches[endPart]
	var raw []byte
	for g, ends := range groups {
		raw = appendEnds(raw[:0], ends)
		v := row.Pack(nil, raw)
		b.add(g.at, len(v), `INSERT INTO ends (c, hour, bucket, h, minute, f, v) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			t.c.id, g.at.hour, g.at.bucket, g.class, g.minute, flushKey(raw), v)
	}
	return b.write(ctx, t.s, timeAlways)
}
