package reassembly

import (
	"encoding/binary"
	"slices"

	"ntpac"
	"ntpac/packet"
)

// Skew finds out by how much the clocks of sources differ, from what acknowledges what: an acknowledgement
// that one source has comes after the bytes that another one has. Where uplink and downlink were captured
// apart, both kinds of pairs are there, and what they say bounds the difference from both sides. A clock is
// moved only where they say that it must be, so that sources of one clock stay as they are. Sources that both have
// packets of one direction of a connection are parts of one capture, or taps of the same wire: where a part has
// the second copy of what was lost, its bytes come after their acknowledgement, and say nothing of clocks. Use by
// one goroutine.
type Skew struct {
	keyVLAN bool
	sources []skewSource
}

// skewSource is what one source says: by end of segment, when it was captured first, and when it was
// acknowledged first.
type skewSource struct {
	said, acked map[uint64]ntpac.Time
	directions  map[uint64]struct{} // of connections
}

// NewSkew makes a Skew for n sources.
func NewSkew(n int, keyVLAN bool) *Skew {
	k := &Skew{keyVLAN: keyVLAN, sources: make([]skewSource, n)}
	for i := range k.sources {
		k.sources[i] = skewSource{map[uint64]ntpac.Time{}, map[uint64]ntpac.Time{}, map[uint64]struct{}{}}
	}
	return k
}

// Add looks at a prepared batch of one source.
func (k *Skew) Add(src int, b *ntpac.Batch) {
	s := &k.sources[src]
	for i := range b.Packets {
		p := &b.Packets[i]
		if p.Proto != ntpac.TCP || p.Flags&ntpac.Fragment != 0 || p.Pay-p.L4 < 20 {
			continue
		}
		frame := b.Frame(p)
		var key packet.RawKey
		side := packet.Raw(frame, p, k.keyVLAN, &key)
		s.directions[skewKey(p.Hash, side, 0)] = struct{}{}
		h := frame[p.L4:p.Pay]
		n := p.PayLen
		if h[13]&(packet.SYN|packet.FIN) != 0 {
			n++
		}
		if n > 0 && h[13]&packet.RST == 0 {
			note(s.said, skewKey(p.Hash, side, binary.BigEndian.Uint32(h[4:])+n), p.TS)
		}
		if h[13]&packet.ACK != 0 {
			note(s.acked, skewKey(p.Hash, side.Other(), binary.BigEndian.Uint32(h[8:])), p.TS)
		}
	}
}

// skewKey names the end of a segment that a side sent.
func skewKey(hash uint64, side ntpac.Side, end uint32) uint64 {
	return mix(hash*mixer+uint64(side), uint64(end))
}

func note(m map[uint64]ntpac.Time, key uint64, ts ntpac.Time) {
	if was, ok := m[key]; !ok || ts < was {
		m[key] = ts
	}
}

// The least number of pairs that say something, and the share of them that may be wrong: bytes of which the
// first copy was not captured seem to come after what acknowledges them.
const (
	minPairs   = 8
	wrongPairs = 0.03
)

// least gives how long after the bytes of one source the acknowledgements of another one come at least.
func (k *Skew) least(said, acked int) (d ntpac.Time, pairs int) {
	var all []ntpac.Time
	for key, ts := range k.sources[acked].acked {
		if was, ok := k.sources[said].said[key]; ok {
			all = append(all, ts-was)
		}
	}
	if len(all) < minPairs {
		return 0, 0
	}
	slices.Sort(all)
	return all[int(float64(len(all))*wrongPairs)], len(all)
}

// Shifts gives what is to be added to the times of each source, so that they are of one clock: nothing, or
// what takes it to the clock that is farthest ahead. A difference above most is not believed.
func (k *Skew) Shifts(most ntpac.Time) []ntpac.Time {
	n := len(k.sources)
	shift, known := make([]ntpac.Time, n), make([]bool, n)
	for range n { // from the sources whose shift is known, over the pair that says most, to the next one
		from, to, best, by := -1, -1, 0, ntpac.Time(0)
		for i := range n {
			for j := range n {
				if !known[i] || known[j] || i == j {
					continue
				}
				if d, pairs := k.ahead(i, j, most); pairs > best {
					from, to, best, by = i, j, pairs, d
				}
			}
		}
		if from < 0 {
			if to = slices.Index(known, false); to < 0 {
				break
			}
			known[to] = true
			continue
		}
		known[to], shift[to] = true, shift[from]-by
	}
	least := slices.Min(shift)
	for i := range shift {
		shift[i] -= least
	}
	if slices.Max(shift) > most {
		clear(shift)
	}
	return shift
}

// ahead says by how much the clock of source b is ahead of that of a, and how many pairs say so: none where
// they do not tell.
func (k *Skew) ahead(a, b int, most ntpac.Time) (by ntpac.Time, pairs int) {
	forth, n := k.least(a, b) // its bytes are acknowledged so much later by the other clock: never more than that ahead
	back, m := k.least(b, a)
	if n == 0 || m == 0 || forth >= 0 && back >= 0 || k.overlap(a, b) {
		return 0, min(n, m)
	}
	if by = (forth - back) / 2; by > most || by < -most {
		return 0, 0
	}
	return by, min(n, m)
}

// mixedDirections is the share of directions that taps of uplink and downlink may both have packets of, as a
// forged packet comes from where it does not belong.
const mixedDirections = 0.02

// overlap reports whether two sources have packets of the same directions.
func (k *Skew) overlap(a, b int) bool {
	both := 0
	x, y := k.sources[a].directions, k.sources[b].directions
	for d := range x {
		if _, ok := y[d]; ok {
			both++
		}
	}
	return float64(both) > mixedDirections*float64(min(len(x), len(y)))
}
