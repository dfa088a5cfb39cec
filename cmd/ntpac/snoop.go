package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ntpac"
	"ntpac/node"
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
			if err := knownSnoopers(names); err != nil {
				return err
			}
			st, err := p.open(a.ctx)
			if err != nil {
				return err
			}
			defer closing(st, &err)
			var prog node.Progress
			sum, err := engine.snoop(a.drain, st, node.Options{Case: p.cs, Workers: workers, MaxMemory: limit(workers, 0).buffers(), Select: rule, Snoopers: engine.snoopers()}, names, &prog)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.err, "%s selected; artifacts: %s\n", plural(sum.Selected, "conversation"), orNone(typesText(sum.Artifacts, 1<<10)))
			return nil
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&where, "where", "", "those for which the `RULE` holds (help rules); all without it")
	cmd.Flags().StringVar(&only, "only", "", "use only the snoopers `NAME,...` (ntpac snoopers lists them)")
	cmd.Flags().IntVar(&workers, "workers", runtime.NumCPU(), "`N` conversations are read at once, on as many cores")
	return cmd
}

// knownSnoopers refuses names that no snooper has.
func knownSnoopers(names []string) error {
	var known []string
	for _, s := range engine.snoopers() {
		known = append(known, s.Info().Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return ntpac.Usagef("--only %s: there is no such snooper; there are %s", n, strings.Join(known, ", "))
		}
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
