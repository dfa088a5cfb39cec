package selection_test

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ntpac"
	"ntpac/selection"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, d)
	}
}

const start = ntpac.Time(1_700_000_000_000_000_000) // 2023-11-14T22:13:20Z

func idOf(n byte) ntpac.ConversationID {
	id := ntpac.ConversationID{15: n}
	for i, t := 7, uint64(start); i >= 0; i, t = i-1, t>>8 {
		id[i] = byte(t)
	}
	return id
}

func ends(a, b string) [2]netip.AddrPort {
	return [2]netip.AddrPort{netip.MustParseAddrPort(a), netip.MustParseAddrPort(b)}
}

// conversations are the samples that every rule is asked about.
func conversations() []*ntpac.Conversation {
	return []*ntpac.Conversation{
		{ID: idOf(1), Case: "drill", Key: ntpac.FlowKey{Proto: ntpac.TCP, End: ends("10.0.0.1:50000", "10.0.0.2:80")},
			First: start, Last: start + 10*60*ntpac.Second, App: "http", AppBy: ntpac.ByContent, Close: ntpac.CloseFin, Sources: []ntpac.SourceID{1},
			Half: [2]ntpac.Half{{Packets: 5, Bytes: 1024, End: 1024, SHA256: ntpac.Hash{10}}, {Packets: 6, Bytes: 1500, Missing: 7, End: 1507,
				Gaps: []ntpac.Gap{{Off: 3, Len: 7}}, SHA256: ntpac.Hash{11}}}},
		{ID: idOf(2), Case: "drill", Key: ntpac.FlowKey{Proto: ntpac.UDP, End: ends("10.0.0.1:40000", "10.0.0.53:53")},
			First: start + ntpac.Second, Last: start + ntpac.Second, App: "dns", AppBy: ntpac.ByContent, Close: ntpac.CloseIdle, ClientBy: ntpac.ByPort,
			Sources: []ntpac.SourceID{1, 2}, Half: [2]ntpac.Half{{Packets: 1, Bytes: 40, End: 40, SHA256: hashOf(9)}, {Packets: 1, Bytes: 90, End: 90}}},
		{ID: idOf(3), Case: "default", Key: ntpac.FlowKey{Proto: ntpac.TCP, Tunnel: ntpac.VXLAN, TunnelID: 5, End: ends("192.168.0.7:8080", "[2001:db8::1]:6000")},
			First: start + 3*24*3600*ntpac.Second, Last: start + 6*24*3600*ntpac.Second, Client: ntpac.B, Close: ntpac.CloseRst, ClientBy: ntpac.ByFirst,
			Flags: ntpac.Midstream | ntpac.OneSided, SplitBy: "syn after data", VLAN: 12, Revision: 3, Sources: []ntpac.SourceID{2},
			Half: [2]ntpac.Half{{}, {Packets: 1, Duplicates: 1, Bytes: 10, End: 10, Overlap: 2}}},
	}
}

func hashOf(b byte) (h ntpac.Hash) {
	for i := range h {
		h[i] = b
	}
	return h
}

var captures = map[ntpac.SourceID]string{1: "dir/a.pcap", 2: "b.pcapng"}

// records are the sample artifacts, each with one of the sample conversations.
func records() []*ntpac.Record {
	c := conversations()
	make := func(c *ntpac.Conversation, typ string, fields any) *ntpac.Record {
		raw, err := json.Marshal(fields)
		if err != nil {
			panic(err)
		}
		return &ntpac.Record{Conversation: c, Artifact: &ntpac.Artifact{ID: ntpac.ArtifactID{1}, Type: typ, Conversation: c.ID, Case: c.Case,
			Time: c.First + ntpac.Second, Snooper: c.App, Version: 2, JSON: raw}}
	}
	type m = map[string]any
	http := make(c[0], "http", m{"method": "GET", "host": "www.Bank.example", "uri": "/setup.exe", "status": 404})
	http.Artifact.ID = ntpac.ArtifactID{0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0}
	plain := make(c[0], "http", m{"host": "www.bank.example", "uri": "/", "status": 200})
	file := make(c[0], "file", m{"filename": "a.exe", "size": 2_000_000, "sha256": hashOf(0xab), "exif": m{"lat": -33.9}})
	file.Artifact.Quality = ntpac.Gapped
	file.Artifact.Error = "cut short"
	dns := make(c[1], "dns", m{"query": "x.example", "response": true, "flags": []string{"rd", "ra"},
		"answers": []m{{"name": "x.EXAMPLE", "ttl": 60, "data": "10.1.2.3"}, {"name": "y", "ttl": 300, "data": "text"}}})
	tls := make(c[2], "tls", m{"certificates": []m{{"subject": "CN=Bank", "not_after": "2023-12-31T10:00:00Z"}}})
	dhcp := make(c[2], "dhcp", m{"ip": "192.168.7.7", "status": nil, "answers": []m{}})
	return []*ntpac.Record{http, plain, file, dns, tls, dhcp}
}

var artifactFields = map[string][]string{
	"method": {"http"}, "host": {"http", "socks"}, "uri": {"http"}, "status": {"http", "smb"}, "filename": {"file"}, "size": {"file"},
	"sha256": {"file"}, "exif": {"file"}, "query": {"dns"}, "response": {"dns"}, "flags": {"dns"}, "answers": {"dns"}, "answers.name": {"dns"},
	"answers.ttl": {"dns"}, "answers.data": {"dns"}, "certificates": {"tls"}, "certificates.subject": {"tls"},
	"certificates.not_after": {"tls"}, "ip": {"dhcp"},
}

func options(of selection.Target) selection.Options {
	return selection.Options{Of: of, ArtifactFields: artifactFields, CaptureName: func(id ntpac.SourceID) string { return captures[id] }}
}
