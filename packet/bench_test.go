package packet

import (
	"testing"

	"ntpac"
)

// hot measures decoding, and decoding with key and hash, of one frame that stays in the cache.
func hot(b *testing.B, name string, hash bool) {
	var s sample
	for _, c := range samples() {
		if c.name == name {
			s = c
		}
	}
	p := ntpac.Packet{Link: s.link, Cap: uint32(len(s.frame)), Wire: uint32(len(s.frame))}
	var k RawKey
	var sum uint64
	b.ReportAllocs()
	for b.Loop() {
		if Decode(s.frame, &p) != OK {
			b.Fatal(name)
		}
		if hash {
			Raw(s.frame, &p, false, &k)
			sum += Hash(&k, 7)
		}
	}
	p.Hash = sum
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"tcp", "udp", "tcp6", "vlan", "sll", "vxlan", "gre"} {
		b.Run(name, func(b *testing.B) { hot(b, name, false) })
	}
}

func BenchmarkDecodeHash(b *testing.B) {
	for _, name := range []string{"tcp", "udp", "tcp6", "vlan", "vxlan"} {
		b.Run(name, func(b *testing.B) { hot(b, name, true) })
	}
}

func BenchmarkHash(b *testing.B) {
	for _, name := range []string{"tcp", "tcp6"} {
		b.Run(name, func(b *testing.B) {
			for _, s := range samples() {
				if s.name == name {
					p, _ := decode(s.link, s.frame, len(s.frame))
					var k RawKey
					Raw(s.frame, &p, false, &k)
					var sum uint64
					for b.Loop() {
						sum += Hash(&k, sum)
					}
				}
			}
		})
	}
}
