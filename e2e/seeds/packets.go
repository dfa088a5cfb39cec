package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"ntpac"
	"ntpac/capture"
	"ntpac/internal/pcaptest"
	"ntpac/packet"
)

// wholeCapture is the longest capture that is read to its end.
const wholeCapture = 2 << 20

// fromCapture makes seeds of one capture.
func fromCapture(ctx context.Context, c *corpus, path string) error {
	f, err := capture.Open(ctx, path, capture.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	format := f.Info().Format
	head := raw[:min(len(raw), 12<<10)]
	switch {
	case bytes.HasPrefix(raw, []byte("\x1f\x8b")) || bytes.HasPrefix(raw, []byte("\x28\xb5\x2f\xfd")):
		c.add("capture/FuzzCompressed", "", head, uint8(0), uint16(0), uint8(0), uint16(0))
	default:
		c.add(map[string]string{"pcap": "capture/FuzzPcap", "pcapng": "capture/FuzzPcapng", "snoop": "capture/FuzzSnoop"}[format], "", head)
		c.add("node/FuzzRun", "", head)
		c.add("capture/FuzzCompressed", format, head, uint8(1), uint16(0), uint8(0), uint16(0))
	}
	p := packets{c: c, flows: map[packet.RawKey]*flow{}}
	if err := p.read(ctx, f); err != nil {
		return err
	}
	p.finish()
	if len(raw) > wholeCapture {
		return nil
	}
	return fromConversations(ctx, c, path)
}

// packets makes seeds of the packets of one capture.
type packets struct {
	c     *corpus
	flows map[packet.RawKey]*flow
	order []*flow
	frags []byte
	ids   map[packet.RawKey]byte
	now   ntpac.Time // of the last fragment
}

// A flow is a TCP connection in the little language of FuzzReassembly: eight bytes a packet.
type flow struct {
	ops  []byte
	base [2]uint32 // sequence number of the first byte
	have [2]bool
	last ntpac.Time
}

func (p *packets) read(ctx context.Context, f *capture.File) error {
	b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 500)}
	for n := 0; n < 20_000; n += len(b.Packets) {
		b.Free()
		if err := f.Next(ctx, b); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, ntpac.ErrDamaged) {
				return nil
			}
			return err
		}
		for i := range b.Packets {
			p.packet(b, &b.Packets[i])
		}
		if n == 0 && len(b.Packets) > 0 && packet.Decode(b.Frame(&b.Packets[0]), &b.Packets[0]) == packet.OK {
			if err := fromBatch(ctx, p.c, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *packets) packet(b *ntpac.Batch, k *ntpac.Packet) {
	frame := bytes.Clone(b.Frame(k))
	v := packet.Decode(frame, k)
	kind := fmt.Sprint(k.Link, v, k.Proto, k.Tunnel, k.L3, k.L4, k.Flags)
	p.c.add("packet/FuzzDecode", kind, uint16(k.Link), uint16(k.Wire-k.Cap), frame)
	if k.Link == 1 {
		p.c.add("packet/FuzzOracle", kind, frame)
	}
	if v != packet.OK {
		return
	}
	var key packet.RawKey
	side := packet.Raw(frame, k, false, &key)
	switch {
	case k.Flags&ntpac.Fragment != 0:
		p.fragment(frame, k, &key)
	case k.Proto == ntpac.TCP:
		p.segment(frame, k, &key, ntpac.Dir(side))
	}
}

// fragment writes a fragment in the language of FuzzFragments: seven bytes each.
func (p *packets) fragment(frame []byte, k *ntpac.Packet, key *packet.RawKey) {
	if p.ids == nil {
		p.ids = map[packet.RawKey]byte{}
	}
	id, ok := p.ids[*key]
	if !ok {
		id = byte(len(p.ids)) & 7
		if k.Flags&ntpac.IPv6 != 0 {
			id |= 8
		}
		p.ids[*key] = id
	}
	_, off, more := packet.FragmentInfo(frame, k)
	what := byte(0)
	if more {
		what |= 1
	}
	if k.Flags&ntpac.Cut != 0 {
		what |= 2
	}
	later := min(max((k.TS-p.now)*100/ntpac.Second, 0), 31)
	if p.now == 0 {
		later = 0
	}
	p.now = k.TS
	p.frags = append(p.frags, id, byte(off/8>>8), byte(off/8), byte(k.PayLen>>8), byte(k.PayLen), what, byte(later))
	if len(p.frags) >= 7*100 {
		p.c.add("reassembly/FuzzFragments", "", p.frags)
		p.frags = nil
	}
}

// segment writes a TCP segment in the language of FuzzReassembly. A unit there is four bytes: streams are
// kept in their proportions where they are not too long.
func (p *packets) segment(frame []byte, k *ntpac.Packet, key *packet.RawKey, dir ntpac.Dir) {
	const most = 100
	f := p.flows[*key]
	if f == nil {
		f = &flow{last: k.TS}
		p.flows[*key] = f
		p.order = append(p.order, f)
	}
	if len(f.ops) >= 8*most {
		return
	}
	h := frame[k.L4:]
	seq, ack, flags := binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:]), h[13]&0x1f
	for d, s := range map[ntpac.Dir]uint32{dir: seq, dir.Other(): ack} {
		if !f.have[d] && (d == dir || flags&pcaptest.ACK != 0) {
			f.base[d], f.have[d] = s-256, true
		}
	}
	where, acked := uint16(seq-f.base[dir]), uint16(ack-f.base[dir.Other()])
	later := min(max((k.TS-f.last)*50/ntpac.Second, 0), 31)
	if k.TS-f.last > 200*ntpac.Second {
		later |= 7 << 5
	}
	f.last = k.TS
	how := byte(0)
	if k.Flags&ntpac.Cut != 0 {
		how |= 4
	}
	f.ops = append(f.ops, byte(dir)|flags<<2, byte(where>>8), byte(where), byte(min((k.PayLen+3)/4, 255)), byte(acked>>8), byte(acked), byte(later), how)
}

func (p *packets) finish() {
	if len(p.frags) > 0 {
		p.c.add("reassembly/FuzzFragments", "", p.frags)
	}
	for _, f := range p.order {
		if len(f.ops) >= 8*4 {
			p.c.add("reassembly/FuzzReassembly", fmt.Sprint(len(f.ops)), f.ops)
		}
	}
}
