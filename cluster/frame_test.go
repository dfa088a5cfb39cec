package cluster

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"ntpac"
)

// sample gives a batch of n packets with frames of various lengths, one of them a rebuilt datagram.
func sample(n int) *ntpac.Batch {
	b := &ntpac.Batch{Watermark: 77}
	mem := []byte{}
	for i := range n {
		p := ntpac.Packet{TS: ntpac.Time(i), Off: int64(100 * i), Ord: uint64(10 + 2*i), Hash: uint64(i) << 54, Pos: uint32(len(mem)),
			Cap: uint32(60 + i%1400), Wire: 2000, TunnelID: 5, Lag: 6, L3: 14, L4: 34, Pay: 54, PayLen: 1000, PayCap: uint32(6 + i%1400),
			VLAN: 8, Link: 1, Proto: ntpac.TCP, Tunnel: ntpac.GRE, Flags: ntpac.Cut}
		if i == 3 {
			p.Flags |= ntpac.Defragmented
			b.Datagrams = []ntpac.Datagram{{}, {Pieces: []ntpac.Piece{{TS: 1, Off: 2, Ord: 3, Source: 4, Index: 5, Cap: 6, Wire: 7, Pos: 8, Len: 10},
				{TS: 11, Ord: 13, Source: 14, Again: true, At: 10, Len: 50}}}}
			p.Frag = 1
		}
		for range p.Cap {
			mem = append(mem, byte(len(mem)*7+i))
		}
		b.Packets = append(b.Packets, p)
	}
	b.Blocks = []*ntpac.Block{ntpac.NewBlock(mem, nil)}
	return b
}

var testHeader = Header{Case: [16]byte{1, 2, 15: 9}, Group: 3, Source: 4, SourceEpoch: 5, Index: 6, Watermark: 7, Table: 8}

