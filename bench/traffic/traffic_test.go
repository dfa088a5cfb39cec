package traffic

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

func make3(t *testing.T, o Options) (whole, up, down []byte, st Stats) {
	t.Helper()
	var b [3]bytes.Buffer
	st, err := Write(Capture{&b[0], &b[1], &b[2]}, o)
	if err != nil {
		t.Fatal(err)
	}
	return b[0].Bytes(), b[1].Bytes(), b[2].Bytes(), st
}

func TestDeterministic(t *testing.T) {
	a, up, down, st := make3(t, Options{Size: 2 << 20, Seed: 1})
	b, _, _, _ := make3(t, Options{Size: 2 << 20, Seed: 1})
	if !bytes.Equal(a, b) {
		t.Error("the same options gave other bytes")
	}
	c, _, _, _ := make3(t, Options{Size: 2 << 20, Seed: 2})
	if bytes.Equal(a, c) {
		t.Error("another seed gave the same bytes")
	}
	if int64(len(a)) != st.Bytes || len(a) < 2<<20 || len(a) > 6<<20 {
		t.Errorf("%d bytes, told %d", len(a), st.Bytes)
	}
	if len(up)+len(down) != len(a)+24 {
		t.Errorf("taps of %d and %d bytes do not make %d", len(up), len(down), len(a))
	}
}

// TestFrames has another program's decoder find every frame sound, and TCP streams without holes.
func TestFrames(t *testing.T) {
	whole, _, _, st := make3(t, Options{Size: 1 << 20, Seed: 3})
	r, err := pcapgo.NewReader(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	var last int64
	n := int64(0)
	for ; ; n++ {
		data, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if now := ci.Timestamp.UnixNano(); now < last {
			t.Fatalf("packet %d: time goes back", n)
		} else {
			last = now
		}
		p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
		if l := p.ErrorLayer(); l != nil {
			t.Fatalf("packet %d: %v", n, l.Error())
		}
		if l, ok := p.TransportLayer().(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); !ok || l.SetNetworkLayerForChecksum(p.NetworkLayer()) != nil {
			t.Fatalf("packet %d: no transport", n)
		}
		if err, bad := p.VerifyChecksums(); err != nil || len(bad) > 0 {
			t.Fatalf("packet %d: checksums %v %v", n, err, bad)
		}
		for _, l := range p.Layers() {
			seen[l.LayerType().String()]++
		}
	}
	if n != st.Packets {
		t.Errorf("%d packets, told %d", n, st.Packets)
	}
	for _, l := range []string{"IPv4", "IPv6", "TCP", "UDP", "DNS", "Dot1Q"} {
		if seen[l] == 0 {
			t.Errorf("no %s in the capture: %v", l, seen)
		}
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := Write(Capture{}, Options{}); err == nil {
		t.Error("an empty capture was made")
	}
	if _, err := Write(Capture{Whole: full{}}, Options{Size: 5 << 20}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
	var s Size
	for v, want := range map[string]Size{"1500": 1500, "64k": 64 << 10, "3M": 3 << 20, "2G": 2 << 30} {
		if err := s.Set(v); err != nil || s != want {
			t.Errorf("%s: %d %v", v, s, err)
		}
	}
	for _, v := range []string{"", "M", "-1", "1.5G", "1MB", "99999999999G"} {
		if s.Set(v) == nil {
			t.Errorf("%q was taken", v)
		}
	}
}

type full struct{}

func (full) Write(b []byte) (int, error) { return 0, io.ErrShortWrite }
