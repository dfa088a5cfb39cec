package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ntpac/bench/traffic"
)

// The test binary plays ntpac when fakeEnv is set; its value names a law to break.
const fakeEnv = "LAWS_TEST_FAKE"

func TestMain(m *testing.M) {
	if broken := os.Getenv(fakeEnv); broken != "" {
		os.Exit(fake(broken, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fake stores one conversation; its run takes as long undisturbed as it would when killed.
func fake(broken string, args []string) int {
	store := args[slices.Index(args, "--store")+1]
	rows := filepath.Join(store, "rows")
	switch args[0] {
	case "run":
		os.MkdirAll(store, 0o755)
		marks, _ := filepath.Glob(filepath.Join(store, "mark*"))
		os.WriteFile(filepath.Join(store, fmt.Sprint("mark", len(marks))), nil, 0o644)
		if slices.Contains([]string{"base", "killed"}, filepath.Base(store)) {
			time.Sleep(200 * time.Millisecond) // a run that lives long enough to be killed at a share of its time
		}
		packets, capture := 2, args[len(args)-1]
		if broken == "workers-4" && slices.Contains(args, "4") || broken == "again" && len(marks) > 0 && filepath.Base(store) == "again" ||
			broken == "kill" && filepath.Base(store) == "killed" || broken == "split" && strings.HasSuffix(capture, upSuffix) ||
			broken == "skew" && strings.HasSuffix(capture, "ahead.pcap") {
			packets = 3
		}
		line := fmt.Sprintf(`{"id":"1","proto":"tcp","capture":%q,"packets_up":%d,"duplicates_up":%d,"flags":[]}`+"\n", capture, packets, len(capture))
		line += fmt.Sprintf(`{"id":"%d","proto":"udp","flags":["limit-memory"]}`+"\n", packets+len(args))
		if !strings.HasPrefix(filepath.Base(store), "split") { // only split leaves such conversations out
			line = line[:strings.Index(line, "\n")+1]
		}
		if os.WriteFile(rows, []byte(line), 0o644) != nil {
			return 1
		}
	case "conversations":
		b, _ := os.ReadFile(rows)
		os.Stdout.Write(b)
	}
	return 0
}

func TestLaws(t *testing.T) {
	for _, broken := range []string{"none", "again", "workers-4", "split", "skew", "kill"} {
		t.Run(broken, func(t *testing.T) {
			t.Setenv(fakeEnv, broken)
			t.Setenv("GORACE", "atexit_sleep_ms=0") // else each call of the fake waits a second at its end
			only := broken + ",repeat"
			if broken == "none" {
				only = ""
			}
			o := &options{only: only, ntpac: os.Args[0], size: traffic.Size(64 << 10), seed: 1, kills: 3, timeout: time.Minute, tmp: t.TempDir()}
			var out bytes.Buffer
			err := run(context.Background(), o, &out)
			if (err == nil) != (broken == "none") {
				t.Errorf("%v\n%s", err, out.String())
			}
			for _, l := range laws {
				if only != "" && !slices.Contains(strings.Split(only, ","), l.name) {
					continue
				}
				if want := l.name != broken; strings.Contains(out.String(), fmt.Sprintf("%-10s holds", l.name)) != want {
					t.Errorf("%s should hold: %t\n%s", l.name, want, out.String())
				}
			}
		})
	}
}

func TestDiffer(t *testing.T) {
	a := []row{{"id": "1", "x": "a"}, {"id": "2"}}
	if err := differ("rows", a, []row{{"id": "2"}, {"id": "1", "x": "a"}}); err != nil {
		t.Errorf("order matters: %v", err)
	}
	err := differ("rows", a, []row{{"id": "1", "x": "b"}, {"id": "3"}})
	if err == nil || !strings.Contains(err.Error(), "1 missing, 1 extra, 1 changed in x (1: b, not a, in 1)") {
		t.Errorf("%v", err)
	}
}

func TestUntimed(t *testing.T) {
	conv := func(id, first string, port int) row {
		return row{"id": id, "proto": "tcp", "src_ip": "a", "src_port": port, "dst_ip": "b", "dst_port": 80, "first": first, "app": "http"}
	}
	one := &listing{conversations: []row{conv("1", "10", 5), conv("2", "20", 5), conv("3", "15", 6)},
		artifacts: []row{{"id": "x", "type": "file", "conversation": "2", "control": "1", "time": "21", "size": 3}}}
	other := &listing{conversations: []row{conv("7", "12", 5), conv("8", "22", 5), conv("9", "11", 6)},
		artifacts: []row{{"id": "y", "type": "file", "conversation": "8", "control": "7", "time": "23", "size": 3}}}
	if err := one.untimed().differ(other.untimed()); err != nil {
		t.Error(err)
	}
	other.artifacts[0]["control"] = "8"
	if one.untimed().differ(other.untimed()) == nil {
		t.Error("another conversation is the same")
	}
}
