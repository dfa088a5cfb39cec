//go:build !linux

package reassembly

// mapMemory has nothing better than the heap on this system.
func mapMemory(int) ([]byte, bool) { return nil, false }

func unmapMemory([]byte) {}
