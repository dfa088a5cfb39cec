package dns

import (
	"errors"
	"fmt"

	"ntpac/artifact"
	"ntpac/internal/wire"
)

// What can be wrong with a name, and with a message.
var (
	errLongName  = errors.New("name longer than 255 bytes")
	errPointer   = errors.New("compression pointer does not lead back")
	errLabelType = errors.New("label of an unknown type")
	errTrailing  = errors.New("bytes behind the message")
	errBomb      = errors.New("compressed names unfold to far more than the message")
)

// headerSize is the length of the fixed head of a message (RFC 1035 section 4.1.1).
const headerSize = 12

// header is the fixed head of a message.
type header struct {
	id, flags      uint16
	qd, an, ns, ar uint16
}

const (
	flagQR = 1 << 15
	flagTC = 1 << 9
	// maskZ is the one bit of the head that is still reserved.
	maskZ = 1 << 6
)

func (h *header) response() bool { return h.flags&flagQR != 0 }
func (h *header) opcode() int    { return int(h.flags >> 11 & 15) }
func (h *header) records() int   { return int(h.an) + int(h.ns) + int(h.ar) }

func readHeader(r *wire.Reader) (h header) {
	h.id, h.flags = r.U16(), r.U16()
	h.qd, h.an, h.ns, h.ar = r.U16(), r.U16(), r.U16(), r.U16()
	return h
}

// parse reads a message. Where it is damaged the error says why, and out has what came before.
func parse(msg []byte, protocol string) (out *artifact.DNS, err error) {
	r := wire.New(msg)
	h := readHeader(&r)
	if !r.OK() {
		return nil, r.Err()
	}
	p := parser{msg: msg, mdns: protocol == "mdns"}
	out = &artifact.DNS{TxID: h.id, Response: h.response(), RCode: int(h.flags & 15), Protocol: protocol,
		Flags: flagNames(h.flags, protocol), Answers: []artifact.DNSRecord{}}
	if h.opcode() != 0 {
		out.Opcode = opcodes[h.opcode()]
	}
	defer func() { out.RCodeName = rcodeName(out.RCode) }()
	for i := range int(h.qd) {
		q, err := p.question(&r)
		if err != nil {
			return out, fmt.Errorf("question %d of %d: %w", i+1, h.qd, err)
		}
		if i == 0 {
			out.Query, out.QType, out.QClass = q.Name, q.Type, q.Class
		}
		if h.qd > 1 {
			out.Questions = append(out.Questions, q)
		}
	}
	sections := []struct {
		name string
		n    uint16
		list *[]artifact.DNSRecord
	}{{"answer", h.an, &out.Answers}, {"authority record", h.ns, &out.Authority}, {"additional record", h.ar, &out.Additional}}
	for _, s := range sections {
		for i := range int(s.n) {
			rec, err := p.record(&r)
			if p.text += len(rec.Name) + len(rec.Data); err == nil && p.text > maxUnfold*len(msg)+4096 {
				err = errBomb
			}
			if rec.Type != "" {
				*s.list = append(*s.list, rec)
			}
			if err != nil {
				return out, fmt.Errorf("%s %d of %d: %w", s.name, i+1, s.n, err)
			}
		}
	}
	out.RCode |= p.rcodeHigh << 4
	if !r.Empty() {
		return out, fmt.Errorf("%w: %d", errTrailing, r.Len())
	}
	return out, nil
}

// flagNames lists the flags of the head that are set. LLMNR gives two of the bits other meanings
// (RFC 4795 section 2.1.1).
func flagNames(flags uint16, protocol string) []string {
	names := [...]string{"aa", "tc", "rd", "ra", "z", "ad", "cd"}
	if protocol == "llmnr" {
		names[0], names[2] = "c", "t"
	}
	out := []string{}
	for i, n := range names {
		if flags&(1<<(10-i)) != 0 {
			out = append(out, n)
		}
	}
	return out
}

// parser reads the parts of one message.
type parser struct {
	msg       []byte
	mdns      bool
	rcodeHigh int // from an OPT record
	text      int // length of names and data so far
	buf       []byte
}

// maxUnfold is how many bytes of text a byte of message may give. Real messages, zone transfers
// included, stay under five.
const maxUnfold = 16

func (p *parser) name(r *wire.Reader) (string, error) {
	b, err := appendName(p.buf[:0], p.msg, r)
	p.buf = b
	return string(b), err
}

// class names a class where it is not IN. Multicast DNS uses its top bit for itself: "cache flush" of
// a record, "unicast response wanted" of a question (RFC 6762 section 18.12).
func (p *parser) class(c uint16) string {
	if p.mdns {
		c &= 1<<15 - 1
	}
	if c == 1 {
		return ""
	}
	return className(c)
}

func (p *parser) question(r *wire.Reader) (q artifact.DNSQuestion, err error) {
	if q.Name, err = p.name(r); err != nil {
		return q, err
	}
	q.Type = typeName(r.U16())
	q.Class = p.class(r.U16())
	return q, r.Err()
}

const typeOPT = 41

// record reads a resource record. Its type is empty where not even that could be read.
func (p *parser) record(r *wire.Reader) (rec artifact.DNSRecord, err error) {
	if rec.Name, err = p.name(r); err != nil {
		return rec, err
	}
	typ, class, ttl := r.U16(), r.U16(), r.U32()
	n := int(r.U16())
	if !r.OK() {
		return rec, r.Err()
	}
	rec.Type = typeName(typ)
	start := r.Off()
	data := r.Bytes(n)
	if data == nil && n > 0 {
		rec.TTL = ttl
		return rec, r.Err()
	}
	if typ == typeOPT {
		// RFC 6891 section 6.1.3: class and TTL of an OPT record are not what they are called.
		p.rcodeHigh = int(ttl >> 24)
		rec.Data = opt(class, ttl, data)
		return rec, nil
	}
	rec.Class, rec.TTL = p.class(class), ttl
	var ok bool
	if rec.Data, ok = p.data(typ, start, n); !ok {
		rec.Data = generic(data)
	}
	return rec, nil
}
