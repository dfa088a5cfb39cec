package reassembly

import (
	"ntpac"
	"ntpac/packet"
)

// This file has the rules of experience, each with its reason. They decide only what the packets
// themselves leave open.

// splitReason says why a conversation is not one with its predecessor on the same key.
type splitReason uint8

const (
	noSplit    splitReason = iota
	splitSyn               // a SYN with a new initial sequence number after data or the end
	splitIdle              // silence longer than the limit
	splitJump              // a jump in sequence that nothing ties to the conversation
	splitClose             // new data long after the connection was closed
)

var splitReasons = [...]string{"", "syn", "idle", "jump", "after-close"}

// String is the reason as stored.
func (s splitReason) String() string { return splitReasons[s] }

// servicePorts are the ports above 1023 whose owner is practically always the server.
var servicePorts = map[uint16]bool{1433: true, 1521: true, 1883: true, 2049: true, 3128: true, 3306: true, 3389: true,
	5060: true, 5222: true, 5353: true, 5355: true, 5432: true, 5900: true, 6379: true, 6667: true, 8000: true,
	8080: true, 8443: true, 8883: true, 9042: true, 9092: true, 9200: true, 11211: true, 20000: true, 27017: true,
	44818: true, 47808: true}

// guessClient says who the client is when no SYN told: the side opposite to a well-known port, else
// who spoke first. The lower of two ports decides nothing: ephemeral ranges overlap.
func guessClient(k *packet.RawKey, speaker ntpac.Side) (ntpac.Side, ntpac.ClientBy) {
	if k.Proto() != ntpac.TCP && k.Proto() != ntpac.UDP {
		return speaker, ntpac.ByFirst
	}
	served := func(p uint16) int {
		switch {
		case p == 0:
			return 0
		case p < 1024:
			return 2
		case servicePorts[p]:
			return 1
		}
		return 0
	}
	a, b := served(k.Port(ntpac.A)), served(k.Port(ntpac.B))
	switch {
	case a > b:
		return ntpac.B, ntpac.ByPort
	case b > a:
		return ntpac.A, ntpac.ByPort
	}
	return speaker, ntpac.ByFirst
}

// farJump is how far a segment may lie from what its side sent last before it needs a tie even where
// the initial sequence number is known: the largest window that TCP can offer is 1 GB (RFC 7323), but
// nobody has more than this in flight past a tap.
const farJump = 64 << 20

// continues decides whether a segment belongs to the conversation in f or starts another one.
func (r *Reassembler) continues(f *flow, side ntpac.Side, t *segmentView) splitReason {
	me, peer := &f.half[side], &f.half[side.Other()]
	ended := f.closeAt != 0
	if t.syn {
		return r.continuesWithSyn(f, side, t, ended)
	}
	off := me.unwrap(t.seq)
	exact := me.state&haveBase == 0 || off == me.next || off == me.next-1
	if t.hasAck && peer.state&haveBase != 0 {
		exact = exact && peer.unwrap(t.ack) == peer.high
	}
	if t.ts-f.last > r.cfg.Idle && (!exact || ended) {
		return splitIdle
	}
	if f.status&emitted != 0 && ended && t.n > 0 && me.state&haveBase != 0 && off+int64(t.n) > me.next {
		return splitClose
	}
	if t.n == 0 || t.rst || me.state&haveBase == 0 || r.tied(f, side, t, off) {
		return noSplit
	}
	return splitJump
}

// continuesWithSyn decides whether a SYN belongs to the conversation: as its beginning, captured late
// or sent again, or as another attempt before anything was said.
func (r *Reassembler) continuesWithSyn(f *flow, side ntpac.Side, t *segmentView, ended bool) splitReason {
	me, peer := &f.half[side], &f.half[side.Other()]
	switch {
	case me.state&haveBase != 0 && me.base == t.seq+1:
		if !ended || t.ts-f.last <= r.cfg.Idle {
			return noSplit // sent again
		}
	case t.hasAck && me.state&haveBase == 0 && peer.state&haveISN != 0 && t.ack == peer.base && !ended:
		return noSplit // the answer to this conversation's SYN, behind acknowledgements that overtook it
	case me.state&haveBase == 0 && me.packets == 0 && !ended:
		return noSplit // the first packet of this side
	case me.state&holding != 0 && t.ts-me.started <= r.cfg.Window:
		return noSplit // the SYN of the held bytes, captured late
	case me.bytes == 0 && peer.bytes == 0 && me.segs == 0 && !ended && me.state&sawSyn != 0 && peer.state&sawSyn == 0:
		return noSplit // nothing was said yet: the same attempt with another number
	}
	return splitSyn
}

// tied reports whether something ties a segment at off to its conversation: nearness, the initial
// sequence number, the peer's acknowledgements, or TCP timestamps that go on. The limits are those of
// Matoušek, Pluskal, Ryšavý et al., "Advanced Techniques for Reconstruction of Incomplete Network
// Data" (ICDF2C 2015): 4 kB and 600 s.
func (r *Reassembler) tied(f *flow, side ntpac.Side, t *segmentView, off int64) bool {
	me, peer := &f.half[side], &f.half[side.Other()]
	jump := off - me.high
	if back := me.next - off; jump < 0 && back > 0 {
		jump = back
	}
	switch {
	case jump <= r.cfg.MaxLost:
		return true
	case me.state&haveISN != 0 && jump <= farJump:
		return true
	case off <= me.acked && me.acked-off <= farJump:
		return true
	case t.hasAck && peer.state&haveBase != 0 && abs(peer.unwrap(t.ack)-peer.high) <= r.cfg.MaxLost && jump <= farJump:
		return true
	case t.hasTS && me.state&sawTS != 0 && jump <= farJump:
		// Ticks are 1 ms at the finest in practice and 1 s at the coarsest (RFC 7323 section 5.4); a
		// timestamp of another connection is random or far off.
		d := int64(int32(t.tsval - me.tsval))
		return d >= -1 && d <= 10_000+int64((t.ts-f.last)/1e6)*2
	}
	return false
}

func abs(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}

// keepAlive recognises a keep-alive probe: at most one byte, just below the next one (RFC 9293
// section 3.8.4). Its byte is garbage and must not be compared.
func keepAlive(h *half, t *segmentView, off int64) bool {
	return t.n <= 1 && off == h.high-1 && !t.syn && !t.fin && !t.rst && h.high > 0
}

// tailEnd says where a stream ends for all that its packets prove: at FIN or RST, or at what the peer
// acknowledged. An acknowledgement of exactly one byte more than was captured is that of a FIN that
// was not captured: a lone missing byte at the end is far rarer.
func tailEnd(h *half) (end int64, cause ntpac.GapCause) {
	switch {
	case h.fin >= 0:
		if h.acked >= h.fin {
			return h.fin, ntpac.GapAcked
		}
		return h.fin, ntpac.GapClose
	case h.acked > h.next+1:
		return h.acked, ntpac.GapAcked
	}
	return h.next, ntpac.GapClose
}

// plausibleAck bounds by how much an acknowledgement may run ahead of what was captured; one beyond
// is garbage (a forged or damaged segment), as a hole of that size would have passed the tap.
const plausibleAck = farJump
