package cluster

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"ntpac"
)

// deaf is a connection that says what it was given, and takes everything.
type deaf struct {
	net.Conn
	r io.Reader
}

func (c *deaf) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c *deaf) Write(b []byte) (int, error) { return len(b), nil }
func (c *deaf) Close() error                { return nil }

// FuzzLink has both ends of a link read any bytes: the receiver frames, the sender credits. It ends, with
// a reason for what no peer sends; packets lie inside of their frames; of a source there are never more
// frames unreleased than its window, and the sender never counts more credit.
func FuzzLink(f *testing.F) {
	credit := []byte{Version, 0, kindCredit, 0, 3, 0, 0, 0, byte(testHeader.Source), 0, 0, 0, 0, 0, 0, 0}
	f.Add(frame(f, sample(5), testHeader), uint8(3))
	f.Add(slices.Concat(frame(f, sample(0), testHeader), frame(f, sample(1), testHeader), frame(f, sample(4), testHeader)[:300]), uint8(1))
	f.Add(slices.Concat(credit, credit, credit[:9]), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, hold uint8) {
		const window = 4
		sums(data)
		r := NewReceiver(&deaf{r: bytes.NewReader(data)}, window)
		var held []*ntpac.Batch
		var err error
		for err == nil {
			b := &ntpac.Batch{}
			if _, err = r.Next(b); err != nil {
				if len(b.Packets) > 0 || len(b.Blocks) > 0 {
					t.Fatalf("packets together with %v", err)
				}
				break
			}
			for i := range b.Packets {
				if p := &b.Packets[i]; len(b.Frame(p)) < int(p.Pay)+int(p.PayCap) {
					t.Fatalf("%+v", p)
				}
			}
			if held = append(held, b); len(held) > int(hold%window) {
				held[0].Free()
				held = held[1:]
			}
			for _, a := range r.sources {
				if a.out < 0 || a.out > window || a.owed > a.out {
					t.Fatalf("%+v", a)
				}
			}
			r.collect(nil)
		}
		var refused *Error
		if !errors.As(err, &refused) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		s := NewSender(&deaf{r: bytes.NewReader(data)}, window)
		st := s.Stream(testHeader)
		if err := s.Credits(); err == nil {
			t.Fatal("a link ends without a reason")
		}
		if st.credit > window && !errors.As(s.err, &refused) {
			t.Fatalf("credit for %d frames", st.credit)
		}
	})
}

// sums puts the right checksums to whatever looks like frames.
func sums(data []byte) {
	for len(data) >= HeaderSize {
		n, err := frameLength(data)
		if err != nil || n > len(data) {
			return
		}
		le.PutUint32(data[84:], checksum(data[:HeaderSize], data[HeaderSize:n]))
		data = data[n:]
	}
}
