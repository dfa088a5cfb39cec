package storetest

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"ntpac"
)

const caseName = "a case"

// base is when the sample conversations begin; one more each millisecond.
const base = ntpac.Time(1_700_000_000_000_000_000)

func at(n int) ntpac.Time { return base + ntpac.Time(n)*1e6 }

// idOf is the id of sample conversation n.
func idOf(n int) (id ntpac.ConversationID) {
	binary.BigEndian.PutUint64(id[:], uint64(at(n)))
	sum := sha256.Sum256(binary.AppendUvarint(nil, uint64(n)))
	copy(id[8:], sum[:])
	return id
}

var sampleAddrs = []netip.Addr{
	netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("192.168.7.9"),
	netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::17"), netip.MustParseAddr("::ffff:10.0.0.1"),
}

// sample makes conversation n; which addresses it has follows from n.
func sample(n int) *ntpac.Conversation {
	a, b := sampleAddrs[n%len(sampleAddrs)], sampleAddrs[(n/2+1)%len(sampleAddrs)]
	key := ntpac.FlowKey{Proto: ntpac.TCP, End: [2]netip.AddrPort{netip.AddrPortFrom(a, uint16(1000+n%7)), netip.AddrPortFrom(b, 80)}}
	if n%3 == 0 {
		key.Proto = ntpac.UDP
	}
	if key.End[1].Compare(key.End[0]) < 0 {
		key.End[0], key.End[1] = key.End[1], key.End[0]
	}
	return &ntpac.Conversation{ID: idOf(n), Case: caseName, Key: key, First: at(n), Last: at(n + 5), Close: ntpac.CloseFin}
}

// full makes a conversation in which every field is set.
func full(n int) *ntpac.Conversation {
	c := sample(n)
	c.Revision = 7
	c.Key.Tunnel, c.Key.TunnelID, c.Key.VLAN = ntpac.VXLAN, 0xffffff, 4094
	c.Client, c.ClientBy, c.App, c.AppBy = ntpac.B, ntpac.ByFirst, "http", ntpac.ByContent
	c.SplitBy, c.Flags, c.VLAN = "new isn", ntpac.Midstream|ntpac.SimOpen, 12
	c.Sources, c.HistLen = []ntpac.SourceID{1, 1<<64 - 1}, 1<<40
	for s := range c.Half {
		c.Half[s] = ntpac.Half{Packets: 1 << 63, Duplicates: 3, Bytes: 1 << 50, Missing: 30, End: 1<<50 + 30, Overlap: 4,
			Gaps:      []ntpac.Gap{{Off: 0, Len: 10, Cause: ntpac.GapCut}, {Off: 1 << 49, Len: 20, Cause: ntpac.GapWindow}},
			Conflicts: []ntpac.Conflict{{Off: 17, Alt: []byte("other"), TS: c.First + 3, Ord: 99, From: 1}, {Off: 20, TS: c.First - 1}},
			SHA256:    sha256.Sum256([]byte{byte(s)}), HeadKnown: s == 0}
	}
	return c
}

// found makes an artifact of a type; its id follows from text.
func found(kind, text string) *ntpac.Artifact {
	a := &ntpac.Artifact{Type: kind, Time: at(3), Quality: ntpac.Gapped, JSON: sprint(`{"text":%q}`, text),
		Spans: []ntpac.Span{{Dir: ntpac.Down, Off: 5, Len: 1 << 40}, {Dir: ntpac.Up, Off: 0, Len: 1}}}
	sum := sha256.Sum256([]byte(kind + text))
	copy(a.ID[:], sum[:])
	return a
}

// generation makes the only part of a generation of conversation n.
func generation(n int, snooper string, revision uint32, as ...*ntpac.Artifact) *ntpac.Generation {
	g := &ntpac.Generation{Conversation: idOf(n), Snooper: snooper, Version: 1, Revision: revision, Done: true, App: snooper, Artifacts: as}
	if snooper != "" {
		g.AppBy = ntpac.ByContent
	}
	return g
}

func body(s string) *ntpac.Blob {
	return &ntpac.Blob{SHA256: sha256.Sum256([]byte(s)), Size: int64(len(s)), Spans: []ntpac.Span{{Dir: ntpac.Up, Off: 1, Len: 2}},
		Codings: []string{"chunked", "gzip"}}
}
