package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Conversation has the contract's fields that tests look at.
type Conversation struct {
	ID             string   `json:"id"`
	Proto          string   `json:"proto"`
	SrcIP          string   `json:"src_ip"`
	SrcPort        uint16   `json:"src_port"`
	DstIP          string   `json:"dst_ip"`
	DstPort        uint16   `json:"dst_port"`
	First          string   `json:"first"`
	Last           string   `json:"last"`
	PacketsUp      int64    `json:"packets_up"`
	PacketsDown    int64    `json:"packets_down"`
	DuplicatesUp   int64    `json:"duplicates_up"`
	DuplicatesDown int64    `json:"duplicates_down"`
	BytesUp        int64    `json:"bytes_up"`
	BytesDown      int64    `json:"bytes_down"`
	MissingUp      int64    `json:"missing_up"`
	MissingDown    int64    `json:"missing_down"`
	GapsUp         []Gap    `json:"gaps_up"`
	GapsDown       []Gap    `json:"gaps_down"`
	OverlapUp      int64    `json:"overlap_up"`
	OverlapDown    int64    `json:"overlap_down"`
	SHA256Up       string   `json:"sha256_up"`
	SHA256Down     string   `json:"sha256_down"`
	App            string   `json:"app"`
	Close          string   `json:"close"`
	Flags          []string `json:"flags"`

	Conflicts []Version `json:"conflicts"` // with --conflicts
}

// Version is another version of captured bytes.
type Version struct {
	Dir         string `json:"dir"`
	Offset      int64  `json:"offset"`
	Kept, Other []byte
}

// Half is one direction of a conversation.
type Half struct {
	Packets, Bytes, Missing int64 // packets: duplicates included, as other tools count
	Gaps                    []Gap
	SHA256                  string // of no bytes: NoBytes
}

// Up is what the client sent.
func (c *Conversation) Up() Half {
	return Half{c.PacketsUp + c.DuplicatesUp, c.BytesUp, c.MissingUp, c.GapsUp, SumOr(c.SHA256Up)}
}

// Down is what the server sent.
func (c *Conversation) Down() Half {
	return Half{c.PacketsDown + c.DuplicatesDown, c.BytesDown, c.MissingDown, c.GapsDown, SumOr(c.SHA256Down)}
}

// Src and Dst name the end points.
func (c *Conversation) Src() string { return End(c.SrcIP, c.SrcPort) }

// Dst is the server's end point.
func (c *Conversation) Dst() string { return End(c.DstIP, c.DstPort) }

// End names an end point so that two tools' spellings of one address are equal.
func End(ip string, port uint16) string {
	if a, err := netip.ParseAddr(ip); err == nil {
		ip = a.String()
	}
	return ip + "|" + strconv.Itoa(int(port))
}

// Between names two end points in either order; swapped says that b comes first.
func Between(a, b string) (key string, swapped bool) {
	if b < a {
		return b + "-" + a, true
	}
	return a + "-" + b, false
}

// NoBytes is the SHA-256 of nothing.
var NoBytes = func() string { s := sha256.Sum256(nil); return hex.EncodeToString(s[:]) }()

// SumOr gives the sum, and for an empty one that of no bytes.
func SumOr(s string) string {
	if s == "" {
		return NoBytes
	}
	return strings.ToLower(s)
}

// Gap is [offset, length, cause].
type Gap struct {
	Off, Len int64
	Cause    string
}

// UnmarshalJSON reads the contract's list of three.
func (g *Gap) UnmarshalJSON(b []byte) error {
	l := []any{&g.Off, &g.Len, &g.Cause}
	return json.Unmarshal(b, &l)
}

// Artifact has the fields that all types share; Raw has the rest.
type Artifact struct {
	ID           string          `json:"id"`
	Type         string          `json:"type"`
	Conversation string          `json:"conversation"`
	Quality      string          `json:"quality"`
	Error        string          `json:"error"`
	Raw          json.RawMessage `json:"-"`
}

// Into decodes the fields of the artifact's type.
func (a *Artifact) Into(v any) error {
	if err := json.Unmarshal(a.Raw, v); err != nil {
		return fmt.Errorf("%s artifact %s: %w", a.Type, a.ID, err)
	}
	return nil
}

// Number reads a JSON number or a string with one, decimal or hexadecimal.
type Number int64

// UnmarshalJSON reads either form.
func (n *Number) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "" || s == "null" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(s, 0, 64)
	*n = Number(v)
	return err
}

// Body is a message body.
type Body struct {
	Size          int64  `json:"size"`
	SHA256        string `json:"sha256"`
	DecodedSize   int64  `json:"decoded_size"`
	DecodedSHA256 string `json:"decoded_sha256"`
}

// Sums gives the sums of the body as sent and decoded; of an absent body both are NoBytes.
func (b *Body) Sums() (sent, decoded string) {
	if b == nil {
		return NoBytes, NoBytes
	}
	sent = SumOr(b.SHA256)
	if b.DecodedSHA256 == "" {
		return sent, sent
	}
	return sent, strings.ToLower(b.DecodedSHA256)
}

// HTTP is an exchange, or the half of it that was captured.
type HTTP struct {
	Method       string `json:"method"`
	Host         string `json:"host"`
	URI          string `json:"uri"`
	Status       Number `json:"status"`
	Interim      []int  `json:"interim"` // 1xx responses before it
	RequestBody  *Body  `json:"request_body"`
	ResponseBody *Body  `json:"response_body"`
}

// DNS is a message.
type DNS struct {
	TXID       Number   `json:"txid"`
	Query      string   `json:"query"`
	QType      string   `json:"qtype"`
	RCode      any      `json:"rcode"` // a number or a name
	Response   bool     `json:"response"`
	Answers    []Record `json:"answers"`
	Authority  []Record `json:"authority"`
	Additional []Record `json:"additional"`
}

// Record is a resource record.
type Record struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Data string `json:"data"`
}

// TLS is what a handshake shows.
type TLS struct {
	SNI           string `json:"sni"`
	Version       string `json:"version"`
	ClientVersion string `json:"client_version"`
	Cipher        string `json:"cipher"`
	JA3           string `json:"ja3"`
	JA3S          string `json:"ja3s"`
	JA4           string `json:"ja4"`
	Certificates  []Hash `json:"certificates"`
	ClientCerts   []Hash `json:"client_certificates"`
}

// Hash names a certificate.
type Hash struct {
	SHA256 string `json:"sha256"`
}

// Mail is a message and its attachments.
type Mail struct {
	Protocol    string `json:"protocol"`
	From        string `json:"from"`
	Subject     string `json:"subject"`
	MessageID   string `json:"message_id"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
	Attachments []struct {
		Filename string `json:"filename"`
		SHA256   string `json:"sha256"`
	} `json:"attachments"`
}

// File is a transferred file.
type File struct {
	Protocol string `json:"protocol"`
	Filename string `json:"filename"`
	Path     string `json:"path"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
}

// FTP is a command.
type FTP struct {
	Command string `json:"command"`
	Arg     string `json:"arg"`
}

// Credential is a name and its password.
type Credential struct {
	Protocol string `json:"protocol"`
	User     string `json:"user"`
	Password string `json:"password"`
}
