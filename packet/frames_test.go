package packet

import (
	"net/netip"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// sample is a frame and what Decode must find in it. The flow is always the same conversation,
// from pcaptest.Client to pcaptest.Server or their IPv6 likes.
type sample struct {
	name   string
	link   ntpac.LinkType
	frame  []byte
	v6     bool
	proto  ntpac.Proto
	tunnel ntpac.Tunnel
	id     uint32
	vlan   uint16
}

const text = "what was said"

var (
	left, right   = netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	left6, right6 = netip.MustParseAddr("2001:db8:ffff::1"), netip.MustParseAddr("2001:db8:ffff::2")
)

func tcp4() []byte { return tcpFrom(pcaptest.Client, pcaptest.Server) }
func tcp6() []byte { return tcpFrom(pcaptest.Client6, pcaptest.Server6) }
func udp4() []byte {
	return pcaptest.IP(pcaptest.Client.Addr(), pcaptest.Server.Addr(), ntpac.UDP, pcaptest.UDP(pcaptest.Client, pcaptest.Server, []byte(text)))
}
func udp6() []byte {
	return pcaptest.IP(pcaptest.Client6.Addr(), pcaptest.Server6.Addr(), ntpac.UDP, pcaptest.UDP(pcaptest.Client6, pcaptest.Server6, []byte(text)))
}

func tcpFrom(src, dst netip.AddrPort) []byte {
	s := pcaptest.Segment{Src: src, Dst: dst, Seq: 1000, Ack: 2000, Flags: pcaptest.ACK | pcaptest.PSH, Window: 512, Options: pcaptest.StampOption(7, 6)}
	return pcaptest.IP(src.Addr(), dst.Addr(), ntpac.TCP, s.Bytes([]byte(text)))
}

// ext6 gives the TCP packet with IPv6 extension headers, the first of the given type.
func ext6(first ntpac.Proto, headers ...byte) []byte {
	h := pcaptest.Header{Src: pcaptest.Client6.Addr(), Dst: pcaptest.Server6.Addr(), Proto: first, TTL: 64, Options: headers}
	return h.Datagram(tcp6()[40:])
}

func bytesOf(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// dot11 gives an 802.11 data frame with LLC/SNAP.
func dot11(qos, fourth bool, datagram []byte) []byte {
	h := make([]byte, 24)
	h[0], h[1] = 0x08, 1
	if fourth {
		h[1] = 3
		h = append(h, make([]byte, 6)...)
	}
	if qos {
		h[0] = 0x88
		h = append(h, 0, 0)
	}
	return bytesOf(h, snap(datagram))
}

func snap(datagram []byte) []byte {
	return bytesOf([]byte{0xaa, 0xaa, 3, 0, 0, 0}, pcaptest.Ether(datagram)[12:14], datagram)
}

func samples() []sample {
	ether := func(name string, d []byte, s sample) sample {
		s.name, s.link, s.frame = name, linkEthernet, pcaptest.Ether(d)
		return s
	}
	raw := func(name string, link ntpac.LinkType, frame []byte) sample {
		return sample{name: name, link: link, frame: frame, proto: ntpac.TCP}
	}
	t, u := sample{proto: ntpac.TCP}, sample{proto: ntpac.UDP}
	t6, u6 := sample{proto: ntpac.TCP, v6: true}, sample{proto: ntpac.UDP, v6: true}
	all := []sample{
		ether("tcp", tcp4(), t), ether("udp", udp4(), u), ether("tcp6", tcp6(), t6), ether("udp6", udp6(), u6),
		raw("padding", linkEthernet, append(pcaptest.Ether(tcp4()), "padding"...)),
		raw("802.3", linkEthernet, pcaptest.EtherType(uint16(len(tcp4())+8), snap(tcp4()))),
		raw("llc", linkEthernet, pcaptest.EtherType(uint16(len(tcp4())+3), bytesOf([]byte{6, 6, 3}, tcp4()))),
		raw("pppoe", linkEthernet, pcaptest.EtherType(typePPPoE, pcaptest.PPPoE(5, tcp4()))),
		raw("mpls", linkEthernet, pcaptest.EtherType(typeMPLS, pcaptest.MPLS(tcp4(), 16, 17))),
		raw("mpls-ethernet", linkEthernet, pcaptest.EtherType(typeMPLS, pcaptest.MPLS(pcaptest.Ether(tcp4()), 16))),
		raw("mpls-control-word", linkEthernet, pcaptest.EtherType(typeMPLS, pcaptest.MPLS(append(make([]byte, 4), pcaptest.Ether(tcp4())...), 16))),
		raw("fabricpath", linkEthernet, pcaptest.EtherType(typeFabricPath, bytesOf([]byte{0, 1}, pcaptest.Ether(tcp4())))),
		raw("pbb", linkEthernet, pcaptest.EtherType(typePBB, bytesOf([]byte{0, 0, 0, 1}, pcaptest.Ether(tcp4())))),
		raw("vntag", linkEthernet, pcaptest.EtherType(typeVNTag, bytesOf([]byte{0, 1, 0, 2, 8, 0}, tcp4()))),
		raw("nsh", linkEthernet, pcaptest.EtherType(typeNSH, bytesOf([]byte{0, 2, 1, 1, 0, 0, 1, 255}, tcp4()))),
		raw("raw", linkRaw, tcp4()), raw("raw12", linkRaw12, tcp4()), raw("raw14", linkRaw14, tcp4()), raw("ipv4", linkIPv4, tcp4()),
		raw("null-le", linkNull, bytesOf([]byte{2, 0, 0, 0}, tcp4())), raw("null-be", linkNull, bytesOf([]byte{0, 0, 0, 2}, tcp4())),
		raw("null-type", linkNull, bytesOf([]byte{0xf, 0, 8, 0}, tcp4())),
		raw("dsa", linkDSA, bytesOf(make([]byte, 16), []byte{8, 0}, tcp4())), raw("edsa", linkEDSA, bytesOf(make([]byte, 20), []byte{8, 0}, tcp4())),
		raw("broadcom", linkBroadcom, bytesOf(make([]byte, 16), []byte{8, 0}, tcp4())), raw("broadcom-front", linkBroadcomP, bytesOf(make([]byte, 4), pcaptest.Ether(tcp4()))),
		raw("pktap", linkPKTAP, bytesOf([]byte{108, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, make([]byte, 96), pcaptest.Ether(tcp4()))),
		raw("prism", linkPrism, bytesOf([]byte{0, 0, 0, 0x44, 0, 0, 0, 144}, make([]byte, 136), dot11(false, false, tcp4()))),
		raw("avs", linkAVS, bytesOf([]byte{0x80, 0x21, 0x10, 1, 0, 0, 0, 64}, make([]byte, 56), dot11(false, false, tcp4()))),
		raw("cmd", linkEthernet, pcaptest.EtherType(typeCMD, bytesOf([]byte{1, 1, 0, 1, 0, 5, 8, 0}, tcp4()))),
		raw("trill", linkEthernet, pcaptest.EtherType(typeTRILL, bytesOf(make([]byte, 6), pcaptest.Ether(tcp4())))),
		raw("bridged", linkATM, bytesOf([]byte{0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7, 0, 0}, pcaptest.Ether(tcp4()))),
		raw("loop", linkLoop, bytesOf([]byte{0, 0, 0, 2}, tcp4())),
		raw("ppp", linkPPP, pcaptest.PPP(tcp4())), raw("ppp-hdlc", linkPPPSerial, bytesOf([]byte{0xff, 3}, pcaptest.PPP(tcp4()))),
		raw("ppp-short", linkPPP, bytesOf([]byte{0x21}, tcp4())),
		raw("ppp-cisco", linkPPPSerial, bytesOf([]byte{0x0f, 0, 8, 0}, tcp4())),
		raw("pppoe-link", linkPPPEther, pcaptest.PPPoE(5, tcp4())),
		raw("hdlc", linkHDLC, bytesOf([]byte{0x0f, 0, 8, 0}, tcp4())),
		raw("sll", linkSLL, bytesOf(make([]byte, 14), []byte{8, 0}, tcp4())),
		raw("sll2", linkSLL2, bytesOf([]byte{8, 0}, make([]byte, 18), tcp4())),
		raw("wlan", link80211, dot11(false, false, tcp4())), raw("wlan-qos", link80211, dot11(true, false, tcp4())), raw("wlan-wds", link80211, dot11(true, true, tcp4())),
		raw("radiotap", linkRadiotap, bytesOf([]byte{0, 0, 9, 0, 2, 0, 0, 0, 0x10}, dot11(false, false, tcp4()), make([]byte, 4))),
		raw("radiotap-pad", linkRadiotap, bytesOf([]byte{0, 0, 9, 0, 2, 0, 0, 0, 0x20}, dot11(true, false, tcp4())[:26], make([]byte, 2), snap(tcp4()))),
		raw("ppi", linkPPI, bytesOf([]byte{0, 0, 8, 0, 1, 0, 0, 0}, pcaptest.Ether(tcp4()))),
		raw("a-msdu", link80211, bytesOf([]byte{0x88, 1}, make([]byte, 22), []byte{0x80, 0}, make([]byte, 14), snap(tcp4()))),
		raw("ht-control", link80211, bytesOf([]byte{0x88, 0x81}, make([]byte, 28), snap(tcp4()))),
		raw("radiotap-timer", linkRadiotap, bytesOf([]byte{0, 0, 21, 0, 3, 0, 0, 0x80, 0, 0, 0, 0}, make([]byte, 4), make([]byte, 5), dot11(false, false, tcp4()))),
		raw("token-ring-routed", linkTokenRing, bytesOf(make([]byte, 8), []byte{0x80, 0, 0, 0, 0, 0, 4, 0, 0, 0}, snap(tcp4()))),
		raw("frame-relay-snap", linkFrameRelay, bytesOf([]byte{0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0}, tcp4())),
		raw("frame-relay-cisco", linkFrameRelay, bytesOf([]byte{0x18, 0x41, 8, 0}, tcp4())),
		raw("arcnet-bsd", linkARCNETBSD, bytesOf([]byte{1, 2, 240}, tcp4())),
		raw("arcnet-exception", linkARCNET, bytesOf([]byte{1, 2, 0, 0, 212, 0xff, 0, 0, 0, 0, 0, 1}, tcp4())),
		raw("ppp-direction", linkPPPWithDir, bytesOf([]byte{1, 0xff, 3}, pcaptest.PPP(tcp4()))),
		raw("ppp-mpls", linkPPP, bytesOf([]byte{2, 0x81}, pcaptest.MPLS(tcp4(), 16))),
		raw("ppp-bridged", linkPPP, bytesOf([]byte{0, 0x31, 0, 1}, pcaptest.Ether(tcp4()))),
		raw("nsh-ethernet", linkEthernet, pcaptest.EtherType(typeNSH, bytesOf([]byte{0, 2, 1, 3, 0, 0, 1, 255}, pcaptest.Ether(tcp4())))),
		raw("sll-llc", linkSLL, bytesOf(make([]byte, 14), []byte{0, 4}, snap(tcp4()))),
		raw("token-ring", linkTokenRing, bytesOf(make([]byte, 14), snap(tcp4()))),
		raw("fddi", linkFDDI, bytesOf(make([]byte, 13), snap(tcp4()))),
		raw("atm", linkATM, snap(tcp4())),
		raw("frame-relay", linkFrameRelay, bytesOf([]byte{0x18, 0x41, 3, 0xcc}, tcp4())),
		raw("arcnet", linkARCNET, bytesOf([]byte{1, 2, 0, 0, 212, 0, 0, 1}, tcp4())),
		raw("pflog", linkPFLog, bytesOf([]byte{61, 2}, make([]byte, 62), tcp4())),
		raw("nflog", linkNFLog, bytesOf([]byte{2, 0, 0, 0, 8, 0, 1, 0, 8, 0, 3, 0, byte(len(tcp4()) + 4), 0, 9, 0}, tcp4())),
	}
	for _, af := range []byte{10, 24, 28, 30} {
		all = append(all, sample{name: "null6", link: linkNull, frame: bytesOf([]byte{af, 0, 0, 0}, tcp6()), v6: true, proto: ntpac.TCP})
	}
	for _, s := range []sample{
		{name: "vlan", frame: pcaptest.Tag(0x8100, 7, pcaptest.Ether(tcp4())), vlan: 7},
		{name: "qinq", frame: pcaptest.Tag(0x88a8, 9, pcaptest.Tag(0x8100, 7, pcaptest.Ether(tcp4()))), vlan: 9},
		{name: "qinq-old", frame: pcaptest.Tag(0x9100, 0xe009, pcaptest.Tag(0x8100, 7, pcaptest.Ether(tcp4()))), vlan: 9},
		{name: "ipv6-raw", frame: pcaptest.Ether(tcp6()), v6: true},
		{name: "options", frame: pcaptest.Ether(pcaptest.Header{Src: pcaptest.Client.Addr(), Dst: pcaptest.Server.Addr(), Proto: 6, Options: []byte{1, 1, 1, 0}}.Datagram(tcp4()[20:]))},
		{name: "ah", frame: pcaptest.Ether(pcaptest.IP(pcaptest.Client.Addr(), pcaptest.Server.Addr(), protoAH, bytesOf([]byte{6, 4}, make([]byte, 22), tcp4()[20:])))},
		{name: "hop-by-hop", frame: pcaptest.Ether(ext6(0, 6, 0, 1, 4, 0, 0, 0, 0)), v6: true},
		{name: "chain", frame: pcaptest.Ether(ext6(0, bytesOf([]byte{43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 51, 0, 1, 4, 0, 0, 0, 0, 6, 4}, make([]byte, 22))...)), v6: true},
		{name: "atomic", frame: pcaptest.Ether(ext6(44, 6, 0, 0, 0, 0, 0, 0, 9)), v6: true},
		{name: "ipip", frame: pcaptest.Ether(pcaptest.IPIP(left, right, tcp4())), tunnel: ntpac.IPIP},
		{name: "6in4", frame: pcaptest.Ether(pcaptest.IPIP(left, right, tcp6())), tunnel: ntpac.SixInFour, v6: true},
		{name: "4in6", frame: pcaptest.Ether(pcaptest.IPIP(left6, right6, tcp4())), tunnel: ntpac.IPIP},
		{name: "gre", frame: pcaptest.Ether(pcaptest.GRE(left, right, 0, 0x800, 0, tcp4())), tunnel: ntpac.GRE},
		{name: "gre-all", frame: pcaptest.Ether(pcaptest.GRE(left, right, 0xb000, 0x86dd, 77, tcp6())), tunnel: ntpac.GRE, id: 77, v6: true},
		{name: "nvgre", frame: pcaptest.Ether(pcaptest.GRE(left, right, 0x2000, typeTEB, 0x12345, pcaptest.Ether(tcp4()))), tunnel: ntpac.GRE, id: 0x123},
		{name: "pptp", frame: pcaptest.Ether(pcaptest.PPTP(left, right, 5, tcp4())), tunnel: ntpac.GRE},
		{name: "wccp", frame: pcaptest.Ether(pcaptest.GRE(left, right, 0, typeWCCP, 0, bytesOf(make([]byte, 4), tcp4()))), tunnel: ntpac.GRE},
		{name: "aruba", frame: pcaptest.Ether(pcaptest.GRE(left, right, 0, 0x8210, 0, dot11(true, false, tcp4()))), tunnel: ntpac.GRE},
		{name: "eoip", frame: pcaptest.Ether(pcaptest.GRE(left, right, 0x2001, typeEoIP, 0x00360300, pcaptest.Ether(tcp4()))), tunnel: ntpac.GRE, id: 3},
		{name: "erspan1", frame: pcaptest.Ether(pcaptest.ERSPAN(left, right, 1, 5, pcaptest.Ether(tcp4()))), tunnel: ntpac.ERSPAN},
		{name: "erspan2", frame: pcaptest.Ether(pcaptest.ERSPAN(left, right, 2, 5, pcaptest.Ether(tcp4()))), tunnel: ntpac.ERSPAN},
		{name: "erspan3", frame: pcaptest.Ether(pcaptest.ERSPAN(left, right, 3, 5, pcaptest.Tag(0x8100, 7, pcaptest.Ether(tcp4())))), tunnel: ntpac.ERSPAN, vlan: 7},
		{name: "vxlan", frame: pcaptest.Ether(pcaptest.VXLAN(left, right, 99, pcaptest.Ether(tcp4()))), tunnel: ntpac.VXLAN, id: 99},
		{name: "vxlan-ipip", frame: pcaptest.Ether(pcaptest.VXLAN(left, right, 99, pcaptest.Ether(pcaptest.IPIP(left, right, tcp4())))), tunnel: ntpac.IPIP, id: 99},
		{name: "geneve", frame: pcaptest.Ether(pcaptest.GENEVE(left6, right6, 98, typeTEB, make([]byte, 8), pcaptest.Ether(tcp4()))), tunnel: ntpac.GENEVE, id: 98},
		{name: "geneve-ip", frame: pcaptest.Ether(pcaptest.GENEVE(left, right, 98, typeIPv6, nil, tcp6())), tunnel: ntpac.GENEVE, id: 98, v6: true},
		{name: "gtpu", frame: pcaptest.Ether(pcaptest.GTPU(left, right, 5, false, tcp4())), tunnel: ntpac.GTPU},
		{name: "gtpu-seq", frame: pcaptest.Ether(pcaptest.GTPU(left, right, 5, true, tcp6())), tunnel: ntpac.GTPU, v6: true},
		{name: "teredo", frame: pcaptest.Ether(pcaptest.Teredo(left, right, false, tcp6())), tunnel: ntpac.Teredo, v6: true},
		{name: "teredo-origin", frame: pcaptest.Ether(pcaptest.Teredo(left, right, true, tcp6())), tunnel: ntpac.Teredo, v6: true},
		{name: "teredo-auth", frame: pcaptest.Ether(udpTo(portTeredo, bytesOf([]byte{0, 1, 0, 0}, make([]byte, 9), tcp6()))), tunnel: ntpac.Teredo, v6: true},
		{name: "vxlan-gpe", frame: pcaptest.Ether(udpTo(portVXLANGPE, bytesOf([]byte{0xc, 0, 0, 1, 0, 0, 42, 0}, tcp4()))), tunnel: ntpac.VXLAN, id: 42},
		{name: "gpe-on-vxlan", frame: pcaptest.Ether(udpTo(portVXLAN, bytesOf([]byte{0xc, 0, 0, 3, 0, 0, 42, 0}, pcaptest.Ether(tcp4())))), tunnel: ntpac.VXLAN, id: 42},
		{name: "gre-udp", frame: pcaptest.Ether(udpTo(portGRE, bytesOf([]byte{0, 0, 8, 0}, tcp4()))), tunnel: ntpac.GRE},
		{name: "mpls-ip", frame: pcaptest.Ether(pcaptest.IP(left, right, protoMPLS, pcaptest.MPLS(tcp4(), 16))), tunnel: ntpac.MPLSIP},
		{name: "gtpu-extension", frame: pcaptest.Ether(udpTo(portGTPU, bytesOf([]byte{0x34, 255, 0, byte(8 + len(tcp4())), 0, 0, 0, 5, 0, 0, 0, 0x85, 1, 0, 0, 0}, tcp4()))), tunnel: ntpac.GTPU},
		{name: "l2tp-all", frame: pcaptest.Ether(udpTo(portL2TP, bytesOf([]byte{0x4a, 2, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 2, 9, 9}, pcaptest.PPP(tcp4())))), tunnel: ntpac.L2TP},
		{name: "mpls-udp", frame: pcaptest.Ether(udpTo(portMPLS, pcaptest.MPLS(tcp4(), 16))), tunnel: ntpac.MPLSIP},
		{name: "lisp", frame: pcaptest.Ether(udpTo(portLISP, bytesOf([]byte{0x88, 1, 2, 3, 0, 0, 42, 1}, tcp4()))), tunnel: ntpac.LISP, id: 42},
		{name: "ayiya", frame: pcaptest.Ether(udpTo(portAYIYA, bytesOf([]byte{0x41, 0x52, 0x11, 41}, make([]byte, 4+16+20), tcp6()))), tunnel: ntpac.AYIYA, v6: true},
		{name: "l2tp", frame: pcaptest.Ether(udpTo(portL2TP, bytesOf([]byte{0, 2, 0, 1, 0, 2, 0xff, 3}, pcaptest.PPP(tcp4())))), tunnel: ntpac.L2TP},
	} {
		s.link, s.proto = linkEthernet, ntpac.TCP
		all = append(all, s)
	}
	return all
}

func udpTo(port uint16, data []byte) []byte {
	src, dst := netip.AddrPortFrom(left, 50003), netip.AddrPortFrom(right, port)
	return pcaptest.IP(left, right, ntpac.UDP, pcaptest.UDP(src, dst, data))
}
