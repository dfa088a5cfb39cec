package tls_test

import (
	"testing"

	"ntpac/snoop/snooptest"
	"ntpac/snoop/tls"
)

func TestTLS(t *testing.T) { snooptest.Run(t, tls.New()) }

func FuzzTLS(f *testing.F) { snooptest.Fuzz(f, tls.New()) }
