// Package traffic makes small captures that look like a network's: HTTP, DNS, TLS and mail between
// many hosts, interleaved in time, with valid headers, checksums and acknowledgements, and with the
// late and repeated segments that real captures have. The same options give the same bytes.
package traffic

import (
	"bufio"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

// Options say what to make.
type Options struct {
	Size int64   // bytes of the capture: it ends with the conversations open at that point
	Seed uint64  // chooses everything else
	Late float64 // share of segments that come late or twice; 0 is DefaultLate
}

// DefaultLate is the share of late and repeated segments where Options name none.
const DefaultLate = 0.003

// rate is the mean load on the capture's clock, in bytes a second: it sets how much is open at once.
const rate = 20 << 20

// Capture is where a generated capture goes: whole, and, where Up and Down are set, as two taps saw
// it, one the clients' packets and the other one the servers'.
type Capture struct {
	Whole, Up, Down io.Writer
}

// Stats tell what was made.
type Stats struct {
	Packets, Bytes, Conversations int64
}

// Write makes a capture, a pcap file of Ethernet frames with microseconds.
func Write(c Capture, o Options) (Stats, error) {
	if o.Size <= 0 {
		return Stats{}, fmt.Errorf("a capture of %d bytes cannot be made", o.Size)
	}
	if o.Late == 0 {
		o.Late = DefaultLate
	}
	out := &output{files: [3]*bufio.Writer{buffered(c.Whole), buffered(c.Up), buffered(c.Down)}}
	out.header()
	g := newGenerator(o)
	g.run(out)
	return Stats{out.packets, out.bytes, g.made}, errors.Join(out.flush()...)
}

func buffered(w io.Writer) *bufio.Writer {
	if w == nil {
		return nil
	}
	return bufio.NewWriterSize(w, 1<<20)
}

// generator plans conversations and merges their packets by time.
type generator struct {
	o       Options
	r       *rand.Rand
	pool    *pool
	active  talks
	planned int64 // bytes
	next    int64 // when the next conversation starts, ns
	made    int64
	used    map[ends]bool
}

// start is when captures begin: 2023-11-14 22:13:20 UTC, in ns.
const start = 1_700_000_000_000_000_000

func newGenerator(o Options) *generator {
	r := rand.New(rand.NewPCG(o.Seed, 0x6e747061))
	return &generator{o: o, r: r, pool: newPool(r), next: start, used: map[ends]bool{}}
}

func (g *generator) run(out *output) {
	for {
		for g.planned < g.o.Size && (len(g.active) == 0 || g.active[0].head().t >= g.next) {
			g.plan()
		}
		if len(g.active) == 0 {
			return
		}
		t := g.active[0]
		out.write(t, t.head())
		if t.pos++; t.pos < len(t.packets) {
			heap.Fix(&g.active, 0)
		} else {
			heap.Pop(&g.active)
		}
	}
}

// plan starts a conversation; the shares are of conversations, and give HTTP and TLS most bytes.
func (g *generator) plan() {
	g.made++
	var t *talk
	switch x := g.r.IntN(100); {
	case x < 45:
		t = g.dns()
	case x < 75:
		t = g.http()
	case x < 95:
		t = g.tls()
	default:
		t = g.smtp()
	}
	t.finish()
	bytes := int64(0)
	for i := range t.packets {
		bytes += int64(len(t.packets[i].data)) + 70
	}
	g.planned += bytes
	g.next += int64(float64(bytes) / rate * 1e9 * (0.5 + g.r.Float64()))
	heap.Push(&g.active, t)
}

// talks is a heap of conversations by the time of their next packets.
type talks []*talk

func (h talks) Len() int { return len(h) }
func (h talks) Less(i, j int) bool {
	a, b := h[i].head().t, h[j].head().t
	return a < b || a == b && h[i].id < h[j].id
}
func (h talks) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *talks) Push(x any)   { *h = append(*h, x.(*talk)) }
func (h *talks) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	return t
}
