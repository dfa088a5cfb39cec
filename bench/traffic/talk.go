package traffic

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// host is an end of conversations.
type host struct {
	v4   [4]byte
	v6   [16]byte
	name string
	vlan uint16
}

// ends name a conversation for reuse: no two have the same ones.
type ends struct {
	client, server int
	port           uint16
}

// TCP flags (RFC 9293, 3.1).
const (
	fin = 1
	syn = 2
	rst = 4
	psh = 8
	ack = 16
)

const (
	client = 0
	server = 1
)

// packet is one of a conversation's, before its headers are written.
type packet struct {
	t        int64 // ns
	seq, ack uint32
	dir      uint8
	flags    uint8
	data     []byte
}

// talk is a conversation being made, and then waiting for its packets' turns.
type talk struct {
	id      int64
	r       *rand.Rand
	late    float64
	tcp, v6 bool
	host    [2]*host
	port    [2]uint16
	packets []packet
	pos     int

	t    int64 // the builder's clock
	rtt  int64
	gap  int64 // between two segments of a burst
	seq  [2]uint32
	last int // who spoke last
	got  int // segments not acknowledged yet
}

func (t *talk) head() *packet { return &t.packets[t.pos] }

// segment is the most payload of a TCP packet.
const segment = 1440

func (g *generator) talk(tcp bool, port uint16) *talk {
	t := &talk{id: g.made, r: g.r, late: g.o.Late, tcp: tcp, v6: g.r.IntN(4) == 0, t: g.next, last: -1}
	for {
		c, s := g.r.IntN(len(g.pool.clients)), int(float64(len(g.pool.servers))*g.r.Float64()*g.r.Float64())
		e := ends{c, s, uint16(32768 + g.r.IntN(28000))}
		if g.used[e] {
			continue
		}
		g.used[e] = true
		t.host = [2]*host{g.pool.clients[c], g.pool.servers[s]}
		t.port = [2]uint16{e.port, port}
		break
	}
	t.rtt = int64(2e6 + g.r.ExpFloat64()*20e6)
	t.gap = int64(10e3 + g.r.ExpFloat64()*300e3)
	t.seq = [2]uint32{g.r.Uint32(), g.r.Uint32()}
	if tcp {
		t.open()
	}
	return t
}

func (t *talk) put(dir int, flags uint8, data []byte) {
	p := packet{t: t.t, dir: uint8(dir), flags: flags, seq: t.seq[dir], data: data}
	if flags&ack != 0 {
		p.ack = t.seq[1-dir]
	}
	t.packets = append(t.packets, p)
	t.seq[dir] += uint32(len(data))
	if flags&(syn|fin) != 0 {
		t.seq[dir]++
	}
}

func (t *talk) open() {
	t.put(client, syn, nil)
	t.t += t.rtt
	t.put(server, syn|ack, nil)
	t.t += 40e3
	t.put(client, ack, nil)
}

// think lets time pass, ms milliseconds on average.
func (t *talk) think(ms float64) { t.t += int64(t.r.ExpFloat64() * ms * 1e6) }

// say sends a message: a datagram, or segments that the other side acknowledges two by two.
func (t *talk) say(dir int, message ...[]byte) {
	data := slices.Concat(message...)
	if t.last != dir {
		t.t += t.rtt
		t.last, t.got = dir, 0
	}
	if !t.tcp {
		t.put(dir, 0, data)
		return
	}
	for len(data) > 0 {
		n := min(len(data), segment)
		flags := uint8(ack)
		if n == len(data) {
			flags |= psh
		}
		t.put(dir, flags, data[:n])
		t.disturb()
		data = data[n:]
		t.t += t.gap
		if t.got++; t.got == 2 {
			t.put(1-dir, ack, nil)
			t.got = 0
		}
	}
}

// disturb makes the last segment come late, or again, once in a while.
func (t *talk) disturb() {
	if t.r.Float64() >= t.late {
		return
	}
	p := &t.packets[len(t.packets)-1]
	if t.r.IntN(2) == 0 {
		p.t += 2*t.gap + 1e3
		return
	}
	again := *p
	again.t += t.rtt + 3*t.gap
	t.packets = append(t.packets, again)
}

func (t *talk) close() {
	t.t += t.rtt
	switch x := t.r.IntN(20); {
	case x == 0: // stays open
	case x == 1:
		t.put(client, rst|ack, nil)
	default:
		t.put(client, fin|ack, nil)
		t.t += t.rtt
		t.put(server, fin|ack, nil)
		t.t += 40e3
		t.put(client, ack, nil)
	}
}

// finish puts the packets in the order of their times.
func (t *talk) finish() {
	slices.SortStableFunc(t.packets, func(a, b packet) int { return cmp.Compare(a.t, b.t) })
}
