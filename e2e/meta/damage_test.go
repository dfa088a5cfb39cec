package meta

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ntpac"
)

// damage is a capture whole and with frames missing, and what was made of both.
type damage struct {
	base, other *output
	kept        func(id int) bool
	pairs       []pair
	hurt        map[int]bool // talks of which something is missing
}

// pair is a conversation in both outputs.
type pair struct {
	known       *known
	base, other *found // other is nil where nothing of it was captured
	astray      bool   // something is missing of what announced it: nobody may know what it is
}

// announced are the fields of an artifact that another conversation told ("what one conversation says of
// another is a stored record"): spans are of one conversation, and do not cover them.
var announced = []string{"control", "user", "path", "filename", "command"}

// compare finds the conversations of a whole capture in both outputs, and checks the streams and the
// gaps of those of the damaged one.
func compare(fs []frame, kept func(id int) bool, base, other *output) (*damage, error) {
	d := &damage{base: base, other: other, kept: kept, hurt: map[int]bool{}}
	for i := range fs {
		if !kept(fs[i].id) {
			d.hurt[fs[i].talk] = true
		}
	}
	seen := map[*found]bool{}
	all := truths(fs)
	unclear := unclear(all, kept)
	for _, t := range all {
		whole := t.knows(func(int) bool { return true })
		if whole == nil {
			continue
		}
		b := base.find(t.ends, whole.first)
		if b == nil {
			return nil, fmt.Errorf("the whole capture's conversation %v of %v was not found", t.ends, whole.first)
		}
		if err := whole.check(b); err != nil {
			return nil, fmt.Errorf("the whole capture's conversation %v: %w", t.ends, err)
		}
		if unclear[t.ends] {
			continue
		}
		k := t.knows(kept)
		if k == nil {
			d.pairs = append(d.pairs, pair{known: whole, base: b})
			continue
		}
		o := other.find(t.ends, k.first)
		if o == nil || seen[o] {
			return nil, fmt.Errorf("the conversation %v of %v is not there any more", t.ends, k.first)
		}
		seen[o] = true
		if err := k.check(o); err != nil {
			return nil, fmt.Errorf("conversation %v of %v: %w", t.ends, k.first, err)
		}
		if id := b.conv.ID; k.whole && o.conv.ID != id {
			return nil, fmt.Errorf("conversation %v: id %v, want %v, as its first frame is there", t.ends, o.conv.ID, id)
		}
		d.pairs = append(d.pairs, pair{k, b, o, t.announced() && d.lacks(fs, t)})
	}
	for _, f := range other.convs {
		if !seen[f] && !unclear[f.ends()] {
			return nil, fmt.Errorf("a conversation %v of %v that is none, split by %q", f.ends(), f.conv.First, f.conv.SplitBy)
		}
	}
	return d, nil
}

// lacks reports whether something is missing of the talk to which a conversation belongs, outside of it.
func (d *damage) lacks(fs []frame, t *truth) bool {
	mine := map[int]bool{}
	for i := range t.segs {
		mine[t.segs[i].id] = true
	}
	return slices.ContainsFunc(fs, func(f frame) bool { return f.talk == t.talk && !mine[f.id] && !d.kept(f.id) })
}

// unclear finds the end points of connections on used ports of which too little is there to tell them apart:
// "SYN with a new ISN after data" splits, so one that said nothing is an earlier attempt of the next; and
// without a handshake only a jump of bytes shows that a connection is another one, not bare acknowledgements.
func unclear(all []*truth, kept func(id int) bool) map[ends]bool {
	used := map[ends]bool{}
	for _, t := range all {
		used[t.ends] = used[t.ends] || t.again
	}
	out := map[ends]bool{}
	for _, t := range all {
		if k := t.knows(kept); k != nil && t.tcp && used[t.ends] && (k.said == 0 || !k.begun) {
			out[t.ends] = true
		}
	}
	return out
}

func (o *output) find(e ends, first ntpac.Time) *found {
	for _, f := range o.convs {
		if f.ends() == e && f.conv.First == first {
			return f
		}
	}
	return nil
}

