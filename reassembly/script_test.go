package reassembly_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ntpac"
	"ntpac/balancer"
	"ntpac/internal/pcaptest"
	"ntpac/reassembly"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata/*.txt")

// TestScripts plays the packets of testdata/*.txt and compares what the reassembler makes of them with
// what stands below "----" there. A script line is
//
//	TIME DIR FLAGS OFFSET [ack=OFFSET] [ts=N] [id=N] [badsum] [DATA]
//
// with seconds of capture time; > or <; any of S F R P A (or . for none); offsets relative to the byte
// after the SYN; DATA quoted, or *N for N bytes of the pattern that has a fixed byte at each offset,
// or !N for other bytes than those. "udp" in place of FLAGS sends a datagram. "conf" lines set options.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			for _, block := range strings.Split(strings.TrimSpace(string(raw)), "\n\n# ") {
				in, want, _ := strings.Cut(block, "\n----")
				title, lines, _ := strings.Cut(strings.TrimPrefix(in, "# "), "\n")
				got := playScript(t, lines)
				if want = strings.TrimSpace(want); got != want && !*update {
					t.Errorf("%s: %s\ngot:\n%s\nwant:\n%s", name, title, got, want)
				}
				fmt.Fprintf(&out, "# %s\n%s\n----\n%s\n\n", title, lines, got)
			}
			if *update {
				if err := os.WriteFile(name, append(bytes.TrimSpace(out.Bytes()), '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type script struct {
	t   *testing.T
	cap *pcaptest.Capture
	con *pcaptest.Conn
	cfg reassembly.Config
	isn [2]uint32
	id  int
}

func playScript(t *testing.T, in string) string {
	t.Helper()
	s := &script{t: t, cap: pcaptest.New(), isn: [2]uint32{1000, 5000}}
	s.con = s.cap.TCP(netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:9999"))
	s.cap.Step = 0
	for _, line := range strings.Split(in, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			s.line(line)
		}
	}
	rec := play(t, s.cfg, s.cap.Frames)
	out := rec.String()
	for _, c := range []struct {
		name string
		n    uint64
	}{{"out-of-window", rec.stats.OutOfWindow}, {"late", rec.stats.Late}, {"bad-checksum", rec.stats.BadChecksum}, {"evicted", rec.stats.Evicted}} {
		if c.n > 0 {
			out += fmt.Sprintf("\n%s=%d", c.name, c.n)
		}
	}
	return out
}

func (s *script) line(line string) {
	f := strings.Fields(line)
	bad := func() { s.t.Helper(); s.t.Fatalf("bad line: %s", line) }
	if f[0] == "conf" {
		for _, o := range f[1:] {
			k, v, _ := strings.Cut(o, "=")
			n, err := strconv.ParseInt(v, 0, 64)
			if err != nil {
				bad()
			}
			switch k {
			case "window":
				s.cfg.Window = ntpac.Time(n) * 1e6
			case "isn":
				s.isn[0] = uint32(n)
			case "order":
				s.cfg.MaxOrder = int(n)
			case "held":
				s.cfg.MaxHeld = n
			case "flows":
				s.cfg.MaxFlows = int(n)
			case "snap":
				s.cap.Snap = int(n)
			case "linger":
				s.cfg.Linger = ntpac.Time(n) * 1e6
			case "checksums":
				s.cfg.Checksums = reassembly.Checksums(n)
			case "client":
				s.con.End[0] = netip.AddrPortFrom(s.con.End[0].Addr(), uint16(n))
			default:
				bad()
			}
		}
		return
	}
	sec, err := strconv.ParseFloat(f[0], 64)
	if err != nil || len(f) < 3 {
		bad()
	}
	s.cap.Now = base + ntpac.Time(sec*1e6)*1000
	dir := ntpac.Up
	if f[1] == "<" {
		dir = ntpac.Down
	}
	if f[2] == "udp" {
		d, _ := strconv.Unquote(f[3])
		s.cap.UDP(s.con.End[dir], s.con.End[dir.Other()], []byte(d))
		s.patch(f[4:])
		return
	}
	off, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil {
		bad()
	}
	s.segment(dir, f[2], off, f[4:])
}

func (s *script) segment(dir ntpac.Dir, flags string, off int64, rest []string) {
	var fl byte
	for _, c := range flags {
		fl |= map[rune]byte{'S': pcaptest.SYN, 'F': pcaptest.FIN, 'R': pcaptest.RST, 'P': pcaptest.PSH, 'A': pcaptest.ACK, '.': 0}[c]
	}
	var data []byte
	var ack uint32
	for _, r := range rest {
		switch {
		case strings.HasPrefix(r, "ack="):
			n, _ := strconv.ParseInt(r[4:], 10, 64)
			ack, fl = s.isn[dir.Other()]+1+uint32(n), fl|pcaptest.ACK
		case r[0] == '*' || r[0] == '!':
			n, _ := strconv.Atoi(r[1:])
			for i := range n {
				data = append(data, pattern(off+int64(i)))
				if r[0] == '!' {
					data[i] ^= 0x80
				}
			}
		case r[0] == '"':
			d, err := strconv.Unquote(r)
			if err != nil {
				s.t.Fatal(err)
			}
			data = []byte(d)
		}
	}
	s.con.Options = nil
	for _, r := range rest {
		if strings.HasPrefix(r, "ts=") {
			n, _ := strconv.Atoi(r[3:])
			s.con.Options = pcaptest.StampOption(uint32(n), 0)
		}
	}
	s.con.At(dir, fl, s.isn[dir]+1+uint32(off), ack, data)
	s.patch(rest)
}

// patch sets what the builder of captures does not: the IP identification, a broken checksum.
func (s *script) patch(rest []string) {
	f := s.cap.Frames[len(s.cap.Frames)-1].Data
	s.id++
	id := s.id
	for _, r := range rest {
		if strings.HasPrefix(r, "id=") {
			id, _ = strconv.Atoi(r[3:])
		}
		if r == "badsum" {
			f[14+20+16] ^= 0x55
		}
	}
	f[18], f[19] = byte(id>>8), byte(id)
	f[24], f[25] = 0, 0
}

func pattern(off int64) byte { return byte(off*7+off>>8) &^ 0x80 }

const base = ntpac.Time(1_700_000_000_000_000_000)

// play sends frames through decoding and reassembly.
func play(t testing.TB, cfg reassembly.Config, frames []pcaptest.Frame) *record {
	t.Helper()
	rec := newRecord(t)
	r := reassembly.New(cfg, rec)
	bal := balancer.New(balancer.Config{Seed: 1})
	var mem []byte
	b := &ntpac.Batch{}
	for i, f := range frames {
		b.Packets = append(b.Packets, ntpac.Packet{TS: f.TS, Ord: uint64(i), Off: int64(len(mem)), Pos: uint32(len(mem)),
			Cap: uint32(len(f.Data)), Wire: uint32(f.Wire), Link: f.Link})
		mem = append(mem, f.Data...)
	}
	b.Blocks = []*ntpac.Block{ntpac.NewBlock(mem, nil)}
	bal.Prepare(b)
	if len(b.Packets) != len(frames) {
		t.Fatalf("%d of %d frames decoded", len(b.Packets), len(frames))
	}
	for i := range b.Packets { // a batch each, so that the clock moves as it would in a slow capture
		one := &ntpac.Batch{Packets: b.Packets[i : i+1], Blocks: b.Blocks, Watermark: b.Packets[i].TS}
		r.Push(one)
	}
	r.Flush()
	rec.stats = r.Stats()
	return rec
}
