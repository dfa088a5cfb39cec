// Cassandra measures what the Cassandra store costs: CPU time of the server (from /proc) and of this
// process, for each kind of thing that is written or read, on one warm node with one copy.
//
//	scripts/with-cassandra go run ./bench/cassandra [-check]
//
// The ring is NTPAC_CASSANDRA (host:port), its data folder NTPAC_CASSANDRA_DATA; where NTPAC_CASSANDRA_SH and
// the folder are known, memtables are flushed within the measurement.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ntpac"
	"ntpac/store/cassandra"
	"ntpac/store/row"
)

func main() {
	check := flag.Bool("check", false, "fail where a gate is missed")
	warm := flag.Duration("warm", 40*time.Second, "how long the server is warmed up")
	n := flag.Int("n", 200_000, "conversations of a row")
	flag.Parse()
	b := &bench{n: *n, cache: filepath.Join(cacheDir(), "cassandra"), data: os.Getenv("NTPAC_CASSANDRA_DATA"), script: os.Getenv("NTPAC_CASSANDRA_SH")}
	missed, err := b.run(context.Background(), *warm)
	if err == nil && *check && missed > 0 {
		err = fmt.Errorf("%d gates missed", missed)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cassandra:", err)
		os.Exit(1)
	}
}

func cacheDir() string {
	d, err := os.UserCacheDir()
	if err != nil {
		return os.TempDir()
	}
	return d
}

type bench struct {
	n                   int
	cache, data, script string
	pid                 int
	st                  *cassandra.Store
	at                  ntpac.Time // of the next conversation
	last                []*ntpac.Conversation
}

// line is one row of the table.
type line struct {
	name string
	per  string // unit of what is counted
	gate float64
	run  func(ctx context.Context) (count float64, err error)
}

func (b *bench) run(ctx context.Context, warm time.Duration) (missed int, err error) {
	if b.pid, err = b.server(); err != nil {
		return 0, err
	}
	o, err := cassandra.ParseURL(fmt.Sprintf("cassandra://%s/bench%d?buckets=1", os.Getenv("NTPAC_CASSANDRA"), time.Now().Unix()))
	if err != nil {
		return 0, err
	}
	if b.st, err = cassandra.Open(ctx, o); err != nil {
		return 0, err
	}
	defer b.st.Close()
	b.at = 1_700_000_000_000_000_000
	lines := []line{
		{"packed conversation", "conversation", 0.05, func(ctx context.Context) (float64, error) { return b.conversations(ctx, b.n, 0, commitRows) }},
		{"the same, commits of 200", "conversation", 0, func(ctx context.Context) (float64, error) { return b.conversations(ctx, b.n/4, 0, 200) }},
		{"packed conversation with 2 KB inline payload", "conversation", 0.16, func(ctx context.Context) (float64, error) { return b.conversations(ctx, b.n/4, 2<<10, commitRows) }},
		{"what was found in it: two artifacts, one body", "conversation", 0, b.generations},
		{"stored payload, chunks of 256 KiB", "MB", 20, b.payload},
		{"checkpoint of 16 KiB", "checkpoint", 0, b.checkpoints},
		{"conversation by id", "read", 0, b.byID},
		{"conversations of two minutes listed", "conversation", 0, b.list},
		{"conversations of an address in an hour", "query", 0, b.address},
	}
	for begun := time.Now(); time.Since(begun) < warm; {
		for i := range lines {
			if _, err := lines[i].run(ctx); err != nil {
				return 0, err
			}
		}
	}
	fmt.Printf("| written or read | per | server CPU ms | client CPU ms | gate | reached |\n| --- | --- | ---: | ---: | ---: | --- |\n")
	for i := range lines {
		l := &lines[i]
		server, client, err := b.measure(ctx, l)
		if err != nil {
			return 0, err
		}
		gate, reached := "", ""
		if l.gate > 0 {
			gate, reached = fmt.Sprintf("<= %g", l.gate), "yes"
			if server > l.gate {
				reached = "no"
				missed++
			}
		}
		fmt.Printf("| %s | %s | %.4f | %.4f | %s | %s |\n", l.name, l.per, server, client, gate, reached)
	}
	return missed, nil
}

