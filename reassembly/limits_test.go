package reassembly_test

import (
	"net/netip"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/reassembly"
)

// When there are too many flows, those that have been silent longest are ended, and say so.
func TestMaxFlows(t *testing.T) {
	c := pcaptest.New()
	c.Step = 3 * ntpac.Second
	var conns []*pcaptest.Conn
	for i := range 10 {
		k := c.TCP(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(2000+i)), pcaptest.Server)
		k.Open()
		k.Send(ntpac.Up, []byte("hello"))
		conns = append(conns, k)
	}
	conns[9].Send(ntpac.Up, []byte("more"))
	out := (&pipeline{cfg: reassembly.Config{MaxFlows: 4}}).run(t, c.Frames)
	limited := 0
	for _, v := range out.convs() {
		port := v.c.ClientEnd().Port()
		if hit := v.c.Close == ntpac.CloseLimit; hit != (v.c.Flags&ntpac.LimitMemory != 0) || hit != (port < 2006) {
			t.Errorf("port %d: close %v, flags %v", port, v.c.Close, v.c.Flags.Names())
		} else if hit {
			limited++
		}
	}
	if limited != 6 || out.stats.Evicted != 6 || out.stats.Open != 0 {
		t.Errorf("%d were ended, %+v", limited, out.stats)
	}
}

// A flow that is only remembered makes room without a trace: nothing of it is lost.
func TestMaxFlowsRemembered(t *testing.T) {
	c := pcaptest.New()
	for i := range 10 {
		k := c.TCP(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(2000+i)), pcaptest.Server)
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
	if n := len(out.convs()); n != 10 || out.stats.Evicted != 8 {
		t.Errorf("%d conversations, %+v", n, out.stats)
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
