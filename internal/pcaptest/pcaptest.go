// Package pcaptest builds captures for tests from code: whole conversations with valid sequence
// numbers and checksums, single odd packets, tunnels and fragments.
//
//	c := pcaptest.New()
//	conn := c.TCP(pcaptest.Client, pcaptest.Server)
//	conn.Open()
//	conn.Send(ntpac.Up, []byte("GET / HTTP/1.0\r\n\r\n"))
//	conn.Send(ntpac.Down, page)
//	conn.Close()
//	c.WritePcap(file)
//
// Capture.Frames is an ordinary slice: a test drops, repeats, reorders and cuts frames as it likes.
// Everything derives from the calls alone, so that the same code gives the same bytes.
package pcaptest

import (
	"encoding/binary"
	"io"
	"net/netip"

	"ntpac"
)

// Usual end points, for tests that do not care.
var (
	Client  = netip.MustParseAddrPort("192.0.2.10:40000")
	Server  = netip.MustParseAddrPort("198.51.100.80:80")
	Client6 = netip.MustParseAddrPort("[2001:db8::10]:40000")
	Server6 = netip.MustParseAddrPort("[2001:db8:1::80]:80")
)

// Ethernet is the link type of captures where nothing else is said.
const Ethernet ntpac.LinkType = 1

// Frame is one captured frame. Wire is its length on the wire: more than len(Data) where it was cut.
type Frame struct {
	TS   ntpac.Time
	Link ntpac.LinkType
	Data []byte
	Wire int
}

// Capture is a capture that is being built. The exported fields may be changed between any two
// calls and hold from then on.
type Capture struct {
	Frames []Frame
	Link   ntpac.LinkType               // of new frames
	Wrap   func(datagram []byte) []byte // makes a frame of an IP datagram; Ether by default
	Now    ntpac.Time                   // when the next frame is captured
	Step   ntpac.Time                   // and how far apart two frames are
	Snap   int                          // cut new frames to this length; 0 cuts none
	TTL    byte                         // of new datagrams
	ID     uint16                       // IPv4 identification of the next datagram; grows by one
}

// New gives an empty Ethernet capture that begins on 2023-11-14 22:13:20 UTC, a frame a millisecond.
func New() *Capture {
	return &Capture{Link: Ethernet, Wrap: Ether, Now: 1_700_000_000 * ntpac.Second, Step: ntpac.Second / 1000, TTL: 64, ID: 1}
}

// Wait lets time pass.
func (c *Capture) Wait(d ntpac.Time) { c.Now += d }

// Raw adds a frame as it is.
func (c *Capture) Raw(frame []byte) {
	f := Frame{TS: c.Now, Link: c.Link, Data: frame, Wire: len(frame)}
	if c.Snap > 0 && len(frame) > c.Snap {
		f.Data = frame[:c.Snap:c.Snap]
	}
	c.Frames = append(c.Frames, f)
	c.Now += c.Step
}

// IP adds a datagram of any protocol.
func (c *Capture) IP(src, dst netip.Addr, proto ntpac.Proto, payload []byte) {
	c.Raw(c.Wrap(c.datagram(src, dst, proto, payload)))
}

// UDP adds a UDP datagram.
func (c *Capture) UDP(src, dst netip.AddrPort, data []byte) {
	c.IP(src.Addr(), dst.Addr(), ntpac.UDP, UDP(src, dst, data))
}

// Fragments adds an IP datagram in fragments whose datagrams are at most mtu bytes long.
func (c *Capture) Fragments(src, dst netip.Addr, proto ntpac.Proto, payload []byte, mtu int) {
	for _, f := range Fragment(c.datagram(src, dst, proto, payload), mtu) {
		c.Raw(c.Wrap(f))
	}
}

func (c *Capture) datagram(src, dst netip.Addr, proto ntpac.Proto, payload []byte) []byte {
	h := Header{Src: src, Dst: dst, Proto: proto, TTL: c.TTL, ID: c.ID}
	c.ID++
	return h.Datagram(payload)
}

// WritePcap writes the frames as a classic pcap with nanoseconds. All frames have the link type of
// the first one.
func (c *Capture) WritePcap(w io.Writer) error { return WritePcap(w, c.Frames) }

// WritePcap writes frames as a classic pcap, little endian, with nanoseconds.
func WritePcap(w io.Writer, frames []Frame) error {
	link := Ethernet
	if len(frames) > 0 {
		link = frames[0].Link
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b23c4d)
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(b, 262144)
	b = le.AppendUint32(b, uint32(link))
	for _, f := range frames {
		b = le.AppendUint32(b, uint32(f.TS/ntpac.Second))
		b = le.AppendUint32(b, uint32(f.TS%ntpac.Second))
		b = le.AppendUint32(b, uint32(len(f.Data)))
		b = le.AppendUint32(b, uint32(f.Wire))
		b = append(b, f.Data...)
	}
	_, err := w.Write(b)
	return err
}
