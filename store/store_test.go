package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"ntpac"
)

func TestOpen(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "made", "here")
	for range 2 {
		s, err := Open(ctx, dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ctx, &ntpac.Commit{Case: "c", Evidence: []ntpac.Evidence{{Kind: "ingest"}}}); err != nil {
			t.Fatal(err)
		}
		if n, err := VerifyChain(s.Log(ctx, "c")); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if _, ok := s.(Checker); !ok {
			t.Fatal("the embedded store cannot be checked")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, uri := range []string{"", "cassandra://host1,host2", "cassandra://h/k?bogus=1", "x://y"} {
		if s, err := Open(ctx, uri, Options{}); !errors.Is(err, ntpac.ErrUsage) || s != nil {
			t.Errorf("opening %q: %v", uri, err)
		}
	}
}

func TestPacked(t *testing.T) {
	b, err := Unpack(nil, Pack(nil, []byte("text")))
	if err != nil || string(b) != "text" {
		t.Fatal(b, err)
	}
}
