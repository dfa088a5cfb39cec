package pcaptest

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"ntpac"
)

// What is built is read back by an independent decoder, which also computes the checksums.
func TestConversation(t *testing.T) {
	for _, ends := range [][2]netip.AddrPort{{Client, Server}, {Client6, Server6}} {
		c := New()
		k := c.TCP(ends[0], ends[1])
		k.Stamps = true
		k.Seq[ntpac.Down] = 0xfffffff0
		k.Open()
		up, down := []byte("question"), bytes.Repeat([]byte("answer "), 1000)
		k.Send(ntpac.Up, up)
		k.Send(ntpac.Down, down)
		k.Close()
		c.UDP(ends[0], ends[1], []byte("odd"))

		var file bytes.Buffer
		if err := c.WritePcap(&file); err != nil {
			t.Fatal(err)
		}
		r, err := pcapgo.NewReader(&file)
		if err != nil {
			t.Fatal(err)
		}
		got := map[layers.TCPPort][]byte{}
		for i := range c.Frames {
			data, ci, err := r.ReadPacketData()
			if err != nil {
				t.Fatal(err)
			}
			if ci.Timestamp.UnixNano() != int64(c.Frames[i].TS) {
				t.Errorf("frame %d: time %v, want %v", i, ci.Timestamp, c.Frames[i].TS)
			}
			p := gopacket.NewPacket(data, layers.LinkTypeEthernet, gopacket.Default)
			if p.ErrorLayer() != nil {
				t.Fatalf("frame %d: %v", i, p.ErrorLayer().Error())
			}
			p.TransportLayer().(interface {
				SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
			}).SetNetworkLayerForChecksum(p.NetworkLayer())
			if err, bad := p.VerifyChecksums(); err != nil || len(bad) > 0 {
				t.Errorf("frame %d: checksums %v %v", i, err, bad)
			}
			if tcp, ok := p.TransportLayer().(*layers.TCP); ok {
				got[tcp.SrcPort] = append(got[tcp.SrcPort], tcp.Payload...)
			}
		}
		if !bytes.Equal(got[40000], up) || !bytes.Equal(got[80], down) {
			t.Errorf("streams differ: %d and %d bytes", len(got[40000]), len(got[80]))
		}
	}
}

func TestFragment(t *testing.T) {
	for _, ends := range [][2]netip.AddrPort{{Client, Server}, {Client6, Server6}} {
		whole := IP(ends[0].Addr(), ends[1].Addr(), ntpac.UDP, UDP(ends[0], ends[1], make([]byte, 3000)))
		head, n := 20, 0
		if ends[0].Addr().Is6() {
			head = 48
		}
		for _, f := range Fragment(whole, 1280) {
			if len(f) > 1280 {
				t.Errorf("a fragment of %d bytes", len(f))
			}
			n += len(f) - head
		}
		if n != 3008 {
			t.Errorf("fragments hold %d bytes, want 3008", n)
		}
	}
}
