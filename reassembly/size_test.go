package reassembly

import (
	"testing"
	"unsafe"
)

// A flow takes five cache lines, of which each direction has one.
func TestFlowSize(t *testing.T) {
	if n := unsafe.Sizeof(flow{}); n != 320 {
		t.Errorf("a flow takes %d bytes", n)
	}
	if n := unsafe.Sizeof(half{}); n != 64 {
		t.Errorf("a half takes %d bytes", n)
	}
}
