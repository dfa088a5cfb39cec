package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/netip"
	"slices"
)

// sight is what of one direction is in the capture, and what its packets prove.
type sight struct {
	frames      int64
	whole       int64 // packets, none twice
	first, last int64 // of those, nanoseconds
	final       int64 // of all
	opening     bool  // a SYN of either side is captured: it tells who is the client
	fin         bool  // a FIN or RST of this direction is captured: it tells where the direction ends
	seqs        [3]struct {
		known bool
		at    int64 // relative to base
	}
	based       bool
	base        uint32
	once, every hash.Hash // of datagrams
	recent
}

// What a sight knows of sequence numbers.
const (
	start = iota // offset 0: its own SYN or the answer to it is captured
	end          // behind the last captured byte
	acked        // what the other direction acknowledges
)

// relative gives a sequence number relative to the first one that was seen. The generator's streams are
// far shorter than 2 GB.
func (s *sight) relative(seq uint32) int64 {
	if !s.based {
		s.based, s.base = true, seq
	}
	return int64(int32(seq - s.base))
}

func (s *sight) reach(what int, seq uint32) {
	x, at := &s.seqs[what], s.relative(seq)
	if !x.known || at > x.at {
		x.known, x.at = true, at
	}
}

// sights finds in the capture what every conversation of the truth has there.
func (t *truth) sights(path string) error {
	byEnds := map[[2]netip.AddrPort][]*talk{}
	for _, c := range t.convs {
		k, err := c.key()
		if err != nil {
			return err
		}
		byEnds[k] = append(byEnds[k], c)
		c.sight = [2]*sight{{}, {}}
	}
	var lost error
	err := frames(path, func(f *frame) {
		c, dir := find(byEnds, f)
		if c == nil {
			lost = fmt.Errorf("a frame of %v to %v at %d is of no conversation in the truth", f.from, f.to, f.at)
			return
		}
		c.see(dir, f)
	})
	if err != nil {
		return err
	}
	return lost
}

func (c *talk) key() (k [2]netip.AddrPort, err error) {
	for i, e := range []struct {
		ip   string
		port uint16
	}{{c.Client, c.CPort}, {c.Server, c.SPort}} {
		a, err := netip.ParseAddr(e.ip)
		if err != nil {
			return k, err
		}
		k[i] = netip.AddrPortFrom(a, e.port)
	}
	return k, nil
}

// fragmentTime is how much longer than its conversation a packet in fragments may take: a microsecond
// each.
const fragmentTime = 64_000

// find gives the conversation of a frame, by its ends and its time: ports are used again.
func find(byEnds map[[2]netip.AddrPort][]*talk, f *frame) (*talk, int) {
	for dir, k := range [][2]netip.AddrPort{{f.from, f.to}, {f.to, f.from}} {
		for _, c := range byEnds[k] {
			if (c.L4 == "tcp") == f.tcp && f.at >= c.StartNS-c.StartNS%1000 && f.at <= c.EndNS+fragmentTime {
				return c, dir
			}
		}
	}
	return nil, 0
}

// see enters a frame. The conversation begins and ends with packets that are whole, and one that was
// captured twice is none: semantics, "Duplicate". The product may miss that: it remembers few packets.
func (c *talk) see(dir int, f *frame) {
	me, peer := c.sight[dir], c.sight[1-dir]
	me.frames++
	if f.part {
		return
	}
	me.final = f.at
	again, proved := me.recent.again(f)
	if !proved {
		if me.whole == 0 {
			me.first = f.at
		}
		me.whole++
		me.last = f.at
	}
	if f.tcp {
		me.segment(peer, f)
	} else {
		me.datagram(f, again, proved)
	}
}

func (s *sight) segment(peer *sight, f *frame) {
	if f.flags&flagSYN != 0 {
		s.reach(start, f.seq+1)
		s.opening, peer.opening = true, true
		if f.flags&flagACK != 0 {
			peer.reach(start, f.ack)
		}
	} else if len(f.payload) > 0 {
		s.reach(end, f.seq+uint32(len(f.payload)))
	}
	if f.flags&flagACK != 0 {
		peer.reach(acked, f.ack)
	}
	s.fin = s.fin || f.flags&(flagFIN|flagRST) != 0
}

// datagram sums the datagrams of a direction. What the capture has twice is one datagram for the truth.
// The product can know that only where the IP identification says so: an application may send equal
// datagrams. So there are two sums, one without any repetition and one without the proved ones.
func (s *sight) datagram(f *frame, again, proved bool) {
	if s.once == nil {
		s.once, s.every = sha256.New(), sha256.New()
	}
	if !again {
		s.once.Write(f.payload)
	}
	if !proved {
		s.every.Write(f.payload)
	}
}

func (s *sight) sums() (once, every string) {
	return hex.EncodeToString(s.once.Sum(nil)), hex.EncodeToString(s.every.Sum(nil))
}

// recent are the packets of a direction within the time in which one may be captured twice.
type recent []sent

type sent struct {
	at   int64
	id   uint16
	data []byte
}

// repeatTime is how far apart a repetition may be.
const repeatTime = 50e6

// again reports whether a packet equals an earlier one, and whether that proves that it is the same one:
// by the IP identification, and for TCP also where there is none.
func (r *recent) again(f *frame) (again, proved bool) {
	for len(*r) > 0 && f.at-(*r)[0].at > repeatTime {
		*r = (*r)[1:]
	}
	data := slices.Concat(f.header, f.payload)
	for _, x := range *r {
		if bytes.Equal(x.data, data) {
			again = true
			proved = proved || x.id == f.id && (f.tcp || x.id != 0)
		}
	}
	*r = append(*r, sent{f.at, f.id, data})
	return again, proved
}
