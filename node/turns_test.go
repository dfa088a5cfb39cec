package node

import (
	"sync"
	"sync/atomic"
	"testing"

	"ntpac"
)

// TestTurns has several snoopers read a few conversations again and again: never two of them the same
// one, nobody forgotten, and nothing left over.
func TestTurns(t *testing.T) {
	k := newTurns()
	mail := make(chan *task)
	var busy, read [3]atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for x := range mail {
				for x = k.begin(x); x != nil; x = k.end(x) {
					i := x.id[0]
					if busy[i].Add(1) > 1 {
						t.Error("two at a time")
					}
					read[i].Add(1)
					busy[i].Add(-1)
				}
			}
		})
	}
	const n = 3000
	for i := range n {
		id := ntpac.ConversationID{byte(i % 3)}
		k.enter(id)
		mail <- &task{id: id}
	}
	close(mail)
	wg.Wait()
	for i := range read {
		if got := read[i].Load(); got != n/3 {
			t.Errorf("conversation %d was read %d times", i, got)
		}
	}
	if len(k.of) != 0 {
		t.Errorf("%d conversations are left", len(k.of))
	}
}

// TestWaits tells who will still be read from who is being read.
func TestWaits(t *testing.T) {
	k, id := newTurns(), ntpac.ConversationID{1}
	check := func(when string, want bool) {
		t.Helper()
		if k.waits(id) != want {
			t.Fatalf("%s: waits %v", when, !want)
		}
	}
	check("nothing has come", false)
	k.enter(id)
	check("in the mailbox", true)
	a := k.begin(&task{id: id})
	check("being read", false)
	k.enter(id)
	check("another one in the mailbox", true)
	if k.begin(&task{id: id, again: true}) != nil {
		t.Fatal("two at a time")
	}
	check("another one taken out of it", true)
	b := k.end(a)
	if b == nil || !b.again {
		t.Fatal("the second one is lost")
	}
	check("the other one is being read", false)
	if k.end(b) != nil || len(k.of) != 0 {
		t.Fatal("not empty at the end")
	}
}
