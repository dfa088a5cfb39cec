package reassembly_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/reassembly"
)

// opLen bytes make one packet of the fuzzer's little language: what and who, where (2), how long, what
// it acknowledges (2), when, how it was captured.
const opLen = 8

// decodeOps builds the packets of a program. Sequence numbers lie near one another, or so far away that
// no stream reaches there: a hole of megabytes costs the test's memory, and shows nothing more.
func decodeOps(ops []byte) []pcaptest.Frame {
	c := pcaptest.New()
	c.Step = 0
	ends := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:80"), netip.MustParseAddrPort("10.0.0.2:81")}
	for len(ops) >= opLen {
		o := ops[:opLen]
		ops = ops[opLen:]
		dir := ntpac.Dir(o[0] & 1)
		k := c.TCP(ends[0], ends[1+o[0]>>1&1])
		where := uint32(o[1])<<8 | uint32(o[2])
		if o[7]&1 != 0 {
			where += 0x20000000 + uint32(o[2]&3)<<29
		}
		seq, ack := 0xffffff00+where, 0xffff8000+uint32(o[4])<<8+uint32(o[5])
		if dir == ntpac.Down {
			seq, ack = 0xffff8000+where, 0xffffff00+uint32(o[4])<<8+uint32(o[5])
		}
		c.Now += ntpac.Time(o[6]&31) * ntpac.Second / 50
		if o[6]>>5 == 7 {
			c.Now += 300 * ntpac.Second
		}
		data := make([]byte, int(o[3])*4)
		for i := range data {
			data[i] = byte(seq) + byte(i)
			if o[7]&2 != 0 {
				data[i]++ // a conflict
			}
		}
		if c.Snap = 0; o[7]&4 != 0 {
			c.Snap = 100
		}
		if o[7]&64 != 0 {
			c.UDP(k.End[dir], k.End[dir.Other()], data)
		} else {
			k.At(dir, o[0]>>2&(pcaptest.FIN|pcaptest.SYN|pcaptest.RST|pcaptest.PSH|pcaptest.ACK), seq, ack, data)
		}
		f := &c.Frames[len(c.Frames)-1]
		if o[7]&8 != 0 && len(f.Data) > 55 {
			f.Data[50] ^= 1 // of the checksum
		}
		if o[7]&16 != 0 {
			f.TS -= ntpac.Time(o[6]) * ntpac.Second / 50
		}
		if o[7]&32 != 0 {
			c.Frames = append(c.Frames, *f)
		}
	}
	return c.Frames
}

// FuzzReassembly: whatever comes, nothing panics, streams go on where they were, counters agree with what
// was emitted (see record), memory comes back, and batches and clocks change nothing.
func FuzzReassembly(f *testing.F) {
	hello := []byte{2 << 2, 0, 0xff, 0, 0, 0, 1, 0}
	f.Add(append(hello, 1|18<<2, 0, 0xff, 0, 1, 0, 1, 0, 16<<2, 1, 0, 25, 1, 0, 1, 0, 17<<2, 1, 100, 0, 1, 0, 1, 0))
	f.Add([]byte{16 << 2, 1, 0, 9, 0, 0, 0, 0, 16 << 2, 0, 200, 9, 0, 0, 3, 0, 1 | 16<<2, 1, 0, 9, 1, 0, 255, 2})
	f.Add([]byte{16 << 2, 1, 0, 40, 0, 0, 0, 4, 16 << 2, 2, 0, 40, 0, 0, 0, 4 | 32, 4 << 2, 2, 0, 0, 0, 0, 1, 0, 16 << 2, 3, 0, 3, 0, 0, 1, 1})
	f.Add([]byte{0, 0, 0, 9, 0, 0, 0, 64, 1, 0, 0, 9, 0, 0, 1, 64 | 32, 0, 0, 0, 9, 0, 0, 1, 64 | 16})
	r := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		b := make([]byte, 60*opLen)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		frames := decodeOps(ops[:min(len(ops), 200*opLen)])
		if len(frames) == 0 {
			return
		}
		cfg := reassembly.Config{MaxOrder: 20, Checksums: reassembly.Checksums(len(ops) % 3)}
		out := (&pipeline{cfg: cfg, batch: 1 << 20, merge: true}).run(t, frames)
		accounted(t, frames, cfg.Checksums, out)
		want := out.text(sameInput)
		// Which packets come late depends on how far a source is read ahead, so the batches stay as they are.
		x := &pipeline{cfg: cfg, batch: 1 << 20, merge: true, workers: 2, clock: rand.New(rand.NewPCG(1, 1))}
		if got := x.run(t, frames).text(sameInput); got != want {
			t.Errorf("clocks matter:\n%s", firstDifference(got, want))
		}
		if up, down, ok := apart(frames, ntpac.Second*9/10); ok {
			one := (&pipeline{cfg: cfg, batch: 1000, merge: true}).run(t, frames).text(otherSources)
			two := (&pipeline{cfg: cfg, batch: 1000, workers: 2}).run(t, up, down).text(otherSources)
			if one != two {
				t.Errorf("up and down apart matters:\n%s", firstDifference(two, one))
			}
		}
	})
}

// apart divides frames by direction. It is not ok where one comes later than the others by more than the
// window: what is too late then depends on the source.
func apart(frames []pcaptest.Frame, window ntpac.Time) (up, down []pcaptest.Frame, ok bool) {
	last := ntpac.Time(0)
	for _, f := range frames {
		if last = max(last, f.TS); f.TS < last-window {
			return nil, nil, false
		}
		if f.Data[14+15] == 1 {
			up = append(up, f)
		} else {
			down = append(down, f)
		}
	}
	return up, down, len(up) > 0 && len(down) > 0
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("got  %.700s\nwant %.700s", g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
