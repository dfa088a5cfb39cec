package reassembly_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/packet"
	"ntpac/reassembly"
)

// shardOf gives the virtual shard of a connection to pcaptest.Server.
func shardOf(client netip.AddrPort) int {
	key := ntpac.FlowKey{Proto: ntpac.TCP, End: [2]netip.AddrPort{client, pcaptest.Server}}
	if key.End[0].Compare(key.End[1]) > 0 {
		key.End[0], key.End[1] = key.End[1], key.End[0]
	}
	k := packet.RawOf(key)
	return ntpac.Shard(packet.Hash(&k, seed))
}

// clients gives n clients of one virtual shard, which is also what an attacker who knew the key of the hash
// would do.
func clients(shard, n int) (out []netip.AddrPort) {
	for i := uint32(0); len(out) < n; i++ {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), uint16(2000+i%60000))
		if shardOf(a) == shard {
			out = append(out, a)
		}
	}
	return out
}

// When a virtual shard has too many conversations, those that have been silent longest are ended, and say so.
// Others are not concerned.
func TestMaxFlows(t *testing.T) {
	c := pcaptest.New()
	c.Step = 3 * ntpac.Second
	var conns []*pcaptest.Conn
	full := clients(3, 10)
	for i, a := range append(full, clients(4, 4)...) {
		k := c.TCP(a, pcaptest.Server)
		k.Open()
		k.Send(ntpac.Up, []byte("hello"))
		conns = append(conns, k)
		if i == 9 {
			conns[9].Send(ntpac.Up, []byte("more"))
		}
	}
	out := (&pipeline{cfg: reassembly.Config{MaxFlows: 4}}).run(t, c.Frames)
	limited := 0
	for _, v := range out.convs() {
		i := slices.Index(full, v.c.ClientEnd())
		if hit := v.c.Close == ntpac.CloseLimit; hit != (v.c.Flags&ntpac.LimitMemory != 0) || hit != (i >= 0 && i < 6) {
			t.Errorf("client %d: close %v, flags %v", i, v.c.Close, v.c.Flags.Names())
		} else if hit {
			limited++
		}
	}
	if limited != 6 || out.stats.Evicted != 6 || out.stats.Forgotten != 0 || out.stats.Open != 0 {
		t.Errorf("%d were ended, %+v", limited, out.stats)
	}
}

// A flow that is only remembered makes room without a trace: nothing of it is lost.
func TestMaxFlowsRemembered(t *testing.T) {
	c := pcaptest.New()
	for _, a := range clients(3, 10) {
		k := c.TCP(a, pcaptest.Server)
		k.Open()
		k.Send(ntpac.Up, []byte("hello"))
		k.Close()
		c.Wait(5 * ntpac.Second)
	}
	out := (&pipeline{cfg: reassembly.Config{MaxFlows: 2}}).run(t, c.Frames)
	for _, v := range out.convs() {
		if v.c.Close != ntpac.CloseFin || v.c.Flags != 0 {
			t.Errorf("close %v, flags %v", v.c.Close, v.c.Flags.Names())
		}
	}
	if n := len(out.convs()); n != 10 || out.stats.Evicted != 0 || out.stats.Forgotten != 8 {
		t.Errorf("%d conversations, %+v", n, out.stats)
	}
}

// A flood of attempts does not drive out conversations that are under way, though they are silent longer.
func TestFloodSparesConversations(t *testing.T) {
	c := pcaptest.New()
	addrs := clients(3, 2000)
	k := c.TCP(addrs[0], pcaptest.Server)
	k.Open()
	k.Send(ntpac.Up, []byte("question"))
	k.Send(ntpac.Down, []byte("answer"))
	for i, a := range addrs[1:] {
		n := c.TCP(a, pcaptest.Server)
		n.Packet(ntpac.Up, pcaptest.SYN, nil)
		if i%3 == 0 {
			n.Packet(ntpac.Down, pcaptest.SYN|pcaptest.ACK, nil)
		}
	}
	k.Send(ntpac.Up, []byte("another"))
	k.Close()
	out := (&pipeline{cfg: reassembly.Config{MaxFlows: 16}}).run(t, c.Frames)
	var bytes int64
	for _, v := range out.convs() {
		if v.c.ClientEnd() == addrs[0] {
			bytes += v.c.Half[0].Bytes + v.c.Half[1].Bytes
			if v.c.Close != ntpac.CloseFin || v.c.Flags != 0 {
				t.Errorf("close %v, flags %v", v.c.Close, v.c.Flags.Names())
			}
		}
	}
	if bytes != int64(len("question")+len("answer")+len("another")) || out.stats.Evicted < 1900 {
		t.Errorf("%d bytes, %+v", bytes, out.stats)
	}
}

