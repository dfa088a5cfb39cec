package mail

import (
	"bytes"
	"strings"
)

// coding is a transfer encoding.
type coding uint8

const (
	codingNone   coding = iota // 7bit, 8bit, binary, and everything unknown
	codingBase64               // RFC 2045 section 6.8
	codingQP                   // RFC 2045 section 6.7
)

// entity is what the header of a message or a part says about its body.
type entity struct {
	ctype    string // lower case, "text/plain" where nothing is said
	typed    bool   // it is said
	boundary string
	charset  string
	filename string
	coding   coding
	isFile   bool // Content-Disposition: attachment
	lost     bool // a hole touches the header
}

func (e *entity) multipart() bool { return strings.HasPrefix(e.ctype, "multipart/") }

// message reports whether the body is a message whose parts can be read as they lie.
func (e *entity) message() bool {
	return (e.ctype == "message/rfc822" || e.ctype == "message/global") && e.coding == codingNone
}

// attached reports whether the body is an attachment rather than text to be read.
func (e *entity) attached() bool {
	return e.isFile || e.filename != "" || e.ctype != "text/plain" && e.ctype != "text/html"
}

// read sets the entity from its header.
func (e *entity) read(hdr []byte, digest bool) {
	*e = entity{ctype: "text/plain"}
	if digest {
		e.ctype = "message/rfc822"
	}
	var name string
	fields(hdr, func(field string, value []byte) {
		switch field {
		case "content-type":
			if e.typed {
				return
			}
			v := string(value)
			e.typed = true
			t, params := parameters(v)
			if strings.Contains(t, "/") {
				e.ctype = t
			} else if t == "text" {
				e.ctype = "text/plain" // RFC 1049, still sent
			} else if t != "" {
				e.ctype = "application/octet-stream"
			}
			e.boundary, e.charset, name = params.get("boundary"), params.get("charset"), decodeWords(params.get("name"))
		case "content-disposition":
			d, params := parameters(string(value))
			e.isFile = d == "attachment"
			if f := params.get("filename"); f != "" {
				e.filename = decodeWords(f)
			}
		case "content-transfer-encoding":
			v, _ := parameters(string(value))
			switch v {
			case "base64":
				e.coding = codingBase64
			case "quoted-printable":
				e.coding = codingQP
			default:
				e.coding = codingNone
			}
		}
	})
	if e.filename == "" {
		e.filename = name
	}
	if e.multipart() {
		e.coding = codingNone
	}
}

// read sets the message's fields from its header.
func (m *Message) read(hdr []byte) {
	fields(hdr, func(field string, value []byte) {
		var to *string
		many := false
		switch field {
		case "from":
			to = &m.From
		case "to":
			to, many = &m.To, true
		case "cc":
			to, many = &m.CC, true
		case "bcc":
			to, many = &m.BCC, true
		case "subject":
			to = &m.Subject
		case "date":
			to = &m.Date
		case "message-id":
			to = &m.MessageID
		default:
			return
		}
		v := decodeWords(string(value))
		switch {
		case *to == "":
			*to = v
		case many && v != "":
			*to += ", " + v
		}
	})
	m.MessageID = strings.TrimSuffix(strings.TrimPrefix(m.MessageID, "<"), ">")
}

// fields lists the known fields of a header, values unfolded (RFC 5322 section 2.2.3).
// The value is valid until the next one.
func fields(hdr []byte, f func(name string, value []byte)) {
	for len(hdr) > 0 {
		end := 0
		for {
			i := bytes.IndexByte(hdr[end:], '\n')
			if i < 0 {
				end = len(hdr)
				break
			}
			end += i + 1
			if end >= len(hdr) || hdr[end] != ' ' && hdr[end] != '\t' {
				break
			}
		}
		field := hdr[:end]
		hdr = hdr[end:]
		i := bytes.IndexByte(field, ':')
		if i <= 0 {
			continue
		}
		if name := fieldName(bytes.TrimRight(field[:i], " \t")); name != "" {
			f(name, unfold(field[i+1:]))
		}
	}
}

// unfold takes out line ends; the white space that begins the next line stays.
func unfold(b []byte) []byte {
	b = bytes.TrimSpace(b)
	if bytes.IndexByte(b, '\n') < 0 {
		return b
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(b, crlf, nil), crlf[1:], nil)
}

// fieldLine reports whether a line can belong to a header: a field name before a colon, or folded.
func fieldLine(b []byte) bool {
	if len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		return true
	}
	i := bytes.IndexByte(b, ':')
	if i <= 0 {
		return false
	}
	for i > 0 && (b[i-1] == ' ' || b[i-1] == '\t') {
		i--
	}
	for _, c := range b[:i] {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return i > 0
}

// fieldNames are the fields that are read here.
var fieldNames = [...]string{"content-type", "content-disposition", "content-transfer-encoding", "from", "to", "cc", "bcc",
	"subject", "date", "message-id"}

// fieldName is the known name that a name means, empty for an unknown one.
func fieldName(b []byte) string {
names:
	for _, n := range fieldNames {
		if len(n) != len(b) {
			continue
		}
		for i, c := range b {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c != n[i] {
				continue names
			}
		}
		return n
	}
	return ""
}

// knownField reports whether a line begins with a field that is read here.
func knownField(b []byte) bool {
	i := bytes.IndexByte(b, ':')
	return i > 0 && fieldName(b[:i]) != ""
}

// isContentType reports whether a line begins the field Content-Type.
func isContentType(b []byte) bool {
	const name = "content-type"
	return len(b) > len(name) && b[len(name)] == ':' && fieldName(b[:len(name)]) == name
}

// mboxFrom reports whether a line is what mbox files put before a header.
func mboxFrom(b []byte) bool {
	return bytes.HasPrefix(b, []byte("From ")) || bytes.HasPrefix(b, []byte(">From "))
}

// matchBoundary reports whether a line delimits the parts of a multipart, and whether it is the last
// delimiter (RFC 2046 section 5.1.1: white space may follow).
func matchBoundary(b []byte, boundary string) (is, last bool) {
	b = b[2:]
	if boundary == "" || len(b) < len(boundary) || string(b[:len(boundary)]) != boundary {
		return false, false
	}
	b = b[len(boundary):]
	if len(b) >= 2 && b[0] == '-' && b[1] == '-' {
		last, b = true, b[2:]
	}
	return len(bytes.TrimRight(b, " \t\r")) == 0, last
}

// plausibleBoundary reports whether a line that begins with two hyphens, taken off, may be a delimiter
// whose boundary is not known: long enough, of the permitted characters, without spaces.
func plausibleBoundary(b []byte) bool {
	b = bytes.TrimRight(b, " \t")
	if len(b) < 6 || len(b) > 70 || bytes.HasSuffix(b, []byte("--")) {
		return false
	}
	word := false
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
			word = true
		case strings.IndexByte("'()+_,-./:=?", c) < 0:
			return false
		}
	}
	return word
}
