// Package dns reads the Domain Name System: over UDP and TCP (RFC 1035), multicast DNS (RFC 6762) and
// LLMNR (RFC 4795), on any port. Each message is one artifact.
package dns

import (
	"context"
	"encoding/binary"
	"errors"

	"ntpac"
	"ntpac/artifact"
	"ntpac/internal/wire"
)

// Snooper reads DNS.
type Snooper struct{}

// New makes the snooper.
func New() *Snooper { return &Snooper{} }

// Info describes the snooper.
func (*Snooper) Info() ntpac.SnooperInfo {
	return ntpac.SnooperInfo{Name: "dns", Version: 1, Protos: []ntpac.Proto{ntpac.UDP, ntpac.TCP},
		Ports: []uint16{portDNS, portMDNS, portLLMNR}, Types: []string{"dns"},
		Holes: "A message with a hole is read up to it; over TCP the next message is found by its length, or by its form."}
}

// Why a message was not read to its end.
var (
	errHole  = errors.New("a part of the message was not captured")
	errShort = errors.New("shorter than the head of a message")
)

// Snoop reads all messages of both directions, in the order of their capture.
func (*Snooper) Snoop(ctx context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	k := d.Conv.Key
	r := reader{d: d, emit: emit, protocol: protocolOf(k.End[0].Port(), k.End[1].Port())}
	if r.protocol == "" {
		r.protocol = "dns"
	}
	if k.Proto == ntpac.TCP {
		for s := d.Next(); s != nil; s = d.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.step(s)
		}
		return nil
	}
	for m := range d.Messages() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if m.Len > 0 {
			r.message(m.Data, m.Span(), m.TS, m.Cut)
		}
	}
	return nil
}

type reader struct {
	d        *ntpac.Dialog
	emit     ntpac.Emitter
	protocol string
}

// message reads one message and emits it. hole says that captured bytes end before it does.
func (r *reader) message(b []byte, span ntpac.Span, at ntpac.Time, hole bool) {
	m, err := parse(b, r.protocol)
	if m == nil {
		m, err = &artifact.DNS{Protocol: r.protocol, Flags: []string{}, Answers: []artifact.DNSRecord{}}, errShort
	}
	a := &ntpac.Artifact{Type: "dns", Time: at, Spans: []ntpac.Span{span}, Fields: m}
	if hole {
		a.Quality, err = ntpac.Gapped, errHole
	}
	if err != nil {
		a.Error = err.Error()
	}
	r.emit.Emit(a)
}

// step reads the next message of a TCP stream, which stands behind its two-byte length. The length
// leads over holes inside of a message; where a hole swallows the next length, or the stream's
// beginning is unknown, the next message is searched by its form.
func (r *reader) step(s *ntpac.Stream) {
	if s.SkipGap() > 0 || s.Off() == 0 && !s.HeadKnown() {
		if !r.resync(s) {
			return
		}
	}
	off := s.Off()
	head := s.Peek(2 + headerSize)
	if len(head) < 2+headerSize {
		r.lead(s, head)
		return
	}
	n := int64(binary.BigEndian.Uint16(head))
	if !framed(head, false) {
		s.Skip(1)
		r.resync(s)
		return
	}
	at := s.Time(off)
	s.Skip(2)
	b := s.Peek(int(n))
	end := min(off+2+n, s.End())
	r.message(b, ntpac.Span{Dir: s.Dir, Off: off, Len: end - off}, at, int64(len(b)) < n)
	s.MoveTo(end)
}

// lead follows the length of a message of which not even the head was captured.
func (r *reader) lead(s *ntpac.Stream, b []byte) {
	if len(b) < 2 {
		s.Skip(int64(len(b)))
		return
	}
	s.MoveTo(min(s.Off()+2+int64(binary.BigEndian.Uint16(b)), s.End()))
}

// framed reports whether a length and the head of a message may begin here; strict, whether the message
// has room for what its head announces.
func framed(b []byte, strict bool) bool {
	n := int(binary.BigEndian.Uint16(b))
	w := wire.New(b[2 : 2+headerSize])
	h := readHeader(&w)
	return n >= headerSize && h.known() && (!strict || h.plausible(n))
}

// Bounds of a search for the next message.
const (
	searchWindow = 64<<10 + 2 // the longest message with its length
	searchTries  = 512        // whole messages read in one window
)

// resync moves to the next place in the run at which a whole message lies; where there is none, to the
// end of the run.
func (r *reader) resync(s *ntpac.Stream) bool {
	for {
		b := s.Peek(2 * searchWindow)
		if at := search(b, r.protocol == "mdns"); at >= 0 {
			s.Skip(int64(at))
			return true
		}
		if len(b) < 2*searchWindow {
			s.Skip(int64(len(b)))
			return false
		}
		s.Skip(searchWindow)
	}
}

// search gives the place of the first whole message with its length before it, -1 where there is none.
func search(b []byte, mdns bool) int {
	tries := 0
	for i := 0; i+2+headerSize <= len(b); i++ {
		n := int(binary.BigEndian.Uint16(b[i:]))
		if i+2+n > len(b) || !framed(b[i:], true) {
			continue
		}
		if scan(b[i+2:i+2+n], mdns) == entire {
			return i
		}
		if tries++; tries == searchTries {
			break
		}
	}
	return -1
}
