package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"ntpac"
)

// settled checks what must hold of the damage of any source: places in order, apart from the packets,
// and adding up.
func settled(t testing.TB, d drained, size int) {
	t.Helper()
	var sum, at int64
	for _, x := range d.info.Damage {
		if x.Off < at || x.Len < 0 || x.Off+x.Len > int64(size) || x.Reason == "" {
			t.Fatalf("damage %+v after offset %d in %d bytes", x, at, size)
		}
		at, sum = x.Off+x.Len, sum+x.Len
	}
	if len(d.info.Damage) == d.info.Damaged && sum != d.info.Skipped {
		t.Fatalf("%d bytes passed over, but places of %d", d.info.Skipped, sum)
	}
	if (d.info.Damaged > 0) != errors.Is(d.err, ntpac.ErrDamaged) {
		t.Fatalf("%d places of damage and %v", d.info.Damaged, d.err)
	}
	end := int64(0)
	for i, off := range d.offs {
		if off < end || off+int64(len(d.pkts[i].data)) > int64(size) {
			t.Fatalf("packet %d: [%d, +%d) after %d in %d bytes", i, off, len(d.pkts[i].data), end, size)
		}
		end = off + int64(len(d.pkts[i].data))
		for _, x := range d.info.Damage {
			// A field alone may be wrong in a record that is kept.
			if x.Len > 4 && off < x.Off+x.Len && end > x.Off {
				t.Fatalf("packet %d: [%d, %d) lies in damage %+v", i, off, end, x)
			}
		}
	}
}

// A capture cut anywhere gives all packets before the cut, and says that it is cut.
func TestCutAtEveryByte(t *testing.T) {
	want := somePackets(12)
	for _, s := range shapes() {
		if s.name == "pcap-patched" {
			continue
		}
		file := s.build(want)
		for cut := range len(file.b) {
			f, err := Open(context.Background(), "-", Options{BlockSize: 4096, Stdin: bytes.NewReader(file.b[:cut])})
			if cut < 4 || err != nil {
				if cut >= 8 || !errors.Is(err, ntpac.ErrNotCapture) {
					t.Fatalf("%s cut at %d: %v", s.name, cut, err)
				}
				continue
			}
			d := drain(t, f, 5)
			n := 0
			for n < len(want) && file.ends[n] <= cut {
				n++
			}
			same(t, d, want[:n], file)
			settled(t, d, cut)
			whole := slices.Contains(file.ends, cut) || slices.Contains(file.starts, cut)
			if whole != (d.err == io.EOF) && cut > file.starts[0] {
				t.Fatalf("%s cut at %d, where a record ends: %v; %v", s.name, cut, whole, d.err)
			}
		}
	}
}

func TestCompressedCutAtEveryByte(t *testing.T) {
	want := somePackets(40)
	file := shapeNamed(t, "pcap-le-us").build(want)
	for _, raw := range [][]byte{gzipped(file.b), zstded(file.b)} {
		for cut := range len(raw) {
			f, err := Open(context.Background(), "-", Options{BlockSize: 4096, Stdin: bytes.NewReader(raw[:cut])})
			if err != nil {
				if !errors.Is(err, ntpac.ErrNotCapture) {
					t.Fatal(err)
				}
				continue
			}
			d := drain(t, f, 5)
			same(t, d, want[:len(d.pkts)], nil)
			settled(t, d, len(file.b))
			if !errors.Is(d.err, ntpac.ErrDamaged) {
				t.Fatalf("cut at %d of %d: %v", cut, len(raw), d.err)
			}
		}
	}
}

