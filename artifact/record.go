package artifact

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"ntpac"
)

// AppendConversation appends the conversation as the one JSON object that the contract names, without
// a line end. sources gives the names under which the captures were named on the command line; a
// source that it does not know is named by its id in hexadecimal.
func AppendConversation(dst []byte, c *ntpac.Conversation, sources map[ntpac.SourceID]string) []byte {
	up, down := c.In(ntpac.Up), c.In(ntpac.Down)
	w := object{append(dst, '{')}
	w.hex("id", c.ID[:])
	w.num("revision", int64(c.Revision))
	w.text("case", c.Case)
	w.captures(c.Sources, sources)
	w.text("proto", c.Key.Proto.String())
	w.end("src", c.ClientEnd())
	w.end("dst", c.ServerEnd())
	w.time("first", c.First)
	w.time("last", c.Last)
	w.pair("packets", int64(up.Packets), int64(down.Packets))
	w.pair("duplicates", int64(up.Duplicates), int64(down.Duplicates))
	w.pair("bytes", up.Bytes, down.Bytes)
	w.pair("missing", up.Missing, down.Missing)
	w.gaps("gaps_up", up.Gaps)
	w.gaps("gaps_down", down.Gaps)
	w.pair("overlap", up.Overlap, down.Overlap)
	w.sum("sha256_up", up)
	w.sum("sha256_down", down)
	w.text("app", c.App)
	w.text("app_by", c.AppBy.String())
	w.text("close", c.Close.String())
	w.text("client_by", c.ClientBy.String())
	w.text("split_by", c.SplitBy)
	w.flags("flags", c.Flags)
	w.num("vlan", int64(c.VLAN))
	w.text("tunnel", c.Key.Tunnel.String())
	if c.Key.Tunnel != ntpac.NoTunnel {
		w.num("tunnel_id", int64(c.Key.TunnelID))
	}
	return append(w.b, '}')
}

// AppendArtifact appends the artifact as one flat JSON object without a line end: the fields common to
// all types, then the members of its own fields.
func AppendArtifact(dst []byte, a *ntpac.Artifact) []byte {
	w := object{append(dst, '{')}
	w.hex("id", a.ID[:])
	w.text("type", a.Type)
	w.hex("conversation", a.Conversation[:])
	w.text("case", a.Case)
	w.time("time", a.Time)
	w.text("quality", a.Quality.String())
	w.spans("spans", a.Spans)
	w.text("snooper", a.Snooper)
	w.num("snooper_version", int64(a.Version))
	w.text("error", a.Error)
	if m := members(a); len(m) > 0 {
		w.b = append(append(w.b, ','), m...)
	}
	return append(w.b, '}')
}

// RawFields gives what the artifact's type adds, as a JSON object: as it was stored, or encoded now.
// Nil where there is nothing.
func RawFields(a *ntpac.Artifact) json.RawMessage {
	if len(a.JSON) > 0 || a.Fields == nil {
		return a.JSON
	}
	raw, err := json.Marshal(a.Fields)
	if err != nil {
		return nil
	}
	return raw
}

// members gives what stands between the braces of the artifact's own fields, on one line. Something
// that is no object has no members.
func members(a *ntpac.Artifact) []byte {
	raw := bytes.TrimSpace(RawFields(a))
	if len(raw) < 2 || raw[0] != '{' || raw[len(raw)-1] != '}' {
		return nil
	}
	if bytes.ContainsAny(raw, "\r\n") {
		var one bytes.Buffer
		if json.Compact(&one, raw) != nil {
			return nil
		}
		raw = one.Bytes()
	}
	return bytes.TrimSpace(raw[1 : len(raw)-1])
}

// object writes the members of a JSON object. Its buffer ends with the open brace or a whole member.
type object struct{ b []byte }

func (w *object) name(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
}

func (w *object) text(name, s string) {
	w.name(name)
	w.b = appendString(w.b, s)
}

