package artifact_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"ntpac/artifact"
)

// encode applies a coding.
func encode(coding string, b []byte) []byte {
	var o bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&o)
	case "deflate":
		w = zlib.NewWriter(&o)
	case "raw":
		w, _ = flate.NewWriter(&o, 6)
	case "br":
		w = brotli.NewWriter(&o)
	case "zstd":
		w, _ = zstd.NewWriter(&o, zstd.WithEncoderConcurrency(1))
	case "base64":
		text := base64.StdEncoding.EncodeToString(b)
		for len(text) > 76 {
			o.WriteString(text[:76] + "\r\n")
			text = text[76:]
		}
		o.WriteString(text + "\r\n")
		return o.Bytes()
	case "qp":
		for i, c := range b {
			fmt.Fprintf(&o, "=%02X", c)
			if i%20 == 19 {
				o.WriteString("=\r\n")
			}
		}
		return o.Bytes()
	case "dot":
		text := "\r\n" + string(b)
		text = strings.ReplaceAll(text, "\r\n.", "\r\n..")[2:]
		return []byte(text + "\r\n.\r\n")
	}
	w.Write(b)
	w.Close()
	return o.Bytes()
}

func sample(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 3))
	var b bytes.Buffer
	for b.Len() < n {
		switch r.IntN(6) {
		case 0:
			b.WriteString("\r\n.")
		case 1:
			b.WriteByte(byte(r.IntN(256)))
		default:
			b.WriteString("the quick brown fox ")
		}
	}
	return b.Bytes()[:n]
}

func decode(t testing.TB, names []string, src io.Reader, wrap func(io.Reader) io.Reader) ([]byte, error) {
	t.Helper()
	d, err := artifact.NewDecoder(names, src)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return io.ReadAll(wrap(d))
}

func plain(r io.Reader) io.Reader { return r }

// TestRoundTrip undoes every coding, also when bytes come or are asked for one by one.
func TestRoundTrip(t *testing.T) {
	for _, coding := range []string{"gzip", "deflate", "raw", "br", "zstd", "base64", "qp", "dot"} {
		for _, n := range []int{0, 1, 2, 3, 100, 5000, 50_000} {
			want := sample(n)
			name := coding
			if coding == "raw" {
				name = "deflate"
			}
			coded := encode(coding, want)
			if coding == "dot" {
				want = append(want[:n:n], "\r\n"...)
			}
			for i, wrap := range []func(io.Reader) io.Reader{plain, iotest.OneByteReader, iotest.HalfReader} {
				if n > 5000 && i == 1 {
					continue
				}
				got, err := decode(t, []string{name}, wrap(bytes.NewReader(coded)), wrap)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s of %d bytes, way %d: %d bytes, %v", coding, n, i, len(got), err)
				}
			}
		}
	}
}

func TestChain(t *testing.T) {
	want := sample(10_000)
	coded := encode("base64", encode("gzip", encode("br", want)))
	got, err := decode(t, []string{"base64", "gzip", "identity", "br"}, bytes.NewReader(coded), plain)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := artifact.NewDecoder([]string{"gzip", "rot13"}, nil); !errors.Is(err, artifact.ErrUnknownCoding) {
		t.Errorf("unknown coding: %v", err)
	}
}

// TestTolerance has what real senders send.
func TestTolerance(t *testing.T) {
	hello := []byte("hello, hello")
	gz := encode("gzip", hello)
	tests := []struct{ coding, in, want string }{
		{"gzip", string(gz) + "\x00\x00trailing", "hello, hello"},
		{"gzip", string(gz) + string(gz), "hello, hellohello, hello"},
		{"x-gzip", string(gz), "hello, hello"},
		{"base64", "aGVsbG8", "hello"},
		{"base64", " aGV\tsb!G8=\r\n", "hello"},
		{"base64", "aGVsbG8=aGVsbG8=", "hellohello"},
		{"base64", "-_-_", "\xfb\xff\xbf"},
		{"base64", "YQ==", "a"},
		{"base64", "Y", ""},
		{"qp", "a=3Db", "a=b"},
		{"qp", "a=3db =  \r\nc", "a=b c"},
		{"qp", "soft=\r\nbreak=\nagain", "softbreakagain"},
		{"qp", "blank  \t\r\nend  ", "blank\r\nend"},
		{"qp", "a = b =ZZ =", "a = b =ZZ "},
		{"qp", "a  b \tc", "a  b \tc"},
		{"qp", "caf\xe9 =C3=A9", "caf\xe9 \xc3\xa9"},
		{"dot", "a\r\n..b\r\n.\r\nrest", "a\r\n.b\r\n"},
		{"dot", ".\r\n", ""},
		{"dot", "..\r\n", ".\r\n"},
		{"dot", "no end\r\n.x\n.y", "no end\r\nx\n.y"},
		{"dot", "cut\r\n.", "cut\r\n"},
		{"dot", "cut\r\n.\r", "cut\r\n"},
	}
	for _, tc := range tests {
		for _, wrap := range []func(io.Reader) io.Reader{plain, iotest.OneByteReader} {
			got, err := decode(t, []string{tc.coding}, wrap(strings.NewReader(tc.in)), wrap)
			if err != nil || string(got) != tc.want {
				t.Errorf("%s %q: %q, %v, not %q", tc.coding, tc.in, got, err, tc.want)
			}
		}
	}
}