// Whatever is inserted between two records is passed over, and nothing else.
func TestGarbageBetweenRecords(t *testing.T) {
	want := somePackets(12)
	random := make([]byte, 5000)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(random)
	garbage := map[string][]byte{
		"one byte": {7}, "zeros": make([]byte, 4096), "ones": bytes.Repeat([]byte{0xff}, 333), "random": random,
		"text": bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 100), "small numbers": bytes.Repeat([]byte{0, 0, 0, 5, 0, 9, 0, 1, 0, 3}, 999),
	}
	for _, s := range shapes() {
		if s.name == "pcap-patched" {
			continue
		}
		file := s.build(want)
		for what, g := range garbage {
			for k := range file.starts {
				at := file.starts[k]
				raw := slices.Concat(file.b[:at], g, file.b[at:])
				d := readAll(t, raw, Options{BlockSize: 4096})
				if !slices.Equal(d.pkts, want) {
					t.Errorf("%s, %s before record %d: %d packets: %+v", s.name, what, k, len(d.pkts), d.info.Damage)
					continue
				}
				settled(t, d, len(raw))
				if d.info.Skipped != int64(len(g)) || d.info.Damage[0].Off != int64(at) {
					t.Errorf("%s, %s before record %d at %d: %+v", s.name, what, k, at, d.info.Damage)
				}
			}
		}
	}
}

// A flipped bit in one record's header costs at most that packet and its neighbour.
func TestFlippedHeaderBits(t *testing.T) {
	want := somePackets(12)
	for _, s := range shapes() {
		if s.name == "pcap-patched" {
			continue
		}
		file := s.build(want)
		for k := range file.starts {
			for at := file.starts[k]; at < file.frames[k]; at++ {
				for bit := range 8 {
					raw := slices.Clone(file.b)
					raw[at] ^= 1 << bit
					d := readAll(t, raw, Options{BlockSize: 4096})
					settled(t, d, len(raw))
					lost := len(want)
					for _, p := range d.pkts {
						if slices.ContainsFunc(want, func(w pkt) bool { return w.data == p.data }) {
							lost--
						}
					}
					if lost > 2 {
						t.Errorf("%s: bit %d at %d, header byte %d of record %d: %d packets lost; %+v", s.name, bit, at, at-file.starts[k], k, lost, d.info.Damage)
					}
				}
			}
		}
	}
}

// Lost bytes in the middle cost the packets that lay there.
func TestHole(t *testing.T) {
	want := somePackets(30)
	for _, s := range shapes() {
		if s.name == "pcap-patched" {
			continue
		}
		file := s.build(want)
		for from := file.starts[10]; from < file.ends[12]; from += 13 {
			raw := slices.Concat(file.b[:from], file.b[file.frames[15]+5:])
			d := readAll(t, raw, Options{BlockSize: 4096})
			settled(t, d, len(raw))
			n := len(d.pkts)
			if n < 10+14 || !slices.Equal(d.pkts[:10], want[:10]) || !slices.Equal(d.pkts[n-14:], want[16:]) {
				t.Errorf("%s: hole from %d: %d packets, %+v", s.name, from, n, d.info.Damage)
			}
		}
	}
}

// A length that reaches beyond the end must not swallow the records before it.
func TestLengthBeyondTheEnd(t *testing.T) {
	want := somePackets(12)
	file := shapeNamed(t, "pcap-le-us").build(want)
	le.PutUint32(file.b[file.starts[5]+8:], 200_000)
	le.PutUint32(file.b[file.starts[5]+12:], 300_000)
	d := readAll(t, file.b, Options{})
	same(t, d, slices.Concat(want[:5], want[6:]), nil)
	settled(t, d, len(file.b))
}

func TestDamageIsCountedOnly(t *testing.T) {
	file := shapeNamed(t, "pcapng-le-ns").build(somePackets(3000))
	for _, end := range file.ends {
		file.b[end-1] ^= 1
	}
	d := readAll(t, file.b, Options{})
	i := d.info
	if i.Packets != 3000 || len(i.Damage) != maxDamage || i.Damaged != 3000 || i.Skipped != 4*3000 {
		t.Errorf("%d packets, %d of %d places, %d bytes", i.Packets, len(i.Damage), i.Damaged, i.Skipped)
	}
}

