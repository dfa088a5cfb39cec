package packet

import (
	"net/netip"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
)

func decode(link ntpac.LinkType, frame []byte, wire int) (ntpac.Packet, Verdict) {
	p := ntpac.Packet{Link: link, Cap: uint32(len(frame)), Wire: uint32(wire)}
	v := Decode(frame, &p)
	return p, v
}

func TestDecode(t *testing.T) {
	for _, s := range samples() {
		p, v := decode(s.link, s.frame, len(s.frame))
		if v != OK {
			t.Errorf("%s: %v", s.name, v)
			continue
		}
		ends := [2]netip.AddrPort{pcaptest.Client, pcaptest.Server}
		if s.v6 {
			ends = [2]netip.AddrPort{pcaptest.Client6, pcaptest.Server6}
		}
		want := ntpac.FlowKey{Proto: s.proto, Tunnel: s.tunnel, TunnelID: s.id, VLAN: s.vlan, End: ends}
		if key, side := Key(s.frame, &p, true); key != want || side != ntpac.A {
			t.Errorf("%s: key %+v side %v, want %+v", s.name, key, side, want)
		}
		if got := string(Payload(s.frame, &p)); got != text || int(p.PayLen) != len(text) {
			t.Errorf("%s: payload %q of %d", s.name, got, p.PayLen)
		}
		if p.Flags&^ntpac.IPv6 != 0 || p.Flags&ntpac.IPv6 != 0 != s.v6 {
			t.Errorf("%s: flags %b", s.name, p.Flags)
		}
		if got := Checksum(s.frame, &p); got != SumOK {
			t.Errorf("%s: checksum %v", s.name, got)
		}
		if s.proto == ntpac.TCP {
			checkTCP(t, s, &p)
		}
	}
}

func checkTCP(t *testing.T, s sample, p *ntpac.Packet) {
	f := s.frame
	if Seq(f, p) != 1000 || Ack(f, p) != 2000 || Flags(f, p) != ACK|PSH || Window(f, p) != 512 || DataOffset(f, p) != 32 {
		t.Errorf("%s: seq %d ack %d flags %x window %d offset %d", s.name, Seq(f, p), Ack(f, p), Flags(f, p), Window(f, p), DataOffset(f, p))
	}
	if val, ecr, ok := Timestamps(f, p); !ok || val != 7 || ecr != 6 {
		t.Errorf("%s: timestamps %d %d %v", s.name, val, ecr, ok)
	}
}

// touch calls everything that reads a decoded packet; it must not panic.
func touch(f []byte, p *ntpac.Packet) (sum uint64) {
	Payload(f, p)
	Addrs(f, p)
	src, dst := Ports(f, p)
	sum += uint64(src) + uint64(dst) + uint64(TTL(f, p)) + uint64(IPID(f, p)) + uint64(Checksum(f, p))
	if p.Flags&ntpac.Fragment != 0 {
		FragmentInfo(f, p)
		AppendHeader(nil, f, p, 100)
	} else if p.Proto == ntpac.TCP {
		sum += uint64(Seq(f, p)+Ack(f, p)) + uint64(Flags(f, p)) + uint64(Window(f, p))
		Timestamps(f, p)
		WindowScale(f, p)
	}
	key, _ := Key(f, p, true)
	var k RawKey
	Raw(f, p, true, &k)
	if p.Flags&ntpac.Fragment == 0 && (k.FlowKey() != key || RawOf(key) != k) {
		panic("the raw key and the flow key are not the same")
	}
	return sum + Hash(&k, 1)
}

// check is what holds for every verdict.
func check(t *testing.T, name string, f []byte, p *ntpac.Packet, v Verdict) {
	if v >= Verdicts {
		t.Fatalf("%s: verdict %d", name, v)
	}
	if v != OK {
		return
	}
	if p.L3 > p.L4 || p.L4 > p.Pay || int(p.Pay)+int(p.PayCap) > len(f) || p.PayCap > p.PayLen {
		t.Fatalf("%s: L3 %d L4 %d Pay %d+%d of %d in %d", name, p.L3, p.L4, p.Pay, p.PayCap, p.PayLen, len(f))
	}
	touch(f, p)
}

