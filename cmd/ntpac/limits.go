package main

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// defaultMemory is what the process takes at most where the user says nothing, and leastMemory what it needs
// to work at all.
const (
	defaultMemory size = 480 << 20
	leastMemory   size = 64 << 20
)

// index is what the store's index gets of the memory that the user allows; 0 is as much as it wants.
func (s size) index() int64 {
	if s == 0 {
		return 0
	}
	return min(max(int64(s)/20, 8<<20), 48<<20)
}

// limits hold the process to the cores and the memory that the user allows.
type limits struct {
	memory  int64        // all of it
	heap    int64        // what of it is the garbage collector's to keep
	outside atomic.Int64 // what is taken that it knows nothing of
}

// limit sets the limits. Of the memory the stages' buffers get about half; the rest is for the index, the
// garbage between two collections, stacks, the program itself, and what the collector of garbage is late with.
func limit(workers int, memory size) *limits {
	if workers < runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(workers)
	}
	if memory <= 0 {
		memory = defaultMemory
	}
	l := &limits{memory: int64(memory), heap: int64(memory) * 4 / 5}
	debug.SetMemoryLimit(l.heap)
	return l
}

// buffers is what the stages' buffers get.
func (l *limits) buffers() int64 { return l.memory / 2 }

// take notes memory outside the heap, with a minus when it is given back: the heap has so much less.
func (l *limits) take(bytes int64) {
	debug.SetMemoryLimit(max(l.heap-l.outside.Add(bytes), l.heap/4))
}
