package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ntpac"
	"ntpac/balancer"
	"ntpac/bench/traffic"
)

// The test binary is its own worker when workerEnv is set.
const workerEnv = "STAGES_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func sample(t *testing.T) (string, traffic.Stats) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := traffic.Write(traffic.Capture{Whole: f}, traffic.Options{Size: 1 << 20, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return path, st
}

func TestRun(t *testing.T) {
	t.Setenv(workerEnv, "1")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each worker waits a second at its end
	path, _ := sample(t)
	o := &options{capture: path, n: 1, procs: 1, flows: 2000, tmp: t.TempDir(), out: t.TempDir()}
	var out bytes.Buffer
	if err := run(context.Background(), o, &out); err != nil {
		t.Fatal(err)
	}
	for _, s := range append(stages(o), Stage{Name: f1Name}, Stage{Name: sumName}) {
		if !strings.Contains(out.String(), "| "+s.Name+" | ") {
			t.Errorf("no row %s in\n%s", s.Name, out.String())
		}
	}
	if n := strings.Count(out.String(), "not measured"); n != 2 {
		t.Errorf("%d rows not measured, want those of the whole run\n%s", n, out.String())
	}
}

func TestWorkerRefuses(t *testing.T) {
	path, _ := sample(t)
	if err := worker(&options{capture: path}, "no such stage", &bytes.Buffer{}); err == nil {
		t.Error("an unknown row was run")
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, bytes.Repeat([]byte("x"), 100), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := worker(&options{capture: bad}, f1Name, &bytes.Buffer{}); err == nil {
		t.Error("a text was walked")
	}
	var c cost
	var out bytes.Buffer
	if err := worker(&options{capture: path, n: 2}, f1Name, &out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &c); err != nil || c.Packets == 0 {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestWalks(t *testing.T) {
	path, st := sample(t)
	little, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Clone(little)
	binary.BigEndian.PutUint32(big, 0xa1b2c3d4)
	ng := []byte{0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 28, 0, 0, 0}
	for o := 24; o+16 <= len(little); {
		n := binary.LittleEndian.Uint32(little[o+8:])
		binary.BigEndian.PutUint32(big[o+8:], n)
		ng = append(ng, 6, 0, 0, 0)
		ng = binary.LittleEndian.AppendUint32(ng, 16)
		ng = append(ng, 0, 0, 0, 0, 16, 0, 0, 0) // an empty packet: only its length leads on
		o += 16 + int(n)
	}
	for name, m := range map[string][]byte{"little": little, "big": big, "pcapng": ng, "cut": little[:len(little)-3]} {
		walk, err := walker(m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := walk(m); n != st.Packets {
			t.Errorf("%s: %d packets of %d", name, n, st.Packets)
		}
	}
}

func TestTable(t *testing.T) {
	tb := &table{size: 1e9, packets: 1000, f1: 100 * time.Millisecond}
	tb.add(row{name: "fast", cost: cost{CPU: 80 * time.Millisecond, Mallocs: 10, Steady: 1000}, gate: 0.8, stretch: 1.2})
	tb.add(row{name: "slow", cost: cost{CPU: time.Second}, gate: 0.4, stretch: 0.5})
	tb.add(row{name: "gone", absent: true, gate: 1})
	tb.add(row{name: gopacket, cost: cost{CPU: 800 * time.Millisecond}})
	var out bytes.Buffer
	tb.print(&out)
	for _, s := range []string{"| fast | 0.080 | 100.00 | 1.250 | 0.8 | stretch | 10.0 | ", "0.0100", "| slow | 1.000 | 8.00 | 0.100 | 0.4 | MISSED | 0.8 |", "| gone | not measured |"} {
		if !strings.Contains(out.String(), s) {
			t.Errorf("no %s in\n%s", s, out.String())
		}
	}
	if n := tb.missed(); n != 1 {
		t.Errorf("%d missed", n)
	}
}

// The capture of open conversations holds what it says.
func TestWriteOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "open.pcap")
	if err := writeOpen(path, 100); err != nil {
		t.Fatal(err)
	}
	p := &pass{file: path, warm: func() {}, over: func() {}}
	n := 0
	keys := map[uint64]int{}
	err := each(p, func(b *ntpac.Batch) error {
		balancer.New(balancer.Config{}).Prepare(b)
		n += len(b.Packets)
		for i := range b.Packets {
			keys[b.Packets[i].Hash]++
		}
		return nil
	})
	if err != nil || n != 200 || len(keys) != 100 {
		t.Errorf("%v: %d packets of %d conversations", err, n, len(keys))
	}
}
