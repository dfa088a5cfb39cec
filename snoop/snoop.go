// Package snoop finds out which application a conversation speaks and runs the snooper that reads it.
// It knows snoopers only by their interface; the list of them is in snoop/all.
package snoop

import (
	"slices"
	"sync"
	"sync/atomic"

	"ntpac"
)

// Registry is a fixed list of snoopers, prepared for identification. It is used by many goroutines.
type Registry struct {
	list     []entry
	byProto  map[ntpac.Proto][]int // indexes into list, in its order
	byPort   map[portKey][]int
	counters counters
	scratch  sync.Pool // of *run
}

type entry struct {
	snooper ntpac.Snooper
	info    ntpac.SnooperInfo
	panics  atomic.Uint64
}

type portKey struct {
	proto ntpac.Proto
	port  uint16
}

type counters struct{ content, port, expected, none, ambiguous, panics, downgraded, oversized atomic.Uint64 }

// Stats counts what a registry did since it was made.
type Stats struct {
	Content    uint64            `json:"content"`    // conversations identified by content,
	Port       uint64            `json:"port"`       // by port,
	Expected   uint64            `json:"expected"`   // by announcement,
	None       uint64            `json:"none"`       // and not at all
	Ambiguous  uint64            `json:"ambiguous"`  // two snoopers were certain
	Panics     uint64            `json:"panics"`     // snoopers that failed; each cost its conversation's rest
	Downgraded uint64            `json:"downgraded"` // artifacts called complete that a hole touched
	Oversized  uint64            `json:"oversized"`  // artifacts whose fields were over MaxFields
	ByPanic    map[string]uint64 `json:"panics_by_snooper,omitempty"`
}

// NewRegistry prepares a list of snoopers. Where two are equally sure, the earlier one wins.
func NewRegistry(list []ntpac.Snooper) *Registry {
	r := &Registry{list: make([]entry, len(list)), byProto: map[ntpac.Proto][]int{}, byPort: map[portKey][]int{}}
	r.scratch.New = func() any { return newRun(r) }
	for i, s := range list {
		in := s.Info()
		r.list[i].snooper, r.list[i].info = s, in
		for _, p := range in.Protos {
			r.byProto[p] = append(r.byProto[p], i)
			for _, port := range in.Ports {
				k := portKey{p, port}
				r.byPort[k] = append(r.byPort[k], i)
			}
		}
	}
	return r
}

// Snoopers lists the snoopers in their order.
func (r *Registry) Snoopers() []ntpac.Snooper {
	out := make([]ntpac.Snooper, len(r.list))
	for i := range r.list {
		out[i] = r.list[i].snooper
	}
	return out
}

// Only makes a registry of the named snoopers; a name that is not in the list is a usage error.
func (r *Registry) Only(names ...string) (*Registry, error) {
	for _, n := range names {
		if r.find(n) < 0 {
			return nil, ntpac.Usagef("no snooper is called %q", n)
		}
	}
	var out []ntpac.Snooper
	for i := range r.list {
		if slices.Contains(names, r.list[i].info.Name) {
			out = append(out, r.list[i].snooper)
		}
	}
	return NewRegistry(out), nil
}

// Find gives the snooper of an application, nil where there is none.
func (r *Registry) Find(name string) ntpac.Snooper {
	if i := r.find(name); i >= 0 {
		return r.list[i].snooper
	}
	return nil
}

func (r *Registry) find(name string) int {
	for i := range r.list {
		if r.list[i].info.Name == name {
			return i
		}
	}
	return -1
}

// Stats gives the counts so far.
func (r *Registry) Stats() Stats {
	c := &r.counters
	s := Stats{c.content.Load(), c.port.Load(), c.expected.Load(), c.none.Load(), c.ambiguous.Load(),
		c.panics.Load(), c.downgraded.Load(), c.oversized.Load(), nil}
	for i := range r.list {
		if n := r.list[i].panics.Load(); n > 0 {
			if s.ByPanic == nil {
				s.ByPanic = map[string]uint64{}
			}
			s.ByPanic[r.list[i].info.Name] = n
		}
	}
	return s
}

// Identify asks the snoopers whose conversation this is. Content decides: a snooper that is certain
// wins over all others, and of several certain ones the one whose well-known port agrees, else the
// first of the list. One whose protocol begins later in the conversation comes behind those that know
// how it begins. One that is unsure, or sees its protocol damaged, is taken only where the port
// agrees. It does not allocate. A nil snooper means that nobody knows the conversation.
func (r *Registry) Identify(h *ntpac.Head) (s ntpac.Snooper, by ntpac.AppBy, swapped bool) {
	i, by, swapped := r.identify(h)
	if i < 0 {
		return nil, ntpac.NotIdentified, false
	}
	return r.list[i].snooper, by, swapped
}

// choice is a snooper by its index, and what it says; -1 is nobody.
type choice struct {
	i int
	v ntpac.Verdict
}

