package traffic

import (
	"bufio"
	"encoding/binary"
)

// output writes frames to the whole capture and to the two taps.
type output struct {
	files          [3]*bufio.Writer
	packets, bytes int64
	ident          uint16
	buf            [2048]byte
}

// header is that of a pcap file: little endian, microseconds, Ethernet.
func (o *output) header() {
	var h [24]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], 0xa1b2c3d4)
	le.PutUint16(h[4:], 2)
	le.PutUint16(h[6:], 4)
	le.PutUint32(h[16:], 65535)
	le.PutUint32(h[20:], 1)
	for _, f := range o.files {
		if f != nil {
			f.Write(h[:]) // errors come back from flush
		}
	}
	o.bytes = int64(len(h))
}

func (o *output) flush() (errs []error) {
	for _, f := range o.files {
		if f != nil {
			errs = append(errs, f.Flush())
		}
	}
	return errs
}

// write makes a frame of a packet.
func (o *output) write(t *talk, p *packet) {
	const record = 16
	n := o.ethernet(t, p, record)
	l4 := n + 20
	if t.v6 {
		l4 = n + 40
	}
	end := transport(o.buf[:], l4, t, p)
	o.ip(t, p, n, l4, end)
	for end < record+60 { // cards pad short frames
		o.buf[end] = 0
		end++
	}
	le := binary.LittleEndian
	le.PutUint32(o.buf[0:], uint32(p.t/1e9))
	le.PutUint32(o.buf[4:], uint32(p.t%1e9/1e3))
	le.PutUint32(o.buf[8:], uint32(end-record))
	le.PutUint32(o.buf[12:], uint32(end-record))
	o.packets++
	o.bytes += int64(end)
	for _, f := range []*bufio.Writer{o.files[0], o.files[1+p.dir]} {
		if f != nil {
			f.Write(o.buf[:end])
		}
	}
}

func (o *output) ethernet(t *talk, p *packet, n int) int {
	src, dst := t.host[p.dir], t.host[1-p.dir]
	copy(o.buf[n:], []byte{2, 0, 0, 0, 0, dst.v4[3], 2, 0, 0, 0, 0, src.v4[3]})
	n += 12
	if v := t.host[client].vlan; v != 0 {
		o.buf[n], o.buf[n+1] = 0x81, 0
		binary.BigEndian.PutUint16(o.buf[n+2:], v)
		n += 4
	}
	kind := uint16(0x0800)
	if t.v6 {
		kind = 0x86dd
	}
	binary.BigEndian.PutUint16(o.buf[n:], kind)
	return n + 2
}

// transport writes the TCP or UDP header, without the checksum, and the data; it gives their end.
func transport(b []byte, at int, t *talk, p *packet) int {
	be := binary.BigEndian
	be.PutUint16(b[at:], t.port[p.dir])
	be.PutUint16(b[at+2:], t.port[1-p.dir])
	if !t.tcp {
		be.PutUint16(b[at+4:], uint16(8+len(p.data)))
		be.PutUint16(b[at+6:], 0)
		return at + 8 + copy(b[at+8:], p.data)
	}
	be.PutUint32(b[at+4:], p.seq)
	be.PutUint32(b[at+8:], p.ack)
	b[at+12], b[at+13] = 5<<4, p.flags
	be.PutUint16(b[at+14:], 64240)
	be.PutUint32(b[at+16:], 0)
	return at + 20 + copy(b[at+20:], p.data)
}

// ip writes the network header and both checksums.
func (o *output) ip(t *talk, p *packet, at, l4, end int) {
	be := binary.BigEndian
	h := o.buf[at:l4]
	proto := byte(17)
	if t.tcp {
		proto = 6
	}
	src, dst := t.host[p.dir], t.host[1-p.dir]
	var addresses []byte
	if t.v6 {
		copy(h, []byte{0x60, 0, 0, 0, 0, 0, proto, 64})
		be.PutUint16(h[4:], uint16(end-l4))
		copy(h[8:], src.v6[:])
		copy(h[24:], dst.v6[:])
		addresses = h[8:40]
	} else {
		o.ident++
		copy(h, []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, proto, 0, 0})
		be.PutUint16(h[2:], uint16(end-at))
		be.PutUint16(h[4:], o.ident)
		copy(h[12:], src.v4[:])
		copy(h[16:], dst.v4[:])
		be.PutUint16(h[10:], ^checksum(0, h))
		addresses = h[12:20]
	}
	body := o.buf[l4:end]
	sum := ^checksum(checksumPart(addresses)+uint32(proto)+uint32(len(body)), body)
	if t.tcp {
		be.PutUint16(body[16:], sum)
		return
	}
	if sum == 0 {
		sum = 0xffff
	}
	be.PutUint16(body[6:], sum)
}

// checksum is the Internet checksum's sum (RFC 1071), not yet complemented.
func checksum(from uint32, b []byte) uint16 {
	sum := from + checksumPart(b)
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

func checksumPart(b []byte) (sum uint32) {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}
