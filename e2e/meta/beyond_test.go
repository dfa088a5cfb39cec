package meta

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/packet"
)

// The behaviours that go beyond the systems before this one: section 6 of reference/seed-systems.md, from 12
// on. 19 and 22 are in process_test.go. 20 needs members that join while a capture is read, which there are
// not yet; 23 and 24 are benchmarks.

func TestBehaviour12NotSilentlyJoined(t *testing.T) {
	for _, x := range []struct {
		name  string
		jump  int // of the sequence numbers
		ack   int // and of what is acknowledged, which ties a segment to its conversation
		wait  ntpac.Time
		conns int
		why   string
	}{
		{"a small jump", 4000, 5_000_000, 0, 1, ""},
		{"a jump beyond the limit that nothing ties", 200_000, 5_000_000, 0, 2, "jump"},
		{"a jump beyond the limit with the same acknowledgement", 200_000, 0, 0, 1, ""},
		{"silence, then something else", 100, 0, 601 * ntpac.Second, 2, "idle"},
		{"silence, then exactly what comes next", 0, 0, 601 * ntpac.Second, 1, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := pcaptest.New()
			k := c.TCP(pcaptest.Client, pcaptest.Server)
			k.AckEvery = 0
			k.Send(up, []byte("one"))
			k.Skip(up, x.jump)
			k.Skip(down, x.ack)
			c.Wait(x.wait)
			k.Send(up, []byte("two"))
			out := whole(t, x.conns, c.Frames)
			want(t, "reason", out.convs[len(out.convs)-1].conv.SplitBy, x.why)
		})
	}
}

func TestBehaviour13MissingEnds(t *testing.T) {
	c := pcaptest.New()
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.Open()
	k.Send(up, []byte("GET / HTTP/1.1\r\n\r\n"))
	k.Send(down, []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	k.Close()
	n := len(c.Frames)
	without := func(drop ...int) (out []pcaptest.Frame) {
		for i, f := range c.Frames {
			if !slices.Contains(drop, i) {
				out = append(out, f)
			}
		}
		return out
	}
	for name, fs := range map[string][]pcaptest.Frame{
		"SYN": without(0), "SYN-ACK": without(1), "both": without(0, 1), "FINs": without(n-3, n-2, n-1), "all of it": without(0, 1, 2, n-3, n-2, n-1),
		"the server": between(c.Frames, pcaptest.Client), "the client": between(c.Frames, pcaptest.Server),
	} {
		f := whole(t, 1, fs).convs[0]
		want(t, "client without "+name, f.conv.ClientEnd(), pcaptest.Client)
		want(t, "app without "+name, f.conv.App, "http")
	}
	// Where no port tells, the words do, whoever spoke first.
	c = pcaptest.New()
	k = c.TCP(speak(c).client(), speak(c).server(31337))
	k.Packet(down, pcaptest.ACK, nil)
	k.Send(up, []byte("GET / HTTP/1.1\r\n\r\n"))
	k.Send(down, []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	f := whole(t, 1, c.Frames).convs[0]
	want(t, "client by its words", f.conv.ClientEnd(), k.End[up])
	want(t, "how that is known", f.conv.ClientBy, ntpac.ByPayload)
}

func TestBehaviour14DoubledShuffledDelayed(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(*seed, 14))
	fs := build(r, "http", "dns", "smtp", "fragments", "midstream", "reuse")
	for _, l := range []*law{&duplicated, &shuffled, &delayed} {
		most := map[*law]ntpac.Time{&duplicated: 50 * ms, &shuffled: ntpac.Second, &delayed: 60 * ntpac.Second}[l]
		ops := share(r, fs, 1, func() int64 { return r.Int64N(int64(most)) })
		l.hold(t, dir, &history{fs, ops}, nil, "every packet")
	}
}

func TestBehaviour15WrapAtAnyByte(t *testing.T) {
	dir := t.TempDir()
	c := pcaptest.New()
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.MSS = 30
	k.Open()
	k.Send(up, []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	k.Send(down, []byte("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n"+strings.Repeat("0123456789", 4)))
	k.Close()
	fs := frames(c.Frames)
	base, err := run(dir, one(fs))
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(-1); at < 85; at++ {
		if !wrapped.hold(t, dir, &history{fs, []op{{-1, at}, {-101, at}}}, base, fmt.Sprintf("byte %d", at)) {
			break
		}
	}
}

func TestBehaviour16ConflictingOverlap(t *testing.T) {
	c := pcaptest.New()
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.Open()
	seq := k.Seq[up]
	k.Send(up, []byte("the truth that was said first"))
	c.Wait(100 * ms)
	k.At(up, pcaptest.ACK, seq+4, k.Seq[down], []byte("LIES!"))
	k.Send(up, []byte(", and more"))
	f := whole(t, 1, c.Frames).convs[0]
	h := f.conv.In(up)
	want(t, "overlap", h.Overlap, 5)
	want(t, "the stream", string(f.stream[f.conv.Side(up)][0].data), "the truth that was said first, and more")
	if len(h.Conflicts) != 1 || h.Conflicts[0].Off != 4 || string(h.Conflicts[0].Alt) != "LIES!" || h.Conflicts[0].Ord != 5 {
		t.Errorf("alternatives: %+v", h.Conflicts)
	}
}

func TestBehaviour17CountedByReason(t *testing.T) {
	c := pcaptest.New()
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.Open()
	k.Send(up, []byte("GET / HTTP/1.1\r\n\r\n"))
	good := c.Frames[3].Data
	c.Raw(pcaptest.EtherType(0x0806, make([]byte, 28))) // ARP
	c.Raw(pcaptest.EtherType(0x88cc, make([]byte, 40))) // LLDP
	c.Raw(append(bytes.Clone(good[:14]), 0x43, 0, 0))   // a header of 12 bytes
	c.Raw(good[:20])                                    // half an IP header
	c.Frames = append(c.Frames, pcaptest.Frame{TS: c.Now, Link: 1, Data: good[:40], Wire: len(good)})
	k.Send(down, []byte("HTTP/1.1 204 No Content\r\n\r\n"))
	f := whole(t, 1, c.Frames)
	got := f.sum.Balancer.Packets.Map()
	want(t, "ARP", got[packet.ARP.String()], 1)
	want(t, "not IP", got[packet.NonIP.String()], 1)
	want(t, "malformed and truncated", got[packet.Malformed.String()]+got[packet.Truncated.String()], 3)
	want(t, "exchanges", len(f.convs[0].artifacts), 1)
	want(t, "damaged", f.sum.Damaged(), false)
}

func TestBehaviour18PlacementDoesNotMatter(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(*seed, 18))
	fs := build(r, "http", "dns", "ftp", "fragments", "smtp", "tls", "rough", "http6")
	base, err := run(dir, one(fs))
	if err != nil {
		t.Fatal(err)
	}
	for x := range int64(16) {
		placed.hold(t, dir, &history{fs, []op{{-1, x}}}, base, fmt.Sprintf("placement %d", x))
	}
	piped := one(fs)
	piped.setup.piped = true
	other, err := run(dir, piped)
	if err == nil {
		err = equal(base, other, law1)
	}
	if err != nil {
		t.Errorf("from a pipe: %v", err)
	}
}

func TestBehaviour21UplinkAndDownlinkApart(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(*seed, 21))
	fs := build(r, small...)
	base, err := run(dir, one(fs))
	if err != nil {
		t.Fatal(err)
	}
	for _, order := range []int64{1, 2, 3} {
		split.hold(t, dir, &history{fs, []op{{-1, byDirection}, {-2, 2}, {-3, order}}}, base, "both directions apart")
	}
	for _, skew := range []int64{int64(-200 * ms), int64(-7 * ms), int64(3 * ms), int64(200 * ms)} {
		skewed.hold(t, dir, &history{fs, []op{{-1, skew}}}, base, "clocks apart")
	}
}