func (r *Registry) identify(h *ntpac.Head) (best int, by ntpac.AppBy, swapped bool) {
	hint, later, certain := choice{i: -1}, choice{i: -1}, choice{i: -1}
	// The server's port is the better hint; the roles may be wrong, so the client's is one too.
	ported := [2][]int{r.byPort[portKey{h.Proto, h.Port[ntpac.Down]}], r.byPort[portKey{h.Proto, h.Port[ntpac.Up]}]}
	for _, list := range ported {
		for _, i := range list {
			switch v := r.probe(i, h); {
			case v.Confidence == ntpac.Certain && !v.Later:
				return i, ntpac.ByContent, v.Swapped
			case v.Confidence == ntpac.Certain:
				later = choice{i, v}
			case v.Confidence > hint.v.Confidence:
				hint = choice{i, v}
			}
		}
	}
	for _, i := range r.byProto[h.Proto] {
		if slices.Contains(ported[0], i) || slices.Contains(ported[1], i) {
			continue
		}
		v := r.probe(i, h)
		switch {
		case v.Confidence != ntpac.Certain:
		case v.Later && later.i < 0:
			later = choice{i, v}
		case v.Later:
		case certain.i < 0:
			certain = choice{i, v}
		default:
			r.counters.ambiguous.Add(1)
			return certain.i, ntpac.ByContent, certain.v.Swapped
		}
	}
	switch {
	case certain.i >= 0:
		return certain.i, ntpac.ByContent, certain.v.Swapped
	case later.i >= 0:
		return later.i, ntpac.ByContent, later.v.Swapped
	case hint.i >= 0:
		return hint.i, ntpac.ByPortHint, hint.v.Swapped
	}
	return -1, ntpac.NotIdentified, false
}

// probe asks one snooper. One that fails does not know the conversation.
func (r *Registry) probe(i int, h *ntpac.Head) (v ntpac.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			r.counters.panics.Add(1)
			r.list[i].panics.Add(1)
			v = ntpac.Verdict{}
		}
	}()
	return r.list[i].snooper.Probe(h)
}

// maxResumed bounds behind how many holes of each direction a conversation is looked at that nobody knows by
// its beginning.
const maxResumed = 64

// Resumed fills h with what a TCP conversation goes on with behind the n-th hole of each direction, counted
// from 0 and without one at its very beginning, which HeadOf looks behind. It reports whether there is such a
// hole.
func Resumed(d *ntpac.Dialog, n int, h *ntpac.Head) (more bool) {
	for dir := ntpac.Up; dir <= ntpac.Down; dir++ {
		s, gaps := d.In(dir), d.Conv.In(dir).Gaps
		h.Known[dir], h.Data[dir] = false, h.Data[dir][:0]
		if len(gaps) > 0 && gaps[0].Off == 0 {
			gaps = gaps[1:]
		}
		if n >= len(gaps) {
			continue
		}
		s.MoveTo(gaps[n].Off + gaps[n].Len)
		h.Data[dir] = append(h.Data[dir], s.Peek(ntpac.HeadSize)...)
		s.MoveTo(0)
		more = true
	}
	return more
}

// headMessages bounds how many datagrams are looked at to find the first one of each direction.
const headMessages = 64

// HeadOf fills h with what snoopers may see of a conversation: of each direction the first captured
// bytes, or the first datagram, at most HeadSize. The memory of h.Data is used again. The dialog's
// streams stand at their beginnings afterwards.
func HeadOf(d *ntpac.Dialog, h *ntpac.Head) {
	c := d.Conv
	h.Proto = c.Key.Proto
	h.Port = [2]uint16{c.ClientEnd().Port(), c.ServerEnd().Port()}
	h.Known = [2]bool{}
	h.Data[ntpac.Up], h.Data[ntpac.Down] = h.Data[ntpac.Up][:0], h.Data[ntpac.Down][:0]
	if h.Proto == ntpac.TCP {
		for dir := ntpac.Up; dir <= ntpac.Down; dir++ {
			s := d.In(dir)
			s.MoveTo(0)
			h.Known[dir] = s.HeadKnown() && s.Gap() == 0
			s.SkipGap()
			h.Data[dir] = append(h.Data[dir], s.Peek(ntpac.HeadSize)...)
			s.MoveTo(0)
		}
		return
	}
	want := 0
	for dir := ntpac.Up; dir <= ntpac.Down; dir++ {
		if c.In(dir).Bytes > 0 {
			want++
		}
	}
	n := 0
	for m := range d.Messages() {
		if len(h.Data[m.Dir]) == 0 && len(m.Data) > 0 {
			h.Data[m.Dir] = append(h.Data[m.Dir], m.Data[:min(len(m.Data), ntpac.HeadSize)]...)
			h.Known[m.Dir] = true
			want--
		}
		if n++; want <= 0 || n == headMessages {
			break
		}
	}
	d.Up.MoveTo(0)
	d.Down.MoveTo(0)
}
