package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

// kinds are the rows of the table, in order.
var kinds = []string{
	"run", "tcp conversation", "udp conversation", "sctp conversation",
	"stream", "stream, one witness",
	"http request", "http response", "http body", "ssdp message",
	"dns message", "dns answer",
	"tls hello", "tls sni", "tls ja3", "tls ja3s", "tls ja4", "tls certificate",
	"quic hello", "quic sni", "quic ja3", "quic ja3s", "quic ja4", "quic certificate",
	"smtp mail", "pop3 mail", "imap mail", "other mail", "mail body", "ftp command", "ftp file",
}

// capture is one file on its way through the comparison.
type capture struct {
	name  string // path below the folder
	dir   string
	store string
	bin   *cli.Binary
	tally *compare.Tally

	want  *expected
	convs []cli.Conversation
	arts  []cli.Artifact
	byID  map[string]*cli.Conversation
}

// check runs the capture and compares. The error is the harness's own; a failing product is a
// difference of kind run.
func (c *capture) check(ctx context.Context) error {
	if err := os.RemoveAll(c.store); err != nil {
		return err
	}
	r, err := c.bin.Run(ctx, c.store, nil, filepath.Join(c.dir, filepath.FromSlash(c.name)))
	if err != nil {
		return err
	}
	if why := verdict(&r); why != "" {
		c.tally.Differ(compare.Difference{Capture: c.name, Kind: "run", Key: "run", Want: "status 0 or 3", Got: why})
	} else {
		c.tally.Agree("run", 1)
	}
	c.want, err = readExpected(filepath.Join(c.dir, "expected", filepath.FromSlash(c.name)+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a file without ground truth: that it ran is all
	}
	if err != nil {
		return err
	}
	c.list(ctx)
	c.conversations()
	c.streams()
	c.http()
	c.dns()
	c.tls()
	c.mail()
	c.ftp()
	return nil
}

// list reads what the store holds. Where that fails, everything expected of the capture is missing.
func (c *capture) list(ctx context.Context) {
	var err1, err2 error
	c.convs, err1 = c.bin.Conversations(ctx, c.store)
	c.arts, err2 = c.bin.Artifacts(ctx, c.store)
	if err := errors.Join(err1, err2); err != nil {
		c.tally.Differ(compare.Difference{Capture: c.name, Kind: "run", Key: "list", Want: "listings", Got: err.Error()})
	}
	c.byID = map[string]*cli.Conversation{}
	for i := range c.convs {
		c.byID[c.convs[i].ID] = &c.convs[i]
	}
}

// verdict says what is wrong with how a run ended; empty when nothing is.
func verdict(r *cli.Result) string {
	switch {
	case r.TimedOut:
		return "time limit"
	case r.Panicked():
		return "crashed: " + r.LastLine()
	case r.Status != cli.Done && r.Status != cli.Damaged:
		return fmt.Sprintf("status %d: %s", r.Status, r.LastLine())
	}
	return ""
}

// expected is a ground truth file.
type expected struct {
	Fragments     int                            `json:"fragments"` // of IPv4
	Protocols     []string                       `json:"protocols"` // of all frames, as tshark names them
	Conversations []expectedConversation         `json:"conversations"`
	Artifacts     map[string][]map[string]values `json:"artifacts"`
	Counts        map[string]int                 `json:"artifact_counts"`
	Objects       []expectedObject               `json:"objects"`

	ends map[int64]string // of TCP streams, by number
}

type expectedConversation struct {
	Proto        string   `json:"proto"`
	Stream       int64    `json:"stream"`
	SrcIP        string   `json:"src_ip"`
	SrcPort      uint16   `json:"src_port"`
	DstIP        string   `json:"dst_ip"`
	DstPort      uint16   `json:"dst_port"`
	Packets      int64    `json:"packets"` // SCTP: of both directions
	PacketsUp    int64    `json:"packets_up"`
	PacketsDown  int64    `json:"packets_down"`
	PayloadUp    int64    `json:"payload_up"`
	PayloadDown  int64    `json:"payload_down"`
	UniqueUp     int64    `json:"unique_up"`
	UniqueDown   int64    `json:"unique_down"`
	Complete     bool     `json:"complete"`
	Agree        *bool    `json:"agree"` // absent where tshark followed no stream
	SHA256Up     string   `json:"sha256_up"`
	SHA256Down   string   `json:"sha256_down"`
	OverlapBytes [2]int64 `json:"overlap_bytes"`
}

// between is the pair of end points; swapped says that the destination sorts first.
func (e *expectedConversation) between() (string, bool) {
	return cli.Between(cli.End(e.SrcIP, e.SrcPort), cli.End(e.DstIP, e.DstPort))
}

type expectedObject struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// values is a field's list of values; frame and stream numbers are plain numbers.
type values struct {
	List   []string
	Number int64
}

// UnmarshalJSON reads a list, a single text or a number.
func (v *values) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '[':
		return json.Unmarshal(b, &v.List)
	case '"':
		v.List = make([]string, 1)
		return json.Unmarshal(b, &v.List[0])
	}
	return json.Unmarshal(b, &v.Number)
}

func readExpected(path string) (*expected, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	e := &expected{ends: map[int64]string{}}
	if err := json.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range e.Conversations {
		if x := &e.Conversations[i]; x.Proto == "tcp" {
			e.ends[x.Stream], _ = x.between()
		}
	}
	return e, nil
}

// fragmented reports whether datagrams came in fragments: their packets cannot be compared.
func (e *expected) fragmented() bool {
	return e.Fragments > 0 || slices.Contains(e.Protocols, "ipv6.fraghdr")
}

// anywhere stands for end points that are not known.
const anywhere = "*"

// place says between which end points a record was seen, and whether over TCP. tshark's numbers of
// UDP streams cannot be mapped to end points.
func (e *expected) place(record map[string]values) (ends string, tcp bool) {
	if s, ok := record["stream"]; ok {
		if k := e.ends[s.Number]; k != "" {
			return k, true
		}
		return anywhere, true
	}
	return anywhere, false
}

// capped reports whether the list of a group was cut: what else is found cannot be called extra.
func (e *expected) capped(group string) bool { return e.Counts[group] > len(e.Artifacts[group]) }

// places gives the names of an artifact's place, as wanted items may call it.
func (c *capture) places(a *cli.Artifact) (ends string, tcp bool) {
	x := c.byID[a.Conversation]
	if x == nil {
		return anywhere, false
	}
	k, _ := cli.Between(x.Src(), x.Dst())
	return k, x.Proto == "tcp"
}
