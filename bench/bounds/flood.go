package main

import (
	"bufio"
	"encoding/binary"
)

// flood is traffic that is made while it is read.
type flood struct {
	name          string
	conversations int64 // how many must be stored at least
	write         func(w *bufio.Writer) error
}

// began is when the traffic begins, in seconds; all of it lies within the time in which no conversation is
// idle, so that nothing ends by itself.
const (
	began  = 1_700_000_000
	within = 500
)

func cases(o *options) []flood {
	n := int64(o.flows)
	return []flood{
		{"SYN flood", n, func(w *bufio.Writer) error { return attempts(w, o.flows, 0) }},
		{"SYN flood with 16 bytes each", n, func(w *bufio.Writer) error { return attempts(w, o.flows, 16) }},
		{"data flood without SYN, 16 bytes each", n, func(w *bufio.Writer) error { return midstream(w, o.flows, 16) }},
		{"datagram flood, 16 bytes each", n, func(w *bufio.Writer) error { return datagrams(w, o.flows, 16) }},
		{"one endless conversation", 1, func(w *bufio.Writer) error { return endless(w, int64(o.endless)) }},
	}
}

// frame is a record of a capture with an Ethernet frame of IPv4 in it.
type frame struct {
	b []byte // record header, then the frame
}

// Where the parts are.
const (
	record    = 16
	ip        = record + 14
	transport = ip + 20
	tcpData   = transport + 20
	udpData   = transport + 8
)

const (
	fin, syn, psh, ack = 0x01, 0x02, 0x08, 0x10
)

// newFrame makes a frame that ends behind n bytes of data at at.
func newFrame(proto byte, at, n int) *frame {
	f := &frame{b: make([]byte, at+n)}
	be, le := binary.BigEndian, binary.LittleEndian
	le.PutUint32(f.b[8:], uint32(len(f.b)-record))
	le.PutUint32(f.b[12:], uint32(len(f.b)-record))
	copy(f.b[record:], []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0})
	copy(f.b[ip:], []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, proto})
	be.PutUint16(f.b[ip+2:], uint16(len(f.b)-ip))
	for i := at; i < len(f.b); i++ {
		f.b[i] = byte('a' + i%26)
	}
	return f
}

// at sets the time, as the share k of n of the time that all of it takes.
func (f *frame) at(k, n int64) {
	us := k * (within * 1e6) / n
	binary.LittleEndian.PutUint32(f.b[0:], uint32(began+us/1e6))
	binary.LittleEndian.PutUint32(f.b[4:], uint32(us%1e6))
}

func (f *frame) ends(src, dst uint32, sport, dport uint16) {
	be := binary.BigEndian
	be.PutUint32(f.b[ip+12:], src)
	be.PutUint32(f.b[ip+16:], dst)
	be.PutUint16(f.b[transport:], sport)
	be.PutUint16(f.b[transport+2:], dport)
}

func (f *frame) tcp(flags byte, seq, acked uint32) {
	be := binary.BigEndian
	be.PutUint32(f.b[transport+4:], seq)
	be.PutUint32(f.b[transport+8:], acked)
	f.b[transport+12], f.b[transport+13] = 5<<4, flags
	be.PutUint16(f.b[transport+14:], 65535)
}

// sum sets the checksums.
func (f *frame) sum(at int) {
	be := binary.BigEndian
	be.PutUint16(f.b[ip+10:], 0)
	be.PutUint16(f.b[ip+10:], ^fold(add(0, f.b[ip:transport])))
	be.PutUint16(f.b[at:], 0)
	pseudo := uint64(f.b[ip+9]) + uint64(len(f.b)-transport)
	be.PutUint16(f.b[at:], ^fold(add(add(pseudo, f.b[ip+12:ip+20]), f.b[transport:])))
}

func (f *frame) sumTCP() { f.sum(transport + 16) }
func (f *frame) sumUDP() { f.sum(transport + 6) }

// add sums 16-bit words (RFC 1071).
func add(s uint64, b []byte) uint64 {
	for ; len(b) >= 8; b = b[8:] {
		w := binary.BigEndian.Uint64(b)
		s += w>>32 + w&0xffffffff
	}
	for ; len(b) >= 2; b = b[2:] {
		s += uint64(b[0])<<8 | uint64(b[1])
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// fileHeader is that of a pcap file: little endian, microseconds, Ethernet.
func fileHeader(w *bufio.Writer) error {
	var h [24]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], 0xa1b2c3d4)
	le.PutUint16(h[4:], 2)
	le.PutUint16(h[6:], 4)
	le.PutUint32(h[16:], 262144)
	le.PutUint32(h[20:], 1)
	_, err := w.Write(h[:])
	return err
}

const server = 192<<24 | 168<<16 | 1

// client is the address of the client i: as good as any other, and no two alike.
func client(i int) uint32 { return uint32(i+1) * 2654435761 }

// attempts are connections of which only the first packet was captured, each from an address of its own.
func attempts(w *bufio.Writer, flows, data int) error {
	f := newFrame(6, tcpData, data)
	return each(w, f, flows, func(i int) {
		f.ends(client(i), server, 20000, 443)
		f.tcp(syn, client(i), 0)
		f.sumTCP()
	})
}

// midstream is the same without the beginning: what such a conversation is, is known only when the reorder
// window has passed.
func midstream(w *bufio.Writer, flows, data int) error {
	f := newFrame(6, tcpData, data)
	return each(w, f, flows, func(i int) {
		f.ends(client(i), server, 20000, 443)
		f.tcp(psh|ack, client(i), 77)
		f.sumTCP()
	})
}

func datagrams(w *bufio.Writer, flows, data int) error {
	f := newFrame(17, udpData, data)
	binary.BigEndian.PutUint16(f.b[transport+4:], uint16(8+data))
	return each(w, f, flows, func(i int) {
		f.ends(client(i), server, 20000, 9)
		f.sumUDP()
	})
}

func each(w *bufio.Writer, f *frame, n int, set func(i int)) error {
	if err := fileHeader(w); err != nil {
		return err
	}
	for i := range n {
		f.at(int64(i), int64(n))
		set(i)
		if _, err := w.Write(f.b); err != nil {
			return err
		}
	}
	return nil
}

// endless is one conversation of n bytes, acknowledged as it goes. Its content repeats, so that a store
// that compresses takes little of the disk.
func endless(w *bufio.Writer, n int64) error {
	const mss = 1460
	if err := fileHeader(w); err != nil {
		return err
	}
	up, down, bare := newFrame(6, tcpData, mss), newFrame(6, tcpData, 0), newFrame(6, tcpData, 0)
	up.ends(client(1), server, 20000, 9)
	bare.ends(client(1), server, 20000, 9)
	down.ends(server, client(1), 9, 20000)
	put := func(f *frame, at int64, flags byte, seq, acked uint32) error {
		f.at(at, n)
		f.tcp(flags, seq, acked)
		f.sumTCP()
		_, err := w.Write(f.b)
		return err
	}
	if err := put(bare, 0, syn, 99, 0); err != nil {
		return err
	}
	if err := put(down, 0, syn|ack, 199, 100); err != nil {
		return err
	}
	var at int64
	for k := 0; at < n; k++ {
		if err := put(up, at, ack, uint32(100+at), 200); err != nil {
			return err
		}
		if at += mss; k%4 == 0 {
			if err := put(down, at, ack, 200, uint32(100+at)); err != nil {
				return err
			}
		}
	}
	return put(bare, at, fin|ack, uint32(100+at), 200)
}
