package dns

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"ntpac/internal/wire"
)

// maxName is the longest name on the wire (RFC 1035 section 2.3.4).
const maxName = 255

// maxJumps bounds compression pointers in one name. A name of 255 bytes has at most 127 labels, so
// more jumps mean a loop or an attack.
const maxJumps = 127

// walkName passes over a name at the reader and, where label is not nil, gives it each label in turn. Compression
// pointers lead anywhere before themselves in the message (RFC 1035 section 4.1.4). It says why the
// name is bad.
func walkName(msg []byte, r *wire.Reader, label func([]byte)) error {
	size, jumps := 0, 0
	here := *r
	in := r
	for {
		at := in.Off()
		n := in.U8()
		if !in.OK() {
			r.Fail(in.Err())
			return in.Err()
		}
		switch n >> 6 {
		case 0:
			if n == 0 {
				return nil
			}
			l := in.Bytes(int(n))
			if l == nil {
				r.Fail(in.Err())
				return in.Err()
			}
			if size += int(n) + 1; size >= maxName {
				return errLongName
			}
			if label != nil {
				label(l)
			}
		case 3:
			to := int(n&0x3f)<<8 | int(in.U8())
			if !in.OK() {
				r.Fail(in.Err())
				return in.Err()
			}
			if jumps++; jumps > maxJumps || to >= at {
				return errPointer
			}
			here = wire.New(msg)
			here.Seek(to)
			in = &here
		default:
			return errLabelType
		}
	}
}

// appendName reads a name and appends its text: labels joined by dots, "." for the root.
func appendName(b, msg []byte, r *wire.Reader) ([]byte, error) {
	start := len(b)
	err := walkName(msg, r, func(l []byte) {
		if len(b) > start {
			b = append(b, '.')
		}
		b = appendText(b, l, '.')
	})
	if len(b) == start && err == nil {
		b = append(b, '.')
	}
	return b, err
}

// appendText appends bytes as text: what is readable in UTF-8 stays, the special character and the
// backslash get a backslash, every other byte becomes \DDD. Different bytes give different text.
func appendText(b, s []byte, special byte) []byte {
	for len(s) > 0 {
		c := s[0]
		switch {
		case c == special || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ' && c < 0x7f:
			b = append(b, c)
		default:
			if r, n := utf8.DecodeRune(s); n > 1 && unicode.IsGraphic(r) {
				b, s = append(b, s[:n]...), s[n:]
				continue
			}
			b = append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		}
		s = s[1:]
	}
	return b
}

// names of types (IANA, Domain Name System Parameters).
var typeNames = map[uint16]string{1: "A", 2: "NS", 3: "MD", 4: "MF", 5: "CNAME", 6: "SOA", 7: "MB", 8: "MG", 9: "MR",
	10: "NULL", 11: "WKS", 12: "PTR", 13: "HINFO", 14: "MINFO", 15: "MX", 16: "TXT", 17: "RP", 18: "AFSDB", 19: "X25",
	20: "ISDN", 21: "RT", 22: "NSAP", 23: "NSAP-PTR", 24: "SIG", 25: "KEY", 26: "PX", 27: "GPOS", 28: "AAAA", 29: "LOC",
	30: "NXT", 31: "EID", 32: "NIMLOC", 33: "SRV", 34: "ATMA", 35: "NAPTR", 36: "KX", 37: "CERT", 38: "A6", 39: "DNAME",
	40: "SINK", 41: "OPT", 42: "APL", 43: "DS", 44: "SSHFP", 45: "IPSECKEY", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY",
	49: "DHCID", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 55: "HIP", 56: "NINFO", 57: "RKEY",
	58: "TALINK", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS",
	99: "SPF", 100: "UINFO", 101: "UID", 102: "GID", 103: "UNSPEC", 104: "NID", 105: "L32", 106: "L64", 107: "LP",
	108: "EUI48", 109: "EUI64", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 253: "MAILB", 254: "MAILA",
	255: "ANY", 256: "URI", 257: "CAA", 258: "AVC", 259: "DOA", 260: "AMTRELAY", 32768: "TA", 32769: "DLV"}

// knownType is what the probe asks: the types in use, without a map.
func knownType(t uint16) bool {
	return t >= 1 && t <= 65 || t >= 99 && t <= 109 || t >= 249 && t <= 260 || t >= 32768 && t <= 32769 || t >= 65280 && t < 65535
}

func typeName(t uint16) string {
	if n, ok := typeNames[t]; ok {
		return n
	}
	return "TYPE" + strconv.Itoa(int(t)) // RFC 3597 section 5
}

func className(c uint16) string {
	switch c {
	case 1:
		return "IN"
	case 2:
		return "CS"
	case 3:
		return "CH"
	case 4:
		return "HS"
	case 254:
		return "NONE"
	case 255:
		return "ANY"
	}
	return "CLASS" + strconv.Itoa(int(c))
}

var opcodes = [16]string{"QUERY", "IQUERY", "STATUS", "OPCODE3", "NOTIFY", "UPDATE", "DSO", "OPCODE7", "OPCODE8",
	"OPCODE9", "OPCODE10", "OPCODE11", "OPCODE12", "OPCODE13", "OPCODE14", "OPCODE15"}

var rcodes = map[int]string{0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED",
	6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 11: "DSOTYPENI", 16: "BADVERS", 17: "BADKEY",
	18: "BADTIME", 19: "BADMODE", 20: "BADNAME", 21: "BADALG", 22: "BADTRUNC", 23: "BADCOOKIE"}

func rcodeName(c int) string {
	if n, ok := rcodes[c]; ok {
		return n
	}
	return "RCODE" + strconv.Itoa(c)
}
