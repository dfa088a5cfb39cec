// Package snooptest is the kit that proves snoopers: it builds conversations from scripted talks, with
// holes wherever a test wants them, and holds every snooper against the same laws.
package snooptest

import (
	"crypto/sha256"
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

type segment struct {
	dir  ntpac.Dir
	off  int64
	data []byte
	push bool
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
			out = append(out, segment{turn.Dir, off[turn.Dir], data[:n], n == len(data)})
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
	c := &ntpac.Conversation{Case: "test", First: Start, Key: ntpac.FlowKey{Proto: t.proto()}, Close: ntpac.CloseFin}
	cl, sv := t.Client, t.Server
	if !cl.IsValid() {
		cl = netip.MustParseAddrPort("10.0.0.1:50000")
	}
	if !sv.IsValid() {
		sv = netip.MustParseAddrPort("10.0.0.2:80")
	}
	c.Key.End, c.Client = [2]netip.AddrPort{cl, sv}, ntpac.A
	if sv.Compare(cl) < 0 {
		c.Key.End, c.Client = [2]netip.AddrPort{sv, cl}, ntpac.B
	}
	if t.NoSyn {
		c.ClientBy, c.Flags = ntpac.ByFirst, ntpac.Midstream|ntpac.HeadUnknown
	}
	mem := &memory{}
	var hs ntpac.HistoryState
	segs := t.segments()
	tcp := t.proto() == ntpac.TCP
	for i, s := range segs {
		side := c.Side(s.dir)
		h := &c.Half[side]
		h.HeadKnown = !t.NoSyn
		c.Last = Start + ntpac.Time(i)*1e6
		if drop != nil && drop(i) {
			if tcp {
				h.Missing += int64(len(s.data))
				h.End += int64(len(s.data))
				if k := len(h.Gaps) - 1; k >= 0 && h.Gaps[k].Off+h.Gaps[k].Len == s.off {
					h.Gaps[k].Len += int64(len(s.data))
				} else if len(s.data) > 0 {
					h.Gaps = append(h.Gaps, ntpac.Gap{Off: s.off, Len: int64(len(s.data)), Cause: ntpac.GapAcked})
				}
			}
			continue
		}
		ev := ntpac.Event{TS: c.Last, Ord: uint64(i), Off: int64(i) * 2000, Start: h.End, Len: uint32(len(s.data)),
			Pos: 54, Cap: 54 + uint32(len(s.data)), Wire: 54 + uint32(len(s.data)), Flags: ntpac.EventFlags(side)}
		if s.push {
			ev.Flags |= ntpac.EvPush
		}
		mem.history = hs.Append(mem.history, &ev)
		mem.put(int(side), h.End, s.data)
		h.Packets++
		h.Bytes += int64(len(s.data))
		h.End += int64(len(s.data))
	}
	for s := range 2 {
		sum := sha256.New()
		for _, b := range mem.chunks[s] {
			sum.Write(b)
		}
		c.Half[s].SHA256 = ntpac.Hash(sum.Sum(nil))
		if c.Half[s].Packets == 0 {
			c.Flags |= ntpac.OneSided
			c.Half[s].Gaps, c.Half[s].Missing, c.Half[s].End = nil, 0, 0
		}
	}
	c.HistLen = int64(len(mem.history))
	return ntpac.NewDialog(c, mem)
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
