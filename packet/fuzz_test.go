package packet

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"ntpac"
)

// FuzzDecode checks what must hold for any bytes.
func FuzzDecode(f *testing.F) {
	for _, s := range samples() {
		f.Add(uint16(s.link), uint16(0), s.frame)
	}
	f.Fuzz(func(t *testing.T, link, cut uint16, frame []byte) {
		p, v := decode(ntpac.LinkType(link), frame, len(frame)+int(cut))
		check(t, "fuzz", frame, &p, v)
		again, w := decode(ntpac.LinkType(link), frame, len(frame)+int(cut))
		if w != v || again != p {
			t.Fatalf("two runs differ: %v %v", v, w)
		}
		d := ntpac.Packet{Wire: uint32(len(frame))}
		v = DecodeDatagram(frame, &d)
		check(t, "datagram", frame, &d, v)
	})
}

// FuzzOracle compares Ethernet frames with an independent decoder where the two read alike.
func FuzzOracle(f *testing.F) {
	for _, s := range samples() {
		if s.link == linkEthernet {
			f.Add(s.frame)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 1<<16 {
			compare(t, frame)
		}
	})
}

// compare reads a frame as Ethernet with both decoders.
func compare(t *testing.T, frame []byte) {
	p, v := decode(linkEthernet, frame, len(frame))
	if v != OK || p.Flags&ntpac.Fragment != 0 || !HasPorts(&p) || p.Proto != ntpac.TCP && p.Proto != ntpac.UDP {
		return
	}
	src, dst, proto, payload, ok := oracle(frame)
	if !ok {
		return
	}
	key, side := Key(frame, &p, false)
	if key.End[side] != src && key.End[0] != key.End[1] || key.End[side.Other()] != dst || p.Proto != proto {
		t.Errorf("%v -> %v %v, want %v -> %v %v", key.End[side], key.End[side.Other()], p.Proto, src, dst, proto)
	}
	if p.Flags&ntpac.BadLength == 0 && !bytes.Equal(Payload(frame, &p), payload) {
		t.Errorf("payload %x, want %x", Payload(frame, &p), payload)
	}
}

// oracle gives what gopacket finds in frames of Ethernet, tags, IP and a transport without any doubt:
// no tunnels (it follows other ones), no truncated layers.
func oracle(frame []byte) (src, dst netip.AddrPort, proto ntpac.Proto, payload []byte, ok bool) {
	pkt := gopacket.NewPacket(frame, layers.LinkTypeEthernet, gopacket.NoCopy)
	if pkt.ErrorLayer() != nil || pkt.Metadata().Truncated {
		return
	}
	var a, b netip.Addr
	for _, l := range pkt.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet, *layers.Dot1Q, *layers.IPv6HopByHop, *layers.IPv6Destination, gopacket.Payload, *gopacket.Payload:
		case *layers.IPv4:
			if a.IsValid() || l.Version != 4 {
				return
			}
			a, b = netip.AddrFrom4([4]byte(l.SrcIP)), netip.AddrFrom4([4]byte(l.DstIP))
		case *layers.IPv6:
			if a.IsValid() || l.Version != 6 || l.Length == 0 {
				return
			}
			a, b = netip.AddrFrom16([16]byte(l.SrcIP)), netip.AddrFrom16([16]byte(l.DstIP))
		case *layers.TCP:
			proto, payload = ntpac.TCP, l.Payload
			return netip.AddrPortFrom(a, uint16(l.SrcPort)), netip.AddrPortFrom(b, uint16(l.DstPort)), proto, payload, a.IsValid()
		case *layers.UDP:
			proto, payload = ntpac.UDP, l.Payload
			plain := !tunnelPort(uint16(l.SrcPort)) && !tunnelPort(uint16(l.DstPort))
			return netip.AddrPortFrom(a, uint16(l.SrcPort)), netip.AddrPortFrom(b, uint16(l.DstPort)), proto, payload, a.IsValid() && plain
		default:
			return
		}
	}
	return
}
