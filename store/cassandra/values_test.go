package cassandra

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
	"ntpac/store/row"
)

func conversationID(start uint64, last byte) (id ntpac.ConversationID) {
	for i := range 8 {
		id[i] = byte(start >> (56 - 8*i))
	}
	id[15] = last
	return id
}

// TestPartition pins where rows lie: stores must be read for ever.
func TestPartition(t *testing.T) {
	c := &caseInfo{buckets: 16}
	for _, x := range []struct {
		id   ntpac.ConversationID
		want partition
	}{
		{conversationID(0, 0), partition{0, 0}},
		{conversationID(59_999_999_999, 0x1f), partition{0, 15}},
		{conversationID(60_000_000_000, 0x10), partition{1, 0}},
		{conversationID(1_700_000_000_000_000_000, 0xa7), partition{28333333, 7}},
		{conversationID(1<<64-1, 1), partition{lastMinute, 1}},
	} {
		if got := c.partition(x.id); got != x.want {
			t.Errorf("%v: %v, want %v", x.id, got, x.want)
		}
	}
	if h := hourOf(28333333); h != 472222 {
		t.Errorf("hour %d", h)
	}
	for a, want := range map[string][2]int16{"10.0.0.1": {30, 14}, "::ffff:10.0.0.1": {30, 14}, "2001:db8::1": {20, 4}} {
		if class, bucket := c.endClass(netip.MustParseAddr(a)); [2]int16{class, bucket} != want {
			t.Errorf("%s: class %d, bucket %d, want %v", a, class, bucket, want)
		}
	}
	k, h := expectKey(classAddr|classPort, ntpac.TCP, netip.MustParseAddrPort("10.0.0.1:21"))
	if !bytes.Equal(k, []byte{3, 6, 4, 10, 0, 0, 1, 0, 21}) || h < 0 || h >= expectPartitions {
		t.Errorf("expectation %v in %d", k, h)
	}
}

// TestMinutes: no conversation that a query selects began outside of its minutes.
func TestMinutes(t *testing.T) {
	minute := ntpac.Time(60e9)
	for _, x := range []struct {
		q        ntpac.Query
		from, to int32
	}{
		{ntpac.Query{}, 0, lastMinute}, {ntpac.Query{From: 3 * minute, To: 5*minute - 1}, 3, 4}, {ntpac.Query{From: -5}, 0, lastMinute},
		{ntpac.Query{From: minute, After: conversationID(uint64(7*minute), 1)}, 7, lastMinute},
		{ntpac.Query{After: conversationID(1<<63, 1)}, 153722867, lastMinute},
	} {
		if from, to := minutesOf(&x.q); from != x.from || to != x.to {
			t.Errorf("%+v: %d to %d, want %d to %d", x.q, from, to, x.from, x.to)
		}
	}
}

// TestVersions: of two values with one write timestamp Cassandra keeps the higher bytes.
func TestVersions(t *testing.T) {
	v := func(next uint32, seq int64, rest string) []byte {
		return append(appendVersion(nil, next, seq), rest...)
	}
	rising := [][]byte{v(0, 1, "z"), v(0, 2, "y"), v(1, 1, "x"), v(1, 3, "a"), v(1<<31, 0, "")}
	if !slices.IsSortedFunc(rising, bytes.Compare) {
		t.Error("versions do not sort")
	}
	s := func(done bool, packets uint64, seq int64) []byte {
		return sourceRank(&ntpac.SourceInfo{Done: done, Packets: packets}, seq)
	}
	if sources := [][]byte{s(false, 1, 9), s(false, 2, 1), s(false, 2, 2), s(true, 0, 0), s(true, 1<<63, 0)}; !slices.IsSortedFunc(sources, bytes.Compare) {
		t.Error("sources do not sort")
	}
	last := int64(0)
	for _, stamp := range []uint64{0, 1, 1<<32 - 1, 1 << 32, 5<<32 | 7} {
		at, err := writeTime(stamp)
		if err != nil || at <= last {
			t.Errorf("stamp %d has the write time %d after %d, %v", stamp, at, last, err)
		}
		last = at
	}
	if _, err := writeTime(1 << 62); err == nil {
		t.Error("an epoch that write timestamps cannot hold was taken")
	}
	if timeDrop <= 1<<62 {
		t.Error("a dropped case can be written to")
	}
}

