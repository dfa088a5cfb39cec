package tls_test

import (
	"testing"

	"ntpac/snoop/snooptest"
	"ntpac/snoop/tls"
)

func TestTLS(t *testing.T) { snooptest.Run(t, tls.New()) }

// TestBehind reads TLS that begins behind other words. Of a hole before it nobody knows whether it
// holds a hello.
func TestBehind(t *testing.T) {
	snooptest.Run(t, tls.New(), snooptest.Folder("testdata/behind"), snooptest.MayGuess())
}

func FuzzTLS(f *testing.F) { snooptest.Fuzz(f, tls.New()) }
