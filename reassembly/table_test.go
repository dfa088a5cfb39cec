package reassembly

import (
	"math/rand/v2"
	"testing"

	"ntpac"
	"ntpac/packet"
)

func testKey(r *rand.Rand, n int) packet.RawKey {
	return rawKey(uint16(r.IntN(n)))
}

// The table behaves like a map, also where hashes collide.
func TestTable(t *testing.T) {
	for _, hash := range []func(k *packet.RawKey) uint64{
		func(k *packet.RawKey) uint64 { return packet.Hash(k, 5) },
		func(k *packet.RawKey) uint64 { return packet.Hash(k, 5) & (0xff << 22) }, // few places
		func(*packet.RawKey) uint64 { return 0 },                                  // one
	} {
		r := rand.New(rand.NewPCG(1, 2))
		tab := newTable(nil)
		want := map[packet.RawKey]uint32{}
		for range 6000 {
			k := testKey(r, 600)
			f, ix := tab.find(hash(&k), &k)
			was, ok := want[k]
			if ok != (f != nil) || ok && (was != ix || f.key != k) {
				t.Fatalf("found %v, %d; want %v, %d", f != nil, ix, ok, was)
			}
			if g, gx := tab.findAt(tab.guess(hash(&k)), hash(&k), &k); g != f || gx != ix {
				t.Fatalf("with a guess %d, without %d", gx, ix)
			}
			if ok {
				tab.remove(ix)
				delete(want, k)
				continue
			}
			_, ix = tab.add(hash(&k), &k)
			want[k] = ix
			if tab.used != len(want) {
				t.Fatalf("%d used, want %d", tab.used, len(want))
			}
		}
	}
}

// Slabs come from the heap and from outside of it, zeroed, and flows never move.
func TestSlabs(t *testing.T) {
	tab := newTable(nil)
	defer tab.mem.release()
	n := (heapSlabs + 2) * slabLen
	var at []*flow
	for i := range n {
		k := rawKey(uint16(i))
		f, ix := tab.add(uint64(i)<<22, &k)
		if int(ix) != i || f.half[0].next != 0 || f.status != live {
			t.Fatalf("flow %d has index %d: %+v", i, ix, f)
		}
		f.last = ntpac.Time(i)
		at = append(at, f)
	}
	for i, f := range at {
		if f != tab.at(uint32(i)) || f.last != ntpac.Time(i) {
			t.Fatalf("flow %d has moved", i)
		}
	}
}

// A flow is looked at when its time has come, at the latest a tick and a horizon later, whatever the
// steps of the clock.
func TestWheel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		tab := newTable(nil)
		var w wheel
		due := map[uint32]ntpac.Time{}
		now := 1_700_000_000 * ntpac.Second
		for range 400 {
			k := testKey(r, 1<<16)
			if f, _ := tab.find(packet.Hash(&k, 1), &k); f == nil {
				f, ix := tab.add(packet.Hash(&k, 1), &k)
				f.last = now
				due[ix] = now + ntpac.Time(r.Int64N(3000))*ntpac.Second
				w.file(tab, ix, due[ix])
			}
			now += ntpac.Time(r.Int64N([]int64{2, 50, 900}[r.IntN(3)])) * ntpac.Second
			w.advance(tab, now, func(f *flow, ix uint32) {
				if now < due[ix] {
					w.file(tab, ix, due[ix])
					return
				}
				delete(due, ix)
			})
			for ix, at := range due {
				if now > at+2*wheelTick {
					t.Fatalf("flow %d was due %v ago", ix, now-at)
				}
			}
		}
		for ix := range due {
			w.remove(tab, ix)
			w.remove(tab, ix) // nothing happens
		}
		if w.slots != [wheelSlots]uint32{} {
			t.Fatal("the wheel should be empty")
		}
	}
}

func TestDueQueue(t *testing.T) {
	var q dueQueue
	r := rand.New(rand.NewPCG(5, 6))
	in, out := uint32(0), uint32(0)
	for range 10000 {
		if r.IntN(5) < 3 {
			q.push(ntpac.Time(in), in)
			in++
		} else if ix, ok := q.pop(ntpac.Time(in)); ok {
			if ix != out {
				t.Fatalf("got %d, want %d", ix, out)
			}
			out++
		}
	}
	if _, ok := q.pop(ntpac.Time(out)); ok {
		t.Error("an entry is due only when its time has passed")
	}
}