func TestBehaviour25OffPortExactValuesPartialBody(t *testing.T) {
	c := pcaptest.New()
	k := c.TCP(speak(c).client(), speak(c).server(31337))
	k.MSS = 400
	k.Open()
	k.Send(up, []byte("GET /x HTTP/1.1\r\nHost: Host.Example\r\nX-Odd:  MiXed \t Case; \"q\"=1 \r\n\r\n"))
	at := len(c.Frames)
	k.Send(down, append([]byte("HTTP/1.1 200 OK\r\nX-Answer: KeepMe As-Is\r\nTransfer-Encoding: chunked\r\n\r\n"), chunked(speak(c).words(2500), 600)...))
	k.Close()
	f := whole(t, 1, c.Frames).convs[0]
	want(t, "app", f.conv.App, "http")
	want(t, "known by", f.conv.AppBy, ntpac.ByContent)
	find := func(f *found) record {
		for _, a := range f.artifacts {
			if a.text("type") == "http" {
				return a
			}
		}
		t.Fatal("no exchange was found")
		return nil
	}
	a := find(f)
	want(t, "quality", a.text("quality"), "complete")
	want(t, "request headers", a.text("request_headers"), "Host: Host.Example\r\nX-Odd:  MiXed \t Case; \"q\"=1 \r\n")
	want(t, "response headers", a.text("response_headers"), "X-Answer: KeepMe As-Is\r\nTransfer-Encoding: chunked\r\n")
	size := record(a["response_body"].(map[string]any)).number("size")
	want(t, "size", size, 2500)

	lossy := slices.Delete(slices.Clone(c.Frames), at+3, at+4) // the third segment of the answer, with an acknowledgement before it
	f = whole(t, 1, lossy).convs[0]
	want(t, "holes", len(f.conv.In(down).Gaps), 1)
	a = find(f)
	want(t, "quality with a hole", a.text("quality"), "gapped")
	if n := record(a["response_body"].(map[string]any)).number("size"); n <= 0 || n >= size {
		t.Errorf("a partial body of %d bytes", n)
	}
}