func frame(t testing.TB, b *ntpac.Batch, h Header) []byte {
	e := newEncoder(h.First)
	for i := range b.Packets {
		if ok, err := e.add(b, &b.Packets[i]); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	e.seal(&h)
	return append(bytes.Clone(e.head), e.body...)
}

func open(f []byte, b *ntpac.Batch) (Header, error) {
	if len(f) < HeaderSize {
		return Header{}, errors.New("short")
	}
	n, err := frameLength(f)
	if err != nil {
		return Header{}, err
	}
	if n != len(f) {
		return Header{}, errors.New("another length")
	}
	k := ntpac.NewBlock(f, nil)
	b.Blocks = append(b.Blocks, k)
	return decode(f, k, b)
}

// same holds received packets against those sent, from the packet i of sent on.
func same(t *testing.T, sent, got *ntpac.Batch, i int) {
	t.Helper()
	for j := range got.Packets {
		want, p := sent.Packets[i+j], got.Packets[j]
		if string(sent.Frame(&want)) != string(got.Frame(&p)) {
			t.Fatalf("packet %d has another frame", i+j)
		}
		if want.Flags&ntpac.Defragmented != 0 && !reflect.DeepEqual(sent.Datagrams[want.Frag], got.Datagrams[p.Frag]) {
			t.Errorf("packet %d has other pieces", i+j)
		}
		want.Pos, want.Blk, want.Frag = p.Pos, p.Blk, p.Frag
		if want != p {
			t.Fatalf("%+v\nwant %+v", p, want)
		}
	}
}

func TestFrame(t *testing.T) {
	for _, n := range []int{0, 1, 5, 200} {
		sent, got := sample(n), &ntpac.Batch{}
		h, err := open(frame(t, sent, testHeader), got)
		want := testHeader
		if want.First, want.Last = 10, uint64(8+2*n); n == 0 {
			want.First, want.Last = 0, ^uint64(0)
		}
		if err != nil || h != want || len(got.Packets) != n || got.Watermark != 7 {
			t.Fatalf("%d packets: %v: %+v, want %+v", n, err, h, want)
		}
		same(t, sent, got, 0)
		if k := got.Blocks[0]; k.Source != 4 || k.Index != 6 {
			t.Errorf("block of source %d, %d", k.Source, k.Index)
		}
	}
}

// A frame that cannot hold one more says so, however small or big the packets are.
func TestFull(t *testing.T) {
	for _, size := range []uint32{60, 1000, 100000, FrameSize} {
		b := &ntpac.Batch{Blocks: []*ntpac.Block{ntpac.NewBlock(make([]byte, size), nil)}}
		p := ntpac.Packet{Cap: size, L3: 14, L4: 34, Pay: 54, Proto: ntpac.UDP}
		e, n := newEncoder(0), 0
		for ; ; n++ {
			if ok, err := e.add(b, &p); err != nil {
				t.Fatal(err)
			} else if !ok {
				break
			}
			p.Ord++
		}
		e.seal(&Header{})
		f := append(bytes.Clone(e.head), e.body...)
		if _, err := open(f, &ntpac.Batch{}); err != nil || n > 1 && len(f) > FrameSize || len(f)+int(size)+RecordSize <= FrameSize && n < MaxRecords {
			t.Errorf("%v: %d packets of %d bytes made a frame of %d", err, n, size, len(f))
		}
	}
	b := &ntpac.Batch{Blocks: []*ntpac.Block{ntpac.NewBlock(make([]byte, MaxFrame), nil)}}
	e := newEncoder(0)
	if _, err := e.add(b, &ntpac.Packet{Cap: MaxFrame}); !errors.Is(err, ErrPacket) {
		t.Error(err)
	}
}

// What nobody sends is refused, with its reason.
func TestRefused(t *testing.T) {
	change := func(at int, v byte) func(f []byte) { return func(f []byte) { f[at] = v } }
	summed := func(g func(f []byte)) func(f []byte) {
		return func(f []byte) {
			g(f)
			le.PutUint32(f[84:], checksum(f[:HeaderSize], f[HeaderSize:]))
		}
	}
	rec := HeaderSize
	for name, c := range map[string]struct {
		damage func(f []byte)
		want   Reason
	}{
		"version":      {change(4, 2), WrongVersion},
		"short":        {func(f []byte) { le.PutUint32(f, HeaderSize-1) }, WrongLength},
		"long":         {func(f []byte) { le.PutUint32(f, FrameSize+1) }, WrongLength},
		"huge":         {func(f []byte) { le.PutUint32(f, MaxFrame+1); le.PutUint32(f[8:], 1) }, WrongLength},
		"many records": {func(f []byte) { le.PutUint32(f[8:], 1<<31) }, WrongLength},
		"header bit":   {change(33, 99), WrongSum},
		"payload bit":  {func(f []byte) { f[len(f)-1]++ }, WrongSum},
		"more records": {summed(func(f []byte) { f[8]++ }), WrongRecord},
		"less records": {summed(func(f []byte) { f[8]-- }), WrongRecord},
		"long packet":  {summed(change(rec+33, 99)), WrongRecord},
		"payload out":  {summed(change(rec+46, 1)), WrongRecord},
		"headers":      {summed(change(rec+56, 15)), WrongRecord},
		"transport":    {summed(change(rec+58, 35)), WrongRecord},
		"far ordinal":  {summed(change(rec+5*RecordSize-RecordSize+20, 1)), WrongRecord},
		"ordinal back": {summed(change(rec+RecordSize+16, 10)), WrongRecord},
		"no pieces":    {summed(change(rec+3*RecordSize+68, 0)), WrongRecord},
		"more pieces":  {summed(change(rec+3*RecordSize+69, 1)), WrongRecord},
		"odd pieces":   {summed(change(rec+68, 1)), WrongRecord},
	} {
		f := frame(t, sample(5), testHeader)
		c.damage(f)
		n, err := frameLength(f)
		if err == nil && n == len(f) {
			_, err = open(f, &ntpac.Batch{})
		}
		var e *Error
		if !errors.As(err, &e) || e.Reason != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, n := range []int{0, 1, 5} {
		f.Add(frame(f, sample(n), testHeader), false)
	}
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, data []byte, sum bool) {
		if len(data) < HeaderSize {
			return
		}
		if sum { // past the checksum
			le.PutUint32(data, uint32(len(data)))
			le.PutUint16(data[4:], Version)
			le.PutUint32(data[84:], checksum(data[:HeaderSize], data[HeaderSize:]))
		}
		b := &ntpac.Batch{}
		h, err := open(data, b)
		if err != nil {
			return
		}
		for i := range b.Packets {
			if p := &b.Packets[i]; len(b.Frame(p)) < int(p.Pay)+int(p.PayCap) || p.Ord < h.First || p.Ord > h.Last {
				t.Errorf("%+v", p)
			}
		}
		again := &ntpac.Batch{}
		if _, err := open(frame(t, b, h), again); err != nil && len(b.Packets) > 0 {
			t.Fatal(err)
		}
		same(t, b, again, 0)
	})
}

func BenchmarkFrame(b *testing.B) {
	in, out := sample(200), &ntpac.Batch{}
	in.Packets[3].Flags &^= ntpac.Defragmented
	e, k := newEncoder(0), ntpac.NewBlock(nil, nil)
	f := make([]byte, 0, FrameSize)
	b.ReportAllocs()
	for b.Loop() {
		for i := range in.Packets {
			_, _ = e.add(in, &in.Packets[i])
		}
		e.seal(&testHeader)
		f = append(append(f[:0], e.head...), e.body...)
		e.reset()
		out.Packets = out.Packets[:0]
		if _, err := decode(f, k, out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200, "ns/packet")
}
