// Package cluster joins nodes. So far it is the data plane: links that carry packet batches from a
// balancer to the node that owns their shards, with credits coming back. A link is a plain struct over
// a connection that its caller made (and secured); its caller also supplies the goroutines.
//
// The format of what is sent is docs/format/frame.md.
package cluster

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"ntpac"
)

// Version is that of the frame format.
const Version = 1

// Sizes of frames and their parts, in bytes.
const (
	HeaderSize = 88
	RecordSize = 72        // a packet without its frame
	PieceSize  = 56        // a fragment of a rebuilt datagram
	FrameSize  = 256 << 10 // at which a frame is sent, and the length of pooled buffers
	MaxFrame   = 20 << 20  // a frame longer than FrameSize has a single packet
	MaxRecords = 1024      // packets of one frame
	maxPieces  = 1 << 16
)

// Header says of what packets a frame is.
type Header struct {
	Case        [16]byte // UUID
	Group       uint64   // merge group
	Source      ntpac.SourceID
	SourceEpoch uint32
	Index       uint16     // the source's place in its merge group
	First, Last uint64     // ordinals of the packets; without packets, First is the next one and Last the one before
	Watermark   ntpac.Time // of the source: nothing older follows
	Table       uint64     // version of the shard table by which the receiver was chosen
}

// Reason says why a frame was refused.
type Reason uint8

// The reasons, in the order in which a receiver looks.
const (
	WrongVersion Reason = iota
	WrongLength
	WrongSum
	WrongRecord // a packet lies outside its frame or its headers outside of it
	TooMany     // more frames on the way than the receiver gave credit for, or more sources
	reasons
)

var reasonNames = [reasons]string{"unknown version", "length out of bounds", "checksum", "damaged record", "no credit"}

// String says it in words.
func (r Reason) String() string { return reasonNames[min(r, reasons-1)] }

// Error is why a frame was refused. It ends the link: what comes after such a frame means nothing. The
// sender makes a new one and reads its source again from where the receiver says.
type Error struct{ Reason Reason }

// Error names the reason.
func (e *Error) Error() string { return "frame refused: " + e.Reason.String() }

// ErrPacket is given for a packet that no frame can hold.
var ErrPacket = errors.New("packet too long for a frame")

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// encoder gathers the packets of one source into a frame: header and records in one buffer, the
// packets' bytes in another, so that both grow without moving and leave in one write.
type encoder struct {
	head, body []byte
	n          int
	first      uint64
	last       uint64
}

// newEncoder makes one whose first packet has the ordinal first, or a higher one.
func newEncoder(first uint64) encoder {
	return encoder{first: first, last: first - 1, head: make([]byte, HeaderSize, HeaderSize+MaxRecords*RecordSize), body: make([]byte, 0, FrameSize)}
}

// recordSize is how much longer a packet makes a frame.
func recordSize(b *ntpac.Batch, p *ntpac.Packet) int {
	n := RecordSize + int(p.Cap)
	if p.Flags&ntpac.Defragmented != 0 {
		n += len(b.Datagrams[p.Frag].Pieces) * PieceSize
	}
	return n
}

// add appends a packet, or reports that the frame must be sent first.
func (e *encoder) add(b *ntpac.Batch, p *ntpac.Packet) (ok bool, err error) {
	n := recordSize(b, p)
	if e.n > 0 && (e.n == MaxRecords || len(e.head)+len(e.body)+n > FrameSize) {
		return false, nil
	}
	if HeaderSize+n > MaxFrame {
		return false, ErrPacket
	}
	pieces := 0
	if p.Flags&ntpac.Defragmented != 0 {
		d := b.Datagrams[p.Frag].Pieces
		if pieces = len(d); pieces >= maxPieces {
			return false, ErrPacket
		}
		for i := range d {
			e.body = appendPiece(e.body, &d[i])
		}
	}
	e.body = append(e.body, b.Frame(p)...)
	k := len(e.head)
	e.head = e.head[:k+RecordSize]
	putRecord(e.head[k:], p, uint16(pieces))
	if e.n == 0 {
		e.first = p.Ord
	}
	e.last = p.Ord
	e.n++
	return true, nil
}

