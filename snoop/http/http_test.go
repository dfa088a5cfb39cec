package http_test

import (
	"testing"

	"ntpac/snoop/http"
	"ntpac/snoop/snooptest"
)

func TestHTTP(t *testing.T) { snooptest.Run(t, http.New()) }

func FuzzHTTP(f *testing.F) { snooptest.Fuzz(f, http.New()) }
