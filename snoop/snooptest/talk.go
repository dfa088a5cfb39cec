// Package snooptest is the kit that proves snoopers: it builds conversations from scripted talks, with
// holes wherever a test wants them, and holds every snooper against the same laws.
package snooptest

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"ntpac"
)

// Turn is what one end says before the other one speaks.
type Turn struct {
	Dir  ntpac.Dir
	Data []byte
}

// Up and Down make turns of text.
func Up(s string) Turn { return Turn{ntpac.Up, []byte(s)} }

// Down is what the server says.
func Down(s string) Turn { return Turn{ntpac.Down, []byte(s)} }

// Talk is a scripted conversation. Over TCP each turn is cut into segments of at most SegmentSize
// bytes; over anything else each turn is one datagram.
type Talk struct {
	Proto          ntpac.Proto // default TCP
	Client, Server netip.AddrPort
	Turns          []Turn
	NoSyn          bool // the beginning was not captured: heads are unknown, and who spoke first is the client
}

// SegmentSize is the most payload that one segment of a talk carries.
const SegmentSize = 1000

// Start is when talks begin; each segment comes one millisecond after the one before.
const Start = ntpac.Time(1_700_000_000_000_000_000)

// segment is one packet of a talk, and what became of it.
type segment struct {
	dir  ntpac.Dir
	off  int64 // in its direction, as it was sent
	data []byte
	push bool
	lost bool
	cut  int // bytes that the snap length, or the end of the capture, took from its end
}

func (t *Talk) segments() []segment {
	var out []segment
	var off [2]int64
	for _, turn := range t.Turns {
		data := turn.Data
		for first := true; first || len(data) > 0; first = false {
			n := len(data)
			if t.proto() == ntpac.TCP {
				n = min(n, SegmentSize)
			}
			out = append(out, segment{dir: turn.Dir, off: off[turn.Dir], data: data[:n], push: n == len(data)})
			off[turn.Dir] += int64(n)
			data = data[n:]
		}
	}
	return out
}

func (t *Talk) proto() ntpac.Proto {
	if t.Proto == 0 {
		return ntpac.TCP
	}
	return t.Proto
}

// Segments is how many packets with payload the talk has.
func (t *Talk) Segments() int { return len(t.segments()) }

// Dialog plays the talk and gives what a capture that missed the segments named by drop holds of it.
// A lost datagram leaves no hole; a lost segment does.
func (t *Talk) Dialog(drop func(i int) bool) *ntpac.Dialog {
	segs := t.segments()
	for i := range segs {
		segs[i].lost = drop != nil && drop(i)
	}
	return t.play(segs, ntpac.CloseFin, [2]int64{})
}

// play makes the conversation that a capture of the segments gives: the i-th was sent i milliseconds
// after Start. Over TCP lead is the length of a hole at the head of each direction.
func (t *Talk) play(segs []segment, end ntpac.CloseCause, lead [2]int64) *ntpac.Dialog {
	c := &ntpac.Conversation{Case: "test", First: Start, Last: Start, Key: ntpac.FlowKey{Proto: t.proto()}, Close: end}
	binary.BigEndian.PutUint64(c.ID[:], uint64(Start))
	cl, sv := t.ends()
	c.Key.End, c.Client = [2]netip.AddrPort{cl, sv}, ntpac.A
	if sv.Compare(cl) < 0 {
		c.Key.End, c.Client = [2]netip.AddrPort{sv, cl}, ntpac.B
	}
	if t.NoSyn {
		c.ClientBy, c.Flags = ntpac.ByFirst, ntpac.Midstream|ntpac.HeadUnknown
	} else if t.proto() != ntpac.TCP {
		c.ClientBy = ntpac.ByFirst
	}
	p := player{c: c, tcp: t.proto() == ntpac.TCP}
	for dir := ntpac.Up; dir <= ntpac.Down; dir++ {
		c.In(dir).HeadKnown = !t.NoSyn
		p.gap(c.In(dir), lead[dir], ntpac.GapAcked)
	}
	for i := range segs {
		p.packet(i, &segs[i])
	}
	if p.tcp && end == ntpac.CloseFin {
		p.fin(len(segs))
	}
	p.finish()
	return ntpac.NewDialog(c, &p.mem)
}

func (t *Talk) ends() (client, server netip.AddrPort) {
	client, server = t.Client, t.Server
	if !client.IsValid() {
		client = netip.MustParseAddrPort("10.0.0.1:50000")
	}
	if !server.IsValid() {
		server = netip.MustParseAddrPort("10.0.0.2:80")
	}
	return client, server
}

