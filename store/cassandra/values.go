package cassandra

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"ntpac"
	"ntpac/store/row"
)

// A versioned value begins with what decides between two of one write timestamp, as Cassandra then keeps
// the higher bytes: next (a conversation's revision, a chunk's length), and when it was written.
const versionLen = 12

func appendVersion(b []byte, next uint32, seq int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, next), uint64(seq))
}

// cutVersion gives what follows the version.
func cutVersion(v []byte) (version, rest []byte, err error) {
	if len(v) < versionLen {
		return nil, nil, row.ErrRow
	}
	return v[:versionLen], v[versionLen:], nil
}

// writeTime is the write timestamp of a commit's rows. The driver takes 0 for none.
func writeTime(stamp uint64) (int64, error) {
	if stamp >= 1<<62 {
		return 0, fmt.Errorf("cassandra: epoch %d is too high", stamp>>32)
	}
	return int64(stamp) + 1, nil
}

// Write timestamps of what has no stamp.
const (
	timeAlways = 1            // rows that are only there or not, and those whose value decides
	timeDrop   = 1<<63 - 1<<8 // deletions of what belongs to a dropped case: above all others
)

// cell is the value g of a conversation: the state of its generations, where their parts are, and the
// part itself where the visible generation has one small part.
type cell struct {
	state row.State
	w     []writing
	part  []byte // packed
}

// writing says under which number the parts of a generation lie in table parts.
type writing struct {
	key row.GenerationKey
	w   int64
}

const (
	cellV = 1
	// inlinePart is the packed length up to which a part rides in the cell.
	inlinePart = 4 << 10
)

func (c *cell) find(k row.GenerationKey) int {
	return slices.IndexFunc(c.w, func(w writing) bool { return w.key == k })
}

func (c *cell) append(b []byte) []byte {
	b = append(b, cellV)
	b = binary.AppendUvarint(b, uint64(len(c.w)))
	for _, w := range c.w {
		b = binary.BigEndian.AppendUint64(append(b, w.key[:]...), uint64(w.w))
	}
	b = binary.AppendUvarint(b, uint64(len(c.part)))
	b = append(b, c.part...)
	return c.state.Append(b)
}

// decodeCell reads a cell; an empty one is that of a conversation without generations.
func decodeCell(b []byte) (*cell, error) {
	c := &cell{}
	if len(b) == 0 {
		return c, nil
	}
	if b[0] != cellV {
		return nil, row.ErrRow
	}
	b = b[1:]
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)/16) {
		return nil, row.ErrRow
	}
	for b = b[k:]; n > 0; n-- {
		if len(b) < 16 {
			return nil, row.ErrRow
		}
		c.w = append(c.w, writing{row.GenerationKey(b[:8]), int64(binary.BigEndian.Uint64(b[8:]))})
		b = b[16:]
	}
	n, k = binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, row.ErrRow
	}
	if n > 0 {
		c.part = b[k : k+int(n) : k+int(n)]
	}
	st, err := row.DecodeState(b[k+int(n):])
	if err != nil {
		return nil, err
	}
	c.state = *st
	return c, nil
}

// partOut is a part that goes to table parts.
type partOut struct {
	w      int64
	n      int
	packed []byte
}

// take adds a part of a generation. It says whether it counts, what is to be written before the cell is,
// and which writings are of no use when the cell is stored.
func (c *cell) take(g *ntpac.Generation, packed []byte, epoch uint32, fresh func() int64) (o row.Outcome, out *partOut, drop []int64, err error) {
	if o, err = c.state.Take(g, epoch); err != nil {
		return o, nil, nil, err
	}
	release := func(k row.GenerationKey) {
		if i := c.find(k); i >= 0 {
			drop = append(drop, c.w[i].w)
			c.w = slices.Delete(c.w, i, i+1)
		}
	}
	for _, m := range o.Dropped {
		release(m.Key)
	}
	if !o.Write {
		return o, nil, drop, nil
	}
	single := g.Part == 0 && g.Done
	if single {
		release(o.Key)
	}
	if o.Shown {
		c.part = nil
	}
	switch {
	case single && len(packed) <= inlinePart:
		c.part = packed
	default:
		i := c.find(o.Key)
		if i < 0 {
			i = len(c.w)
			c.w = append(c.w, writing{o.Key, fresh()})
		}
		out = &partOut{c.w[i].w, g.Part, packed}
	}
	return o, out, drop, nil
}

