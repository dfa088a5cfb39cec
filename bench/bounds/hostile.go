package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
)

// conn writes one connection.
type conn struct {
	w        *bufio.Writer
	id       int
	port     uint16
	seq, ack uint32
	k, n     int64 // of the time
}

func (c *conn) put(up bool, flags byte, data []byte) error {
	f := newFrame(6, tcpData, len(data))
	copy(f.b[tcpData:], data)
	if up {
		f.ends(client(c.id), server, 20000, c.port)
		f.tcp(flags, c.seq, c.ack)
		c.seq += uint32(len(data))
	} else {
		f.ends(server, client(c.id), c.port, 20000)
		f.tcp(flags, c.ack, c.seq)
		c.ack += uint32(len(data))
	}
	if flags&(syn|fin) != 0 {
		if up {
			c.seq++
		} else {
			c.ack++
		}
	}
	f.at(min(c.k, c.n), c.n)
	c.k++
	f.sumTCP()
	_, err := c.w.Write(f.b)
	return err
}

// say sends data in segments, acknowledged at the end.
func (c *conn) say(up bool, data []byte) error {
	for len(data) > 0 {
		n := min(len(data), 1460)
		if err := c.put(up, psh|ack, data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return c.put(!up, ack, nil)
}

func (c *conn) open() error {
	for i, flags := range []byte{syn, syn | ack, ack} {
		if err := c.put(i != 1, flags, nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) close() error {
	for i, flags := range []byte{fin | ack, fin | ack, ack} {
		if err := c.put(i != 1, flags, nil); err != nil {
			return err
		}
	}
	return nil
}

// bombs are answers of HTTP that are a thousand times as long as what is sent of them.
func bombs(w *bufio.Writer, n int) error {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	zeros := make([]byte, 1<<20)
	for range 256 {
		if _, err := z.Write(zeros); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", packed.Len())
	answer = append(answer, packed.Bytes()...)
	if err := fileHeader(w); err != nil {
		return err
	}
	var k int64
	for i := range n {
		c := &conn{w: w, id: i, port: 80, seq: 99, ack: 199, k: k, n: int64(n) * 300}
		for _, step := range []func() error{c.open,
			func() error { return c.say(true, []byte("GET /bomb HTTP/1.1\r\nHost: h\r\n\r\n")) },
			func() error { return c.say(false, answer) }, c.close} {
			if err := step(); err != nil {
				return err
			}
		}
		k = c.k
	}
	return nil
}

// holes is one conversation of which every other segment is missing, and acknowledged.
func holes(w *bufio.Writer, n int) error {
	if err := fileHeader(w); err != nil {
		return err
	}
	c := &conn{w: w, port: 9, seq: 99, ack: 199, n: 2*int64(n) + 10}
	if err := c.open(); err != nil {
		return err
	}
	for range n {
		if err := c.say(true, []byte("here it is")); err != nil {
			return err
		}
		c.seq += 10
	}
	return c.close()
}
