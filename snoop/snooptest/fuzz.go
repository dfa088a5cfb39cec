package snooptest

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"testing"

	"ntpac"
	"ntpac/snoop"
)

// Fuzz feeds a snooper with talks that a fuzzer makes up: bytes in turns, some of them lost. It must
// not fail, must stay inside of the streams, and must not call complete what rests on a hole. The
// seeds are the talks of testdata.
func Fuzz(f *testing.F, s ntpac.Snooper, opts ...Option) {
	o := options{dir: "testdata"}
	for _, set := range opts {
		set(&o)
	}
	info := s.Info()
	for _, sc := range Load(f, o.dir) {
		if b := Pack(info, &sc.Talk); len(b) < 1<<16 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		talk, segs := unpack(info, b)
		d := talk.play(segs, ntpac.CloseEnd, [2]int64{})
		var h ntpac.Head
		snoop.HeadOf(d, &h)
		if v := s.Probe(&h); v.Swapped {
			d.Swap()
		}
		read(t, s, d, nil)
		if x, ok := s.(ntpac.ExpectedSnooper); ok {
			read(t, x, d.Fresh(), json.RawMessage("{}"))
		}
	})
}

// The form of a made-up talk: a byte of facts on the conversation, then of each segment a byte of
// facts, a length of two bytes, and the bytes.
const (
	packNoSyn = 1 << iota
	packOther // the second of the snooper's transports; port unknown
	packPort  // the server has the snooper's first port

	packDown = 1 << 0
	packLost = 1 << 1
	packCut  = 1 << 2 // the last byte was not captured
)

// Pack gives the input of Fuzz that makes a talk of a snooper.
func Pack(info ntpac.SnooperInfo, t *Talk) []byte {
	b := []byte{0}
	if t.NoSyn {
		b[0] |= packNoSyn
	}
	if t.proto() != info.Protos[0] {
		b[0] |= packOther
	}
	if len(info.Ports) > 0 && t.Server.Port() == info.Ports[0] {
		b[0] |= packPort
	}
	for _, s := range t.segments() {
		b = append(b, byte(s.dir))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s.data)))
		b = append(b, s.data...)
	}
	return b
}

func unpack(info ntpac.SnooperInfo, b []byte) (t *Talk, segs []segment) {
	t = &Talk{Proto: info.Protos[0]}
	if len(b) == 0 {
		return t, nil
	}
	facts := b[0]
	t.NoSyn = facts&packNoSyn != 0
	if facts&packOther != 0 {
		t.Proto = info.Protos[len(info.Protos)-1]
	}
	if facts&packPort != 0 && len(info.Ports) > 0 {
		t.Server = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), info.Ports[0])
	}
	var off [2]int64
	for b = b[1:]; len(b) >= 3; {
		facts, n := b[0], int(binary.LittleEndian.Uint16(b[1:]))
		b = b[3:]
		n = min(n, len(b))
		s := segment{dir: ntpac.Dir(facts & packDown), data: b[:n:n], push: true, lost: facts&packLost != 0}
		if facts&packCut != 0 && n > 0 {
			s.cut = 1
		}
		s.off = off[s.dir]
		off[s.dir] += int64(n)
		segs, b = append(segs, s), b[n:]
	}
	return t, segs
}
