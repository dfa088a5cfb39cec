package packet

import (
	"encoding/binary"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name    string
		options []byte
		val     uint32
		stamps  bool
		shift   uint8
		scale   bool
	}{
		{name: "none"},
		{name: "stamps", options: pcaptest.StampOption(3, 2), val: 3, stamps: true},
		{name: "syn", options: []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7}, val: 9, stamps: true, shift: 7, scale: true},
		{name: "end", options: []byte{0, 3, 3, 7}},
		{name: "length zero", options: []byte{2, 0, 3, 3, 7, 1, 1, 1}},
		{name: "length beyond", options: []byte{1, 1, 8, 10}},
		{name: "wrong length", options: []byte{3, 4, 7, 7}},
	} {
		s := pcaptest.Segment{Src: pcaptest.Client, Dst: pcaptest.Server, Options: c.options}
		f := pcaptest.Ether(pcaptest.IP(pcaptest.Client.Addr(), pcaptest.Server.Addr(), ntpac.TCP, s.Bytes(nil)))
		p, v := decode(linkEthernet, f, len(f))
		if v != OK {
			t.Fatalf("%s: %v", c.name, v)
		}
		val, _, stamps := Timestamps(f, &p)
		shift, scale := WindowScale(f, &p)
		if val != c.val || stamps != c.stamps || shift != c.shift || scale != c.scale {
			t.Errorf("%s: timestamp %d %v, shift %d %v", c.name, val, stamps, shift, scale)
		}
	}
}

func TestChecksum(t *testing.T) {
	flip := func(f []byte, at int) []byte {
		f[at] ^= 1
		return f
	}
	zero := func(f []byte, at int) []byte {
		f[at], f[at+1] = 0, 0
		return f
	}
	icmp := pcaptest.Ether(pcaptest.IP(left, right, ntpac.ICMP, []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1}))
	for _, c := range []struct {
		name  string
		frame []byte
		want  Sum
	}{
		{"tcp", pcaptest.Ether(tcp4()), SumOK},
		{"tcp payload", flip(pcaptest.Ether(tcp4()), 70), SumBad},
		{"tcp6 payload", flip(pcaptest.Ether(tcp6()), 90), SumBad},
		{"ip header", flip(pcaptest.Ether(tcp4()), 22), SumBad},
		{"ip header left to the hardware", zero(pcaptest.Ether(tcp4()), 24), SumOK},
		{"udp without", zero(pcaptest.Ether(udp4()), 40), SumUnknown},
		{"udp payload", flip(pcaptest.Ether(udp4()), 45), SumBad},
		{"icmp", icmp, SumOK},
		{"icmp payload", flip(append([]byte(nil), icmp...), 40), SumBad},
		{"other", pcaptest.Ether(pcaptest.IP(left, right, 89, make([]byte, 20))), SumUnknown},
		{"left to the hardware", offloaded(), SumUnknown},
		{"odd length", pcaptest.Ether(pcaptest.IP(left, right, ntpac.UDP, pcaptest.UDP(pcaptest.Client, pcaptest.Server, []byte("odd")))), SumBad}, // of other addresses
	} {
		p, v := decode(linkEthernet, c.frame, len(c.frame))
		if got := Checksum(c.frame, &p); v != OK || got != c.want || ChecksumOK(c.frame, &p) != (c.want != SumBad) {
			t.Errorf("%s: %v %v, want %v", c.name, v, got, c.want)
		}
	}
}

// offloaded is what Linux captures of its own: the checksum field holds the sum over the pseudo header.
func offloaded() []byte {
	f := pcaptest.Ether(tcp4())
	tcp := f[34:]
	pseudo := append(append([]byte(nil), f[26:34]...), 0, 6, byte(len(tcp)>>8), byte(len(tcp)))
	binary.BigEndian.PutUint16(tcp[16:], ^pcaptest.Sum(pseudo, 0))
	return f
}

// The addresses that IPv6 checksums are computed over are not always those of the header.
func TestFinalAddresses(t *testing.T) {
	client, server, relay := pcaptest.Client6.Addr(), pcaptest.Server6.Addr(), right6
	segment := tcp6()[40:]
	route := append([]byte{6, 2, 0, 1, 0, 0, 0, 0}, server.AsSlice()...)
	home := append([]byte{6, 2, 0, 1, 1, 0, 0xc9, 16}, client.AsSlice()...)
	for name, h := range map[string]pcaptest.Header{
		"routing header": {Src: client, Dst: relay, Proto: protoRouting, Options: route},
		"home address":   {Src: left6, Dst: server, Proto: protoDestOpts, Options: home},
	} {
		f := pcaptest.Ether(h.Datagram(segment))
		p, v := decode(linkEthernet, f, len(f))
		if got := Checksum(f, &p); v != OK || got != SumOK {
			t.Errorf("%s: %v %v", name, v, got)
		}
	}
}

func TestCounters(t *testing.T) {
	var a, b Counters
	a[ARP], b[ARP], b[OK] = 1, 2, 5
	a.Add(&b)
	if m := a.Map(); len(m) != 2 || m["arp"] != 3 || m["ok"] != 5 {
		t.Errorf("%v", m)
	}
	if Verdicts.String() != "unknown" {
		t.Error(Verdicts.String())
	}
}

func TestAllocations(t *testing.T) {
	all := samples()
	if n := testing.AllocsPerRun(10, func() {
		for i := range all {
			p, _ := decode(all[i].link, all[i].frame, len(all[i].frame))
			var k RawKey
			Raw(all[i].frame, &p, false, &k)
			Hash(&k, 1)
			Key(all[i].frame, &p, false)
			Checksum(all[i].frame, &p)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
