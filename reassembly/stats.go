package reassembly

import "ntpac"

// Stats counts what a reassembler did.
type Stats struct {
	Packets       uint64 // a rebuilt datagram is one
	Analysed      uint64 // frames that are packets of a conversation, each fragment of a datagram for itself
	Duplicates    uint64 // frames that were captured before
	Unassigned    uint64 // frames that could not be said to belong to any conversation
	Conversations uint64
	Open          uint64 // now
	Reopened      uint64 // conversations that went on after they had been closed
	Retransmitted uint64 // segments that brought nothing new
	OutOfOrder    uint64
	OutOfWindow   uint64 // segments that lie outside what their stream can hold
	BadChecksum   uint64
	GapBytes      int64
	Gaps          [ntpac.GapCauses]GapStats // by cause; they sum up to GapBytes
	Payload       PayloadStats
	Late          uint64 // bytes that came when their range had been given up; kept as alternatives
	Conflicts     uint64 // bytes
	Evicted       uint64 // conversations that MaxFlows ended
	Forgotten     uint64 // and those that had ended and could have been recognised longer
	OrderLimit    uint64 // holes given up at MaxOrder
	MemoryLimit   uint64 // and at MaxHeld
	GapLimit      uint64 // conversations that MaxGaps ended; their streams go on in others
}

// GapStats counts holes of one cause.
type GapStats struct{ Gaps, Bytes uint64 }

// PayloadStats counts bytes of captured payload. Every one that was read is exactly one of the others.
type PayloadStats struct {
	Read      uint64
	Stream    uint64 // the bytes of all streams
	Again     uint64 // captured before: retransmitted, overlapping, late
	Duplicate uint64 // of duplicate packets
	Outside   uint64 // of no stream: probes, text in a reset, what lies too far away
	Rejected  uint64 // in segments with a wrong checksum, with ChecksumsVerify
}

// Add adds another reassembler's counters.
func (s *Stats) Add(o Stats) {
	s.Packets += o.Packets
	s.Analysed += o.Analysed
	s.Duplicates += o.Duplicates
	s.Unassigned += o.Unassigned
	s.Conversations += o.Conversations
	s.Open += o.Open
	s.Reopened += o.Reopened
	s.Retransmitted += o.Retransmitted
	s.OutOfOrder += o.OutOfOrder
	s.OutOfWindow += o.OutOfWindow
	s.BadChecksum += o.BadChecksum
	s.GapBytes += o.GapBytes
	for i := range s.Gaps {
		s.Gaps[i].Gaps += o.Gaps[i].Gaps
		s.Gaps[i].Bytes += o.Gaps[i].Bytes
	}
	s.Payload.add(&o.Payload)
	s.Late += o.Late
	s.Conflicts += o.Conflicts
	s.Evicted += o.Evicted
	s.Forgotten += o.Forgotten
	s.OrderLimit += o.OrderLimit
	s.MemoryLimit += o.MemoryLimit
	s.GapLimit += o.GapLimit
}

func (s *PayloadStats) add(o *PayloadStats) {
	s.Read += o.Read
	s.Stream += o.Stream
	s.Again += o.Again
	s.Duplicate += o.Duplicate
	s.Outside += o.Outside
	s.Rejected += o.Rejected
}

// repeated counts a duplicate packet.
func (s *Stats) repeated(p *ntpac.Packet) {
	s.Duplicates++
	s.Payload.Duplicate += uint64(p.PayCap)
}

// outside counts a segment that brings its stream nothing.
func (s *Stats) outside(n int) { s.Payload.Outside += uint64(n) }

// gap counts a hole.
func (s *Stats) gap(g ntpac.Gap) {
	s.GapBytes += g.Len
	s.Gaps[g.Cause].Gaps++
	s.Gaps[g.Cause].Bytes += uint64(g.Len)
}
