package row

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"ntpac"
)

// GenerationKey names one generation of a conversation: a hash over snooper, version, revision, keys
// and how the application was found (what was announced is read otherwise than what was recognised).
type GenerationKey [8]byte

// KeyOf is the key of the generation that g is a part of.
func KeyOf(g *ntpac.Generation) (k GenerationKey) {
	var mem [128]byte
	b := appendString(mem[:0], g.Snooper)
	b = appendUint(b, g.Version)
	b = appendUint(b, g.Revision)
	b = appendString(b, g.Keys)
	b = append(b, byte(g.AppBy))
	sum := sha256.Sum256(b)
	return GenerationKey(sum[:8])
}

// Mark is how a state remembers a generation.
type Mark struct {
	Key      GenerationKey
	Epoch    uint32 // of the writer
	Revision uint32 // of the conversation
	Expected bool   // another conversation announced this one
	Parts    int    // stored without a break from 0
}

// rank orders generations: the writer's epoch, the conversation's revision, and whether it was known
// that the conversation had been announced. The last because the two, the announcement and the first
// reading without it, may be on their way at once.
func (m *Mark) rank(o *Mark) int {
	return cmp.Or(cmp.Compare(m.Epoch, o.Epoch), cmp.Compare(m.Revision, o.Revision), compareBool(m.Expected, o.Expected))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Head is the visible generation of a conversation.
type Head struct {
	Mark
	Snooper  string
	Version  int
	Keys     string
	App      string
	AppBy    ntpac.AppBy
	Client   ntpac.Side
	ClientBy ntpac.ClientBy
	Error    string
	Empty    bool // its one part has nothing in it and is not stored
}

// Generation is the visible generation without its parts.
func (h *Head) Generation(id ntpac.ConversationID) *ntpac.Generation {
	return &ntpac.Generation{Conversation: id, Snooper: h.Snooper, Version: h.Version, Revision: h.Revision, Keys: h.Keys,
		Part: h.Parts - 1, Done: true, App: h.App, AppBy: h.AppBy, Client: h.Client, ClientBy: h.ClientBy, Error: h.Error}
}

// Overlay sets on a conversation what its visible generation found out.
func (s *State) Overlay(c *ntpac.Conversation) {
	if h := s.Visible; h != nil {
		c.App, c.AppBy, c.Client, c.ClientBy = h.App, h.AppBy, h.Client, h.ClientBy
	}
}

// State is what a store keeps of the generations of one conversation, beside their parts.
type State struct {
	Visible *Head
	Pending []Mark // written in part
	Past    []Mark // replaced; at most maxPast, so that a late repetition does not bring them back
}

const maxPast = 8

// Outcome says what a store has to do with a part of a generation.
type Outcome struct {
	Key     GenerationKey
	Changed bool   // the state is another one: store it
	Write   bool   // store the part
	Again   bool   // the generation has been written before, so the part may be there
	Shown   bool   // the generation has become, or stays, the visible one, with this part's content
	Dropped []Mark // delete the parts of these
}

// Take decides about a part. The rules:
//   - A generation of an older epoch than the visible one, in the same epoch of an older revision, or
//     with both the same one that did not know of an announcement that the visible one knew of, is
//     ignored. Epoch 0 stands for a writer without one: it counts as the visible one's epoch.
//   - Otherwise the generation whose last part came last is visible, and replaces the one before as a
//     whole; a repetition of a replaced one is ignored unless its epoch is higher.
//   - The same generation again changes nothing, except that one of a single part replaces itself.
func (s *State) Take(g *ntpac.Generation, epoch uint32) (Outcome, error) {
	o := Outcome{Key: KeyOf(g)}
	m := Mark{Key: o.Key, Epoch: epoch, Revision: g.Revision, Expected: g.AppBy == ntpac.ByExpectation}
	past := slices.IndexFunc(s.Past, func(p Mark) bool { return p.Key == o.Key })
	if past >= 0 && m.Epoch <= s.Past[past].Epoch {
		return o, nil
	}
	if v := s.Visible; v != nil {
		if epoch == 0 {
			m.Epoch = v.Epoch
		}
		if m.rank(&v.Mark) < 0 {
			return o, nil
		}
		if v.Key == o.Key && (!g.Done || g.Part != 0 || v.Parts != 1) {
			o.Changed = m.Epoch > v.Epoch
			v.Epoch = m.Epoch
			return o, nil
		}
	}
	i := slices.IndexFunc(s.Pending, func(p Mark) bool { return p.Key == o.Key })
	if i >= 0 {
		m.Epoch, m.Parts = max(m.Epoch, s.Pending[i].Epoch), s.Pending[i].Parts
	}
	if g.Part < 0 || g.Part > m.Parts {
		return o, fmt.Errorf("part %d of a generation of conversation %v came before part %d", g.Part, g.Conversation, m.Parts)
	}
	m.Parts = max(m.Parts, g.Part+1)
	o.Changed, o.Write = true, true
	o.Again = i >= 0 || s.Visible != nil && s.Visible.Key == o.Key
	if past >= 0 {
		s.Past = slices.Delete(s.Past, past, past+1)
	}
	if !g.Done {
		if i >= 0 {
			s.Pending[i] = m
		} else {
			s.Pending = append(s.Pending, m)
		}
		return o, nil
	}
	m.Parts = g.Part + 1
	s.show(g, m, &o)
	return o, nil
}

// show makes a complete generation the visible one.
func (s *State) show(g *ntpac.Generation, m Mark, o *Outcome) {
	o.Shown = true
	if v := s.Visible; v != nil && v.Key != m.Key {
		o.Dropped = append(o.Dropped, v.Mark)
		s.Past = append(s.Past, v.Mark)
		if len(s.Past) > maxPast {
			s.Past = slices.Delete(s.Past, 0, len(s.Past)-maxPast)
		}
	}
	// What can never become visible any more goes.
	s.Pending = slices.DeleteFunc(s.Pending, func(p Mark) bool {
		if p.Key == m.Key {
			return true
		}
		if p.rank(&m) < 0 {
			o.Dropped = append(o.Dropped, p)
			return true
		}
		return false
	})
	s.Visible = &Head{Mark: m, Snooper: g.Snooper, Version: g.Version, Keys: g.Keys, App: g.App, AppBy: g.AppBy,
		Client: g.Client, ClientBy: g.ClientBy, Error: g.Error,
		Empty: g.Part == 0 && len(g.Artifacts) == 0 && len(g.Expectations) == 0}
}

// stateV is the version of the state row.
const stateV = 1

// Append writes the state as a row. Format: docs/format/artifact.md.
func (s *State) Append(b []byte) []byte {
	b = append(b, stateV)
	b = appendBool(b, s.Visible != nil)
	if h := s.Visible; h != nil {
		b = appendMark(b, &h.Mark)
		b = appendString(b, h.Snooper)
		b = appendUint(b, h.Version)
		b = appendString(b, h.Keys)
		b = appendString(b, h.App)
		b = append(b, byte(h.AppBy), byte(h.Client), byte(h.ClientBy))
		b = appendString(b, h.Error)
		b = appendBool(b, h.Empty)
	}
	for _, l := range [][]Mark{s.Pending, s.Past} {
		b = appendUint(b, len(l))
		for i := range l {
			b = appendMark(b, &l[i])
		}
	}
	return b
}

func appendMark(b []byte, m *Mark) []byte {
	b = append(b, m.Key[:]...)
	b = binary.BigEndian.AppendUint32(b, m.Epoch)
	b = appendUint(b, m.Revision)
	b = appendBool(b, m.Expected)
	return appendUint(b, m.Parts)
}

func (d *decoder) mark(m *Mark) {
	copy(m.Key[:], d.take(len(m.Key)))
	m.Epoch, m.Revision, m.Expected, m.Parts = d.u32(), uint32(d.upto(1<<32-1)), d.bool(), int(d.upto(1<<31-1))
}

// DecodeState reads what Append writes.
func DecodeState(b []byte) (*State, error) {
	d := decoder{b: b}
	s := &State{}
	d.version(stateV)
	if d.bool() {
		h := &Head{}
		d.mark(&h.Mark)
		h.Snooper, h.Version, h.Keys, h.App = d.string(), int(d.upto(1<<31-1)), d.string(), d.string()
		h.AppBy = ntpac.AppBy(d.below(byte(ntpac.ByExpectation)))
		h.Client = ntpac.Side(d.below(byte(ntpac.B)))
		h.ClientBy = ntpac.ClientBy(d.below(byte(ntpac.ByFirst)))
		h.Error, h.Empty = d.string(), d.bool()
		s.Visible = h
	}
	s.Pending, s.Past = d.marks(), d.marks()
	return s, d.end()
}

func (d *decoder) marks() []Mark {
	n := d.count(15)
	if n == 0 {
		return nil
	}
	l := make([]Mark, n)
	for i := range l {
		d.mark(&l[i])
	}
	return l
}