// Every frame, cut by the snap length at every byte, and as if it had been sent that short.
func TestCut(t *testing.T) {
	for _, s := range samples() {
		whole, _ := decode(s.link, s.frame, len(s.frame))
		for n := range s.frame {
			f := s.frame[:n:n]
			p, v := decode(s.link, f, len(s.frame))
			check(t, s.name, f, &p, v)
			if v == Malformed {
				t.Errorf("%s: cut at %d: %v", s.name, n, v)
			}
			if v == OK && p.Flags&ntpac.Cut == 0 {
				t.Errorf("%s: cut at %d is not marked", s.name, n)
			}
			if v == OK && p.L4 == whole.L4 && p.PayLen != whole.PayLen {
				t.Errorf("%s: cut at %d: payload of %d, want %d", s.name, n, p.PayLen, whole.PayLen)
			}
			p, v = decode(s.link, f, n)
			check(t, s.name, f, &p, v)
			if v == Truncated {
				t.Errorf("%s: sent with %d bytes: %v", s.name, n, v)
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	bad := func(at int, b byte) []byte {
		f := pcaptest.Ether(tcp4())
		f[at] = b
		return f
	}
	deep := pcaptest.Ether(tcp4())
	for range maxHeaders {
		deep = pcaptest.Tag(0x8100, 1, deep)
	}
	for _, c := range []struct {
		name  string
		link  ntpac.LinkType
		frame []byte
		want  Verdict
	}{
		{"arp", linkEthernet, pcaptest.EtherType(0x0806, make([]byte, 28)), ARP},
		{"spanning tree", linkEthernet, pcaptest.EtherType(38, append([]byte{0x42, 0x42, 3}, make([]byte, 35)...)), NonIP},
		{"lldp", linkEthernet, pcaptest.EtherType(0x88cc, make([]byte, 40)), NonIP},
		{"beacon", link80211, append([]byte{0x80, 0}, make([]byte, 40)...), NonIP},
		{"protected", link80211, append([]byte{0x08, 0x41}, make([]byte, 40)...), Encrypted},
		{"link type", 9999, tcp4(), Unsupported},
		{"version", linkEthernet, bad(14, 0x55), Malformed},
		{"header length", linkEthernet, bad(14, 0x44), Malformed},
		{"total length", linkEthernet, bad(17, 5), Malformed},
		{"tcp offset", linkEthernet, bad(14+20+12, 0x40), Malformed},
		{"tcp offset beyond", linkEthernet, bad(14+20+12, 0xf0), Malformed},
		{"empty", linkEthernet, nil, Malformed},
		{"deep", linkEthernet, deep, TooDeep},
	} {
		if p, v := decode(c.link, c.frame, len(c.frame)); v != c.want {
			t.Errorf("%s: %v, want %v", c.name, v, c.want)
		} else {
			check(t, c.name, c.frame, &p, v)
		}
	}
}

func TestLengths(t *testing.T) {
	edit := func(at int, v uint16) []byte {
		f := pcaptest.Ether(udp4())
		f[at], f[at+1] = byte(v>>8), byte(v)
		return append(f, "more"...)
	}
	for _, c := range []struct {
		name    string
		frame   []byte
		payload string
		flags   ntpac.PacketFlags
	}{
		{"offloaded", edit(16, 0), text, 0}, // UDP's own length still ends it
		{"ip too long", edit(16, 2000), text, ntpac.BadLength},
		{"udp zero", edit(38, 0), text, 0},
		{"udp too long", edit(38, 99), text, ntpac.BadLength},
		{"udp too short", edit(38, 3), text, ntpac.BadLength},
		{"udp shorter", edit(38, 12), text[:4], 0},
	} {
		p, v := decode(linkEthernet, c.frame, len(c.frame))
		if got := string(Payload(c.frame, &p)); v != OK || got != c.payload || p.Flags != c.flags {
			t.Errorf("%s: %v, %q, flags %b", c.name, v, got, p.Flags)
		}
	}
}

// What only looks like a tunnel stays a flow.
func TestNoTunnel(t *testing.T) {
	inner := pcaptest.Ether(tcp4())
	short := pcaptest.Ether(tcp4())
	short[17] += 10 // the inner datagram claims more than the outer holds
	for _, port := range []uint16{portL2TP, portGTPU, portTeredo, portLISP, portGRE, portVXLAN, portVXLANGPE, portAYIYA, portGENEVE, portMPLS, portOTV} {
		for name, data := range map[string][]byte{"text": []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n and some more, to be long enough"),
			"zeros": make([]byte, 100), "short": {8}, "empty": nil, "vxlan of nothing": {8, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3},
			"too long": bytesOf([]byte{8, 0, 0, 0, 0, 0, 1, 0}, short)} {
			f := pcaptest.Ether(udpTo(port, data))
			p, v := decode(linkEthernet, f, len(f))
			if v != OK || p.Tunnel != ntpac.NoTunnel || p.Proto != ntpac.UDP || int(p.PayLen) != len(data) {
				t.Errorf("port %d, %s: %v %v %v, %d bytes", port, name, v, p.Tunnel, p.Proto, p.PayLen)
			}
		}
	}
	for name, d := range map[string][]byte{
		"gre keepalive": pcaptest.GRE(left, right, 0, 0, 0, nil), "gre arp": pcaptest.GRE(left, right, 0, 0x806, 0, make([]byte, 28)),
		"gre routing": pcaptest.GRE(left, right, 0x4000, 0x800, 0, tcp4()), "ipip garbage": pcaptest.IP(left, right, protoIPv4, inner),
	} {
		f := pcaptest.Ether(d)
		p, v := decode(linkEthernet, f, len(f))
		if v != OK || p.Tunnel != ntpac.NoTunnel || p.L4 != 34 {
			t.Errorf("%s: %v %v %v", name, v, p.Tunnel, p.Proto)
		}
	}
}

func TestICMPErrorIsNoFlow(t *testing.T) {
	f := pcaptest.Ether(pcaptest.IP(left, right, ntpac.ICMP, append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, tcp4()...)))
	p, v := decode(linkEthernet, f, len(f))
	src, dst := Ports(f, &p)
	a, b := Addrs(f, &p)
	if v != OK || p.Proto != ntpac.ICMP || src != 0 || dst != 0 || a != left || b != right {
		t.Errorf("%v %v %v:%d %v:%d", v, p.Proto, a, src, b, dst)
	}
}

func TestFragments(t *testing.T) {
	for _, ends := range [][2]netip.AddrPort{{pcaptest.Client, pcaptest.Server}, {pcaptest.Client6, pcaptest.Server6}} {
		data := make([]byte, 3000)
		for i := range data {
			data[i] = byte(i * 7)
		}
		whole := pcaptest.IP(ends[0].Addr(), ends[1].Addr(), ntpac.UDP, pcaptest.UDP(ends[0], ends[1], data))
		var key RawKey
		var rebuilt []byte
		parts := pcaptest.Fragment(whole, 1280)
		for i, d := range parts {
			f := pcaptest.Tag(0x8100, 3, pcaptest.Ether(d))
			p, v := decode(linkEthernet, f, len(f))
			if v != OK || p.Flags&ntpac.Fragment == 0 || p.Pay != p.L4 || p.Proto != ntpac.UDP {
				t.Fatalf("fragment %d: %v %+v", i, v, p)
			}
			check(t, "fragment", f, &p, v)
			var k RawKey
			if Raw(f, &p, false, &k); i == 0 {
				key = k
				rebuilt = AppendHeader(nil, f, &p, 3008)
			} else if k != key {
				t.Errorf("fragment %d has another key", i)
			}
			id, off, more := FragmentInfo(f, &p)
			if id == 0 || off != len(rebuilt)-len(whole)+3008 || more != (i < len(parts)-1) {
				t.Errorf("fragment %d: id %d offset %d more %v", i, id, off, more)
			}
			rebuilt = append(rebuilt, Payload(f, &p)...)
		}
		if string(rebuilt) != string(whole) {
			t.Errorf("the rebuilt datagram differs")
		}
		p := ntpac.Packet{Wire: uint32(len(rebuilt)), VLAN: 3, Flags: ntpac.Defragmented | ntpac.Fragment}
		if v := DecodeDatagram(rebuilt, &p); v != OK || p.VLAN != 3 || p.Flags&^ntpac.IPv6 != ntpac.Defragmented || int(p.PayLen) != len(data) {
			t.Errorf("rebuilt: %v %+v", v, p)
		}
	}
}

func TestTransports(t *testing.T) {
	ports := []byte{0x9c, 0x40, 0, 80}
	for _, c := range []struct {
		proto   ntpac.Proto
		data    []byte
		src     uint16
		payload int
		verdict Verdict
	}{
		{ntpac.SCTP, bytesOf(ports, make([]byte, 8), []byte(text)), 40000, len(text), OK},
		{protoUDPLite, bytesOf(ports, []byte{0, 8, 0, 0}, []byte(text)), 40000, len(text), OK},
		{protoDCCP, bytesOf(ports, []byte{4, 0, 0, 0}, make([]byte, 8), []byte(text)), 40000, len(text), OK},
		{89, []byte(text), 0, len(text), OK},
		{protoNone, nil, 0, 0, OK},
		{ntpac.SCTP, ports, 0, 0, Malformed},
		{ntpac.UDP, ports, 0, 0, Malformed},
		{protoDCCP, bytesOf(ports, []byte{2}, make([]byte, 20)), 0, 0, Malformed},
	} {
		f := pcaptest.IP(pcaptest.Client.Addr(), pcaptest.Server.Addr(), c.proto, c.data)
		p, v := decode(linkRaw, f, len(f))
		check(t, c.proto.String(), f, &p, v)
		if v != c.verdict {
			t.Errorf("%v: %v, want %v", c.proto, v, c.verdict)
		} else if src, _ := Ports(f, &p); v == OK && (src != c.src || int(p.PayLen) != c.payload || p.Proto != c.proto) {
			t.Errorf("%v: port %d, payload %d, %v", c.proto, src, p.PayLen, p.Proto)
		}
	}
}

// Mobility messages end a header chain; as headers they are passed over.
func TestMobility(t *testing.T) {
	message := ext6(protoMobility, protoNone, 0, 0, 0, 0, 0, 0, 0)
	p, v := decode(linkRaw, message, len(message))
	if v != OK || p.Proto != protoMobility || p.L4 != 40 {
		t.Errorf("message: %v %v", v, p.Proto)
	}
	header := ext6(protoMobility, 6, 0, 0, 0, 0, 0, 0, 0)
	if p, v = decode(linkRaw, header, len(header)); v != OK || p.Proto != ntpac.TCP {
		t.Errorf("header: %v %v", v, p.Proto)
	}
}

// The network header of a rebuilt datagram keeps the extension headers before the fragment header.
func TestAppendHeader(t *testing.T) {
	whole := ext6(0, bytesOf([]byte{51, 0, 1, 4, 0, 0, 0, 0, 6, 4}, make([]byte, 22))...)
	f := bytesOf(whole[:72], []byte{6, 0, 0, 1, 0, 0, 0, 9}, whole[72:]) // a first fragment of all the data
	f[5] += 8
	f[48] = protoFragment
	p, v := decode(linkRaw, f, len(f))
	if v != OK || p.Flags&ntpac.Fragment == 0 {
		t.Fatalf("%v %+v", v, p)
	}
	if got := append(AppendHeader(nil, f, &p, int(p.PayLen)), Payload(f, &p)...); string(got) != string(whole) {
		t.Errorf("got  %x\nwant %x", got, whole)
	}
	if h := AppendHeader([]byte("before"), f, &p, 70000); h[6+4] != 0 || h[6+5] != 0 {
		t.Error("an overlong datagram has a length")
	}
}

func TestERSPAN3(t *testing.T) {
	head := []byte{0x20, 5, 0, 0, 0, 0, 0, 0, 0, 0, 2 << 2, 1} // an IP datagram, after 8 bytes of the platform's
	f := pcaptest.GRE(left, right, 0x1000, typeERSPAN3, 0, bytesOf(head, make([]byte, 8), tcp4()))
	if p, v := decode(linkRaw, f, len(f)); v != OK || p.Tunnel != ntpac.ERSPAN || p.Proto != ntpac.TCP {
		t.Errorf("%v %v %v", v, p.Tunnel, p.Proto)
	}
}

// The first fragment of a tunnel's datagram is a fragment, whatever it shows of the inside.
func TestFragmentedTunnel(t *testing.T) {
	d := pcaptest.VXLAN(left, right, 9, pcaptest.Ether(pcaptest.IP(left, right, ntpac.UDP, pcaptest.UDP(pcaptest.Client, pcaptest.Server, make([]byte, 2000)))))
	f := pcaptest.Fragment(d, 1400)[0]
	if p, v := decode(linkRaw, f, len(f)); v != OK || p.Flags&ntpac.Fragment == 0 || p.Tunnel != ntpac.NoTunnel {
		t.Errorf("%v %+v", v, p)
	}
}
