package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Checks every stored hash and the evidence log",
		Long: `Reads the whole case and checks it: the store's own checksums and the chain of the
evidence log, the hash of every stream and of every body, and the captures where they
still are. Each difference is a line on standard output; the status is 1 when there
is any.`,
		Example: `  ntpac verify
  ntpac verify --store /data/store --case raid42`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			st, err := p.open(a.ctx)
			if err != nil {
				return err
			}
			defer closing(st, &err)
			v, err := engine.verify(a.drain, st, p.cs, func(problem string) { fmt.Fprintln(a.out, oneLine(problem)) })
			if err != nil {
				return err
			}
			if err := note(a.ctx, st, p.cs, "verify", v); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "checked %s, %s, %s, %s", plural(v.Records, "stored record"), plural(v.Conversations, "conversation"),
				plural(v.Blobs, "body"), plural(v.Sources, "capture"))
			if v.Skipped > 0 {
				fmt.Fprintf(a.err, " (%s elsewhere, not checked)", grouped(v.Skipped))
			}
			fmt.Fprintln(a.err)
			if v.Problems > 0 {
				return fmt.Errorf("%s found", plural(v.Problems, "difference"))
			}
			fmt.Fprintln(a.err, "everything is as it was stored")
			return nil
		},
	}
	p.flags(cmd)
	return cmd
}
