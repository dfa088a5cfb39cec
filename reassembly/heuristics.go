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
	splitLimit             // its predecessor had as many holes as one conversation may have
)

var splitReasons = [...]string{"", "syn", "idle", "jump", "after-close", "limit"}

// String is the reason as stored.
func (s splitReason) String() string { return splitReasons[s] }

// servicePorts are the ports above 1023 whose owner is practically always the server.
var servicePorts = map[uint16]bool{1433: true, 1521: true, 1883: true, 2049: true, 3128: true, 3306: true, 3389: true,
	5060: true, 5222: true, 5353: true, 5355: true, 5432: true, 5900: true, 6379: true, 6667: true, 8000: true,
	8080: true, 8443: true, 8883: true, 9042: true, 9092: true, 9200: true, 11211: true, 20000: true, 27017: true,
	44818: true, 47808: true}

// guessClient says who the client is when no SYN told: the side opposite to a well-known port, else
// who spoke first. The lower of two ports decides nothing: ephemeral ranges overlap. Port 20 is the one
// well-known port from which connections are opened: the server's, for the data of FTP (RFC 959 section
// 3.2).
func guessClient(k *packet.RawKey, speaker ntpac.Side) (ntpac.Side, ntpac.ClientBy) {
	if k.Proto() != ntpac.TCP && k.Proto() != ntpac.UDP {
		return speaker, ntpac.ByFirst
	}
	served := func(p uint16) int {
		switch {
		case p == 0:
			return 0
		case p == 20 && k.Proto() == ntpac.TCP:
			return -1
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

// memory is how long a flow is remembered after its last packet. Within that time what comes on the same
// key is compared with it, and the reason for a split is known; behind it the key is as good as new.
//
// An open TCP connection may be silent for long and then go on exactly. Keep-alives come after two hours
// at the earliest by default (RFC 9293 section 3.8.4), so it is remembered for longer than that; an
// attempt that nobody answered, a connection that was closed, and datagrams are not worth it.
func (r *Reassembler) memory(f *flow) ntpac.Time {
	a, b := &f.half[0], &f.half[1]
	if f.key.Proto() == ntpac.TCP && f.status&closing == 0 && (a.next > 0 || b.next > 0 || a.packets > 0 && b.packets > 0) {
		return max(longSilence, 2*r.cfg.Idle)
	}
	return 2 * r.cfg.Idle
}

// longSilence is the longest silence within a connection: the keep-alive interval of two hours, and the
// nine probes of 75 s after which common systems give up.
const longSilence = (2*3600 + 9*75) * ntpac.Second

// verdict says to which conversation a segment belongs: the one that the flow has, or a new one for the
// splitReason that the verdict is. A stray belongs to none that is known yet; another is one that may have
// begun with strays.
type verdict uint8

const (
	belongs verdict = verdict(noSplit)
	stray   verdict = 255
	another verdict = 254
)

// farJump is how far a segment may lie from what its side sent last before one packet alone proves
// nothing, whatever ties it: the largest window that TCP can offer is 1 GB (RFC 7323), but nobody has
// more than this in flight past a tap. So a forged or damaged segment does not split a conversation, and
// two connections that look alike are never joined by a hole of a gigabyte.
const farJump = 64 << 20

// judge decides whether a segment belongs to the conversation in f or starts another one.
func (r *Reassembler) judge(f *flow, side ntpac.Side, t *segmentView) verdict {
	me, peer := &f.half[side], &f.half[side.Other()]
	if t.syn {
		return verdict(r.judgeSyn(f, side, t))
	}
	if (me.state|peer.state)&sawStray != 0 && (r.goesOn(f, side, t) || r.answersStray(f, side, t)) {
		return another
	}
	known := me.state&haveBase != 0
	off := me.unwrap(t.seq)
	if t.now-f.seen > r.cfg.Idle {
		exact := !known || off == me.next || off == me.next-1
		if t.hasAck && peer.state&haveBase != 0 {
			exact = exact && peer.unwrap(t.ack) == peer.high
		}
		if !exact || f.status&closing != 0 {
			return verdict(splitIdle)
		}
	}
	switch {
	case t.rst || t.n == 0 && !known:
		return belongs
	case t.n == 0:
		if max(off-me.high, me.next-off) > apart && f.contradicts(side, t) {
			return stray // most likely the acknowledgement that ends another handshake
		}
		return belongs
	}
	if f.status&(emitted|closing) == emitted|closing && (!known || off+int64(t.n) > me.next) {
		return verdict(splitClose)
	}
	switch {
	case known:
		return r.judgeJump(f, side, t, off)
	case me.state&sawAck != 0 && abs(int64(int32(t.seq-uint32(me.acked)))) > farJump:
		return stray // not what the peer acknowledges
	}
	return belongs
}

// judgeSyn decides on a segment with SYN. The same SYN again is a retransmission, unless the connection was over
// before (hosts that remember an old one answer with its numbers, are reset, and asked again); another one before
// anything was said or answered is another attempt of the same conversation; else it begins a new one,
// unless it was only captured late.
func (r *Reassembler) judgeSyn(f *flow, side ntpac.Side, t *segmentView) splitReason {
	me, peer := &f.half[side], &f.half[side.Other()]
	over := f.status&closing != 0
	silent := t.now-f.seen > r.cfg.Idle
	if me.state&haveISN != 0 && me.base == t.seq+1 {
		switch {
		case silent:
			return splitIdle
		case over && me.state&sawRst != 0 && t.now-f.seen > r.cfg.Window:
			return splitSyn // who began it has reset it, and begins anew
		}
		return noSplit
	}
	if !silent && r.answersExactly(me, peer, t) {
		return noSplit
	}
	said := me.next > 0 || peer.next > 0 || me.segs != 0 || peer.segs != 0
	answers := t.hasAck && peer.state&haveBase != 0 && r.answers(peer, t.ack)
	switch {
	case over || silent:
		return splitSyn
	case t.hasAck && peer.state&haveBase != 0 && !answers && (said || me.state&sawSyn != 0):
		return splitSyn // it answers a SYN of another connection
	case me.state&haveISN != 0 && (said || peer.state&sawSyn != 0 && !t.hasAck || peer.fin >= 0 || me.fin >= 0):
		return splitSyn
	case me.state&haveISN != 0:
		return noSplit // another attempt
	case me.state&holding != 0:
		if t.now <= r.heldOf(f).started[side]+r.cfg.Window && r.heads(me, t.seq) {
			return noSplit
		}
	case me.state&sawAck != 0: // what the peer acknowledged lies behind it, if it is only late
		if on := int64(int32(uint32(me.acked) - t.seq)); t.now <= f.first+r.cfg.Window && on > 0 && on <= lateHead {
			return noSplit
		}
	case t.now <= f.first+r.cfg.Window && me.state&haveBase == 0:
		return noSplit // of what was captured before it
	case answers && peer.state&haveISN != 0 && me.state&haveBase == 0:
		return noSplit // the answer to the SYN that is there
	case me.packets == 0 && !said:
		return noSplit
	}
	return splitSyn
}

// answers reports whether a SYN-ACK that acknowledges ack may answer the SYN of a side: what it
// acknowledges lies where that side's stream begins, or before its first captured bytes.
func (r *Reassembler) answers(h *half, ack uint32) bool {
	off := h.unwrap(ack)
	if h.state&haveISN == 0 {
		return off <= r.cfg.MaxLost && off >= -lateHead
	}
	return abs(off) <= r.cfg.MaxLost
}

// answersExactly reports whether a SYN-ACK is the one answer to the SYN that is there. A tap whose clock is
// behind shows it when all that the client said is over.
func (r *Reassembler) answersExactly(me, peer *half, t *segmentView) bool {
	return t.hasAck && peer.state&haveISN != 0 && t.ack == peer.base && me.state&haveISN == 0 &&
		(me.state&haveBase == 0 || me.state&holding != 0 && r.heads(me, t.seq))
}

// heads reports whether a SYN may be the one of the bytes that a side holds: captured late, it lies just
// before them.
func (r *Reassembler) heads(h *half, isn uint32) bool {
	start := h.unwrap(isn + 1)
	first := h.next
	if h.segs != 0 {
		first = r.segs.first(h).off
	}
	return start <= first && first-start <= lateHead
}

// lateHead is how much may have been captured between a SYN's place and the place where it was captured.
const lateHead = 1 << 20

// judgeJump decides on a segment with payload by how far it lies from what its side has sent, and by
// what ties it to the conversation: the initial sequence number, the peer's acknowledgements, or TCP
// timestamps that go on. The limit is that of Matoušek, Pluskal, Ryšavý et al., "Advanced Techniques for
// Reconstruction of Incomplete Network Data" (ICDF2C 2015): 4 kB.
func (r *Reassembler) judgeJump(f *flow, side ntpac.Side, t *segmentView, off int64) verdict {
	me := &f.half[side]
	jump := max(off-me.high, me.next-off)
	switch {
	case jump <= r.cfg.MaxLost:
		return belongs
	case jump > apart && jump <= farJump && f.contradicts(side, t):
		return another
	case jump <= farJump && me.state&haveISN != 0:
		return belongs
	case jump <= farJump && r.tied(f, side, t, off):
		return belongs
	case jump <= farJump:
		return verdict(splitJump)
	}
	return stray
}

// contradicts reports whether a segment that lies far away acknowledges what is far away, too: then both
// sides have jumped, as another connection's do whose SYNs were not captured. Stacks choose the next
// initial number of the same end points not far behind the last one (RFC 6528), so that this is common
// where ports are reused; that both directions of one connection lose so much at once is not.
func (f *flow) contradicts(side ntpac.Side, t *segmentView) bool {
	peer := &f.half[side.Other()]
	switch {
	case !t.hasAck:
		return false
	case peer.state&haveBase != 0:
		return abs(peer.unwrap(t.ack)-max(peer.high, peer.acked)) > apart
	case peer.state&sawAck != 0:
		return abs(int64(int32(t.ack-uint32(peer.acked)))) > apart
	}
	return false
}

// apart is what two numbers of one connection may differ by when packets of both directions are captured
// out of order: more than what is under way on nearly all paths.
const apart = 8 << 20

// tied reports whether acknowledgements or timestamps tie a segment at off to its conversation.
func (r *Reassembler) tied(f *flow, side ntpac.Side, t *segmentView, off int64) bool {
	me, peer := &f.half[side], &f.half[side.Other()]
	if off <= me.acked && me.acked-off <= farJump {
		return true
	}
	if t.hasAck && peer.state&haveBase != 0 && abs(peer.unwrap(t.ack)-peer.high) <= r.cfg.MaxLost {
		return true
	}
	if t.hasAck && peer.state&(haveBase|sawAck) == sawAck {
		// Nothing is known of the peer's stream but how far it was acknowledged.
		on := int64(int32(t.ack - uint32(peer.acked)))
		if on >= -r.cfg.MaxLost && (on <= r.cfg.MaxLost || on <= ackTie && off-me.high <= ackTie) {
			return true
		}
	}
	if !t.hasTS || me.state&sawTS == 0 {
		return false
	}
	// Ticks are 1 ms at the finest in practice and 1 s at the coarsest (RFC 7323 section 5.4); a
	// timestamp of another connection is random or far off.
	d := int64(int32(t.tsval - me.tsval))
	return d >= -1 && d <= 10_000+int64((t.now-f.last)/1e6)*2
}

// ackTie is how far both numbers of a segment may have gone on since the last one of its side, where the
// other side was not captured, to tie it: that another connection's do is far less likely than that its
// sequence number alone lies within 4 kB.
const ackTie = 1 << 20

func abs(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}

// keepAlive recognises a keep-alive probe: at most one byte, just below the next one (RFC 9293
// section 3.8.4), where that byte was captured, or where the peer had it before and nobody pushes it. Its
// byte is garbage and must neither be compared nor taken for the stream's.
func (r *Reassembler) keepAlive(h *half, t *segmentView, off int64) bool {
	if t.n > 1 || t.syn || t.fin || t.rst {
		return false
	}
	if off >= h.high && off == h.acked-1 && !t.psh {
		return true
	}
	if off != h.high-1 || h.high <= 0 {
		return false
	}
	return h.segs == 0 && off < h.next || h.segs != 0 && r.segs.at(h.segs).end == h.high
}

// plausibleRst reports whether a RST could end the connection: receivers ignore one that does not lie in
// their window (RFC 9293 section 3.10.7.4), and so must who watches, or a forged one would hide what
// follows. What is not known does not count against it. A refusal carries no sequence number of its
// own; it acknowledges what it refuses.
func plausibleRst(f *flow, side ntpac.Side, t *segmentView) bool {
	me, peer := &f.half[side], &f.half[side.Other()]
	if me.state&haveBase != 0 {
		off := me.unwrap(t.seq)
		return off >= min(me.acked, me.next) && off <= max(me.high, me.acked)+rstReach
	}
	if t.hasAck && peer.state&haveBase != 0 {
		ack := peer.unwrap(t.ack)
		return ack >= 0 && ack <= max(peer.high, peer.acked)+rstReach
	}
	if me.state&sawAck != 0 {
		off := int64(int32(t.seq - uint32(me.acked)))
		return off >= 0 && off <= rstReach
	}
	return true
}

// rstReach is how far ahead of what was captured a RST is believed: the usual largest window, with room
// for what the capture has missed.
const rstReach = 1 << 20

// tailEnd says where a stream ends for all that its packets prove: at FIN or RST, or at what the peer
// acknowledged. An acknowledgement of exactly one byte more than was captured is that of a FIN that
// was not captured: a lone missing byte at the end is far rarer.
func tailEnd(h *half) (end int64, cause ntpac.GapCause) {
	switch {
	case h.state&haveBase == 0:
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