// seal completes the frame; head and body are then what to send.
func (e *encoder) seal(h *Header) {
	f := e.head
	le.PutUint32(f, uint32(len(e.head)+len(e.body)))
	le.PutUint16(f[4:], Version)
	le.PutUint16(f[6:], h.Index)
	le.PutUint32(f[8:], uint32(e.n))
	le.PutUint32(f[12:], h.SourceEpoch)
	copy(f[16:32], h.Case[:])
	le.PutUint64(f[32:], h.Group)
	le.PutUint64(f[40:], uint64(h.Source))
	le.PutUint64(f[48:], e.first)
	le.PutUint64(f[56:], e.last)
	le.PutUint64(f[64:], uint64(h.Watermark))
	le.PutUint64(f[72:], h.Table)
	le.PutUint32(f[80:], 0)
	le.PutUint32(f[84:], checksum(f, e.body))
}

// reset begins a new frame.
func (e *encoder) reset() {
	e.head, e.body, e.n = e.head[:HeaderSize], e.body[:0], 0
	if cap(e.body) > 2*FrameSize {
		e.body = make([]byte, 0, FrameSize)
	}
	e.first = e.last + 1
}

// checksum is over a frame without the field that has it.
func checksum(head, rest []byte) uint32 {
	sum := crc32.Update(0, castagnoli, head[:HeaderSize-4])
	sum = crc32.Update(sum, castagnoli, head[HeaderSize:])
	return crc32.Update(sum, castagnoli, rest)
}

// frameLength reads the length of a frame from its header, the only part that is looked at before the
// checksum.
func frameLength(f []byte) (int, error) {
	if le.Uint16(f[4:]) != Version {
		return 0, &Error{WrongVersion}
	}
	size, n := le.Uint32(f), le.Uint32(f[8:])
	if size > MaxFrame || size > FrameSize && n != 1 || n > MaxRecords || uint64(size) < HeaderSize+uint64(n)*RecordSize {
		return 0, &Error{WrongLength}
	}
	return int(size), nil
}

// decode reads a whole frame into an empty batch, whose packets then lie in the block k. Of k it sets
// Source and Index.
func decode(f []byte, k *ntpac.Block, b *ntpac.Batch) (h Header, err error) {
	if le.Uint32(f[84:]) != checksum(f[:HeaderSize], f[HeaderSize:]) {
		return h, &Error{WrongSum}
	}
	h = Header{Index: le.Uint16(f[6:]), SourceEpoch: le.Uint32(f[12:]), Case: [16]byte(f[16:32]), Group: le.Uint64(f[32:]),
		Source: ntpac.SourceID(le.Uint64(f[40:])), First: le.Uint64(f[48:]), Last: le.Uint64(f[56:]),
		Watermark: ntpac.Time(le.Uint64(f[64:])), Table: le.Uint64(f[72:])}
	k.Source, k.Index = h.Source, h.Index
	n := int(le.Uint32(f[8:]))
	at := HeaderSize + n*RecordSize
	next := h.First
	for i := range n {
		r := f[HeaderSize+i*RecordSize:][:RecordSize]
		b.Packets = append(b.Packets, ntpac.Packet{})
		p := &b.Packets[i]
		pieces := getRecord(r, p)
		if at, err = decodePieces(f, at, pieces, p, b); err != nil {
			return h, err
		}
		if p.Ord < next || p.Ord > h.Last || !sound(p) || int(p.Cap) > len(f)-at {
			return h, &Error{WrongRecord}
		}
		next = p.Ord + 1
		p.Pos, p.Blk = uint32(at), 0
		at += int(p.Cap)
	}
	if at != len(f) {
		return h, &Error{WrongRecord}
	}
	b.Watermark = h.Watermark
	return h, nil
}

// sound checks what package packet promises of where the headers of a packet lie, so that whoever
// reads them stays inside the frame.
func sound(p *ntpac.Packet) bool {
	network, transport := 20, 0
	if p.Flags&ntpac.IPv6 != 0 {
		network = 40
	}
	switch {
	case p.Flags&(ntpac.Fragment|ntpac.IPv6) == ntpac.Fragment|ntpac.IPv6:
		network += 8 // the fragment header
	case p.Flags&ntpac.Fragment != 0:
	case p.Proto == ntpac.TCP:
		transport = 20
	case p.Proto == ntpac.UDP || p.Proto == udpLite:
		transport = 8
	case p.Proto == ntpac.SCTP || p.Proto == dccp:
		transport = 12
	}
	return int(p.L3)+network <= int(p.L4) && int(p.L4)+transport <= int(p.Pay) && uint64(p.Pay)+uint64(p.PayCap) <= uint64(p.Cap)
}

