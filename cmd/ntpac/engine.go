package main

import (
	"context"
	"io"
	"time"

	"ntpac"
	"ntpac/artifact"
	"ntpac/node"
	"ntpac/reassembly"
	"ntpac/snoop/all"
)

// engine is what the commands ask of the rest of the system: the seam between the command line and
// the stages.
var engine = struct {
	// run takes captures of one merge group through every stage into the store. When drain ends it
	// reads no more and keeps what it has; when ctx ends it stops at once.
	run func(ctx, drain context.Context, st ntpac.Store, files []string, o runOptions, p *node.Progress) (*node.Summary, error)
	// snoop reads stored conversations again, with the named snoopers or all, and notes it in the log.
	snoop func(ctx context.Context, st ntpac.Store, o node.Options, only []string, p *node.Progress) (*node.Second, error)
	// verify checks a case and reports each difference in a line.
	verify func(ctx context.Context, st ntpac.Store, cs string, report func(string)) (*node.Verified, error)
	// log adds to the evidence log what a user did just now.
	log      func(ctx context.Context, st ntpac.Store, o node.Options, kind string, what any) error
	snoopers func() []ntpac.Snooper
}{run: runNode, snoop: node.Snoop, verify: node.Verify, log: node.Log, snoopers: all.Snoopers}

// runOptions are the flags that run shares with live capture.
type runOptions struct {
	cs        string
	workers   int
	snoop     string // auto, none or a rule
	selector  ntpac.Selector
	payload   string
	window    time.Duration
	idle      time.Duration
	duplicate time.Duration
	maxLost   size
	maxFlows  int
	checksums string
	key       string
	memory    size
	keylog    string
	stats     string
	stdin     io.Reader
}

func runNode(ctx, drain context.Context, st ntpac.Store, files []string, o runOptions, p *node.Progress) (*node.Summary, error) {
	l := limit(o.workers, o.memory)
	n := node.Options{Case: o.cs, Workers: o.workers, NoSnoop: o.snoop == "none", Select: o.selector, Reference: o.payload == "reference",
		Window: ntpac.Time(o.window), Idle: ntpac.Time(o.idle), Duplicate: ntpac.Time(o.duplicate), MaxLost: int64(o.maxLost),
		KeyVLAN: o.key == "vlan", MaxMemory: l.buffers(), MaxFlows: o.maxFlows, Outside: l.take, Snoopers: all.Snoopers(), Stdin: o.stdin}
	switch o.checksums {
	case "verify":
		n.Checksums = reassembly.ChecksumsVerify
	case "ignore":
		n.Checksums = reassembly.ChecksumsIgnore
	}
	return node.Run(ctx, drain, st, files, n, p)
}

// exporting opens a case for reading: its streams come from the store, or from the captures where they
// were left there. close closes the captures.
func exporting(ctx context.Context, st ntpac.Store, cs string) (x *artifact.Export, close func() error, err error) {
	infos, err := st.Sources(ctx, cs)
	if err != nil {
		return nil, nil, err
	}
	src := node.OpenSources(ctx, infos, true)
	return &artifact.Export{Store: st, Case: cs, Payload: func(c *ntpac.Conversation) ntpac.Payload {
		return node.Payload(ctx, st, src, c)
	}}, src.Close, nil
}
