// Package store is the front door of the stores: it opens one by its address, and has the packed form
// of payload that whoever commits chunks needs. Its folders: memory, embedded, cassandra (the stores), row (what
// they share), storetest (the laws that hold for all of them).
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"

	"ntpac"
	"ntpac/store/cassandra"
	"ntpac/store/embedded"
	"ntpac/store/row"
)

// Options of a store; the zero value is what everybody should use.
type Options struct {
	// SegmentSize is the length in bytes at which the embedded store begins a new segment file; 0 is
	// 256 MiB.
	SegmentSize int64
	// Cache is the memory in bytes that the embedded store takes for its index; 0 is 48 MiB.
	Cache int64
	// Existing refuses a store that is not there, where it would be made.
	Existing bool
	// Say is told, in a line each, what a store that is a server has chosen by itself. nil: nobody is told.
	Say func(string)
}

// Checker is what stores implement whose contents can be checked as they lie on the disk. Problems are
// reported one line each; checked counts rows, records and log entries; the error is for what kept the
// store from being read.
type Checker interface {
	Check(ctx context.Context, cs string, report func(problem string)) (checked int64, err error)
}

// ErrFull is what a commit gives when the disk has no room for it; the store stays as it was.
var ErrFull = embedded.ErrFull

// Open opens the store at uri: a directory, or cassandra://host1,host2/keyspace. Either is made where it
// does not exist.
func Open(ctx context.Context, uri string, opt Options) (ntpac.Store, error) {
	scheme, _, server := strings.Cut(uri, "://")
	switch {
	case server && scheme == cassandra.Scheme:
		return openCassandra(ctx, uri, opt)
	case server:
		return nil, ntpac.Usagef("--store: there is no %s://; a store is a directory or %s://HOST,HOST/KEYSPACE", scheme, cassandra.Scheme)
	case uri == "":
		return nil, ntpac.Usagef("--store needs the name of a directory")
	}
	if opt.Existing {
		if _, err := os.Stat(uri); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no store %s: ntpac run makes one, --store names another one", uri)
		}
	}
	s, err := embedded.Open(uri, embedded.Options{SegmentSize: opt.SegmentSize, Cache: opt.Cache})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openCassandra(ctx context.Context, uri string, opt Options) (ntpac.Store, error) {
	o, err := cassandra.ParseURL(uri)
	if err != nil {
		return nil, err
	}
	o.Existing, o.Say = opt.Existing, opt.Say
	s, err := cassandra.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Pack appends the packed form of raw to dst: compressed where that gains something, with its length
// and a CRC-32C. It allocates only where dst is too short; len(raw)+len(raw)/6+64 spare bytes suffice.
func Pack(dst, raw []byte) []byte { return row.Pack(dst, raw) }

// Unpack appends the raw bytes of a packed form to dst, or gives an error and dst as it was.
func Unpack(dst, packed []byte) ([]byte, error) { return row.Unpack(dst, packed) }

// VerifyChain reads an evidence log and gives the number of its entries, or an error that names the
// first one that does not follow from those before it.
func VerifyChain(log iter.Seq2[*ntpac.Evidence, error]) (uint64, error) { return row.VerifyChain(log) }

// Interface guards.
var (
	_ Checker = (*embedded.Store)(nil)
	_ Checker = (*cassandra.Store)(nil)
)
