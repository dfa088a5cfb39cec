package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

// kinds are the rows of the table, in order.
var kinds = []string{
	"tcp conversation", "client and server by SYN", "client and server without SYN", "one-sided", "udp conversation",
	"tcp stream", "tcp stream with holes", "udp stream", "udp stream with holes", "no gap", "gap map", "no conflict", "conflict in both versions",
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
	if c.convs, err = b.Conversations(ctx, store, "--conflicts"); err != nil {
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

// conversations compares every conversation, and both its directions with the one that was found for it:
// the one with the same ends that began with the same packet.
func (c *comparison) conversations() {
	byBeginning := map[string][]*cli.Conversation{}
	for i := range c.convs {
		x := &c.convs[i]
		k := c.ends[x.ID] + " " + x.Proto + " from " + x.First
		byBeginning[k] = append(byBeginning[k], x)
	}
	for _, t := range c.truth.convs {
		a, b := t.sight[0], t.sight[1]
		if a.frames+b.frames == 0 {
			continue
		}
		first, last := a.first, max(a.last, b.last)
		if a.whole == 0 || b.whole > 0 && b.first < first {
			first = b.first
		}
		name := t.between() + " " + t.L4 + " from " + moment(first)
		var x *cli.Conversation
		if l := byBeginning[name]; len(l) > 0 {
			x, byBeginning[name] = l[0], l[1:]
		}
		if x != nil && x.Last == moment(max(a.final, b.final)) {
			last = max(a.final, b.final)
		}
		c.conversation(t, x, name, moment(last))
	}
	for name, l := range byBeginning {
		for _, x := range l {
			c.check(x.Proto+" conversation", name, false, "no such conversation", x)
		}
	}
}

func moment(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// check counts one thing that holds or not.
func (c *comparison) check(kind, key string, holds bool, want, got any) {
	if holds {
		c.tally.Agree(kind, 1)
		return
	}
	c.tally.Differ(compare.Difference{Capture: c.name, Kind: kind, Key: key, Want: want, Got: got})
}

// conversation compares one that is in the capture with what was found of it, nil for nothing.
func (c *comparison) conversation(t *talk, x *cli.Conversation, name, last string) {
	found := cli.Conversation{SrcIP: "none"}
	if x != nil {
		found = *x
	}
	up, down, theirs := found.Up(), found.Down(), [2][]cli.Version{}
	overlap := [2]int64{found.OverlapUp, found.OverlapDown}
	for _, v := range found.Conflicts {
		theirs[dirOf(v.Dir)] = append(theirs[dirOf(v.Dir)], v)
	}
	right := found.Src() == t.client() && found.Dst() == t.server()
	if !right {
		up, down = down, up
		theirs[0], theirs[1] = theirs[1], theirs[0]
		overlap[0], overlap[1] = overlap[1], overlap[0]
	}
	want := fmt.Sprintf("to %s, packets %d/%d", last, t.sight[0].frames, t.sight[1].frames)
	got := fmt.Sprintf("to %s, packets %d/%d", found.Last, up.Packets, down.Packets)
	c.check(t.L4+" conversation", name, want == got, want, got)
	if t.L4 == "tcp" {
		kind := "client and server without SYN"
		if t.sight[0].opening {
			kind = "client and server by SYN"
		}
		c.check(kind, name, right, t.client(), found.Src())
		if one := t.sight[0].frames == 0 || t.sight[1].frames == 0; one {
			c.check("one-sided", name, slices.Contains(found.Flags, "one-sided"), "one-sided", found.Flags)
		}
	}
	for i, s := range []*stream{&t.C2S, &t.S2C} {
		h := [2]cli.Half{up, down}[i]
		key := fmt.Sprintf("%s, %s", name, [2]string{"c2s", "s2c"}[i])
		c.bytes(t, s, t.sight[i], &h, key)
		if t.L4 == "tcp" {
			c.history(t, s, t.sight[i], &h, theirs[i], overlap[i], key)
		}
	}
}

func dirOf(name string) int {
	if name == "up" {
		return 0
	}
	return 1
}

// bytes compares the captured bytes of a direction, by SHA-256.
func (c *comparison) bytes(t *talk, s *stream, d *sight, h *cli.Half, key string) {
	kind := t.L4 + " stream"
	if s.Missing > 0 {
		kind += " with holes"
	}
	want := s.captured()
	if d.once != nil {
		if once, every := d.sums(); once == want {
			want = every
		}
	}
	if s.Bytes > 0 || h.Bytes > 0 {
		c.check(kind, key, h.SHA256 == want, want, fmt.Sprintf("%s, %d bytes", h.SHA256, h.Bytes))
	}
}

// history compares the gap map and the conflicts of a direction.
func (c *comparison) history(t *talk, s *stream, d *sight, h *cli.Half, conflicts []cli.Version, overlap int64, key string) {
	want, shift, finToo := expectedGaps(s, d, t.Close == "fin")
	got := merged(h.Gaps)
	kind := "gap map"
	if s.Missing == 0 {
		kind = "no gap"
	}
	c.check(kind, key, gapsAgree(want, got, finToo), want, h.Gaps)
	kind = "conflict in both versions"
	if len(s.Conflicts) == 0 {
		kind = "no conflict"
	}
	c.check(kind, key, conflictsAgree(s.Conflicts, shift, conflicts, overlap), s.Conflicts, fmt.Sprintf("%d bytes, %d versions", overlap, len(conflicts)))
}
