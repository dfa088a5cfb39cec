package selection

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	"ntpac"
)

// bounds is what must be true of a conversation for a rule to hold: the part of the rule that a store
// can answer from its indexes. A list that is nil does not limit.
type bounds struct {
	from, to ntpac.Time
	ids      []ntpac.ConversationID
	nets     []netip.Prefix
	apps     []string
	types    []string
}

func unbounded() bounds { return bounds{from: math.MinInt64, to: math.MaxInt64} }

// boundsOf derives the bounds of a rule, or of its negation. Where a part cannot be answered from an
// index it does not limit; so the bounds can only be too wide.
func boundsOf(n node, negated bool) bounds {
	switch n := n.(type) {
	case group:
		b := boundsOf(n.parts[0], negated)
		for _, p := range n.parts[1:] {
			if n.and != negated {
				b = b.both(boundsOf(p, negated))
			} else {
				b = b.either(boundsOf(p, negated))
			}
		}
		return b
	case negation:
		return boundsOf(n.part, !negated)
	case *atom:
		return n.bounds(negated)
	}
	return unbounded()
}

// both is for two rules that must hold together. Of two lists of addresses only one can be kept: the
// two may speak of different ends.
func (b bounds) both(o bounds) bounds {
	return bounds{
		from: max(b.from, o.from), to: min(b.to, o.to),
		ids: common(b.ids, o.ids), apps: common(b.apps, o.apps), types: common(b.types, o.types),
		nets: narrower(b.nets, o.nets),
	}
}

// either is for two rules of which one must hold.
func (b bounds) either(o bounds) bounds {
	return bounds{
		from: min(b.from, o.from), to: max(b.to, o.to),
		ids: union(b.ids, o.ids), apps: union(b.apps, o.apps), types: union(b.types, o.types),
		nets: union(b.nets, o.nets),
	}
}

// common is the intersection of two limits; where it is empty, so that nothing can match, one of them
// is as good.
func common[T comparable](a, b []T) []T {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	var out []T
	for _, x := range a {
		if slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	if out == nil {
		return a
	}
	return out
}

func union[T comparable](a, b []T) []T {
	if a == nil || b == nil {
		return nil
	}
	out := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// narrower picks the list that finds fewer conversations: the one whose widest network is smaller.
func narrower(a, b []netip.Prefix) []netip.Prefix {
	switch {
	case a == nil:
		return b
	case b == nil || freedom(a) <= freedom(b):
		return a
	}
	return b
}

func freedom(nets []netip.Prefix) (bits int) {
	for _, n := range nets {
		bits = max(bits, n.Addr().BitLen()-n.Bits())
	}
	return bits
}

// bounds of one comparison. A name that an artifact may answer says nothing of the conversation, with
// one exception: no artifact is older than its conversation.
func (a *atom) bounds(negated bool) bounds {
	b := unbounded()
	r := a.readings[len(a.readings)-1]
	shared := len(a.readings) > 1
	op := a.op
	if negated {
		op = opposite(op)
	}
	switch {
	case op == has || op == "":
	case r.f.of == Artifacts:
		if r.f.name == "type" && (op == equal || op == in) {
			b.types = texts(r.values)
		}
	case shared && a.readings[0].f.kind == anything:
	case r.f.kind == instant:
		b.times(op, r.values)
		if shared || strings.HasSuffix(r.f.name, "last") {
			b.from = math.MinInt64
		}
	case shared || op != equal && op != in:
	default:
		b.lists(r)
	}
	return b
}

// opposite is the operator that holds where op does not; empty where there is none, or where what is
// absent makes the difference.
func opposite(op operator) operator {
	switch op {
	case less:
		return atLeast
	case atMost:
		return more
	case more:
		return atMost
	case atLeast:
		return less
	case unequal:
		return equal
	}
	return ""
}

func (b *bounds) times(op operator, values []value) {
	switch v := values[0].span; op {
	case less:
		b.to = ntpac.Time(v[0] - 1)
	case atMost:
		b.to = ntpac.Time(v[1])
	case more:
		b.from = ntpac.Time(v[1] + 1)
	case atLeast:
		b.from = ntpac.Time(v[0])
	case equal, in:
		b.from, b.to = ntpac.Time(v[0]), ntpac.Time(v[1])
		for _, v := range values[1:] {
			b.from, b.to = min(b.from, ntpac.Time(v.span[0])), max(b.to, ntpac.Time(v.span[1]))
		}
	}
}

// lists takes the limits that == and in set.
func (b *bounds) lists(r *reading) {
	switch r.f.name {
	case "id", "conversation", "conversation.id":
		for _, v := range r.values {
			id, err := ntpac.ParseConversationID(v.text)
			if err != nil {
				b.ids = nil
				return
			}
			b.ids = append(b.ids, id)
		}
	case "app", "conversation.app":
		if apps := texts(r.values); !slices.Contains(apps, "") {
			b.apps = apps
		}
	case "ip", "src.ip", "dst.ip", "conversation.ip", "conversation.src.ip", "conversation.dst.ip":
		for _, v := range r.values {
			b.nets = append(b.nets, v.cover())
		}
	}
}

func texts(values []value) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.text
	}
	return out
}

// cover is the smallest network that holds the value.
func (v *value) cover() netip.Prefix {
	if v.net.IsValid() {
		return v.net
	}
	lo, hi := v.addr[0], v.addr[1]
	for bits := lo.BitLen(); ; bits-- {
		if p, err := lo.Prefix(bits); err != nil || p.Contains(hi) {
			return p
		}
	}
}

// query puts the bounds in the form that stores read.
func (b *bounds) query() ntpac.Query {
	q := ntpac.Query{IDs: b.ids, Addrs: b.nets, Apps: b.apps, Types: b.types}
	if b.from != math.MinInt64 {
		q.From = b.from
	}
	if b.to != math.MaxInt64 {
		q.To = b.to
	}
	return q
}
