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

// fuzz reads anything as it comes from a pipe, then twice as from a file, whole and in small pieces: all must
// end and hold what settled says, and those from a file agree. (A pipe's reader may take a record before its
// successor has come, so what it makes of damage depends on when that comes.)
func fuzz(t *testing.T, raw []byte) {
	pipe, opened := readAny(t, bytes.NewReader(raw), 0, true)
	if !opened || pipe.info.Format != formatOf(raw) {
		return
	}
	settled(t, pipe, len(raw))
	d, _ := readAny(t, bytes.NewReader(raw), 0, false)
	settled(t, d, len(raw))
	e, _ := readAny(t, &atMost{bytes.NewReader(raw), 50}, 1, false)
	if !slices.Equal(d.pkts, e.pkts) || !slices.Equal(d.info.Damage, e.info.Damage) {
		t.Fatalf("whole %d packets, %+v; in pieces %d packets, %+v", len(d.pkts), d.info.Damage, len(e.pkts), e.info.Damage)
	}
}

// formatOf is the format of bytes that are not compressed.
func formatOf(raw []byte) string { return sniff(raw).String() }

// readAny reads bytes that may be no capture, as from a pipe or as from a file.
func readAny(t *testing.T, r io.Reader, block int, pipe bool) (d drained, opened bool) {
	t.Helper()
	f, err := Open(context.Background(), "-", Options{BlockSize: block, Stdin: r})
	if err != nil {
		if !errors.Is(err, ntpac.ErrNotCapture) {
			t.Fatal(err)
		}
		return d, false
	}
	f.eager = pipe
	n := 100
	if block > 0 {
		n = 3
	}
	return drain(t, f, n), true
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
		got, opened := readAny(t, bytes.NewReader(raw), 0, false)
		if opened {
			settled(t, got, enough)
		}
		if flip == 0 && cut == 0 && how%4 != 0 {
			want, ok := readAny(t, bytes.NewReader(plain), 0, false)
			if sniff(plain) == gzipFile || sniff(plain) == zstdFile { // one layer too many, or the same again
				return
			}
			if ok != opened || !slices.Equal(got.pkts, want.pkts) || !slices.Equal(got.info.Damage, want.info.Damage) {
				t.Fatalf("compressed %v, %d packets, %+v; alone %v, %d packets, %+v", opened, len(got.pkts), got.info.Damage, ok, len(want.pkts), want.info.Damage)
			}
		}
	})
}
