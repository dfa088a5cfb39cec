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
	id     ntpac.ConversationID
	conv   *ntpac.Conversation // nil: to be read from the store
	mem    *store.Resident     // its payload, while it is in memory
	credit int64
	again  bool // it was read before: what is found replaces what was found then
	depth  int  // how many announcements led here
}

// taskOverhead is what a task is charged beside its payload.
const taskOverhead = 4 << 10

// maxDepth ends a chain of announcements: two conversations that announce one another, as only malice
// would have it, are not read for ever.
const maxDepth = 8

// delivery is what the writer gets in one message.
type delivery struct {
	chunks []ntpac.Chunk
	tasks  []*task
	bytes  int64 // of credit that was taken for it
	gen    *ntpac.Generation
	of     *task // whose generation it is. With its last part the task is done when it is stored
	synced chan error
}

// writer is the actor that commits: one for the store, so that many small writes become few big ones.
// A conversation goes on to the snoopers only when it is durable. The writer waits for nobody but the
// store: snoopers wait for it, and what they have no room for stays in its queue. The queue is bounded
// by the credit that every task takes, and by the number of announced conversations.
type writer struct {
	st      ntpac.Store
	cs      string
	mail    *actor.Mailbox[delivery]
	snoop   *actor.Mailbox[*task] // nil: nothing is snooped
	credit  *actor.Credit         // for conversations and chunks, until they are stored and read
	found   *actor.Credit         // for findings, until they are stored
	pending pending               // conversations that are not all done yet
	turns   *turns
	expects *expectIndex
	bufs    *store.Buffers
	prog    *Progress
	skipped atomic.Uint64 // conversations that are not to be snooped
	eager   atomic.Bool   // nothing big is to come: commit when nothing else is under way

	// Where the case had conversations before this run: those that were read in it. What lies in the store
	// of the others was found, and counted, by others. nil where everything was found in this run.
	read map[ntpac.ConversationID]struct{}

	queue []*task
	c     ntpac.Commit
	tasks []*task
	gens  []delivery
	syncs []chan error
	bytes int64 // in c
	rows  int
	pace  pace
}

func newWriter(st ntpac.Store, o Options, bufs *store.Buffers, prog *Progress) *writer {
	share := max(o.MaxMemory/8, minCredit)
	return &writer{st: st, cs: o.Case, mail: actor.NewMailbox[delivery](64), snoop: actor.NewMailbox[*task](4 * o.Workers),
		credit: actor.NewCredit(share), found: actor.NewCredit(share), turns: newTurns(), expects: newExpectIndex(), bufs: bufs, prog: prog}
}

// resume says that the case has conversations already, which may be announced by what comes, and announce it.
func (w *writer) resume() {
	w.expects.any = true
	w.read = map[ntpac.ConversationID]struct{}{}
}

// minCredit is room for some boxes and for a big part of a generation, however little memory there is.
const minCredit = 8 << 20

// A commit is made when this much has gathered.
const (
	commitBytes = 8 << 20
	commitRows  = 2048
)

