package ntpac

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
)

// ConversationID names a conversation: its start time (8 bytes, big endian, so that ids sort by
// time) and 8 bytes of hash over case, flow key, start, and ISN or ordinal among equal starts.
type ConversationID [16]byte

// String is the id in hexadecimal.
func (id ConversationID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes the id in hexadecimal.
func (id ConversationID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *ConversationID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseConversationID(string(b))
	return err
}

// Start is the conversation's start time as the id carries it.
func (id ConversationID) Start() Time { return Time(binary.BigEndian.Uint64(id[:8])) }

// ParseConversationID reads what String writes.
func ParseConversationID(s string) (id ConversationID, err error) {
	if len(s) != 32 {
		return id, fmt.Errorf("a conversation id has 32 hexadecimal digits, not %d", len(s))
	}
	_, err = hex.Decode(id[:], []byte(s))
	return id, err
}

// FlowKey is what packets of one conversation have in common. The end points are sorted: A is the
// lower address, or of equal addresses the lower port.
type FlowKey struct {
	Proto    Proto
	Tunnel   Tunnel
	TunnelID uint32
	VLAN     uint16 // only where the user keys by VLAN
	End      [2]netip.AddrPort
}

// Compare orders flow keys: by end points, protocol, tunnel, VLAN.
func (k FlowKey) Compare(o FlowKey) int {
	return cmp.Or(k.End[A].Compare(o.End[A]), k.End[B].Compare(o.End[B]), cmp.Compare(k.Proto, o.Proto),
		cmp.Compare(k.Tunnel, o.Tunnel), cmp.Compare(k.TunnelID, o.TunnelID), cmp.Compare(k.VLAN, o.VLAN))
}

// AppendBinary writes the key in its canonical form, the one that ids hash.
func (k FlowKey) AppendBinary(b []byte) []byte {
	b = append(b, byte(k.Proto), byte(k.Tunnel))
	b = binary.BigEndian.AppendUint32(b, k.TunnelID)
	b = binary.BigEndian.AppendUint16(b, k.VLAN)
	for _, e := range k.End {
		a := e.Addr().As16()
		if e.Addr().Is4() {
			b = append(b, 4)
		} else {
			b = append(b, 6)
		}
		b = append(b, a[:]...)
		b = binary.BigEndian.AppendUint16(b, e.Port())
	}
	return b
}

// GapCause says why a range of a stream was given up as missing.
type GapCause uint8

// The causes of a gap.
const (
	GapAcked  GapCause = iota // the peer acknowledged bytes that were not captured
	GapWindow                 // later bytes came, and the reorder window has passed
	GapClose                  // still missing when the conversation ended
	GapLimit                  // a memory limit forced the decision
	GapCut                    // the snap length cut the packets
	GapCauses                 // how many causes there are
)

var gapCauses = [GapCauses]string{"acked", "window", "close", "limit", "cut"}

// String is the cause as the contract names it.
func (c GapCause) String() string { return gapCauses[c] }

// Gap is a missing range of a stream.
type Gap struct {
	Off, Len int64
	Cause    GapCause
}

// Conflict is a range of a stream that was captured with differing bytes. The stream has the primary
// version; Alt keeps the other one.
type Conflict struct {
	Off  int64
	Alt  []byte
	TS   Time
	Ord  uint64 // the packet that carried the alternative
	From uint16 // its source: index in Conversation.Sources
}

// HasConflict reports whether one of the conflicts has these bytes at off, alone or among others.
func HasConflict(conflicts []Conflict, off int64, alt []byte) bool {
	for i := len(conflicts) - 1; i >= 0; i-- { // what comes again does so soon
		c := &conflicts[i]
		if at := off - c.Off; at >= 0 && at+int64(len(alt)) <= int64(len(c.Alt)) && bytes.Equal(c.Alt[at:at+int64(len(alt))], alt) {
			return true
		}
	}
	return false
}

// CloseCause says how a conversation ended.
type CloseCause uint8

// The ends of a conversation.
const (
	Open       CloseCause = iota // it has not ended yet
	CloseFin                     // FIN
	CloseRst                     // RST
	CloseIdle                    // silence, or a newer conversation on the same end points
	CloseEnd                     // the capture ended
	CloseLimit                   // a memory limit evicted it
)

var closeCauses = [...]string{"", "fin", "rst", "idle", "end", "limit"}

// String is the cause as the contract names it; empty while open.
func (c CloseCause) String() string { return closeCauses[c] }

// ConvFlags are facts about a conversation that its reader must know.
type ConvFlags uint32

// The flags, in the order of their names in the contract.
const (
	Midstream    ConvFlags = 1 << iota // TCP whose beginning was not captured
	HeadUnknown                        // a side's offset 0 is its first captured byte, not its first byte
	OneSided                           // a direction without any packet
	Truncated                          // the snap length cut packets
	BadChecksum                        // segments with invalid checksums; they brought bytes only where --checksums allows it
	LimitMemory                        // evicted for the process's memory
	LimitOrder                         // out-of-order bytes were given up at the limit
	LimitHistory                       // alternatives or other history were given up at the limit
	ResetData                          // data came after a RST of its sender; what the other side had on its way is no sign of anything
	SimOpen                            // both sides sent SYN
	LimitGaps                          // it has as many holes as one may have, and goes on in another conversation
)

// Referenced marks a conversation whose payload is kept by reference. It says how it is stored, not
// what it is, so it has no name.
const Referenced ConvFlags = 1 << 31

var convFlagNames = [...]string{"midstream", "head-unknown", "one-sided", "truncated", "bad-checksum",
	"limit-memory", "limit-order", "limit-history", "data-after-reset", "simultaneous-open", "limit-gaps"}

// Names lists the flags that are set.
func (f ConvFlags) Names() []string {
	var n []string
	for i, s := range convFlagNames {
		if f&(1<<i) != 0 {
			n = append(n, s)
		}
	}
	return n
}

// ClientBy says how the client was told from the server.
type ClientBy uint8

// The ways to know the client, best first.
const (
	BySyn     ClientBy = iota // it sent the SYN
	ByPayload                 // the snooper recognised its words
	ByPort                    // the other side's port is a well-known one
	ByFirst                   // it spoke first
)

var clientBys = [...]string{"syn", "payload", "port", "first"}

// String is the reason as the contract names it.
func (c ClientBy) String() string { return clientBys[c] }

// AppBy says how the application protocol was identified.
type AppBy uint8

// The ways to identify an application.
const (
	NotIdentified AppBy = iota
	ByContent
	ByPortHint
	ByExpectation
)

var appBys = [...]string{"", "content", "port", "expected"}

// String is the way as the contract names it.
func (a AppBy) String() string { return appBys[a] }

// Half is what is known of one side of a conversation. Counts and bytes are those of semantics.md.
type Half struct {
	Packets    uint64 // captured frames, fragments and retransmissions included, duplicates not
	Duplicates uint64 // the same packet captured again
	Bytes      int64  // TCP: unique stream bytes captured; else the sum over datagrams
	Missing    int64  // the sum of the gaps
	End        int64  // stream offset after the last known byte: Bytes + Missing
	Overlap    int64  // bytes captured with differing contents
	Gaps       []Gap
	Conflicts  []Conflict
	SHA256     Hash // of the captured bytes in stream order, holes left out
	HeadKnown  bool // offset 0 is the first byte of the stream
}

// Conversation is what two end points said to one another over one transport connection, or in one
// run of datagrams.
type Conversation struct {
	ID       ConversationID
	Revision uint32
	Case     string
	Key      FlowKey
	First    Time // first and last packet
	Last     Time
	Half     [2]Half // by Side
	Client   Side
	ClientBy ClientBy
	App      string
	AppBy    AppBy
	Close    CloseCause
	SplitBy  string // why it is not one with its predecessor on the same key
	Flags    ConvFlags
	VLAN     uint16
	Sources  []SourceID // by the index that its history uses
	HistLen  int64      // length of its encoded history
	Inline   *Inline    // payload and history of a small conversation, kept in the row
}

// Inline holds a small conversation's streams within its row: up to InlineSize bytes together.
type Inline struct {
	Stream  [2][]byte // captured bytes, holes left out
	History []byte
}

// InlineSize is the most that a row keeps inline; a bigger conversation's streams are chunks.
const InlineSize = 16 << 10

// Side gives the side that a direction means in this conversation.
func (c *Conversation) Side(d Dir) Side { return c.Client ^ Side(d) }

// Dir gives the direction in which a side sends.
func (c *Conversation) Dir(s Side) Dir { return Dir(c.Client ^ s) }

// ByReference reports whether the payload lies in the sources, and only the history is stored.
func (c *Conversation) ByReference() bool { return c.Flags&Referenced != 0 }

// In is what is known of a direction: what the client (Up) or the server (Down) sent.
func (c *Conversation) In(d Dir) *Half { return &c.Half[c.Side(d)] }

// ClientEnd and ServerEnd are the end points by role.
func (c *Conversation) ClientEnd() netip.AddrPort { return c.Key.End[c.Client] }

// ServerEnd is the end point that serves.
func (c *Conversation) ServerEnd() netip.AddrPort { return c.Key.End[c.Client.Other()] }

// Compare orders conversations by id, that is by start time.
func (id ConversationID) Compare(o ConversationID) int { return bytes.Compare(id[:], o[:]) }
