//go:build unix

package embedded

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"ntpac"
	"ntpac/store/row"
)

// cpu is the time that this process has spent computing.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// traffic makes conversations of log-normal size (median 2 kB, sigma 2.33, 40 B to 32 MiB), half of
// whose bytes are random.
type traffic struct {
	r    *rand.Rand
	pool []byte
	n    int
}

func newTraffic() *traffic {
	t := &traffic{r: rand.New(rand.NewPCG(1, 2)), pool: make([]byte, 4<<20)}
	for i := 0; i < len(t.pool); i += 64 {
		for j := range 32 {
			t.pool[i+j] = byte(t.r.Uint32())
		}
		copy(t.pool[i+32:], "the other half is text like this")
	}
	return t
}

func (t *traffic) bytes(n int) []byte {
	at := t.r.IntN(len(t.pool) - ntpac.ChunkSize)
	return t.pool[at : at+n]
}

// add puts the next conversation into a commit and gives its payload's length.
func (t *traffic) add(c *ntpac.Commit, size int) int {
	t.n++
	v := &ntpac.Conversation{Case: c.Case, First: ntpac.Time(1700000000e9) + ntpac.Time(t.n)*1e5}
	for i := range 8 {
		v.ID[i] = byte(uint64(v.First) >> (56 - 8*i))
		v.ID[8+i] = byte(t.r.Uint32())
	}
	client := netip.AddrFrom4([4]byte{10, 0, byte(t.r.IntN(8)), byte(t.r.IntN(256))})
	server := netip.AddrFrom4([4]byte{93, 184, byte(t.r.IntN(16)), byte(t.r.IntN(256))})
	v.Key = ntpac.FlowKey{Proto: ntpac.TCP, End: [2]netip.AddrPort{netip.AddrPortFrom(client, uint16(t.r.Uint32())), netip.AddrPortFrom(server, 443)}}
	v.Last, v.Close, v.Sources = v.First+5e8, ntpac.CloseFin, []ntpac.SourceID{1}
	up := min(size/5, 64<<10)
	for s, n := range []int{up, size - up} {
		v.Half[s] = ntpac.Half{Packets: uint64(n/1400 + 3), Bytes: int64(n), End: int64(n), HeadKnown: true, SHA256: ntpac.Hash{byte(t.r.Uint32())}}
		for i := range v.Half[s].SHA256 {
			v.Half[s].SHA256[i] = byte(t.r.Uint32())
		}
	}
	hist := t.bytes(60 + size/140)
	v.HistLen = int64(len(hist))
	c.Conversations = append(c.Conversations, v)
	if size+len(hist) <= ntpac.InlineSize {
		v.Inline = &ntpac.Inline{Stream: [2][]byte{t.bytes(up), t.bytes(size - up)}, History: hist}
		return size
	}
	for s, n := range []int{up, size - up} {
		for k := int64(0); n > 0; k++ {
			b := t.bytes(min(n, ntpac.ChunkSize))
			c.Chunks = append(c.Chunks, ntpac.Chunk{Key: ntpac.ChunkKey{ID: v.ID, Stream: uint8(s), N: k}, Packed: row.Pack(nil, b), RawLen: len(b)})
			n -= len(b)
		}
	}
	c.Chunks = append(c.Chunks, ntpac.Chunk{Key: ntpac.ChunkKey{ID: v.ID, Stream: ntpac.StreamHistory}, Packed: row.Pack(nil, hist), RawLen: len(hist)})
	return size
}

func (t *traffic) size() int {
	return min(max(int(2000*math.Exp(2.33*t.r.NormFloat64())), 40), 32<<20)
}

// BenchmarkStore measures the whole way of payload into the store, packing included.
func BenchmarkStore(b *testing.B) {
	for _, k := range []struct {
		name string
		size func(*traffic) int
	}{{"lognormal", (*traffic).size}, {"100B", func(*traffic) int { return 100 }}, {"2kB", func(*traffic) int { return 2000 }}} {
		b.Run(k.name, func(b *testing.B) {
			s := open(b, b.TempDir(), Options{})
			defer s.Close()
			t := newTraffic()
			var total int64
			var spent time.Duration
			for i := 0; i < b.N; {
				start := cpu()
				c := ntpac.Commit{Case: "bench", Stamp: 1}
				for size := 0; size < 8<<20 && len(c.Conversations) < 512 && i < b.N; i++ {
					size += t.add(&c, k.size(t))

				}
				for _, v := range c.Conversations {
					total += v.Half[0].Bytes + v.Half[1].Bytes
				}
				if err := s.Commit(context.Background(), &c); err != nil {
					b.Fatal(err)
				}
				spent += cpu() - start
			}
			start := cpu()
			if err := s.db.Flush(); err != nil {
				b.Fatal(err)
			}
			spent += cpu() - start
			mb := float64(total) / 1e6
			b.ReportMetric(mb, "MB")
			b.ReportMetric(float64(spent.Microseconds())/1000/mb, "cpu-ms/MB")
			b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-us/conv")
		})
	}
}

// BenchmarkArtifacts measures generations of eight artifacts of half a kilobyte.
func BenchmarkArtifacts(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	defer s.Close()
	t := newTraffic()
	var spent time.Duration
	js := []byte(fmt.Sprintf(`{"method":"GET","host":"example.org","uri":"/%0300d","status":200}`, 1))
	for i := 0; i < b.N; {
		c := ntpac.Commit{Case: "bench", Stamp: 1}
		for range 200 {
			t.add(&c, 100)
		}
		if err := s.Commit(context.Background(), &c); err != nil {
			b.Fatal(err)
		}
		g := ntpac.Commit{Case: "bench", Stamp: 1}
		for _, v := range c.Conversations {
			k := &ntpac.Generation{Conversation: v.ID, Snooper: "http", Version: 1, Done: true, App: "http", AppBy: ntpac.ByContent}
			for range 8 {
				a := &ntpac.Artifact{Type: "http", Time: v.First, JSON: js, Spans: []ntpac.Span{{Off: 5, Len: 500}, {Dir: ntpac.Down, Len: 5000}}}
				a.ID[0], a.ID[1], a.ID[2] = byte(i), byte(i>>8), byte(i>>16)
				a.Blobs = []ntpac.Blob{{SHA256: ntpac.Hash{byte(i), byte(i >> 8), byte(i >> 16), 1}, Size: 5000, Spans: a.Spans[1:]}}
				k.Artifacts = append(k.Artifacts, a)
				i++
			}
			g.Generations = append(g.Generations, k)
		}
		start := cpu()
		if err := s.Commit(context.Background(), &g); err != nil {
			b.Fatal(err)
		}
		spent += cpu() - start
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-us/artifact")
}
