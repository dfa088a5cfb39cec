package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Difference is one thing that was expected and not found, or found otherwise.
type Difference struct {
	Capture   string `json:"capture"`
	Kind      string `json:"kind"`
	Key       string `json:"key"` // names the difference: explanations refer to it
	Want      any    `json:"want,omitempty"`
	Got       any    `json:"got,omitempty"` // the nearest thing found, if any
	Extra     bool   `json:"extra,omitempty"`
	Explained string `json:"explained,omitempty"`
}

// Count is the agreement of one kind.
type Count struct {
	Agreed, Explained, Unexplained int
	Extra                          int // found beside what was expected: not wrong by itself
}

// Total is how many were expected.
func (c Count) Total() int { return c.Agreed + c.Explained + c.Unexplained }

// Percent is the agreed share of what was expected; with nothing expected everything agrees.
func (c Count) Percent() float64 {
	if c.Total() == 0 {
		return 100
	}
	return 100 * float64(c.Agreed) / float64(c.Total())
}

// Tally collects counts by kind, and writes each difference as a JSON line. Used by many goroutines.
type Tally struct {
	Explained *Explanations // may be nil
	Log       io.Writer     // may be nil

	mu     sync.Mutex
	counts map[string]*Count
	err    error
}

// Add counts how the wanted items of a kind were met, and what was found beside them.
func (t *Tally) Add(capture, kind string, want, got []Item) Outcome {
	o := t.AddWanted(capture, kind, want, got)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range o.Extra {
		t.extra(Difference{Capture: capture, Kind: kind, Key: got[g].Keys[0], Got: got[g].show(), Extra: true})
	}
	return o
}

// AddWanted counts how the wanted items of a kind were met, where the list of what is wanted is known
// not to be whole.
func (t *Tally) AddWanted(capture, kind string, want, got []Item) Outcome {
	o := Match(want, got)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(kind).Agreed += len(o.Pairs)
	near := map[string][]int{}
	for _, g := range o.Extra {
		near[got[g].Near] = append(near[got[g].Near], g)
	}
	for _, w := range o.Missing {
		d := Difference{Capture: capture, Kind: kind, Key: want[w].Keys[0], Want: want[w].show()}
		if l := near[want[w].Near]; len(l) > 0 && want[w].Near != "" {
			d.Got = got[l[0]].show()
			near[want[w].Near] = l[1:]
		}
		t.differ(d)
	}
	return o
}

// Agree counts n agreements of a kind.
func (t *Tally) Agree(kind string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(kind).Agreed += n
}

// Differ counts a difference.
func (t *Tally) Differ(d Difference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.differ(d)
}

func (t *Tally) differ(d Difference) {
	if reason, ok := t.Explained.reason(d.Capture, d.Kind, d.Key); ok {
		d.Explained = reason
		t.count(d.Kind).Explained++
	} else {
		t.count(d.Kind).Unexplained++
	}
	t.write(d)
}

func (t *Tally) extra(d Difference) {
	t.count(d.Kind).Extra++
	t.write(d)
}

func (t *Tally) count(kind string) *Count {
	if t.counts == nil {
		t.counts = map[string]*Count{}
	}
	c := t.counts[kind]
	if c == nil {
		c = &Count{}
		t.counts[kind] = c
	}
	return c
}

func (t *Tally) write(d Difference) {
	if t.Log == nil || t.err != nil {
		return
	}
	b, err := json.Marshal(d)
	if err == nil {
		_, err = t.Log.Write(append(b, '\n'))
	}
	t.err = err
}

// Err is the first error in writing differences.
func (t *Tally) Err() error { return t.err }

// Count gives the counts of a kind.
func (t *Tally) Count(kind string) Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.counts[kind]; c != nil {
		return *c
	}
	return Count{}
}

// Markdown writes the table of the kinds, in the order given; kinds never counted show as "-".
func (t *Tally) Markdown(w io.Writer, kinds []string) error {
	if _, err := fmt.Fprintf(w, "| kind | expected | agreed | %% | explained | unexplained | extra |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"); err != nil {
		return err
	}
	for _, k := range kinds {
		c := t.Count(k)
		percent := "-"
		if c.Total() > 0 {
			percent = fmt.Sprintf("%.2f", c.Percent())
		}
		if _, err := fmt.Fprintf(w, "| %s | %d | %d | %s | %d | %d | %d |\n", k, c.Total(), c.Agreed, percent, c.Explained, c.Unexplained, c.Extra); err != nil {
			return err
		}
	}
	return nil
}
