package reassembly

import (
	"crypto/sha256"
	"encoding/binary"

	"ntpac"
)

// begin makes f a new conversation that starts with packet p.
func (r *Reassembler) begin(f *flow, ix uint32, p *ntpac.Packet, side ntpac.Side, now ntpac.Time) {
	f.first, f.last, f.seen, f.vlan = p.TS, p.TS, p.TS, p.VLAN
	f.client, f.clientBy = guessClient(&f.key, side)
	f.handle = r.sink.Open()
	r.stats.Conversations++
	r.stats.Open++
	r.wait(f, ix, now+r.cfg.Window) // for its id
	r.wheel.file(r.table, ix, p.TS+r.cfg.Idle)
}

// restart ends the conversation in f and begins its successor on the same key in its place.
func (r *Reassembler) restart(f *flow, ix uint32, p *ntpac.Packet, side ntpac.Side, now ntpac.Time, why splitReason) {
	r.finish(f, ix, ntpac.CloseIdle)
	r.loseStrays(f)
	r.extras.give(f)
	n := flow{key: f.key, hash: f.hash, status: live | f.status&(inWheel|inDue), split: why}
	if f.first == p.TS {
		n.ordinal = f.ordinal + 1
	}
	n.half[0].fin, n.half[1].fin = -1, -1
	*f = n
	r.begin(f, ix, p, side, now)
}

// revive goes on with a conversation that was already given to the sink as closed.
func (r *Reassembler) revive(f *flow, ix uint32) bool {
	h, ok := r.sink.Reopen(f.id())
	if !ok {
		return false
	}
	f.handle = h
	f.status &^= emitted
	f.revision++
	r.gaps += int64(f.gaps)
	r.stats.Open++
	r.stats.Reopened++
	if f.status&closing != 0 {
		r.wait(f, ix, f.last+r.cfg.Linger)
	}
	return true
}

// identify fixes the flow's id: see ntpac.ConversationID.
func (r *Reassembler) identify(f *flow) {
	if f.status&identified != 0 {
		return
	}
	k := f.key.FlowKey()
	b := append(r.idBuf[:0], r.cfg.Case...)
	b = append(b, 0)
	b = k.AppendBinary(b)
	b = binary.BigEndian.AppendUint64(b, uint64(f.first))
	b = binary.BigEndian.AppendUint32(b, f.isn)
	b = binary.BigEndian.AppendUint32(b, uint32(f.ordinal))
	r.idBuf = b
	sum := sha256.Sum256(b)
	f.idSum = binary.BigEndian.Uint64(sum[:])
	f.status |= identified
}

// announce tells the sink the flow's id: once the reorder window has passed its first packet, or when it
// has brought so much that the sink must write some of it.
func (r *Reassembler) announce(f *flow) {
	r.identify(f)
	r.sink.Identify(f.handle, f.id())
}

// id is the flow's id, which is fixed already.
func (f *flow) id() (id ntpac.ConversationID) {
	binary.BigEndian.PutUint64(id[:], uint64(f.first))
	binary.BigEndian.PutUint64(id[8:], f.idSum)
	return id
}

// look does for a flow what has become due at the clock's time and files it again.
func (r *Reassembler) look(f *flow, ix uint32) {
	if f.status&live == 0 {
		return
	}
	if f.status&waiting != 0 {
		r.settle(f, ix, r.now)
	}
	if r.faint(f, ix, r.now) {
		return
	}
	at := f.seen + r.cfg.Idle
	if f.status&emitted != 0 {
		at = f.seen + r.memory(f)
	}
	r.wheel.file(r.table, ix, max(at, r.now))
}

// faint ends a conversation that has been silent too long, and forgets one that has been silent longer
// than it is remembered; it reports whether it is forgotten.
func (r *Reassembler) faint(f *flow, ix uint32, now ntpac.Time) bool {
	silence := now - f.seen
	if silence > r.cfg.Idle && f.status&emitted == 0 {
		r.finish(f, ix, ntpac.CloseIdle)
	}
	if f.status&emitted == 0 || silence <= r.memory(f) {
		return false
	}
	r.finish(f, ix, ntpac.CloseIdle) // what was kept aside
	r.forget(f, ix)
	return true
}

// forget makes the place of a flow free.
func (r *Reassembler) forget(f *flow, ix uint32) {
	r.loseStrays(f)
	r.extras.give(f)
	r.wheel.remove(r.table, ix)
	r.table.remove(ix)
}

// wait has settle called when the time at has come.
func (r *Reassembler) wait(f *flow, ix uint32, at ntpac.Time) {
	f.status |= waiting
	if f.status&inDue == 0 {
		if n := r.due.n; n == len(r.due.ring) && n > 2*r.table.used {
			r.due.retain(r.isDue)
		}
		f.status |= inDue
		r.due.push(at, ix)
	}
}

// isDue reports whether an entry of the queue is that of a flow: of those that were forgotten, entries are
// left behind, and more than one where the place was taken by another flow. The first stands for all.
func (r *Reassembler) isDue(ix uint32, first bool) bool {
	f := r.table.at(ix)
	if f.status&live == 0 || (f.status&inDue != 0) != first {
		return false
	}
	f.status ^= inDue
	return true
}

// advanceDue settles the flows for which something has become due.
func (r *Reassembler) advanceDue() {
	for {
		ix, ok := r.due.pop(r.now)
		if !ok {
			return
		}
		f := r.table.at(ix)
		f.status &^= inDue
		if f.status&(live|waiting) != live|waiting {
			continue
		}
		r.settle(f, ix, r.now)
		if f.status&waiting != 0 {
			r.wait(f, ix, r.nextDue(f))
		}
	}
}

