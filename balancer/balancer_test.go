package balancer

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/packet"
)

// traffic gives frames of many conversations, with fragments, tunnels and frames of no flow between
// them.
func traffic(flows int) []pcaptest.Frame {
	c := pcaptest.New()
	var conns []*pcaptest.Conn
	for i := range flows {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(40000+i))
		conns = append(conns, c.TCP(client, pcaptest.Server))
	}
	for round := range 4 {
		for i, k := range conns {
			k.Send(ntpac.Dir(i+round)&1, []byte("some words"))
			switch i % 8 {
			case 1:
				c.Raw(pcaptest.EtherType(0x0806, make([]byte, 46)))
			case 3:
				c.Fragments(k.End[0].Addr(), k.End[1].Addr(), ntpac.UDP, make([]byte, 2000), 900)
			case 5:
				c.Raw(pcaptest.Ether(pcaptest.VXLAN(k.End[0].Addr(), k.End[1].Addr(), uint32(i), c.Frames[0].Data)))
			case 7:
				c.Raw(pcaptest.EtherType(0x88cc, make([]byte, 50)))
			}
		}
	}
	return c.Frames
}

// batches lays frames into blocks of per frames and gives batches as a source would: a block that a
// batch does not use up goes on in the next. freed counts the blocks that went back.
func batches(frames []pcaptest.Frame, perBatch, perBlock int, freed *int) []*ntpac.Batch {
	var out []*ntpac.Batch
	var blk *ntpac.Block
	for i, f := range frames {
		if i%perBatch == 0 {
			out = append(out, &ntpac.Batch{})
		}
		b := out[len(out)-1]
		switch {
		case i%perBlock == 0:
			blk = ntpac.NewBlock(nil, func(*ntpac.Block) { *freed++ })
			b.Blocks = append(b.Blocks, blk)
		case i%perBatch == 0:
			blk.Retain(1)
			b.Blocks = append(b.Blocks, blk)
		}
		p := ntpac.Packet{TS: f.TS, Ord: uint64(i), Pos: uint32(len(blk.Mem)), Cap: uint32(len(f.Data)), Wire: uint32(f.Wire), Link: f.Link, Blk: uint16(len(b.Blocks) - 1)}
		blk.Mem = append(blk.Mem, f.Data...)
		b.Packets = append(b.Packets, p)
		b.Watermark = f.TS
	}
	return out
}

func TestPrepare(t *testing.T) {
	frames := traffic(300)
	freed := 0
	b := New(Config{Seed: 11})
	var bytes, lost, fragments uint64
	last := int64(-1)
	for _, batch := range batches(frames, 1000, 300, &freed) {
		n := len(batch.Packets)
		b.Prepare(batch)
		lost += uint64(n - len(batch.Packets))
		for i := range batch.Packets {
			p := &batch.Packets[i]
			if int64(p.Ord) <= last {
				t.Fatalf("packet %d comes after %d", p.Ord, last)
			}
			last = int64(p.Ord)
			f := batch.Frame(p)
			if string(f) != string(frames[p.Ord].Data) {
				t.Fatalf("packet %d has another frame", p.Ord)
			}
			want := ntpac.Packet{TS: p.TS, Ord: p.Ord, Pos: p.Pos, Cap: p.Cap, Wire: p.Wire, Link: p.Link, Blk: p.Blk}
			if v := packet.Decode(f, &want); v != packet.OK {
				t.Fatalf("packet %d: %v", p.Ord, v)
			}
			var k packet.RawKey
			packet.Raw(f, &want, false, &k)
			want.Hash = packet.Hash(&k, 11)
			if *p != want {
				t.Fatalf("packet %d: %+v, want %+v", p.Ord, *p, want)
			}
			bytes += uint64(p.Wire)
			if p.Flags&ntpac.Fragment != 0 {
				fragments++
			}
		}
		batch.Free()
	}
	s := b.Stats()
	if s.Packets[packet.OK]+lost != uint64(len(frames)) || s.Bytes[packet.OK] != bytes || s.Fragments != fragments || fragments == 0 {
		t.Errorf("stats %+v; lost %d, bytes %d, fragments %d", s, lost, bytes, fragments)
	}
	// 300 flows, 4 rounds: those with i%8 == 1 and == 7, and the tunnels.
	if s.Packets[packet.ARP] != 38*4 || s.Packets[packet.NonIP] != 37*4 || s.Tunnelled != 37*4 {
		t.Errorf("arp %d, other %d, tunnelled %d", s.Packets[packet.ARP], s.Packets[packet.NonIP], s.Tunnelled)
	}
	if want := (len(frames) + 299) / 300; freed != want {
		t.Errorf("%d of %d blocks went back", freed, want)
	}
}

