package reassembly_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"ntpac"
	"ntpac/balancer"
	"ntpac/internal/pcaptest"
	"ntpac/packet"
	"ntpac/reassembly"
)

// fragments gives a UDP datagram of n payload bytes in fragments, each as a frame.
func fragmentsOf(v6 bool, n, mtu int) (payload []byte, frames []pcaptest.Frame) {
	from, to := pcaptest.Client, pcaptest.Server
	if v6 {
		from, to = pcaptest.Client6, pcaptest.Server6
	}
	payload = make([]byte, n)
	for i := range payload {
		payload[i] = byte(i*i>>3 + i)
	}
	c := pcaptest.New()
	c.Fragments(from.Addr(), to.Addr(), ntpac.UDP, pcaptest.UDP(from, to, payload), mtu)
	return payload, c.Frames
}

// rebuild sends frames through a Fragments and gives the datagrams.
func rebuild(t testing.TB, g *reassembly.Fragments, frames []pcaptest.Frame) (out *ntpac.Batch) {
	t.Helper()
	out = &ntpac.Batch{}
	for _, b := range batchesOf(t, balancer.New(balancer.Config{Seed: seed}), 3, frames, 1000) {
		for i := range b.Packets {
			if p := &b.Packets[i]; p.Flags&ntpac.Fragment != 0 {
				g.Add(b, p, out)
			}
		}
	}
	return out
}

// checkDatagram decodes the datagram at i and compares payload and provenance with the frames.
func checkDatagram(t *testing.T, out *ntpac.Batch, i int, payload []byte, frames []pcaptest.Frame) {
	t.Helper()
	p := &out.Packets[i]
	frame := out.Frame(p)
	if v := packet.DecodeDatagram(frame, p); v != packet.OK {
		t.Fatalf("datagram %d: %v", i, v)
	}
	if got := packet.Payload(frame, p); !bytes.Equal(got, payload) {
		t.Errorf("datagram %d: %d bytes, want %d, or others", i, len(got), len(payload))
	}
	if s := packet.Checksum(frame, p); s != packet.SumOK {
		t.Errorf("datagram %d: checksum %v", i, s)
	}
	at := uint32(p.L4)
	for _, q := range out.Datagrams[p.Frag].Pieces {
		if q.Len == 0 {
			continue
		}
		if q.At != at || q.Index != 3 || q.Source != 103 {
			t.Errorf("piece %+v, want it at %d", q, at)
		}
		if !bytes.Equal(frame[q.At:q.At+q.Len], frames[q.Ord].Data[q.Pos:q.Pos+q.Len]) {
			t.Errorf("piece %+v is not from its frame", q)
		}
		at += q.Len
	}
	if int(at) != len(frame) {
		t.Errorf("pieces end at %d of %d", at, len(frame))
	}
}

func TestFragments(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, n := range []int{1300, 3000, 9001, 40000, 65400} {
			payload, frames := fragmentsOf(v6, n, 1280)
			r := rand.New(rand.NewPCG(uint64(n), 1))
			orders := map[string]func(){
				"in order": func() {},
				"reversed": func() {
					for i, j := 0, len(frames)-1; i < j; i, j = i+1, j-1 {
						frames[i], frames[j] = frames[j], frames[i]
					}
				},
				"shuffled":   func() { r.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] }) },
				"duplicated": func() { frames = append(frames[:len(frames):len(frames)], frames...) },
				"each twice": func() {
					var twice []pcaptest.Frame
					for _, f := range frames {
						twice = append(twice, f, f)
					}
					frames = twice
				},
			}
			for _, name := range []string{"in order", "reversed", "shuffled", "each twice", "duplicated"} {
				orders[name]()
				g := reassembly.NewFragments()
				out := rebuild(t, g, frames)
				if len(out.Packets) != 1 {
					t.Fatalf("%v %d %s: %d datagrams", v6, n, name, len(out.Packets))
				}
				checkDatagram(t, out, 0, payload, frames)
				if g.Flush(); g.Incomplete != 0 || g.Bad != 0 || g.Overlaps != 0 || g.Seen != uint64(len(frames)) || g.Rebuilt != 1 {
					t.Errorf("%v %d %s: %+v", v6, n, name, g)
				}
			}
		}
	}
}

// piece is a hand-made IPv4 fragment of the datagram with identification 77.
func piece(off int, more bool, data []byte) pcaptest.Frame {
	h := pcaptest.Header{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Proto: ntpac.UDP, TTL: 64, ID: 77}
	d := h.Datagram(data)
	v := off / 8
	if more {
		v |= 0x2000
	}
	d[6], d[7] = byte(v>>8), byte(v)
	d[10], d[11] = 0, 0
	f := pcaptest.Ether(d)
	return pcaptest.Frame{TS: base, Link: pcaptest.Ethernet, Data: f, Wire: len(f)}
}

