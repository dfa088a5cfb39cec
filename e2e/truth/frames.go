package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
)

// This file reads the generator's captures without any of the product's code: what it finds in them is
// what the product must have found.

// frame is one captured frame of TCP or UDP, or a fragment of it that is not the last.
type frame struct {
	at       int64 // nanoseconds
	from, to netip.AddrPort
	tcp      bool
	part     bool   // more fragments follow: only at, from, to and tcp are set
	id       uint16 // IPv4's identification, 0 for IPv6
	flags    byte
	seq, ack uint32
	header   []byte // of TCP or UDP, its checksum masked; valid during the call
	payload  []byte // likewise
}

// The flags of TCP that are looked at.
const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

// frames reads a capture in the format that the generator writes by default.
func frames(path string, each func(f *frame)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<20)
	le := binary.LittleEndian
	head := make([]byte, 24)
	if _, err := io.ReadFull(r, head); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	unit := int64(1000)
	switch le.Uint32(head) {
	case 0xa1b2c3d4:
	case 0xa1b23c4d:
		unit = 1
	default:
		return fmt.Errorf("%s is no pcap file in little endian", path)
	}
	p := parser{parts: map[datagramKey]*datagram{}}
	buf := make([]byte, 1<<18)
	for {
		if _, err := io.ReadFull(r, head[:16]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("%s: %w", path, err)
		}
		n := le.Uint32(head[8:])
		if int(n) > len(buf) {
			return fmt.Errorf("%s: a frame of %d bytes", path, n)
		}
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		f, err := p.frame(buf[:n])
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		f.at = int64(le.Uint32(head))*1e9 + int64(le.Uint32(head[4:]))*unit
		each(f)
	}
}

// datagramKey names the datagram of a fragment.
type datagramKey struct {
	from, to netip.Addr
	id       uint32
	proto    byte
}

// datagram is what has come of one in fragments, which the generator writes in order.
type datagram struct {
	data []byte
	head frame
}

type parser struct {
	parts map[datagramKey]*datagram
}

var errFrame = errors.New("a frame that the generator does not write")

func (p *parser) frame(b []byte) (*frame, error) {
	if len(b) < 34 {
		return nil, errFrame
	}
	be := binary.BigEndian
	kind := be.Uint16(b[12:])
	b = b[14:]
	for kind == 0x8100 || kind == 0x88a8 {
		kind = be.Uint16(b[2:])
		b = b[4:]
	}
	k := datagramKey{}
	var more bool
	var off int
	var id uint16
	switch {
	case kind == 0x0800:
		k.from, k.to, k.proto = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9]
		id = be.Uint16(b[4:])
		k.id = uint32(id)
		more, off = b[6]&0x20 != 0, int(be.Uint16(b[6:])&0x1fff)*8
		b = b[int(b[0]&15)*4 : be.Uint16(b[2:])]
	case kind == 0x86dd && len(b) >= 48:
		k.from, k.to, k.proto = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[6]
		b = b[40 : 40+int(be.Uint16(b[4:]))]
		if k.proto == 44 {
			more, off = b[3]&1 != 0, int(be.Uint16(b[2:])&^7)
			k.proto, k.id = b[0], be.Uint32(b[4:])
			b = b[8:]
		}
	default:
		return nil, errFrame
	}
	if !more && off == 0 {
		return transport(b, &k, id)
	}
	d := p.parts[k]
	if off == 0 {
		f, err := transport(b, &k, id)
		if err != nil {
			return nil, err
		}
		d = &datagram{head: frame{from: f.from, to: f.to, tcp: f.tcp, part: true}}
		p.parts[k] = d
	}
	if d == nil || len(d.data) != off {
		return nil, errFrame
	}
	d.data = append(d.data, b...)
	if more {
		f := d.head
		return &f, nil
	}
	delete(p.parts, k)
	return transport(d.data, &k, id)
}

func transport(b []byte, k *datagramKey, id uint16) (*frame, error) {
	be := binary.BigEndian
	f := &frame{id: id, tcp: k.proto == 6}
	head := 8
	switch {
	case f.tcp && len(b) >= 20:
		f.seq, f.ack, f.flags = be.Uint32(b[4:]), be.Uint32(b[8:]), b[13]
		head = int(b[12]>>4) * 4
	case k.proto == 17 && len(b) >= 8:
	default:
		return nil, errFrame
	}
	if head > len(b) {
		return nil, errFrame
	}
	f.from, f.to = netip.AddrPortFrom(k.from, be.Uint16(b)), netip.AddrPortFrom(k.to, be.Uint16(b[2:]))
	f.header, f.payload = b[:head], b[head:]
	sum := 6
	if f.tcp {
		sum = 16
	}
	f.header[sum], f.header[sum+1] = 0, 0
	return f, nil
}
