package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"ntpac/e2e/cli"
)

// truth is what a generated capture holds.
type truth struct {
	convs []*talk
	arts  []*fact
}

// talk is a conversation as it was, and what of it is in the capture.
type talk struct {
	ID       int64    `json:"id"`
	App      string   `json:"app"`
	L4       string   `json:"l4"`
	Client   string   `json:"client"`
	CPort    uint16   `json:"cport"`
	Server   string   `json:"server"`
	SPort    uint16   `json:"sport"`
	Packets  [2]int64 `json:"packets"`
	Close    string   `json:"close"`
	StartNS  int64    `json:"start_ns"`
	EndNS    int64    `json:"end_ns"`
	C2S, S2C stream
	sight    [2]*sight
}

// stream is one direction of a talk.
type stream struct {
	Bytes     int64      `json:"bytes"`
	SHA256    string     `json:"sha256"`
	Missing   int64      `json:"missing"`
	Gaps      [][2]int64 `json:"gaps"`
	Captured  string     `json:"captured_sha256"`
	HeadGap   int64      `json:"head_gap"`
	TailGap   int64      `json:"tail_gap"`
	Conflicts [][2]int64 `json:"conflicts"`
}

// captured is the sum of what is in the capture.
func (s *stream) captured() string {
	if s.Missing > 0 {
		return s.Captured
	}
	return s.SHA256
}

func (t *talk) client() string { return cli.End(t.Client, t.CPort) }
func (t *talk) server() string { return cli.End(t.Server, t.SPort) }
func (t *talk) between() string {
	k, _ := cli.Between(t.client(), t.server())
	return k
}

// fact is an artifact of the truth; Complete says that all its bytes are in the capture.
type fact struct {
	Kind     string `json:"kind"`
	Conv     int64  `json:"conv"`
	Complete bool   `json:"complete"`
	Talk     *talk  `json:"-"`

	// http
	Method     string `json:"method"`
	Host       string `json:"host"`
	URI        string `json:"uri"`
	Status     int    `json:"status"`
	BodyLen    int64  `json:"body_len"`
	BodySHA    string `json:"body_sha256"`
	DecodedSHA string `json:"decoded_sha256"`
	ReqBodySHA string `json:"req_body_sha256"`
	// dns
	Name    string   `json:"name"`
	QType   string   `json:"qtype"`
	ID      int64    `json:"id"`
	RCode   int      `json:"rcode"`
	Answers []string `json:"answers"`
	// tls, quic
	SNI     string `json:"sni"`
	Version string `json:"version"`
	Cipher  string `json:"cipher"`
	CertSHA string `json:"cert_sha256"`
	// mail, credential, chat
	Protocol    string `json:"protocol"`
	From        string `json:"from"`
	To          string `json:"to"`
	Subject     string `json:"subject"`
	MessageID   string `json:"message_id"`
	MessageSHA  string `json:"message_sha256"`
	Attachments []struct {
		SHA256 string `json:"sha256"`
	} `json:"attachments"`
	User     string `json:"user"`
	Password string `json:"password"`
	Text     string `json:"text"`
	// files
	Filename string `json:"filename"`
	SHA256   string `json:"sha256"`
	// calls
	CallID string `json:"call_id"`
}

func readTruth(path string) (*truth, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := parseTruth(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func parseTruth(r io.Reader) (*truth, error) {
	t := &truth{}
	byID := map[int64]*talk{}
	br := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := br.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return t, link(t, byID)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		switch {
		case bytes.Contains(line, []byte(`"type":"conv"`)):
			c := &talk{}
			if err := json.Unmarshal(line, c); err != nil {
				return nil, err
			}
			byID[c.ID] = c
			t.convs = append(t.convs, c)
		case bytes.Contains(line, []byte(`"type":"artifact"`)):
			a := &fact{}
			if err := decodeFact(line, a); err != nil {
				return nil, err
			}
			t.arts = append(t.arts, a)
		}
	}
}

// decodeFact reads an artifact. In those of RTP some names have other types; they are not compared.
func decodeFact(line []byte, a *fact) error {
	var head struct{ Kind string }
	if err := json.Unmarshal(line, &head); err != nil {
		return err
	}
	if head.Kind == "rtp" {
		a.Kind = head.Kind
		return nil
	}
	return json.Unmarshal(line, a)
}

func link(t *truth, byID map[int64]*talk) error {
	kept := t.arts[:0]
	for _, a := range t.arts {
		if a.Kind == "rtp" {
			continue
		}
		if a.Talk = byID[a.Conv]; a.Talk == nil {
			return fmt.Errorf("an artifact of conversation %d, which is not in the truth", a.Conv)
		}
		kept = append(kept, a)
	}
	t.arts = kept
	return nil
}
