package reassembly_test

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"

	"ntpac"
	"ntpac/balancer"
	"ntpac/internal/pcaptest"
	"ntpac/reassembly"
	"ntpac/store"
)

// steady gives batches of a few long conversations, TCP with reordered, repeated and lost segments, and
// UDP.
func steady(t testing.TB, packets int) []*ntpac.Batch {
	r := rand.New(rand.NewPCG(1, 9))
	c := pcaptest.New()
	c.Step = ntpac.Second / 2000
	var conns []*pcaptest.Conn
	for i := range 20 {
		k := c.TCP(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+i)), pcaptest.Server)
		k.Stamps = i%2 == 0
		k.Open()
		conns = append(conns, k)
	}
	for len(c.Frames) < packets {
		k := conns[r.IntN(len(conns))]
		dir := ntpac.Dir(r.IntN(2))
		n := len(c.Frames)
		k.Send(dir, make([]byte, 1+r.IntN(3000)))
		switch r.IntN(10) {
		case 0: // reordered
			if m := len(c.Frames); m > n+1 {
				a, b := &c.Frames[n], &c.Frames[m-1]
				a.Data, b.Data, a.Wire, b.Wire = b.Data, a.Data, b.Wire, a.Wire
			}
		case 1: // captured twice
			c.Frames = append(c.Frames, c.Frames[n])
		case 2: // lost, and acknowledged
			c.Frames = append(c.Frames[:n], c.Frames[n+1:]...)
		case 3:
			c.UDP(k.End[dir], k.End[dir.Other()], make([]byte, 300))
		case 4:
			c.Snap = 200
			k.Send(dir, make([]byte, 1000))
			c.Snap = 0
		}
	}
	return batchesOf(t, balancer.New(balancer.Config{Seed: seed}), 0, c.Frames, 500)
}

// pushAll pushes the second half of batches when the first has warmed everything up, and gives the
// allocations of the second per packet.
func pushAll(r *reassembly.Reassembler, bs []*ntpac.Batch) float64 {
	push := func(bs []*ntpac.Batch) (n int) {
		for _, b := range bs {
			b.Watermark = b.Packets[len(b.Packets)-1].TS
			r.Push(b)
			n += len(b.Packets)
		}
		return n
	}
	push(bs[:len(bs)/2])
	runtime.GC()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	n := push(bs[len(bs)/2:])
	runtime.ReadMemStats(&m1)
	return float64(m1.Mallocs-m0.Mallocs) / float64(n)
}

// Nothing is allocated for a packet once all is warm: what is allocated is for what lasts, such as the
// list of a stream's holes, which grows by doubling.
func TestAllocations(t *testing.T) {
	bs := steady(t, 40_000)
	r := reassembly.New(reassembly.Config{}, nullSink{})
	n := pushAll(r, bs)
	t.Log(n)
	if n > 0.0005 {
		t.Errorf("reassembly alone allocates %.4f times a packet", n)
	}
	r.Flush()
	bufs := &store.Buffers{}
	for _, warm := range []bool{false, true} {
		c := store.NewCollector(discard{bufs}, noLoader{}, bufs)
		c.Sources = []ntpac.SourceID{1}
		r = reassembly.New(reassembly.Config{}, c)
		n := pushAll(r, bs)
		r.Flush()
		t.Log(n)
		if n > 0.005 && warm {
			t.Errorf("with a collector %.4f times a packet", n)
		}
	}
}
