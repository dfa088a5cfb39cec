package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// frame is a captured frame; equal frames are equal in every byte.
type frame struct {
	sec, nano uint32
	wire      uint32
	sum       [sha256.Size]byte
}

var errNotPlain = errors.New("not a plain pcap")

// readFrames reads a pcap, without any of the product's code. What is cut at its end is left out.
func readFrames(file string) ([]frame, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(b) < 24 {
		return nil, errNotPlain
	}
	var order binary.ByteOrder = binary.LittleEndian
	unit := uint32(0)
	for range 2 {
		switch order.Uint32(b) {
		case 0xa1b2c3d4:
			unit = 1000
		case 0xa1b23c4d:
			unit = 1
		}
		if unit != 0 {
			break
		}
		order = binary.BigEndian
	}
	if unit == 0 {
		return nil, errNotPlain
	}
	var frames []frame
	for b = b[24:]; len(b) >= 16; {
		n := order.Uint32(b[8:])
		if uint64(n) > uint64(len(b)-16) {
			break
		}
		sub := uint64(order.Uint32(b[4:])) * uint64(unit)
		f := frame{sec: order.Uint32(b) + uint32(sub/1e9), nano: uint32(sub % 1e9), wire: order.Uint32(b[12:]), sum: sha256.Sum256(b[16 : 16+n])}
		frames, b = append(frames, f), b[16+n:]
	}
	if len(b) > 0 && len(frames) == 0 {
		return nil, fmt.Errorf("%s: no packet could be read", file)
	}
	return frames, nil
}

// reorderWindow is the default of --reorder-window, in seconds.
const reorderWindow = 1

// disorder is by how many seconds the time of a capture runs back at most.
func disorder(fs []frame) (most float64) {
	high := 0.0
	for i := range fs {
		at := float64(fs[i].sec) + float64(fs[i].nano)/1e9
		high = max(high, at)
		most = max(most, high-at)
	}
	return most
}