// visible says where the parts of the visible generation lie: in the cell, or under a number in table
// parts. Neither, where it has none.
func (c *cell) visible() (part []byte, w int64, stored bool) {
	h := c.state.Visible
	if h == nil || h.Empty {
		return nil, 0, false
	}
	if i := c.find(h.Key); i >= 0 {
		return nil, c.w[i].w, true
	}
	return c.part, 0, false
}

// endRow is an entry of the index of end points.
type endRow struct {
	addr  netip.Addr
	id    ntpac.ConversationID
	port  uint16
	proto ntpac.Proto
}

// appendEnds writes entries of one class: for each address, their number and each id, port, protocol.
func appendEnds(b []byte, ends []endRow) []byte {
	slices.SortFunc(ends, func(a, b endRow) int {
		return cmp.Or(a.addr.Compare(b.addr), a.id.Compare(b.id), cmp.Compare(a.port, b.port))
	})
	ends = slices.Compact(ends)
	for i := 0; i < len(ends); {
		n := i
		for n < len(ends) && ends[n].addr == ends[i].addr {
			n++
		}
		b = binary.AppendUvarint(row.AppendAddr(b, ends[i].addr), uint64(n-i))
		for ; i < n; i++ {
			b = append(b, ends[i].id[:]...)
			b = append(binary.BigEndian.AppendUint16(b, ends[i].port), byte(ends[i].proto))
		}
	}
	return b
}

const endLen = 16 + 2 + 1

// findEnds calls f for the entries of an address.
func findEnds(b []byte, addr netip.Addr, f func(id ntpac.ConversationID, port uint16, proto ntpac.Proto)) error {
	for len(b) > 0 {
		a, rest, ok := row.ParseAddr(b)
		if !ok {
			return row.ErrRow
		}
		n, k := binary.Uvarint(rest)
		if k <= 0 || n > uint64(len(rest)-k)/endLen {
			return row.ErrRow
		}
		b = rest[k:]
		for ; n > 0; n-- {
			if a == addr {
				f(ntpac.ConversationID(b[:16]), binary.BigEndian.Uint16(b[16:]), ntpac.Proto(b[18]))
			}
			b = b[endLen:]
		}
	}
	return nil
}

// sourceRank orders what is known of one source as row.SourceYields does.
func sourceRank(i *ntpac.SourceInfo, seq int64) []byte {
	b := []byte{0}
	if i.Done {
		b[0] = 1
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, i.Packets), uint64(seq))
}

const sourceRankLen = 17

// decodeConversation reads the values v, p and g of a conversation, p and g where they were read.
func decodeConversation(cs string, id ntpac.ConversationID, v, p []byte, g *cell) (*ntpac.Conversation, error) {
	version, b, err := cutVersion(v)
	c := &ntpac.Conversation{ID: id, Case: cs}
	if err == nil {
		err = row.DecodeConversation(b, c)
	}
	if err != nil {
		return nil, fmt.Errorf("conversation %v: %w", id, err)
	}
	if g != nil {
		g.state.Overlay(c)
	}
	// Payload of another version than the row's was there before the conversation moved to chunks.
	if len(p) >= versionLen && bytes.Equal(p[:versionLen], version) {
		raw, err := row.Unpack(nil, p[versionLen:])
		if err == nil {
			c.Inline, err = row.DecodeInline(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("payload of conversation %v: %w", id, err)
		}
	}
	return c, nil
}
