package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"ntpac"
)

func FuzzPcap(f *testing.F) {
	for _, s := range shapes() {
		if s.typ == 0 && s.name != "snoop" {
			seed(f, s.build(somePackets(6)))
		}
	}
	f.Fuzz(fuzz)
}

func FuzzSnoop(f *testing.F) {
	seed(f, shapeNamed(f, "snoop").build(somePackets(6)))
	f.Fuzz(fuzz)
}

func FuzzPcapng(f *testing.F) {
	for _, s := range shapes() {
		if s.typ != 0 {
			seed(f, s.build(somePackets(6)))
		}
	}
	f.Fuzz(fuzz)
}

func seed(f *testing.F, file *file) {
	f.Add(file.b)
	f.Add(file.b[:len(file.b)-20])
	f.Add(slices.Concat(file.b[:file.starts[3]], make([]byte, 100), file.b[file.starts[3]:]))
	b := slices.Clone(file.b)
	b[file.starts[2]+9] ^= 0x40
	f.Add(b)
}

// fuzz reads anything twice, whole and in small pieces: both must end, hold what settled says, and agree.
func fuzz(t *testing.T, raw []byte) {
	f, err := Open(context.Background(), "-", Options{Stdin: bytes.NewReader(raw)})
	if err != nil {
		if !errors.Is(err, ntpac.ErrNotCapture) {
			t.Fatal(err)
		}
		return
	}
	plain := len(f.stream.layers) == 0
	d := drain(t, f, 100)
	if !plain {
		return
	}
	settled(t, d, len(raw))
	f, err = Open(context.Background(), "-", Options{BlockSize: 1, Stdin: &atMost{bytes.NewReader(raw), 50}})
	if err != nil {
		t.Fatal(err)
	}
	f.eager = false // a pipe may take a record before its successor has come
	if e := drain(t, f, 3); !slices.Equal(d.pkts, e.pkts) || !slices.Equal(d.info.Damage, e.info.Damage) {
		t.Fatalf("whole %d packets, %+v; in pieces %d packets, %+v", len(d.pkts), d.info.Damage, len(e.pkts), e.info.Damage)
	}
}

// FuzzCompressed reads anything within gzip and zstd, and damages the compressed bytes. Without damage it
// reads what lies within as it is read alone. How tells what the bytes are: compressed already, or to be
// compressed in one way or another.
func FuzzCompressed(f *testing.F) {
	for _, name := range []string{"pcap-le-us", "pcapng-be-ns", "snoop"} {
		b := shapeNamed(f, name).build(somePackets(6)).b
		for how := range uint8(4) {
			f.Add(b, how, uint16(0), uint8(0), uint16(0))
			f.Add(b, how, uint16(30), uint8(0x10), uint16(3))
		}
		f.Add(gzipped(b), uint8(0), uint16(0), uint8(0), uint16(0))
		f.Add(slices.Concat(zstded(b), zstded(b)), uint8(0), uint16(20), uint8(1), uint16(0))
	}
	f.Fuzz(func(t *testing.T, plain []byte, how uint8, at uint16, flip uint8, cut uint16) {
		raw := slices.Clone(plain)
		switch how % 4 {
		case 1:
			raw = gzipped(plain)
		case 2:
			raw = zstded(plain)
		case 3:
			raw = zstded(gzipped(plain))
		}
		if n := len(raw) - int(cut); n > 0 {
			raw = raw[:n]
		}
		if int(at) < len(raw) {
			raw[at] ^= flip
		}
		const enough = 4 << 20
		if s, err := unwrap(bytes.NewReader(raw)); err == nil { // a bomb is only slow
			n, _ := io.CopyN(io.Discard, s.r, enough)
			s.stop()
			if n == enough {
				return
			}
		}
		got, opened := readAny(t, raw)
		if opened {
			settled(t, got, enough)
		}
		if flip == 0 && cut == 0 && how%4 != 0 {
			want, ok := readAny(t, plain)
			if sniff(plain) == gzipFile || sniff(plain) == zstdFile { // one layer too many, or the same again
				return
			}
			if ok != opened || !slices.Equal(got.pkts, want.pkts) || !slices.Equal(got.info.Damage, want.info.Damage) {
				t.Fatalf("compressed %v, %d packets, %+v; alone %v, %d packets, %+v", opened, len(got.pkts), got.info.Damage, ok, len(want.pkts), want.info.Damage)
			}
		}
	})
}

// readAny reads bytes that may be no capture.
func readAny(t *testing.T, raw []byte) (d drained, opened bool) {
	f, err := Open(context.Background(), "-", Options{Stdin: bytes.NewReader(raw)})
	if err != nil {
		if !errors.Is(err, ntpac.ErrNotCapture) {
			t.Fatal(err)
		}
		return d, false
	}
	return drain(t, f, 100), true
}
