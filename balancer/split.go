package balancer

import "ntpac"

// Split appends the packets of a prepared batch to out, a batch for every owner; owner says who has
// which shard. The order of packets is kept. Each out batch holds every block that its packets lie in
// once; the input batch keeps its own holds and is the caller's to free.
//
// A batch that is full is given to emit, which returns an empty one to go on with. It carries the
// watermark from before this call, because more of the same input may follow. At the end all
// batches, also those that got nothing, have the input's watermark.
func (b *Balancer) Split(in *ntpac.Batch, out []*ntpac.Batch, owner *[ntpac.Shards]uint16, emit func(owner int, full *ntpac.Batch) *ntpac.Batch) {
	b.reset(len(out), len(in.Blocks))
	for i := range in.Packets {
		p := &in.Packets[i]
		o := int(owner[ntpac.Shard(p.Hash)])
		to := out[o]
		if len(to.Packets) >= MaxPackets || len(to.Blocks) >= MaxBlocks {
			mark := to.Watermark
			to = emit(o, to)
			to.Watermark = mark
			out[o] = to
			clear(b.place[o])
		}
		blk := b.place[o][p.Blk]
		if blk == 0 {
			blk = hold(to, in.Blocks[p.Blk])
			b.place[o][p.Blk] = blk
		}
		to.Packets = append(to.Packets, *p)
		q := &to.Packets[len(to.Packets)-1]
		q.Blk = blk - 1
		if p.Flags&ntpac.Defragmented != 0 {
			d, n := to.AddDatagram()
			q.Frag, d.Pieces = n, append(d.Pieces, in.Datagrams[p.Frag].Pieces...)
		}
	}
	for _, to := range out {
		to.Watermark = max(to.Watermark, in.Watermark)
	}
}

// hold gives the block's place in the batch + 1. A block that the last call already put there is the
// last one: sources go on in the block where they stopped.
func hold(to *ntpac.Batch, k *ntpac.Block) uint16 {
	if n := len(to.Blocks); n > 0 && to.Blocks[n-1] == k {
		return uint16(n)
	}
	k.Retain(1)
	to.Blocks = append(to.Blocks, k)
	return uint16(len(to.Blocks))
}

// reset empties the table of places for a batch.
func (b *Balancer) reset(owners, blocks int) {
	for len(b.place) < owners {
		b.place = append(b.place, nil)
	}
	for o := range b.place[:owners] {
		if cap(b.place[o]) < blocks {
			b.place[o] = make([]uint16, blocks, max(blocks, 16))
		}
		b.place[o] = b.place[o][:blocks]
		clear(b.place[o])
	}
}
