package meta

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/packet"
)

// The behaviours that the systems before this one had, or should have had: reference/seed-systems.md,
// section 6. Their captures are not public, so each is built here in the shape that is told of it.

// pdu is a PDU as the contract shows it.
type pdu struct {
	dir    string
	off, n int64
}

func (f *found) pdus() (out []pdu) {
	for _, x := range f.record["pdus"].([]any) {
		m := record(x.(map[string]any))
		out = append(out, pdu{m.text("dir"), m.number("offset"), m.number("length")})
	}
	return out
}

// lengths are the lengths of the PDUs of one direction.
func (f *found) lengths(dir string) (out []int64) {
	for _, p := range f.pdus() {
		if p.dir == dir {
			out = append(out, p.n)
		}
	}
	return out
}

// whole runs a capture and wants n conversations.
func whole(t *testing.T, n int, fs []pcaptest.Frame) *output {
	t.Helper()
	out := mustRun(t, one(frames(fs)))
	if len(out.convs) != n {
		for _, f := range out.convs {
			t.Logf("%s", f.record.line())
		}
		t.Fatalf("%d conversations, want %d", len(out.convs), n)
	}
	return out
}

func frames(fs []pcaptest.Frame) []frame {
	out := make([]frame, len(fs))
	for i, f := range fs {
		out[i].Frame = f
	}
	return number(out)
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func wantAll[T comparable](t *testing.T, what string, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// speak gives a capture's talk, for the builders of talks.
func speak(c *pcaptest.Capture) *talk { return &talk{c, rand.New(rand.NewPCG(9, 9)), 0} }

// between keeps the frames that go from an end point.
func between(fs []pcaptest.Frame, from netip.AddrPort) (out []pcaptest.Frame) {
	for _, f := range fs {
		if h, ok := read(f.Data); ok && h.src == from {
			out = append(out, f)
		}
	}
	return out
}

func TestBehaviour01DNSOverUDP(t *testing.T) {
	c := pcaptest.New()
	k := speak(c)
	host := "a.long.name.example"
	ask := question(1, host)
	ask = append(ask, make([]byte, 46-len(ask))...)
	answer := reply(1, host, bytes.Repeat([]byte("t"), 60))
	answer = append(answer, make([]byte, 146-len(answer))...)
	c.UDP(k.client(), k.server(53), ask)
	c.UDP(k.server(53), k.client(), answer)
	f := whole(t, 1, c.Frames).convs[0]
	wantAll(t, "PDUs", f.pdus(), pdu{"up", 0, 46}, pdu{"down", 0, 146})
	want(t, "app", f.conv.App, "dns")
	want(t, "bytes", f.conv.Half[0].Bytes+f.conv.Half[1].Bytes, 192)
}

func TestBehaviour02HTTPGet(t *testing.T) {
	c := pcaptest.New()
	c.Step = 1234567 // times have parts of microseconds
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.AckEvery, k.MSS = 1, 1460
	k.Open()
	k.Send(up, pad("GET / HTTP/1.1\r\nHost: www.example\r\n", 128))
	k.Send(down, append(pad("HTTP/1.1 200 OK\r\nContent-Length: 1300\r\n", 127), make([]byte, 1300)...))
	k.Packet(up, pcaptest.FIN|pcaptest.ACK, nil)
	k.Packet(down, pcaptest.FIN|pcaptest.ACK, nil)
	want(t, "frames", len(c.Frames), 9)
	f := whole(t, 1, c.Frames).convs[0]
	wantAll(t, "PDUs", f.pdus(), pdu{"up", 0, 128}, pdu{"down", 0, 1427})
	want(t, "first", f.conv.First, c.Frames[0].TS)
	want(t, "last", f.conv.Last, c.Frames[8].TS)
	want(t, "packets", f.conv.Half[0].Packets+f.conv.Half[1].Packets, 9)
}

// pad makes an HTTP head as long as it shall be.
func pad(head string, n int) []byte {
	return []byte(head + "X-Pad: " + strings.Repeat("p", n-len(head)-11) + "\r\n\r\n")
}

func TestBehaviour03ManyPDUs(t *testing.T) {
	c := pcaptest.New()
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.Open()
	k.Send(up, make([]byte, 322))
	for _, n := range []int{4110, 4096, 4096, 778} {
		k.Send(down, make([]byte, n))
	}
	f := whole(t, 1, c.Frames).convs[0]
	wantAll(t, "PDUs up", f.lengths("up"), 322)
	wantAll(t, "PDUs down", f.lengths("down"), 4110, 4096, 4096, 778)
	for from, n := range map[netip.AddrPort]int{pcaptest.Client: 1, pcaptest.Server: 4} {
		f := whole(t, 1, between(c.Frames, from)).convs[0]
		want(t, "PDUs of one half", len(f.pdus()), n)
		want(t, "one-sided", f.conv.Flags&ntpac.OneSided != 0, true)
	}
}

func TestBehaviour04PortReuseAndKeepAlives(t *testing.T) {
	c := pcaptest.New()
	for i := range 8 {
		k := c.TCP(pcaptest.Client, pcaptest.Server)
		k.Seq = [2]uint32{1000 + uint32(i)*1e8, 5000 + uint32(i)*2e8}
		k.Open()
		k.Send(up, fmt.Appendf(nil, "ask %d", i))
		k.At(up, pcaptest.ACK, k.Seq[up]-1, k.Seq[down], []byte{0})
		k.At(down, pcaptest.ACK, k.Seq[down], k.Seq[up], nil)
		k.Send(down, fmt.Appendf(nil, "answer %d", i))
		k.Close()
		c.Wait(5 * ntpac.Second)
		if i == 0 {
			c.Frames = between(c.Frames, pcaptest.Client) // the first lacks a down side
		}
	}
	out := whole(t, 8, c.Frames)
	for i, f := range out.convs {
		wantAll(t, "PDUs up", f.lengths("up"), 5)
		if i == 0 {
			wantAll(t, "PDUs down of the first", f.lengths("down"))
			continue
		}
		wantAll(t, "PDUs down", f.lengths("down"), 8)
		want(t, "split by", f.conv.SplitBy, "syn")
	}
}

func TestBehaviour05InversedPortsAndKeepAlives(t *testing.T) {
	c := pcaptest.New()
	a, b := pcaptest.Client.Addr(), pcaptest.Server.Addr()
	for _, e := range [][2]uint16{{1000, 2000}, {2000, 1000}, {3000, 4000}, {4000, 3000}} {
		k := c.TCP(netip.AddrPortFrom(a, e[0]), netip.AddrPortFrom(b, e[1]))
		k.Open()
		k.Send(up, []byte("from a"))
		k.Send(down, []byte("from b"))
		k.Close()
	}
	for _, f := range whole(t, 4, c.Frames).convs {
		want(t, "PDUs", len(f.pdus()), 2)
	}
	c = pcaptest.New()
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.Open()
	k.Send(down, []byte("hello"))
	for range 138 {
		k.Send(up, []byte("ping"))
		k.At(up, pcaptest.ACK, k.Seq[up]-1, k.Seq[down], []byte{0xee})
		k.At(down, pcaptest.ACK, k.Seq[down], k.Seq[up], nil)
		k.Send(down, []byte("pong"))
		c.Wait(60 * ntpac.Second)
	}
	f := whole(t, 1, c.Frames).convs[0]
	want(t, "PDUs up", len(f.lengths("up")), 138)
	want(t, "PDUs down", len(f.lengths("down")), 139)
	for _, s := range f.stream {
		for _, p := range s {
			want(t, "bytes of keep-alives", bytes.Count(p.data, []byte{0xee}), 0)
		}
	}
}

func TestBehaviour06MissingAndRepeated(t *testing.T) {
	c := pcaptest.New()
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.Open()
	for i := range 10 {
		k.Send(up, fmt.Appendf(nil, "ask %d", i))
		if i == 4 {
			k.Skip(up, 700)
		}
		k.Send(down, fmt.Appendf(nil, "answer %d", i))
	}
	f := whole(t, 1, c.Frames).convs[0]
	want(t, "PDUs", len(f.pdus()), 20)
	want(t, "missing", f.conv.In(up).Missing, 700)

	c = pcaptest.New()
	k = c.TCP(pcaptest.Client, pcaptest.Server)
	k.Open()
	for _, dir := range []ntpac.Dir{up, down} {
		seq := k.Seq[dir]
		k.Send(dir, []byte("said twice"))
		c.Wait(300 * ms)
		k.At(dir, pcaptest.ACK|pcaptest.PSH, seq, k.Seq[dir.Other()], []byte("said twice"))
	}
	f = whole(t, 1, c.Frames).convs[0]
	wantAll(t, "PDUs", f.pdus(), pdu{"up", 0, 10}, pdu{"down", 0, 10})
}

func TestBehaviour07UDPSilence(t *testing.T) {
	c := pcaptest.New()
	k := speak(c)
	for range 8 {
		c.UDP(k.client(), k.server(7777), make([]byte, 13))
		c.Wait(601 * ntpac.Second)
	}
	for i, f := range whole(t, 8, c.Frames).convs {
		want(t, "split by", f.conv.SplitBy, map[bool]string{true: "idle"}[i > 0])
	}
	c = pcaptest.New()
	for range 3 {
		c.UDP(k.client(), k.server(7777), make([]byte, 13))
	}
	wantAll(t, "PDUs", whole(t, 1, c.Frames).convs[0].lengths("up"), 13, 13, 13)
}

func TestBehaviour08Fragments(t *testing.T) {
	c := pcaptest.New()
	k := speak(c)
	c.Fragments(k.client().Addr(), k.server(7777).Addr(), ntpac.UDP, pcaptest.UDP(k.client(), k.server(7777), make([]byte, 2000)), 1500)
	c.UDP(k.client(), k.server(7777), make([]byte, 50))
	want(t, "frames", len(c.Frames), 3)
	f := whole(t, 1, c.Frames).convs[0]
	wantAll(t, "datagrams", f.lengths("up"), 2000, 50)
	want(t, "packets", f.conv.In(up).Packets, 3)

	c = pcaptest.New()
	c.Fragments(k.client().Addr(), k.server(7777).Addr(), ntpac.UDP, pcaptest.UDP(k.client(), k.server(7777), make([]byte, 8312)), 1500)
	c.UDP(k.client(), k.server(7777), make([]byte, 20))
	c.UDP(k.client(), k.server(7777), make([]byte, 30))
	wantAll(t, "datagrams", whole(t, 1, c.Frames).convs[0].lengths("up"), 8312, 20, 30)
}

func TestBehaviour09Lengths(t *testing.T) {
	stream := func(n, mss int) (*pcaptest.Capture, *pcaptest.Conn) {
		c := pcaptest.New()
		k := c.TCP(pcaptest.Client, pcaptest.Server)
		k.MSS = mss
		k.Open()
		k.Send(up, []byte("ask"))
		k.Send(down, speak(c).words(n))
		return c, k
	}
	for _, lost := range [][]int{{4}, {2, 5, 7}} { // segments of the answer
		c, k := stream(13402, 1460)
		k.Close()
		var kept []pcaptest.Frame
		n := 0
		for _, f := range c.Frames {
			if h, _ := read(f.Data); h.src == pcaptest.Server && len(h.payload(f.Data)) > 0 {
				if n++; slices.Contains(lost, n) {
					continue
				}
			}
			kept = append(kept, f)
		}
		f := whole(t, 1, kept).convs[0]
		want(t, "length", f.conv.In(down).End, 13402)
		want(t, "holes", len(f.conv.In(down).Gaps), len(lost))
		want(t, "missing", f.conv.In(down).Missing, int64(1460*len(lost)))
	}
	c, k := stream(261548, 1460) // a fast retransmission: the line lost a segment before the tap
	i := slices.IndexFunc(c.Frames, func(f pcaptest.Frame) bool { h, _ := read(f.Data); return h.seq == k.Seq[down]-261548+14600 })
	late := c.Frames[i]
	late.TS = c.Frames[i+12].TS + 1
	c.Frames = slices.Insert(slices.Delete(c.Frames, i, i+1), i+12, late)
	f := whole(t, 1, c.Frames).convs[0]
	want(t, "length", f.conv.In(down).Bytes, 261548)
	want(t, "holes", len(f.conv.In(down).Gaps), 0)

	c, k = stream(200108, 1460) // old data that overlaps new
	at := k.Seq[down]
	k.Packet(down, pcaptest.ACK, []byte("0123456789"))
	k.At(down, pcaptest.ACK, at+5, k.Seq[up], []byte("56789abcde"))
	f = whole(t, 1, c.Frames).convs[0]
	want(t, "length", f.conv.In(down).Bytes, 200108+15)
	want(t, "overlap", f.conv.In(down).Overlap, 0)
	want(t, "holes", len(f.conv.In(down).Gaps), 0)
}

func TestBehaviour10Shards(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 10))
	for range 500 {
		a, b := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(r.Uint32()), byte(r.Uint32())}), uint16(r.Uint32())),
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(r.Uint32()), byte(r.Uint32())}), uint16(r.Uint32()))
		var shard [2]int
		for i, e := range [][2]netip.AddrPort{{a, b}, {b, a}} {
			c := pcaptest.New()
			c.UDP(e[0], e[1], []byte("x"))
			p := ntpac.Packet{Link: pcaptest.Ethernet, Cap: uint32(len(c.Frames[0].Data)), Wire: uint32(len(c.Frames[0].Data))}
			if v := packet.Decode(c.Frames[0].Data, &p); v != packet.OK {
				t.Fatal(v)
			}
			var k packet.RawKey
			packet.Raw(c.Frames[0].Data, &p, false, &k)
			if shard[i] = ntpac.Shard(packet.Hash(&k, *seed)); shard[i] < 0 || shard[i] >= ntpac.Shards {
				t.Fatalf("shard %d", shard[i])
			}
		}
		want(t, "the other direction's shard", shard[1], shard[0])
	}
}

func TestBehaviour11AnySegmentRemoved(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(*seed, 11))
	for _, mss := range []int{1, 7, 536, 1448, 4096} {
		c := pcaptest.New()
		k := c.TCP(pcaptest.Client, pcaptest.Server)
		k.MSS, k.AckEvery = mss, 1
		k.Open()
		body := speak(c).words(min(12*mss, 9000))
		for i := range 3 {
			k.Send(up, fmt.Appendf(nil, "GET /%d HTTP/1.1\r\n\r\n", i))
			k.Send(down, append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)), body...))
		}
		k.Close()
		fs := frames(c.Frames)
		base, err := run(dir, one(fs))
		if err != nil {
			t.Fatal(err)
		}
		for range 25 {
			i := r.IntN(len(fs))
			if !dropped.hold(t, dir, &history{fs, []op{{i, 0}}}, base, fmt.Sprintf("segments of %d bytes, without %s", mss, describe(&fs[i]))) {
				break
			}
		}
	}
}
