package capture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"ntpac"
)

// drained is what reading a source to its end gave.
type drained struct {
	pkts []pkt
	offs []int64
	info ntpac.SourceInfo
	err  error // io.EOF for a sound source
}

// drain reads a source to its end with batches of n, and checks what must hold of any source.
func drain(t testing.TB, f *File, n int) drained {
	t.Helper()
	var d drained
	b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, n)}
	for {
		err := f.Next(context.Background(), b)
		for i := range b.Packets {
			p := &b.Packets[i]
			if p.Ord != uint64(len(d.pkts)) {
				t.Fatalf("packet %d has ordinal %d", len(d.pkts), p.Ord)
			}
			if blk := b.Blocks[p.Blk]; blk.Base+int64(p.Pos) != p.Off || blk.Source != f.info.ID {
				t.Fatalf("packet %d: position %d of a block from %d is not offset %d", p.Ord, p.Pos, blk.Base, p.Off)
			}
			d.pkts = append(d.pkts, pkt{p.TS, p.Link, p.Wire, string(b.Frame(p))})
			d.offs = append(d.offs, p.Off)
		}
		if n > 0 && len(b.Packets) > n {
			t.Fatalf("%d packets in a batch for %d", len(b.Packets), n)
		}
		if err != nil && len(b.Packets) > 0 {
			t.Fatal("packets together with an error")
		}
		if err == nil && len(b.Packets) == 0 {
			t.Fatal("neither packets nor an error")
		}
		b.Free()
		if err != nil {
			d.err, d.info = err, f.Info()
			if again := f.Next(context.Background(), b); again != err {
				t.Fatalf("after its end with %v the source says %v", err, again)
			}
			f.Close()
			return d
		}
	}
}

// readAll drains a capture given as bytes.
func readAll(t testing.TB, b []byte, opt Options) drained {
	t.Helper()
	opt.Stdin = bytes.NewReader(b)
	f, err := Open(context.Background(), "-", opt)
	if err != nil {
		t.Fatal(err)
	}
	return drain(t, f, 100)
}

func same(t testing.TB, got drained, want []pkt, file *file) {
	t.Helper()
	if !slices.Equal(got.pkts, want) {
		t.Fatalf("got %d packets\n%v\nwant %d\n%v", len(got.pkts), got.pkts, len(want), want)
	}
	if file != nil {
		for i, off := range got.offs {
			if off != int64(file.frames[i]) {
				t.Fatalf("packet %d at offset %d, not %d", i, off, file.frames[i])
			}
		}
	}
}

func TestFormats(t *testing.T) {
	want := somePackets(60)
	wraps := map[string]func([]byte) []byte{
		"": func(b []byte) []byte { return b }, "+gzip": gzipped, "+zstd": zstded,
		"+gzip+zstd": func(b []byte) []byte { return zstded(gzipped(b)) },
	}
	readers := map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r },
		"bytes": iotest.OneByteReader, "half": iotest.HalfReader, "with error": iotest.DataErrReader,
		"sevens": func(r io.Reader) io.Reader { return &atMost{r, 7} },
	}
	for _, s := range shapes() {
		file := s.build(want)
		for suffix, wrap := range wraps {
			raw := wrap(file.b)
			for how, reader := range readers {
				for _, size := range []int{1, 5000, 0} {
					f, err := Open(context.Background(), "-", Options{BlockSize: size, Stdin: reader(bytes.NewReader(raw)), Hash: true})
					if err != nil {
						t.Fatalf("%s%s %s: %v", s.name, suffix, how, err)
					}
					if s.name == "pcap-patched" {
						continue // told from plain pcap by looking ahead, which is not done at pipes
					}
					d := drain(t, f, 7)
					same(t, d, want, file)
					if d.err != io.EOF || d.info.SHA256 != sha256.Sum256(raw) || d.info.Size != int64(len(raw)) || f.Read() != d.info.Size {
						t.Fatalf("%s%s %s: %v, %+v", s.name, suffix, how, d.err, d.info)
					}
				}
			}
		}
	}
}

// atMost gives few bytes at a time.
type atMost struct {
	r io.Reader
	n int
}

func (a *atMost) Read(p []byte) (int, error) { return a.r.Read(p[:min(len(p), a.n)]) }

