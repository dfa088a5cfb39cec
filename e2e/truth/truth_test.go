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

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
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
		if os.WriteFile(out, nil, 0o644) != nil || os.WriteFile(out+".jsonl", []byte(sample), 0o644) != nil {
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

const sample = `{"type":"conv","id":1,"app":"http","l4":"tcp","client":"10.0.0.9","cport":5000,"server":"10.0.0.2","sport":80,"packets":[4,3],"c2s":{"bytes":5,"sha256":"u1"},"s2c":{"bytes":100,"sha256":"d1","missing":10,"gaps":[[50,10]],"captured_sha256":"h1","conflicts":[[0,5],[3,4]]}}
{"type":"artifact","kind":"http","conv":1,"complete":true,"method":"GET","host":"h","uri":"/","status":200,"body_len":3,"body_sha256":"b1","decoded_sha256":"e1"}
{"type":"artifact","kind":"http","conv":1,"complete":false,"method":"GET","host":"h","uri":"/2","status":304,"body_len":0,"body_sha256":"x","decoded_sha256":"x"}
{"type":"conv","id":2,"app":"dns","l4":"udp","client":"10.0.0.9","cport":5001,"server":"10.0.0.2","sport":53,"packets":[1,1],"c2s":{"bytes":5,"sha256":"u2"},"s2c":{"bytes":9,"sha256":"d2"}}
{"type":"artifact","kind":"dns","conv":2,"complete":true,"id":255,"name":"a.example","qtype":"MX","rcode":0,"answers":["mx.a.example"]}
{"type":"conv","id":3,"app":"rtp","l4":"udp","client":"10.0.0.9","cport":5002,"server":"10.0.0.2","sport":54,"packets":[0,0],"c2s":{"bytes":5,"sha256":"u2","missing":5,"gaps":[[0,5]]},"s2c":{"bytes":0,"sha256":"x"}}
{"type":"artifact","kind":"rtp","conv":3,"complete":false,"ssrc":[1,2],"payload_sha256":["a","b"]}
{"type":"conv","id":4,"app":"smtp","l4":"tcp","client":"10.0.0.9","cport":5003,"server":"10.0.0.2","sport":25,"packets":[9,9],"c2s":{"bytes":5,"sha256":"u4"},"s2c":{"bytes":5,"sha256":"d4"}}
{"type":"artifact","kind":"mail","protocol":"smtp","conv":4,"complete":true,"from":"a@x","subject":"s","message_id":"i@x","message_sha256":"m1","attachments":[{"sha256":"a1"},{"sha256":"a0"}]}
{"type":"artifact","kind":"credential","protocol":"smtp","conv":4,"complete":true,"user":"u","password":"p"}
{"type":"artifact","kind":"tls","conv":4,"complete":true,"sni":"s.example","version":"TLS 1.2","cipher":"0xc02f","cert_sha256":"c1"}
{"type":"artifact","kind":"ftp_file","conv":4,"complete":true,"filename":"f.zip","sha256":"f1"}
{"type":"summary","artifacts":{"http":2}}
`

const conversations = `{"id":"1","proto":"tcp","src_ip":"10.0.0.9","src_port":5000,"dst_ip":"10.0.0.2","dst_port":80,"packets_up":4,"packets_down":2,"duplicates_down":1,"bytes_up":5,"bytes_down":90,"sha256_up":"u1","sha256_down":"h1","gaps_down":[[50,4,"acked"],[54,6,"close"]],"overlap_down":7}
{"id":"2","proto":"udp","src_ip":"10.0.0.9","src_port":5001,"dst_ip":"10.0.0.2","dst_port":53,"packets_up":1,"packets_down":1,"bytes_up":5,"bytes_down":9,"sha256_up":"u2","sha256_down":"wrong"}
{"id":"4","proto":"tcp","src_ip":"10.0.0.9","src_port":5003,"dst_ip":"10.0.0.2","dst_port":25,"packets_up":9,"packets_down":9,"bytes_up":5,"bytes_down":5,"sha256_up":"u4","sha256_down":"d4"}
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
	for kind, want := range map[string][2]int{"tcp conversation": {2, 2}, "tcp stream": {3, 3}, "tcp stream with holes": {1, 1}, "udp stream": {2, 1},
		"gap map": {1, 1}, "conflict bytes": {1, 1}, "http": {1, 1}, "dns query": {1, 1}, "dns response": {1, 1}, "dns called complete": {2, 2},
		"tls": {1, 1}, "smtp mail": {1, 1}, "smtp credential": {1, 1}, "credential called complete": {1, 1}, "ftp file": {1, 1}, "ftp file, named": {1, 1}, "http called complete": {3, 2}} {
		if row := fmt.Sprintf("| %s | %d | %d |", kind, want[0], want[1]); !strings.Contains(out.String(), row) {
			t.Errorf("no row %s in\n%s", row, out.String())
		}
	}
}

func TestGapsAgree(t *testing.T) {
	inner := stream{Bytes: 100, Missing: 10, Gaps: [][2]int64{{50, 10}}}
	head := stream{Bytes: 100, Missing: 20, Gaps: [][2]int64{{0, 10}, {50, 10}}, HeadGap: 10}
	known := head
	known.HeadKnown = true
	tail := stream{Bytes: 100, Missing: 15, Gaps: [][2]int64{{50, 10}, {95, 5}}, TailGap: 5}
	ended := tail
	ended.TailKnown = true
	for _, c := range []struct {
		name string
		s    stream
		got  [][2]int64
		want bool
	}{
		{"inner", inner, [][2]int64{{50, 10}}, true},
		{"too long", inner, [][2]int64{{50, 11}}, false},
		{"none", inner, nil, false},
		{"one too many", inner, [][2]int64{{50, 10}, {70, 1}}, false},
		{"unknown head", head, [][2]int64{{40, 10}}, true},
		{"head by the answer", head, [][2]int64{{0, 10}, {50, 10}}, true},
		{"known head", known, [][2]int64{{0, 10}, {50, 10}}, true},
		{"known head left out", known, [][2]int64{{40, 10}}, false},
		{"unknown tail", tail, [][2]int64{{50, 10}}, true},
		{"acknowledged tail", tail, [][2]int64{{50, 10}, {95, 5}}, true},
		{"half acknowledged tail", tail, [][2]int64{{50, 10}, {95, 2}}, true},
		{"tail too long", tail, [][2]int64{{50, 10}, {95, 6}}, false},
		{"known tail", ended, [][2]int64{{50, 10}, {95, 5}}, true},
		{"known tail left out", ended, [][2]int64{{50, 10}}, false},
	} {
		if got := gapsAgree(&c.s, c.got); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestMerged(t *testing.T) {
	got := merged([]cli.Gap{{Off: 20, Len: 1, Cause: "close"}, {Off: 5, Len: 5, Cause: "acked"}, {Off: 10, Len: 2, Cause: "window"}})
	if len(got) != 2 || got[0] != [2]int64{5, 7} || got[1] != [2]int64{20, 1} {
		t.Errorf("%v", got)
	}
	if n := length([][2]int64{{3, 4}, {0, 5}, {4, 1}, {9, 1}}); n != 8 {
		t.Errorf("length %d", n)
	}
}
