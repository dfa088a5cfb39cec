package main

import (
	"slices"

	"ntpac/e2e/cli"
)

// expectedGaps is the gap map that a direction's captured packets prove, and by how much its offsets
// are less than the truth's. It is that of the truth, but for two things that no packet tells:
//
//   - A head whose length nobody knows: neither the direction's SYN nor the answer to it was captured.
//     Offset 0 is then the first captured byte.
//   - A tail that nothing proves. A captured FIN or RST proves all of it; without one, the other side's
//     acknowledgements prove what they reach, and nothing behind. A single acknowledged byte behind the
//     last captured one is a FIN, not a byte.
//
// finToo says that the last gap is the truth's whole tail and that an acknowledgement reaches one further,
// as it counts the FIN: a FIN that was lost together with the bytes before it looks like one byte more.
func expectedGaps(s *stream, d *sight, closed bool) (gaps [][2]int64, shift int64, finToo bool) {
	if d.frames == 0 { // flagged one-sided
		return nil, 0, false
	}
	told := d.seqs[start].known
	gaps = slices.Clone(s.Gaps)
	if s.HeadGap > 0 && !told {
		gaps, shift = gaps[1:], s.HeadGap
	}
	from := d.seqs[end].at
	tail := s.TailGap
	if s.Bytes == s.Missing { // the only gap is head and tail at once
		from, tail = d.seqs[start].at, s.HeadGap
		if !told {
			return nil, shift, false
		}
	}
	if tail > 0 && !d.fin {
		gaps = gaps[:len(gaps)-1]
		if proven := d.seqs[acked].at - from; d.seqs[acked].known && proven > 1 {
			finToo = closed && proven == tail+1
			gaps = append(gaps, [2]int64{s.Bytes - tail, min(proven, tail)})
		}
	}
	for i := range gaps {
		gaps[i][0] -= shift
	}
	return gaps, shift, finToo
}

// gapsAgree compares a gap map with the expected one.
func gapsAgree(want, got [][2]int64, finToo bool) bool {
	if last := len(got) - 1; finToo && last >= 0 && last < len(want) && got[last][1] == want[last][1]+1 {
		got = slices.Clone(got)
		got[last][1]--
	}
	return slices.Equal(want, got)
}

// merged joins gaps that touch: their causes differ, their bytes do not.
func merged(gaps []cli.Gap) (out [][2]int64) {
	gaps = slices.Clone(gaps)
	slices.SortFunc(gaps, func(a, b cli.Gap) int { return int(a.Off - b.Off) })
	for _, g := range gaps {
		if n := len(out); n > 0 && out[n-1][0]+out[n-1][1] == g.Off {
			out[n-1][1] += g.Len
			continue
		}
		out = append(out, [2]int64{g.Off, g.Len})
	}
	return out
}

// conflictsAgree reports whether the product has both versions of every byte that the generator gave
// two: the injected one has the lowest bit of every byte turned. No byte may have a third.
func conflictsAgree(want [][2]int64, shift int64, got []cli.Version, overlap int64) bool {
	other := map[int64]bool{}
	for _, v := range got {
		if len(v.Kept) != len(v.Other) {
			return false
		}
		for i := range v.Other {
			at := v.Offset + int64(i)
			if v.Other[i] != v.Kept[i]^1 || other[at] {
				return false
			}
			other[at] = true
		}
	}
	n := int64(0)
	seen := map[int64]bool{}
	for _, r := range want {
		for at := r[0] - shift; at < r[0]-shift+r[1]; at++ {
			if !other[at] {
				return false
			}
			if !seen[at] {
				seen[at] = true
				n++
			}
		}
	}
	return n == int64(len(other)) && n == overlap
}