func (w *object) num(name string, n int64) {
	w.name(name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *object) hex(name string, id []byte) {
	w.name(name)
	w.b = append(hex.AppendEncode(append(w.b, '"'), id), '"')
}

func (w *object) time(name string, t ntpac.Time) {
	w.name(name)
	w.b = append(AppendTime(append(w.b, '"'), t), '"')
}

// pair writes a count of both directions under the names that the contract gives them.
func (w *object) pair(name string, up, down int64) {
	w.name(name)
	w.b = append(w.b[:len(w.b)-2], `_up":`...)
	w.b = strconv.AppendInt(w.b, up, 10)
	w.name(name)
	w.b = append(w.b[:len(w.b)-2], `_down":`...)
	w.b = strconv.AppendInt(w.b, down, 10)
}

func (w *object) end(role string, e netip.AddrPort) {
	w.name(role)
	w.b = append(w.b[:len(w.b)-2], `_ip":"`...)
	if e.Addr().IsValid() {
		w.b = e.Addr().AppendTo(w.b)
	}
	w.b = append(w.b, '"')
	w.name(role)
	w.b = append(w.b[:len(w.b)-2], `_port":`...)
	w.b = strconv.AppendUint(w.b, uint64(e.Port()), 10)
}

func (w *object) sum(name string, h *ntpac.Half) {
	if h.Bytes == 0 {
		w.text(name, "")
		return
	}
	w.hex(name, h.SHA256[:])
}

func (w *object) gaps(name string, gaps []ntpac.Gap) {
	w.name(name)
	w.b = append(w.b, '[')
	for i, g := range gaps {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = strconv.AppendInt(append(w.b, '['), g.Off, 10)
		w.b = strconv.AppendInt(append(w.b, ','), g.Len, 10)
		w.b = append(append(append(w.b, `,"`...), g.Cause.String()...), `"]`...)
	}
	w.b = append(w.b, ']')
}

func (w *object) spans(name string, spans []ntpac.Span) {
	w.name(name)
	w.b = append(w.b, '[')
	for i, s := range spans {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(append(w.b, `{"dir":"`...), s.Dir.String()...)
		w.b = strconv.AppendInt(append(w.b, `","offset":`...), s.Off, 10)
		w.b = strconv.AppendInt(append(w.b, `,"length":`...), s.Len, 10)
		w.b = append(w.b, '}')
	}
	w.b = append(w.b, ']')
}

func (w *object) flags(name string, f ntpac.ConvFlags) {
	w.name(name)
	w.b = append(w.b, '[')
	if f != 0 {
		for i, n := range f.Names() {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.b = appendString(w.b, n)
		}
	}
	w.b = append(w.b, ']')
}

// captures writes the name of the only source, or the sorted list of several: their order in the
// history depends on which came first.
func (w *object) captures(ids []ntpac.SourceID, names map[ntpac.SourceID]string) {
	w.name("capture")
	switch len(ids) {
	case 0:
		w.b = append(w.b, `""`...)
	case 1:
		w.b = appendString(w.b, CaptureName(ids[0], names))
	default:
		w.b = append(w.b, '[')
		for i, n := range CaptureNames(ids, names) {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.b = appendString(w.b, n)
		}
		w.b = append(w.b, ']')
	}
}

// CaptureName is the name of a source, or its id where the name is not known.
func CaptureName(id ntpac.SourceID, names map[ntpac.SourceID]string) string {
	if n, ok := names[id]; ok {
		return n
	}
	return strconv.FormatUint(uint64(id), 16)
}

// CaptureNames lists the names of several sources, sorted.
func CaptureNames(ids []ntpac.SourceID, names map[ntpac.SourceID]string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = CaptureName(id, names)
	}
	slices.Sort(out)
	return out
}

// AppendTime appends a moment as RFC 3339 in UTC with nine digits of fraction.
func AppendTime(b []byte, t ntpac.Time) []byte {
	return time.Unix(0, int64(t)).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
}

const hexDigits = "0123456789abcdef"

// appendString appends a JSON string. What is not UTF-8 becomes the replacement character.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		n := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, n = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, s[from:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = append(b, "\uFFFD"...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i += n
		from = i
	}
	return append(append(b, s[from:]...), '"')
}
