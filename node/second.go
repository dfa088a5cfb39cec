package node

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"ntpac"
	"ntpac/actor"
	"ntpac/snoop"
	"ntpac/store"
)

// Second says what a run of the second stage did.
type Second struct {
	Selected  int64            `json:"selected"` // conversations that the rule chose
	Unread    int64            `json:"unread"`   // whose payload is gone: an error says why
	Artifacts map[string]int64 `json:"artifacts"`
	Snoop     snoop.Stats      `json:"snoop"`
}

// Snoop runs the second stage by hand: the snoopers over stored conversations that o.Select chooses.
// only names the snoopers that may run; empty for all. What they find replaces what earlier runs found
// in the same conversations; a conversation whose payload is gone keeps it, and the error says so beside
// the rest.
func Snoop(ctx context.Context, st ntpac.Store, o Options, only []string, prog *Progress) (*Second, error) {
	o.defaults()
	infos, err := st.Sources(ctx, o.Case)
	if err != nil {
		return nil, err
	}
	src := OpenSources(ctx, infos, true)
	defer src.Close()
	sys := actor.NewSystem(ctx, "snoop")
	reg := snoop.NewRegistry(o.Snoopers)
	w := newWriter(st, o, &store.Buffers{}, prog)
	w.resume()
	sys.Spawn("writer", actor.Escalate, w.run)
	lost := &unread{}
	for i := range o.Workers {
		s := &snooper{mail: w.snoop, w: w, reg: reg, src: src, only: only, lost: lost}
		sys.Spawn(fmt.Sprintf("snooper/%d", i), actor.Escalate, s.run)
	}
	sum := &Second{}
	sys.Spawn("selector", actor.Escalate, func(ctx context.Context) error {
		if err := feed(ctx, st, o, w, sum); err != nil {
			return err
		}
		return w.finish(ctx)
	})
	if err := sys.Wait(); err != nil {
		return nil, err
	}
	sum.Artifacts, sum.Snoop = prog.Artifacts(), reg.Stats()
	rule := ""
	if o.Select != nil {
		rule = o.Select.String()
	}
	sum.Unread = lost.n
	err = Log(ctx, st, o, "snoop", map[string]any{"rule": rule, "only": only, "conversations": sum.Selected, "unread": sum.Unread, "artifacts": sum.Artifacts})
	if err == nil && lost.n > 0 {
		err = fmt.Errorf("%d of %d conversations could not be read, and keep what was found in them before; the first: %w", lost.n, sum.Selected, lost.first)
	}
	return sum, err
}

// feed is the selector: it sends the chosen conversations to the snoopers.
func feed(ctx context.Context, st ntpac.Store, o Options, w *writer, sum *Second) error {
	q := ntpac.Query{}
	if o.Select != nil {
		q = o.Select.Query()
	}
	q.Case = o.Case
	for c, err := range st.Conversations(ctx, &q) {
		if err != nil {
			return err
		}
		if o.Select != nil && !o.Select.Match(c) {
			continue
		}
		sum.Selected++
		w.prog.Conversations.Add(1)
		w.pending.Add()
		if err := w.credit.Take(ctx, taskOverhead); err != nil {
			return err
		}
		w.turns.enter(c.ID)
		if err := w.snoop.Send(ctx, &task{id: c.ID, conv: c, credit: taskOverhead}); err != nil {
			return err
		}
	}
	return nil
}

// allowed reports whether the conversation is one that the named snoopers read.
func (s *snooper) allowed(d *ntpac.Dialog, e *ntpac.Expectation) bool {
	if e != nil {
		return slices.Contains(s.only, e.App)
	}
	var h ntpac.Head
	snoop.HeadOf(d, &h)
	sn, _, _ := s.reg.Identify(&h)
	return sn != nil && slices.Contains(s.only, sn.Info().Name)
}

// Log adds an entry to the case's evidence log: something that a user did at this moment.
func Log(ctx context.Context, st ntpac.Store, o Options, kind string, what any) error {
	o.defaults()
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	at := ntpac.Time(o.Now().UnixNano())
	key := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%s", kind, o.Case, at, body))
	return st.Commit(ctx, &ntpac.Commit{Case: o.Case, Evidence: []ntpac.Evidence{{Key: key, At: at, Kind: kind, Body: body}}})
}