// measure runs a line after a flush, and up to the end of the next one.
func (b *bench) measure(ctx context.Context, l *line) (server, client float64, err error) {
	if err := b.flush(ctx); err != nil {
		return 0, 0, err
	}
	s0, c0 := cpu(b.pid), cpu(os.Getpid())
	n, err := l.run(ctx)
	if err != nil {
		return 0, 0, err
	}
	c1 := cpu(os.Getpid())
	if err := b.flush(ctx); err != nil {
		return 0, 0, err
	}
	return (cpu(b.pid) - s0) / n, (c1 - c0) / n, nil
}

// flush makes the server write out what it holds in memory.
func (b *bench) flush(ctx context.Context) error {
	if b.script == "" || b.data == "" {
		return nil
	}
	c := exec.CommandContext(ctx, "bash", b.script, "nodetool", "--cache", b.cache, "--data", b.data, "--node", "1", "--", "flush")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("flush: %w: %s", err, out)
	}
	return nil
}

// server finds the process of the first node.
func (b *bench) server() (int, error) {
	if b.data == "" {
		return 0, fmt.Errorf("NTPAC_CASSANDRA_DATA names no data folder: run this by make bench-cassandra")
	}
	t, err := os.ReadFile(filepath.Join(b.data, "node1", "pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(t)))
}

// cpu is the user and system time of a process in milliseconds; the kernel counts in hundredths of a second.
func cpu(pid int) float64 {
	t, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(t[strings.LastIndexByte(string(t), ')')+1:]))
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) * 10
}

const (
	caseName   = "bench"
	commitRows = 2048 // as the writer commits
	perSecond  = 1000 // conversations of a second of capture time
)

// conversation makes the next one.
func (b *bench) conversation(inline int) *ntpac.Conversation {
	b.at += 1e9 / perSecond
	c := &ntpac.Conversation{First: b.at, Last: b.at + 5e8, Case: caseName, Close: ntpac.CloseFin, HistLen: 300, Sources: []ntpac.SourceID{1}}
	binary.BigEndian.PutUint64(c.ID[:], uint64(b.at))
	binary.BigEndian.PutUint64(c.ID[8:], rand.Uint64())
	c.Key = ntpac.FlowKey{Proto: ntpac.TCP, End: [2]netip.AddrPort{
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(rand.IntN(4)), byte(rand.IntN(256))}), uint16(rand.Uint32())),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{93, 184, byte(rand.IntN(16)), byte(rand.IntN(256))}), 443)}}
	for i := range c.Half {
		c.Half[i] = ntpac.Half{Packets: 10, Bytes: 3000, End: 3000, HeadKnown: true}
		for j := range c.Half[i].SHA256 {
			c.Half[i].SHA256[j] = byte(rand.Uint32())
		}
	}
	if inline > 0 {
		c.Inline = &ntpac.Inline{Stream: [2][]byte{half(inline / 2), half(inline / 2)}, History: half(300)}
	}
	return c
}

// half makes bytes of which half can be compressed away.
func half(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 16 {
		for j := i; j < min(i+8, n); j++ {
			b[j] = byte(rand.Uint32())
		}
	}
	return b
}

func (b *bench) conversations(ctx context.Context, n, inline, rows int) (float64, error) {
	for done := 0; done < n; done += rows {
		c := ntpac.Commit{Case: caseName, Stamp: 1 << 32}
		for range rows {
			c.Conversations = append(c.Conversations, b.conversation(inline))
		}
		if err := b.st.Commit(ctx, &c); err != nil {
			return 0, err
		}
		if len(b.last) < 20_000 {
			b.last = append(b.last, c.Conversations...)
		}
	}
	return float64((n + rows - 1) / rows * rows), nil
}

