//go:build cassandra

package cassandra

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"ntpac"
	"ntpac/store/storetest"
)

// at is the ring that the tests use: host:port.
func at(t testing.TB) string {
	t.Helper()
	a := os.Getenv("NTPAC_CASSANDRA")
	if a == "" {
		t.Fatal("NTPAC_CASSANDRA names no ring: make cassandra-test starts one")
	}
	return a
}

var keyspaces atomic.Int64

// newKeyspace names one that is not there yet.
func newKeyspace() string {
	return fmt.Sprintf("t%x_%d", time.Now().UnixMicro(), keyspaces.Add(1))
}

func open(t testing.TB, keyspace, options string) *Store {
	t.Helper()
	o, err := ParseURL("cassandra://" + at(t) + "/" + keyspace + "?" + options)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	kit(t, "")
}

// kit runs the kit. All tests share a keyspace and its tables, which are slow to make; what a test has
// written is dropped before the next.
func kit(t *testing.T, options string) {
	keyspace := newKeyspace()
	storetest.Run(t, storetest.Harness{
		Open: func(t *testing.T) ntpac.Store {
			s := open(t, keyspace, options)
			cases, err := s.Cases(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cases {
				if err := s.Drop(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			return s
		},
		Reopen: func(t *testing.T, s ntpac.Store) ntpac.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, keyspace, options)
		},
	})
}
