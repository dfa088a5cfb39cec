package embedded

import (
	"encoding/json"
	"fmt"

	"ntpac"
	"ntpac/store/row"
)

// work is a commit made ready: everything that does not depend on what is stored, encoded and packed
// before the store is locked. It is recycled.
type work struct {
	mem   []byte // what the spans lie in
	raw   []byte
	convs []convWork
	parts []partWork
	size  int64 // about how many bytes the commit adds to the disk

	key, val, rec []byte
	newest        map[ntpac.ConversationID]int // of conversations given twice, which stays
	states        map[ntpac.ConversationID]*stateWork
	read          []byte
}

type span struct{ from, to int }

func (w *work) bytes(s span) []byte { return w.mem[s.from:s.to] }

type convWork struct {
	c      *ntpac.Conversation
	row    span
	inline span // packed; empty for none
}

type partWork struct {
	g    *ntpac.Generation
	part span // packed; empty for none
	raw  int
}

// stateWork is the state of a conversation's generations as the commit changes it.
type stateWork struct {
	*row.State
	app     string // under which the index has the conversation now
	hasApp  bool
	changed bool
}

func newWork() *work {
	return &work{newest: map[ntpac.ConversationID]int{}, states: map[ntpac.ConversationID]*stateWork{}}
}

// keepMem is the most memory that a recycled work keeps.
const keepMem = 4 << 20

func (w *work) reset() {
	clear(w.convs)
	clear(w.parts)
	clear(w.newest)
	clear(w.states)
	w.convs, w.parts, w.mem, w.raw, w.size = w.convs[:0], w.parts[:0], w.mem[:0], w.raw[:0], 0
	for _, b := range []*[]byte{&w.mem, &w.raw, &w.val, &w.read} {
		if cap(*b) > keepMem {
			*b = nil
		}
	}
}

func (w *work) prepare(c *ntpac.Commit) error {
	for i := range c.Chunks {
		k := &c.Chunks[i]
		p, err := row.ParsePacked(k.Packed)
		if err != nil || p.RawLen != k.RawLen {
			return fmt.Errorf("chunk %d of stream %d of conversation %v: not packed, or not as long as it says", k.Key.N, k.Key.Stream, k.Key.ID)
		}
		w.size += int64(len(k.Packed)) + 128
	}
	for i, v := range c.Conversations {
		if len(c.Conversations) > 1 && !w.isNewest(c.Conversations, i) {
			continue
		}
		k := convWork{c: v}
		from := len(w.mem)
		w.mem = row.AppendConversation(w.mem, v)
		k.row = span{from, len(w.mem)}
		if v.Inline != nil {
			w.raw = row.AppendInline(w.raw[:0], v.Inline)
			w.mem = row.Pack(w.mem, w.raw)
			k.inline = span{k.row.to, len(w.mem)}
		}
		w.convs = append(w.convs, k)
	}
	for _, g := range c.Generations {
		k := partWork{g: g}
		if len(g.Artifacts) > 0 || len(g.Expectations) > 0 {
			var err error
			if w.raw, err = row.AppendPart(w.raw[:0], g); err != nil {
				return err
			}
			from := len(w.mem)
			w.mem = row.Pack(w.mem, w.raw)
			k.part, k.raw = span{from, len(w.mem)}, len(w.raw)
		}
		for _, a := range g.Artifacts {
			for i := range a.Blobs {
				w.size += int64(len(a.Blobs[i].Data)) + 128
			}
		}
		w.parts = append(w.parts, k)
	}
	w.size += int64(len(w.mem)) + int64(len(c.Conversations))*256
	for i := range c.Checkpoints {
		w.size += int64(len(c.Checkpoints[i].State)) + 256
	}
	for i := range c.Evidence {
		w.size += int64(len(c.Evidence[i].Body)) + 256
	}
	return nil
}

// isNewest reports whether of the rows with its id the one at i stays: that of the highest revision,
// of equal ones the last.
func (w *work) isNewest(cs []*ntpac.Conversation, i int) bool {
	if len(w.newest) == 0 {
		for i, c := range cs {
			if k, ok := w.newest[c.ID]; !ok || cs[k].Revision <= c.Revision {
				w.newest[c.ID] = i
			}
		}
	}
	return w.newest[cs[i].ID] == i
}

func encodeSource(i *ntpac.SourceInfo) ([]byte, error) { return json.Marshal(i) }

func decodeSource(b []byte) (i ntpac.SourceInfo, err error) {
	err = json.Unmarshal(b, &i)
	return i, err
}
