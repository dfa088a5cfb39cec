// Package compare sets what was expected against what was found, counts the agreement by kind, and
// keeps every difference for study.
package compare

// Item is one thing to be found. Two items are the same when they share a key; the keys of one are
// listed from the most exact to the least that may still be called agreement.
type Item struct {
	Keys []string
	Near string // an unmatched item is shown beside one with the same Near
	Show any    // how differences show it; nil shows the first key
}

func (i *Item) show() any {
	if i.Show != nil {
		return i.Show
	}
	return i.Keys[0]
}

// Pair says that want[Want] is got[Got], by the want's key number Level.
type Pair struct{ Want, Got, Level int }

// Outcome is how two lists of items relate.
type Outcome struct {
	Pairs   []Pair
	Missing []int // indexes of want
	Extra   []int // indexes of got
}

// Match pairs items one to one, exact keys first: all wanted items try their first key before any
// tries its second.
func Match(want, got []Item) Outcome {
	index := map[string][]int{}
	for i := range got {
		for _, k := range got[i].Keys {
			index[k] = append(index[k], i)
		}
	}
	taken, met := make([]bool, len(got)), make([]bool, len(want))
	var o Outcome
	for level, more := 0, true; more; level++ {
		more = false
		for w := range want {
			if met[w] || level >= len(want[w].Keys) {
				continue
			}
			more = true
			if g, ok := take(index, taken, want[w].Keys[level]); ok {
				met[w] = true
				o.Pairs = append(o.Pairs, Pair{w, g, level})
			}
		}
	}
	o.Missing, o.Extra = falses(met), falses(taken)
	return o
}

func take(index map[string][]int, taken []bool, key string) (int, bool) {
	list := index[key]
	for len(list) > 0 && taken[list[0]] {
		list = list[1:]
	}
	index[key] = list
	if len(list) == 0 {
		return 0, false
	}
	taken[list[0]] = true
	return list[0], true
}

func falses(b []bool) (n []int) {
	for i, v := range b {
		if !v {
			n = append(n, i)
		}
	}
	return n
}