const (
	dccp    ntpac.Proto = 33
	udpLite ntpac.Proto = 136
)

// A record is a packet's descriptor, field by field in the order of their sizes. Its shard is the top
// ten bits of the hash.
func putRecord(r []byte, p *ntpac.Packet, pieces uint16) {
	_ = r[RecordSize-1]
	le.PutUint64(r, uint64(p.TS))
	le.PutUint64(r[8:], uint64(p.Off))
	le.PutUint64(r[16:], p.Ord)
	le.PutUint64(r[24:], p.Hash)
	le.PutUint32(r[32:], p.Cap)
	le.PutUint32(r[36:], p.Wire)
	le.PutUint32(r[40:], p.PayLen)
	le.PutUint32(r[44:], p.PayCap)
	le.PutUint32(r[48:], p.TunnelID)
	le.PutUint32(r[52:], p.Lag)
	le.PutUint16(r[56:], p.L3)
	le.PutUint16(r[58:], p.L4)
	le.PutUint16(r[60:], p.Pay)
	le.PutUint16(r[62:], p.VLAN)
	le.PutUint16(r[64:], uint16(p.Link))
	le.PutUint16(r[66:], uint16(p.Flags))
	le.PutUint16(r[68:], pieces)
	r[70], r[71] = uint8(p.Proto), uint8(p.Tunnel)
}

func getRecord(r []byte, p *ntpac.Packet) (pieces int) {
	_ = r[RecordSize-1]
	p.TS, p.Off, p.Ord, p.Hash = ntpac.Time(le.Uint64(r)), int64(le.Uint64(r[8:])), le.Uint64(r[16:]), le.Uint64(r[24:])
	p.Cap, p.Wire = le.Uint32(r[32:]), le.Uint32(r[36:])
	p.PayLen, p.PayCap = le.Uint32(r[40:]), le.Uint32(r[44:])
	p.TunnelID, p.Lag = le.Uint32(r[48:]), le.Uint32(r[52:])
	p.L3, p.L4, p.Pay, p.VLAN = le.Uint16(r[56:]), le.Uint16(r[58:]), le.Uint16(r[60:]), le.Uint16(r[62:])
	p.Link, p.Flags = ntpac.LinkType(le.Uint16(r[64:])), ntpac.PacketFlags(le.Uint16(r[66:]))
	p.Proto, p.Tunnel = ntpac.Proto(r[70]), ntpac.Tunnel(r[71])
	return int(le.Uint16(r[68:]))
}

func appendPiece(b []byte, q *ntpac.Piece) []byte {
	b = le.AppendUint64(b, uint64(q.TS))
	b = le.AppendUint64(b, uint64(q.Off))
	b = le.AppendUint64(b, q.Ord)
	b = le.AppendUint64(b, uint64(q.Source))
	for _, v := range [...]uint32{q.Cap, q.Wire, q.Pos, q.At, q.Len} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint16(b, q.Index)
	again := uint16(0)
	if q.Again {
		again = 1
	}
	return le.AppendUint16(b, again)
}

// decodePieces reads the fragments of a rebuilt datagram, which stand before its bytes.
func decodePieces(f []byte, at, n int, p *ntpac.Packet, b *ntpac.Batch) (int, error) {
	if p.Flags&ntpac.Defragmented == 0 && n == 0 {
		return at, nil
	}
	if p.Flags&ntpac.Defragmented == 0 || n == 0 || n*PieceSize > len(f)-at {
		return at, &Error{WrongRecord}
	}
	d := make([]ntpac.Piece, n)
	for i := range d {
		r := f[at+i*PieceSize:][:PieceSize]
		d[i] = ntpac.Piece{TS: ntpac.Time(le.Uint64(r)), Off: int64(le.Uint64(r[8:])), Ord: le.Uint64(r[16:]), Source: ntpac.SourceID(le.Uint64(r[24:])),
			Cap: le.Uint32(r[32:]), Wire: le.Uint32(r[36:]), Pos: le.Uint32(r[40:]), At: le.Uint32(r[44:]), Len: le.Uint32(r[48:]),
			Index: le.Uint16(r[52:]), Again: r[54]&1 != 0}
	}
	p.Frag = uint32(len(b.Datagrams))
	b.Datagrams = append(b.Datagrams, ntpac.Datagram{Pieces: d})
	return at + n*PieceSize, nil
}
