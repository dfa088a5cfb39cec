// Package balancer finds the flow of every packet and sends it to the owner of the flow's shard.
//
// Prepare works in place: with a single owner it is all there is to do, and nothing is copied. Split
// distributes a prepared batch over several owners: descriptors are copied, frames never.
package balancer

import (
	"ntpac"
	"ntpac/packet"
)

// Limits of the batches that Split fills.
const (
	MaxPackets = 1024
	MaxBlocks  = 60000 // Packet.Blk has 16 bits
)

// stride is how many packets are looked at together: enough cache misses at once to hide most of
// their time, few enough that the first headers are still in the cache when the last one came.
const stride = 64

// Config is what a balancer needs to know. All balancers of a merge group must have the same.
type Config struct {
	Seed    uint64 // of the flow hash; secret, so that nobody can aim at one shard
	KeyVLAN bool   // the outermost VLAN is part of the flow key
}

// Stats counts what came in, by verdict; everything but packet.OK was left out.
type Stats struct {
	Packets   packet.Counters
	Bytes     packet.Counters // on the wire
	Fragments uint64          // of Packets[packet.OK]
	Cut       uint64          // likewise, by the snap length
	CutBytes  uint64          // what was cut off them
	BadLength uint64          // likewise
	Tunnelled uint64          // likewise
}

// Balancer decodes packets and splits batches. It is used by one goroutine.
type Balancer struct {
	cfg   Config
	stats Stats
	touch byte       // keeps the loads that warm the cache
	place [][]uint16 // by owner and block of the batch being split: its index in the owner's batch + 1
}

// New gives a balancer.
func New(cfg Config) *Balancer { return &Balancer{cfg: cfg} }

// Stats gives the counts since the beginning.
func (b *Balancer) Stats() Stats { return b.stats }

// Prepare decodes all packets of a batch as the source gave it and sets their hashes. Packets that
// belong to no flow are counted and removed; the others keep their order.
func (b *Balancer) Prepare(batch *ntpac.Batch) {
	kept := batch.Packets[:0]
	for at := 0; at < len(batch.Packets); at += stride {
		part := batch.Packets[at:min(at+stride, len(batch.Packets))]
		b.warm(batch, part)
		for i := range part {
			p := &part[i]
			if v := b.decode(batch.Frame(p), p); v == packet.OK {
				if dst := len(kept); dst < at+i {
					kept = append(kept, *p)
				} else {
					kept = kept[:dst+1]
				}
			}
		}
	}
	batch.Packets = kept
}

// warm loads the cache lines from the Ethernet type to the end of a TCP header, for most frames one or
// two. The loads do not depend on each other, so that the processor waits for all of them at once.
func (b *Balancer) warm(batch *ntpac.Batch, part []ntpac.Packet) {
	var t byte
	for i := range part {
		p := &part[i]
		if f := batch.Blocks[p.Blk].Mem[p.Pos:]; p.Cap > 53 && len(f) > 53 {
			t += f[12] + f[53]
		}
	}
	b.touch = t
}

func (b *Balancer) decode(frame []byte, p *ntpac.Packet) packet.Verdict {
	v := packet.Decode(frame, p)
	b.stats.Packets[v]++
	b.stats.Bytes[v] += uint64(max(p.Wire, p.Cap))
	if v != packet.OK {
		return v
	}
	if p.Flags&(ntpac.Fragment|ntpac.Cut|ntpac.BadLength) != 0 || p.Tunnel != ntpac.NoTunnel {
		b.odd(p)
	}
	var k packet.RawKey
	packet.Raw(frame, p, b.cfg.KeyVLAN, &k)
	p.Hash = packet.Hash(&k, b.cfg.Seed)
	return v
}

// odd counts what most packets are not.
func (b *Balancer) odd(p *ntpac.Packet) {
	if p.Flags&ntpac.Fragment != 0 {
		b.stats.Fragments++
	}
	if p.Flags&ntpac.Cut != 0 {
		b.stats.Cut++
		b.stats.CutBytes += uint64(p.Wire - p.Cap)
	}
	if p.Flags&ntpac.BadLength != 0 {
		b.stats.BadLength++
	}
	if p.Tunnel != ntpac.NoTunnel {
		b.stats.Tunnelled++
	}
}
