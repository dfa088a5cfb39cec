package node_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/node"
	"ntpac/reassembly"
	"ntpac/store/memory"
)

// damaged is traffic with everything in it that is not analysed, or not simply: lost, cut, doubled, forged,
// out of place, undecodable, and fragments of all kinds.
func damaged(seed uint64) *pcaptest.Capture {
	r := rand.New(rand.NewPCG(seed, 11))
	c := traffic()
	end := func(a netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) }
	for i := range 30 {
		k := c.TCP(end(alice, 41000+i), end(bob, 8000))
		if i%5 > 0 {
			k.Open()
		}
		for range 2 + r.IntN(20) {
			dir := ntpac.Dir(r.IntN(2))
			seq := k.Seq[dir]
			data := bytes.Repeat([]byte{byte(r.Uint32())}, 1+r.IntN(3000))
			k.Send(dir, data)
			switch r.IntN(12) {
			case 0: // again, and partly with other bytes
				k.At(dir, pcaptest.ACK, seq-5, k.Seq[1-dir], make([]byte, min(len(data), 200)))
			case 1: // far away
				k.At(dir, pcaptest.ACK, seq+1<<30, 0, []byte("forged"))
			case 2:
				k.Skip(dir, r.IntN(7000))
			case 3: // a keep-alive with its byte of garbage
				k.At(dir, pcaptest.ACK, k.Seq[dir]-1, k.Seq[1-dir], []byte{0})
			}
		}
		if i%3 == 0 {
			k.Packet(ntpac.Up, pcaptest.RST|pcaptest.ACK, []byte("no more"))
		} else {
			k.Close()
		}
	}
	for i := range 12 {
		n := len(c.Frames)
		c.Fragments(alice, bob, ntpac.UDP, pcaptest.UDP(end(alice, 7100+i), end(bob, 7001), make([]byte, 3000)), 600)
		switch i % 4 {
		case 1: // one is missing
			c.Frames = append(c.Frames[:n+1], c.Frames[n+2:]...)
		case 2: // one comes again, before and after the datagram is whole
			again := c.Frames[n+1]
			again.TS = c.Now
			c.Frames = append(c.Frames, again)
			c.Frames = append(c.Frames[:n+1], append([]pcaptest.Frame{c.Frames[n]}, c.Frames[n+1:]...)...)
		case 3: // one is cut
			c.Frames[n+1].Data = c.Frames[n+1].Data[:50]
		}
	}
	c.Fragments(alice, bob, ntpac.TCP, make([]byte, 1200), 600) // whole, and no segment
	c.Raw(append(bytes.Repeat([]byte{0xff}, 12), append([]byte{8, 6}, make([]byte, 40)...)...))
	c.Raw(append(make([]byte, 12), 0x88, 0xcc, 1, 2, 3))
	c.Raw(append(make([]byte, 12), 8, 0, 0x45, 0, 0, 10))
	var out []pcaptest.Frame
	for _, f := range c.Frames {
		switch r.IntN(25) {
		case 0:
			continue
		case 1:
			out = append(out, f)
		case 2:
			if len(f.Data) > 120 {
				f.Data = f.Data[:len(f.Data)-r.IntN(60)]
			}
		case 3:
			if len(f.Data) > 60 { // wrong checksum
				f.Data = bytes.Clone(f.Data)
				f.Data[len(f.Data)-1] ^= 0x11
			}
		case 4:
			f.Data = f.Data[:min(len(f.Data), 30)] // within its headers
		}
		out = append(out, f)
	}
	c.Frames = out
	return c
}

