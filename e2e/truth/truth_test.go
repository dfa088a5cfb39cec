package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ntpac"
	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
	"ntpac/internal/pcaptest"
)

// The test binary plays the generator and ntpac when fakeEnv names a folder.
const fakeEnv = "TRUTH_TEST_FAKE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(fakeEnv); dir != "" {
		os.Exit(fake(dir, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func fake(dir string, args []string) int {
	switch args[0] {
	case "-size":
		out := args[len(args)-1]
		if os.WriteFile(out, capture(), 0o644) != nil || os.WriteFile(out+".jsonl", []byte(sample), 0o644) != nil {
			return 1
		}
	case "run":
	default:
		b, err := os.ReadFile(filepath.Join(dir, args[0]+".jsonl"))
		if err != nil {
			return 1
		}
		os.Stdout.Write(b)
	}
	return 0
}

// capture has the packets that the sample speaks of.
func capture() []byte {
	c := pcaptest.New()
	end := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	k := c.TCP(end("10.0.0.9:5000"), end("10.0.0.2:80"))
	k.Open()
	k.Packet(ntpac.Up, pcaptest.ACK, []byte("query"))
	k.Packet(ntpac.Down, pcaptest.ACK, make([]byte, 50))
	k.Skip(ntpac.Down, 10)
	k.Packet(ntpac.Down, pcaptest.ACK, make([]byte, 40))
	k.Packet(ntpac.Up, pcaptest.ACK, nil)
	c.UDP(end("10.0.0.9:5001"), end("10.0.0.2:53"), []byte("query"))
	c.UDP(end("10.0.0.2:53"), end("10.0.0.9:5001"), []byte("an answer"))
	k = c.TCP(end("10.0.0.9:5003"), end("10.0.0.2:25"))
	k.Packet(ntpac.Up, pcaptest.ACK, []byte("abcde"))
	k.Packet(ntpac.Down, pcaptest.ACK, []byte("abcde"))
	var b bytes.Buffer
	if c.WritePcap(&b) != nil {
		return nil
	}
	return b.Bytes()
}

const sample = `{"type":"conv","id":1,"app":"http","l4":"tcp","client":"10.0.0.9","cport":5000,"server":"10.0.0.2","sport":80,"packets":[4,3],"close":"none","start_ns":1700000000000000000,"end_ns":1700000000006000000,"c2s":{"bytes":5,"sha256":"u1"},"s2c":{"bytes":100,"sha256":"d1","missing":10,"gaps":[[50,10]],"captured_sha256":"h1","conflicts":[[0,3],[2,1]]}}
{"type":"artifact","kind":"http","conv":1,"complete":true,"method":"GET","host":"h","uri":"/","status":200,"body_len":3,"body_sha256":"b1","decoded_sha256":"e1"}
{"type":"artifact","kind":"http","conv":1,"complete":false,"method":"GET","host":"h","uri":"/2","status":304,"body_len":0,"body_sha256":"x","decoded_sha256":"x"}
{"type":"conv","id":2,"app":"dns","l4":"udp","client":"10.0.0.9","cport":5001,"server":"10.0.0.2","sport":53,"packets":[1,1],"start_ns":1700000000007000000,"end_ns":1700000000008000000,"c2s":{"bytes":5,"sha256":"u2"},"s2c":{"bytes":9,"sha256":"d2"}}
{"type":"artifact","kind":"dns","conv":2,"complete":true,"id":255,"name":"a.example","qtype":"MX","rcode":0,"answers":["mx.a.example"]}
{"type":"conv","id":3,"app":"rtp","l4":"udp","client":"10.0.0.9","cport":5002,"server":"10.0.0.2","sport":54,"packets":[0,0],"start_ns":-1,"end_ns":-1,"c2s":{"bytes":5,"sha256":"u2","missing":5,"gaps":[[0,5]]},"s2c":{"bytes":0,"sha256":"x"}}
{"type":"artifact","kind":"rtp","conv":3,"complete":false,"ssrc":[1,2],"payload_sha256":["a","b"]}
{"type":"conv","id":4,"app":"smtp","l4":"tcp","client":"10.0.0.9","cport":5003,"server":"10.0.0.2","sport":25,"packets":[1,1],"start_ns":1700000000009000000,"end_ns":1700000000010000000,"c2s":{"bytes":5,"sha256":"u4"},"s2c":{"bytes":5,"sha256":"d4"}}
{"type":"artifact","kind":"mail","protocol":"smtp","conv":4,"complete":true,"from":"a@x","subject":"s","message_id":"i@x","message_sha256":"m1","attachments":[{"sha256":"a1"},{"sha256":"a0"}]}
{"type":"artifact","kind":"credential","protocol":"smtp","conv":4,"complete":true,"user":"u","password":"p"}
{"type":"artifact","kind":"tls","conv":4,"complete":true,"sni":"s.example","version":"TLS 1.2","cipher":"0xc02f","cert_sha256":"c1"}
{"type":"artifact","kind":"ftp_file","conv":4,"complete":true,"filename":"f.zip","sha256":"f1"}
{"type":"summary","artifacts":{"http":2}}
`

const conversations = `{"id":"1","proto":"tcp","src_ip":"10.0.0.9","src_port":5000,"dst_ip":"10.0.0.2","dst_port":80,"first":"2023-11-14T22:13:20.000000000Z","last":"2023-11-14T22:13:20.006000000Z","packets_up":4,"packets_down":2,"duplicates_down":1,"bytes_up":5,"bytes_down":90,"sha256_up":"u1","sha256_down":"h1","gaps_down":[[50,4,"acked"],[54,6,"close"]],"overlap_down":3,"conflicts":[{"dir":"down","offset":0,"kept":"AAAA","other":"AQEB"}]}
{"id":"2","proto":"udp","src_ip":"10.0.0.9","src_port":5001,"dst_ip":"10.0.0.2","dst_port":53,"first":"2023-11-14T22:13:20.007000000Z","last":"2023-11-14T22:13:20.008000000Z","packets_up":1,"packets_down":1,"bytes_up":5,"bytes_down":9,"sha256_up":"u2","sha256_down":"wrong"}
{"id":"4","proto":"tcp","src_ip":"10.0.0.2","src_port":25,"dst_ip":"10.0.0.9","dst_port":5003,"first":"2023-11-14T22:13:20.009000000Z","last":"2023-11-14T22:13:20.010000000Z","packets_up":1,"packets_down":2,"bytes_up":5,"bytes_down":5,"sha256_up":"d4","sha256_down":"u4"}
`

const artifacts = `{"type":"http","conversation":"1","quality":"complete","method":"GET","host":"h","uri":"/","status":200,"response_body":{"size":3,"sha256":"b1","decoded_sha256":"e1","decoded_size":9}}
{"type":"http","conversation":"1","quality":"complete","method":"GET","host":"h","uri":"/2","status":0}
{"type":"http","conversation":"1","quality":"complete","method":"GET","host":"h","uri":"/invented","status":200}
{"type":"http","conversation":"1","quality":"gapped","method":"GET","host":"h","uri":"/guess","status":200}
{"type":"dns","conversation":"2","quality":"complete","txid":255,"query":"a.example","qtype":"MX","response":false}
{"type":"dns","conversation":"2","quality":"complete","txid":255,"query":"a.example","qtype":"MX","response":true,"rcode":"NOERROR","answers":[{"type":"MX","data":"10 mx.a.example"}]}
{"type":"mail","conversation":"4","quality":"complete","protocol":"smtp","from":"A <a@x>","subject":"s","message_id":"<i@x>","sha256":"m1","attachments":[{"sha256":"a0"},{"sha256":"a1"}]}
{"type":"credential","conversation":"4","quality":"complete","protocol":"smtp","user":"u","password":"p"}
{"type":"tls","conversation":"4","quality":"complete","sni":"s.example","version":"TLS 1.2","cipher":"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256","certificates":[{"sha256":"c1"}]}
{"type":"file","conversation":"4","quality":"complete","protocol":"ftp","filename":"/dir/f.zip","sha256":"f1"}
{"type":"file","conversation":"1","quality":"complete","protocol":"http","sha256":"e1"}
`

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	for n, s := range map[string]string{"conversations": conversations, "artifacts": artifacts} {
		if err := os.WriteFile(filepath.Join(dir, n+".jsonl"), []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(fakeEnv, dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each call of the fake waits a second at its end
	o := &options{ntpac: os.Args[0], genbench: os.Args[0], size: "1M", seeds: "1", timeout: time.Minute, dir: t.TempDir(),
		diff: filepath.Join(dir, "diff"), min: compare.Minimum{"http called complete": 100, "tcp stream": 100}}
	var out bytes.Buffer
	err := run(context.Background(), o, &out)
	if want := "below the threshold:\n  http called complete: 66.667 % is below 100 %"; err == nil || err.Error() != want {
		t.Errorf("thresholds: %v, want %s", err, want)
	}
	for kind, want := range map[string][2]int{"tcp conversation": {2, 1}, "udp conversation": {1, 1}, "client and server by SYN": {1, 1},
		"client and server without SYN": {1, 0}, "tcp stream": {3, 3}, "tcp stream with holes": {1, 1}, "udp stream": {2, 1},
		"no gap": {3, 3}, "gap map": {1, 1}, "no conflict": {3, 3}, "conflict in both versions": {1, 1}, "http": {1, 1}, "dns query": {1, 1}, "dns response": {1, 1}, "dns called complete": {2, 2},
		"tls": {1, 1}, "smtp mail": {1, 1}, "smtp credential": {1, 1}, "credential called complete": {1, 1}, "ftp file": {1, 1}, "ftp file, named": {1, 1}, "http called complete": {3, 2}} {
		if row := fmt.Sprintf("| %s | %d | %d |", kind, want[0], want[1]); !strings.Contains(out.String(), row) {
			t.Errorf("no row %s in\n%s", row, out.String())
		}
	}
}

func TestExpectedGaps(t *testing.T) {
	inner := stream{Bytes: 100, Missing: 10, Gaps: [][2]int64{{50, 10}}}
	head := stream{Bytes: 100, Missing: 20, Gaps: [][2]int64{{0, 10}, {50, 10}}, HeadGap: 10}
	tail := stream{Bytes: 100, Missing: 15, Gaps: [][2]int64{{50, 10}, {95, 5}}, TailGap: 5}
	all := stream{Bytes: 100, Missing: 100, Gaps: [][2]int64{{0, 100}}, HeadGap: 100}
	type facts struct {
		start, end, acked int64 // -1: not known
		fin, closed       bool
	}
	for _, c := range []struct {
		name string
		s    stream
		d    facts
		want [][2]int64
		more bool // one byte more is right too
	}{
		{"inner", inner, facts{start: 0, end: 100, acked: 100}, [][2]int64{{50, 10}}, false},
		{"unknown head", head, facts{start: -1, end: 100, acked: 100}, [][2]int64{{40, 10}}, false},
		{"known head", head, facts{start: 0, end: 100, acked: 100}, [][2]int64{{0, 10}, {50, 10}}, false},
		{"unproven tail", tail, facts{start: 0, end: 95, acked: 95}, [][2]int64{{50, 10}}, false},
		{"tail not acknowledged", tail, facts{start: 0, end: 95, acked: -1}, [][2]int64{{50, 10}}, false},
		{"a byte that is a FIN", tail, facts{start: 0, end: 95, acked: 96}, [][2]int64{{50, 10}}, false},
		{"half acknowledged tail", tail, facts{start: 0, end: 95, acked: 98}, [][2]int64{{50, 10}, {95, 3}}, false},
		{"acknowledged tail", tail, facts{start: 0, end: 95, acked: 100, closed: true}, [][2]int64{{50, 10}, {95, 5}}, false},
		{"acknowledged tail and FIN", tail, facts{start: 0, end: 95, acked: 101, closed: true}, [][2]int64{{50, 10}, {95, 5}}, true},
		{"acknowledged tail without FIN", tail, facts{start: 0, end: 95, acked: 101}, [][2]int64{{50, 10}, {95, 5}}, false},
		{"tail by FIN", tail, facts{start: 0, end: 95, acked: 95, fin: true}, [][2]int64{{50, 10}, {95, 5}}, false},
		{"all, nothing known", all, facts{start: -1, end: -1, acked: 100}, nil, false},
		{"all, acknowledged", all, facts{start: 0, end: -1, acked: 60}, [][2]int64{{0, 60}}, false},
		{"all, by FIN", all, facts{start: 0, end: -1, acked: -1, fin: true}, [][2]int64{{0, 100}}, false},
	} {
		d := &sight{frames: 1, fin: c.d.fin}
		for i, at := range []int64{c.d.start, c.d.end, c.d.acked} {
			d.seqs[i].known, d.seqs[i].at = at >= 0, max(at, 0)
		}
		got, _, more := expectedGaps(&c.s, d, c.d.closed)
		if !slices.Equal(got, c.want) || more != c.more {
			t.Errorf("%s: %v, %t, want %v, %t", c.name, got, more, c.want, c.more)
		}
	}
	if !gapsAgree([][2]int64{{95, 5}}, [][2]int64{{95, 6}}, true) || gapsAgree([][2]int64{{95, 5}}, [][2]int64{{95, 6}}, false) {
		t.Error("one byte more")
	}
	if got, _, _ := expectedGaps(&all, &sight{}, true); got != nil {
		t.Errorf("a direction that was not captured: %v", got)
	}
}

func TestConflictsAgree(t *testing.T) {
	want := [][2]int64{{10, 2}, {11, 2}}
	v := func(off int64, kept, other string) cli.Version {
		return cli.Version{Offset: off, Kept: []byte(kept), Other: []byte(other)}
	}
	for _, c := range []struct {
		name    string
		got     []cli.Version
		overlap int64
		agree   bool
	}{
		{"both", []cli.Version{v(6, "aaa", "```")}, 3, true},
		{"in two", []cli.Version{v(8, "a", "`"), v(6, "aa", "``")}, 3, true},
		{"counted twice", []cli.Version{v(6, "aaa", "```")}, 6, false},
		{"kept twice", []cli.Version{v(6, "aaa", "```"), v(6, "a", "`")}, 3, false},
		{"other bytes", []cli.Version{v(6, "aaa", "b``")}, 3, false},
		{"elsewhere", []cli.Version{v(5, "aaa", "```")}, 3, false},
		{"too few", []cli.Version{v(6, "aa", "``")}, 2, false},
		{"too many", []cli.Version{v(6, "aaaa", "````")}, 4, false},
		{"one version", []cli.Version{v(6, "", "```")}, 3, false},
	} {
		if got := conflictsAgree(want, 4, c.got, c.overlap); got != c.agree {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// A datagram that was captured twice, in fragments out of IPv4 and IPv6, and what proves it.
func TestSights(t *testing.T) {
	c := pcaptest.New()
	a, b := netip.MustParseAddrPort("10.0.0.9:5001"), netip.MustParseAddrPort("10.0.0.2:53")
	c.UDP(a, b, []byte("query"))
	c.Raw(c.Frames[0].Data) // the same identification
	c.UDP(a, b, []byte("query"))
	payload := append([]byte{0x13, 0x89, 0, 53, 8, 8, 0, 0}, make([]byte, 2048)...)
	c.Fragments(a.Addr(), b.Addr(), ntpac.UDP, payload, 576)
	file := filepath.Join(t.TempDir(), "x.pcap")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.WritePcap(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	conv := &talk{L4: "udp", Client: "10.0.0.9", CPort: 5001, Server: "10.0.0.2", SPort: 53, StartNS: 17e17, EndNS: 17e17 + 1e9}
	tr := &truth{convs: []*talk{conv}}
	if err := tr.sights(file); err != nil {
		t.Fatal(err)
	}
	sum := func(parts ...[]byte) string {
		h := sha256.Sum256(bytes.Join(parts, nil))
		return hex.EncodeToString(h[:])
	}
	s := conv.sight[0]
	once, every := s.sums()
	q := []byte("query")
	if once != sum(q, payload[8:]) || every != sum(q, q, payload[8:]) || s.frames != int64(len(c.Frames)) {
		t.Errorf("%s %s, %d frames of %d", once, every, s.frames, len(c.Frames))
	}
	if s.final != int64(c.Frames[len(c.Frames)-1].TS) || s.first != int64(c.Frames[0].TS) {
		t.Errorf("%d to %d", s.first, s.final)
	}
	tr.convs[0].SPort = 54
	if tr.sights(file) == nil {
		t.Error("frames of no conversation were passed over")
	}
}

func TestMerged(t *testing.T) {
	got := merged([]cli.Gap{{Off: 20, Len: 1, Cause: "close"}, {Off: 5, Len: 5, Cause: "acked"}, {Off: 10, Len: 2, Cause: "window"}})
	if len(got) != 2 || got[0] != [2]int64{5, 7} || got[1] != [2]int64{20, 1} {
		t.Errorf("%v", got)
	}
}
