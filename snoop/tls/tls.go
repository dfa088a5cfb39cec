// Package tls reads the handshakes of SSL 3 and TLS 1.0 to 1.3 on any port: server name, versions,
// cipher, application protocol, fingerprints, certificates. What is encrypted stays unread.
package tls

import (
	"context"
	"encoding/binary"

	"ntpac"
	"ntpac/internal/tlshello"
)

// Snooper reads TLS.
type Snooper struct{}

// New makes the snooper.
func New() *Snooper { return &Snooper{} }

// Info describes the snooper.
func (*Snooper) Info() ntpac.SnooperInfo {
	return ntpac.SnooperInfo{Name: "tls", Version: 1, Protos: []ntpac.Proto{ntpac.TCP},
		Ports: []uint16{443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 5223, 6697, 8443, 8883},
		Types: []string{"tls"},
		Holes: "A hello with a hole gives what comes before it, without fingerprints; behind a hole the records are found by their form."}
}

// Snoop reads the hellos of both directions. It does not go behind them, so that long connections cost
// no more than short ones.
func (*Snooper) Snoop(_ context.Context, d *ntpac.Dialog, emit ntpac.Emitter) error {
	for _, a := range tlshello.ReadConversation(d, begin(d.Up), begin(d.Down)) {
		emit.Emit(a)
	}
	return nil
}

// begin is where TLS begins in a direction: at its first byte, or with a hello behind the opening words
// of another protocol.
func begin(s *ntpac.Stream) int64 {
	for s.MoveTo(0); !s.EOF() && s.Off() < ntpac.HeadSize; s.Skip(ntpac.HeadSize) {
		s.SkipGap()
		b := s.Peek(ntpac.HeadSize)
		if look(b) != other {
			break
		}
		if at, _ := tlshello.FindHello(b); at >= 0 {
			return s.Off() + int64(at)
		}
	}
	return 0
}

// What the first bytes of a direction are.
type part uint8

const (
	other   part = iota
	record       // one record's head, without proof
	records      // a chain of records
	client       // a client's hello
	server       // a server's hello
)

// Probe is certain of a hello in either direction, and of two records in a row. Both hellos, each behind
// other words, are TLS that begins later: after a STARTTLS, or through a proxy.
func (*Snooper) Probe(h *ntpac.Head) (v ntpac.Verdict) {
	if h.Proto != ntpac.TCP {
		return v
	}
	up, down := look(h.Data[ntpac.Up]), look(h.Data[ntpac.Down])
	switch best := max(up, down); {
	case best >= records:
		v.Confidence = ntpac.Certain
	case best == record:
		v.Confidence = ntpac.Unsure
	default:
		return later(h)
	}
	v.Swapped = up == server && down != server || down == client && up != client
	return v
}

// later looks for both hellos behind the heads of the directions.
func later(h *ntpac.Head) (v ntpac.Verdict) {
	_, up := tlshello.FindHello(h.Data[ntpac.Up])
	if up == 0 {
		return v
	}
	_, down := tlshello.FindHello(h.Data[ntpac.Down])
	if down == 0 || up == down {
		return v
	}
	return ntpac.Verdict{Confidence: ntpac.Certain, Later: true, Swapped: up == tlshello.TypeServerHello}
}

// look says what a direction begins with.
func look(b []byte) part {
	switch {
	case tlshello.ValidV2(b):
		return client
	case tlshello.ValidServerV2(b):
		return server
	}
	if !tlshello.ValidRecord(b) {
		return other
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if b[0] == 22 && len(b) >= 11 && (b[9] == 3 || b[9] == 0x7f) && b[6] == 0 && (b[5] == tlshello.TypeClientHello || b[5] == tlshello.TypeServerHello) {
		// A hello has at least version, random and one cipher.
		if size := int(b[7])<<8 | int(b[8]); size >= 38 {
			if b[5] == tlshello.TypeClientHello {
				return client
			}
			return server
		}
	}
	if next := b[min(5+n, len(b)):]; tlshello.ValidRecord(next) {
		return records
	}
	return record
}
