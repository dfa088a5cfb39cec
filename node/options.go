// Package node puts the stages behind actors: it is the only package that knows them all. Run is a
// whole node on one machine: sources, balancer, shards, writer and snoopers in one process.
package node

import (
	"io"
	"math/rand/v2"
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
	Idle      ntpac.Time     // silence that splits; default 600 s
	MaxLost   int64          // jump in sequence that splits; default 4 kB
	Duplicate ntpac.Time     // window in which equal packets are one; default 50 ms, below 0 for none
	Checksums reassembly.Checksums
	KeyVLAN   bool
	MaxMemory int64             // bytes that buffers may take in all; default 240 MB
	MaxFlows  int               // conversations that are open or remembered; default: as many as go with MaxMemory
	Seed      uint64            // of the hash of flows; 0: a secret one
	Outside   func(bytes int64) // told of memory outside the heap, with a minus when it is given back
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
	if o.MaxFlows <= 0 {
		o.MaxFlows = int(o.MaxMemory / flowMemory)
	}
	for o.Seed == 0 { // nobody can aim at a virtual shard, or at a place in a table, who does not know it
		o.Seed = rand.Uint64()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// flowMemory is how much of MaxMemory there must be for each conversation in the tables. One takes 0.4 to
// 0.8 kB with what is gathered of it; the rest is for payload.
const flowMemory = 1280

// reassembly gives the options of the reassemblers, of which there are n.
func (o *Options) reassembly(n int) reassembly.Config {
	return reassembly.Config{Case: o.Case, Window: o.Window, Idle: o.Idle, MaxLost: o.MaxLost, Duplicate: o.Duplicate, Checksums: o.Checksums,
		KeyVLAN: o.KeyVLAN, MaxFlows: max(o.MaxFlows/ntpac.Shards, 1), MaxHeld: o.MaxMemory / 6 / int64(n), Outside: o.Outside}
}
