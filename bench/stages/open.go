package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"ntpac"
	"ntpac/capture"
)

const (
	synSize    = 54 // Ethernet, IPv4, TCP
	helloSize  = synSize + 16
	openWithin = 500 * ntpac.Second // all conversations begin in this time: none is idle before the last one
	openSince  = 1_700_000_000 * ntpac.Second
)

// manyOpen has the product read a capture of conversations that begin, one after another, and never end:
// what they are is all in memory at its end.
func (o *options) manyOpen() func(*pass) (int64, error) {
	if o.ntpac == "" {
		return nil
	}
	return func(p *pass) (int64, error) {
		dir, err := os.MkdirTemp(o.tmp, "ntpac-open-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		return 0, o.product(1, dir, p.file, "--snoop", "none", "--max-flows", strconv.Itoa(o.flows*5/4+5*ntpac.Shards))
	}
}

// openCapture gives the capture of many open conversations, made where it is not there yet.
func (o *options) openCapture() (string, error) {
	file := filepath.Join(o.out, fmt.Sprintf("open-%d.pcap", o.flows))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return "", err
	}
	part := file + ".part"
	if err := writeOpen(part, o.flows); err != nil {
		return "", err
	}
	return file, os.Rename(part, file)
}

// measureOpen measures how much memory the open conversations take, and how fast they are reassembled
// beside the peer.
func (t *table) measureOpen(ctx context.Context, o *options) error {
	open := *o
	open.n = 1
	var err error
	if open.capture, err = o.openCapture(); err != nil {
		return err
	}
	if o.ntpac != "" {
		c, err := inChild(ctx, &open, openName)
		if err != nil {
			return err
		}
		t.checks = append(t.checks, check{name: fmt.Sprintf("%d %s, peak memory", o.flows, openName), value: float64(c.Peak) / 1e6, gate: 1000, unit: "MB", atMost: true})
	}
	if !o.peers {
		return nil
	}
	ours, err := inChild(ctx, &open, reassembleName)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.tmp, "ntpac-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	theirs, err := peers[0].run(ctx, &open, dir, 1)
	if err != nil {
		return err
	}
	t.checks = append(t.checks, check{name: fmt.Sprintf("%s, over %s, %d open conversations", reassembleName, gopacket, o.flows),
		value: float64(theirs.CPU) / float64(ours.CPU), gate: 4, unit: "times"})
	return nil
}

// writeOpen writes a SYN and a few bytes of each conversation.
func writeOpen(file string, flows int) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := capture.NewWriter(f, capture.PCAP)
	var frame [helloSize]byte
	for i := range flows {
		ts := openSince + ntpac.Time(i)*(openWithin/ntpac.Time(flows))
		for k, n := range [2]uint32{synSize, helloSize} {
			segment(frame[:n], i, k)
			if err = w.Packet(ts+ntpac.Time(k)*1000, 1, n, frame[:n]); err != nil {
				break
			}
		}
	}
	return errors.Join(err, w.Flush(), f.Close())
}

// segment writes the frame k of a client of its own: the SYN, then a request.
func segment(f []byte, flow, k int) {
	be := binary.BigEndian
	clear(f)
	f[12], f[14], f[22], f[23] = 8, 0x45, 64, 6
	be.PutUint16(f[16:], uint16(len(f)-14))
	be.PutUint32(f[26:], 10<<24|uint32(flow>>4))
	be.PutUint32(f[30:], 192<<24|168<<16|1)
	be.PutUint16(f[34:], uint16(20000+flow&15))
	be.PutUint16(f[36:], 443)
	be.PutUint32(f[38:], uint32(1000+k))
	f[46], f[47] = 5<<4, [2]byte{0x02, 0x18}[k]
	be.PutUint16(f[48:], 65535)
	for i := synSize; i < len(f); i++ {
		f[i] = byte('a' + i%26)
	}
}
