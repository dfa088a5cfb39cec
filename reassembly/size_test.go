package reassembly

import (
	"net/netip"
	"testing"
	"unsafe"

	"ntpac"
	"ntpac/packet"
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

func rawKey(port uint16) packet.RawKey {
	return packet.RawOf(ntpac.FlowKey{Proto: ntpac.TCP, End: [2]netip.AddrPort{
		netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port), netip.MustParseAddrPort("10.0.0.2:80")}})
}
