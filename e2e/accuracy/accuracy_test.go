package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ntpac/e2e/compare"
)

// The test binary plays ntpac when fakeEnv names a folder: it lists what lies there.
const fakeEnv = "ACCURACY_TEST_FAKE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(fakeEnv); dir != "" {
		os.Exit(fake(dir, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func fake(dir string, args []string) int {
	switch args[0] {
	case "run":
		if strings.HasSuffix(args[len(args)-1], "crash.pcap") {
			fmt.Fprintln(os.Stderr, "panic: boom\n\ngoroutine 1 [running]:")
			return 2
		}
		return 3
	default:
		b, err := os.ReadFile(filepath.Join(dir, args[0]+".jsonl"))
		if err != nil {
			return 1
		}
		os.Stdout.Write(b)
		return 0
	}
}

const truth = `{"fragments":0,"conversations":[
 {"proto":"tcp","stream":0,"src_ip":"10.0.0.1","src_port":5000,"dst_ip":"10.0.0.2","dst_port":80,"packets_up":4,"packets_down":3,"complete":true,"agree":true,"sha256_up":"aa","sha256_down":"bb"},
 {"proto":"tcp","stream":1,"src_ip":"10.0.0.2","src_port":80,"dst_ip":"10.0.0.1","dst_port":5000,"packets_up":2,"packets_down":1,"complete":true,"agree":true,"sha256_up":"cc","sha256_down":"dd"},
 {"proto":"udp","src_ip":"fe80:0::1","src_port":5353,"dst_ip":"ff02::fb","dst_port":5353,"packets_up":5,"packets_down":0},
 {"proto":"sctp","src_ip":"10.0.0.1","src_port":1,"dst_ip":"10.0.0.2","dst_port":2,"packets":7}],
 "artifacts":{
 "http_request":[{"frame":1,"stream":0,"http.request.method":["GET","GET"],"http.request.uri":["/a\\xe4","/b"],"http.host":["H.example"]},{"frame":9,"udp_stream":3,"http.request.method":["M-SEARCH"],"http.request.uri":["*"],"http.host":["239.255.255.250:1900"]}],
 "http_response":[{"frame":2,"stream":0,"http.response.code":["200"]},{"frame":3,"stream":0,"http.response.code":["404"]}],
 "dns":[{"frame":4,"udp_stream":0,"dns.id":["0x00ff"],"dns.flags.response":["1"],"dns.qry.name":["Example.com"],"dns.qry.type":["15"],"dns.mx.mail_exchange":["mx.example.com"],"dns.txt":["a b","c"]},
        {"frame":5,"udp_stream":0,"dns.id":["0x0001"],"dns.flags.response":["1"],"dns.qry.name":["<Root>"],"dns.qry.type":["2"],"dns.ns":["a.root-servers.net"]}],
 "tls":[{"frame":6,"stream":1,"tls.handshake.type":["1"],"tls.handshake.extensions_server_name":["s.example"],"tls.handshake.ja3":["j3"],"ja4":"j4"},{"frame":7,"stream":1,"tls.handshake.type":["2","11"],"tls.handshake.ja3s":["j3s"],"certificate_sha256":["c1","c2"]}],
 "smtp_response":[{"frame":7,"stream":0,"smtp.response.code":["220"]}],
 "imf":[{"frame":8,"stream":0,"imf.from":["A <a@x>"],"imf.subject":["=?utf-8?q?h=C3=A9?="],"imf.message_id":["<1@x>"]}],
 "ftp_request":[{"frame":9,"stream":0,"ftp.request.command":["USER"],"ftp.request.arg":["bob"]},{"frame":10,"stream":0,"ftp.request.command":["QUIT"]}]},
 "artifact_counts":{"http_request":2,"http_response":2,"dns":2,"tls":2,"imf":1,"ftp_request":2},
 "objects":[{"kind":"http","name":"a","size":1,"sha256":"b1"},{"kind":"http","name":"gone","size":1,"sha256":"b2"},{"kind":"imf","name":"m","size":9,"sha256":"m1"},{"kind":"ftp-data","name":"f","size":9,"sha256":"f1"}]}`

const conversations = `{"id":"1","proto":"tcp","src_ip":"10.0.0.1","src_port":5000,"dst_ip":"10.0.0.2","dst_port":80,"packets_up":3,"duplicates_up":1,"packets_down":3,"sha256_up":"aa","sha256_down":"bb","gaps_up":[[5,7,"acked"]]}
{"id":"2","proto":"tcp","src_ip":"10.0.0.1","src_port":5000,"dst_ip":"10.0.0.2","dst_port":80,"packets_up":1,"packets_down":2,"sha256_up":"dd","sha256_down":"ce"}
{"id":"3","proto":"udp","src_ip":"fe80::1","src_port":5353,"dst_ip":"ff02::fb","dst_port":5353,"packets_up":2}
{"id":"4","proto":"udp","src_ip":"fe80::1","src_port":5353,"dst_ip":"ff02::fb","dst_port":5353,"packets_up":3}
{"id":"5","proto":"sctp","src_ip":"10.0.0.2","src_port":2,"dst_ip":"10.0.0.1","dst_port":1,"packets_up":3,"packets_down":4}
{"id":"6","proto":"icmp","src_ip":"10.0.0.2","dst_ip":"10.0.0.1","packets_up":3}
`

const artifacts = `{"id":"a","type":"http","conversation":"1","quality":"complete","method":"GET","uri":"/a\ufffd","host":"h.example","status":200,"response_body":{"sha256":"b0","size":1,"decoded_sha256":"b1","decoded_size":1}}
{"id":"b","type":"http","conversation":"1","quality":"complete","method":"GET","uri":"/b","host":"h.example","status":500}
{"id":"c","type":"http","conversation":"3","method":"M-SEARCH","uri":"*","host":"239.255.255.250:1900"}
{"id":"d","type":"dns","conversation":"3","txid":255,"query":"example.com.","qtype":"MX","response":true,"answers":[{"type":"MX","data":"10 mx.example.com."}],"additional":[{"type":"TXT","data":"\"a b\" \"c\""},{"type":"SOA","data":"x"}]}
{"id":"e","type":"dns","conversation":"3","txid":"0x1","query":"","qtype":"NS","response":true,"answers":[]}
{"id":"f","type":"tls","conversation":"2","sni":"s.example","ja3":"j3","ja3s":"j3s","ja4":"j4","certificates":[{"sha256":"C1"}]}
{"id":"g","type":"mail","conversation":"1","protocol":"smtp","from":"A <A@x>","subject":"h\u00e9","message_id":"1@x","sha256":"m1"}
{"id":"h","type":"ftp","conversation":"1","command":"user","arg":"bob"}
{"id":"i","type":"ftp","conversation":"1","command":"QUIT"}
{"id":"j","type":"file","conversation":"1","protocol":"ftp","sha256":"f1"}
`

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	write("captures/a.pcap", "")
	write("captures/crash.pcap", "")
	write("captures/README.md", "")
	write("captures/expected/a.pcap.json", truth)
	write("fake/conversations.jsonl", conversations)
	write("fake/artifacts.jsonl", artifacts)
	t.Setenv(fakeEnv, filepath.Join(dir, "fake"))
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each call of the fake waits a second at its end
	o := &options{ntpac: os.Args[0], captures: filepath.Join(dir, "captures"), jobs: 2, timeout: time.Minute, tmp: t.TempDir(),
		explained: write("explained.tsv", "a.pcap\thttp body\tgone b2\ttshark exports the chunk headers\na.pcap\thttp body\told\tstale\n"),
		diff:      filepath.Join(dir, "diff.jsonl"), md: filepath.Join(dir, "table.md"),
		min: compare.Minimum{"tls sni": 100, "stream": 90, "smtp mail": 100}}
	var out bytes.Buffer
	err := run(context.Background(), o, &out)
	if err == nil || err.Error() != "below the threshold:\n  stream: 50.000 % is below 90 %" {
		t.Errorf("thresholds: %v", err)
	}
	if !strings.Contains(out.String(), "explanations that explain nothing any more") {
		t.Errorf("the stale explanation is not named")
	}
	want := `| run | 2 | 1 | 50.00 | 0 | 1 | 0 |
| tcp conversation | 2 | 2 | 100.00 | 0 | 0 | 0 |
| udp conversation | 1 | 1 | 100.00 | 0 | 0 | 0 |
| sctp conversation | 1 | 1 | 100.00 | 0 | 0 | 0 |
| stream | 2 | 1 | 50.00 | 0 | 1 | 0 |
| stream, one witness | 0 | 0 | - | 0 | 0 | 0 |
| http request | 2 | 2 | 100.00 | 0 | 0 | 0 |
| http response | 2 | 1 | 50.00 | 0 | 1 | 1 |
| http body | 2 | 1 | 50.00 | 1 | 0 | 0 |
| ssdp message | 1 | 1 | 100.00 | 0 | 0 | 0 |
| dns message | 2 | 2 | 100.00 | 0 | 0 | 0 |
| dns answer | 2 | 1 | 50.00 | 0 | 1 | 0 |
| tls hello | 2 | 2 | 100.00 | 0 | 0 | 0 |
| tls sni | 1 | 1 | 100.00 | 0 | 0 | 0 |
| tls ja3 | 1 | 1 | 100.00 | 0 | 0 | 0 |
| tls ja3s | 1 | 1 | 100.00 | 0 | 0 | 0 |
| tls ja4 | 1 | 1 | 100.00 | 0 | 0 | 0 |
| tls certificate | 2 | 1 | 50.00 | 0 | 1 | 0 |
`
	table, err := os.ReadFile(o.md)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(table), want) {
		t.Errorf("table:\n%s\nwant in it:\n%s", table, want)
	}
	for _, k := range []string{"smtp mail", "mail body", "ftp command", "ftp file"} {
		if !strings.Contains(string(table), "| "+k+" | ") || strings.Contains(string(table), "| "+k+" | 0 ") {
			t.Errorf("nothing was counted of %s:\n%s", k, table)
		}
	}
	diff, err := os.ReadFile(o.diff)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{`"kind":"run","key":"run","want":"status 0 or 3","got":"crashed:`, `"explained":"tshark exports the chunk headers"`, `"kind":"stream"`} {
		if !strings.Contains(string(diff), d) {
			t.Errorf("no %s in the differences:\n%s", d, diff)
		}
	}
}

func TestPlain(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{`/a\xe4`, "/a\ufffd"}, {"two\r\n lines", `two\r\n lines`}, {`\"x\"`, `"x"`}, {`a\032b`, "a b"}, {"é", "\xc3\xa9"},
		{strings.Repeat("x", 600) + "...", strings.Repeat("x", 700)},
	} {
		if plain(c.a) != plain(c.b) {
			t.Errorf("%q and %q: %q and %q", c.a, c.b, plain(c.a), plain(c.b))
		}
	}
}
