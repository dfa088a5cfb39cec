package dns_test

import (
	"context"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"ntpac"
	"ntpac/artifact"
	"ntpac/snoop/dns"
	"ntpac/snoop/snooptest"
)

// read gives what the snooper makes of one datagram.
func read(t *testing.T, msg []byte) (*artifact.DNS, string) {
	talk := snooptest.Talk{Proto: ntpac.UDP, Server: netip.MustParseAddrPort("10.0.0.2:53"), Turns: []snooptest.Turn{{Dir: ntpac.Up, Data: msg}}}
	var c snooptest.Collector
	if err := dns.New().Snoop(context.Background(), talk.Dialog(nil), &c); err != nil || len(c.Artifacts) > 1 {
		t.Fatal(err, c.Artifacts)
	}
	if len(c.Artifacts) == 0 {
		return nil, "empty"
	}
	return c.Artifacts[0].Fields.(*artifact.DNS), c.Artifacts[0].Error
}

// FuzzOracle reads messages with another parser too: where both get through, they see the same names,
// types, times to live and addresses.
func FuzzOracle(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.talk")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		s, err := snooptest.Parse(string(b))
		if err != nil {
			f.Fatal(err)
		}
		for _, turn := range s.Turns {
			f.Add(turn.Data)
		}
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		got, problem := read(t, msg)
		var want dnsmessage.Message
		if want.Unpack(msg) != nil || problem != "" {
			return
		}
		if got.TxID != want.ID || got.Response != want.Response {
			t.Fatalf("head: %+v, not %+v", got, want.Header)
		}
		if len(want.Questions) > 0 && (got.Query != form(want.Questions[0].Name) || got.QType != typ(want.Questions[0].Type)) {
			t.Fatalf("question: %q %s, not %v", got.Query, got.QType, want.Questions[0])
		}
		same(t, got.Answers, want.Answers)
		same(t, got.Authority, want.Authorities)
		same(t, got.Additional, want.Additionals)
	})
}

func same(t *testing.T, got []artifact.DNSRecord, want []dnsmessage.Resource) {
	if len(got) != len(want) {
		t.Fatalf("%d records, not %d", len(got), len(want))
	}
	for i, g := range got {
		h := want[i].Header
		if g.Name != form(h.Name) || g.Type != "OPT" && (g.Type != typ(h.Type) || g.TTL != h.TTL) {
			t.Errorf("record %d: %+v, not %v", i, g, h)
		}
		if g.Data == "" || strings.HasPrefix(g.Data, `\# `) { // that parser reads on behind the data
			continue
		}
		data, ok := "", true
		switch b := want[i].Body.(type) {
		case *dnsmessage.AResource:
			data = netip.AddrFrom4(b.A).String()
		case *dnsmessage.AAAAResource:
			data = netip.AddrFrom16(b.AAAA).String()
		case *dnsmessage.CNAMEResource:
			data = form(b.CNAME)
		case *dnsmessage.NSResource:
			data = form(b.NS)
		case *dnsmessage.PTRResource:
			data = form(b.PTR)
		default:
			ok = false
		}
		if ok && g.Data != data {
			t.Errorf("record %d: %q, not %q", i, g.Data, data)
		}
	}
}

func typ(t dnsmessage.Type) string {
	s := strings.TrimPrefix(t.String(), "Type")
	switch {
	case s == "ALL":
		return "ANY"
	case s[0] >= '0' && s[0] <= '9':
		return dns.TypeName(uint16(t))
	}
	return s
}

// form writes a name as the snooper does. The other parser keeps labels' bytes as they are and refuses
// dots in them.
func form(n dnsmessage.Name) string {
	b := n.Data[:n.Length]
	if string(b) == "." {
		return "."
	}
	var parts []string
	for _, l := range strings.Split(strings.TrimSuffix(string(b), "."), ".") {
		parts = append(parts, dns.Text([]byte(l)))
	}
	return strings.Join(parts, ".")
}

// TestOwnTypes makes sure that the talk with every type leaves few of them in the unknown form.
func TestOwnTypes(t *testing.T) {
	b, err := os.ReadFile("testdata/types.golden")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), `\\# `); n != 3 {
		t.Errorf("%d records in the unknown form: want the private type, NULL and the A record of three bytes", n)
	}
}

// TestBomb gives a message whose pointers unfold into very long names.
func TestBomb(t *testing.T) {
	msg, _ := hex.DecodeString("000181800001200000000000")
	for range 3 {
		msg = append(append(msg, 63), strings.Repeat("x", 63)...)
	}
	msg = append(msg, 0, 0, 1, 0, 1)
	for range 0x2000 {
		msg = append(msg, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0)[:len(msg)+12]
	}
	m, problem := read(t, msg[:min(len(msg), 65000)])
	if !strings.Contains(problem, "unfold") && len(m.Answers)*200 > 20*len(msg) {
		t.Errorf("%d answers from %d bytes (%s)", len(m.Answers), len(msg), problem)
	}
}
