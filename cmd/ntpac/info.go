package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ntpac"
)

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Says which version this is",
		Example: "  ntpac version --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{"version": version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			if asJSON {
				return json.NewEncoder(a.out).Encode(v)
			}
			_, err := fmt.Fprintf(a.out, "ntpac %s (%s, %s)\n", v["version"], v["go"], v["platform"])
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write one JSON object")
	return cmd
}

// version is what the build knows of itself: the tag, else the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				changed = "+changes"
			}
		}
	}
	if commit == "" {
		return "development"
	}
	return commit[:min(len(commit), 12)] + changed
}

// snooperLine is what snoopers --json says of one.
type snooperLine struct {
	Name      string   `json:"name"`
	Version   int      `json:"version"`
	Protocols []string `json:"protocols"`
	Ports     []uint16 `json:"ports"`
	Types     []string `json:"types"`
	Holes     string   `json:"holes"`
}

func (a *app) snoopersCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "snoopers",
		Short: "Lists the protocols that are read, and what is found in them",
		Long: `Lists the snoopers: over which transports each protocol is read, which types of
artifacts come of it, and what is done where the capture has holes. Protocols are
recognised by content, on any port; the ports are a hint only.`,
		Example: "  ntpac snoopers --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			enc := json.NewEncoder(a.out)
			enc.SetEscapeHTML(false)
			tab := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
			fmt.Fprintln(tab, "NAME\tVERSION\tOVER\tPORTS\tTYPES\tHOLES")
			for _, s := range engine.snoopers() {
				in := s.Info()
				l := snooperLine{in.Name, in.Version, protoNames(in.Protos), in.Ports, in.Types, in.Holes}
				if asJSON {
					if err := enc.Encode(l); err != nil {
						return err
					}
					continue
				}
				fmt.Fprintf(tab, "%s\t%d\t%s\t%s\t%s\t%s\n", l.Name, l.Version, strings.Join(l.Protocols, " "), portsText(l.Ports),
					strings.Join(l.Types, " "), l.Holes)
			}
			if asJSON {
				return nil
			}
			return tab.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON lines")
	return cmd
}

func protoNames(ps []ntpac.Proto) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.String()
	}
	return out
}

func portsText(ports []uint16) string {
	out := make([]string, len(ports))
	for i, p := range ports {
		out[i] = strconv.Itoa(int(p))
	}
	return strings.Join(out, " ")
}

// rulesTopic is the help on the rule language.
func rulesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "rules",
		Short: "How rules select conversations and artifacts",
		Long: `A rule compares fields with values; && (and), || (or), ! (not) and parentheses join
comparisons. The empty rule selects everything. Rules have spaces and quotes in them:
put them between single quotes for the shell.

  == !=                          equal; there, and different
  < <= > >=                      of numbers, durations and times
  in                             [a, b], [a..b], [a..], [..b], or a network: 10.0.0.0/8
  contains startswith endswith   of texts; large and small letters are the same
  ~                              matches a regular expression (RE2)
  has FIELD                      is there, and neither empty, zero nor false

Values:
  sizes      1500, 10kB, 2.5MB (powers of ten), 4KiB, 1MiB (powers of two)
  durations  90s, 5m, 1h30m, 2d
  times      2023-11-14 (all of that day), 2023-11-14T22:13:20 (that second), UTC
             unless a zone follows: 2023-11-14T22:13:20+02:00
  texts      a word, or anything in "double" or 'single' quotes

Fields of conversations:
  id case capture revision first (also: time) last duration
  proto ip src.ip dst.ip port src.port dst.port vlan tunnel tunnel_id
  bytes packets missing gaps overlap duplicates (of both directions; bytes.up and
  bytes.down of one, and so on) sha256 sha256.up sha256.down
  app app_by client_by close split_by flags
src is the client, and up is what it sent. ip, port and sha256 mean either side.

Fields of artifacts: id type conversation case time quality snooper snooper_version
error, and every field of the type as ntpac artifacts --json shows it, with dots for
what lies deeper (answers.data); of a list one element is enough. What an artifact
does not have itself is asked of its conversation.`,
		Example: `  app == http && dst.ip in 10.0.0.0/8 && bytes > 1MB
  first in [2023-11-14T22:00..2023-11-15] && close in [rst, idle]
  type == file && filename ~ "\.exe$" && !(src.ip == 10.1.2.3)
  type == dns && answers.data in 192.0.2.0/24`,
	}
}
