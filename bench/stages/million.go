package main

import (
	"encoding/binary"

	"ntpac"
	"ntpac/balancer"
	"ntpac/reassembly"
	"ntpac/store"
)

const (
	flowBatch   = 512 // conversations of one batch, with two packets each
	synSize     = 54  // Ethernet, IPv4, TCP
	helloSize   = synSize + 16
	flowSize    = synSize + helloSize
	openAtOnce  = 500 * ntpac.Second // all of them begin within this time, so that none is idle yet
	openedSince = 1_700_000_000 * ntpac.Second
)

// openFlows opens many conversations, a SYN and a few bytes each, in a reassembler that keeps no payload.
func (o *options) openFlows(*pass) (int64, error) {
	s := &extents{}
	openMany(s, o.flows)
	return s.bytes, nil
}

// gatherFlows does so before the collector that gathers payload and histories for the store.
func (o *options) gatherFlows(*pass) (int64, error) {
	k := &dropped{}
	col := store.NewCollector(k, nil, &store.Buffers{})
	col.Sources = []ntpac.SourceID{1}
	openMany(col, o.flows)
	return 0, nil
}

// dropped takes what a collector gives and keeps nothing.
type dropped struct{}

func (dropped) Chunk(ntpac.Chunk)                                     {}
func (dropped) Conversation(_ *ntpac.Conversation, m *store.Resident) { m.Release() }

// openMany leaves all conversations open at its end: what they are takes its peak of memory.
func openMany(sink reassembly.Sink, flows int) {
	bal := balancer.New(balancer.Config{Seed: 1})
	r := reassembly.New(reassembly.Config{Case: "bench"}, sink)
	k := ntpac.NewBlock(make([]byte, flowBatch*flowSize), nil)
	b := &ntpac.Batch{}
	for n := 0; n < flows; n += flowBatch {
		b.Packets, b.Blocks = b.Packets[:0], append(b.Blocks[:0], k)
		for i := range flowBatch {
			opening(b, n+i, i*flowSize, openAtOnce/ntpac.Time(flows))
		}
		bal.Prepare(b)
		r.Push(b)
	}
}

// opening writes the packets of one conversation at an offset of the batch's block.
func opening(b *ntpac.Batch, flow, at int, apart ntpac.Time) {
	ts := openedSince + ntpac.Time(flow)*apart
	m := b.Blocks[0].Mem
	segment(m[at:], flow, 1000, 0x02, synSize)
	segment(m[at+synSize:], flow, 1001, 0x18, helloSize)
	for i, n := range [2]uint32{synSize, helloSize} {
		b.Packets = append(b.Packets, ntpac.Packet{TS: ts + ntpac.Time(i), Ord: uint64(2*flow + i), Off: int64(flow)*flowSize + int64(i)*synSize,
			Pos: uint32(at + i*synSize), Cap: n, Wire: n, Link: 1})
	}
	b.Watermark = ts
}

// segment writes a frame of n bytes from a client of its own to one server.
func segment(f []byte, flow int, seq uint32, flags byte, n int) {
	be := binary.BigEndian
	clear(f[:n])
	f[12], f[14], f[22], f[23] = 8, 0x45, 64, 6
	be.PutUint16(f[16:], uint16(n-14))
	be.PutUint32(f[26:], 10<<24|uint32(flow>>4))
	be.PutUint32(f[30:], 192<<24|168<<16|1)
	be.PutUint16(f[34:], uint16(20000+flow&15))
	be.PutUint16(f[36:], 443)
	be.PutUint32(f[38:], seq)
	f[46], f[47] = 5<<4, flags
	be.PutUint16(f[48:], 65535)
	for i := synSize; i < n; i++ {
		f[i] = byte('a' + i%26)
	}
}