func letters(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// What fragments say that contradict one another is decided by the first; nothing is invented.
func TestFragmentContradictions(t *testing.T) {
	udp := append([]byte{0, 1, 0, 2, 0, 40, 0, 0}, letters('a', 8)...) // header and eight bytes
	type want struct {
		payload          string // of the datagram, empty for none
		overlaps         uint64
		bad, incomplete  uint64
		pieces, furthers int
	}
	a, b, c := string(letters('a', 8)), string(letters('b', 8)), string(letters('c', 8))
	for _, x := range []struct {
		name   string
		frames []pcaptest.Frame
		want   want
	}{
		{"whole", []pcaptest.Frame{piece(0, true, udp), piece(16, false, letters('b', 24))}, want{payload: a + b + b + b, pieces: 2}},
		{"hole", []pcaptest.Frame{piece(0, true, udp), piece(24, false, letters('b', 16))}, want{incomplete: 1}},
		{"overlap, first wins", []pcaptest.Frame{piece(16, false, letters('b', 24)), piece(8, true, letters('c', 16)), piece(0, true, udp[:8])},
			want{payload: c + b + b + b, overlaps: 8, pieces: 3}},
		{"around", []pcaptest.Frame{piece(16, true, letters('b', 8)), piece(8, false, letters('c', 32)), piece(0, true, udp)},
			want{payload: c + b + c + c, overlaps: 8 + 8, pieces: 4, furthers: 1}},
		{"two ends, shorter first", []pcaptest.Frame{piece(16, false, letters('b', 8)), piece(0, true, udp[:16]), piece(24, false, letters('c', 8))},
			want{payload: a + b, pieces: 2, incomplete: 1}}, // the third waits in vain
		{"two ends, longer first", []pcaptest.Frame{piece(24, false, letters('b', 8)), piece(16, false, letters('c', 4)), piece(0, true, udp)},
			want{bad: 1, incomplete: 1}},
		{"behind the end", []pcaptest.Frame{piece(16, true, letters('b', 16)), piece(16, false, letters('c', 8)), piece(0, true, udp)},
			want{payload: a + b, overlaps: 8, pieces: 2}},
		{"a middle piece of no whole units", []pcaptest.Frame{piece(0, true, udp), piece(16, true, letters('b', 12)), piece(24, false, letters('c', 8))},
			want{payload: a + b + c, pieces: 3}},
		{"too long", []pcaptest.Frame{piece(0, true, udp), piece(65528, false, letters('b', 16))}, want{bad: 1, incomplete: 1}},
		{"empty", []pcaptest.Frame{piece(0, true, nil), piece(8, true, letters('b', 7))}, want{bad: 2}},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := reassembly.NewFragments()
			out := rebuild(t, g, x.frames)
			g.Flush()
			var got want
			got.overlaps, got.bad, got.incomplete = g.Overlaps, g.Bad, g.Incomplete
			if len(out.Packets) == 1 {
				p := &out.Packets[0]
				packet.DecodeDatagram(out.Frame(p), p)
				got.payload = string(packet.Payload(out.Frame(p), p))
				for _, q := range out.Datagrams[0].Pieces {
					if q.Len > 0 {
						got.pieces++
					}
					if q.Again {
						got.furthers++
					}
				}
			}
			if got != x.want {
				t.Errorf("got %+v, want %+v", got, x.want)
			}
		})
	}
}

// A datagram waits two minutes for its fragments; memory is bounded, and the oldest one goes first.
func TestFragmentLimits(t *testing.T) {
	_, frames := fragmentsOf(false, 3000, 1280)
	late := frames[len(frames)-1]
	late.TS += 121 * ntpac.Second
	g := reassembly.NewFragments()
	if out := rebuild(t, g, append(frames[:len(frames)-1:len(frames)-1], late)); len(out.Packets) != 0 || g.Incomplete != 1 {
		t.Errorf("a fragment was waited for too long: %+v", g)
	}
	c := pcaptest.New()
	c.Step = 1000
	for range 9000 { // first fragments only
		c.Fragments(pcaptest.Client.Addr(), pcaptest.Server.Addr(), ntpac.UDP, make([]byte, 1400), 1280)
		c.Frames = c.Frames[:len(c.Frames)-1]
	}
	g = reassembly.NewFragments()
	rebuild(t, g, c.Frames)
	before := g.Incomplete
	if g.Flush(); before < 4000 || g.Incomplete != 9000 {
		t.Errorf("%d were given up for memory, %d in all", before, g.Incomplete)
	}
	c = pcaptest.New()
	c.Step = 0
	for range 70000 { // one piece of one datagram again and again
		c.Raw(piece(0, true, make([]byte, 8)).Data)
	}
	g = reassembly.NewFragments()
	rebuild(t, g, c.Frames)
	if g.Bad == 0 {
		t.Errorf("pieces without end: %+v", g)
	}
}

// Fragments of a conversation are its packets: history, counts and the order of a capture's merge.
func TestFragmentedConversation(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		payload, frames := fragmentsOf(v6, 5000, 1280)
		frames = append(frames, frames[1]) // captured twice, at once
		frames[1], frames[2], frames[len(frames)-1] = frames[2], frames[len(frames)-1], frames[1]
		out := (&pipeline{batch: 100, merge: true}).run(t, frames)
		convs := out.convs()
		if len(convs) != 1 {
			t.Fatalf("%d conversations", len(convs))
		}
		v := convs[0]
		side := ntpac.A
		if v.c.Half[side].Packets == 0 {
			side = ntpac.B
		}
		h := v.c.Half[side]
		if !bytes.Equal(v.data[side], payload) || h.Packets+h.Duplicates != uint64(len(frames)) || h.Duplicates > 1 {
			t.Errorf("%+v of %d frames", h, len(frames))
		}
		at := int64(0)
		for i, e := range v.events {
			if e.Flags&ntpac.EvNoData != 0 {
				continue
			}
			if e.Start != at || !bytes.Equal(frames[e.Ord].Data[e.Pos:e.Pos+e.Len], payload[at:at+int64(e.Len)]) {
				t.Errorf("event %d: %+v, want it at %d", i, e, at)
			}
			at += int64(e.Len)
			if more := e.Flags&ntpac.EvMore != 0; more != (at < int64(len(payload))) {
				t.Errorf("event %d: more %v", i, more)
			}
		}
		if at != int64(len(payload)) {
			t.Error(fmt.Sprint("events end at ", at))
		}
	}
}
