// Package node puts the stages behind actors: it is the only package that knows them all. Run is a
// whole node on one machine: sources, balancer, shards, writer and snoopers in one process.
package node

import (
	"io"
	"runtime"
	"time"

	"ntpac"
	"ntpac/reassembly"
)

// Options say how a run is done.
type Options struct {
	Case      string
	Workers   int            // shard actors and snooper actors each; default: the machine's cores
	NoSnoop   bool           // store conversations only
	Select    ntpac.Selector // which conversations are snooped; nil for all
	Reference bool           // payload stays in the sources
	Window    ntpac.Time     // reorder window; default 1 s
	Checksums reassembly.Checksums
	KeyVLAN   bool
	MaxMemory int64 // bytes that buffers may take in all; default 240 MB
	Snoopers  []ntpac.Snooper
	Stdin     io.Reader
	Now       func() time.Time // the wall clock, for the evidence log
}

func (o *Options) defaults() {
	if o.Case == "" {
		o.Case = "default"
	}
	if o.Workers <= 0 {
		o.Workers = runtime.NumCPU()
	}
	if o.Window == 0 {
		o.Window = ntpac.Second
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = 240 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}
