package embedded

import (
	"testing"

	"ntpac"
	"ntpac/store/storetest"
)

func open(t testing.TB, dir string, opt Options) *Store {
	t.Helper()
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	// Small segments, so that the kit rolls them.
	opt := Options{SegmentSize: 16 << 10}
	storetest.Run(t, storetest.Harness{
		Open: func(t *testing.T) ntpac.Store { return open(t, t.TempDir(), opt) },
		Reopen: func(t *testing.T, s ntpac.Store) ntpac.Store {
			dir := s.(*Store).dir
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, dir, opt)
		},
	})
}
