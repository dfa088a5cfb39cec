package row

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"unicode/utf8"

	"ntpac"
)

// Rank orders the versions of a row with one id: the higher one stays, of equal ones the later.
type Rank struct {
	Stamp uint64 // of the commit
	Next  uint64 // a conversation's revision, a chunk's raw length
}

// Yields reports whether a row must give way to one of rank o.
func (r Rank) Yields(o Rank) bool {
	return cmp.Or(cmp.Compare(r.Stamp, o.Stamp), cmp.Compare(r.Next, o.Next)) <= 0
}

// SourceYields reports whether what is known of a source gives way to o: a finished reading stays
// before an unfinished one, more packets before fewer, of equal ones the later.
func SourceYields(s, o *ntpac.SourceInfo) bool {
	if s.Done != o.Done {
		return o.Done
	}
	return o.Packets >= s.Packets
}

// CheckpointNewer reports whether o is above c.
func CheckpointNewer(c, o *ntpac.Checkpoint) bool {
	return cmp.Or(cmp.Compare(o.Epoch, c.Epoch), cmp.Compare(o.Version, c.Version)) > 0
}

// Match reports whether a conversation is in the part of a query that concerns conversations. A list
// of ids is not looked at: stores go through it.
func Match(q *ntpac.Query, c *ntpac.Conversation) bool {
	return InRange(q, c.ID) && MatchAddrs(q.Addrs, c.Key.End) && (len(q.Apps) == 0 || slices.Contains(q.Apps, c.App))
}

// InRange reports whether an id is in the query's time range and behind its After.
func InRange(q *ntpac.Query, id ntpac.ConversationID) bool {
	t := id.Start()
	return (q.From == 0 || t >= q.From) && (q.To == 0 || t <= q.To) &&
		(q.After == ntpac.ConversationID{} || id.Compare(q.After) > 0)
}

// MatchAddrs reports whether an end point lies in one of the prefixes; no prefixes match all.
func MatchAddrs(ps []netip.Prefix, end [2]netip.AddrPort) bool {
	if len(ps) == 0 {
		return true
	}
	for _, p := range ps {
		if p.Contains(end[0].Addr()) || p.Contains(end[1].Addr()) {
			return true
		}
	}
	return false
}

// AppendID writes an id whose start time is t: the lowest possible one.
func AppendID(b []byte, t ntpac.Time) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(max(t, 0))), 0, 0, 0, 0, 0, 0, 0, 0)
}

// maxCase is the longest name of a case, in bytes.
const maxCase = 200

// CheckCase reports what is wrong with the name of a case.
func CheckCase(name string) error {
	switch {
	case name == "":
		return ntpac.Usagef("a case needs a name")
	case len(name) > maxCase || !utf8.ValidString(name):
		return ntpac.Usagef("the name of a case is UTF-8 text of at most %d bytes", maxCase)
	}
	return nil
}

// SortExpectations puts expectations in the order in which stores list them: by origin, start, context.
func SortExpectations(es []ntpac.Expectation) {
	slices.SortStableFunc(es, func(a, b ntpac.Expectation) int {
		return cmp.Or(a.Origin.Compare(b.Origin), cmp.Compare(a.Start, b.Start), bytes.Compare(a.Context, b.Context))
	})
}

// checkpointV is the version of the checkpoint row.
const checkpointV = 1

// AppendCheckpoint writes a checkpoint without its shard, which is in its key. The state is packed.
func AppendCheckpoint(b []byte, c *ntpac.Checkpoint) []byte {
	b = append(b, checkpointV)
	b = binary.BigEndian.AppendUint32(b, c.Epoch)
	b = binary.BigEndian.AppendUint32(b, c.Version)
	b = appendUint(b, len(c.Positions))
	for _, p := range c.Positions {
		b = binary.BigEndian.AppendUint64(b, uint64(p.Source))
		b = appendUint(b, p.Ord)
		b = binary.AppendVarint(b, int64(p.High))
	}
	return Pack(b, c.State)
}

// DecodeCheckpoint reads what AppendCheckpoint writes.
func DecodeCheckpoint(b []byte, shard uint16) (c ntpac.Checkpoint, err error) {
	d := decoder{b: b}
	d.version(checkpointV)
	c = ntpac.Checkpoint{Shard: shard, Epoch: d.u32(), Version: d.u32()}
	if n := d.count(10); n > 0 {
		c.Positions = make([]ntpac.Position, n)
		for i := range c.Positions {
			c.Positions[i] = ntpac.Position{Source: ntpac.SourceID(d.u64()), Ord: d.uint(), High: ntpac.Time(d.int())}
		}
	}
	if d.bad {
		return c, ErrRow
	}
	c.State, err = Unpack(nil, d.b)
	return c, err
}
