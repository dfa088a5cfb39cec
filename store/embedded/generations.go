package embedded

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"ntpac"
	"ntpac/store/row"
)

// generations stores the parts, moves the visible generation of each conversation, and deletes what
// was replaced.
func (t *tx) generations() error {
	for all := t.w.parts; len(all) > 0; {
		id, n := all[0].g.Conversation, 1
		for n < len(all) && all[n].g.Conversation == id {
			n++
		}
		if err := t.ofConversation(id, all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// ofConversation stores the parts of one conversation's generations.
func (t *tx) ofConversation(id ntpac.ConversationID, parts []partWork) error {
	w := t.w
	st := &row.State{}
	w.key = convKey(w.key[:0], t.cs.no, id, subState)
	_, err := t.seek(w.key, func(v []byte) (err error) {
		st, err = row.DecodeState(v)
		return err
	})
	if err != nil {
		return err
	}
	var app *string // under which the index has the conversation
	if st.Visible != nil {
		app = &st.Visible.App
	}
	changed := false
	for i := range parts {
		o, err := st.Take(parts[i].g, uint32(t.c.Stamp>>32))
		if err != nil {
			return err
		}
		changed = changed || o.Changed
		if o.Write {
			if err := t.part(&parts[i], &o); err != nil {
				return err
			}
		}
		for _, m := range o.Dropped {
			if err := t.dropParts(id, m); err != nil {
				return err
			}
		}
	}
	if !changed {
		return nil
	}
	w.key = convKey(w.key[:0], t.cs.no, id, subState)
	w.val = st.Append(w.val[:0])
	if err := t.set(w.key, w.val); err != nil {
		return err
	}
	return t.reindex(id, app, st)
}

// reindex moves the conversation to its new application.
func (t *tx) reindex(id ntpac.ConversationID, app *string, st *row.State) error {
	if st.Visible == nil || app != nil && *app == st.Visible.App {
		return nil
	}
	if app != nil && *app != "" {
		t.w.key = append(appKey(t.w.key[:0], t.cs.no, *app), id[:]...)
		if err := t.b.Delete(t.w.key, nil); err != nil {
			return err
		}
	}
	if st.Visible.App == "" {
		return nil
	}
	t.w.key = append(appKey(t.w.key[:0], t.cs.no, st.Visible.App), id[:]...)
	return t.set(t.w.key, nil)
}

func (t *tx) part(p *partWork, o *row.Outcome) (err error) {
	w, g, gen := t.w, p.g, o.Key
	w.key = partKey(w.key[:0], t.cs.no, g.Conversation, gen, g.Part)
	if p.part == (span{}) && g.Part == 0 && g.Done {
		// Nothing in it: the state says so. A former content of the same generation goes.
		if err := t.b.Delete(w.key, nil); err != nil {
			return err
		}
	} else {
		var had *place
		if o.Again {
			if had, err = t.oldPlace(w.key); err != nil {
				return err
			}
		}
		if w.val, err = t.putAnywhere(w.val[:0], recPart, w.key[keyHead:], w.bytes(p.part), had); err != nil {
			return err
		}
		if err := t.set(w.key, w.val); err != nil {
			return err
		}
	}
	for _, a := range g.Artifacts {
		for i := range a.Blobs {
			if err := t.blob(&a.Blobs[i], g.Conversation, gen); err != nil {
				return err
			}
		}
	}
	for i := range g.Expectations {
		e := &g.Expectations[i]
		class := classOf(e.To)
		t.classes |= 1 << class
		w.key = expectKey(w.key[:0], t.cs.no, class, e.Proto, e.To)
		w.key = partRecord(w.key, g.Conversation, gen, g.Part)
		w.key = binary.BigEndian.AppendUint32(w.key, uint32(i))
		w.val = row.AppendExpectation(w.val[:0], e, g.Conversation)
		if err := t.set(w.key, w.val); err != nil {
			return err
		}
	}
	return nil
}

// oldPlace is where the bytes of a key lie in a segment; nil where they do not.
func (t *tx) oldPlace(k []byte) (at *place, err error) {
	_, err = t.old(k, func(v []byte) error {
		kind, p, _, _, err := parseAnywhere(v)
		if kind == there {
			at = &p
		}
		return err
	})
	return at, err
}

// blob stores a body's recipe beside those of other conversations, and its bytes, where it has some,
// once.
func (t *tx) blob(k *ntpac.Blob, id ntpac.ConversationID, gen row.GenerationKey) (err error) {
	w := t.w
	w.key = append(hashKey(w.key[:0], t.cs.no, kindBlob, k.SHA256), id[:]...)
	w.val = row.AppendBlob(append(w.val[:0], gen[:]...), k, id)
	if err := t.set(w.key, w.val); err != nil || len(k.Data) == 0 {
		return err
	}
	w.key = hashKey(w.key[:0], t.cs.no, kindBody, k.SHA256)
	found, err := t.old(w.key, func([]byte) error { return nil })
	if err != nil || found {
		return err
	}
	if w.val, err = t.putAnywhere(w.val[:0], recBody, k.SHA256[:], row.Pack(nil, k.Data), nil); err != nil {
		return err
	}
	return t.set(w.key, w.val)
}

// dropParts deletes the parts of a generation that is not, or never will be, visible. Its entries in
// the index of expectations go with them as far as the parts can be read; the others find no part and
// are passed over.
func (t *tx) dropParts(id ntpac.ConversationID, m row.Mark) error {
	for n := range m.Parts {
		k := partKey(nil, t.cs.no, id, m.Key, n)
		b, err := t.s.readPart(t.s.db, t.cs, id, m.Key, n, &t.w.read, nil)
		if err == nil && b != nil {
			es, _ := row.DecodeExpectations(b, t.cs.name, id)
			for i := range es {
				x := expectKey(nil, t.cs.no, classOf(es[i].To), es[i].Proto, es[i].To)
				x = binary.BigEndian.AppendUint32(partRecord(x, id, m.Key, n), uint32(i))
				if err := t.b.Delete(x, nil); err != nil {
					return err
				}
			}
		}
		if err := t.b.Delete(k, nil); err != nil {
			return err
		}
	}
	return nil
}

// readPart gives the unpacked part of a generation, appended to dst; nil where there is none.
func (s *Store) readPart(r pebble.Reader, cs *caseState, id ntpac.ConversationID, gen row.GenerationKey, part int, buf *[]byte, dst []byte) ([]byte, error) {
	k := partKey(nil, cs.no, id, gen, part)
	v, found, err := get(r, k)
	if err != nil || !found {
		return nil, err
	}
	return cs.readAnywhere(v, recPart, k[keyHead:], buf, dst)
}

// readAnywhere unpacks what putAnywhere stored, appended to dst; dst where there is nothing.
func (cs *caseState) readAnywhere(v []byte, kind byte, rec []byte, buf *[]byte, dst []byte) ([]byte, error) {
	how, at, packed, _, err := parseAnywhere(v)
	if err != nil || how == nothing {
		return dst, err
	}
	if how == there {
		if packed, err = cs.seg.read(at, kind, rec, buf); err != nil {
			return nil, err
		}
	}
	return row.Unpack(dst, packed)
}
