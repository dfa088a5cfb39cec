package reassembly_test

import (
	"encoding/binary"
	"testing"

	"ntpac"
	"ntpac/balancer"
	"ntpac/internal/pcaptest"
	"ntpac/packet"
	"ntpac/reassembly"
)

// fragLen bytes make one fragment of the fuzzer's little language: whose, offset (2, in units), length (2),
// what it is like, how much later it comes.
const fragLen = 7

// frag is a fragment as the fuzzer means it.
type frag struct {
	key   int // of its datagram
	off   int
	n     int
	more  bool
	cut   bool
	ts    ntpac.Time
	frame pcaptest.Frame
}

func decodeFragments(ops []byte) (fs []frag) {
	now := base
	for len(ops) >= fragLen {
		o := ops[:fragLen]
		ops = ops[fragLen:]
		f := frag{key: int(o[0] & 15), off: (int(o[1])<<8 | int(o[2])) & 0x1fff * 8, n: int(o[3])<<8 | int(o[4]), more: o[5]&1 != 0, cut: o[5]&2 != 0}
		if f.n = min(f.n&0x7ff, 1480); f.off == 0 && !f.more {
			continue // a whole datagram
		}
		if now += ntpac.Time(o[6]&31) * ntpac.Second / 100; o[6]>>5 == 7 {
			now += 100 * ntpac.Second
		}
		f.ts = now
		data := make([]byte, f.n)
		for i := range data {
			data[i] = byte((f.off+i)*7>>2) + byte(f.key)
			if o[5]&4 != 0 {
				data[i] ^= 0x55 // a contradiction
			}
		}
		d := fragmentHeader(&f).Datagram(fragmentBody(&f, data))
		if f.key < 8 {
			v := f.off / 8
			if f.more {
				v |= 0x2000
			}
			binary.BigEndian.PutUint16(d[6:], uint16(v))
		}
		b := pcaptest.Ether(d)
		f.frame = pcaptest.Frame{TS: f.ts, Link: pcaptest.Ethernet, Data: b, Wire: len(b)}
		if f.cut && f.n > 0 {
			f.frame.Data = b[:len(b)-1]
		}
		fs = append(fs, f)
	}
	return fs
}

// fragmentHeader is that of IPv4 for the lower half of the keys, of IPv6 for the others.
func fragmentHeader(f *frag) *pcaptest.Header {
	h := &pcaptest.Header{Src: pcaptest.Client.Addr(), Dst: pcaptest.Server.Addr(), Proto: ntpac.UDP, TTL: 64, ID: uint16(f.key)}
	if f.key >= 8 {
		h.Src, h.Dst, h.Proto = pcaptest.Client6.Addr(), pcaptest.Server6.Addr(), 44
	}
	return h
}

func fragmentBody(f *frag, data []byte) []byte {
	if f.key < 8 {
		return data
	}
	v := uint16(f.off)
	if f.more {
		v |= 1
	}
	b := binary.BigEndian.AppendUint16([]byte{byte(ntpac.UDP), 0}, v)
	b = binary.BigEndian.AppendUint32(b, uint32(f.key))
	return append(b, data...)
}

// FuzzFragments: whatever fragments come, a datagram is made only of what fragments said, each byte by the
// first that said it; pieces tell whose it is; the counters balance; and where fragments do not contradict
// one another, the datagram is made.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 24, 1, 0, 0, 0, 3, 0, 16, 1, 0, 0, 0, 5, 0, 9, 0, 0})
	f.Add([]byte{9, 0, 3, 0, 16, 0, 0, 9, 0, 0, 0, 24, 1, 1, 9, 0, 0, 0, 24, 5, 1, 9, 0, 0, 0, 24, 1, 255})
	f.Add([]byte{1, 0, 1, 0, 16, 1, 0, 1, 0, 2, 0, 16, 5, 0, 1, 0, 0, 0, 8, 1, 0, 1, 0, 3, 0, 7, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 40, 1, 0, 1, 0, 1, 0, 8, 0, 0, 1, 0, 3, 0, 16, 0, 0, 1, 0, 1, 0, 9, 2, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		fs := decodeFragments(ops[:min(len(ops), 300*fragLen)])
		var frames []pcaptest.Frame
		for i := range fs {
			frames = append(frames, fs[i].frame)
		}
		g := reassembly.NewFragments()
		out := &ntpac.Batch{}
		for _, b := range batchesOf(t, balancer.New(balancer.Config{Seed: seed}), 3, frames, 1000) {
			for i := range b.Packets {
				if p := &b.Packets[i]; p.Flags&ntpac.Fragment == 0 {
					t.Fatalf("no fragment: %+v", p)
				} else {
					g.Add(b, p, out)
				}
			}
		}
		g.Flush()
		used := make([]bool, len(fs))
		made := map[int]int{}
		for i := range out.Packets {
			made[builtFrom(t, fs, out, &out.Packets[i], used)]++
		}
		taken := uint64(0)
		for _, u := range used {
			if u {
				taken++
			}
		}
		n := uint64(len(fs))
		waiting := n - taken - g.Bad - g.Repeated
		if g.Seen != n || g.Rebuilt != uint64(len(out.Packets)) || taken+g.Bad+g.Repeated > n || g.Incomplete > waiting || g.Incomplete == 0 && waiting > 0 {
			t.Errorf("%d fragments, %d in datagrams, %d datagrams, %+v", n, taken, len(out.Packets), g)
		}
		for key := range 16 {
			if made[key] == 0 && complete(fs, key) {
				t.Errorf("datagram %d was not made: %+v", key, g)
			}
		}
	})
}

