package main

import (
	"runtime"
	"runtime/debug"
)

// defaultMemory is what the process takes at most where the user says nothing.
const defaultMemory size = 480 << 20

// limit holds the process to the cores and the memory that the user allows. Of the memory the stages'
// buffers get about half; the rest is for the index, the garbage between two collections, and stacks.
func limit(workers int, memory size) (buffers int64) {
	if workers < runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(workers)
	}
	if memory <= 0 {
		memory = defaultMemory
	}
	debug.SetMemoryLimit(int64(memory) * 85 / 100)
	return int64(memory) / 2
}