// TestDamage has codings that end early, do not add up, or are none.
func TestDamage(t *testing.T) {
	want := sample(50_000)
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		coded := encode(coding, want)
		for _, n := range []int{0, 1, 5, len(coded) / 2, len(coded) - 1} {
			got, err := decode(t, []string{coding}, bytes.NewReader(coded[:n]), plain)
			if coding == "zstd" && n == 0 && err == nil {
				continue // no frames are no bytes
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut at %d of %d: %v", coding, n, len(coded), err)
			}
			if !bytes.HasPrefix(want, got) {
				t.Errorf("%s cut at %d: not a prefix", coding, n)
			}
		}
		if _, err := decode(t, []string{coding}, strings.NewReader("<html>certainly not compressed</html>"), plain); err == nil {
			t.Errorf("%s of text decodes", coding)
		}
	}
	for coding, back := range map[string]int{"gzip": 8, "deflate": 4, "zstd": 4} {
		coded := encode(coding, want)
		coded[len(coded)-back] ^= 1
		if _, err := decode(t, []string{coding}, bytes.NewReader(coded), plain); !errors.Is(err, artifact.ErrChecksum) {
			t.Errorf("%s with a wrong checksum: %v", coding, err)
		}
	}
}

// TestBomb has limits end the decoding of bodies that burst.
func TestBomb(t *testing.T) {
	zeros := make([]byte, 4<<20)
	for _, coding := range []string{"gzip", "br", "zstd"} {
		coded := encode(coding, zeros)
		var limit *artifact.LimitError
		d, _ := artifact.Limit{MaxSize: 1 << 20}.NewDecoder([]string{coding}, bytes.NewReader(coded))
		n, err := io.Copy(io.Discard, d)
		d.Close()
		if !errors.As(err, &limit) || n != 1<<20 {
			t.Errorf("%s: %d bytes, %v", coding, n, err)
		}
		d, _ = artifact.Limit{MaxRatio: 900, FreeSize: 2 << 20}.NewDecoder([]string{coding}, bytes.NewReader(coded))
		n, err = io.Copy(io.Discard, d)
		d.Close()
		if !errors.As(err, &limit) || n < 1<<20 {
			t.Errorf("%s: %d bytes of %d, %v", coding, n, len(coded), err)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	names := []string{"gzip", "deflate", "br", "zstd", "base64", "qp", "dot"}
	for i, coding := range names {
		f.Add(byte(i), encode(coding, sample(300)))
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		coding := names[int(which)%len(names)]
		limit := artifact.Limit{MaxSize: 1 << 22}
		var sizes [2]int64
		for i, wrap := range []func(io.Reader) io.Reader{plain, iotest.HalfReader} {
			d, err := limit.NewDecoder([]string{coding}, wrap(bytes.NewReader(b)))
			if err != nil {
				t.Fatal(err)
			}
			sizes[i], err = io.Copy(io.Discard, d)
			d.Close()
			if sizes[i] > limit.MaxSize || err == io.EOF {
				t.Fatalf("%s: %d bytes, %v", coding, sizes[i], err)
			}
		}
		if sizes[0] != sizes[1] {
			t.Fatalf("%s: %d or %d bytes", coding, sizes[0], sizes[1])
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "base64", "qp", "dot"} {
		for _, n := range []int{1000, 1 << 20} {
			coded := encode(coding, sample(n))
			src := bytes.NewReader(coded)
			names := []string{coding}
			buf := make([]byte, 32<<10)
			b.Run(fmt.Sprintf("%s/%d", coding, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					src.Reset(coded)
					d, _ := artifact.NewDecoder(names, src)
					for {
						if _, err := d.Read(buf); err != nil {
							break
						}
					}
					d.Close()
				}
			})
		}
	}
}
