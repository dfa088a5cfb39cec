package memory_test

import (
	"testing"

	"ntpac"
	"ntpac/store/memory"
	"ntpac/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Harness{Open: func(*testing.T) ntpac.Store { return memory.New() }})
}
