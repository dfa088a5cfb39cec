package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
)

// f1Name and sumName are the rows that others are held against.
const (
	f1Name  = "F1: mmap record walk"
	sumName = "SHA-256"
)

// newWalk maps a capture, touches every page, and gives F1: a walk over the record headers, one
// after the other as their lengths lead, looking at nothing else. It counts the packets.
func newWalk(file string) (func() int64, error) {
	m, err := mapFile(file)
	if err != nil {
		return nil, err
	}
	walk, err := walker(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	sum := byte(0)
	for i := 0; i < len(m); i += 4096 {
		sum += m[i]
	}
	runtime.KeepAlive(sum) // the loads map the pages
	return func() int64 { return walk(m) }, nil
}

func walker(m []byte) (func([]byte) int64, error) {
	if len(m) < 24 {
		return nil, fmt.Errorf("%d bytes are no capture", len(m))
	}
	switch magic := binary.LittleEndian.Uint32(m); magic {
	case 0xa1b2c3d4, 0xa1b23c4d:
		return walkLittle, nil
	case 0xd4c3b2a1, 0x4d3cb2a1:
		return walkBig, nil
	case 0x0a0d0d0a:
		if bytes.Equal(m[8:12], []byte{0x4d, 0x3c, 0x2b, 0x1a}) {
			return walkNG, nil
		}
	}
	return nil, fmt.Errorf("F1 walks pcap and little-endian pcapng, uncompressed")
}

func walkLittle(m []byte) (n int64) {
	for o := 24; o+16 <= len(m); n++ {
		o += 16 + int(binary.LittleEndian.Uint32(m[o+8:]))
	}
	return n
}

func walkBig(m []byte) (n int64) {
	for o := 24; o+16 <= len(m); n++ {
		o += 16 + int(binary.BigEndian.Uint32(m[o+8:]))
	}
	return n
}

// walkNG goes from block to block and counts those with packets: 2 and 6 (the packet block and the
// enhanced one) and 3 (the simple one).
func walkNG(m []byte) (n int64) {
	for o := 0; o+12 <= len(m); {
		switch binary.LittleEndian.Uint32(m[o:]) {
		case 2, 3, 6:
			n++
		}
		size := int(binary.LittleEndian.Uint32(m[o+4:]))
		if size < 12 {
			return n
		}
		o += size
	}
	return n
}

// hashed is over how many bytes SHA-256 is timed.
const hashed = 256 << 20

func hashing(*pass) (int64, int64, error) {
	h := sha256.New()
	b := make([]byte, 1<<20)
	for range hashed / len(b) {
		h.Write(b)
	}
	runtime.KeepAlive(h.Sum(nil))
	return hashed, 0, nil
}
