package tls_test

import (
	"testing"

	"ntpac/snoop/snooptest"
	"ntpac/snoop/tls"
)

func TestTLS(t *testing.T) { snooptest.Run(t, tls.New()) }

// TestBehind reads TLS that begins behind other words.
func TestBehind(t *testing.T) {
	snooptest.Run(t, tls.New(), snooptest.Folder("testdata/behind"))
}

func FuzzTLS(f *testing.F) { snooptest.Fuzz(f, tls.New()) }
