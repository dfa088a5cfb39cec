package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ntpac"
	"ntpac/artifact"
	"ntpac/capture"
	"ntpac/selection"
)

// exportFlags say what is taken out, and where it goes.
type exportFlags struct {
	where, files, pcap, json, csv, records string
}

func (a *app) exportCommand() *cobra.Command {
	var p place
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export --where RULE (--files DIR | --pcap FILE | --json FILE | --csv FILE)",
		Short: "Takes bodies, packets or records out of the store",
		Long: `Takes what a rule selects (help rules) out of the store:

  --files DIR   the bodies that artifacts name: files, mails and their attachments,
                bodies of requests and responses. Each has its own name, or
                SHA256-NAME where another one has that name; index.jsonl in DIR says
                what each of them is
  --pcap FILE   exactly the packets of the conversations, from the captures, in the
                order of their time; pcapng where FILE ends in .pcapng
  --json FILE   the artifacts as JSON lines
  --csv FILE    the artifacts as a table

For --json and --csv, --records conversations takes the conversations instead. A FILE
named - is standard output. Each file appears whole or not at all.`,
		Example: `  ntpac export --where 'type == file && mime startswith image/' --files pictures/
  ntpac export --where 'host contains bank' --pcap bank.pcap
  ntpac export --where 'type == dns && query endswith .example' --csv queries.csv
  ntpac export --where 'duration > 1h' --records conversations --json -`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.export(&p, &f) },
	}
	p.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.where, "where", "", "what is taken: a `RULE` (help rules); everything without it")
	fl.StringVar(&f.files, "files", "", "write bodies into `DIR`")
	fl.StringVar(&f.pcap, "pcap", "", "write packets to `FILE`")
	fl.StringVar(&f.json, "json", "", "write JSON lines to `FILE`")
	fl.StringVar(&f.csv, "csv", "", "write a table to `FILE`")
	choose(cmd, &f.records, "records", "what --json and --csv write", "artifacts", "conversations")
	return cmd
}

func (a *app) export(p *place, f *exportFlags) (err error) {
	wanted := 0
	for _, s := range []string{f.files, f.pcap, f.json, f.csv} {
		if s != "" {
			wanted++
		}
	}
	if wanted != 1 {
		return ntpac.Usagef("export needs exactly one of --files DIR, --pcap FILE, --json FILE and --csv FILE")
	}
	rule, err := p.exportRule(f)
	if err != nil {
		return err
	}
	st, err := p.open(a.ctx)
	if err != nil {
		return err
	}
	defer closing(st, &err)
	x, done, err := exporting(a.ctx, st, p.cs)
	if err != nil {
		return err
	}
	defer done()
	body := map[string]any{"rule": rule.String()}
	var said string
	switch {
	case f.files != "":
		body["files"] = f.files
		said, err = a.exportFiles(x, rule, f.files, body)
	case f.pcap != "":
		body["pcap"] = f.pcap
		said, err = a.exportPcap(x, rule, f.pcap, body)
	default:
		said, err = a.exportRecords(x, p, rule, f, body)
	}
	// What left the store is evidence, also where the rest failed.
	if said != "" {
		fmt.Fprintln(a.err, said)
		err = errors.Join(err, note(a.ctx, st, p.cs, "export", body))
	}
	return err
}

// exportRule compiles the rule for what is exported. Packets are those of conversations; a rule that
// only artifacts can answer selects their conversations.
func (p *place) exportRule(f *exportFlags) (*selection.Rule, error) {
	switch {
	case f.pcap != "":
		if r, err := p.compile("--where", f.where, selection.Conversations); err == nil {
			return r, nil
		}
		return p.compile("--where", f.where, selection.Any)
	case f.files == "" && f.records == "conversations":
		return p.compile("--where", f.where, selection.Conversations)
	}
	return p.compile("--where", f.where, selection.Artifacts)
}

func (a *app) exportFiles(x *artifact.Export, rule ntpac.Selector, dir string, body map[string]any) (done string, err error) {
	r, err := x.Files(a.drain, rule, dir)
	if r == nil {
		return "", err
	}
	body["written"], body["bytes"], body["known"], body["failed"] = r.Files, r.Bytes, r.Known, r.Failed
	done = fmt.Sprintf("%s (%s) written to %s", plural(r.Files, "file"), bytesText(r.Bytes), dir)
	if r.Known > 0 {
		done += fmt.Sprintf(", %s there already", grouped(r.Known))
	}
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%s could not be made, %s says which: %w", plural(r.Failed, "body"), filepath.Join(dir, artifact.IndexName), r.First)
	}
	return done, err
}

func (a *app) exportPcap(x *artifact.Export, rule ntpac.Selector, path string, body map[string]any) (done string, err error) {
	infos, err := x.Store.Sources(a.ctx, x.Case)
	if err != nil {
		return "", err
	}
	frames := newFrames(a.drain, infos)
	defer frames.close()
	format := capture.PCAPNano
	if strings.HasSuffix(path, ".pcapng") {
		format = capture.PCAPNG
	}
	n := 0
	err = a.toFile(path, func(w io.Writer) error {
		out := capture.NewWriter(w, format)
		if n, err = x.Pcap(a.drain, rule, frames, out); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil {
		return "", err
	}
	body["packets"] = n
	return fmt.Sprintf("%s written to %s", plural(n, "packet"), path), nil
}

func (a *app) exportRecords(x *artifact.Export, p *place, rule ntpac.Selector, f *exportFlags, body map[string]any) (done string, err error) {
	path := cmp.Or(f.json, f.csv)
	n := 0
	err = a.toFile(path, func(w io.Writer) (err error) {
		switch {
		case f.records == "conversations" && f.csv != "":
			n, err = x.ConversationsCSV(a.drain, rule, p.sources, w)
		case f.records == "conversations":
			n, err = x.ConversationsJSON(a.drain, rule, p.sources, w)
		case f.csv != "":
			n, err = x.CSV(a.drain, rule, w)
		default:
			n, err = x.JSON(a.drain, rule, w)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	body["to"], body["records"], body["count"] = path, f.records, n
	return fmt.Sprintf("%s written to %s", plural(n, strings.TrimSuffix(f.records, "s")), path), nil
}

// toFile writes to a file, or to standard output.
func (a *app) toFile(path string, write func(io.Writer) error) error {
	if path == "-" {
		w := bufio.NewWriterSize(a.out, 64<<10)
		return errors.Join(write(w), w.Flush())
	}
	return writeWhole(path, func(f *os.File) error {
		w := bufio.NewWriterSize(f, 256<<10)
		return errors.Join(write(w), w.Flush())
	})
}
