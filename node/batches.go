package node

import (
	"ntpac"
)

// batchPool recycles batches: its length bounds how many are in flight.
type batchPool struct{ free chan *ntpac.Batch }

const batchPackets = 1024

func newBatchPool(n int) *batchPool { return &batchPool{make(chan *ntpac.Batch, n)} }

// get gives an empty batch.
func (p *batchPool) get() *ntpac.Batch {
	select {
	case b := <-p.free:
		return b
	default:
		return &ntpac.Batch{Packets: make([]ntpac.Packet, 0, batchPackets), Pool: p.put}
	}
}

func (p *batchPool) put(b *ntpac.Batch) {
	select {
	case p.free <- b:
	default:
	}
}
