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

// Artifacts counts what was found, by type.
func (p *Progress) Artifacts() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.byType)
}

func (p *Progress) artifacts(as []*ntpac.Artifact) {
	for _, a := range as {
		p.count(a.Type, 1)
	}
}

func (p *Progress) count(kind string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byType == nil {
		p.byType = map[string]int64{}
	}
	if p.byType[kind] += n; p.byType[kind] == 0 {
		delete(p.byType, kind)
	}
}
