package tlshello_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"ntpac"
	"ntpac/artifact"
	"ntpac/internal/tlshello"
	"ntpac/snoop/snooptest"
)

const talks = "../../snoop/tls/testdata"

// TestFingerprints checks the examples that the fingerprints' own descriptions give.
func TestFingerprints(t *testing.T) {
	h := tlshello.ClientHello{Version: 0x0301, Ciphers: []uint16{0x0a0a, 47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4},
		Extensions: []uint16{0, 10, 0xfafa, 11}, Groups: []uint16{23, 24, 25}, Points: []uint8{0}}
	if got := h.JA3(); got != "ada70206e40642a3e4461f35503241d5" {
		t.Errorf("JA3: %s", got)
	}
	h = tlshello.ClientHello{Version: 0x0303, Versions: []uint16{0x2a2a, 0x0304, 0x0303}, Ciphers: []uint16{0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
		Extensions: []uint16{0x8a8a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x3a3a},
		Signatures: []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601}}
	for _, k := range []struct {
		alpn, want string
	}{{"h2", "t13d1516h2"}, {"", "t13d151600"}, {"h", "t13d1516hh"}, {"\xabx\xcd", "t13d1516ad"}} {
		h.SetALPN(k.alpn)
		if got := h.JA4('t'); got != k.want+"_8daaf6152771_e5627efa2ab1" {
			t.Errorf("JA4: %s", got)
		}
	}
}

// TestBehindText reads handshakes that begin in the middle of a conversation, as after STARTTLS: they
// say the same as from the first byte on.
func TestBehindText(t *testing.T) {
	for _, sc := range snooptest.Load(t, talks) {
		want := tlshello.ReadConversation(sc.Dialog(nil), 0, 0)
		if sc.NoSyn {
			continue
		}
		sc.Turns = append([]snooptest.Turn{snooptest.Up("EHLO x\r\nSTARTTLS\r\n"), snooptest.Down("220 ready\r\n")}, sc.Turns...)
		got := tlshello.ReadConversation(sc.Dialog(nil), 18, 11)
		if len(got) != len(want) {
			t.Fatalf("%s: %d artifacts, not %d", sc.Name, len(got), len(want))
		}
		for i := range got {
			a, _ := json.Marshal(got[i].Fields)
			b, _ := json.Marshal(want[i].Fields)
			if !bytes.Equal(a, b) || got[i].Spans[0].Off != want[i].Spans[0].Off+18 || got[i].Quality != ntpac.Complete {
				t.Errorf("%s: %s %v\nnot %s %v", sc.Name, a, got[i].Spans, b, want[i].Spans)
			}
		}
	}
}

// TestFindHello finds the hellos of all talks behind other bytes, and none where a length is wrong.
func TestFindHello(t *testing.T) {
	for _, sc := range snooptest.Load(t, talks) {
		for _, turn := range sc.Turns {
			typ := tlshello.Hello(turn.Data)
			if typ == 0 {
				continue
			}
			b := append([]byte("\x05\x16\x03\x01\x16"), turn.Data...)
			if at, got := tlshello.FindHello(b); at != 5 || got != typ {
				t.Errorf("%s: hello %d at %d", sc.Name, got, at)
			}
			if at, _ := tlshello.FindHello(b[:60]); at != 5 {
				t.Errorf("%s: a hello cut short is not found", sc.Name)
			}
			b[5+5+4+34]++ // the length of the session id moves all that follows
			if at, _ := tlshello.FindHello(b); at >= 0 {
				t.Errorf("%s: a damaged hello was found at %d", sc.Name, at)
			}
			if n := testing.AllocsPerRun(10, func() { tlshello.FindHello(b) }); n > 0 {
				t.Errorf("%s: %v allocations", sc.Name, n)
			}
		}
	}
}

// TestServerOpens reads a handshake in which the connection's opener is TLS's server, as it is with
// FTP's active mode.
func TestServerOpens(t *testing.T) {
	for _, sc := range snooptest.Load(t, talks) {
		if sc.Alike {
			continue
		}
		for i := range sc.Turns {
			sc.Turns[i].Dir = sc.Turns[i].Dir.Other()
		}
		a := tlshello.ReadConversation(sc.Dialog(nil), 0, 0)
		if len(a) == 0 || a[0].Fields.(*artifact.TLS).ClientVersion == "" || a[0].Spans[0].Dir != ntpac.Down {
			t.Errorf("%s: %v", sc.Name, a)
		}
	}
}

// FuzzParse reads any bytes as each of the messages.
func FuzzParse(f *testing.F) {
	for _, sc := range snooptest.Load(f, talks) {
		for _, turn := range sc.Turns {
			if len(turn.Data) > 9 {
				f.Add(turn.Data[9:])
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, _ := tlshello.FindHello(b); at >= len(b) {
			t.Fatal(at)
		}
		var a artifact.TLS
		c, err := tlshello.ParseClientHello(b)
		c.Fill(&a, 'q', err == nil)
		s, err := tlshello.ParseServerHello(b)
		s.Fill(&a, err == nil)
		tlshello.FillHidden(&a, s)
		certs, _ := tlshello.ParseCertificates(b)
		a.Certificates = certs
		if _, err := json.Marshal(a); err != nil {
			t.Fatal(err)
		}
	})
}