func (b *bench) generations(ctx context.Context) (float64, error) {
	n := 0
	for len(b.last) > 0 {
		c := ntpac.Commit{Case: caseName, Stamp: 1 << 32}
		some := b.last[:min(len(b.last), commitRows/3)]
		b.last = b.last[len(some):]
		for _, v := range some {
			g := &ntpac.Generation{Conversation: v.ID, Snooper: "http", Version: 1, Done: true, App: "http", AppBy: ntpac.ByContent}
			for i := range 2 {
				a := &ntpac.Artifact{Type: "http", Time: v.First, Spans: []ntpac.Span{{Len: 300}}, JSON: fmt.Appendf(nil,
					`{"method":"GET","host":"www%d.example.com","uri":"/%x","version":"HTTP/1.1","status":200,"user_agent":"Mozilla/5.0 (X11; Linux x86_64)","request_headers":"Host: x\r\nAccept: */*\r\n"}`, rand.IntN(50), rand.Uint64())}
				binary.BigEndian.PutUint64(a.ID[:], rand.Uint64())
				if i == 0 {
					a.Blobs = []ntpac.Blob{{Size: 2000, Spans: []ntpac.Span{{Dir: ntpac.Down, Off: 300, Len: 2000}}}}
					binary.BigEndian.PutUint64(a.Blobs[0].SHA256[:], rand.Uint64())
				}
				g.Artifacts = append(g.Artifacts, a)
			}
			c.Generations = append(c.Generations, g)
		}
		if err := b.st.Commit(ctx, &c); err != nil {
			return 0, err
		}
		n += len(some)
	}
	return float64(n), nil
}

func (b *bench) payload(ctx context.Context) (mb float64, err error) {
	raw := half(ntpac.ChunkSize)
	for range 48 {
		id := b.conversation(0).ID
		c := ntpac.Commit{Case: caseName, Stamp: 1 << 32}
		for n := range 32 {
			binary.LittleEndian.PutUint64(raw[n*64:], rand.Uint64())
			packed := row.Pack(nil, raw)
			mb += float64(len(packed)) / 1e6
			c.Chunks = append(c.Chunks, ntpac.Chunk{Key: ntpac.ChunkKey{ID: id, N: int64(n)}, Packed: packed, RawLen: len(raw)})
		}
		if err := b.st.Commit(ctx, &c); err != nil {
			return 0, err
		}
	}
	return mb, nil
}

func (b *bench) checkpoints(ctx context.Context) (float64, error) {
	const rounds, shards = 8, 256
	for range rounds {
		version := uint32(time.Now().UnixMilli() / 10)
		c := ntpac.Commit{Case: caseName, Stamp: 1<<32 | uint64(version)}
		for s := range uint16(shards) {
			c.Checkpoints = append(c.Checkpoints, ntpac.Checkpoint{Shard: s, Epoch: 1, Version: version, Positions: []ntpac.Position{{Source: 1, Ord: 1}}, State: half(16 << 10)})
		}
		if err := b.st.Commit(ctx, &c); err != nil {
			return 0, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return rounds * shards, nil
}

func (b *bench) byID(ctx context.Context) (float64, error) {
	var c ntpac.Commit
	c.Case = caseName
	for range 2000 {
		c.Conversations = append(c.Conversations, b.conversation(0))
	}
	if err := b.st.Commit(ctx, &c); err != nil {
		return 0, err
	}
	for _, v := range c.Conversations {
		if _, err := b.st.Conversation(ctx, caseName, v.ID); err != nil {
			return 0, err
		}
	}
	return float64(len(c.Conversations)), nil
}

func (b *bench) list(ctx context.Context) (n float64, err error) {
	const begun = ntpac.Time(1_700_000_000_000_000_000)
	for _, err := range b.st.Conversations(ctx, &ntpac.Query{Case: caseName, From: begun, To: begun + 120e9}) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

func (b *bench) address(ctx context.Context) (float64, error) {
	const begun, queries = ntpac.Time(1_700_000_000_000_000_000), 20
	for i := range queries {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{93, 184, 3, byte(i)}), 32)
		for _, err := range b.st.Conversations(ctx, &ntpac.Query{Case: caseName, From: begun, To: begun + 3600e9, Addrs: []netip.Prefix{p}}) {
			if err != nil {
				return 0, err
			}
		}
	}
	return queries, nil
}