func TestEnds(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	rows := []endRow{{b, conversationID(2, 0), 80, ntpac.TCP}, {a, conversationID(3, 0), 5, ntpac.UDP}, {a, conversationID(1, 0), 4, ntpac.TCP}, {a, conversationID(1, 0), 4, ntpac.TCP}}
	enc := appendEnds(nil, slices.Clone(rows))
	slices.Reverse(rows)
	if !bytes.Equal(enc, appendEnds(nil, slices.Clone(rows))) {
		t.Error("the order of the entries changes the row")
	}
	find := func(x netip.Addr) (ids []ntpac.ConversationID) {
		if err := findEnds(enc, x, func(id ntpac.ConversationID, _ uint16, _ ntpac.Proto) { ids = append(ids, id) }); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	if got := find(a); !slices.Equal(got, []ntpac.ConversationID{conversationID(1, 0), conversationID(3, 0)}) {
		t.Errorf("%v", got)
	}
	if len(find(b)) != 1 || len(find(netip.MustParseAddr("10.0.0.2"))) != 0 {
		t.Error("wrong entries")
	}
}

func generation(snooper string, part int, done bool) *ntpac.Generation {
	return &ntpac.Generation{Snooper: snooper, Part: part, Done: done, Artifacts: []*ntpac.Artifact{{Type: "x"}}}
}

// TestCell: parts of several generations at once never share a writing, and what is replaced is given up.
func TestCell(t *testing.T) {
	next := int64(0)
	fresh := func() int64 { next++; return next }
	c := &cell{}
	big := bytes.Repeat([]byte("x"), inlinePart+1)
	for i, s := range []struct {
		g       *ntpac.Generation
		packed  []byte
		w       int64 // where the part goes; 0 for nowhere
		drop    []int64
		visible string
	}{
		{generation("a", 0, false), big, 1, nil, ""},
		{generation("b", 0, true), []byte("small"), 0, nil, "small"},
		{generation("a", 1, false), []byte("y"), 1, nil, "small"},
		{generation("c", 0, false), big, 2, nil, "small"},
		{generation("a", 2, true), []byte("z"), 1, nil, ""},
		{generation("c", 1, true), nil, 2, []int64{1}, ""},
		{generation("d", 0, true), big, 3, []int64{2}, ""},
		{generation("d", 0, true), big, 4, []int64{3}, ""},
		{generation("e", 0, true), []byte("end"), 0, []int64{4}, "end"},
	} {
		_, out, drop, err := c.take(s.g, s.packed, 1, fresh)
		if err != nil {
			t.Fatal(err)
		}
		w := int64(0)
		if out != nil {
			w = out.w
		}
		if w != s.w || !slices.Equal(drop, s.drop) || string(c.part) != s.visible {
			t.Errorf("step %d: to %d, drops %v, shows %q", i, w, drop, c.part)
		}
		enc := c.append(nil)
		d, err := decodeCell(enc)
		if err != nil || !bytes.Equal(d.append(nil), enc) {
			t.Fatalf("step %d: %v", i, err)
		}
		c = d
	}
}

func FuzzValues(f *testing.F) {
	c := &cell{}
	if _, _, _, err := c.take(generation("a", 0, false), bytes.Repeat([]byte("x"), inlinePart+1), 1, func() int64 { return 5 }); err != nil {
		f.Fatal(err)
	}
	f.Add(c.append(nil))
	if _, _, _, err := c.take(generation("b", 0, true), []byte("part"), 1, func() int64 { return 6 }); err != nil {
		f.Fatal(err)
	}
	f.Add(c.append(nil))
	f.Add(appendEnds(nil, []endRow{{netip.MustParseAddr("10.0.0.1"), conversationID(1, 0), 4, ntpac.TCP}}))
	f.Add(appendRecipe(nil, &ntpac.Blob{Size: 3}, conversationID(1, 1), row.GenerationKey{1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeCell(b); err == nil && len(b) > 0 {
			enc := c.append(nil)
			if d, err := decodeCell(enc); err != nil || !bytes.Equal(d.append(nil), enc) {
				t.Fatal("cell", err)
			}
		}
		_ = findEnds(b, netip.MustParseAddr("10.0.0.1"), func(ntpac.ConversationID, uint16, ntpac.Proto) {})
		if r, err := parseRecipe(b); err == nil {
			_, _ = row.DecodeBlob(r.rest, ntpac.ConversationID{1})
		}
		_, _ = decodeSource(b)
		_, _ = decodeConversation("c", ntpac.ConversationID{1}, b, b, nil)
	})
}

// TestGate: writes are held up, in their order, while too many bytes are under way.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(100)
		var mu sync.Mutex
		var got []int
		enter := func(i int, n int64) {
			go func() {
				took, err := g.enter(t.Context(), n)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				got = append(got, i)
				mu.Unlock()
				time.Sleep(time.Second)
				g.leave(took)
			}()
			synctest.Wait()
		}
		enter(0, 60)
		enter(1, 500) // more than everything: all of it
		enter(2, 10)  // has room, but it is not its turn
		if !slices.Equal(got, []int{0}) {
			t.Errorf("%v entered", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { _, err := g.enter(ctx, 10); gone <- err }()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		if !slices.Equal(got, []int{0, 1, 2}) || g.bytes != 100 || g.slots != maxRequests || len(g.queue) != 0 {
			t.Errorf("%v entered, %d bytes and %d slots are free", got, g.bytes, g.slots)
		}
	})
}

// TestTry: what may pass is repeated with growing pauses; what will not is not.
func TestTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{opt: Options{Hosts: []string{"h:9042"}, Retries: 4}}
		n, begun := 0, time.Now()
		err := s.try(t.Context(), func() error { n++; return errors.New("dial tcp: refused") })
		if took := time.Since(begun); err == nil || n != 5 || took < 300*time.Millisecond || took > 1200*time.Millisecond {
			t.Errorf("%d attempts in %v: %v", n, time.Since(begun), err)
		}
		n = 0
		err = s.try(t.Context(), func() error {
			if n++; n < 3 {
				return errors.New("soon")
			}
			return nil
		})
		if err != nil || n != 3 {
			t.Errorf("%d attempts: %v", n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		n = 0
		err = s.try(ctx, func() error { n++; cancel(); return errors.New("cut") })
		if !errors.Is(err, context.Canceled) || n != 1 {
			t.Errorf("%d attempts after the end: %v", n, err)
		}
	})
}

// TestShy: a host that does not answer is asked last, for longer each time, until it answers.
func TestShy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newShy(nil)
		if p.isMute("a") {
			t.Error("mute from the beginning")
		}
		for _, wait := range []time.Duration{firstMute, 2 * firstMute, 4 * firstMute, maxMute, maxMute} {
			for range 3 { // requests that were under way at once count once
				p.mark("a", gocql.ErrTimeoutNoResponse)
			}
			time.Sleep(wait - time.Second)
			if !p.isMute("a") || p.isMute("b") {
				t.Errorf("not mute before %v", wait)
			}
			if time.Sleep(time.Second); p.isMute("a") {
				t.Errorf("mute after %v", wait)
			}
		}
		p.mark("a", gocql.ErrTimeoutNoResponse)
		p.mark("a", errors.New("another failure"))
		if !p.isMute("a") {
			t.Error("an answer that is an error made it speak")
		}
		if p.mark("a", nil); p.isMute("a") || len(p.mute) != 0 {
			t.Error("still mute after an answer")
		}
	})
}
