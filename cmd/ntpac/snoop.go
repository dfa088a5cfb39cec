package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"ntpac"
	"ntpac/artifact"
	"ntpac/selection"
)

func (a *app) snoopCommand() *cobra.Command {
	var p place
	var where, only string
	var workers int
	cmd := &cobra.Command{
		Use:   "snoop --where RULE [--only http,dns]",
		Short: "Reads stored conversations again, by hand",
		Long: `Runs the snoopers over stored conversations: those that were left out when they were
captured, or all of them again with newer snoopers. What a conversation gave before is
replaced as a whole.`,
		Example: `  ntpac snoop --where 'port == 8080'
  ntpac snoop --where 'app == "" && bytes > 10kB' --only http,tls`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			rule, err := p.compile("--where", where, selection.Conversations)
			if err != nil {
				return err
			}
			if workers < 1 {
				return ntpac.Usagef("--workers %d: at least one is needed", workers)
			}
			var names []string
			if only != "" {
				names = strings.Split(only, ",")
			}
			work, err := newSnooping(names, workers)
			if err != nil {
				return err
			}
			st, err := p.open(a.ctx)
			if err != nil {
				return err
			}
			defer closing(st, &err)
			x := &artifact.Export{Store: st, Case: p.cs}
			if err := work.run(a.ctx, st, p.cs, x.Conversations(a.drain, rule)); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "%s read, %s recognised; artifacts: %s\n", plural(work.conversations, "conversation"),
				grouped(work.recognised), orNone(typesText(work.artifacts, 1<<10)))
			return note(a.ctx, st, p.cs, "snoop", map[string]any{"rule": rule.String(), "only": names,
				"conversations": work.conversations, "artifacts": work.artifacts})
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&where, "where", "", "those for which the `RULE` holds (help rules); all without it")
	cmd.Flags().StringVar(&only, "only", "", "use only the snoopers `NAME,...` (ntpac snoopers lists them)")
	cmd.Flags().IntVar(&workers, "workers", runtime.NumCPU(), "`N` conversations are read at once")
	return cmd
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
