package reassembly_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	peer "github.com/gopacket/gopacket/reassembly"

	"ntpac"
	"ntpac/balancer"
	"ntpac/capture"
	"ntpac/reassembly"
	"ntpac/store"
)

// BenchmarkCapture measures reassembly of the capture that NTPAC_BENCH_CAPTURE names (classic pcap,
// little endian), stage by stage, in CPU time per packet, and beside it what the gates compare with: F1,
// the walk over the record headers of the same file in memory, and gopacket's own reassembly. Each
// figure is the best of five rounds.
func BenchmarkCapture(b *testing.B) {
	name := os.Getenv("NTPAC_BENCH_CAPTURE")
	if name == "" {
		return
	}
	f1, packets := walkCost(b, name)
	for _, c := range []struct {
		name string
		pass func(b *testing.B, name string)
	}{
		{"read", func(b *testing.B, name string) { through(b, name, false, nil) }},
		{"prepare", func(b *testing.B, name string) { through(b, name, true, nil) }},
		{"reassemble", func(b *testing.B, name string) { reassembleInto(b, name, nullSink{}) }},
		{"histories", func(b *testing.B, name string) { reassembleInto(b, name, &historySink{}) }},
		{"collect", collectPass()},
		{"gopacket", gopacketPass},
	} {
		b.Run(c.name, func(b *testing.B) {
			best, allocs := cost(b, func() { c.pass(b, name) })
			b.ReportMetric(float64(best)/float64(packets), "cpu-ns/pkt")
			b.ReportMetric(float64(f1)/float64(best), "xF1")
			b.ReportMetric(float64(allocs)/float64(packets), "allocs/pkt")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cost gives the least CPU time that a pass takes, of all threads together, and its allocations.
func cost(b *testing.B, pass func()) (best time.Duration, allocs uint64) {
	for range 5 {
		runtime.GC()
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		t := cpuTime(b)
		pass()
		t = cpuTime(b) - t
		runtime.ReadMemStats(&m1)
		if best == 0 || t < best {
			best, allocs = t, m1.Mallocs-m0.Mallocs
		}
	}
	return best, allocs
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// walkCost measures F1 and counts the packets.
func walkCost(b *testing.B, name string) (time.Duration, int) {
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, int(st.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	defer syscall.Munmap(m)
	n := 0
	walk := func() {
		n = 0
		for off := 24; off+16 <= len(m); n++ {
			off += 16 + int(binary.LittleEndian.Uint32(m[off+8:]))
		}
	}
	walk() // maps the pages
	best, _ := cost(b, walk)
	b.Logf("F1: %d packets, %.1f ns each", n, float64(best)/float64(n))
	return best, n
}

// through reads a capture, prepares its packets where wanted, and gives each batch to f.
func through(b *testing.B, name string, prepare bool, f func(*ntpac.Batch)) {
	ctx := context.Background()
	src, err := capture.Open(ctx, name, capture.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	bal := balancer.New(balancer.Config{Seed: 1})
	batch := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 1024)}
	for {
		err := src.Next(ctx, batch)
		if prepare {
			bal.Prepare(batch)
		}
		if n := len(batch.Packets); n > 0 && f != nil {
			batch.Watermark = batch.Packets[n-1].TS
			f(batch)
		}
		batch.Free()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func reassembleInto(b *testing.B, name string, s reassembly.Sink) {
	r := reassembly.New(reassembly.Config{}, s)
	through(b, name, true, r.Push)
	r.Flush()
}

// collectPass sends a capture through a reassembler into a collector. The buffers stay warm.
func collectPass() func(b *testing.B, name string) {
	bufs := &store.Buffers{}
	return func(b *testing.B, name string) {
		c := store.NewCollector(discard{bufs}, noLoader{}, bufs)
		c.Sources = []ntpac.SourceID{1}
		c.Budget = 1 << 40
		reassembleInto(b, name, c)
	}
}

// gopacketPass is gopacket's decoder and TCP reassembly with a consumer that does nothing.
func gopacketPass(b *testing.B, name string) {
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		b.Fatal(err)
	}
	var (
		eth layers.Ethernet
		tag layers.Dot1Q
		ip4 layers.IPv4
		ip6 layers.IPv6
		tcp layers.TCP
		udp layers.UDP
		pay gopacket.Payload
		dec []gopacket.LayerType
	)
	p := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &eth, &tag, &ip4, &ip6, &tcp, &udp, &pay)
	p.IgnoreUnsupported = true
	as := peer.NewAssembler(peer.NewStreamPool(peerFactory{}))
	as.MaxBufferedPagesTotal, as.MaxBufferedPagesPerConnection = 200_000, 2000
	var flushed time.Time
	for {
		data, ci, err := r.ReadPacketData()
		if err != nil {
			break
		}
		p.DecodeLayers(data, &dec)
		var flow gopacket.Flow
		for _, l := range dec {
			switch l {
			case layers.LayerTypeIPv4:
				flow = ip4.NetworkFlow()
			case layers.LayerTypeIPv6:
				flow = ip6.NetworkFlow()
			case layers.LayerTypeTCP:
				as.AssembleWithContext(flow, &tcp, &peerContext{ci})
			}
		}
		if ci.Timestamp.Sub(flushed) > 2*time.Second {
			flushed = ci.Timestamp
			as.FlushWithOptions(peer.FlushOptions{T: flushed.Add(-30 * time.Second), TC: flushed.Add(-120 * time.Second)})
		}
	}
	as.FlushAll()
}

type peerContext struct{ ci gopacket.CaptureInfo }

func (c *peerContext) GetCaptureInfo() gopacket.CaptureInfo { return c.ci }

type peerFactory struct{}

func (peerFactory) New(_, _ gopacket.Flow, _ *layers.TCP, _ peer.AssemblerContext) peer.Stream {
	return peerStream{}
}

type peerStream struct{}

func (peerStream) Accept(_ *layers.TCP, _ gopacket.CaptureInfo, _ peer.TCPFlowDirection, _ peer.Sequence, start *bool, _ peer.AssemblerContext) bool {
	*start = true
	return true
}

func (peerStream) ReassembledSG(sg peer.ScatterGather, _ peer.AssemblerContext) {
	n, _ := sg.Lengths()
	sg.Fetch(n)
}

func (peerStream) ReassemblyComplete(peer.AssemblerContext) bool { return true }
