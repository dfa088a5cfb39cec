// Gopacketpeer is the yardstick for reassembly: gopacket's own decoder and assembler over a pcap
// file, on one core, as fast as the library's documentation makes it.
//
//	go run ./bench/gopacketpeer [-sum] [-defrag] [-o STREAMS] FILE
//
// It imports nothing of the product. With -sum every direction's bytes are hashed (SHA-256); with -o
// the streams go to a file of JSON lines, each with the bytes and the gaps of its two directions, so that
// what the two reassemblers made can be compared; with -defrag IPv4 fragments are put together before, by
// gopacket's own means (it has none for IPv6).
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/gopacket/gopacket/reassembly"
)

func main() {
	sum := flag.Bool("sum", false, "hash every direction with SHA-256")
	defrag := flag.Bool("defrag", false, "put IPv4 fragments together")
	out := flag.String("o", "", "write the streams to this file, as JSON lines")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: gopacketpeer [-sum] [-defrag] [-o STREAMS] FILE")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *out, *sum, *defrag); err != nil {
		fmt.Fprintln(os.Stderr, "gopacketpeer:", err)
		os.Exit(1)
	}
}

func run(path, out string, sum, defrag bool) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m := &maker{sum: sum}
	if out != "" {
		o, failed := os.Create(out)
		if failed != nil {
			return failed
		}
		w := bufio.NewWriter(o)
		m.out = json.NewEncoder(w)
		defer func() { err = errors.Join(err, w.Flush(), o.Close()) }()
	}
	packets, err := assemble(bufio.NewReaderSize(f, 1<<20), m, defrag)
	if err != nil {
		return err
	}
	fmt.Printf("%d packets, %d streams, %d bytes, %d missing\n", packets, m.streams, m.bytes, m.missing)
	return m.err
}

// assemble reads the capture. Flows that were silent for two minutes are closed, and gaps given up
// after thirty seconds, every two seconds of the capture's time.
func assemble(r io.Reader, m *maker, defrag bool) (packets int64, err error) {
	in, err := pcapgo.NewReader(r)
	if err != nil {
		return 0, err
	}
	var (
		eth  layers.Ethernet
		tag  layers.Dot1Q
		ip4  layers.IPv4
		ip6  layers.IPv6
		tcp  layers.TCP
		last time.Time
		seen []gopacket.LayerType
	)
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &eth, &tag, &ip4, &ip6, &tcp)
	parser.IgnoreUnsupported = true
	a := reassembly.NewAssembler(reassembly.NewStreamPool(m))
	a.MaxBufferedPagesTotal, a.MaxBufferedPagesPerConnection = 200000, 2000
	defer a.FlushAll()
	fragments := ip4defrag.NewIPv4Defragmenter()
	for ; ; packets++ {
		data, info, err := in.ZeroCopyReadPacketData()
		if errors.Is(err, io.EOF) {
			return packets, nil
		}
		if err != nil {
			return packets, err
		}
		if parser.DecodeLayers(data, &seen) != nil {
			continue // damaged below TCP: nothing to assemble
		}
		var net gopacket.Flow
		for _, l := range seen {
			switch l {
			case layers.LayerTypeIPv4:
				net = ip4.NetworkFlow()
				if defrag && (ip4.Flags&layers.IPv4MoreFragments != 0 || ip4.FragOffset > 0) && rebuilt(fragments, &ip4, &tcp) {
					a.AssembleWithContext(net, &tcp, (*moment)(&info))
				}
			case layers.LayerTypeIPv6:
				net = ip6.NetworkFlow()
			case layers.LayerTypeTCP:
				a.AssembleWithContext(net, &tcp, (*moment)(&info))
			}
		}
		if now := info.Timestamp; now.Sub(last) > 2*time.Second {
			last = now
			a.FlushWithOptions(reassembly.FlushOptions{T: now.Add(-30 * time.Second), TC: now.Add(-120 * time.Second)})
		}
	}
}

// rebuilt adds a fragment and reports whether a datagram with a segment of TCP is complete.
func rebuilt(fragments *ip4defrag.IPv4Defragmenter, ip *layers.IPv4, tcp *layers.TCP) bool {
	part := *ip
	part.Payload = bytes.Clone(ip.Payload)
	whole, err := fragments.DefragIPv4(&part)
	return err == nil && whole != nil && whole.Protocol == layers.IPProtocolTCP && tcp.DecodeFromBytes(whole.Payload, gopacket.NilDecodeFeedback) == nil
}

type moment gopacket.CaptureInfo

func (m *moment) GetCaptureInfo() gopacket.CaptureInfo { return gopacket.CaptureInfo(*m) }

// maker makes streams and counts what they gave.
type maker struct {
	sum                     bool
	out                     *json.Encoder
	streams, bytes, missing int64
	err                     error
}

// New begins a stream.
func (m *maker) New(net, transport gopacket.Flow, _ *layers.TCP, _ reassembly.AssemblerContext) reassembly.Stream {
	s := &stream{m: m, net: net, transport: transport}
	if m.sum {
		s.sums = [2]hash.Hash{sha256.New(), sha256.New()}
	}
	return s
}

type stream struct {
	m              *maker
	net, transport gopacket.Flow
	bytes, missing [2]int64
	gaps           [2][][2]int64 // offset and length
	sums           [2]hash.Hash
}

// Accept takes every segment, also of streams whose beginning was not captured.
func (s *stream) Accept(_ *layers.TCP, _ gopacket.CaptureInfo, _ reassembly.TCPFlowDirection, _ reassembly.Sequence, start *bool, _ reassembly.AssemblerContext) bool {
	*start = true
	return true
}

// ReassembledSG takes the next bytes of a direction.
func (s *stream) ReassembledSG(sg reassembly.ScatterGather, _ reassembly.AssemblerContext) {
	dir, _, _, skipped := sg.Info()
	n, _ := sg.Lengths()
	d := 0
	if dir == reassembly.TCPDirServerToClient {
		d = 1
	}
	if skipped > 0 {
		s.gaps[d] = append(s.gaps[d], [2]int64{s.bytes[d] + s.missing[d], int64(skipped)})
		s.missing[d] += int64(skipped)
	}
	s.bytes[d] += int64(n)
	b := sg.Fetch(n)
	if s.sums[d] != nil {
		s.sums[d].Write(b)
	}
}

// ReassemblyComplete ends the stream.
func (s *stream) ReassemblyComplete(reassembly.AssemblerContext) bool {
	s.m.streams++
	s.m.bytes += s.bytes[0] + s.bytes[1]
	s.m.missing += s.missing[0] + s.missing[1]
	if s.m.out == nil {
		return true
	}
	line := map[string]any{"net": s.net.String(), "transport": s.transport.String(), "bytes": s.bytes, "missing": s.missing, "gaps": s.gaps}
	if s.sums[0] != nil {
		line["sha256"] = [2]string{hex.EncodeToString(s.sums[0].Sum(nil)), hex.EncodeToString(s.sums[1].Sum(nil))}
	}
	s.m.err = errors.Join(s.m.err, s.m.out.Encode(line))
	return true
}
