package store

import (
	"math/bits"
	"sync"

	"ntpac"
)

// Buffers recycles byte buffers by size class (powers of two), between the goroutines that fill them
// and those that write them out.
type Buffers struct {
	mu   sync.Mutex
	free [maxClass + 1][][]byte
	kept int64
}

const (
	minClass = 5  // 32 B
	maxClass = 20 // 1 MiB
	maxKept  = 32 << 20
)

func class(n int) int { return max(bits.Len(uint(max(n, 1)-1)), minClass) }

// Get gives an empty buffer for at least n bytes.
func (p *Buffers) Get(n int) []byte {
	k := class(n)
	if k > maxClass {
		return make([]byte, 0, n)
	}
	p.mu.Lock()
	if l := p.free[k]; len(l) > 0 {
		b := l[len(l)-1]
		p.free[k] = l[:len(l)-1]
		p.kept -= 1 << k
		p.mu.Unlock()
		return b[:0]
	}
	p.mu.Unlock()
	return make([]byte, 0, 1<<k)
}

// Put gives a buffer back; any buffer may be given.
func (p *Buffers) Put(b []byte) {
	n := cap(b)
	k := bits.Len(uint(n)) - 1
	if n == 0 || n != 1<<k || k < minClass || k > maxClass {
		return
	}
	p.mu.Lock()
	if p.kept < maxKept {
		p.free[k] = append(p.free[k], b)
		p.kept += int64(n)
	}
	p.mu.Unlock()
}

// Resident is a closed conversation's payload while it is still in memory.
type Resident struct {
	bufs   *Buffers
	stream [3][]byte
	half   [2]*ntpac.Half
	whole  bool
}

// Whole reports whether all three streams are here, so that they need not be read from the store.
func (m *Resident) Whole() bool { return m != nil && m.whole }

// Size is how much memory it holds.
func (m *Resident) Size() (n int64) {
	if m != nil {
		for _, b := range m.stream {
			n += int64(cap(b))
		}
	}
	return n
}

// Chunk gives a stream's bytes; it makes a Resident a ntpac.Payload.
func (m *Resident) Chunk(stream uint8, n int64) ([]byte, error) {
	b := m.stream[stream]
	l := int64(len(b))
	if stream == ntpac.StreamHistory {
		return b[min(n*ntpac.ChunkSize, l):min((n+1)*ntpac.ChunkSize, l)], nil
	}
	h := m.half[stream]
	lo, hi := n*ntpac.ChunkSize, (n+1)*ntpac.ChunkSize
	lo -= h.MissingIn(0, min(lo, h.End))
	hi -= h.MissingIn(0, min(hi, h.End))
	return b[min(lo, l):min(hi, l)], nil
}

// Release gives the memory back. Nothing read from it may be used any more.
func (m *Resident) Release() {
	if m == nil {
		return
	}
	for i := range m.stream {
		m.bufs.Put(m.stream[i])
		m.stream[i] = nil
	}
}
