package embedded

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"ntpac"
	"ntpac/store/row"
)

// FuzzSegment reads any bytes as a segment file, at any place.
func FuzzSegment(f *testing.F) {
	key := []byte("the key")
	packed := row.Pack(nil, []byte("some bytes, some bytes, some bytes, some bytes, some bytes"))
	file := append(appendRecordHead(appendHeader(nil, "a case"), recChunk, key, len(packed), 58), packed...)
	f.Add(file, int64(22), uint32(len(packed)))
	f.Add(file, int64(0), uint32(10))
	f.Add(file[:30], int64(22), uint32(1<<29))
	dir := f.TempDir()
	opt := &Options{}
	f.Fuzz(func(t *testing.T, file []byte, off int64, stored uint32) {
		s, err := openSeries(dir, "a case", opt)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if err := os.WriteFile(filepath.Join(dir, "000001.seg"), file, 0o644); err != nil {
			t.Fatal(err)
		}
		var buf []byte
		b, err := s.read(place{seg: 1, off: off & (1<<62 - 1), stored: stored & (maxStored - 1)}, recChunk, key, &buf)
		if err == nil && len(b) != int(stored&(maxStored-1)) {
			t.Fatalf("%d bytes instead of %d", len(b), stored)
		}
		if cap(buf) > 2*(len(file)+64) {
			t.Fatalf("%d bytes of memory for a file of %d", cap(buf), len(file))
		}
	})
}

// FuzzValue reads any bytes as values of the index.
func FuzzValue(f *testing.F) {
	c := &ntpac.Conversation{ID: crashID(1)}
	v := append(make([]byte, 12), here, 3, 'a', 'b', 'c')
	f.Add(row.AppendConversation(v, c))
	f.Add(row.AppendConversation(place{1, 2, 3, 4, 5}.append(append(make([]byte, 12), there)), c))
	f.Add(place{1, 1 << 40, 3, 4, 5}.append(make([]byte, 8)))
	src, err := encodeSource(&ntpac.SourceInfo{ID: 3, Name: "a.pcap", SHA256: ntpac.Hash{1}, Damage: []ntpac.Damage{{Off: 1, Len: 2, Reason: "x"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src)
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseConv(b); err == nil && len(p.row) > len(b) {
			t.Fatal("a row longer than its value")
		}
		if _, p, err := parseChunk(b); err == nil {
			if q, rest, err := parsePlace(p.append(nil)); err != nil || q != p || len(rest) > 0 {
				t.Fatalf("place %v reads as %v", p, q)
			}
		}
		if how, at, packed, rest, err := parseAnywhere(b); err == nil && len(packed)+len(rest) > len(b) {
			t.Fatal(how, at)
		}
		if i, err := decodeSource(b); err == nil {
			b, err := encodeSource(&i)
			if err != nil {
				t.Fatal(err)
			}
			if j, err := decodeSource(b); err != nil || !reflect.DeepEqual(i, j) {
				t.Fatalf("source %+v reads as %+v (%v)", i, j, err)
			}
		}
	})
}
