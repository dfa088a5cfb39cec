// Command ntpac turns captured network traffic into forensic artifacts. Its commands, flags, JSON and
// exit statuses are those of the contract.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ntpac"
	"ntpac/selection"
)

// The exit statuses of the contract.
const (
	statusDone        = 0
	statusFailed      = 1
	statusUsage       = 2
	statusDamaged     = 3   // done, but some input was damaged or cut short
	statusInterrupted = 130 // by the user
)

func main() { os.Exit(ntpacMain()) }

// ntpacMain is the whole program but for the exit.
func ntpacMain() int {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, terminal: isTerminal(os.Stderr)}
	stop := a.catchSignals()
	defer stop()
	return a.execute(os.Args[1:])
}

// app is one call of the program.
type app struct {
	in       io.Reader
	out, err io.Writer
	terminal bool            // err is a terminal
	ctx      context.Context // ends when everything has to stop at once
	drain    context.Context // ends when no more is to be read, and what was read is to be kept
}

// catchSignals makes the first interrupt end drain and the second one end ctx.
func (a *app) catchSignals() (stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	drain, finish := context.WithCancelCause(ctx)
	a.ctx, a.drain = ctx, drain
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for _, end := range []context.CancelCauseFunc{finish, cancel} {
			select {
			case <-signals:
				end(errInterrupted)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

var (
	errInterrupted = errors.New("interrupted")
	// These end a run whose summary has said already what is to be said.
	errKept = errors.New("interrupted; what was read is kept")
	errHurt = fmt.Errorf("the run is done: %w", ntpac.ErrDamaged)
)

// execute runs one command line and gives the exit status.
func (a *app) execute(args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(a.ctx)
	if err != nil && !errors.Is(err, errKept) && !errors.Is(err, errHurt) {
		a.complain(err)
	}
	return statusOf(err)
}

func statusOf(err error) int {
	switch {
	case err == nil:
		return statusDone
	case errors.Is(err, errInterrupted), errors.Is(err, errKept), errors.Is(err, context.Canceled):
		return statusInterrupted
	case errors.Is(err, ntpac.ErrUsage):
		return statusUsage
	case errors.Is(err, ntpac.ErrDamaged):
		return statusDamaged
	}
	return statusFailed
}

// complain says on one line what is wrong. On a terminal, a rule is shown with the place.
func (a *app) complain(err error) {
	if errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	msg := err.Error()
	var rule *selection.Error
	if errors.As(err, &rule) {
		prefix, _, _ := strings.Cut(msg, rule.Error())
		msg = prefix + rule.Line()
		if a.terminal {
			shown, _, _ := strings.Cut(rule.Error(), rule.Line())
			msg += "\n" + strings.TrimSuffix(shown, "\n")
		} else {
			msg += ": " + oneLine(rule.Rule)
		}
		fmt.Fprintln(a.err, "ntpac:", msg)
		return
	}
	var path *fs.PathError
	if errors.As(err, &path) && msg == path.Error() {
		msg = path.Path + ": " + path.Err.Error()
	}
	fmt.Fprintln(a.err, "ntpac:", oneLine(msg))
}

// oneLine joins lines and drops what would disturb a terminal.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	return clean(s)
}

// root is the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ntpac",
		Short: "Turns captured network traffic into forensic artifacts",
		Long: `ntpac reads captures (pcap, pcapng, also compressed), puts the conversations in
them together again, recognises their protocols by content, and keeps what was
said: visited pages, mail, files, names, certificates. It works on captures with
holes too, and says of every finding which bytes it rests on.`,
		Example: `  ntpac run evidence.pcap
  ntpac conversations --where 'app == http && bytes > 1MB'
  ntpac artifacts --kind file
  ntpac export --where 'type == file' --files out/`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
	}
	root.CompletionOptions.DisableDescriptions = false
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "ntpac help lists them"
		if s := root.SuggestionsFor(args[0]); len(s) > 0 {
			hint = "did you mean " + s[0] + "?"
		}
		return ntpac.Usagef("there is no command %s: %s", args[0], hint)
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return ntpac.Usagef("%s (%s --help shows the flags)", flagError(err), cmd.CommandPath())
	})
	root.SetHelpCommand(helpCommand(root))
	root.AddCommand(a.runCommand(), a.conversationsCommand(), a.artifactsCommand(), a.snoopCommand(), a.exportCommand(),
		a.verifyCommand(), a.snoopersCommand(), a.versionCommand(), rulesTopic())
	return root
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return ntpac.Usagef("%s takes no arguments, only flags: what is %s?", cmd.Name(), args[0])
	}
	return nil
}

var badValue = regexp.MustCompile(`^invalid argument (".*") for "(.*)" flag: (.*)$`)

// flagError says what is wrong with a flag in the words of the command line.
func flagError(err error) string {
	m := badValue.FindStringSubmatch(oneLine(err.Error()))
	if m == nil {
		return oneLine(err.Error())
	}
	value, flag, why := m[1], m[2], m[3]
	switch {
	case strings.HasPrefix(why, "strconv."):
		why = "it is no whole number"
	case strings.HasPrefix(why, "time:"):
		why = "it is no duration such as 90s or 500ms"
	}
	return flag + " " + value + ": " + why
}

// helpCommand shows the help of a command or topic; an unknown one is a usage error.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | rules]",
		Short: "Explains a command, or the rules",
		ValidArgsFunction: func(*cobra.Command, []string, string) (out []string, _ cobra.ShellCompDirective) {
			for _, c := range root.Commands() {
				out = append(out, c.Name())
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || cmd == nil || len(rest) > 0 {
				return ntpac.Usagef("there is no help on %s: ntpac help lists the commands", strings.Join(args, " "))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// isTerminal reports whether a person sees what is written to the file.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
