package main

import (
	"context"
	"fmt"
	"slices"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

// kinds are the rows of the table, in order.
var kinds = []string{
	"tcp conversation", "tcp stream", "tcp stream with holes", "udp stream", "udp stream with holes", "gap map", "conflict bytes",
	"http", "dns query", "dns response", "tls", "smtp mail", "smtp credential", "ftp credential", "ftp file", "ftp file, named",
	"http called complete", "dns called complete", "tls called complete", "smtp mail called complete", "credential called complete", "ftp file called complete",
	"pop3 mail", "pop3 credential", "imap mail", "imap credential", "quic", "smb file", "sip call", "chat", "ssh",
}

// comparison is one capture's.
type comparison struct {
	name  string
	truth *truth
	tally *compare.Tally
	convs []cli.Conversation
	arts  []cli.Artifact
	ends  map[string]string // of conversations, by id
}

func (c *comparison) load(ctx context.Context, b *cli.Binary, store string) (err error) {
	if c.convs, err = b.Conversations(ctx, store); err != nil {
		return err
	}
	if c.arts, err = b.Artifacts(ctx, store); err != nil {
		return err
	}
	c.ends = map[string]string{}
	for i := range c.convs {
		x := &c.convs[i]
		c.ends[x.ID], _ = cli.Between(x.Src(), x.Dst())
	}
	return nil
}

// lane is one direction between two end points.
type lane struct {
	item    compare.Item
	gaps    []cli.Gap // found
	overlap int64
	sent    *stream // in truth
}

// streams compares every direction of every conversation with its captured bytes, by SHA-256.
func (c *comparison) streams() {
	for _, proto := range []string{"tcp", "udp"} {
		got := c.found(proto)
		var whole, holed []lane
		for _, t := range c.truth.convs {
			if t.L4 != proto {
				continue
			}
			for _, d := range []struct {
				from, to string
				s        *stream
			}{{t.client(), t.server(), &t.C2S}, {t.server(), t.client(), &t.S2C}} {
				switch l := newLane(d.from, d.to, d.s.captured()); {
				case d.s.Bytes == d.s.Missing: // nothing to compare
				case d.s.Missing == 0:
					l.sent = d.s
					whole = append(whole, l)
				default:
					l.sent = d.s
					holed = append(holed, l)
				}
			}
		}
		c.lanes(proto, proto+" stream", whole, got)
		c.lanes(proto, proto+" stream with holes", holed, got)
	}
	c.conversations()
}

func newLane(from, to, sum string) lane {
	return lane{item: compare.Item{Keys: []string{from + ">" + to + " " + sum}, Near: from + ">" + to}}
}

func (c *comparison) found(proto string) (got []lane) {
	for i := range c.convs {
		x := &c.convs[i]
		if x.Proto != proto {
			continue
		}
		up, down := x.Up(), x.Down()
		for _, d := range []struct {
			from, to string
			h        cli.Half
			overlap  int64
		}{{x.Src(), x.Dst(), up, x.OverlapUp}, {x.Dst(), x.Src(), down, x.OverlapDown}} {
			if d.h.Bytes == 0 && d.h.SHA256 == cli.NoBytes {
				continue
			}
			l := newLane(d.from, d.to, d.h.SHA256)
			l.gaps, l.overlap = d.h.Gaps, d.overlap
			got = append(got, l)
		}
	}
	return got
}

func (c *comparison) lanes(proto, kind string, want, got []lane) {
	o := c.tally.AddWanted(c.name, kind, itemsOf(want), itemsOf(got))
	if proto != "tcp" {
		return // a lost datagram leaves no trace
	}
	for _, p := range o.Pairs {
		c.history(&want[p.Want], &got[p.Got])
	}
	for _, w := range o.Missing {
		if want[w].sent.Missing > 0 {
			c.tally.Differ(compare.Difference{Capture: c.name, Kind: "gap map", Key: want[w].item.Keys[0], Want: want[w].sent.Gaps, Got: "no such stream"})
		}
	}
}

func itemsOf(l []lane) []compare.Item {
	items := make([]compare.Item, len(l))
	for i := range l {
		items[i] = l[i].item
	}
	return items
}

// history compares the gap map and the conflict record of a stream whose bytes were found.
func (c *comparison) history(want, got *lane) {
	key := want.item.Keys[0]
	switch gaps := merged(got.gaps); {
	case want.sent.Missing == 0 && len(gaps) == 0:
	case gapsAgree(want.sent, gaps):
		c.tally.Agree("gap map", 1)
	default:
		c.tally.Differ(compare.Difference{Capture: c.name, Kind: "gap map", Key: key, Want: want.sent, Got: got.gaps})
	}
	if len(want.sent.Conflicts) == 0 && got.overlap == 0 {
		return
	}
	if n := length(want.sent.Conflicts); n == got.overlap {
		c.tally.Agree("conflict bytes", 1)
	} else {
		c.tally.Differ(compare.Difference{Capture: c.name, Kind: "conflict bytes", Key: key, Want: n, Got: got.overlap})
	}
}

// merged joins gaps that touch: their causes differ, their bytes do not.
func merged(gaps []cli.Gap) (out [][2]int64) {
	gaps = slices.Clone(gaps)
	slices.SortFunc(gaps, func(a, b cli.Gap) int { return int(a.Off - b.Off) })
	for _, g := range gaps {
		if n := len(out); n > 0 && out[n-1][0]+out[n-1][1] == g.Off {
			out[n-1][1] += g.Len
			continue
		}
		out = append(out, [2]int64{g.Off, g.Len})
	}
	return out
}

// gapsAgree holds a gap map against the truth, as far as a capture can tell it: a missing head has a
// length only where the ISN is known (by the SYN; or by the peer's answer to it, so both are right
// where the SYN is not captured), and a missing tail only where something proves it: a captured FIN
// or RST does, the peer's acknowledgements may, for a part of it.
func gapsAgree(s *stream, got [][2]int64) bool {
	want := s.Gaps
	var tail int64
	if s.TailGap > 0 {
		tail = s.TailGap
		want = want[:len(want)-1]
	}
	if fits(s, want, got, tail, 0) {
		return true
	}
	return s.HeadGap > 0 && !s.HeadKnown && len(want) > 0 && fits(s, want[1:], got, tail, s.HeadGap)
}

func fits(s *stream, want, got [][2]int64, tail, shift int64) bool {
	if tail > 0 {
		end := s.Bytes - tail - shift
		last := len(got) - 1
		switch {
		case last >= 0 && got[last][0] == end && (got[last][1] == tail || !s.TailKnown && got[last][1] < tail):
			got = got[:last]
		case s.TailKnown:
			return false
		}
	}
	return slices.EqualFunc(want, got, func(a, b [2]int64) bool { return a[0]-shift == b[0] && a[1] == b[1] })
}

// length is the number of bytes in any of the ranges.
func length(ranges [][2]int64) (n int64) {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	at := int64(0)
	for _, r := range ranges {
		from, to := max(r[0], at), r[0]+r[1]
		n += max(to-from, 0)
		at = max(at, to)
	}
	return n
}

// conversations compares TCP conversations by end points and packets.
func (c *comparison) conversations() {
	var want, got []compare.Item
	for _, t := range c.truth.convs {
		if t.L4 == "tcp" && t.Packets[0]+t.Packets[1] > 0 {
			want = append(want, packetItem(t.client(), t.server(), t.Packets))
		}
	}
	for i := range c.convs {
		if x := &c.convs[i]; x.Proto == "tcp" {
			got = append(got, packetItem(x.Src(), x.Dst(), [2]int64{x.Up().Packets, x.Down().Packets}))
		}
	}
	c.tally.Add(c.name, "tcp conversation", want, got)
}

func packetItem(src, dst string, packets [2]int64) compare.Item {
	ends, swapped := cli.Between(src, dst)
	if swapped {
		packets[0], packets[1] = packets[1], packets[0]
	}
	return compare.Item{Keys: []string{fmt.Sprintf("%s packets %d/%d", ends, packets[0], packets[1])}, Near: ends}
}
