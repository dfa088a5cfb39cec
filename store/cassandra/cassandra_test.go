//go:build cassandra

package cassandra

import (
	"fmt"
	"os"
	"sync"
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

// shared names a keyspace for all tests that do not need their own: its tables are slow to make.
var shared = sync.OnceValue(newKeyspace)

// TestStore runs the kit. What a test has written is dropped before the next. The kit asks that a small
// commit is seen whole or not at all, which holds within one partition: on a ring of several nodes, where
// there are more by default, NTPAC_CASSANDRA_OPTIONS=buckets=1 is needed.
func TestStore(t *testing.T) {
	options := os.Getenv("NTPAC_CASSANDRA_OPTIONS")
	keyspace := shared()
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