// untouched wants what no hole touches as it was: whole conversations of talks that lack nothing, and of
// the others the artifacts that do not rest on what is missing.
func (d *damage) untouched() error {
	var errs []error
	for _, p := range d.pairs {
		if !d.hurt[p.known.truth.talk] {
			a, b := &output{convs: []*found{p.base}}, &output{convs: []*found{p.other}}
			errs = append(errs, equal(a, b, view{conv: func(f *found) record { return f.record.without("capture") }, art: law1.art}))
			continue
		}
		if p.other == nil {
			continue
		}
		var have []string
		for _, a := range p.other.artifacts {
			have = append(have, p.identity(a, 0))
		}
		for _, a := range p.base.artifacts {
			if p.touches(a) {
				continue
			}
			want := p.identity(a, 1)
			if p.doubtful(a) && p.gapped(a) || p.pairedByOrder(a) && p.holds(a) || p.astray {
				continue
			}
			if k := slices.Index(have, want); k >= 0 {
				have = slices.Delete(have, k, k+1)
				continue
			}
			errs = append(errs, fmt.Errorf("an artifact that no hole touches is not there as it was:\n    want %s%s", clip(want), nearest(want, have)))
		}
	}
	return errors.Join(errs...)
}

// identity is what must not change in an artifact that is not touched. of is 1 for one of the whole
// capture, whose offsets are moved to where the damaged one has them.
func (p *pair) identity(a record, of int) string {
	out := a.without()
	if !p.known.whole {
		delete(out, "conversation") // it begins later: another id
		delete(out, "id")
	}
	if p.astray {
		for _, f := range announced {
			delete(out, f)
		}
		delete(out, "id")
	}
	if !p.known.truth.tcp { // offsets of datagrams count only those captured
		delete(out, "spans")
		delete(out, "id")
		return out.line()
	}
	var spans []any
	for _, s := range spansOf(a) {
		shift := p.known.side[p.base.conv.Side(s.dir)].shift
		if shift != 0 {
			delete(out, "id")
		}
		spans = append(spans, fmt.Sprint(s.dir, s.off-int64(of)*shift, s.n))
	}
	out["spans"] = spans
	return out.line()
}

// spanOf is a span of an artifact's record.
type spanOf struct {
	dir    ntpac.Dir
	off, n int64
}

func spansOf(a record) (out []spanOf) {
	list, _ := a["spans"].([]any)
	for _, x := range list {
		m := record(x.(map[string]any))
		s := spanOf{dir: ntpac.Up, off: m.number("offset"), n: m.number("length")}
		if m.text("dir") == "down" {
			s.dir = ntpac.Down
		}
		out = append(out, s)
	}
	return out
}

// touches reports whether an artifact of the whole capture rests on something that is missing.
func (p *pair) touches(a record) bool {
	if !p.known.truth.tcp {
		return p.touchesDatagram(a)
	}
	for _, s := range spansOf(a) {
		side := p.base.conv.Side(s.dir)
		for _, l := range p.known.lost(side) {
			if s.off < l.end && l.off < s.off+s.n {
				return true
			}
		}
	}
	return false
}

// doubtful reports whether a hole, or a head of unknown length, ends where a message begins: it touches
// the message, as nothing shows that it does not begin within. The parts of a mail name it by its hash
// ("parent"), so that what touches the mail touches them.
func (p *pair) doubtful(a record) bool {
	for _, s := range spansOf(a) {
		side := p.base.conv.Side(s.dir)
		if k := &p.known.side[side]; s.off == k.shift && len(k.have) > 0 && !k.isn {
			return true
		}
		for _, l := range p.known.lost(side) {
			if l.end == s.off || a.text("type") == "ftp" && l.off == s.off+s.n { // behind USER: there may be another USER in it
				return true
			}
		}
	}
	if p.openEnd(a) {
		return true
	}
	for _, m := range p.base.artifacts {
		if h := m.text("sha256"); m.text("type") == "mail" && h != "" && h == a.text("parent") && (p.touches(m) || p.doubtful(m)) {
			return true
		}
	}
	return false
}