// builtFrom checks a datagram against the fragments that it says it was made of, and gives its key.
func builtFrom(t *testing.T, fs []frag, out *ntpac.Batch, p *ntpac.Packet, used []bool) int {
	t.Helper()
	frame := out.Frame(p)
	body := frame[p.L4:]
	pieces := out.Datagrams[p.Frag].Pieces
	key := fs[pieces[0].Ord].key
	mine := map[uint64]bool{}
	for _, q := range pieces {
		if fs[q.Ord].key != key || used[q.Ord] && !mine[q.Ord] || mine[q.Ord] != q.Again {
			t.Fatalf("piece %+v of datagram %d", q, key)
		}
		mine[q.Ord], used[q.Ord] = true, true
	}
	at := uint32(p.L4)
	for _, q := range pieces {
		if q.Len == 0 {
			continue
		}
		from := fs[q.Ord].frame.Data
		if q.At != at || q.Index != 3 || q.Source != 103 || string(from[q.Pos:q.Pos+q.Len]) != string(frame[q.At:q.At+q.Len]) {
			t.Fatalf("piece %+v of datagram %d, want it at %d", q, key, at)
		}
		for x := q.At; x < q.At+q.Len; x++ {
			for ord := range mine {
				if ord < q.Ord && fs[ord].says(int(x)-int(p.L4), len(body)) {
					t.Fatalf("datagram %d: frame %d brought %d, but frame %d had said it", key, q.Ord, x, ord)
				}
			}
		}
		at += q.Len
	}
	if int(at) != len(frame) {
		t.Fatalf("datagram %d: pieces end at %d of %d", key, at, len(frame))
	}
	if v := packet.DecodeDatagram(frame, p); v == packet.OK && int(p.Pay)+int(p.PayCap) > len(frame) {
		t.Fatalf("%+v", p)
	}
	return key
}

// says reports whether a fragment brings the byte of a datagram with so many bytes: only the last one may
// bring less than whole units.
func (f *frag) says(at, total int) bool {
	n := f.n
	if f.more || f.off+n != total {
		n &^= 7
	}
	return at >= f.off && at < f.off+n
}

// complete reports whether the fragments of a datagram agree and are all there, near to one another.
func complete(fs []frag, key int) bool {
	end := -1
	var first, last ntpac.Time
	for i := range fs {
		f := &fs[i]
		if f.key != key {
			continue
		}
		if f.cut || f.off+f.n > 0xffff || f.n == 0 || f.more && f.n < 8 {
			return false
		}
		if first == 0 {
			first = f.ts
		}
		last = f.ts
		if !f.more {
			if end >= 0 && end != f.off+f.n {
				return false
			}
			end = f.off + f.n
		}
	}
	if end < 0 || last-first > 100*ntpac.Second {
		return false
	}
	have := make([]bool, end)
	for i := range fs {
		f := &fs[i]
		if f.key != key {
			continue
		}
		for at := f.off; at < f.off+f.n; at++ {
			if at >= end {
				return false
			}
			have[at] = have[at] || f.says(at, end)
		}
	}
	for _, h := range have {
		if !h {
			return false
		}
	}
	return true
}
