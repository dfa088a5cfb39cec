// Package packet reads the headers of captured frames: from the link layer through tags, labels and
// tunnels down to the innermost IP flow. It looks, it does not copy: Decode notes in ntpac.Packet
// where the headers lie, and the accessors read fields from the frame when somebody asks.
//
// What makes the accessors safe: Decode returns OK only if, inside the captured bytes,
//
//   - the innermost IP header lies whole at L3 (20 bytes or more of IPv4, 40 of IPv6), with all
//     options and extension headers up to L4;
//   - of a packet that is no fragment, the transport header lies whole at L4: 20 bytes of TCP, 8 of
//     UDP and UDP-Lite, 12 of SCTP and DCCP; TCP options may be cut;
//   - L3 <= L4 <= Pay and Pay+PayCap <= Cap.
//
// So no accessor reads past the frame of a packet for which Decode said OK. For any other packet, or
// with the frame of another packet, they may panic.
package packet

import "ntpac"

// Verdict is what Decode says of a frame. Only OK packets belong to a flow.
type Verdict uint8

// The verdicts.
const (
	OK          Verdict = iota
	ARP                 // ARP or RARP
	NonIP               // another protocol than IP: spanning tree, discovery, control frames ...
	Encrypted           // a link layer that is encrypted (802.11)
	Truncated           // the snap length cut it within its headers
	Malformed           // its headers contradict themselves or each other
	Unsupported         // a link type that is not known
	TooDeep             // more headers than are followed
	Verdicts            // how many verdicts there are
)

var verdictNames = [Verdicts]string{"ok", "arp", "not-ip", "encrypted", "truncated", "malformed", "unsupported-link", "too-deep"}

// String is the verdict's name in lower case.
func (v Verdict) String() string {
	if v < Verdicts {
		return verdictNames[v]
	}
	return "unknown"
}

// Counters counts something by verdict: packets or bytes.
type Counters [Verdicts]uint64

// Add adds the counts of o.
func (c *Counters) Add(o *Counters) {
	for i, n := range o {
		c[i] += n
	}
}

// Map gives the counts that are not zero by the verdicts' names.
func (c *Counters) Map() map[string]uint64 {
	m := make(map[string]uint64)
	for i, n := range c {
		if n != 0 {
			m[Verdict(i).String()] = n
		}
	}
	return m
}

// maxHeaders bounds the headers that are read of one frame, failed guesses included: a hostile frame
// costs a few microseconds at most. Real nesting stays below ten.
const maxHeaders = 128

// kept are the flags that others than Decode set.
const kept = ntpac.Disordered | ntpac.Defragmented

// Decode reads the headers of a frame. The caller has set p.Link, p.Cap = len(frame) and p.Wire;
// Decode sets L3, L4, Pay, PayLen, PayCap, VLAN, Proto, Tunnel, TunnelID and Flags. With a verdict
// other than OK these are of no meaning.
//
// The rules about lengths: an IP datagram ends where its header says, so link-layer padding is no
// payload; a length of 0 (segmentation offload, jumbograms) means all of the frame; one beyond the
// frame's length on the wire sets BadLength and is cut to it. A frame shorter than on the wire is Cut, and
// PayCap then says how much of the payload's PayLen bytes there is.
//
// A tunnel is followed only if an IP datagram is found inside; if not, the tunnel's own packets are
// the flow. An ICMP error is a packet of the ICMP flow; what it quotes is not looked at.
func Decode(frame []byte, p *ntpac.Packet) Verdict {
	w := start(frame, p)
	p.VLAN, p.Tunnel, p.TunnelID = 0, ntpac.NoTunnel, 0
	if p.Link == linkEthernet {
		return w.ethernet()
	}
	return w.link(p.Link)
}

// DecodeDatagram reads an IP datagram that was taken out of its frame, such as one rebuilt from
// fragments. It keeps p.VLAN, p.Tunnel and p.TunnelID: they are what lay around the fragments.
func DecodeDatagram(datagram []byte, p *ntpac.Packet) Verdict {
	w := start(datagram, p)
	return w.ip()
}

func start(frame []byte, p *ntpac.Packet) walk {
	w := walk{f: frame, p: p, end: len(frame), claim: len(frame), left: maxHeaders}
	p.Flags &= kept
	if n := int(p.Wire); n > w.claim {
		w.claim = n
		w.flags = ntpac.Cut
	}
	return w
}

// walk is the state of reading one frame. It stands before the header at off. What it has found is
// written to p at the end of a walk, so that a walk that leads nowhere can be undone.
type walk struct {
	f     []byte
	p     *ntpac.Packet
	off   int // where the next header begins
	end   int // where the captured part of the enclosing header's payload ends
	claim int // where that payload ends by the headers' word; end <= claim
	left  int // how many more headers may be read
	l3    int
	flags ntpac.PacketFlags
}

// has tells whether n bytes are there.
func (w *walk) has(n int) bool { return w.end-w.off >= n }

// lack is the verdict on a header of n bytes that is not there: cut away, or never sent.
func (w *walk) lack(n int) Verdict {
	if w.claim-w.off >= n {
		return Truncated
	}
	return Malformed
}

// deeper counts a header and tells whether it may be read.
func (w *walk) deeper() bool {
	w.left--
	return w.left >= 0
}

// cut ends the enclosing payload n bytes after off, where a header says so and it is shorter.
func (w *walk) cut(n int) {
	if n += w.off; n < w.claim {
		w.claim = n
		w.end = min(w.end, n)
	}
}

func (w *walk) u8(at int) byte { return w.f[w.off+at] }

func (w *walk) u16(at int) uint16 {
	b := w.f[w.off+at:]
	return uint16(b[0])<<8 | uint16(b[1])
}

func (w *walk) u32(at int) uint32 {
	b := w.f[w.off+at:]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// done writes the flow's packet: transport header at off, payload after head bytes of it.
func (w *walk) done(proto ntpac.Proto, head int) Verdict {
	pay := w.off + head
	if pay > 0xffff {
		return TooDeep
	}
	p := w.p
	p.L3, p.L4, p.Proto = uint16(w.l3), uint16(w.off), proto
	p.PayLen = uint32(w.claim - pay)
	if pay > w.end { // options cut by the snap length
		pay = w.end
	}
	p.Pay, p.PayCap = uint16(pay), uint32(w.end-pay)
	p.Flags = p.Flags&kept | w.flags
	return OK
}
