package capture

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"ntpac"
)

func TestWriter(t *testing.T) {
	ps := somePackets(50)
	for i := range ps {
		ps[i].ts += ntpac.Time(i) * 1001 // for nanoseconds
		if i%3 == 1 {
			ps[i].link = 101
		}
	}
	var b bytes.Buffer
	w := NewWriter(&b, PCAPNG)
	for _, p := range ps {
		if err := w.Packet(p.ts, p.link, p.wire, []byte(p.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	d := readAll(t, b.Bytes(), Options{})
	if same(t, d, ps, nil); d.err != io.EOF || d.info.Format != "pcapng" {
		t.Error(d.err, d.info.Format)
	}
	for _, f := range []Format{PCAP, PCAPNano} {
		b.Reset()
		w := NewWriter(&b, f)
		for i := range ps {
			ps[i].link = 113
			if f == PCAP {
				ps[i].ts -= ps[i].ts % 1000
			}
			if err := w.Packet(ps[i].ts, 113, ps[i].wire, []byte(ps[i].data)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if same(t, readAll(t, b.Bytes(), Options{}), ps, nil); w.Packet(0, 1, 1, []byte{0}) == nil || w.Flush() == nil {
			t.Error("a second link type in classic pcap")
		}
	}
	if w := NewWriter(&b, PCAP); w.Packet(-1, 1, 1, []byte{0}) == nil {
		t.Error("a time before 1970 in classic pcap")
	}
}

func TestWriterWithoutPackets(t *testing.T) {
	for _, f := range []Format{PCAPNG, PCAP, PCAPNano} {
		var b bytes.Buffer
		if err := NewWriter(&b, f).Flush(); err != nil {
			t.Fatal(err)
		}
		if d := readAll(t, b.Bytes(), Options{}); len(d.pkts) != 0 || d.err != io.EOF {
			t.Error(f, d.err)
		}
	}
}

type fullDisk struct{}

var errFull = errors.New("no space left")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriterFails(t *testing.T) {
	w := NewWriter(fullDisk{}, PCAPNG)
	var err error
	for range 100 {
		err = w.Packet(testStart, 1, 9000, make([]byte, 9000))
	}
	if err != errFull || w.Flush() != errFull {
		t.Error(err)
	}
	w = NewWriter(io.Discard, PCAPNG)
	if w.Packet(testStart, 1, 1, make([]byte, maxRecord+1)) == nil {
		t.Error("a frame that could not be read again")
	}
}

func TestWriterDoesNotAllocate(t *testing.T) {
	frame := make([]byte, 701)
	for _, f := range []Format{PCAPNG, PCAP} {
		w := NewWriter(io.Discard, f)
		w.Packet(testStart, 1, 701, frame)
		if n := testing.AllocsPerRun(1000, func() { w.Packet(testStart, 1, 701, frame) }); n > 0 {
			t.Errorf("format %d: %v allocations a packet", f, n)
		}
	}
}
