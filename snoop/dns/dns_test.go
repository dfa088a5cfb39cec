package dns_test

import (
	"testing"

	"ntpac/snoop/dns"
	"ntpac/snoop/snooptest"
)

func TestDNS(t *testing.T) { snooptest.Run(t, dns.New()) }

func FuzzDNS(f *testing.F) { snooptest.Fuzz(f, dns.New()) }
