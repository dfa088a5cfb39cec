// Package ntpac is the vocabulary of the system: what captured traffic is made of on its way from a
// capture file or a live interface to forensic artifacts, and (in stage.go) what the stages promise
// one another. It knows no stage and imports nothing but the standard library.
//
//	capture ► balancer ► reassembly ► store ► selection ► snoop ► artifact ► store
//
// The words are those of CONTEXT.md; times are nanoseconds, lengths and offsets are bytes.
package ntpac

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// Time is a moment on the capture's clock: nanoseconds since the Unix epoch, UTC.
type Time int64

// Std gives the moment as a time.Time in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// String formats the moment as RFC 3339 with nanoseconds, always nine digits, UTC.
func (t Time) String() string { return t.Std().Format("2006-01-02T15:04:05.000000000Z") }

// Second is one second of capture time.
const Second Time = 1e9

// Hash is a SHA-256 sum.
type Hash [32]byte

// String is the sum in lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether no sum was set.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText writes the sum in hexadecimal, and nothing for an unset one.
func (h Hash) MarshalText() ([]byte, error) {
	if h.IsZero() {
		return nil, nil
	}
	return []byte(h.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*h = Hash{}
		return nil
	}
	if len(b) != 64 {
		return fmt.Errorf("a SHA-256 sum has 64 hexadecimal digits, not %d", len(b))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// Side names an end of a conversation by position: the sorted end points are A and B.
type Side uint8

// The two sides. A stream is named by the side that sent it.
const (
	A Side = 0
	B Side = 1
)

// Other is the opposite side.
func (s Side) Other() Side { return s ^ 1 }

// String is "a" or "b".
func (s Side) String() string { return string(rune('a' + s&1)) }

// Dir is a direction as users see it: up is what the client sent.
type Dir uint8

// The two directions.
const (
	Up   Dir = 0
	Down Dir = 1
)

// Other is the opposite direction.
func (d Dir) Other() Dir { return d ^ 1 }

// String is "up" or "down".
func (d Dir) String() string {
	if d == Up {
		return "up"
	}
	return "down"
}

// MarshalText writes "up" or "down".
func (d Dir) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "up" or "down".
func (d *Dir) UnmarshalText(b []byte) error {
	switch string(b) {
	case "up":
		*d = Up
	case "down":
		*d = Down
	default:
		return fmt.Errorf("a direction is up or down, not %q", b)
	}
	return nil
}

// Proto is an IP protocol number.
type Proto uint8

// The protocols whose headers the system reads.
const (
	ICMP   Proto = 1
	TCP    Proto = 6
	UDP    Proto = 17
	ICMPv6 Proto = 58
	SCTP   Proto = 132
)

var protoNames = map[Proto]string{ICMP: "icmp", 2: "igmp", TCP: "tcp", UDP: "udp", 47: "gre", 50: "esp", 51: "ah",
	ICMPv6: "icmpv6", 88: "eigrp", 89: "ospf", 103: "pim", 112: "vrrp", SCTP: "sctp", 136: "udplite"}

// String is the usual short name in lower case, or ip-N.
func (p Proto) String() string {
	if n, ok := protoNames[p]; ok {
		return n
	}
	return "ip-" + strconv.Itoa(int(p))
}

// ParseProto reads what String writes.
func ParseProto(s string) (Proto, bool) {
	for p, n := range protoNames {
		if n == s {
			return p, true
		}
	}
	if len(s) > 3 && s[:3] == "ip-" {
		if n, err := strconv.ParseUint(s[3:], 10, 8); err == nil {
			return Proto(n), true
		}
	}
	return 0, false
}

// Tunnel says inside which encapsulation a flow was found.
type Tunnel uint8

// The encapsulations that the balancer looks into.
const (
	NoTunnel Tunnel = iota
	GRE
	IPIP
	SixInFour
	Teredo
	VXLAN
	GENEVE
	GTPU
	ERSPAN
	L2TP
	MPLSIP // MPLS over IP or UDP
	AYIYA
	LISP
)

var tunnelNames = [...]string{"", "gre", "ipip", "6in4", "teredo", "vxlan", "geneve", "gtpu", "erspan", "l2tp", "mpls", "ayiya", "lisp"}

// String is the tunnel's name in lower case; empty for none.
func (t Tunnel) String() string {
	if int(t) < len(tunnelNames) {
		return tunnelNames[t]
	}
	return "tunnel-" + strconv.Itoa(int(t))
}

// LinkType is a libpcap link-layer header type (LINKTYPE_...).
type LinkType uint16

// Shards is the number of virtual shards: what moves between members, never single hosts.
const Shards = 1024

// Shard picks the virtual shard from a flow hash. Flow tables use other bits of the same hash.
func Shard(hash uint64) int { return int(hash >> 54) }

// ChunkSize is the length of stream that one stored payload chunk covers.
const ChunkSize = 256 << 10
