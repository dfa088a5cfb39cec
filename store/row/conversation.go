package row

import (
	"encoding/binary"

	"ntpac"
)

// conversationV is the version of the conversation row.
const conversationV = 1

// AppendConversation writes a conversation as a row. The id and the case are not in it (they are in
// its key), nor is the inline payload (AppendInline). Format: docs/format/conversation.md.
func AppendConversation(b []byte, c *ntpac.Conversation) []byte {
	b = append(b, conversationV)
	b = appendUint(b, c.Revision)
	b = binary.AppendVarint(b, int64(c.First-c.ID.Start()))
	b = binary.AppendVarint(b, int64(c.Last-c.First))
	b = append(b, byte(c.Key.Proto), byte(c.Key.Tunnel), byte(c.Client), byte(c.ClientBy), byte(c.AppBy), byte(c.Close))
	b = appendUint(b, c.Key.TunnelID)
	b = appendUint(b, c.Key.VLAN)
	b = appendUint(b, c.VLAN)
	b = appendUint(b, c.Flags)
	b = appendEnd(b, c.Key.End[0])
	b = appendEnd(b, c.Key.End[1])
	b = appendString(b, c.App)
	b = appendString(b, c.SplitBy)
	b = appendUint(b, c.HistLen)
	b = appendUint(b, len(c.Sources))
	for _, s := range c.Sources {
		b = binary.BigEndian.AppendUint64(b, uint64(s))
	}
	for i := range c.Half {
		b = appendHalf(b, &c.Half[i], c.First)
	}
	return b
}

// Bits of a half's first byte.
const (
	halfHead = 1 << iota
	halfSum
	halfGaps
	halfConflicts
)

func appendHalf(b []byte, h *ntpac.Half, first ntpac.Time) []byte {
	var bits byte
	if h.HeadKnown {
		bits |= halfHead
	}
	if !h.SHA256.IsZero() {
		bits |= halfSum
	}
	if len(h.Gaps) > 0 {
		bits |= halfGaps
	}
	if len(h.Conflicts) > 0 {
		bits |= halfConflicts
	}
	b = append(b, bits)
	b = appendUint(b, h.Packets)
	b = appendUint(b, h.Duplicates)
	b = appendUint(b, h.Bytes)
	b = appendUint(b, h.Missing)
	b = binary.AppendVarint(b, h.End-h.Bytes-h.Missing)
	b = appendUint(b, h.Overlap)
	if bits&halfSum != 0 {
		b = append(b, h.SHA256[:]...)
	}
	if bits&halfGaps != 0 {
		b = appendUint(b, len(h.Gaps))
		at := int64(0)
		for _, g := range h.Gaps {
			b = binary.AppendVarint(b, g.Off-at)
			b = appendUint(b, g.Len)
			b = append(b, byte(g.Cause))
			at = g.Off + g.Len
		}
	}
	if bits&halfConflicts != 0 {
		b = appendUint(b, len(h.Conflicts))
		for i := range h.Conflicts {
			k := &h.Conflicts[i]
			b = appendUint(b, k.Off)
			b = binary.AppendVarint(b, int64(k.TS-first))
			b = appendUint(b, k.Ord)
			b = appendUint(b, k.From)
			b = appendString(b, k.Alt)
		}
	}
	return b
}

// DecodeConversation reads a row into c, whose ID and Case say where it was found.
func DecodeConversation(b []byte, c *ntpac.Conversation) error {
	d := decoder{b: b}
	*c = ntpac.Conversation{ID: c.ID, Case: c.Case}
	d.version(conversationV)
	c.Revision = uint32(d.upto(1<<32 - 1))
	c.First = c.ID.Start() + ntpac.Time(d.int())
	c.Last = c.First + ntpac.Time(d.int())
	c.Key.Proto, c.Key.Tunnel = ntpac.Proto(d.u8()), ntpac.Tunnel(d.u8())
	c.Client = ntpac.Side(d.below(byte(ntpac.B)))
	c.ClientBy = ntpac.ClientBy(d.below(byte(ntpac.ByFirst)))
	c.AppBy = ntpac.AppBy(d.below(byte(ntpac.ByExpectation)))
	c.Close = ntpac.CloseCause(d.below(byte(ntpac.CloseLimit)))
	c.Key.TunnelID = uint32(d.upto(1<<32 - 1))
	c.Key.VLAN = uint16(d.upto(1<<16 - 1))
	c.VLAN = uint16(d.upto(1<<16 - 1))
	c.Flags = ntpac.ConvFlags(d.upto(1<<32 - 1))
	c.Key.End[0], c.Key.End[1] = d.endPoint(), d.endPoint()
	c.App, c.SplitBy = d.string(), d.string()
	c.HistLen = d.positive()
	if n := d.count(8); n > 0 {
		c.Sources = make([]ntpac.SourceID, n)
		for i := range c.Sources {
			c.Sources[i] = ntpac.SourceID(d.u64())
		}
	}
	for i := range c.Half {
		d.half(&c.Half[i], c.First)
	}
	return d.end()
}

// below is a byte that must not exceed max.
func (d *decoder) below(max byte) byte {
	v := d.u8()
	if v > max {
		d.fail()
		return 0
	}
	return v
}

func (d *decoder) half(h *ntpac.Half, first ntpac.Time) {
	bits := d.below(halfHead | halfSum | halfGaps | halfConflicts)
	h.HeadKnown = bits&halfHead != 0
	h.Packets, h.Duplicates = d.uint(), d.uint()
	h.Bytes, h.Missing = d.positive(), d.positive()
	h.End = h.Bytes + h.Missing + d.int()
	h.Overlap = d.positive()
	if bits&halfSum != 0 {
		h.SHA256 = d.hash()
	}
	if bits&halfGaps != 0 {
		if n := d.count(3); n > 0 {
			h.Gaps = make([]ntpac.Gap, n)
		}
		at := int64(0)
		for i := range h.Gaps {
			g := &h.Gaps[i]
			g.Off = at + d.int()
			g.Len = d.positive()
			g.Cause = ntpac.GapCause(d.below(byte(ntpac.GapCut)))
			at = g.Off + g.Len
		}
	}
	if bits&halfConflicts != 0 {
		if n := d.count(5); n > 0 {
			h.Conflicts = make([]ntpac.Conflict, n)
		}
		for i := range h.Conflicts {
			h.Conflicts[i] = ntpac.Conflict{Off: d.positive(), TS: first + ntpac.Time(d.int()), Ord: d.uint(),
				From: uint16(d.upto(1<<16 - 1)), Alt: d.bytes()}
		}
	}
}

// AppendInline writes a small conversation's streams.
func AppendInline(b []byte, in *ntpac.Inline) []byte {
	b = appendString(b, in.Stream[0])
	b = appendString(b, in.Stream[1])
	return append(b, in.History...)
}

// DecodeInline reads what AppendInline writes. The streams share b.
func DecodeInline(b []byte) (*ntpac.Inline, error) {
	d := decoder{b: b}
	in := &ntpac.Inline{}
	for s := range in.Stream {
		if v := d.take(d.count(1)); len(v) > 0 {
			in.Stream[s] = v[:len(v):len(v)]
		}
	}
	if len(d.b) > 0 {
		in.History = d.b
	}
	return in, d.err()
}