// Every packet and every byte that is read is accounted for, once, and the conversations in the store say the
// same as the sums.
func TestLedgerBalances(t *testing.T) {
	var useless node.FragmentLedger
	for seed := range uint64(8) {
		c := damaged(seed)
		for _, checksums := range []reassembly.Checksums{reassembly.ChecksumsAuto, reassembly.ChecksumsVerify, reassembly.ChecksumsIgnore} {
			st := memory.New()
			o := options()
			o.Checksums = checksums
			_, sum := run(t, st, o, write(t, "damaged.pcap", c.Frames))
			balanced(t, st, sum, uint64(len(c.Frames)))
			l := sum.Ledger
			if p := &l.Payload; p.Again == 0 || p.Duplicates == 0 || p.Outside == 0 || (p.Rejected > 0) != (checksums == reassembly.ChecksumsVerify) {
				t.Errorf("%+v", *p)
			}
			useless.Incomplete += l.Packets.Fragments.Incomplete
			useless.Bad += l.Packets.Fragments.Bad
			useless.Repeated += l.Packets.Fragments.Repeated
			useless.Undecodable += l.Packets.Fragments.Undecodable
			if len(l.Missing) < 2 || l.Cut.Packets == 0 || len(l.Packets.Undecodable) < 3 || l.Packets.Duplicates == 0 {
				t.Errorf("%+v", *l)
			}
			if t.Failed() {
				t.Fatalf("seed %d, checksums %d", seed, checksums)
			}
		}
	}
	if useless.Incomplete == 0 || useless.Bad == 0 || useless.Repeated == 0 || useless.Undecodable == 0 {
		t.Errorf("%+v", useless)
	}
}

// balanced checks the sums of a ledger, and that the store's conversations add up to them.
func balanced(t *testing.T, st ntpac.Store, sum *node.Summary, frames uint64) {
	t.Helper()
	l := sum.Ledger
	if l.Packets.Read != frames || l.Packets.Sum() != frames {
		t.Errorf("%d packets, %d read, %d accounted for: %+v", frames, l.Packets.Read, l.Packets.Sum(), l.Packets)
	}
	if l.Payload.Read != l.Payload.Sum() {
		t.Errorf("%d bytes of payload, %d accounted for: %+v", l.Payload.Read, l.Payload.Sum(), l.Payload)
	}
	var wire, all uint64
	for _, n := range sum.Balancer.Bytes {
		wire += n
	}
	if wire == 0 {
		t.Error("no bytes on the wire")
	}
	var packets, bytes, missing uint64
	causes := map[string]node.LedgerMissed{}
	for c, err := range st.Conversations(t.Context(), &ntpac.Query{Case: "test"}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Half {
			h := &c.Half[i]
			packets += h.Packets
			all += h.Packets + h.Duplicates
			bytes += uint64(h.Bytes)
			missing += uint64(h.Missing)
			for _, g := range h.Gaps {
				m := causes[g.Cause.String()]
				causes[g.Cause.String()] = node.LedgerMissed{Holes: m.Holes + 1, Bytes: m.Bytes + uint64(g.Len)}
			}
		}
	}
	if packets != l.Packets.Analysed || bytes != l.Payload.Streams || all > l.Packets.Analysed+l.Packets.Duplicates {
		t.Errorf("the conversations have %d packets and %d bytes: %+v", packets, bytes, *l)
	}
	for cause, m := range l.Missing {
		if m.Bytes != causes[cause].Bytes { // holes that touch are one in a conversation
			t.Errorf("missing for %s: the ledger says %+v, the conversations %+v", cause, m, causes[cause])
		}
		missing -= m.Bytes
	}
	if missing != 0 {
		t.Errorf("%d missing bytes have no cause", int64(missing))
	}
}

// The ledger is the same for any number of workers, and is written with the names of the contract.
func TestLedgerDoesNotDependOnPlacement(t *testing.T) {
	file := write(t, "damaged.pcap", damaged(3).Frames)
	var want string
	for _, workers := range []int{1, 2, 5} {
		o := options()
		o.Workers = workers
		_, sum := run(t, memory.New(), o, file)
		b, err := json.Marshal(sum.Ledger)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = string(b)
		}
		if string(b) != want {
			t.Errorf("%d workers: %s\nnot %s", workers, b, want)
		}
	}
}
