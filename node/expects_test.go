package node

import (
	"net/netip"
	"testing"

	"ntpac"
)

func TestExpectIndex(t *testing.T) {
	end := netip.MustParseAddrPort
	c := func(a, b string) *ntpac.Conversation {
		return &ntpac.Conversation{Key: ntpac.FlowKey{End: [2]netip.AddrPort{end(a), end(b)}}}
	}
	x := newExpectIndex()
	if x.might(c("10.0.0.1:1", "10.0.0.2:2")) {
		t.Error("nothing was announced")
	}
	x.add(&ntpac.Expectation{To: end("10.0.0.2:2")})
	x.add(&ntpac.Expectation{To: netip.AddrPortFrom(end("10.0.0.3:0").Addr(), 0)})
	for _, k := range []struct {
		a, b string
		want bool
	}{{"10.0.0.1:1", "10.0.0.2:2", true}, {"10.0.0.2:2", "10.0.0.4:1", true}, {"10.0.0.1:1", "10.0.0.2:3", false},
		{"10.0.0.3:9", "10.0.0.4:1", true}, {"10.0.0.1:1", "10.0.0.3:9", true}, {"10.0.0.5:9", "10.0.0.6:9", false}} {
		if got := x.might(c(k.a, k.b)); got != k.want {
			t.Errorf("%s %s: %t", k.a, k.b, got)
		}
	}
	x.add(&ntpac.Expectation{})
	if !x.might(c("10.0.0.5:9", "10.0.0.6:9")) {
		t.Error("an announcement without address may mean everybody")
	}
}