func (w *writer) run(ctx context.Context) error {
	w.c.Case = w.cs
	w.pace.start()
	defer w.pace.timer.Stop()
	for {
		var in chan<- *task
		var next *task
		if len(w.queue) > 0 {
			in, next = w.snoop.In(), w.queue[0]
		}
		var due <-chan time.Time
		if w.rows > 0 {
			due = w.pace.timer.C
		}
		select {
		case in <- next:
			w.queue[0] = nil
			w.queue = w.queue[1:]
			continue
		case d, ok := <-w.mail.C():
			if !ok {
				return w.commit(ctx)
			}
			if err := w.take(ctx, d); err != nil {
				return err
			}
			if !w.full() {
				w.pace.wait(w.rows > 0)
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

// full reports whether it is time to commit: enough has gathered, somebody waits for it, or nothing else
// is under way that could come to it.
func (w *writer) full() bool {
	if w.bytes >= commitBytes || w.rows >= commitRows || len(w.syncs) > 0 {
		return true
	}
	return w.eager.Load() && w.mail.Depth() == 0 && w.pending.Count() == int64(len(w.tasks)+w.lasts())
}

// lasts is how many tasks are done with this commit.
func (w *writer) lasts() (n int) {
	for i := range w.gens {
		if w.gens[i].gen.Done {
			n++
		}
	}
	return n
}

func (w *writer) take(ctx context.Context, d delivery) error {
	if d.gen != nil {
		if err := w.recount(ctx, d); err != nil {
			return err
		}
		w.gens = append(w.gens, d)
		w.c.Generations = append(w.c.Generations, d.gen)
		w.rows += 1 + len(d.gen.Artifacts)
		w.bytes += d.bytes
	}
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
	if d.synced != nil {
		w.syncs = append(w.syncs, d.synced)
	}
	return nil
}

// commit makes durable what has gathered and passes on what waited for it.
func (w *writer) commit(ctx context.Context) error {
	var err error
	if w.rows > 0 {
		begun := time.Now()
		err = w.st.Commit(ctx, &w.c)
		w.pace.committed(time.Since(begun))
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
	clear(w.c.Chunks)
	clear(w.c.Conversations)
	w.c = ntpac.Commit{Case: w.cs, Chunks: w.c.Chunks[:0], Conversations: w.c.Conversations[:0]}
	w.bytes, w.rows = 0, 0
	for _, t := range w.tasks {
		if w.snoop == nil {
			w.skip(t)
		} else {
			w.push(t)
		}
	}
	clear(w.tasks)
	w.tasks = w.tasks[:0]
	return w.stored(ctx)
}

// push sends a task to the snoopers, as soon as one has time.
func (w *writer) push(t *task) {
	w.turns.enter(t.id)
	w.queue = append(w.queue, t)
}

// stored counts what was found, announces what was said of others, and ends the tasks.
func (w *writer) stored(ctx context.Context) error {
	for i := range w.gens {
		d := &w.gens[i]
		w.prog.artifacts(d.gen.Artifacts, 1)
		if err := w.announce(ctx, d); err != nil {
			return err
		}
		w.found.Give(d.bytes)
		if !d.gen.Done {
			continue
		}
		if w.read != nil && len(w.read) < maxRead {
			w.read[d.gen.Conversation] = struct{}{}
		}
		w.done(d.of)
	}
	clear(w.gens)
	w.gens = w.gens[:0]
	return nil
}

// announce looks for stored conversations that new expectations are about, to snoop them again. Those
// that are stored later find the expectation themselves, and so do those that nobody has begun to read.
func (w *writer) announce(ctx context.Context, d *delivery) error {
	for i := range d.gen.Expectations {
		e := &d.gen.Expectations[i]
		w.expects.add(e)
		if d.of.depth == maxDepth {
			continue
		}
		cs, err := w.st.Announced(ctx, e)
		if err != nil {
			return err
		}
		for _, c := range cs {
			if !w.turns.waits(c.ID) {
				w.pending.Add()
				w.push(&task{id: c.ID, again: true, depth: d.of.depth + 1})
			}
		}
	}
	return nil
}

// maxRead bounds read. Beyond it the counters of artifacts may be too high, by what was found in
// conversations that were read twice in a run and had been there before.
const maxRead = 1 << 18

// recount takes out of the counters what this run has found in a conversation before: the last part of
// what was found now is about to replace it.
func (w *writer) recount(ctx context.Context, d delivery) error {
	if !d.gen.Done || w.read == nil && !d.of.again {
		return nil
	}
	for i := range w.gens {
		if g := w.gens[i].gen; g.Done && g.Conversation == d.gen.Conversation {
			if err := w.commit(ctx); err != nil { // what replaces it comes after it
				return err
			}
			break
		}
	}
	if _, mine := w.read[d.gen.Conversation]; w.read != nil && !mine {
		return nil
	}
	var old []*ntpac.Artifact
	for a, err := range w.st.Artifacts(ctx, &ntpac.Query{Case: w.cs, IDs: []ntpac.ConversationID{d.gen.Conversation}}) {
		if err != nil {
			return err
		}
		if old = append(old, a); len(old) == 1000 {
			w.prog.artifacts(old, -1)
			old = old[:0]
		}
	}
	w.prog.artifacts(old, -1)
	return nil
}

// skip ends the task of a conversation that is not to be snooped.
func (w *writer) skip(t *task) {
	if !t.again {
		w.skipped.Add(1)
	}
	w.done(t)
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

// finish is what an actor does when everything has been sent to the writer: it waits until all of it has
// been stored and read, and closes the mailboxes.
func (w *writer) finish(ctx context.Context) error {
	w.eager.Store(true)
	if err := w.sync(ctx); err != nil {
		return err
	}
	if err := w.pending.Wait(ctx); err != nil {
		return err
	}
	if w.snoop != nil {
		w.snoop.Close()
	}
	w.mail.Close()
	return nil
}

// pace says how long a commit waits for more to come to it: never longer than maxWait after its first
// row, and no longer than some times what the last commit took after its last. So a fast store is not
// waited for, and a slow one gets few commits.
type pace struct {
	timer *time.Timer
	first time.Time // when the first row came; zero for none
	took  time.Duration
}

const (
	minWait = 2 * time.Millisecond
	maxWait = 200 * time.Millisecond
)

func (p *pace) start() {
	p.timer = time.NewTimer(maxWait)
	p.timer.Stop()
}

// wait sets the timer after something has come.
func (p *pace) wait(rows bool) {
	if !rows {
		return
	}
	now := time.Now()
	if p.first.IsZero() {
		p.first = now
	}
	p.timer.Reset(min(min(max(8*p.took, minWait), maxWait), max(maxWait-now.Sub(p.first), 0)))
}

func (p *pace) committed(took time.Duration) {
	p.took, p.first = took, time.Time{}
}
