package artifact

import (
	"iter"
	"slices"
	"strconv"

	"ntpac"
)

// PDU is what one direction said in one go: a run of its bytes ended by PSH, a gap, a change of
// direction or the end; over anything but TCP, one datagram.
type PDU struct {
	Dir         ntpac.Dir
	Off         int64 // where it begins in the direction's stream
	Len         int64 // captured bytes; there is no hole in a PDU
	First, Last ntpac.Time
	Packets     int // that brought its bytes
}

// AppendJSON appends the PDU as a JSON object.
func (p *PDU) AppendJSON(b []byte) []byte {
	b = append(append(b, `{"dir":"`...), p.Dir.String()...)
	b = strconv.AppendInt(append(b, `","offset":`...), p.Off, 10)
	b = strconv.AppendInt(append(b, `,"length":`...), p.Len, 10)
	b = AppendTime(append(b, `,"first":"`...), p.First)
	b = AppendTime(append(b, `","last":"`...), p.Last)
	b = strconv.AppendInt(append(b, `","packets":`...), int64(p.Packets), 10)
	return append(b, '}')
}

// PDUs lists the PDUs of a conversation in the order in which they ended, from its history alone.
// Segments that came out of order count where their bytes belong. Of one UDP payload cut into
// fragments all are one PDU.
func PDUs(c *ntpac.Conversation, payload ntpac.Payload) iter.Seq[PDU] {
	if c.Key.Proto != ntpac.TCP {
		return datagrams(c, payload)
	}
	return func(yield func(PDU) bool) {
		t := turns{c: c, yield: yield}
		for e := range ntpac.Events(c, payload) {
			if e.Len == 0 || e.Flags&(ntpac.EvDup|ntpac.EvNoData) != 0 {
				continue
			}
			if t.add(e); t.stop {
				return
			}
		}
		t.finish()
	}
}

func datagrams(c *ntpac.Conversation, payload ntpac.Payload) iter.Seq[PDU] {
	return func(yield func(PDU) bool) {
		var p PDU
		for e := range ntpac.Events(c, payload) {
			if e.Flags&(ntpac.EvDup|ntpac.EvNoData) != 0 {
				continue
			}
			if p.Packets == 0 {
				p = PDU{Dir: c.Dir(e.Side()), Off: e.Start, First: e.TS}
			}
			p.Packets++
			p.Len = e.Start + int64(e.Len) - p.Off
			p.Last = e.TS
			if e.Flags&ntpac.EvMore != 0 {
				continue
			}
			if !yield(p) {
				return
			}
			p.Packets = 0
		}
	}
}

// turns puts the segments of both sides in order and cuts them into PDUs.
type turns struct {
	c     *ntpac.Conversation
	yield func(PDU) bool
	next  [2]int64         // by side: the position behind the bytes that are in order
	early [2][]ntpac.Event // by side: segments ahead of it, by position
	cur   PDU              // Packets is 0 where none is open
	stop  bool
}

// add takes a segment in the order of capture.
func (t *turns) add(e *ntpac.Event) {
	s := e.Side()
	if !t.reaches(s, e.Start) {
		at, _ := slices.BinarySearchFunc(t.early[s], e.Start, func(x ntpac.Event, start int64) int {
			if x.Start <= start {
				return -1
			}
			return 1
		})
		t.early[s] = slices.Insert(t.early[s], at, *e)
		return
	}
	t.take(e)
	n := 0
	for n < len(t.early[s]) && !t.stop && t.reaches(s, t.early[s][n].Start) {
		t.take(&t.early[s][n])
		n++
	}
	t.early[s] = append(t.early[s][:0], t.early[s][n:]...)
}

// reaches reports whether nothing but bytes known to be missing lies before start.
func (t *turns) reaches(s ntpac.Side, start int64) bool {
	n := start - t.next[s]
	return n <= 0 || t.c.Half[s].MissingIn(t.next[s], n) == n
}

// take adds the new bytes of a segment to the open PDU or begins another one.
func (t *turns) take(e *ntpac.Event) {
	s := e.Side()
	end := e.Start + int64(e.Len)
	if end <= t.next[s] {
		return
	}
	dir := t.c.Dir(s)
	off := max(e.Start, t.next[s])
	if t.cur.Packets > 0 && (t.cur.Dir != dir || t.cur.Off+t.cur.Len != off) {
		t.close()
	}
	if t.cur.Packets == 0 {
		t.cur = PDU{Dir: dir, Off: off, First: e.TS, Last: e.TS}
	}
	t.cur.Packets++
	t.cur.Len += end - off
	t.cur.First, t.cur.Last = min(t.cur.First, e.TS), max(t.cur.Last, e.TS)
	t.next[s] = end
	if e.Flags&(ntpac.EvPush|ntpac.EvFin) != 0 {
		t.close()
	}
}

func (t *turns) close() {
	if t.cur.Packets > 0 && !t.stop {
		t.stop = !t.yield(t.cur)
	}
	t.cur.Packets = 0
}

// finish gives what is left, also segments before which bytes are unaccountably absent.
func (t *turns) finish() {
	for s := range t.early {
		for i := range t.early[s] {
			t.take(&t.early[s][i])
		}
	}
	t.close()
}
