package node

import (
	"ntpac"
	"ntpac/packet"
)

// Ledger says what became of everything that was read, and what was not analysed and why. Its sums balance:
// every packet and every byte of payload is counted once.
type Ledger struct {
	Packets PacketLedger            `json:"packets"`
	Payload PayloadLedger           `json:"payload_bytes"`
	Missing map[string]LedgerMissed `json:"missing"` // from TCP streams, by cause
	Cut     LedgerCut               `json:"cut"`     // by the snap length
	Limits  map[string]uint64       `json:"limits"`  // how often each was hit, by name; those that were not are left out
	Policy  LedgerPolicy            `json:"policy"`
	Sources LedgerSources           `json:"sources"`
}

// PacketLedger counts captured frames. Read is the sum of the others.
type PacketLedger struct {
	Read        uint64            `json:"read"`
	Analysed    uint64            `json:"analysed"` // packets of conversations
	Duplicates  uint64            `json:"duplicates"`
	Unassigned  uint64            `json:"unassigned"`  // nobody could say of which conversation
	Undecodable map[string]uint64 `json:"undecodable"` // of no conversation, by the decoder's verdict
	Fragments   FragmentLedger    `json:"fragments"`   // that brought no datagram about
}

// FragmentLedger counts IP fragments that were of no use.
type FragmentLedger struct {
	Incomplete  uint64 `json:"incomplete"` // others of their datagrams are missing
	Repeated    uint64 `json:"repeated"`   // their datagrams were whole
	Bad         uint64 `json:"bad"`        // cut, or against the rules
	Undecodable uint64 `json:"undecodable"`
}

func (l *FragmentLedger) sum() uint64 { return l.Incomplete + l.Repeated + l.Bad + l.Undecodable }

// PayloadLedger counts captured bytes of payload. Read is the sum of the others.
type PayloadLedger struct {
	Read       uint64 `json:"read"`
	Streams    uint64 `json:"streams"`
	Again      uint64 `json:"again"`      // captured before, in another packet
	Duplicates uint64 `json:"duplicates"` // of packets that were captured before
	Outside    uint64 `json:"outside"`    // of no stream: probes, text in a reset, what lies too far away
	Rejected   uint64 `json:"rejected"`   // wrong checksum, with --checksums verify
}

// LedgerMissed is what is missing for one cause.
type LedgerMissed struct {
	Holes uint64 `json:"holes"`
	Bytes uint64 `json:"bytes"`
}

// LedgerCut is what the snap length cut off.
type LedgerCut struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// LedgerPolicy is what was not done because the user wanted it so, or might want it otherwise.
type LedgerPolicy struct {
	NotSnooped  uint64 `json:"conversations_not_snooped"` // --snoop
	BadChecksum uint64 `json:"segments_bad_checksum"`     // --checksums
}

// LedgerSources is what was lost before a packet could be read.
type LedgerSources struct {
	Dropped uint64 `json:"dropped_packets"` // by who captured, by the source's own word
	Damaged uint64 `json:"damaged_places"`
	Skipped uint64 `json:"skipped_bytes"` // to find the next record
}

// Sum is how many of the packets are accounted for: as many as were read.
func (l *PacketLedger) Sum() uint64 {
	n := l.Analysed + l.Duplicates + l.Unassigned + l.Fragments.sum()
	for _, u := range l.Undecodable {
		n += u
	}
	return n
}

// Sum is how many bytes are accounted for: as many as were read.
func (l *PayloadLedger) Sum() uint64 {
	return l.Streams + l.Again + l.Duplicates + l.Outside + l.Rejected
}

// ledger makes the ledger of a run from the counters of the stages.
func (s *Summary) ledger() *Ledger {
	b, r, f := &s.Balancer, &s.Reassembly, &s.Fragments
	l := &Ledger{Missing: map[string]LedgerMissed{}, Limits: map[string]uint64{}}
	for i := range s.Sources {
		src := &s.Sources[i]
		l.Sources.Dropped += src.Dropped
		l.Sources.Damaged += uint64(src.Damaged)
		l.Sources.Skipped += uint64(src.Skipped)
	}
	for _, n := range b.Packets {
		l.Packets.Read += n
	}
	l.Packets.Undecodable = b.Packets.Map()
	delete(l.Packets.Undecodable, packet.OK.String())
	l.Packets.Analysed, l.Packets.Duplicates, l.Packets.Unassigned = r.Analysed, r.Duplicates, r.Unassigned
	l.Packets.Fragments = FragmentLedger{Incomplete: f.Abandoned, Repeated: f.Repeated, Bad: f.Bad, Undecodable: f.Undecodable}
	p := &r.Payload
	l.Payload = PayloadLedger{p.Read, p.Stream, p.Again, p.Duplicate, p.Outside, p.Rejected}
	for cause, g := range r.Gaps {
		if g.Gaps > 0 {
			l.Missing[ntpac.GapCause(cause).String()] = LedgerMissed{g.Gaps, g.Bytes}
		}
	}
	l.Cut = LedgerCut{b.Cut, b.CutBytes}
	l.Policy = LedgerPolicy{s.NotSnooped, r.BadChecksum}
	for name, n := range map[string]uint64{
		"held": r.MemoryLimit, "flows": r.Evicted, "order": r.OrderLimit, "gaps": r.GapLimit,
		"history": s.Alternatives, "fragments": f.Limited, "fields": s.Snoop.Oversized, "reorder": s.Forced,
	} {
		if n > 0 {
			l.Limits[name] = n
		}
	}
	return l
}
