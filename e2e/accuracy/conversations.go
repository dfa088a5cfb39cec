package main

import (
	"fmt"
	"strings"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

// volume counts packets and bytes from the end point that sorts first, and from the other one.
type volume struct {
	packets, bytes [2]int64
}

func (v *volume) add(o volume) {
	for i := range 2 {
		v.packets[i] += o.packets[i]
		v.bytes[i] += o.bytes[i]
	}
}

func (v *volume) total() volume {
	return volume{packets: [2]int64{v.packets[0] + v.packets[1]}}
}

func byPackets(ends string, v volume) string {
	return fmt.Sprintf("%s packets %d/%d", ends, v.packets[0], v.packets[1])
}

func byBytes(ends string, v volume) string {
	return fmt.Sprintf("%s bytes %d/%d", ends, v.bytes[0], v.bytes[1])
}

// conversations compares end points and packet counts. tshark counts a datagram of IP fragments as
// one packet where ntpac counts frames: in captures with fragments equal bytes agree too. It never
// splits UDP or SCTP, so those are compared by the sum over the conversations of their end points.
func (c *capture) conversations() {
	for _, proto := range []string{"tcp", "udp", "sctp"} {
		want, got := c.wantedConversations(proto), c.foundConversations(proto)
		c.tally.Add(c.name, proto+" conversation", want, got)
	}
}

func (c *capture) wantedConversations(proto string) (items []compare.Item) {
	for i := range c.want.Conversations {
		e := &c.want.Conversations[i]
		if e.Proto != proto {
			continue
		}
		ends, swapped := e.between()
		v := volume{packets: [2]int64{e.PacketsUp, e.PacketsDown}, bytes: [2]int64{e.PayloadUp, e.PayloadDown}}
		if proto == "tcp" {
			v.bytes = [2]int64{e.UniqueUp, e.UniqueDown}
		}
		if swapped {
			v = volume{flip(v.packets), flip(v.bytes)}
		}
		if proto == "sctp" {
			v = volume{packets: [2]int64{e.Packets}}
		}
		it := compare.Item{Keys: []string{byPackets(ends, v)}, Near: ends}
		if c.want.fragmented() && proto != "sctp" {
			it.Keys = append(it.Keys, byBytes(ends, v))
		}
		items = append(items, it)
	}
	return items
}

func (c *capture) foundConversations(proto string) (items []compare.Item) {
	sums := map[string]*volume{}
	var order []string
	for i := range c.convs {
		x := &c.convs[i]
		if x.Proto != proto {
			continue
		}
		ends, v := found(x)
		if proto == "tcp" {
			items = append(items, foundItem(ends, v))
			continue
		}
		if sums[ends] == nil {
			sums[ends] = &volume{}
			order = append(order, ends)
		}
		sums[ends].add(v)
	}
	for _, ends := range order {
		v := *sums[ends]
		if proto == "sctp" {
			v = v.total()
		}
		items = append(items, foundItem(ends, v))
	}
	return items
}

func foundItem(ends string, v volume) compare.Item {
	return compare.Item{Keys: []string{byPackets(ends, v), byBytes(ends, v)}, Near: ends}
}

func found(x *cli.Conversation) (string, volume) {
	up, down := x.Up(), x.Down()
	ends, swapped := cli.Between(x.Src(), x.Dst())
	v := volume{[2]int64{up.Packets, down.Packets}, [2]int64{up.Bytes, down.Bytes}}
	if swapped {
		v = volume{flip(v.packets), flip(v.bytes)}
	}
	return ends, v
}

func flip[T any](p [2]T) [2]T { return [2]T{p[1], p[0]} }

// streams compares the bytes of both directions of complete TCP conversations: where tshark's own
// two ways agree, and, counted apart, where only the reassembly of the ground truth has looked.
func (c *capture) streams() {
	var both, one []compare.Item
	for i := range c.want.Conversations {
		e := &c.want.Conversations[i]
		if e.Proto != "tcp" || !e.Complete || e.SHA256Up == "" && e.SHA256Down == "" {
			continue
		}
		ends, swapped := e.between()
		item := streamItem(ends, swapped, cli.SumOr(e.SHA256Up), cli.SumOr(e.SHA256Down))
		switch {
		case e.Agree == nil:
			one = append(one, item)
		case *e.Agree:
			both = append(both, item)
		}
	}
	var got []compare.Item
	for i := range c.convs {
		if x := &c.convs[i]; x.Proto == "tcp" {
			ends, swapped := cli.Between(x.Src(), x.Dst())
			got = append(got, streamItem(ends, swapped, x.Up().SHA256, x.Down().SHA256))
		}
	}
	c.tally.AddWanted(c.name, "stream", both, got)
	c.tally.AddWanted(c.name, "stream, one witness", one, got)
}

func streamItem(ends string, swapped bool, up, down string) compare.Item {
	sums := [2]string{up, down}
	if swapped {
		sums = flip(sums)
	}
	it := compare.Item{Keys: []string{ends + " " + sums[0] + "/" + sums[1]}, Near: ends}
	if a, b, _ := strings.Cut(ends, "-"); a == b { // a host that talks to itself on one port: no order
		it.Keys = append(it.Keys, ends+" "+sums[1]+"/"+sums[0])
	}
	return it
}
