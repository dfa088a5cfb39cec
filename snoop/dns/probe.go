package dns

import (
	"encoding/binary"

	"ntpac"
	"ntpac/internal/wire"
)

// The well-known ports (RFC 1035, RFC 6762, RFC 4795).
const (
	portDNS   = 53
	portMDNS  = 5353
	portLLMNR = 5355
	portNBNS  = 137 // NetBIOS names travel in the same format; they are not DNS
)

// fit says how well bytes fit a DNS message.
type fit uint8

const (
	misfit   fit = iota
	headLike     // the head has a known operation; its counts may be too high
	headFits
	asks   // the head, and the first question or record
	entire // everything, to the last byte, with known types and classes
)

// Probe is certain of a conversation in which the first message of each direction is a DNS message to
// its last byte. Where the port agrees, a first question is enough.
func (*Snooper) Probe(h *ntpac.Head) (v ntpac.Verdict) {
	port := protocolOf(h.Port[ntpac.Up], h.Port[ntpac.Down])
	if h.Port[ntpac.Up] == portNBNS || h.Port[ntpac.Down] == portNBNS {
		return v
	}
	var fits [2]fit
	var answers, present [2]bool
	for dir := range 2 {
		msg := h.Data[dir]
		if len(msg) == 0 {
			continue
		}
		present[dir] = true
		whole := true
		if h.Proto == ntpac.TCP {
			if msg, whole = unframe(msg); msg == nil {
				continue
			}
		}
		fits[dir] = scan(msg, port == "mdns")
		if !whole && fits[dir] == entire {
			fits[dir] = asks
		}
		answers[dir] = len(msg) > 2 && msg[2]&0x80 != 0
	}
	best, worst := misfit, entire
	for dir := range 2 {
		if present[dir] {
			best, worst = max(best, fits[dir]), min(worst, fits[dir])
		}
	}
	switch {
	case best == entire && (worst == entire || port != ""), best == asks && port != "":
		v.Confidence = ntpac.Certain
	case best >= headFits && port != "":
		v.Confidence = ntpac.Unsure
	case best == headLike && port != "":
		v.Confidence = ntpac.ProbeFail
	default:
		return v
	}
	// A response comes from the server, except with multicast, where nobody is one.
	if !(h.Port[ntpac.Up] == portMDNS && h.Port[ntpac.Down] == portMDNS) {
		v.Swapped = answers[ntpac.Up] && fits[ntpac.Up] > misfit && !(answers[ntpac.Down] && fits[ntpac.Down] > misfit) ||
			!present[ntpac.Up] && fits[ntpac.Down] > misfit && !answers[ntpac.Down]
	}
	return v
}

// protocolOf names the protocol that the ports stand for; empty where none of them is known.
func protocolOf(a, b uint16) string {
	for _, p := range [2]uint16{b, a} {
		switch p {
		case portDNS:
			return "dns"
		case portMDNS:
			return "mdns"
		case portLLMNR:
			return "llmnr"
		}
	}
	return ""
}

// unframe takes the first message out of a TCP stream (RFC 1035 section 4.2.2), as far as it is there.
func unframe(b []byte) (msg []byte, whole bool) {
	if len(b) < 2+headerSize {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < headerSize {
		return nil, false
	}
	return b[2:min(2+n, len(b))], len(b) >= 2+n
}

// known reports whether the operation is a known one, and the reserved bit clear.
func (h *header) known() bool {
	op := h.opcode()
	return op <= 6 && op != 3 && h.flags&maskZ == 0
}

// plausible checks the head against the message's length: there can be no more records than there is
// room for (a question takes 5 bytes, a record 11).
func (h *header) plausible(size int) bool {
	if !h.known() || headerSize+5*int(h.qd)+11*h.records() > size && h.flags&flagTC == 0 {
		return false
	}
	return int(h.qd)+h.records() > 0 || h.response()
}

// scan says how well bytes fit a message. It allocates nothing.
func scan(msg []byte, mdns bool) fit {
	r := wire.New(msg)
	h := readHeader(&r)
	switch {
	case !r.OK() || !h.known():
		return misfit
	case !h.plausible(len(msg)):
		return headLike
	}
	strict := h.qd <= 1 || mdns
	if !h.response() && (h.an > 0 || h.flags&15 != 0) && h.opcode() == 0 && !mdns {
		strict = false
	}
	jumps := 64 + len(msg)/8
	for i := range int(h.qd) {
		if !scanName(msg, &r, &jumps) {
			return headFits
		}
		typ, class := r.U16(), r.U16()
		if !r.OK() || netbios(msg, typ) {
			return headFits
		}
		strict = strict && knownType(typ) && knownClass(class, mdns)
		if i == 0 && !strict {
			return headFits
		}
	}
	for i := range h.records() {
		rest := asks
		if i == 0 && h.qd == 0 {
			rest = headFits
		}
		if !scanName(msg, &r, &jumps) {
			return rest
		}
		typ, class := r.U16(), r.U16()
		r.U32()
		r.Skip(int(r.U16()))
		if !r.OK() || !knownType(typ) || typ != typeOPT && !knownClass(class, mdns) {
			return rest
		}
	}
	switch {
	case !strict:
		return headFits
	case h.qd == 0 && h.records() == 0:
		return headFits
	case !r.Empty():
		return asks
	}
	return entire
}

func scanName(msg []byte, r *wire.Reader, jumps *int) bool {
	*jumps--
	return *jumps >= 0 && walkName(msg, r, nil) == nil
}

func knownClass(c uint16, mdns bool) bool {
	if mdns {
		c &= 1<<15 - 1
	}
	return c == 1 || c == 3 || c == 4 || c == 254 || c == 255
}

// netbios recognises the encoded names of NetBIOS: one label of 32 letters from A to P (RFC 1001
// section 14.1), asked for by the types NB and NBSTAT.
func netbios(msg []byte, typ uint16) bool {
	if typ != 32 && typ != 33 || len(msg) < headerSize+33 || msg[headerSize] != 32 {
		return false
	}
	for _, c := range msg[headerSize+1 : headerSize+33] {
		if c < 'A' || c > 'P' {
			return false
		}
	}
	return true
}