// pairedByOrder reports whether only the order of the packets tells which answer belongs to which request:
// both sides lack something, or the head of one is missing and nobody knows how many messages it had. The
// order is a heuristic's choice ("guessed = a heuristic chose (start mid-message ...)").
func (p *pair) pairedByOrder(a record) bool {
	var lacks [2]bool
	for side := range p.known.side {
		k := &p.known.side[side]
		lacks[side] = len(p.known.lost(ntpac.Side(side))) > 0 || !k.isn
		if !k.isn && k.shift > 0 {
			return true
		}
	}
	return lacks[0] && lacks[1]
}

// holds reports whether what an artifact has found is in the damaged output, if not called complete: its
// body by its hash, and of one without a body its type.
func (p *pair) holds(a record) bool {
	sum := a.text("sha256")
	for _, field := range []string{"response_body", "request_body"} {
		if b, ok := a[field].(map[string]any); ok {
			sum = record(b).text("sha256")
			break
		}
	}
	return slices.ContainsFunc(p.other.artifacts, func(o record) bool {
		return o.text("quality") != "complete" && (sum == "" || strings.Contains(o.line(), sum))
	})
}

// openEnd reports whether an artifact goes to the end of a stream whose end is not known any more.
func (p *pair) openEnd(a record) bool {
	for _, s := range spansOf(a) {
		if side := p.base.conv.Side(s.dir); s.off+s.n == p.base.conv.In(s.dir).End && p.known.side[side].unended {
			return true
		}
	}
	return false
}

// gapped reports whether the damaged output has an artifact as the one given, or nothing of it, but
// called gapped: all that it says of its contents is the same.
func (p *pair) gapped(a record) bool {
	for _, o := range p.other.artifacts {
		if o.text("quality") == "complete" || o.text("type") != a.text("type") {
			continue
		}
		same := true
		for k, v := range a {
			switch k {
			case "id", "conversation", "control", "spans", "quality", "time", "parent", "error":
			default:
				same = same && fmt.Sprint(v) == fmt.Sprint(o[k])
			}
		}
		if same {
			return true
		}
	}
	return false
}

func (p *pair) touchesDatagram(a record) bool {
	var at [2]int64
	for i := range p.known.truth.grams {
		g := &p.known.truth.grams[i]
		n := int64(len(g.data))
		off := at[g.side]
		at[g.side] += n
		if !slices.ContainsFunc(g.ids, func(id int) bool { return !p.known.kept(id) }) {
			continue
		}
		for _, s := range spansOf(a) {
			if p.base.conv.Side(s.dir) == g.side && s.off < off+n && off < s.off+s.n {
				return true
			}
		}
	}
	return false
}

// inverse wants everything that is called complete to be in the whole capture's output too.
func (d *damage) inverse() error {
	var errs []error
	for _, p := range d.pairs {
		if p.other == nil {
			continue
		}
		var have []string
		for _, a := range p.base.artifacts {
			if a.text("quality") == "complete" {
				have = append(have, p.content(a))
			}
		}
		for _, a := range p.other.artifacts {
			if a.text("quality") != "complete" {
				continue
			}
			got := p.content(a)
			if k := slices.Index(have, got); k >= 0 {
				have = slices.Delete(have, k, k+1)
				continue
			}
			errs = append(errs, fmt.Errorf("called complete, but it is not in the whole capture:\n    got  %s%s", clip(got), nearest(got, have)))
		}
	}
	return errors.Join(errs...)
}

// content is what a complete artifact says: everything but where it was found.
func (p *pair) content(a record) string {
	out := a.without("id", "conversation", "time")
	for _, f := range announced {
		if p.astray || f == "control" {
			delete(out, f)
		}
	}
	var spans []any
	for _, s := range spansOf(a) {
		spans = append(spans, fmt.Sprint(s.dir, s.n))
	}
	out["spans"] = spans
	return out.line()
}

// nearest shows the line that differs in the fewest fields.
func nearest(want string, have []string) string {
	best, fields := "", 99
	for _, h := range have {
		d := difference("x "+want, "x "+h)
		if n := strings.Count(d, ";"); d != "" && n < fields {
			best, fields = d, n
		}
	}
	if best == "" {
		return ""
	}
	return "\n    the nearest one differs in " + best
}
