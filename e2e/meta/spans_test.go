package meta

import "slices"

// span is a range of a stream.
type span struct{ off, end int64 }

// join adds a span to sorted, disjoint ones.
func join(ss []span, s span) []span {
	if s.off >= s.end {
		return ss
	}
	var out []span
	for _, x := range ss {
		if x.end < s.off || x.off > s.end {
			out = append(out, x)
			continue
		}
		s.off, s.end = min(s.off, x.off), max(s.end, x.end)
	}
	out = append(out, s)
	slices.SortFunc(out, func(a, b span) int { return int(a.off - b.off) })
	return out
}

// within gives what of [off, end) the spans leave out.
func within(ss []span, off, end int64) (out []span) {
	for _, s := range ss {
		if s.end <= off {
			continue
		}
		if s.off >= end {
			break
		}
		if s.off > off {
			out = append(out, span{off, s.off})
		}
		off = s.end
	}
	if off < end {
		out = append(out, span{off, end})
	}
	return out
}

func total(ss []span) (n int64) {
	for _, s := range ss {
		n += s.end - s.off
	}
	return n
}
