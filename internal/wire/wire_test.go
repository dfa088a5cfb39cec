package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestFields(t *testing.T) {
	r := New([]byte{1, 0, 2, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6,
		7, 0, 8, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 2, 'a', 'b', 0, 1, 'c', 0, 0, 0, 0, 2, 0xff, 0xfe})
	for i, got := range []uint64{uint64(r.U8()), uint64(r.U16()), uint64(r.U24()), uint64(r.U32()), r.U48(), r.U64(),
		uint64(r.U16LE()), uint64(r.U24LE()), uint64(r.U32LE()), r.U64LE()} {
		if got != uint64(i+1) {
			t.Errorf("field %d: %d", i, got)
		}
	}
	if s := r.Vec8(); string(s) != "ab" {
		t.Errorf("Vec8: %q", s)
	}
	if s := r.Vec16(); string(s) != "c" {
		t.Errorf("Vec16: %q", s)
	}
	if s := r.Vec24(); s == nil || len(s) != 0 {
		t.Errorf("an empty vector: %v", s)
	}
	sub := r.Sub16()
	if sub.U16() != 0xfffe || !sub.Empty() || !sub.OK() || !r.Empty() || !r.OK() {
		t.Errorf("Sub16: %v %v", sub, r)
	}
}

func TestViolationSticks(t *testing.T) {
	r := New([]byte{0, 9, 1})
	if r.Peek(4) != nil || !r.OK() {
		t.Error("Peek behind the end")
	}
	sub := r.Sub16()
	if sub.OK() || r.OK() || r.Len() != 0 || r.U8() != 0 || sub.U8() != 0 || !errors.Is(r.Err(), ErrShort) {
		t.Errorf("%v %v", r, sub)
	}
	r.Fail(errors.New("another"))
	if !errors.Is(r.Err(), ErrShort) {
		t.Error("the first violation was replaced")
	}
	r = New([]byte{1})
	if r.Seek(2); r.OK() {
		t.Error("Seek behind the end")
	}
	if r = New([]byte{1}); r.Bytes(-1) != nil || r.OK() {
		t.Error("negative length")
	}
}

// FuzzReader does what the script says to the data, and expects that no read leaves the bounds.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07"), []byte("\x03abc\x00\x04abcd\x00\x00\x01x"))
	f.Fuzz(func(t *testing.T, script, data []byte) {
		r := New(data)
		for _, op := range script {
			before := r.Off()
			var got []byte
			switch op % 12 {
			case 0:
				got = r.Vec8()
			case 1:
				got = r.Vec16()
			case 2:
				got = r.Vec24()
			case 3:
				s := r.Sub8()
				got = s.Rest()
			case 4:
				r.U64()
			case 5:
				r.U32LE()
			case 6:
				r.U48()
			case 7:
				r.Seek(int(op))
				continue
			case 8:
				got = r.Bytes(int(op))
			case 9:
				r.U24LE()
			case 10:
				r.U8()
			case 11:
				r.U16()
			}
			if r.Off() < before || r.Off() > len(data) {
				t.Fatalf("cursor went from %d to %d of %d", before, r.Off(), len(data))
			}
			if got != nil && !bytes.Equal(got, data[r.Off()-len(got):r.Off()]) {
				t.Fatalf("wrong bytes at %d", r.Off())
			}
		}
	})
}
