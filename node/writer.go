package node

import (
	"context"
	"sync/atomic"
	"time"

	"ntpac"
	"ntpac/actor"
	"ntpac/store"
)

// task is a conversation on its way from the shard through the store to a snooper.
type task struct {
	conv   *ntpac.Conversation
	mem    *store.Resident // its payload, while it is in memory
	credit int64
}

// taskOverhead is what a task is charged beside its payload.
const taskOverhead = 4 << 10

// taskQueue is the length of the snoopers' mailbox. The writer sends into it and the snoopers into the
// writer's, so it must never fill: the credit that every task takes bounds it far below.
const taskQueue = 1 << 16

// delivery is what the writer gets in one message.
type delivery struct {
	chunks []ntpac.Chunk
	tasks  []*task
	bytes  int64 // of credit that was taken for it
	gen    *ntpac.Generation
	last   *task // with the last part of a generation: the task is done when it is stored
	synced chan error
}

// writer is the actor that commits: one for the store, so that many small writes become few big ones.
// A conversation goes on to the snoopers only when it is durable.
type writer struct {
	st      ntpac.Store
	cs      string
	mail    *actor.Mailbox[delivery]
	snoop   *actor.Mailbox[*task] // nil: nothing is snooped
	credit  *actor.Credit
	pending pending // conversations that are not all done yet
	bufs    *store.Buffers
	prog    *Progress
	expects *expectIndex
	reread  map[ntpac.ConversationID]bool // conversations that were announced after they had been read
	eager   atomic.Bool                   // nothing big is to come: commit what there is

	c     ntpac.Commit
	tasks []*task
	lasts []*task
	syncs []chan error
	bytes int64 // chunk bytes in c
	rows  int
}

// A commit is made when this much has gathered, or this long after its first row.
const (
	commitBytes = 8 << 20
	commitRows  = 2048
	commitDelay = 200 * time.Millisecond
)

func (w *writer) run(ctx context.Context) error {
	w.c.Case, w.reread = w.cs, map[ntpac.ConversationID]bool{}
	timer := time.NewTimer(commitDelay)
	timer.Stop()
	for {
		var due <-chan time.Time
		if w.rows > 0 {
			due = timer.C
		}
		select {
		case d, ok := <-w.mail.C():
			if !ok {
				return w.end(ctx)
			}
			if w.rows == 0 {
				timer.Reset(commitDelay)
			}
			w.take(d)
			if w.bytes < commitBytes && w.rows < commitRows && len(w.syncs) == 0 && !(w.eager.Load() && w.mail.Depth() == 0) {
				continue
			}
		case <-due:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := w.commit(ctx); err != nil {
			return err
		}
	}
}

func (w *writer) take(d delivery) {
	for i := range d.chunks {
		w.bytes += int64(len(d.chunks[i].Packed))
	}
	w.rows += len(d.chunks) + len(d.tasks)
	w.c.Chunks = append(w.c.Chunks, d.chunks...)
	for _, t := range d.tasks {
		w.c.Conversations = append(w.c.Conversations, t.conv)
		w.bytes += t.mem.Size()
	}
	w.tasks = append(w.tasks, d.tasks...)
	if d.gen != nil {
		w.c.Generations = append(w.c.Generations, d.gen)
		w.rows += 1 + len(d.gen.Artifacts)
	}
	if d.last != nil {
		w.lasts = append(w.lasts, d.last)
	}
	if d.synced != nil {
		w.syncs = append(w.syncs, d.synced)
	}
}

// commit makes durable what has gathered and passes on what waited for it.
func (w *writer) commit(ctx context.Context) error {
	var err error
	if w.rows > 0 {
		err = w.st.Commit(ctx, &w.c)
	}
	for _, ch := range w.syncs {
		ch <- err
	}
	w.syncs = w.syncs[:0]
	if err != nil {
		return err
	}
	for i := range w.c.Chunks {
		w.credit.Give(int64(cap(w.c.Chunks[i].Packed)))
		w.bufs.Put(w.c.Chunks[i].Packed)
	}
	gens := w.c.Generations
	w.c = ntpac.Commit{Case: w.cs, Chunks: w.c.Chunks[:0], Conversations: w.c.Conversations[:0]}
	w.bytes, w.rows = 0, 0
	for _, t := range w.tasks {
		if w.snoop == nil {
			w.done(t)
		} else if err := w.snoop.Send(ctx, t); err != nil {
			return err
		}
	}
	w.tasks = w.tasks[:0]
	if err := w.announce(ctx, gens); err != nil {
		return err
	}
	for _, t := range w.lasts {
		w.done(t)
	}
	w.lasts = w.lasts[:0]
	return nil
}

// announce looks for stored conversations that new expectations are about, to snoop them again. Those
// that are stored later find the expectation themselves.
func (w *writer) announce(ctx context.Context, gens []*ntpac.Generation) error {
	for _, g := range gens {
		if !w.reread[g.Conversation] {
			w.prog.artifacts(g.Artifacts)
		}
	}
	for _, g := range gens {
		for i := range g.Expectations {
			e := &g.Expectations[i]
			w.expects.add(e)
			cs, err := w.st.Announced(ctx, e)
			if err != nil {
				return err
			}
			for _, c := range cs {
				if err := w.recount(ctx, c); err != nil {
					return err
				}
				w.pending.Add()
				if err := w.snoop.Send(ctx, &task{conv: c}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// recount takes what was found in a conversation out of the counters: it is about to be read again, and
// counts at the end with what is visible then.
func (w *writer) recount(ctx context.Context, c *ntpac.Conversation) error {
	if w.reread[c.ID] {
		return nil
	}
	w.reread[c.ID] = true
	return w.countVisible(ctx, c.ID, -1)
}

func (w *writer) countVisible(ctx context.Context, id ntpac.ConversationID, n int64) error {
	for a, err := range w.st.Artifacts(ctx, &ntpac.Query{Case: w.cs, IDs: []ntpac.ConversationID{id}}) {
		if err != nil {
			return err
		}
		w.prog.count(a.Type, n)
	}
	return nil
}

// end makes the last commit and completes the counters.
func (w *writer) end(ctx context.Context) error {
	if err := w.commit(ctx); err != nil {
		return err
	}
	for id := range w.reread {
		if err := w.countVisible(ctx, id, 1); err != nil {
			return err
		}
	}
	return nil
}

// done ends a task: nothing of it is in memory any more.
func (w *writer) done(t *task) {
	t.mem.Release()
	w.credit.Give(t.credit)
	w.pending.Done()
}

// sync waits until everything sent before is durable.
func (w *writer) sync(ctx context.Context) error {
	ch := make(chan error, 1)
	if err := w.mail.Send(ctx, delivery{synced: ch}); err != nil {
		return err
	}
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
