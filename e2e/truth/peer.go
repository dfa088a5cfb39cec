package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ntpac/e2e/cli"
)

// This file holds gopacket's reassembly (bench/gopacketpeer) against the same truth. It has no notion of
// conflicts or artifacts, and does not record proven tails: its gap maps are compared without them. Of the
// acknowledgements behind a connection's end it makes further streams; only streams with bytes count.

// peerKinds are the rows of the peer's table.
var peerKinds = []string{"gopacket: tcp conversation", "gopacket: tcp stream", "gopacket: tcp stream with holes", "gopacket: no gap", "gopacket: gap map"}

// peerStream is a line of the peer: two directions between two ends.
type peerStream struct {
	Net       string        `json:"net"`
	Transport string        `json:"transport"`
	Bytes     [2]int64      `json:"bytes"`
	SHA256    [2]string     `json:"sha256"`
	Gaps      [2][][2]int64 `json:"gaps"`
}

// ends gives the two end points, the sender of the first direction first.
func (p *peerStream) ends() (a, b string, err error) {
	from, to, ok := strings.Cut(p.Net, "->")
	sp, dp, ok2 := strings.Cut(p.Transport, "->")
	x, err1 := strconv.ParseUint(sp, 10, 16)
	y, err2 := strconv.ParseUint(dp, 10, 16)
	if !ok || !ok2 || err1 != nil || err2 != nil {
		return "", "", fmt.Errorf("the peer says %s %s", p.Net, p.Transport)
	}
	return cli.End(from, uint16(x)), cli.End(to, uint16(y)), nil
}

// peer runs the peer on the capture and compares its streams.
func (c *comparison) peer(ctx context.Context, bin, file, tmp string) error {
	out := filepath.Join(tmp, "peer.jsonl")
	defer os.Remove(out)
	if b, err := exec.CommandContext(ctx, bin, "-sum", "-defrag", "-o", out, file).CombinedOutput(); err != nil {
		return fmt.Errorf("the peer: %w: %s", err, b)
	}
	f, err := os.Open(out)
	if err != nil {
		return err
	}
	defer f.Close()
	found, err := readPeer(f)
	if err != nil {
		return err
	}
	byEnds := map[string][]*talk{}
	for _, t := range c.truth.convs {
		if t.L4 == "tcp" && t.C2S.Bytes+t.S2C.Bytes > t.C2S.Missing+t.S2C.Missing {
			byEnds[t.between()] = append(byEnds[t.between()], t)
		}
	}
	for ends, talks := range byEnds {
		c.peerTalks(talks, found[ends], len(talks) == len(found[ends]))
	}
	return nil
}

func readPeer(r io.Reader) (map[string][]*peerStream, error) {
	found := map[string][]*peerStream{}
	d := json.NewDecoder(bufio.NewReaderSize(r, 1<<20))
	for {
		p := &peerStream{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		a, b, err := p.ends()
		if err != nil {
			return nil, err
		}
		if k, _ := cli.Between(a, b); p.Bytes[0]+p.Bytes[1] > 0 {
			found[k] = append(found[k], p)
		}
	}
}

// peerTalks compares the conversations between two end points with the streams that the peer has there. As
// those have no times, any of them may be the one.
func (c *comparison) peerTalks(talks []*talk, streams []*peerStream, asMany bool) {
	for _, t := range talks {
		c.check("gopacket: tcp conversation", t.between(), asMany, len(talks), len(streams))
		for i, s := range []*stream{&t.C2S, &t.S2C} {
			if s.Bytes == s.Missing {
				continue
			}
			sender := [2]string{t.client(), t.server()}[i]
			kind, gap := "gopacket: tcp stream", "gopacket: no gap"
			if s.Missing > 0 {
				kind, gap = kind+" with holes", "gopacket: gap map"
			}
			gaps, ok := peerDirection(streams, sender, s.captured())
			c.check(kind, t.between()+", from "+sender, ok, s.captured(), nil)
			if ok {
				want, _, _ := expectedGaps(s, t.sight[i], false)
				if s.TailGap > 0 && len(want) > 0 && want[len(want)-1][0]+headShift(s, t.sight[i]) == s.Bytes-s.TailGap {
					want = want[:len(want)-1]
				}
				c.check(gap, t.between()+", from "+sender, slices.Equal(want, gaps), want, gaps)
			} else {
				c.check(gap, t.between()+", from "+sender, false, s.Gaps, nil)
			}
		}
	}
}

// headShift is by how much offsets are less than the truth's.
func headShift(s *stream, d *sight) int64 { _, shift, _ := expectedGaps(s, d, false); return shift }

// peerDirection finds a direction by its sender and sum, and takes it.
func peerDirection(streams []*peerStream, sender, sum string) (gaps [][2]int64, ok bool) {
	for _, p := range streams {
		a, _, err := p.ends()
		if err != nil {
			continue
		}
		d := 0
		if a != sender {
			d = 1
		}
		if p.SHA256[d] == sum {
			return p.Gaps[d], true
		}
	}
	return nil, false
}
