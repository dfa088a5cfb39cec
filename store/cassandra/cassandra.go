// Package cassandra is the store of a cluster: an Apache Cassandra ring, of which any number of nodes of
// ours are clients at the same time. It passes the same kit as the others.
//
// A commit is many writes: payload first, then indexes, generations, conversations, sources, evidence, and
// the checkpoint last. Each can be repeated, so a commit that was cut short is made whole by making it
// again; what of it can be seen before is said in docs/adr/0011. Nothing is overwritten by what is older:
// rows carry the commit's stamp as their write timestamp, what is read and changed goes by lightweight
// transactions. Tables: docs/format/cassandra.md.
package cassandra

import (
	"context"
	"errors"
	"fmt"
	"sync"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
)

// Store is an open store. It is used by many goroutines.
type Store struct {
	opt    Options
	db     *gocql.Session
	cons   gocql.Consistency
	serial gocql.Consistency
	ring   keyspaceInfo

	gate  *gate
	clock clock

	mu     sync.Mutex
	cases  map[string]*caseInfo // those that were seen lately
	users  int
	closed bool
	idle   chan struct{} // closed when the last user of a closed store has left

	known  lru[convName, []byte]   // cells of generations, as they were last seen: nil where there was none
	said   lru[mark, struct{}]     // index rows that need not be written again
	linked lru[convName, struct{}] // conversations whose end points are in the index
}

var errClosed = errors.New("the store is closed")

// Open connects to the ring. Keyspace and tables are made where they are not there.
func Open(ctx context.Context, o Options) (*Store, error) {
	db, ring, err := connect(ctx, &o)
	if err != nil {
		return nil, err
	}
	s := &Store{opt: o, db: db, ring: ring, cons: gocql.Quorum, serial: gocql.Serial, gate: newGate(o.InFlight),
		cases: map[string]*caseInfo{}, idle: make(chan struct{})}
	s.known.size, s.said.size, s.linked.size = knownCells, knownMarks, knownMarks
	switch {
	case o.Consistency != nil:
		s.cons = *o.Consistency
	case ring.rf == 1:
		s.cons = gocql.One
	}
	if s.cons == gocql.LocalQuorum {
		s.serial = gocql.LocalSerial
	}
	s.describe()
	if err := s.migrate(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// describe says what was chosen where nobody chose, and what looks unsafe.
func (s *Store) describe() {
	if s.opt.Say == nil {
		return
	}
	r := s.ring
	switch {
	case r.rf == 1 && r.nodes == 1:
		s.opt.Say(fmt.Sprintf("cassandra: one node: everything is kept once, consistency %v", s.cons))
	case r.rf == 1:
		s.opt.Say(fmt.Sprintf("cassandra: the ring has %d nodes, but keyspace %s is kept once: the loss of a node loses a part of it", r.nodes, s.opt.Keyspace))
	case r.nodes < r.rf:
		s.opt.Say(fmt.Sprintf("cassandra: keyspace %s is to be kept in %d copies, and the ring has %d nodes", s.opt.Keyspace, r.rf, r.nodes))
	}
	if r.rf > 1 && s.cons == gocql.One {
		s.opt.Say(fmt.Sprintf("cassandra: with consistency ONE and %d copies what was acknowledged can be lost, or not be seen for a while", r.rf))
	}
}

// enter counts a user in; a closed store has no new ones.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.users++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && s.closed {
		close(s.idle)
	}
}

// Close waits for those who are still reading or writing, and disconnects.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	busy := s.users > 0
	s.mu.Unlock()
	if busy {
		<-s.idle
	}
	s.db.Close()
	return nil
}

// Interface guard.
var _ ntpac.Store = (*Store)(nil)
