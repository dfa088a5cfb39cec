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
	for _, a := range tlshello.ReadConversation(d, 0, 0) {
		emit.Emit(a)
	}
	return nil
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

// Probe is certain of a hello in either direction, and of two records in a row.
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
		return v
	}
	v.Swapped = up == server && down != server || down == client && up != client
	return v
}

// look says what a direction begins with.
func look(b []byte) part {
	if tlshello.ValidV2(b) {
		return client
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
