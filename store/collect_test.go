package store_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"ntpac"
)

// What goes in comes back, whatever the sizes and however little memory there is.
func TestCollector(t *testing.T) {
	for _, x := range []struct {
		name      string
		size, gap int
		budget    int64
		steps     int
		reference bool
	}{
		{"small", 100, 50, 128 << 20, 3000, false},
		{"rows and chunks", 5000, 500, 128 << 20, 2000, false},
		{"chunks", 100_000, 1000, 128 << 20, 400, false},
		{"wide gaps", 30_000, 700_000, 128 << 20, 400, false},
		{"little memory", 5000, 500, 100_000, 2000, false},
		{"hardly any memory", 20_000, 300_000, 1, 700, false},
		{"by reference", 30_000, 50_000, 128 << 20, 700, true},
		{"by reference, little memory", 30_000, 50_000, 100_000, 700, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			for seed := range uint64(2) {
				d := newDrill(t, seed)
				if x.reference {
					d.byReference()
				}
				d.size, d.gap, d.c.Budget = x.size, x.gap, x.budget
				for range x.steps {
					d.step()
					if t.Failed() {
						t.Fatalf("seed %d", seed)
					}
				}
				for len(d.open) > 0 {
					d.close(0)
				}
				if d.c.Err() != nil {
					t.Error(d.c.Err())
				}
				if x.budget < 1<<20 && d.c.Parked == 0 {
					t.Error("nothing was parked")
				}
			}
		})
	}
}

// Gaps at and across the borders of chunks.
func TestCollectorBorders(t *testing.T) {
	const size = ntpac.ChunkSize
	for _, x := range [][]int{ // data, gap, data, gap ...
		{size}, {size, 1}, {size, 1, 1}, {size - 1, 1}, {size - 1, 1, 1}, {size - 1, 2, 5}, {size + 1, size - 1, 3},
		{0, size, 4}, {0, size + 1, 4}, {0, 3*size - 1, 2}, {1, 5 * size, 1, size, size + 1}, {3 * size, size, 3 * size}, {10, 2*size - 10, 10},
	} {
		t.Run(fmt.Sprint(x), func(t *testing.T) {
			d := newDrill(t, 1)
			s := d.begin()
			d.identify(s)
			for i, n := range x {
				switch {
				case n == 0:
				case i%2 == 1:
					d.hole(s, ntpac.A, n, ntpac.GapAcked)
				default:
					for ; n > 0; n -= min(n, 50_000) {
						d.say(s, ntpac.A, min(n, 50_000))
					}
				}
			}
			for range 20 {
				d.ask(s, ntpac.A)
			}
			d.close(0)
			d.reopen(0)
			d.say(s, ntpac.A, 100)
			d.close(0)
		})
	}
}

// A small conversation is a row; a chunk holds what lies in its range and has the key of it.
func TestCollectorKeys(t *testing.T) {
	d := newDrill(t, 1)
	s := d.begin()
	d.say(s, ntpac.A, 1000)
	d.say(s, ntpac.B, 1000)
	d.close(0)
	if len(d.shelf.chunks) != 0 || d.shelf.convs[s.id].Inline == nil {
		t.Errorf("a small conversation has %d chunks", len(d.shelf.chunks))
	}
	s = d.begin()
	for range 7 {
		d.say(s, ntpac.A, 100_000)
	}
	d.hole(s, ntpac.A, 1<<20, ntpac.GapAcked)
	d.say(s, ntpac.A, 100)
	if len(d.shelf.chunks) != 0 {
		t.Error("chunks went out before their conversation had an id")
	}
	d.close(0)
	got := map[int64]int{}
	for k, b := range d.shelf.chunks {
		if k.ID != s.id || k.Stream > 2 {
			t.Errorf("key %v", k)
		}
		if k.Stream == ntpac.StreamA {
			got[k.N] = len(b)
		}
	}
	if want := map[int64]int{0: 262144, 1: 262144, 2: 700000 - 2*262144, 6: 100}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("chunks %v, want %v", got, want)
	}
}

// With payload kept by reference only histories are stored; streams are hashed all the same.
func TestCollectorReference(t *testing.T) {
	d := newDrill(t, 1)
	d.c.Reference = true
	c := d.begin()
	for range 9 {
		d.say(c, ntpac.A, 100_000)
	}
	sum := sha256.Sum256(c.data[0])
	conv := &ntpac.Conversation{ID: c.id}
	conv.Half[0].Bytes, conv.Half[0].End = 900_000, 900_000
	d.c.Close(c.h, conv)
	got := d.shelf.convs[c.id]
	if !got.ByReference() || got.Half[0].SHA256 != sum || got.Inline == nil || got.Inline.Stream[0] != nil || len(got.Inline.History) == 0 {
		t.Errorf("%+v", got)
	}
	for k := range d.shelf.chunks {
		if k.Stream != ntpac.StreamHistory {
			t.Errorf("payload was stored: %v", k)
		}
	}
	if _, ok := d.c.Reopen(c.id); ok {
		t.Error("it was opened again, though its payload cannot be read here")
	}
}

// Alternatives are bounded, and what was left out is said.
func TestCollectorConflictLimits(t *testing.T) {
	for _, size := range []int{1, 100_000} {
		d := newDrill(t, 1)
		s := d.begin()
		d.say(s, ntpac.A, 10)
		for range 5000 {
			d.c.Conflict(s.h, ntpac.A, ntpac.Conflict{Alt: make([]byte, size)})
		}
		d.c.Close(s.h, &ntpac.Conversation{ID: s.id, Half: [2]ntpac.Half{{Bytes: 10, End: 10}}})
		c := d.shelf.convs[s.id]
		if n := len(c.Half[0].Conflicts); n*size > 5<<20 || n > 4096 || n == 0 || c.Flags&ntpac.LimitHistory == 0 {
			t.Errorf("%d alternatives of %d bytes, flags %v", n, size, c.Flags.Names())
		}
	}
}

// When what was given out cannot be read back nothing false is stored.
func TestCollectorBrokenStore(t *testing.T) {
	d := newDrill(t, 1)
	d.c.Budget = 1
	s := d.begin()
	d.identify(s)
	other := d.begin()
	for range 200 {
		d.say(s, ntpac.A, 10_000)
		d.say(other, ntpac.A, 10_000)
	}
	if d.c.Parked == 0 {
		t.Fatal("nothing was parked")
	}
	d.shelf.broken = true
	for range 200 {
		d.say(s, ntpac.A, 10)
		d.say(other, ntpac.A, 10_000)
	}
	d.c.Close(s.h, &ntpac.Conversation{ID: s.id})
	if !errors.Is(d.c.Err(), errBroken) || len(d.shelf.convs) > 0 {
		t.Errorf("%v, %d conversations", d.c.Err(), len(d.shelf.convs))
	}
	d.shelf.broken = false
}

// The budget bounds what is held, also where everything is small.
func TestCollectorBudget(t *testing.T) {
	for _, size := range []int{100, 3000, 20_000} {
		d := newDrill(t, 1)
		d.c.Budget = 4 << 20
		for range 2000 {
			s := d.begin()
			d.identify(s)
			d.say(s, ntpac.A, size)
			if n := d.c.Held(); n > 5<<20 {
				t.Fatalf("size %d: %d bytes are held", size, n)
			}
		}
		for len(d.open) > 0 {
			d.close(0)
		}
		if n := d.c.Held(); n != 0 {
			t.Errorf("size %d: %d bytes are held when all are closed", size, n)
		}
	}
}
