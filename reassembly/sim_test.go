package reassembly_test

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// world simulates conversations as a tap sees them, and knows what was said. Everything derives from the
// seed.
type world struct {
	r      *rand.Rand
	frames []simFrame
	convs  []*simConv
	clean  bool // no retransmissions, silences or keep-alives
}

// simFrame is a frame and what it is a part of.
type simFrame struct {
	pcaptest.Frame
	conv *simConv
	dir  ntpac.Dir
	off  int64 // stream offset of its payload
	n    int   // length of the payload
	ack  int64 // stream offset that it acknowledges, -1 for none
	syn  bool
	fin  bool
	rst  bool
}

// simConv is one TCP connection.
type simConv struct {
	w     *world
	end   [2]netip.AddrPort
	isn   [2]uint32
	said  [2][]byte
	got   [2]int64 // what the receiver of a direction has acknowledged
	fin   [2]bool
	stamp bool
	cap   *pcaptest.Capture
	con   *pcaptest.Conn
	turn  *simConv // the one before on the same end points
}

func newWorld(seed uint64, convs int) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 77))}
	var before *simConv
	for i := range convs {
		c := &simConv{w: w, stamp: w.r.IntN(2) == 0}
		c.end = [2]netip.AddrPort{
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i%3)}), uint16(40000+i)),
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i % 2)}), []uint16{80, 443, 9999}[i%3])}
		if w.r.IntN(3) == 0 {
			c.end = [2]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), uint16(50000+i)), netip.MustParseAddrPort("[2001:db8::2]:25")}
		}
		start := base + ntpac.Time(w.r.Int64N(int64(2*ntpac.Second)))
		if before != nil && w.r.IntN(3) == 0 { // the same end points again
			c.turn, c.end = before, before.end
			start = before.cap.Now + ntpac.Time(w.r.Int64N(int64(3*ntpac.Second)))
		}
		c.cap = pcaptest.New()
		c.cap.ID = uint16(w.r.Uint32())
		c.cap.Now, c.cap.Step = start, 0
		c.con = c.cap.TCP(c.end[0], c.end[1])
		c.con.Stamps = c.stamp
		for d := range 2 {
			c.isn[d] = w.r.Uint32()
			if w.r.IntN(3) == 0 {
				c.isn[d] = ^uint32(w.r.IntN(5000)) // wraps soon
			}
			if c.turn != nil { // far away, as stacks choose it
				c.isn[d] = before.isn[d] + 1<<28 + uint32(w.r.IntN(1<<30))
			}
		}
		w.convs = append(w.convs, c)
		before = c
	}
	return w
}

// play lets all conversations happen.
func (w *world) play() {
	for _, c := range w.convs {
		if c.turn != nil {
			c.cap.Now = c.turn.cap.Now + 10*ntpac.Second/1000 + ntpac.Time(w.r.Int64N(int64(3*ntpac.Second)))
		}
		c.run()
	}
	slices.SortStableFunc(w.frames, func(a, b simFrame) int { return cmp.Compare(a.TS, b.TS) })
}

func (c *simConv) pause() { c.cap.Now += 1000 + ntpac.Time(c.w.r.Int64N(int64(30*ntpac.Second/1000))) }

func (c *simConv) run() {
	r := c.w.r
	c.send(ntpac.Up, pcaptest.SYN, -1, nil, false)
	c.send(ntpac.Down, pcaptest.SYN|pcaptest.ACK, -1, nil, true)
	c.send(ntpac.Up, pcaptest.ACK, 0, nil, true)
	dir := ntpac.Up
	for range r.IntN(8) {
		c.message(dir, 1+r.IntN(9000))
		if r.IntN(4) != 0 {
			dir = dir.Other()
		}
		switch {
		case c.w.clean:
		case r.IntN(12) == 0:
			c.cap.Now += 700 * ntpac.Second // and goes on exactly
		case r.IntN(8) == 0:
			c.keepAlive(dir)
		}
	}
	switch r.IntN(4) {
	case 0:
	case 1:
		c.send(dir, pcaptest.RST|pcaptest.ACK, int64(len(c.said[dir])), nil, true)
	default:
		c.close(dir)
		c.close(dir.Other())
	}
	c.pause()
}

func (c *simConv) close(dir ntpac.Dir) {
	c.send(dir, pcaptest.FIN|pcaptest.ACK, int64(len(c.said[dir])), nil, true)
	c.fin[dir] = true
	c.acknowledge(dir)
}

// message sends bytes in segments; some are lost before the tap or after it and sent again.
func (c *simConv) message(dir ntpac.Dir, n int) {
	r := c.w.r
	mss := []int{100, 536, 1448}[r.IntN(3)]
	for n > 0 {
		seg := make([]byte, min(n, mss))
		off := int64(len(c.said[dir]))
		for i := range seg {
			seg[i] = byte(r.Uint32())
		}
		c.said[dir] = append(c.said[dir], seg...)
		n -= len(seg)
		c.data(dir, off, len(seg))
		if !c.w.clean && r.IntN(10) == 0 { // again, with other bounds
			c.pause()
			lo := max(off-int64(r.IntN(300)), 0)
			c.data(dir, lo, int(off-lo)+1+r.IntN(len(seg)))
		}
		if r.IntN(3) == 0 {
			c.acknowledge(dir)
		}
	}
	c.acknowledge(dir)
}

func (c *simConv) data(dir ntpac.Dir, off int64, n int) {
	c.send(dir, pcaptest.ACK|pcaptest.PSH, off, c.said[dir][off:off+int64(n)], true)
}

// acknowledge has the receiver of a direction acknowledge all that was said.
func (c *simConv) acknowledge(dir ntpac.Dir) {
	c.got[dir] = int64(len(c.said[dir]))
	if c.fin[dir] {
		c.got[dir]++
	}
	c.send(dir.Other(), pcaptest.ACK, c.next(dir.Other()), nil, true)
}

func (c *simConv) keepAlive(dir ntpac.Dir) {
	if n := int64(len(c.said[dir])); n > 0 {
		c.pause()
		c.send(dir, pcaptest.ACK, n-1, nil, true)
		c.acknowledge(dir)
	}
}

// next is where a direction is, its FIN included.
func (c *simConv) next(dir ntpac.Dir) int64 {
	n := int64(len(c.said[dir]))
	if c.fin[dir] {
		n++
	}
	return n
}

func (c *simConv) send(dir ntpac.Dir, flags byte, off int64, data []byte, ack bool) {
	var a uint32
	f := simFrame{conv: c, dir: dir, off: off, n: len(data), ack: -1}
	if ack {
		f.ack = c.got[dir.Other()]
		a = c.isn[dir.Other()] + 1 + uint32(f.ack)
	}
	c.con.At(dir, flags, c.isn[dir]+1+uint32(off), a, data)
	f.Frame = c.cap.Frames[len(c.cap.Frames)-1]
	f.syn, f.fin, f.rst = flags&pcaptest.SYN != 0, flags&pcaptest.FIN != 0, flags&pcaptest.RST != 0
	c.w.frames = append(c.w.frames, f)
	c.pause()
}

func frames(fs []simFrame) (out []pcaptest.Frame) {
	for _, f := range fs {
		out = append(out, f.Frame)
	}
	return out
}
