package capture

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"ntpac"
)

// Format is a capture format that Writer knows.
type Format uint8

// The formats written.
const (
	PCAPNG   Format = iota // one interface for each link type, nanoseconds
	PCAP                   // classic: one link type, microseconds
	PCAPNano               // classic with nanoseconds
)

// Writer writes a capture, little-endian. It allocates nothing per packet.
type Writer struct {
	w     *bufio.Writer
	f     Format
	begun bool
	links []ntpac.LinkType // by interface; classic pcap has one
	err   error            // the first failure; nothing is written after it
	buf   [64]byte
}

// The snap length that headers state. Longer frames are written whole all the same.
const writtenSnap = 256 << 10

// NewWriter makes a writer onto w. Nothing is complete before Flush.
func NewWriter(w io.Writer, f Format) *Writer {
	return &Writer{w: bufio.NewWriterSize(w, 64<<10), f: f}
}

// Packet writes one frame of which wire bytes were on the wire. Classic pcap refuses a second link
// type and times outside 1970 to 2106. An error stays: all later calls return it.
func (w *Writer) Packet(ts ntpac.Time, link ntpac.LinkType, wire uint32, frame []byte) error {
	if w.err != nil {
		return w.err
	}
	if len(frame) > maxRecord {
		w.err = fmt.Errorf("a frame of %d bytes is too long for a capture file", len(frame))
		return w.err
	}
	if w.f == PCAPNG {
		w.enhanced(ts, link, wire, frame)
	} else {
		w.classic(ts, link, wire, frame)
	}
	return w.err
}

// Flush writes what is buffered: a capture without packets too gets its header.
func (w *Writer) Flush() error {
	if w.err == nil && !w.begun {
		w.begin(1)
	}
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

func (w *Writer) put(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
}

// begin writes the file's header.
func (w *Writer) begin(link ntpac.LinkType) {
	w.begun = true
	b, le := w.buf[:0], binary.LittleEndian
	switch w.f {
	case PCAPNG:
		b = le.AppendUint32(b, ngSection)
		b = le.AppendUint32(b, 28)
		b = le.AppendUint32(b, ngOrder)
		b = le.AppendUint32(b, 1) // version 1.0
		b = le.AppendUint64(b, math.MaxUint64)
		b = le.AppendUint32(b, 28)
	default:
		magic := uint32(magicMicro)
		if w.f == PCAPNano {
			magic = magicNano
		}
		b = le.AppendUint32(b, magic)
		b = le.AppendUint32(b, 4<<16|2) // version 2.4
		b = le.AppendUint64(b, 0)
		b = le.AppendUint32(b, writtenSnap)
		b = le.AppendUint32(b, uint32(link))
		w.links = append(w.links, link)
	}
	w.put(b)
}

func (w *Writer) classic(ts ntpac.Time, link ntpac.LinkType, wire uint32, frame []byte) {
	if !w.begun {
		w.begin(link)
	}
	sec, sub := ts/ntpac.Second, ts%ntpac.Second
	switch {
	case link != w.links[0]:
		w.err = fmt.Errorf("classic pcap holds one link type: %d does not go with %d; write pcapng", link, w.links[0])
		return
	case ts < 0 || sec > math.MaxUint32:
		w.err = fmt.Errorf("classic pcap cannot tell the time %s; write pcapng", ts)
		return
	}
	if w.f == PCAP {
		sub /= 1000
	}
	b, le := w.buf[:0], binary.LittleEndian
	b = le.AppendUint32(b, uint32(sec))
	b = le.AppendUint32(b, uint32(sub))
	b = le.AppendUint32(b, uint32(len(frame)))
	b = le.AppendUint32(b, wire)
	w.put(b)
	w.put(frame)
}

func (w *Writer) enhanced(ts ntpac.Time, link ntpac.LinkType, wire uint32, frame []byte) {
	if !w.begun {
		w.begin(link)
	}
	pad := -len(frame) & 3
	size := uint32(32 + len(frame) + pad)
	b, le := w.buf[:0], binary.LittleEndian
	number := w.iface(link)
	b = le.AppendUint32(b, ngEnhanced)
	b = le.AppendUint32(b, size)
	b = le.AppendUint32(b, number)
	b = le.AppendUint32(b, uint32(uint64(ts)>>32))
	b = le.AppendUint32(b, uint32(ts))
	b = le.AppendUint32(b, uint32(len(frame)))
	b = le.AppendUint32(b, wire)
	w.put(b)
	w.put(frame)
	b = append(w.buf[:0], 0, 0, 0)[:pad]
	w.put(le.AppendUint32(b, size))
}

// iface gives the number of the link type's interface, and describes it where it is new.
func (w *Writer) iface(link ntpac.LinkType) uint32 {
	for i, l := range w.links {
		if l == link {
			return uint32(i)
		}
	}
	b, le := w.buf[:0], binary.LittleEndian
	b = le.AppendUint32(b, ngInterface)
	b = le.AppendUint32(b, 32)
	b = le.AppendUint16(b, uint16(link))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, writtenSnap)
	b = le.AppendUint16(b, ifTsresol)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, 9) // 10^-9 seconds, and padding
	b = le.AppendUint32(b, optEnd)
	b = le.AppendUint32(b, 32)
	w.put(b)
	w.links = append(w.links, link)
	return uint32(len(w.links) - 1)
}