// player writes what was captured of a talk.
type player struct {
	c   *ntpac.Conversation
	tcp bool
	mem memory
	hs  ntpac.HistoryState
}

func (p *player) packet(i int, s *segment) {
	side := p.c.Side(s.dir)
	h := &p.c.Half[side]
	p.c.Last = Start + ntpac.Time(i)*1e6
	if s.lost {
		if p.tcp {
			p.gap(h, int64(len(s.data)), ntpac.GapAcked)
		}
		return
	}
	got := s.data[:len(s.data)-s.cut]
	frame := 54 + uint32(len(got))
	ev := ntpac.Event{TS: p.c.Last, Ord: uint64(i), Off: int64(i) * 2000, Start: h.End, Len: uint32(len(got)),
		Pos: 54, Cap: frame, Wire: frame + uint32(s.cut), Flags: ntpac.EventFlags(side)}
	if s.push {
		ev.Flags |= ntpac.EvPush
	}
	if s.cut > 0 {
		ev.Flags |= ntpac.EvCut
		p.c.Flags |= ntpac.Truncated
	}
	p.mem.history = p.hs.Append(p.mem.history, &ev)
	p.mem.put(int(side), h.End, got)
	h.Packets++
	h.Bytes += int64(len(got))
	h.End += int64(len(got))
	p.gap(h, int64(s.cut), ntpac.GapCut)
}

// fin ends both directions.
func (p *player) fin(i int) {
	for side := range ntpac.Side(2) {
		ev := ntpac.Event{TS: p.c.Last, Ord: uint64(i) + uint64(side), Off: int64(i) * 2000, Start: p.c.Half[side].End, Pos: 54, Cap: 54, Wire: 54,
			Flags: ntpac.EventFlags(side) | ntpac.EvFin | ntpac.EvNoData}
		p.mem.history = p.hs.Append(p.mem.history, &ev)
	}
}

func (p *player) gap(h *ntpac.Half, n int64, why ntpac.GapCause) {
	if n == 0 {
		return
	}
	if k := len(h.Gaps) - 1; k >= 0 && h.Gaps[k].Off+h.Gaps[k].Len == h.End {
		h.Gaps[k].Len += n
	} else {
		h.Gaps = append(h.Gaps, ntpac.Gap{Off: h.End, Len: n, Cause: why})
	}
	h.Missing += n
	h.End += n
}

func (p *player) finish() {
	for s := range 2 {
		h := &p.c.Half[s]
		sum := sha256.New()
		for _, b := range p.mem.chunks[s] {
			sum.Write(b)
		}
		h.SHA256 = ntpac.Hash(sum.Sum(nil))
		if h.Packets == 0 {
			p.c.Flags |= ntpac.OneSided
			h.Gaps, h.Missing, h.End = nil, 0, 0
		}
	}
	p.c.HistLen = int64(len(p.mem.history))
}

// memory is a payload in chunks, as a store would give it.
type memory struct {
	chunks  [2][][]byte
	history []byte
}

func (m *memory) put(side int, off int64, b []byte) {
	for len(b) > 0 {
		n := off / ntpac.ChunkSize
		for int64(len(m.chunks[side])) <= n {
			m.chunks[side] = append(m.chunks[side], nil)
		}
		k := min(int64(len(b)), (n+1)*ntpac.ChunkSize-off)
		m.chunks[side][n] = append(m.chunks[side][n], b[:k]...)
		b, off = b[k:], off+k
	}
}

func (m *memory) Chunk(stream uint8, n int64) ([]byte, error) {
	if stream == ntpac.StreamHistory {
		l := int64(len(m.history))
		return m.history[min(n*ntpac.ChunkSize, l):min((n+1)*ntpac.ChunkSize, l)], nil
	}
	if n >= int64(len(m.chunks[stream])) {
		return nil, nil
	}
	return m.chunks[stream][n], nil
}

// Collector is an Emitter that keeps what it is given.
type Collector struct {
	Artifacts    []*ntpac.Artifact
	Expectations []ntpac.Expectation
}

// Emit keeps an artifact.
func (c *Collector) Emit(a *ntpac.Artifact) { c.Artifacts = append(c.Artifacts, a) }

// Expect keeps an expectation.
func (c *Collector) Expect(e ntpac.Expectation) { c.Expectations = append(c.Expectations, e) }
