package ntpac

import "sync/atomic"

// SourceID names one source of packets. It derives from what the source is (its name, its size and
// its first bytes), so that reading the same file again gives the same id.
type SourceID uint64

// Block is a run of whole frames as they were read from one source, shared by the packets that lie
// in it. It goes back to its pool when the last holder releases it.
type Block struct {
	Mem    []byte   // frames and, between them, whatever the container has there
	Base   int64    // offset of Mem[0] in the decompressed source
	Source SourceID // where it came from
	Index  uint16   // the source's place in its merge group
	refs   atomic.Int32
	free   func(*Block)
}

// NewBlock gives a block with one holder; free is called when the last one releases it.
func NewBlock(mem []byte, free func(*Block)) *Block {
	b := &Block{Mem: mem, free: free}
	b.refs.Store(1)
	return b
}

// Retain adds n holders.
func (b *Block) Retain(n int) { b.refs.Add(int32(n)) }

// Release gives up one hold.
func (b *Block) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		if b.free != nil {
			b.free(b)
		}
	case n < 0:
		panic("ntpac: block released more often than held")
	}
}

// Reset makes a recycled block ready for a new holder.
func (b *Block) Reset() { b.refs.Store(1) }

// PacketFlags say what a packet is, or what is wrong with it.
type PacketFlags uint16

// What can be said of a packet after its headers were read.
const (
	IPv6         PacketFlags = 1 << iota // the innermost network header is IPv6
	Fragment                             // a fragment of an IP datagram: ports are unknown
	Cut                                  // the snap length cut the frame short
	Defragmented                         // a datagram rebuilt from fragments: Batch.Datagrams[Frag] has them
	Disordered                           // its source's time ran back near here: it must be put in order
	BadLength                            // the network header's length does not fit the frame
)

// Packet describes one captured frame: where it lies and, once the balancer has looked at it, what
// it is. It has no pointers and is never allocated by itself: packets travel in batches.
type Packet struct {
	TS       Time   // when it was captured
	Off      int64  // the frame's first byte in the decompressed source
	Ord      uint64 // its place among the packets of its source, from 0
	Hash     uint64 // keyed symmetric hash of the flow key, or of the datagram for fragments
	Pos      uint32 // the frame's first byte in its block
	Cap      uint32 // captured bytes
	Wire     uint32 // bytes on the wire
	PayLen   uint32 // transport payload by the headers' word
	PayCap   uint32 // and how much of it was captured
	TunnelID uint32 // VNI, GRE key: the tunnel's symmetric id
	Frag     uint32 // with Defragmented: index in Batch.Datagrams
	Lag      uint32 // milliseconds from TS to its effective time; 0 for all that came within the reorder window
	L3       uint16 // offset of the innermost network header in the frame
	L4       uint16 // offset of the transport header
	Pay      uint16 // offset of the transport payload
	VLAN     uint16 // outermost VLAN id, 0 for none
	Link     LinkType
	Blk      uint16 // its block's index in Batch.Blocks
	Flags    PacketFlags
	Proto    Proto
	Tunnel   Tunnel
}

// Effective is the packet's effective time: its place in merged order. The clock of whoever processes
// packets in that order never runs back, though the time of a packet that came late does.
func (p *Packet) Effective() Time { return p.TS + Time(p.Lag)*1e6 }

// Batch is what travels between stages: packets and the blocks in which they lie. Batches are
// recycled; whoever holds one last calls Free.
type Batch struct {
	Packets   []Packet
	Blocks    []*Block // each held once by the batch
	Datagrams []Datagram
	Watermark Time // the source's, or merged, clock: nothing older follows
	Pool      func(*Batch)
}

// Frame is the captured bytes of a packet of this batch. Of a rebuilt datagram it is the network
// header of its first fragment followed by the whole transport part.
func (b *Batch) Frame(p *Packet) []byte {
	m := b.Blocks[p.Blk].Mem
	return m[p.Pos : p.Pos+p.Cap : p.Pos+p.Cap]
}

// Free releases the blocks and gives the batch back.
func (b *Batch) Free() {
	for i, k := range b.Blocks {
		k.Release()
		b.Blocks[i] = nil
	}
	b.Blocks, b.Packets, b.Datagrams, b.Watermark = b.Blocks[:0], b.Packets[:0], b.Datagrams[:0], 0
	if b.Pool != nil {
		b.Pool(b)
	}
}

// AddDatagram makes place for the fragments of one more rebuilt datagram, and says which it is. The list of its
// pieces is empty and may be an old one: recycled batches need no new ones.
func (b *Batch) AddDatagram() (*Datagram, uint32) {
	n := len(b.Datagrams)
	if n < cap(b.Datagrams) {
		b.Datagrams = b.Datagrams[:n+1]
	} else {
		b.Datagrams = append(b.Datagrams, Datagram{})
	}
	d := &b.Datagrams[n]
	d.Pieces = d.Pieces[:0]
	return d, uint32(n)
}

// Datagram says from which fragments a rebuilt datagram was made, in order of their offset.
type Datagram struct {
	Pieces []Piece
}

// Piece is the part of a rebuilt datagram that one captured fragment carried.
type Piece struct {
	TS        Time
	Off       int64 // the fragment's frame in its source
	Ord       uint64
	Source    SourceID
	Index     uint16 // the source's place in its merge group
	Again     bool   // another part of a fragment that stands above already
	Cap, Wire uint32
	Pos       uint32 // the piece's first byte in the fragment's frame
	At, Len   uint32 // where it lies in the rebuilt datagram; Len is 0 where earlier ones had it all
}
