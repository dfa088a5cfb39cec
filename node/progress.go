package node

import (
	"maps"
	"sync"
	"sync/atomic"

	"ntpac"
)

// Progress is what can be seen of a run from outside while it goes on.
type Progress struct {
	Packets       atomic.Int64
	Conversations atomic.Int64
	Total         atomic.Int64 // bytes of all sources; those of unknown size do not count

	mu      sync.Mutex
	sources []*source
	byType  map[string]int64
}

// Bytes is how much of the sources has been read, as they lie on the disk.
func (p *Progress) Bytes() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sources {
		if f := s.reading.Load(); f != nil {
			n += f.Read()
		}
	}
	return n
}

// Artifacts counts what was found, by type. What was found in a conversation that was read again counts
// once.
func (p *Progress) Artifacts() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := maps.Clone(p.byType)
	maps.DeleteFunc(m, func(_ string, n int64) bool { return n <= 0 })
	return m
}

// artifacts adds n for each of them.
func (p *Progress) artifacts(as []*ntpac.Artifact, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byType == nil {
		p.byType = map[string]int64{}
	}
	for _, a := range as {
		p.byType[a.Type] += n
	}
}
