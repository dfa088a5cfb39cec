package ntpac

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
)

// Quality says how far an artifact can be trusted.
type Quality uint8

// The qualities.
const (
	Complete Quality = iota // every byte it rests on was captured and sealed
	Gapped                  // a hole touches it
	Guessed                 // a heuristic chose: start in mid-message, statistics
)

var qualities = [...]string{"complete", "gapped", "guessed"}

// String is the quality as the contract names it.
func (q Quality) String() string { return qualities[q] }

// MarshalText writes the quality's name.
func (q Quality) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (q *Quality) UnmarshalText(b []byte) error {
	for i, n := range qualities {
		if n == string(b) {
			*q = Quality(i)
			return nil
		}
	}
	return fmt.Errorf("unknown quality %q", b)
}

// Span is a range of one direction's stream. Its length counts stream positions, holes included.
type Span struct {
	Dir Dir   `json:"dir"`
	Off int64 `json:"offset"`
	Len int64 `json:"length"`
}

// ArtifactID names an artifact: a hash over its type, conversation, spans and body.
type ArtifactID [16]byte

// String is the id in hexadecimal.
func (id ArtifactID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes the id in hexadecimal.
func (id ArtifactID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *ArtifactID) UnmarshalText(b []byte) error {
	if len(b) != 32 {
		return fmt.Errorf("an artifact id has 32 hexadecimal digits, not %d", len(b))
	}
	_, err := hex.Decode(id[:], b)
	return err
}

// Artifact is one finding and the bytes it rests on. A snooper sets Type, Time, Quality, Spans,
// Error, Fields and Blobs; the runner sets the rest.
type Artifact struct {
	ID           ArtifactID     `json:"id"`
	Type         string         `json:"type"` // http, dns, tls, mail, file ... as the contract lists them
	Conversation ConversationID `json:"conversation"`
	Case         string         `json:"case"`
	Time         Time           `json:"-"` // of the first byte it rests on
	Quality      Quality        `json:"quality"`
	Spans        []Span         `json:"spans"`
	Snooper      string         `json:"snooper"`
	Version      int            `json:"snooper_version"`
	Error        string         `json:"error,omitempty"` // why a message was given up

	Fields any             `json:"-"` // what the type adds: a struct of package artifact, set by the snooper
	JSON   json.RawMessage `json:"-"` // Fields encoded: set by the runner and by stores
	Blobs  []Blob          `json:"-"` // the bodies that Fields names by their SHA-256
}

// Blob is a body: bytes named by their SHA-256. It is not stored again: Spans and Codings say how to
// make it from the conversation's stream, which also proves where it came from. Only where no recipe
// gives the bytes does Data hold them.
type Blob struct {
	SHA256       Hash           `json:"sha256"`
	Size         int64          `json:"size"`
	Conversation ConversationID `json:"conversation"` // set by the runner
	Spans        []Span         `json:"spans,omitempty"`
	Codings      []string       `json:"codings,omitempty"` // undone in this order: see artifact.Decoder
	Data         []byte         `json:"data,omitempty"`
}

// ClockSlack is by how much the clocks of two capture points may differ: what is announced may seem to have
// begun that much before it was.
const ClockSlack = Second

// Expectation is what one conversation says of another: FTP's PORT and PASV, SDP's media, SOCKS.
// It matches a conversation that has To as one end point and From as the other (a zero address or
// port stands for any) and whose first packet lies in [Start, End]. Start is the time of the announcement
// less ClockSlack.
type Expectation struct {
	Case    string          `json:"case"`
	Proto   Proto           `json:"proto"`
	From    netip.AddrPort  `json:"from"`
	To      netip.AddrPort  `json:"to"`
	Start   Time            `json:"start"`
	End     Time            `json:"end"`
	App     string          `json:"app"`    // which snooper reads what is expected
	Origin  ConversationID  `json:"origin"` // set by the runner
	Context json.RawMessage `json:"context,omitempty"`
}

// Matches reports whether the conversation is the one that was announced.
func (e *Expectation) Matches(c *Conversation) bool {
	if e.Case != c.Case || e.Proto != c.Key.Proto || c.First < e.Start || c.First > e.End || e.Origin == c.ID {
		return false
	}
	for s := range 2 {
		if endMatches(e.To, c.Key.End[s]) && endMatches(e.From, c.Key.End[1-s]) {
			return true
		}
	}
	return false
}

// Before reports whether the announcement was made before the conversation began, by their clocks.
func (e *Expectation) Before(c *Conversation) bool { return e.Start+ClockSlack <= c.First }

func endMatches(want, have netip.AddrPort) bool {
	if want.Port() != 0 && want.Port() != have.Port() {
		return false
	}
	return !want.Addr().IsValid() || want.Addr() == have.Addr()
}

// Generation is everything that one snooper, at one version, found in one revision of a
// conversation. It becomes visible when its last part is stored, and then replaces the older
// generations of the same conversation as a whole.
type Generation struct {
	Conversation ConversationID
	Snooper      string // empty: nothing recognised the conversation
	Version      int
	Revision     uint32
	Keys         string // the decryption keys it used: a hash, empty for none
	Part         int    // a big generation is written in parts, from 0
	Done         bool   // this is the last part
	App          string // what the conversation turned out to be, with
	AppBy        AppBy
	Client       Side // who the client turned out to be, and why
	ClientBy     ClientBy
	Artifacts    []*Artifact
	Expectations []Expectation
	Error        string // why the snooper stopped early
}