// Which conversations a full virtual shard ends depends on its own packets alone: not on batches, workers,
// clocks, or what the other shards have to do.
func TestMaxFlowsDoesNotDependOnPlacement(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 8))
		c := pcaptest.New()
		var conns []*pcaptest.Conn
		for _, shard := range []int{3, 4, 700} {
			for _, a := range clients(shard, 40) {
				conns = append(conns, c.TCP(a, pcaptest.Server))
			}
		}
		for range 1500 {
			k := conns[r.IntN(len(conns))]
			switch r.IntN(12) {
			case 0:
				k.Open()
			case 1:
				k.Close()
			case 2:
				k.Reset(ntpac.Dir(r.IntN(2)))
			case 3:
				k.Skip(ntpac.Dir(r.IntN(2)), r.IntN(9000))
			case 4:
				c.Wait(ntpac.Time(r.Int64N(int64(100 * ntpac.Second))))
			case 5:
				c.UDP(k.End[0], k.End[1], make([]byte, r.IntN(50)))
			default:
				k.Send(ntpac.Dir(r.IntN(2)), make([]byte, r.IntN(3000)))
			}
		}
		cfg := reassembly.Config{MaxFlows: 8}
		out := (&pipeline{cfg: cfg}).run(t, c.Frames)
		if out.stats.Evicted == 0 || out.stats.Forgotten == 0 {
			t.Fatalf("seed %d: the limit was not hit: %+v", seed, out.stats)
		}
		want := out.text(sameInput)
		for _, x := range []pipeline{{batch: 7}, {batch: 1 << 20}, {batch: 30, workers: 2}, {batch: 1000, workers: 5},
			{clock: rand.New(rand.NewPCG(seed, 1))}, {batch: 50, workers: 3, clock: rand.New(rand.NewPCG(seed, 2))}} {
			x.cfg = cfg
			same(t, "placement", want, x.run(t, c.Frames).text(sameInput))
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// The limit of out-of-order segments is a flow's own: what others do changes nothing.
func TestOrderLimitIsTheFlowsOwn(t *testing.T) {
	one := func(client netip.AddrPort, c *pcaptest.Capture) {
		k := c.TCP(client, pcaptest.Server)
		k.AckEvery = 0
		k.Open()
		k.Skip(ntpac.Up, 100)
		k.Send(ntpac.Up, make([]byte, 30*k.MSS))
	}
	alone := pcaptest.New()
	one(pcaptest.Client, alone)
	among := pcaptest.New()
	for i := range 20 {
		one(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.9"), uint16(1000+i)), among)
	}
	among.Frames = append(among.Frames, alone.Frames...)
	cfg := reassembly.Config{MaxOrder: 20}
	want := (&pipeline{cfg: cfg}).run(t, alone.Frames).convs()[0]
	if want.c.Flags&ntpac.LimitOrder == 0 || len(want.gaps[0])+len(want.gaps[1]) != 1 {
		t.Errorf("%+v, gaps %v", want.c, want.gaps)
	}
	for _, v := range (&pipeline{cfg: cfg, merge: true, workers: 2}).run(t, among.Frames).convs() {
		if v.c.Key == want.c.Key && (v.c.Flags != want.c.Flags || v.gaps[0] != nil && v.gaps[0][0] != want.gaps[0][0]) {
			t.Errorf("among others: %+v, gaps %v", v.c, v.gaps)
		}
	}
}

// Where too much waits behind holes, whoever has gathered most gives up first; others wait on.
func TestMaxHeldIsPaidByWhoFillsIt(t *testing.T) {
	c := pcaptest.New()
	c.Step = ntpac.Second / 10000
	addrs := clients(3, 6)
	modest := c.TCP(addrs[0], pcaptest.Server)
	modest.Open()
	late := modest.Seq[ntpac.Up]
	modest.Skip(ntpac.Up, 5)
	modest.Send(ntpac.Up, []byte(" world"))
	for _, a := range addrs[1:] {
		k := c.TCP(a, pcaptest.Server)
		k.AckEvery = 0
		k.Open()
		k.Skip(ntpac.Up, 100)
		k.Send(ntpac.Up, make([]byte, 60*k.MSS))
	}
	modest.At(ntpac.Up, pcaptest.ACK, late, modest.Seq[ntpac.Down], []byte("hello"))
	out := (&pipeline{cfg: reassembly.Config{MaxHeld: 100 * 1500}}).run(t, c.Frames)
	limited := 0
	for _, v := range out.convs() {
		if v.c.ClientEnd() == addrs[0] {
			if v.c.Flags != 0 || v.c.In(ntpac.Up).Bytes != 11 || v.c.In(ntpac.Up).Missing != 0 {
				t.Errorf("the modest one: flags %v, %+v", v.c.Flags.Names(), v.c.In(ntpac.Up))
			}
			continue
		}
		if v.c.Flags&ntpac.LimitMemory != 0 {
			limited++
			if g := v.gaps[v.c.Side(ntpac.Up)]; len(g) != 1 || g[0].Cause != ntpac.GapLimit {
				t.Errorf("gaps %v", g)
			}
		}
		if v.c.In(ntpac.Up).Bytes != 60*1448 {
			t.Errorf("%d bytes", v.c.In(ntpac.Up).Bytes)
		}
	}
	if limited < 3 || out.stats.MemoryLimit != uint64(limited) {
		t.Errorf("%d were limited, %+v", limited, out.stats)
	}
}

// A conversation with too many holes is ended and goes on in another one: no captured byte is lost, and no
// list of holes is longer than the limit by more than a few.
func TestMaxGaps(t *testing.T) {
	for _, cfg := range []reassembly.Config{{MaxGaps: 20}, {MaxHeld: 16 * 32}} {
		c := pcaptest.New()
		c.Step = ntpac.Second / 2
		k := c.TCP(pcaptest.Client, pcaptest.Server)
		k.Open()
		var sent int64
		for i := range 100 {
			data := []byte{byte(i), 1, 2, 3}
			k.Send(ntpac.Up, data)
			sent += int64(len(data))
			k.Skip(ntpac.Up, 50)
			k.Packet(ntpac.Down, pcaptest.ACK, nil)
		}
		k.Close()
		out := (&pipeline{cfg: cfg}).run(t, c.Frames)
		vs := out.convs()
		var got, missing int64
		for i, v := range vs {
			up := v.c.In(ntpac.Up)
			got += up.Bytes
			missing += up.Missing
			if last := i == len(vs)-1; last != (v.c.Flags&ntpac.LimitGaps == 0) || last != (v.c.Close == ntpac.CloseFin) || (i > 0) != (v.c.SplitBy == "limit") {
				t.Errorf("%d: close %v, split by %q, flags %v", i, v.c.Close, v.c.SplitBy, v.c.Flags.Names())
			}
			if (v.c.Flags&ntpac.LimitMemory != 0) != (cfg.MaxGaps == 0 && i < len(vs)-1) {
				t.Errorf("%d: flags %v", i, v.c.Flags.Names())
			}
			if n := len(v.gaps[0]) + len(v.gaps[1]); n > 22 {
				t.Errorf("%d holes", n)
			}
		}
		if got != sent || len(vs) < 5 || out.stats.GapLimit != uint64(len(vs)-1) || missing < 90*50 {
			t.Errorf("%d of %d bytes, %d missing, in %d conversations; %+v", got, sent, missing, len(vs), out.stats)
		}
	}
}

// What waits for the reorder window is bounded, also where nothing is missing: at the beginning of a capture
// all connections are without theirs.
func TestHeldHeadsAreBounded(t *testing.T) {
	c := pcaptest.New()
	c.Step = 1000
	addrs := clients(3, 300)
	for _, a := range addrs {
		k := c.TCP(a, pcaptest.Server)
		for range 20 {
			k.Send(ntpac.Up, make([]byte, 10))
		}
	}
	cfg := reassembly.Config{MaxHeld: 64 << 10}
	out := (&pipeline{cfg: cfg}).run(t, c.Frames)
	for _, v := range out.convs() {
		if v.c.In(ntpac.Up).Bytes != 200 || v.c.In(ntpac.Up).Missing != 0 {
			t.Errorf("%+v", v.c.In(ntpac.Up))
		}
	}
	if out.stats.MemoryLimit == 0 {
		t.Errorf("%+v", out.stats)
	}
}
