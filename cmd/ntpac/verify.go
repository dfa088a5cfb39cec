package main

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/spf13/cobra"

	"ntpac"
	"ntpac/artifact"
	"ntpac/capture"
	"ntpac/selection"
	"ntpac/store"
)

func (a *app) verifyCommand() *cobra.Command {
	var p place
	var sources bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Checks every stored hash and the evidence log",
		Long: `Reads the whole case and checks it: the store's own checksums, the hash of every
stream, of every body that an artifact names, and the chain of the evidence log. With
--sources the captures too, where they still are. The status is 1 when anything differs.`,
		Example: `  ntpac verify
  ntpac verify --case raid42 --sources`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			st, err := p.open(a.ctx)
			if err != nil {
				return err
			}
			defer closing(st, &err)
			v := &verification{a: a, st: st, cs: p.cs}
			if err := v.all(a.drain, sources); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "checked %s, %s, %s, %s\n", plural(v.entries, "log entry"), plural(v.streams, "stream"),
				plural(v.bodies, "body hash"), plural(v.rows, "stored record"))
			if err := note(a.ctx, st, p.cs, "verify", map[string]any{"streams": v.streams, "bodies": v.bodies, "problems": v.problems}); err != nil {
				return err
			}
			if v.problems > 0 {
				return fmt.Errorf("%s found", plural(v.problems, "difference"))
			}
			fmt.Fprintln(a.err, "everything is as it was stored")
			return nil
		},
	}
	p.flags(cmd)
	cmd.Flags().BoolVar(&sources, "sources", false, "hash the captures again too")
	return cmd
}

// verification checks one case. Problems go to standard output, a line each.
type verification struct {
	a        *app
	st       ntpac.Store
	cs       string
	streams  int
	bodies   int
	rows     int64
	entries  uint64
	problems int
}

func (v *verification) problem(format string, a ...any) {
	v.problems++
	fmt.Fprintln(v.a.out, oneLine(fmt.Sprintf(format, a...)))
}

func (v *verification) all(ctx context.Context, sources bool) (err error) {
	if c, ok := v.st.(store.Checker); ok {
		if v.rows, err = c.Check(ctx, v.cs, func(s string) { v.problem("%s", s) }); err != nil {
			return err
		}
	}
	if v.entries, err = store.VerifyChain(v.st.Log(ctx, v.cs)); err != nil {
		v.problem("evidence log: %v", err)
	}
	everything, err := selection.Compile("", selection.Options{})
	if err != nil {
		return err
	}
	x := &artifact.Export{Store: v.st, Case: v.cs}
	for c, err := range x.Conversations(ctx, everything) {
		if err != nil {
			return err
		}
		v.conversation(ctx, x, c)
	}
	if err := v.artifacts(ctx, x, everything); err != nil {
		return err
	}
	if sources {
		return v.sources(ctx)
	}
	return nil
}

// conversation hashes both streams again.
func (v *verification) conversation(ctx context.Context, x *artifact.Export, c *ntpac.Conversation) {
	d, err := x.Opener(ctx)(c.ID)
	if err != nil {
		v.problem("conversation %s: %v", c.ID, err)
		return
	}
	for _, dir := range [...]ntpac.Dir{ntpac.Up, ntpac.Down} {
		h := d.Conv.In(dir)
		if h.Bytes == 0 {
			continue
		}
		v.streams++
		sum := sha256.New()
		var n int64
		s := d.In(dir)
		s.Each(s.End(), func(_ int64, b []byte) {
			sum.Write(b)
			n += int64(len(b))
		})
		switch got := ntpac.Hash(sum.Sum(nil)); {
		case d.Err() != nil:
			v.problem("conversation %s, %s: %v", c.ID, dir, d.Err())
			return
		case n != h.Bytes:
			v.problem("conversation %s, %s: %d bytes are stored, it says %d", c.ID, dir, n, h.Bytes)
		case got != h.SHA256:
			v.problem("conversation %s, %s: its bytes have the hash %s, it says %s", c.ID, dir, got, h.SHA256)
		}
	}
}

// artifacts makes every body that an artifact names, once each.
func (v *verification) artifacts(ctx context.Context, x *artifact.Export, everything ntpac.Selector) error {
	seen := map[ntpac.Hash]bool{}
	for r, err := range x.Records(ctx, everything) {
		if err != nil {
			return err
		}
		for _, b := range artifact.Bodies(r.Artifact) {
			if seen[b.SHA256] {
				continue
			}
			seen[b.SHA256] = true
			blob, err := v.st.Blob(ctx, v.cs, b.SHA256)
			if err != nil {
				continue // hashes of what is not kept as a body: certificates
			}
			v.bodies++
			if err := artifact.CheckBlob(blob, x.Opener(ctx)); err != nil {
				v.problem("artifact %s: %v", r.Artifact.ID, err)
			}
		}
	}
	return nil
}

// sources hashes the captures again. One that is elsewhere now is no difference.
func (v *verification) sources(ctx context.Context) error {
	infos, err := v.st.Sources(ctx, v.cs)
	if err != nil {
		return err
	}
	for _, s := range infos {
		if s.Path == "" || s.SHA256.IsZero() {
			continue
		}
		switch sum, err := capture.Sum(s.Path); {
		case err != nil:
			fmt.Fprintf(v.a.err, "%s was not checked: %s\n", clean(s.Name), oneLine(err.Error()))
		case sum != s.SHA256:
			v.problem("capture %s: its hash is %s, it was %s", s.Path, sum, s.SHA256)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
