package reassembly

import (
	"ntpac"
	"ntpac/packet"
)

// Rebuild replaces the fragments of a batch by the datagrams that they complete, in out, an empty batch; it
// gives the batch itself where there are none. The flow of a datagram is known only now, and so its hash:
// keyVLAN and seed are the balancer's. It owns b.
func (f *Fragments) Rebuild(b *ntpac.Batch, out func() *ntpac.Batch, keyVLAN bool, seed uint64) *ntpac.Batch {
	for i := range b.Packets {
		if b.Packets[i].Flags&ntpac.Fragment != 0 {
			o := out()
			f.rebuild(b, o, i, keyVLAN, seed)
			b.Free()
			return o
		}
	}
	return b
}

// rebuild fills out; the first fragment of b is at from.
func (f *Fragments) rebuild(b, out *ntpac.Batch, from int, keyVLAN bool, seed uint64) {
	out.Watermark = b.Watermark
	for _, k := range b.Blocks {
		k.Retain(1)
		out.Blocks = append(out.Blocks, k)
	}
	out.Packets = append(out.Packets, b.Packets[:from]...)
	for i := from; i < len(b.Packets); i++ {
		p := &b.Packets[i]
		if p.Flags&ntpac.Fragment == 0 {
			out.Packets = append(out.Packets, *p)
			continue
		}
		if !f.Add(b, p, out) {
			continue
		}
		n := len(out.Packets) - 1
		q := &out.Packets[n]
		frame := out.Frame(q)
		if v := packet.DecodeDatagram(frame, q); v != packet.OK {
			for _, piece := range out.Datagrams[q.Frag].Pieces {
				if !piece.Again {
					f.Undecodable++
				}
			}
			out.Packets = out.Packets[:n]
			continue
		}
		var k packet.RawKey
		packet.Raw(frame, q, keyVLAN, &k)
		q.Hash = packet.Hash(&k, seed)
	}
}
