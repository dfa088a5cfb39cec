package artifact

import (
	"encoding/base64"
	"iter"
	"strconv"

	"ntpac"
)

// Version is a range of a stream of which another packet brought other bytes than those that the stream
// has, or bytes that came when the range had been given up as missing.
type Version struct {
	Dir    ntpac.Dir
	Off    int64
	Kept   []byte // what the stream has, the version captured first; nil where that is missing
	Other  []byte
	Time   ntpac.Time // of the packet that brought the other version
	Source ntpac.SourceID
	Packet uint64 // its place in its source, from 0
}

// AppendJSON appends the version as a JSON object; sources gives the names of captures.
func (v *Version) AppendJSON(b []byte, sources map[ntpac.SourceID]string) []byte {
	b = append(append(b, `{"dir":"`...), v.Dir.String()...)
	b = strconv.AppendInt(append(b, `","offset":`...), v.Off, 10)
	b = strconv.AppendInt(append(b, `,"length":`...), int64(len(v.Other)), 10)
	b = base64.StdEncoding.AppendEncode(append(b, `,"kept":"`...), v.Kept)
	b = base64.StdEncoding.AppendEncode(append(b, `","other":"`...), v.Other)
	b = AppendTime(append(b, `","time":"`...), v.Time)
	b = appendString(append(b, `","capture":`...), CaptureName(v.Source, sources))
	b = strconv.AppendUint(append(b, `,"packet":`...), v.Packet, 10)
	return append(b, '}')
}

// Conflicts lists what was captured of a conversation in more than one version, each direction's in
// the order of capture. An error is that of reading the payload.
func Conflicts(c *ntpac.Conversation, payload ntpac.Payload) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		d := ntpac.NewDialog(c, payload)
		for dir := range ntpac.Dir(2) {
			s := d.In(dir)
			conflicts := c.In(dir).Conflicts
			for i := range conflicts {
				k := &conflicts[i]
				v := Version{Dir: dir, Off: k.Off, Other: k.Alt, Time: k.TS, Packet: k.Ord}
				if int(k.From) < len(c.Sources) {
					v.Source = c.Sources[k.From]
				}
				s.MoveTo(k.Off)
				kept := make([]byte, 0, len(k.Alt))
				if s.Each(int64(len(k.Alt)), func(_ int64, b []byte) { kept = append(kept, b...) }) == 0 {
					v.Kept = kept
				}
				if !yield(v, d.Err()) {
					return
				}
			}
		}
	}
}
