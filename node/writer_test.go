package node

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/store"
	"ntpac/store/memory"
)

// slow is a store whose commits take some time, and can be held up.
type slow struct {
	ntpac.Store
	takes   time.Duration
	gate    chan struct{} // nil: open
	commits int
	rows    []int
}

func (s *slow) Commit(ctx context.Context, c *ntpac.Commit) error {
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if s.takes > 0 {
		time.Sleep(s.takes) // on the bubble's clock
	}
	s.commits++
	s.rows = append(s.rows, len(c.Conversations))
	return s.Store.Commit(ctx, c)
}

func start(t *testing.T, st ntpac.Store, noSnoop bool) (w *writer, end func()) {
	o := Options{Case: "test", Workers: 1}
	o.defaults()
	w = newWriter(st, o, &store.Buffers{}, &Progress{})
	if noSnoop {
		w.snoop = nil
	}
	done := make(chan error, 1)
	go func() { done <- w.run(t.Context()) }()
	return w, func() {
		w.mail.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func deliver(t *testing.T, w *writer, n int) {
	t.Helper()
	c := &ntpac.Conversation{ID: ntpac.ConversationID{byte(n >> 8), byte(n)}, Case: "test"}
	w.pending.Add()
	if err := w.mail.Send(t.Context(), delivery{tasks: []*task{{id: c.ID, conv: c}}}); err != nil {
		t.Fatal(err)
	}
}

// TestPace measures on the bubble's clock how long rows wait for a commit.
func TestPace(t *testing.T) {
	t.Run("one row", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			st := &slow{Store: memory.New()}
			w, end := start(t, st, true)
			begun := time.Now()
			deliver(t, w, 1)
			if err := w.pending.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took > 5*time.Millisecond {
				t.Errorf("it waited for %v", took)
			}
			end()
		})
	})
	t.Run("bulk", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			st := &slow{Store: memory.New(), takes: 10 * time.Millisecond}
			w, end := start(t, st, true)
			for i := range 1000 {
				deliver(t, w, i)
				time.Sleep(time.Millisecond)
			}
			end()
			if st.commits > 12 {
				t.Errorf("%d commits in a second: %v", st.commits, st.rows)
			}
		})
	})
	t.Run("the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			st := &slow{Store: memory.New()}
			w, end := start(t, st, true)
			w.eager.Store(true)
			begun := time.Now()
			deliver(t, w, 1)
			if err := w.pending.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took != 0 {
				t.Errorf("it waited for %v, though nothing else was to come", took)
			}
			end()
		})
	})
}

// TestWriterWaitsForNobody lets no snooper read: the writer goes on all the same.
func TestWriterWaitsForNobody(t *testing.T) {
	w, end := start(t, memory.New(), false)
	for i := range 5000 {
		deliver(t, w, i)
	}
	if err := w.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		x, ok := w.snoop.Receive(t.Context())
		if !ok || w.turns.begin(x) == nil || w.turns.end(x) != nil {
			t.Fatal("a task is lost")
		}
	}
	end()
}

// TestBackPressure holds the store up: everything before it comes to rest with no more in memory than the
// credit allows, and goes on when the store does.
func TestBackPressure(t *testing.T) {
	c := pcaptest.New()
	rng := rand.NewChaCha8([32]byte{})
	data := make([]byte, 200_000)
	const flows = 160
	for i := range flows {
		k := c.TCP(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1024+i)), netip.MustParseAddrPort("10.0.0.2:9999"))
		k.Open()
		rng.Read(data)
		k.Send(ntpac.Up, data)
		k.Close()
	}
	var b bytes.Buffer
	if err := c.WritePcap(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		st := &slow{Store: memory.New()}
		r := &localRun{st: st, o: Options{Case: "test", Workers: 2, MaxMemory: 8 << 20}, prog: &Progress{}, drain: t.Context()}
		r.o.defaults()
		defer r.close()
		if err := r.prepare(t.Context(), []string{file}); err != nil {
			t.Fatal(err)
		}
		if err := r.commitSources(t.Context(), r.infos()); err != nil {
			t.Fatal(err)
		}
		st.gate = make(chan struct{})
		done := make(chan error, 1)
		go func() {
			_, err := r.run(t.Context())
			done <- err
		}()
		st.gate <- struct{}{} // the sources' commit
		for i := range 50 {
			synctest.Wait() // everybody waits for the store
			if i == 0 && r.prog.Packets.Load() >= int64(len(c.Frames)) {
				t.Error("everything was read while nothing could be stored")
			}
			if u := r.w.credit.Used(); u > r.w.credit.Total() {
				t.Errorf("%d of %d are used", u, r.w.credit.Total())
			}
			select {
			case st.gate <- struct{}{}:
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				if n := r.prog.Conversations.Load(); n != flows {
					t.Errorf("%d conversations", n)
				}
				if r.w.credit.Used() != 0 || r.w.found.Used() != 0 {
					t.Errorf("credit is left: %d, %d", r.w.credit.Used(), r.w.found.Used())
				}
				return
			}
		}
		close(st.gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
