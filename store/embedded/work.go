package embedded

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"ntpac"
	"ntpac/store/row"
)

// work is a commit made ready: everything that does not depend on what is stored, encoded and packed
// before the store is locked. It is recycled.
type work struct {
	mem    []byte // what the spans lie in
	raw    []byte
	chunks []*ntpac.Chunk // by key, of each the version that stays
	convs  []convWork     // by id, the same
	parts  []partWork     // by conversation, those of one in their order
	size   int64          // about how many bytes the commit adds to the disk

	key, val []byte
	read     []byte
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
}

func newWork() *work { return &work{} }

// keepMem is the most memory that a recycled work keeps.
const keepMem = 4 << 20

func (w *work) reset() {
	clear(w.chunks)
	clear(w.convs)
	clear(w.parts)
	w.chunks, w.convs, w.parts, w.mem, w.raw, w.size = w.chunks[:0], w.convs[:0], w.parts[:0], w.mem[:0], w.raw[:0], 0
	for _, b := range []*[]byte{&w.mem, &w.raw, &w.val, &w.read} {
		if cap(*b) > keepMem {
			*b = nil
		}
	}
}

func (w *work) prepare(c *ntpac.Commit) error {
	if err := w.prepareChunks(c.Chunks); err != nil {
		return err
	}
	w.prepareConversations(c.Conversations)
	if err := w.prepareParts(c.Generations); err != nil {
		return err
	}
	w.size += int64(len(w.mem))
	for i := range c.Checkpoints {
		w.size += int64(len(c.Checkpoints[i].State)) + 256
	}
	for i := range c.Evidence {
		w.size += int64(len(c.Evidence[i].Body)) + 256
	}
	return nil
}

func (w *work) prepareChunks(chunks []ntpac.Chunk) error {
	for i := range chunks {
		k := &chunks[i]
		p, err := row.ParsePacked(k.Packed)
		if err != nil || p.RawLen != k.RawLen {
			return fmt.Errorf("chunk %d of stream %d of conversation %v: not packed, or not as long as it says", k.Key.N, k.Key.Stream, k.Key.ID)
		}
		w.chunks = append(w.chunks, k)
		w.size += int64(len(k.Packed)) + 128
	}
	slices.SortStableFunc(w.chunks, func(a, b *ntpac.Chunk) int {
		return cmp.Or(a.Key.ID.Compare(b.Key.ID), cmp.Compare(a.Key.Stream, b.Key.Stream), cmp.Compare(a.Key.N, b.Key.N))
	})
	w.chunks = newest(w.chunks, func(a, b *ntpac.Chunk) (same, yields bool) { return a.Key == b.Key, a.RawLen <= b.RawLen })
	return nil
}

func (w *work) prepareConversations(cs []*ntpac.Conversation) {
	for _, c := range cs {
		w.convs = append(w.convs, convWork{c: c})
	}
	slices.SortStableFunc(w.convs, func(a, b convWork) int { return a.c.ID.Compare(b.c.ID) })
	w.convs = newest(w.convs, func(a, b convWork) (same, yields bool) { return a.c.ID == b.c.ID, a.c.Revision <= b.c.Revision })
	for i := range w.convs {
		k := &w.convs[i]
		from := len(w.mem)
		w.mem = row.AppendConversation(w.mem, k.c)
		k.row = span{from, len(w.mem)}
		if k.c.Inline != nil {
			w.raw = row.AppendInline(w.raw[:0], k.c.Inline)
			w.mem = row.Pack(w.mem, w.raw)
			k.inline = span{k.row.to, len(w.mem)}
		}
	}
	w.size += int64(len(w.convs)) * 256
}

func (w *work) prepareParts(gs []*ntpac.Generation) error {
	for _, g := range gs {
		k := partWork{g: g}
		if len(g.Artifacts) > 0 || len(g.Expectations) > 0 {
			var err error
			if w.raw, err = row.AppendPart(w.raw[:0], g); err != nil {
				return err
			}
			from := len(w.mem)
			w.mem = row.Pack(w.mem, w.raw)
			k.part = span{from, len(w.mem)}
		}
		for _, a := range g.Artifacts {
			for i := range a.Blobs {
				w.size += int64(len(a.Blobs[i].Data)) + 128
			}
		}
		w.parts = append(w.parts, k)
	}
	slices.SortStableFunc(w.parts, func(a, b partWork) int { return a.g.Conversation.Compare(b.g.Conversation) })
	return nil
}

// newest keeps of neighbours that are the same thing the one that does not yield to another.
func newest[T any](s []T, compare func(a, b T) (same, yields bool)) []T {
	out := s[:0]
	for _, v := range s {
		if n := len(out); n > 0 {
			if same, yields := compare(out[n-1], v); same {
				if yields {
					out[n-1] = v
				}
				continue
			}
		}
		out = append(out, v)
	}
	return out
}

func encodeSource(i *ntpac.SourceInfo) ([]byte, error) { return json.Marshal(i) }

func decodeSource(b []byte) (i ntpac.SourceInfo, err error) {
	err = json.Unmarshal(b, &i)
	return i, err
}
