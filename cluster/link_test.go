package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"ntpac"
)

// loopback gives both ends of a TCP connection.
func loopback(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// slow reads as little at a time as a network may give.
type slow struct {
	net.Conn
	r io.Reader
}

func (s *slow) Read(b []byte) (int, error) { return s.r.Read(b) }

// link makes both ends and runs their credits; ended gets what those say when they end.
func link(t testing.TB, a, b net.Conn, window int) (s *Sender, r *Receiver, ended chan error) {
	s, r = NewSender(a, window), NewReceiver(b, window)
	ended = make(chan error, 2)
	go func() { ended <- s.Credits() }()
	go func() { ended <- r.Credits() }()
	t.Cleanup(func() { s.Close(); r.Close() })
	return s, r, ended
}

// deliver sends a batch several times over a link and compares all that comes out.
func deliver(t *testing.T, s *Sender, r *Receiver, sent *ntpac.Batch, times int) {
	ctx := t.Context()
	done := make(chan error, 1)
	go func() {
		st := s.Stream(testHeader)
		for k := range times {
			for i := range sent.Packets {
				p := sent.Packets[i]
				p.Ord += uint64(k) << 32
				if err := st.Add(ctx, sent, &p); err != nil {
					done <- err
					return
				}
			}
		}
		err := st.Flush(ctx)
		done <- errors.Join(err, s.Finish())
	}()
	b := &ntpac.Batch{}
	n, last := 0, uint64(0)
	for {
		h, err := r.Next(b)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.First < last || len(b.Packets) > 0 && (h.First != b.Packets[0].Ord || h.Last != b.Packets[len(b.Packets)-1].Ord) {
			t.Fatalf("%v after %d", h, last)
		}
		last = h.Last
		for i := range b.Packets {
			b.Packets[i].Ord &= 1<<32 - 1
			one := &ntpac.Batch{Packets: b.Packets[i : i+1], Blocks: b.Blocks, Datagrams: b.Datagrams}
			same(t, sent, one, (n+i)%len(sent.Packets))
		}
		n += len(b.Packets)
		b.Free()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n != times*len(sent.Packets) || r.Received().Packets != uint64(n) {
		t.Errorf("%d packets of %d came", n, times*len(sent.Packets))
	}
}

func TestLink(t *testing.T) {
	for name, conns := range map[string]func() (a, b net.Conn){
		"pipe": func() (net.Conn, net.Conn) { return net.Pipe() },
		"tcp":  func() (net.Conn, net.Conn) { return loopback(t) },
		"partial reads": func() (net.Conn, net.Conn) {
			a, b := loopback(t)
			return a, &slow{b, iotest.HalfReader(b)}
		},
		"byte by byte": func() (net.Conn, net.Conn) {
			a, b := net.Pipe()
			return a, &slow{b, iotest.OneByteReader(b)}
		},
	} {
		for _, window := range []int{1, 3, 32} {
			a, b := conns()
			s, r, ended := link(t, a, b, window)
			times := 40
			if name == "byte by byte" {
				times = 1
			}
			deliver(t, s, r, sample(100), times)
			r.Close()
			for range 2 {
				if err := <-ended; err != nil && name != "pipe" && name != "byte by byte" { // those have no half close
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// A packet longer than a buffer has a frame of its own, and never needs more credit than there can be.
func TestLongPackets(t *testing.T) {
	sent := &ntpac.Batch{Blocks: []*ntpac.Block{ntpac.NewBlock(make([]byte, 4<<20), nil)}}
	for i, n := range []uint32{100, 4 << 20, 60, 300000, 300000, 4 << 20} {
		sent.Packets = append(sent.Packets, ntpac.Packet{Ord: uint64(i), Cap: n, L3: 14, L4: 34, Pay: 54})
	}
	for _, window := range []int{1, 2, 5, 8} {
		a, b := loopback(t)
		s, r, _ := link(t, a, b, window)
		deliver(t, s, r, sent, 3)
	}
}

// The sender stops when nothing is released, and goes on when something is.
func TestCredit(t *testing.T) {
	a, b := loopback(t)
	s, r, _ := link(t, a, b, 4)
	st := s.Stream(testHeader)
	for range 4 {
		if err := st.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := st.Flush(stopped); !errors.Is(err, context.Canceled) {
		t.Fatalf("a fifth frame went out: %v", err)
	}
	var batches [4]ntpac.Batch
	for i := range batches {
		if _, err := r.Next(&batches[i]); err != nil {
			t.Fatal(err)
		}
	}
	other := s.Stream(Header{Source: 99})
	if err := other.Flush(stopped); err != nil {
		t.Errorf("one source without credit stopped another: %v", err)
	}
	batches[2].Free()
	if err := st.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := st.Flush(stopped); !errors.Is(err, context.Canceled) {
		t.Fatalf("more than was released: %v", err)
	}
}

// A sender that takes more than it was given is refused: that is what bounds the receiver's memory.
func TestNoCredit(t *testing.T) {
	a, b := loopback(t)
	s, r, _ := link(t, a, b, 2)
	s.window = 100
	st := s.Stream(testHeader)
	for range 3 {
		if err := st.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var in ntpac.Batch
	for range 2 {
		if _, err := r.Next(&in); err != nil {
			t.Fatal(err)
		}
	}
	var e *Error
	if _, err := r.Next(&in); !errors.As(err, &e) || e.Reason != TooMany || r.Received().Refused[TooMany] != 1 {
		t.Error(err)
	}
}

// A connection cut anywhere is an error at the receiver, unless it is between two frames; the sender
// learns of it too.
func TestCut(t *testing.T) {
	f := frame(t, sample(5), testHeader)
	for n := range len(f) + 1 {
		a, b := net.Pipe()
		r := NewReceiver(b, 0)
		go func() {
			_, _ = a.Write(f[:n])
			a.Close()
		}()
		var in ntpac.Batch
		_, err := r.Next(&in)
		switch {
		case n == 0 && err != io.EOF, n > 0 && n < len(f) && !errors.Is(err, io.ErrUnexpectedEOF), n == len(f) && err != nil:
			t.Fatalf("cut at %d: %v", n, err)
		}
		r.Close()
	}
	a, b := loopback(t)
	s, _, _ := link(t, a, b, 1)
	st := s.Stream(testHeader)
	b.Close()
	var err error
	for range 100 { // the first may still find room in the kernel
		if err = st.Flush(t.Context()); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("frames go on into nothing")
	}
}

// A receiver counts what it refuses.
func TestRefuses(t *testing.T) {
	f := frame(t, sample(5), testHeader)
	f[4] = 9
	a, b := net.Pipe()
	go a.Write(f)
	r := NewReceiver(b, 0)
	defer r.Close()
	var in ntpac.Batch
	if _, err := r.Next(&in); err == nil || r.Received().Refused[WrongVersion] != 1 || len(in.Packets) != 0 {
		t.Errorf("%v: %+v", err, r.Received())
	}
	for name, m := range map[string][creditSize]byte{"version": {}, "source": {Version, 0, kindCredit, 0, 1}, "too much": {Version, 0, kindCredit, 0, 255, 8: 4}} {
		s := NewSender(a, 0)
		s.Stream(testHeader)
		if s.credit(&m) == nil {
			t.Errorf("%s: a credit that nobody gives was taken", name)
		}
	}
}

// Both ends together allocate nothing once their buffers are there.
func TestAllocations(t *testing.T) {
	a, b := loopback(t)
	s, r, _ := link(t, a, b, 8)
	sent, in := sample(200), &ntpac.Batch{}
	sent.Packets[3].Flags &^= ntpac.Defragmented
	st := s.Stream(testHeader)
	ord := uint64(0)
	round := func() {
		for i := range sent.Packets {
			p := &sent.Packets[i]
			p.Ord = ord
			ord++
			if err := st.Add(t.Context(), sent, p); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(in); err != nil {
			t.Fatal(err)
		}
		in.Free()
	}
	for range 20 {
		round()
	}
	if n := testing.AllocsPerRun(50, round); n > 0 {
		t.Errorf("%v allocations for %d packets", n, len(sent.Packets))
	}
}