func TestSplit(t *testing.T) {
	frames := traffic(500)
	r := rand.New(rand.NewPCG(1, 2))
	for _, owners := range []int{1, 2, 5} {
		var table [ntpac.Shards]uint16
		for i := range table {
			table[i] = uint16(r.IntN(owners))
		}
		freed, full := 0, 0
		b := New(Config{Seed: 3})
		out := make([]*ntpac.Batch, owners)
		got := make([][]uint64, owners)
		take := func(o int, full *ntpac.Batch) {
			seen := map[*ntpac.Block]bool{}
			for _, k := range full.Blocks {
				if seen[k] {
					t.Error("a batch holds a block twice")
				}
				seen[k] = true
			}
			for i := range full.Packets {
				p := &full.Packets[i]
				if string(full.Frame(p)) != string(frames[p.Ord].Data) {
					t.Fatalf("packet %d has another frame", p.Ord)
				}
				if p.TS < full.Watermark && len(got[o]) > 0 && p.Ord <= got[o][len(got[o])-1] {
					t.Fatalf("packet %d is older than the watermark", p.Ord)
				}
				if int(table[ntpac.Shard(p.Hash)]) != o {
					t.Fatalf("packet %d is at owner %d", p.Ord, o)
				}
				got[o] = append(got[o], p.Ord)
			}
			full.Free()
		}
		for o := range out {
			out[o] = &ntpac.Batch{}
		}
		var want []uint64
		for _, in := range batches(frames, 700, 150, &freed) {
			b.Prepare(in)
			for _, p := range in.Packets {
				want = append(want, p.Ord)
			}
			before := out[0].Watermark
			b.Split(in, out, &table, func(o int, batch *ntpac.Batch) *ntpac.Batch {
				if len(batch.Packets) != MaxPackets || batch.Watermark != before {
					t.Errorf("a batch of %d packets, watermark %v instead of %v", len(batch.Packets), batch.Watermark, before)
				}
				full++
				take(o, batch)
				return &ntpac.Batch{}
			})
			for o := range out {
				if out[o].Watermark != in.Watermark {
					t.Errorf("owner %d: watermark %v, want %v", o, out[o].Watermark, in.Watermark)
				}
			}
			in.Free()
		}
		total := 0
		for o := range out {
			take(o, out[o])
			total += len(got[o])
			for i := 1; i < len(got[o]); i++ {
				if got[o][i] <= got[o][i-1] {
					t.Fatalf("owner %d: order lost", o)
				}
			}
		}
		if total != len(want) || full == 0 {
			t.Errorf("%d owners: %d packets of %d, %d full batches", owners, total, len(want), full)
		}
		if blocks := (len(frames) + 149) / 150; freed != blocks {
			t.Errorf("%d owners: %d of %d blocks went back", owners, freed, blocks)
		}
	}
}

// Rebuilt datagrams keep their pieces when they move to another batch.
func TestSplitDatagrams(t *testing.T) {
	in := &ntpac.Batch{Blocks: []*ntpac.Block{ntpac.NewBlock(make([]byte, 100), nil)}}
	for i := range 4 {
		in.Packets = append(in.Packets, ntpac.Packet{Ord: uint64(i), Cap: 10, Flags: ntpac.Defragmented, Frag: uint32(i), Hash: uint64(i&1) << 54})
		in.Datagrams = append(in.Datagrams, ntpac.Datagram{Pieces: []ntpac.Piece{{Ord: uint64(i)}}})
	}
	table := [ntpac.Shards]uint16{1: 1}
	out := []*ntpac.Batch{{}, {}}
	New(Config{}).Split(in, out, &table, nil)
	for o, b := range out {
		if len(b.Packets) != 2 || len(b.Datagrams) != 2 {
			t.Fatalf("owner %d: %d packets, %d datagrams", o, len(b.Packets), len(b.Datagrams))
		}
		for _, p := range b.Packets {
			if b.Datagrams[p.Frag].Pieces[0].Ord != p.Ord {
				t.Errorf("packet %d has another one's pieces", p.Ord)
			}
		}
	}
}

// Nothing is allocated once the tables have grown.
func TestAllocations(t *testing.T) {
	freed := 0
	in := batches(traffic(40), 1024, 64, &freed)[0]
	b := New(Config{Seed: 1})
	all := append([]ntpac.Packet(nil), in.Packets...)
	var table [ntpac.Shards]uint16
	for i := range table {
		table[i] = uint16(i & 3)
	}
	out := make([]*ntpac.Batch, 4)
	for i := range out {
		out[i] = &ntpac.Batch{Packets: make([]ntpac.Packet, 0, MaxPackets)}
	}
	emit := func(_ int, full *ntpac.Batch) *ntpac.Batch { full.Free(); return full }
	if n := testing.AllocsPerRun(100, func() {
		in.Packets = append(in.Packets[:0], all...)
		b.Prepare(in)
		b.Split(in, out, &table, emit)
	}); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

func BenchmarkPrepare(b *testing.B) {
	freed := 0
	in := batches(traffic(200), 1024, 256, &freed)[0]
	all := append([]ntpac.Packet(nil), in.Packets...)
	bal := New(Config{Seed: 1})
	b.ReportAllocs()
	for b.Loop() {
		in.Packets = append(in.Packets[:0], all...)
		bal.Prepare(in)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(all)), "ns/packet")
}

func BenchmarkSplit(b *testing.B) {
	freed := 0
	in := batches(traffic(200), 1024, 256, &freed)[0]
	bal := New(Config{Seed: 1})
	bal.Prepare(in)
	var table [ntpac.Shards]uint16
	out := make([]*ntpac.Batch, 2)
	for i := range out {
		out[i] = &ntpac.Batch{Packets: make([]ntpac.Packet, 0, MaxPackets)}
	}
	for i := range table {
		table[i] = uint16(i & 1)
	}
	emit := func(_ int, full *ntpac.Batch) *ntpac.Batch { full.Free(); return full }
	b.ReportAllocs()
	for b.Loop() {
		bal.Split(in, out, &table, emit)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(in.Packets)), "ns/packet")
}
