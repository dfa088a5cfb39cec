package row

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"

	"ntpac"
)

// EvidenceHash is the hash of an entry over all its other fields. Format: docs/format/evidence.md.
func EvidenceHash(e *ntpac.Evidence) ntpac.Hash {
	b := append(make([]byte, 0, 256+len(e.Body)), "ntpac evidence 1\n"...)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	b = append(b, e.Key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.At))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Kind)))
	b = append(b, e.Kind...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(e.Body)))
	b = append(b, e.Body...)
	b = append(b, e.Prev[:]...)
	return sha256.Sum256(b)
}

// EvidenceKey is the key of an entry: the caller's, or, where none was given, a hash over when, what
// kind and what.
func EvidenceKey(e *ntpac.Evidence) ntpac.Hash {
	if !e.Key.IsZero() {
		return e.Key
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(e.At))
	b = appendString(b, e.Kind)
	return sha256.Sum256(append(b, e.Body...))
}

// Chain puts an entry behind the last one of a log.
func Chain(e ntpac.Evidence, seq uint64, prev ntpac.Hash) ntpac.Evidence {
	e.Key, e.Seq, e.Prev = EvidenceKey(&e), seq+1, prev
	e.Hash = EvidenceHash(&e)
	return e
}

// VerifyChain reads a whole log and gives the number of its entries. The error names the first entry
// that does not follow from the ones before.
func VerifyChain(log iter.Seq2[*ntpac.Evidence, error]) (n uint64, err error) {
	var prev ntpac.Hash
	for e, err := range log {
		switch {
		case err != nil:
			return n, err
		case e.Seq != n+1:
			return n, fmt.Errorf("evidence log: entry %d is followed by entry %d", n, e.Seq)
		case e.Prev != prev:
			return n, fmt.Errorf("evidence log: entry %d does not continue the one before", e.Seq)
		case e.Hash != EvidenceHash(e):
			return n, fmt.Errorf("evidence log: entry %d was changed", e.Seq)
		}
		n, prev = e.Seq, e.Hash
	}
	return n, nil
}

// evidenceV is the version of the evidence row.
const evidenceV = 1

// AppendEvidence writes an entry without its number, which is in its key.
func AppendEvidence(b []byte, e *ntpac.Evidence) []byte {
	b = append(b, evidenceV)
	b = append(b, e.Key[:]...)
	b = append(b, e.Prev[:]...)
	b = append(b, e.Hash[:]...)
	b = binary.AppendVarint(b, int64(e.At))
	b = appendString(b, e.Kind)
	return appendString(b, e.Body)
}

// DecodeEvidence reads what AppendEvidence writes.
func DecodeEvidence(b []byte, seq uint64) (*ntpac.Evidence, error) {
	d := decoder{b: b}
	d.version(evidenceV)
	e := &ntpac.Evidence{Seq: seq, Key: d.hash(), Prev: d.hash(), Hash: d.hash()}
	e.At, e.Kind, e.Body = ntpac.Time(d.int()), d.string(), d.bytes()
	return e, d.end()
}
