package pcaptest

import (
	"net/netip"

	"ntpac"
)

// TCP flags.
const (
	FIN byte = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// Conn is a TCP connection of a capture. Up is from the client, Down from the server. The exported
// fields may be changed between any two calls.
type Conn struct {
	End      [2]netip.AddrPort // by the direction that sends from there
	Seq      [2]uint32         // the next sequence number; before Open: the initial one
	MSS      int               // longest payload of a segment
	AckEvery int               // the peer acknowledges after so many segments, and the last; 0: never
	Window   uint16
	Stamps   bool // send the timestamp option, in milliseconds of capture time
	Options  []byte
	cap      *Capture
}

// TCP gives a connection that has not sent anything yet. Without Open it is one whose beginning was
// not captured.
func (c *Capture) TCP(client, server netip.AddrPort) *Conn {
	return &Conn{End: [2]netip.AddrPort{client, server}, Seq: [2]uint32{1_000_000, 2_000_000},
		MSS: 1448, AckEvery: 2, Window: 65535, cap: c}
}

// Open sends the three-way handshake.
func (k *Conn) Open() {
	k.Packet(ntpac.Up, SYN, nil)
	k.Packet(ntpac.Down, SYN|ACK, nil)
	k.Packet(ntpac.Up, ACK, nil)
}

// Send sends data in segments, the last one with PSH, and the peer's acknowledgements.
func (k *Conn) Send(dir ntpac.Dir, data []byte) {
	for n := 1; len(data) > 0; n++ {
		seg, flags := data, ACK|PSH
		if len(seg) > k.MSS {
			seg, flags = data[:k.MSS], ACK
		}
		data = data[len(seg):]
		k.Packet(dir, flags, seg)
		if k.AckEvery > 0 && (n%k.AckEvery == 0 || len(data) == 0) {
			k.Packet(dir.Other(), ACK, nil)
		}
	}
}

// Skip is data that was sent and acknowledged but not captured.
func (k *Conn) Skip(dir ntpac.Dir, n int) { k.Seq[dir] += uint32(n) }

// Close ends both directions with FIN, the client first.
func (k *Conn) Close() {
	k.Packet(ntpac.Up, FIN|ACK, nil)
	k.Packet(ntpac.Down, FIN|ACK, nil)
	k.Packet(ntpac.Up, ACK, nil)
}

// Reset aborts the connection.
func (k *Conn) Reset(dir ntpac.Dir) { k.Packet(dir, RST|ACK, nil) }

// Packet sends one segment at the place where the direction is and moves on.
func (k *Conn) Packet(dir ntpac.Dir, flags byte, data []byte) {
	k.At(dir, flags, k.Seq[dir], k.Seq[dir.Other()], data)
	k.Seq[dir] += uint32(len(data))
	if flags&(SYN|FIN) != 0 {
		k.Seq[dir]++
	}
}

// At sends one segment with exactly these numbers and moves nothing: retransmissions, keep-alives,
// overlaps, forged packets. Without the ACK flag the acknowledgement is sent as 0.
func (k *Conn) At(dir ntpac.Dir, flags byte, seq, ack uint32, data []byte) {
	if flags&ACK == 0 {
		ack = 0
	}
	s := Segment{Src: k.End[dir], Dst: k.End[dir.Other()], Seq: seq, Ack: ack, Flags: flags, Window: k.Window, Options: k.Options}
	if k.Stamps {
		ms := uint32(k.cap.Now / 1_000_000)
		s.Options = append(StampOption(ms, ms-1), k.Options...)
	}
	k.cap.IP(s.Src.Addr(), s.Dst.Addr(), ntpac.TCP, s.Bytes(data))
}

// StampOption is a TCP timestamp option, padded to four bytes (RFC 7323, section 3.2).
func StampOption(val, ecr uint32) []byte {
	b := be.AppendUint32([]byte{1, 1, 8, 10}, val)
	return be.AppendUint32(b, ecr)
}

// Segment is the header of a TCP segment. Options must be a multiple of four bytes long.
type Segment struct {
	Src, Dst netip.AddrPort
	Seq, Ack uint32
	Flags    byte
	Window   uint16
	Options  []byte
}

// Bytes gives header and payload, with the checksum.
func (s Segment) Bytes(data []byte) []byte {
	b := be.AppendUint16(nil, s.Src.Port())
	b = be.AppendUint16(b, s.Dst.Port())
	b = be.AppendUint32(b, s.Seq)
	b = be.AppendUint32(b, s.Ack)
	b = append(b, byte(20+len(s.Options))<<2, s.Flags)
	b = be.AppendUint16(b, s.Window)
	b = append(b, 0, 0, 0, 0)
	b = append(b, s.Options...)
	b = append(b, data...)
	be.PutUint16(b[16:], transportSum(s.Src.Addr(), s.Dst.Addr(), ntpac.TCP, b))
	return b
}