// A source that fails in the middle gives what came before, and names its error.
func TestReadError(t *testing.T) {
	want := somePackets(200)
	file := shapeNamed(t, "pcap-le-us").build(want)
	broken := errors.New("the disk is broken")
	for _, raw := range [][]byte{file.b, gzipped(file.b)} {
		f, err := Open(context.Background(), "-", Options{Hash: true, Stdin: io.MultiReader(bytes.NewReader(raw[:len(raw)-9]), failing{broken})})
		if err != nil {
			t.Fatal(err)
		}
		d := drain(t, f, 1000)
		if len(d.pkts) < 150 || !errors.Is(d.err, broken) || !errors.Is(d.err, ntpac.ErrDamaged) || !d.info.SHA256.IsZero() {
			t.Errorf("%d packets, %v", len(d.pkts), d.err)
		}
	}
}

// Odd, but sound.
func TestOddities(t *testing.T) {
	base := func(s string, n int) ([]pkt, *file) {
		ps := somePackets(n)
		return ps, shapeNamed(t, s).build(ps)
	}
	ok := func(name string, want []pkt, raw []byte) {
		t.Helper()
		d := readAll(t, raw, Options{BlockSize: 4096})
		if !slices.Equal(d.pkts, want) || d.err != io.EOF {
			t.Errorf("%s: %v\n%v\nwant\n%v", name, d.err, d.pkts, want)
		}
	}
	ps, f := base("pcap-le-us", 5)
	for i, start := range f.starts { // pcap 2.2: the original length comes first
		le.PutUint32(f.b[start+8:], ps[i].wire)
		le.PutUint32(f.b[start+12:], uint32(len(ps[i].data)))
	}
	le.PutUint32(f.b[4:], 2<<16|2)
	ok("version 2.2", ps, f.b)
	le.PutUint32(f.b[4:], 3<<16|2)
	ok("version 2.3", ps, f.b)

	ps, f = base("pcap-be-ns", 5)
	be.PutUint32(f.b[0:], magicMicro)
	be.PutUint32(f.b[4:], 2<<16|2)
	be.PutUint32(f.b[20:], 6)
	for i, start := range f.starts {
		be.PutUint32(f.b[start+8:], ps[i].wire)
		be.PutUint32(f.b[start+12:], uint32(len(ps[i].data)))
	}
	ok("AIX", ps, f.b)

	ps, f = base("pcap-le-us", 5)
	for i := range ps {
		ps[i].wire = 10
		le.PutUint32(f.b[f.starts[i]+12:], 10)
	}
	ok("more captured than on the wire", ps, f.b)

	ps, f = base("pcap-le-us", 9)
	for i := range ps {
		ps[i].ts = ntpac.Time(uint32(i*i*1e8+7)) * ntpac.Second
		le.PutUint32(f.b[f.starts[i]:], uint32(ps[i].ts/ntpac.Second))
		le.PutUint32(f.b[f.starts[i]+4:], 0)
	}
	ok("times far apart", ps, f.b)

	big := []pkt{{testStart, 1, 3 << 20, string(bytes.Repeat([]byte("big"), 1<<20))}}
	big = slices.Concat(somePackets(3), big, somePackets(3))
	for _, s := range []string{"pcap-le-us", "pcapng-be-us", "snoop"} {
		ok("a record larger than a block in "+s, big, shapeNamed(t, s).build(big).b)
	}
}

func TestImpossibleFraction(t *testing.T) {
	want := somePackets(6)
	f := shapeNamed(t, "pcap-le-us").build(want)
	le.PutUint32(f.b[f.starts[3]+4:], 1e6)
	want[3].ts -= want[3].ts % ntpac.Second
	d := readAll(t, f.b, Options{})
	same(t, d, want, f)
	if settled(t, d, len(f.b)); d.info.Damaged != 1 || d.info.Damage[0].Off != int64(f.starts[3]+4) {
		t.Errorf("%+v", d.info.Damage)
	}
}
