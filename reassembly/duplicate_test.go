package reassembly_test

import (
	"net/netip"
	"slices"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// Datagrams that are equal: which of them were captured twice, and which were sent twice.
func TestDuplicateDatagrams(t *testing.T) {
	const ms = ntpac.Second / 1000
	type packet struct {
		after ntpac.Time
		src   int
		id    uint16
		text  string
	}
	six := [2]netip.AddrPort{pcaptest.Client6, pcaptest.Server6}
	four := [2]netip.AddrPort{pcaptest.Client, pcaptest.Server}
	for _, x := range []struct {
		name    string
		ends    [2]netip.AddrPort
		packets []packet
		want    string // the stream; each datagram that counts
		dups    uint64
	}{
		{"another source", four, []packet{{0, 0, 0, "a"}, {ms, 1, 0, "a"}}, "a", 1},
		{"another source, too late", four, []packet{{0, 0, 0, "a"}, {60 * ms, 1, 0, "a"}}, "aa", 0},
		{"another source, IPv6", six, []packet{{0, 0, 0, "a"}, {ms, 1, 0, "a"}}, "a", 1},
		{"one source, no identification", four, []packet{{0, 0, 0, "a"}, {ms, 0, 0, "a"}}, "aa", 0},
		{"one source, IPv6", six, []packet{{0, 0, 0, "a"}, {ms, 0, 0, "a"}}, "aa", 0},
		{"one source, equal identification", four, []packet{{0, 0, 7, "a"}, {ms, 0, 7, "a"}}, "a", 1},
		{"one source, other identification", four, []packet{{0, 0, 7, "a"}, {ms, 0, 8, "a"}}, "aa", 0},
		{"other text", four, []packet{{0, 0, 7, "a"}, {ms, 0, 7, "b"}}, "ab", 0},
		{"the second source does not make all equal ones of the first duplicates", four,
			[]packet{{0, 1, 0, "x"}, {ms, 0, 0, "a"}, {ms, 0, 0, "a"}}, "xaa", 0},
		{"sent twice, both captured twice", four, []packet{{0, 0, 1, "a"}, {ms, 1, 1, "a"}, {ms, 0, 2, "a"}, {ms, 1, 2, "a"}}, "aa", 2},
		{"behind others", four, []packet{{0, 0, 1, "a"}, {ms, 0, 2, "bb"}, {ms, 0, 3, "ccc"}, {ms, 1, 1, "a"}, {ms, 1, 2, "bb"}, {ms, 1, 3, "ccc"}}, "abbccc", 3},
		{"empty", four, []packet{{0, 0, 1, ""}, {ms, 0, 1, ""}}, "", 1},
		{"differing only far behind", four, []packet{{0, 0, 1, long("a")}, {ms, 1, 1, long("b")}}, long("a") + long("b"), 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := pcaptest.New()
			c.Step = 0
			sources := make([][]pcaptest.Frame, 2)
			for _, p := range x.packets {
				c.Now += p.after
				c.ID = p.id
				c.UDP(x.ends[0], x.ends[1], []byte(p.text))
				sources[p.src] = append(sources[p.src], c.Frames[len(c.Frames)-1])
			}
			convs := (&pipeline{batch: 10}).run(t, sources...).convs()
			if len(convs) != 1 {
				t.Fatalf("%d conversations", len(convs))
			}
			v := convs[0]
			if got := string(v.data[0]) + string(v.data[1]); got != x.want {
				t.Errorf("got %.40q, want %.40q", got, x.want)
			}
			if d := v.c.Half[0].Duplicates + v.c.Half[1].Duplicates; d != x.dups {
				t.Errorf("%d duplicates, want %d", d, x.dups)
			}
		})
	}
}

// long is a text of which only the end differs.
func long(end string) string { return string(make([]byte, 500)) + end }

// TestDuplicatesOfTheWholeWindow: a second tap is late by nearly the whole duplicate window, in which there are
// many more packets of one flow than a flow remembers in itself.
func TestDuplicatesOfTheWholeWindow(t *testing.T) {
	const (
		ms    = ntpac.Second / 1000
		count = 500
	)
	tcp := pcaptest.New()
	tcp.Step = ms / 10
	k := tcp.TCP(pcaptest.Client, pcaptest.Server)
	k.Open()
	for i := range count {
		k.Send(ntpac.Down, []byte{byte(i), byte(i >> 8)})
		k.Packet(ntpac.Up, pcaptest.ACK, nil)
	}
	k.Close()
	udp := pcaptest.New()
	udp.Step = ms / 10
	for i := range count {
		udp.UDP(pcaptest.Client, pcaptest.Server, []byte{byte(i), byte(i >> 8)})
	}
	for _, x := range []struct {
		name   string
		frames []pcaptest.Frame
	}{{"segments", tcp.Frames}, {"datagrams", udp.Frames}} {
		second := slices.Clone(x.frames)
		for i := range second {
			second[i].TS += 48 * ms
		}
		one := (&pipeline{batch: 10}).run(t, x.frames).convs()
		two := (&pipeline{batch: 10}).run(t, x.frames, second).convs()
		if len(one) != 1 || len(two) != 1 {
			t.Fatalf("%s: %d and %d conversations", x.name, len(one), len(two))
		}
		a, b := one[0], two[0]
		for s := range 2 {
			if string(a.data[s]) != string(b.data[s]) || a.c.Half[s].Packets != b.c.Half[s].Packets || b.c.Half[s].Duplicates != a.c.Half[s].Packets {
				t.Errorf("%s, side %d: %d packets and %d duplicates of %d packets", x.name, s, b.c.Half[s].Packets, b.c.Half[s].Duplicates, a.c.Half[s].Packets)
			}
		}
	}
}
