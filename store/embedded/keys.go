package embedded

import (
	"encoding/binary"
	"net/netip"

	"ntpac"
	"ntpac/store/row"
)

// The index's keys: the case's number (4 bytes, so that a case is one range), a kind, and what follows
// here. Numbers are big endian, so that keys sort as the things do. Format: docs/format/index.md.
const (
	kindConversation = 'c' // id, 0: the row; id, 1: the state of its generations
	kindPart         = 'p' // id, generation, part
	kindChunk        = 'k' // id, stream, number
	kindApp          = 'a' // app, id
	kindEnd          = 'e' // address, id, port
	kindExpectation  = 'x' // class, protocol, address, port, id, generation, part, number
	kindBlob         = 'b' // SHA-256, id
	kindBody         = 'd' // SHA-256
	kindSource       = 's' // id
	kindCheckpoint   = 'h' // shard
	kindLog          = 'l' // number
	kindLogKey       = 'y' // key

	// Case number 0 holds what belongs to none.
	kindCase    = 'c' // name
	kindNext    = 'n' // the number of the next case
	kindDropped = 'x' // number of a case whose files are being deleted
)

const (
	keyHead = 5
	idLen   = 16
)

func key(b []byte, cs uint32, kind byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, cs), kind)
}

// Behind a conversation's id.
const (
	subRow   = 0
	subState = 1
)

func convKey(b []byte, cs uint32, id ntpac.ConversationID, sub byte) []byte {
	return append(append(key(b, cs, kindConversation), id[:]...), sub)
}

// chunkRecord is the part of a chunk's key that is also its record's.
func chunkRecord(b []byte, k ntpac.ChunkKey) []byte {
	return binary.BigEndian.AppendUint64(append(append(b, k.ID[:]...), k.Stream), uint64(k.N))
}

func chunkKey(b []byte, cs uint32, k ntpac.ChunkKey) []byte {
	return chunkRecord(key(b, cs, kindChunk), k)
}

func partRecord(b []byte, id ntpac.ConversationID, g row.GenerationKey, part int) []byte {
	return binary.BigEndian.AppendUint32(append(append(b, id[:]...), g[:]...), uint32(part))
}

func partKey(b []byte, cs uint32, id ntpac.ConversationID, g row.GenerationKey, part int) []byte {
	return partRecord(key(b, cs, kindPart), id, g, part)
}

// appKey is a prefix; an id follows.
func appKey(b []byte, cs uint32, app string) []byte {
	return append(binary.AppendUvarint(key(b, cs, kindApp), uint64(len(app))), app...)
}

// endKey is a prefix; id and port follow.
func endKey(b []byte, cs uint32, a netip.Addr) []byte {
	return row.AppendAddr(key(b, cs, kindEnd), a)
}

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

// expectKey is a prefix; id, generation, part and number follow. Of to, only what the class says.
func expectKey(b []byte, cs uint32, class byte, p ntpac.Proto, to netip.AddrPort) []byte {
	b = append(key(b, cs, kindExpectation), class, byte(p))
	if class&classAddr != 0 {
		b = row.AppendAddr(b, to.Addr())
	}
	if class&classPort != 0 {
		b = binary.BigEndian.AppendUint16(b, to.Port())
	}
	return b
}

func hashKey(b []byte, cs uint32, kind byte, h ntpac.Hash) []byte {
	return append(key(b, cs, kind), h[:]...)
}

func numberKey(b []byte, cs uint32, kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(key(b, cs, kind), n)
}

func caseKey(b []byte, name string) []byte { return append(key(b, 0, kindCase), name...) }

// after is the first key behind all that have the prefix.
func after(prefix []byte) []byte {
	b := append([]byte(nil), prefix...)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
	return nil
}
