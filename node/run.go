package node

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"ntpac"
	"ntpac/actor"
	"ntpac/balancer"
	"ntpac/reassembly"
	"ntpac/snoop"
	"ntpac/store"
)

// Summary is what a run did and what it could not do.
type Summary struct {
	Sources    []ntpac.SourceInfo `json:"sources"`
	Artifacts  map[string]int64   `json:"artifacts"`
	Balancer   balancer.Stats     `json:"balancer"`
	Reassembly reassembly.Stats   `json:"reassembly"`
	Fragments  FragmentStats      `json:"fragments"`
	Snoop      snoop.Stats        `json:"snoop"`
	Parked     uint64             `json:"parked"`
	Late       uint64             `json:"late"`         // packets that came later than the reorder window allows
	Forced     uint64             `json:"forced"`       // packets that went on before their order was certain, for want of memory
	Jumps      uint64             `json:"time_jumps"`   // isolated jumps of time that were not believed
	Interrupt  bool               `json:"interrupted"`  // the user ended it early
	Failed     []string           `json:"failed_reads"` // sources that could not be read to their end
	NotSnooped uint64             `json:"not_snooped"`  // conversations that --snoop left out
	Ledger     *Ledger            `json:"ledger"`

	Alternatives uint64 `json:"alternatives_given_up"` // versions of bytes for which there was no room
}

// FragmentStats counts IP fragments, and under Rebuilt, Incomplete and Limited datagrams: see
// reassembly.Fragments. Undecodable are fragments of rebuilt datagrams that are none.
type FragmentStats struct {
	Seen, Rebuilt, Incomplete, Limited, Overlaps uint64
	Used, Repeated, Bad, Abandoned, Undecodable  uint64
}

// Damaged reports whether any input was damaged, cut short or unreadable.
func (s *Summary) Damaged() bool {
	for i := range s.Sources {
		if s.Sources[i].Damaged > 0 || len(s.Sources[i].Damage) > 0 {
			return true
		}
	}
	return len(s.Failed) > 0
}

// Run takes captures through every stage into the store. files are those of one merge group. When
// drain ends, reading stops, and what was read is brought to its end; when ctx ends, everything stops
// at once. Nothing that was stored is lost in either case.
func Run(ctx, drain context.Context, st ntpac.Store, files []string, o Options, prog *Progress) (*Summary, error) {
	o.defaults()
	reading, cancel := context.WithCancel(drain)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	r := &localRun{st: st, o: o, prog: prog, drain: reading}
	defer r.close()
	if err := r.prepare(ctx, files); err != nil {
		return nil, err
	}
	sum, err := r.run(ctx)
	if sum != nil {
		sum.Interrupt = drain.Err() != nil
	}
	return sum, err
}

type localRun struct {
	st      ntpac.Store
	o       Options
	prog    *Progress
	drain   context.Context
	sources []*source
	src     *Sources
	pool    *batchPool
	bufs    store.Buffers
	w       *writer
	d       *dispatcher
	shards  []*shard
	reg     *snoop.Registry
	stats   chan reassembly.Stats
}

// prepare looks at every source once, so that what cannot be read at all is said before the work.
func (r *localRun) prepare(ctx context.Context, files []string) error {
	if len(files) == 0 {
		return ntpac.Usagef("no capture files given")
	}
	if len(files) > 1<<16-1 {
		return ntpac.Usagef("%d files are too many for one run; give at most %d", len(files), 1<<16-1)
	}
	r.pool = newBatchPool(64 + 16*r.o.Workers)
	for i, name := range files {
		s := &source{name: name, index: i, mail: actor.NewMailbox[*ntpac.Batch](4), pool: r.pool, drain: r.drain}
		r.sources = append(r.sources, s)
		if err := r.look(ctx, s); err != nil {
			return err
		}
		if s.begun.Size > 0 {
			r.prog.Total.Add(s.begun.Size)
		}
	}
	r.src = OpenSources(ctx, r.infos(), false)
	r.prog.mu.Lock()
	r.prog.sources = r.sources
	r.prog.mu.Unlock()
	return nil
}

// look finds out what a source is. A pipe cannot be looked at twice, so it stays open.
func (r *localRun) look(ctx context.Context, s *source) error {
	stdin := s.name == "-"
	switch {
	case stdin && r.o.Reference:
		return ntpac.Usagef("--payload reference needs files that can be read again; standard input cannot: use --payload copy")
	case isPipe(s.name) && r.o.Reference:
		return ntpac.Usagef("--payload reference needs files that can be read again; %s cannot: use --payload copy", s.name)
	case isPipe(s.name):
		s.pipe = newPipe(r.drain, openPipe(s.name, r.o.Stdin))
		return s.open(ctx)
	}
	if err := s.peek(ctx); err != nil {
		return err
	}
	if r.o.Reference && !s.begun.Seekable {
		return ntpac.Usagef("--payload reference needs uncompressed files; %s is %s: use --payload copy", s.name, s.begun.Format)
	}
	return nil
}

func (r *localRun) close() {
	for _, s := range r.sources {
		s.close()
	}
	if r.src != nil {
		r.src.Close()
	}
}

