package cassandra

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"sync"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
	"ntpac/store/row"
)

// partition is where the rows of conversations lie: those that began in one minute (since 1970), spread by
// their ids over the buckets of the case. It follows from the id, so no index by id is needed.
type partition struct {
	minute int32
	bucket int16
}

const minuteNs = 60e9

// minuteOf reads an id's time as ids sort: without a sign.
func minuteOf(id ntpac.ConversationID) int32 {
	return int32(binary.BigEndian.Uint64(id[:8]) / minuteNs)
}

const lastMinute = int32((1<<64 - 1) / uint64(minuteNs))

func hourOf(minute int32) int32 { return minute / 60 }

func (c *caseInfo) partition(id ntpac.ConversationID) partition {
	return partition{minuteOf(id), int16(int(id[15]) & (c.buckets - 1))}
}

// bucketOf spreads bodies.
func (c *caseInfo) bucketOf(h ntpac.Hash) int16 { return int16(int(h[0]) & (c.buckets - 1)) }

// chunksPerPartition keeps a partition of payload at 16 MiB.
const chunksPerPartition = 64

// endClasses is over how many classes the addresses of the index of end points are spread.
const endClasses = 32

// endClass is the class of an address, and the bucket of its partition.
func (c *caseInfo) endClass(a netip.Addr) (class, bucket int16) {
	h := fnv.New32a()
	b := a.As16()
	h.Write(b[:])
	class = int16(h.Sum32() % endClasses)
	return class, class & int16(c.buckets-1)
}

// What a conversation owns in partitions of its own, as table owned says it: chunks of a stream (by the
// stream's number), or parts of a generation.
const ownedParts = 3

// Classes of expectations: what of To is given.
const (
	classAddr = 1
	classPort = 2
	classes   = 4
)

func classOf(to netip.AddrPort) byte {
	c := byte(0)
	if to.Addr().IsValid() {
		c |= classAddr
	}
	if to.Port() != 0 {
		c |= classPort
	}
	return c
}

// expectPartitions is over how many partitions the expectations of a case are spread; expectClasses is
// the one that says which classes there are.
const (
	expectPartitions = 16
	expectClasses    = -1
)

// expectKey is what expectations are found by: class, protocol, and of to what the class says.
func expectKey(class byte, p ntpac.Proto, to netip.AddrPort) (k []byte, partition int16) {
	k = append(k, class, byte(p))
	if class&classAddr != 0 {
		k = row.AppendAddr(k, to.Addr())
	}
	if class&classPort != 0 {
		k = binary.BigEndian.AppendUint16(k, to.Port())
	}
	h := fnv.New32a()
	h.Write(k)
	return k, int16(h.Sum32() % expectPartitions)
}

// checkpointPartitions is over how many partitions the shards of a case are spread: few to read them all,
// many so that their owners do not wait for one another.
const checkpointPartitions = 32

// Kinds of keys in the evidence log.
const (
	logEntry = 'l' // number
	logKey   = 'y' // key of the entry
)

func logEntryKey(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte{logEntry}, seq) }

func logKeyKey(h ntpac.Hash) []byte { return append([]byte{logKey}, h[:]...) }

// convName names a conversation in any case.
type convName struct {
	c  gocql.UUID
	id ntpac.ConversationID
}

// lru remembers what was used lately: of two maps, the older is thrown away when the younger has size.
type lru[K comparable, V any] struct {
	mu         sync.Mutex
	size       int
	young, old map[K]V
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v, ok = l.young[k]; !ok {
		v, ok = l.old[k]
	}
	return v, ok
}

func (l *lru[K, V]) put(k K, v V) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.young == nil {
		l.young = make(map[K]V)
	}
	if len(l.young) >= l.size {
		l.old, l.young = l.young, make(map[K]V)
	}
	l.young[k] = v
}

// putNew is put where nothing is known.
func (l *lru[K, V]) putNew(k K, v V) {
	if _, ok := l.get(k); !ok {
		l.put(k, v)
	}
}

func (l *lru[K, V]) drop(k K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.young, k)
	delete(l.old, k)
}

// How much is remembered: cells of at most smallCell bytes.
const (
	knownCells = 1 << 14
	knownMarks = 1 << 16
	smallCell  = 1 << 10
)

// mark names a row of table minutes (with an application or none) or owned (with an id).
type mark struct {
	c    gocql.UUID
	at   partition
	id   ntpac.ConversationID
	what int8
	n    int64
	app  string
}
