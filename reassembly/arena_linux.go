package reassembly

import "syscall"

const hugePage = 2 << 20

// mapMemory gives zeroed memory outside the heap, with huge pages behind it where that is allowed.
// Nothing of it is resident before it is written.
func mapMemory(n int) ([]byte, bool) {
	n = (n + hugePage - 1) &^ (hugePage - 1)
	m, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return nil, false
	}
	_ = syscall.Madvise(m, syscall.MADV_HUGEPAGE) // only advice: it works without
	return m, true
}

func unmapMemory(m []byte) { _ = syscall.Munmap(m) }