func (r *localRun) run(ctx context.Context) (*Summary, error) {
	before, err := r.st.Sources(ctx, r.o.Case)
	if err != nil {
		return nil, err
	}
	if err := r.commitSources(ctx, r.infos()); err != nil {
		return nil, err
	}
	sys := actor.NewSystem(ctx, "run")
	r.build(sys)
	if len(before) > 0 {
		r.w.resume()
	}
	sys.Spawn("writer", actor.Escalate, r.w.run)
	if r.w.snoop != nil {
		for i := range r.o.Workers {
			s := &snooper{mail: r.w.snoop, w: r.w, reg: r.reg, rule: r.o.Select, src: r.src}
			sys.Spawn(fmt.Sprintf("snooper/%d", i), actor.Escalate, s.run)
		}
	}
	sum := &Summary{}
	sys.Spawn("end", actor.Escalate, func(ctx context.Context) error { return r.end(ctx, sum) })
	for i, s := range r.shards {
		sys.Spawn(fmt.Sprintf("shard/%d", i), actor.Escalate, s.run)
	}
	sys.Spawn("balancer", actor.Escalate, r.d.run)
	if err := sys.Wait(); err != nil {
		return nil, err
	}
	return sum, r.finish(ctx, sum)
}

func (r *localRun) infos() (is []ntpac.SourceInfo) {
	for _, s := range r.sources {
		is = append(is, s.begun)
	}
	return is
}

// build makes the actors and joins their mailboxes. Of the memory for buffers the collectors get a half,
// the merger a quarter, and what is on its way to the store and to the snoopers the rest.
func (r *localRun) build(sys *actor.System) {
	n := r.o.Workers
	r.stats = make(chan reassembly.Stats, n)
	r.w = newWriter(r.st, r.o, &r.bufs, r.prog)
	if r.o.NoSnoop {
		r.w.snoop = nil
	} else {
		r.reg = snoop.NewRegistry(r.o.Snoopers)
	}
	r.d = &dispatcher{sys: sys, sources: r.sources, opened: make([]bool, len(r.sources)), seed: r.o.Seed, keyVLAN: r.o.KeyVLAN,
		bal: balancer.New(balancer.Config{Seed: r.o.Seed, KeyVLAN: r.o.KeyVLAN}), frags: reassembly.NewFragments(), window: r.o.Window, pool: r.pool,
		prog: r.prog, drain: r.drain, held: r.o.MaxMemory / 4}
	cfg := r.o.reassembly(n)
	for range n {
		s := &shard{mail: actor.NewMailbox[*ntpac.Batch](8), w: r.w, stats: r.stats, src: r.src}
		s.col = store.NewCollector(s, &shardLoader{s}, &r.bufs)
		s.col.Reference = r.o.Reference
		s.col.Budget = r.o.MaxMemory / 2 / int64(n)
		for _, src := range r.sources {
			s.col.Sources = append(s.col.Sources, src.begun.ID)
		}
		s.re = reassembly.New(cfg, s.col)
		r.shards = append(r.shards, s)
		r.d.shards = append(r.d.shards, s.mail)
	}
}

// end is the actor that closes what comes behind the shards when they are done: snoopers when every
// conversation has been read, the writer when everything is stored.
func (r *localRun) end(ctx context.Context, sum *Summary) error {
	for range r.shards {
		select {
		case s := <-r.stats:
			sum.Reassembly.Add(s)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return r.w.finish(ctx)
}

// finish writes what is known of the sources only at their end, and fills the summary.
func (r *localRun) finish(ctx context.Context, sum *Summary) error {
	for _, s := range r.sources {
		s.finish()
		sum.Sources = append(sum.Sources, s.info)
	}
	for _, err := range r.d.failed {
		if !errors.Is(err, ntpac.ErrDamaged) {
			sum.Failed = append(sum.Failed, err.Error())
		}
	}
	f := r.d.frags
	sum.Artifacts = r.prog.Artifacts()
	sum.Balancer = r.d.bal.Stats()
	sum.Fragments = FragmentStats{Seen: f.Seen, Rebuilt: f.Rebuilt, Incomplete: f.Incomplete, Limited: f.Limited, Overlaps: f.Overlaps,
		Used: f.Used, Repeated: f.Repeated, Bad: f.Bad, Abandoned: f.Abandoned, Undecodable: f.Undecodable}
	sum.Jumps = r.d.clock.Jumps
	if m := r.d.merger; m != nil {
		sum.Late, sum.Forced, sum.Jumps = m.Late, m.Forced, max(sum.Jumps, m.Jumps())
	}
	if r.reg != nil {
		sum.Snoop = r.reg.Stats()
	}
	for _, s := range r.shards {
		sum.Parked += s.col.Parked
		sum.Alternatives += s.col.Lost
	}
	sum.NotSnooped = r.w.skipped.Load()
	sum.Ledger = sum.ledger()
	return r.commitSources(ctx, sum.Sources)
}

// commitSources stores the sources' records, and notes in the evidence log those that were read whole.
func (r *localRun) commitSources(ctx context.Context, infos []ntpac.SourceInfo) error {
	c := ntpac.Commit{Case: r.o.Case, Sources: infos}
	for i := range infos {
		s := &infos[i]
		if !s.Done {
			continue
		}
		body, err := json.Marshal(map[string]any{"source": s.Name, "sha256": s.SHA256, "size": s.Size, "packets": s.Packets})
		if err != nil {
			return err
		}
		key := sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte("ingest\x00"+r.o.Case+"\x00"), s.SHA256[:]...), uint64(s.ID)))
		c.Evidence = append(c.Evidence, ntpac.Evidence{Key: key, At: ntpac.Time(r.o.Now().UnixNano()), Kind: "ingest", Body: body})
	}
	return r.st.Commit(ctx, &c)
}