// settle makes final what the reorder window has passed at the time now: the id, held heads, holes, the
// end. It decides by the flow's own times, the same whether the clock or the flow's next packet calls
// it, and however often: output never depends on when the clock is advanced.
func (r *Reassembler) settle(f *flow, ix uint32, now ntpac.Time) {
	if f.status&emitted != 0 {
		f.status &^= waiting
		return
	}
	if f.status&identified == 0 && now > f.first+r.cfg.Window {
		r.announce(f)
	}
	if f.status&heldFlow != 0 {
		r.settleHeld(f, ix, now)
	}
	for s := range ntpac.Side(2) {
		for h := &f.half[s]; h.gapDue != 0 && now > h.gapDue && r.open(f, h.gapDue); {
			r.skip(f, ix, s)
			r.over(f, ix)
		}
	}
	r.over(f, ix)
	if f.status&closing != 0 && now > f.last+r.cfg.Linger {
		r.finish(f, ix, ntpac.Open)
	}
	if r.nextDue(f) == 0 {
		f.status &^= waiting
	}
}

// open reports whether a connection is not yet closed at a time that has passed. What becomes due behind its
// end finds it closed, also where the clock runs over both at once.
func (r *Reassembler) open(f *flow, at ntpac.Time) bool {
	return f.status&closing == 0 || at <= f.last+r.cfg.Linger
}

// nextDue is when settle has something to do again, 0 for never.
func (r *Reassembler) nextDue(f *flow) (at ntpac.Time) {
	if f.status&emitted != 0 {
		return 0
	}
	soonest := func(t ntpac.Time) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	if f.status&identified == 0 {
		soonest(f.first + r.cfg.Window)
	}
	if f.status&heldFlow != 0 {
		soonest(r.heldDue(f))
	}
	if f.status&closing != 0 {
		soonest(f.last + r.cfg.Linger)
	}
	soonest(f.half[0].gapDue)
	soonest(f.half[1].gapDue)
	return at
}

// over notes that a connection is over when both sides have said all.
func (r *Reassembler) over(f *flow, ix uint32) {
	a, b := &f.half[0], &f.half[1]
	if f.status&closing == 0 && a.fin >= 0 && b.fin >= 0 && a.next >= a.fin && b.next >= b.fin {
		r.ends(f, ix)
	}
}

// ends has the connection closed when no packet comes any more.
func (r *Reassembler) ends(f *flow, ix uint32) {
	f.status |= closing
	r.wait(f, ix, f.last+r.cfg.Linger)
}

// finish gives a conversation to the sink. cause says what ended it where neither FIN nor RST did.
func (r *Reassembler) finish(f *flow, ix uint32, cause ntpac.CloseCause) {
	if f.status&emitted != 0 && (!f.hasStrays() || !r.revive(f, ix)) {
		return // else what was kept aside proves to be of this conversation
	}
	if f.key.Proto() == ntpac.TCP {
		for s := range ntpac.Side(2) {
			r.finishSide(f, ix, s)
		}
		cause = tcpCause(f, cause)
	}
	r.identify(f)
	c := r.conversation(f)
	c.Close = cause
	f.status = f.status&^waiting | emitted
	r.gaps -= int64(f.gaps)
	r.stats.Open--
	r.sink.Close(f.handle, c)
}

// finishSide gives up all holes of a side, and its tail.
func (r *Reassembler) finishSide(f *flow, ix uint32, s ntpac.Side) {
	h := &f.half[s]
	r.dropStray(f, ix, s)
	if h.state&holding != 0 {
		r.release(f, ix, s)
	}
	for h.segs != 0 {
		r.skipTo(f, s, ntpac.GapClose)
	}
	if h.packets > 0 {
		end, cause := tailEnd(h)
		r.giveUp(f, s, end, cause)
	}
	h.gapDue = 0
}

func tcpCause(f *flow, cause ntpac.CloseCause) ntpac.CloseCause {
	switch {
	case cause == ntpac.CloseLimit:
		return cause
	case (f.half[0].state|f.half[1].state)&sawRst != 0:
		return ntpac.CloseRst
	case f.half[0].fin >= 0 || f.half[1].fin >= 0:
		return ntpac.CloseFin
	}
	return cause
}

// conversation builds the record of a flow from what the reassembler knows. It is good until the next one.
func (r *Reassembler) conversation(f *flow) *ntpac.Conversation {
	c := &r.conv
	*c = ntpac.Conversation{ID: f.id(), Case: r.cfg.Case, Key: f.key.FlowKey(), First: f.first, Last: f.last, Client: f.client, ClientBy: f.clientBy,
		SplitBy: f.split.String(), Flags: f.flags, VLAN: f.vlan, Revision: f.revision}
	tcp := f.key.Proto() == ntpac.TCP
	x := r.extras.look(f)
	for s := range 2 {
		h := &f.half[s]
		c.Half[s] = ntpac.Half{Packets: h.packets, Duplicates: x.dups[s], Bytes: h.next - x.missing[s], Missing: x.missing[s], End: h.next,
			Overlap: x.overlap[s], HeadKnown: !tcp || h.state&haveISN != 0}
		if h.packets == 0 {
			c.Flags |= ntpac.OneSided
		}
		if tcp && h.state&haveISN == 0 && c.Half[s].Bytes > 0 {
			c.Flags |= ntpac.HeadUnknown
		}
	}
	if tcp && (f.half[0].state|f.half[1].state)&haveISN == 0 {
		c.Flags |= ntpac.Midstream
	}
	return c
}