func TestFiles(t *testing.T) {
	want := somePackets(2000)
	for _, s := range shapes() {
		file := s.build(want)
		for suffix, raw := range map[string][]byte{"": file.b, "+gzip": gzipped(file.b), "+zstd": zstded(file.b)} {
			path := filepath.Join(t.TempDir(), "a")
			os.WriteFile(path, raw, 0o600)
			f, err := Open(context.Background(), path, Options{Hash: true, Index: 3})
			if err != nil {
				t.Fatal(err)
			}
			first := f.Info()
			d := drain(t, f, 0)
			same(t, d, want, file)
			i := d.info
			if d.err != io.EOF || i.Name != path || i.Path != path || i.ID == 0 || i.ID != first.ID || i.Seekable != (suffix == "") ||
				i.Size != int64(len(raw)) || i.Packets != 2000 || i.First != want[0].ts || i.Last != want[1999].ts || !i.Done {
				t.Errorf("%s%s: %v, %+v", s.name, suffix, d.err, i)
			}
			if sum, err := Sum(path); err != nil || sum != i.SHA256 {
				t.Errorf("%s: sum %v %v, not %v", s.name, sum, err, i.SHA256)
			}
			r, err := OpenAt(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range []int{5, 1999, 0, 1000} {
				if got, err := r.ReadFrame(d.offs[k], len(want[k].data)); err != nil || string(got) != want[k].data {
					t.Fatalf("%s%s: frame %d again: %v", s.name, suffix, k, err)
				}
			}
			if _, err := r.ReadFrame(int64(len(file.b))-1, 2); !errors.Is(err, ntpac.ErrNoPayload) {
				t.Errorf("a frame behind the end: %v", err)
			}
			r.Close()
		}
	}
}

func TestSameFileSameID(t *testing.T) {
	a := shapeNamed(t, "pcap-le-us").build(somePackets(3)).b
	b := slices.Clone(a)
	b[len(b)-1]++
	open := func(raw []byte) ntpac.SourceID { return readAll(t, raw, Options{}).info.ID }
	if first, second := open(a), open(a); first != second {
		t.Error("two ids for the same source")
	}
	if open(a) == open(b) {
		t.Error("one id for two sources")
	}
}

// Raw must show each byte once, in order, and retained blocks must keep what was shown.
func TestRaw(t *testing.T) {
	file := shapeNamed(t, "pcapng-le-ns").build(somePackets(3000))
	for _, raw := range [][]byte{file.b, gzipped(file.b), zstded(file.b), append(gzipped(file.b), "not gzip"...)} {
		type piece struct {
			p   []byte
			blk *ntpac.Block
		}
		ch := make(chan piece, 100)
		done := make(chan []byte)
		go func() {
			h := sha256.New()
			for x := range ch {
				h.Write(x.p)
				if x.blk != nil {
					x.blk.Release()
				}
			}
			done <- h.Sum(nil)
		}()
		d := readAll(t, raw, Options{BlockSize: 4096, Hash: true, Raw: func(p []byte, blk *ntpac.Block) {
			if blk != nil {
				blk.Retain(1)
			} else {
				p = slices.Clone(p)
			}
			ch <- piece{p, blk}
		}})
		close(ch)
		want := sha256.Sum256(raw)
		if got := <-done; !bytes.Equal(got, want[:]) || d.info.SHA256 != want {
			t.Errorf("%d bytes: raw bytes have sum %x, info says %v, want %x", len(raw), got, d.info.SHA256, want)
		}
	}
}

func TestGzipMembers(t *testing.T) {
	want := somePackets(50)
	file := shapeNamed(t, "pcap-le-us").build(want)
	one, two := gzipped(file.b[:700]), gzipped(file.b[700:])
	join := func(p ...[]byte) []byte { return bytes.Join(p, nil) }
	same(t, readAll(t, join(one, two), Options{}), want, file)
	d := readAll(t, join(one, two, make([]byte, 600)), Options{})
	if same(t, d, want, file); d.err != io.EOF {
		t.Errorf("zeros behind the data: %v", d.err)
	}
	one[len(one)-6]++ // the checksum
	d = readAll(t, join(one, two), Options{})
	if same(t, d, want, file); !errors.Is(d.err, ntpac.ErrDamaged) {
		t.Errorf("wrong checksum: %v", d.err)
	}
}

func TestBatchBytesAreBounded(t *testing.T) {
	var ps []pkt
	for i := range 64 {
		ps = append(ps, pkt{testStart + ntpac.Time(i), 1, 1 << 20, string(make([]byte, 1<<20))})
	}
	file := shapeNamed(t, "pcap-le-ns").build(ps)
	f, err := Open(context.Background(), "-", Options{Stdin: bytes.NewReader(file.b)})
	if err != nil {
		t.Fatal(err)
	}
	b := &ntpac.Batch{}
	n := 0
	for f.Next(context.Background(), b) == nil {
		held := 0
		for _, k := range b.Blocks {
			held += len(k.Mem)
		}
		if held > 16<<20 {
			t.Fatalf("a batch holds %d bytes", held)
		}
		n += len(b.Packets)
		b.Free()
	}
	if n != 64 {
		t.Errorf("%d packets", n)
	}
}

// A pipe must not wait for what comes after the packets that have arrived.
func TestPipeGivesWhatIsThere(t *testing.T) {
	want := somePackets(100)
	file := shapeNamed(t, "pcap-le-us").build(want)
	r, w := io.Pipe()
	defer w.Close()
	go w.Write(file.b)
	f, err := Open(context.Background(), "-", Options{Stdin: r})
	if err != nil {
		t.Fatal(err)
	}
	b := &ntpac.Batch{}
	for n := 0; n < 100; {
		if err := f.Next(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		n += len(b.Packets)
		b.Free()
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f, err := Open(ctx, "-", Options{Stdin: bytes.NewReader(shapeNamed(t, "snoop").build(somePackets(3)).b)})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := f.Next(ctx, &ntpac.Batch{}); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Open(ctx, "-", Options{}); err != context.Canceled {
		t.Errorf("opened though cancelled: %v", err)
	}
}

// endless repeats records for n bytes.
type endless struct {
	head, rec []byte
	left      int
	at        int
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.head) > 0 {
		n := copy(p, e.head)
		e.head = e.head[n:]
		return n, nil
	}
	if e.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, e.rec[e.at:])
	e.at = (e.at + n) % len(e.rec)
	if e.at == 0 {
		e.left--
	}
	return n, nil
}

func newEndless(t testing.TB, size, n int) *endless {
	p := pkt{testStart, 1, uint32(size), string(make([]byte, size))}
	b := shapeNamed(t, "pcap-le-us").build([]pkt{p}).b
	return &endless{head: b[:24], rec: b[24:], left: n}
}

func TestRestarts(t *testing.T) {
	f, err := Open(context.Background(), "-", Options{Stdin: newEndless(t, 60000, 3500)})
	if err != nil {
		t.Fatal(err)
	}
	b := &ntpac.Batch{}
	for f.Next(context.Background(), b) == nil {
		b.Free()
	}
	i := f.Info()
	if len(i.Restarts) != 3 || i.Packets != 3500 {
		t.Fatalf("%d restart points in %d packets", len(i.Restarts), i.Packets)
	}
	for _, r := range i.Restarts {
		if r.Off != 24+int64(r.Ord)*60016 || r.Raw != r.Off || r.High != testStart {
			t.Errorf("restart point %+v", r)
		}
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	f, err := Open(context.Background(), "-", Options{Stdin: newEndless(t, 300, 1<<20)})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 1024)}
	next := func() {
		if err := f.Next(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		b.Free()
	}
	for range 100 {
		next()
	}
	if n := testing.AllocsPerRun(500, next); n > 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

func BenchmarkRead(b *testing.B) {
	ps := somePackets(2000)
	for i := range ps {
		ps[i].data += string(make([]byte, 700))
		ps[i].wire += 700
	}
	for _, name := range []string{"pcap-le-us", "pcap-be-us", "pcapng-le-ns", "pcapng-be-us", "snoop"} {
		b.Run(name, func(b *testing.B) {
			raw := shapeNamed(b, name).build(ps).b
			batch := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 1024)}
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				f, err := Open(context.Background(), "-", Options{Stdin: bytes.NewReader(raw)})
				if err != nil {
					b.Fatal(err)
				}
				for f.Next(context.Background(), batch) == nil {
					batch.Free()
				}
				f.Close()
			}
		})
	}
}
