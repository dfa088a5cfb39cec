package packet

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
)

// keyOf gives the raw key of a UDP datagram between two end points.
func keyOf(t *testing.T, src, dst netip.AddrPort) (RawKey, ntpac.Side, ntpac.FlowKey) {
	t.Helper()
	f := pcaptest.Ether(pcaptest.IP(src.Addr(), dst.Addr(), ntpac.UDP, pcaptest.UDP(src, dst, nil)))
	p, v := decode(linkEthernet, f, len(f))
	if v != OK {
		t.Fatal(v)
	}
	var k RawKey
	side := Raw(f, &p, false, &k)
	key, _ := Key(f, &p, false)
	return k, side, key
}

func addr(r *rand.Rand, v6 bool) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32() & 3) // few values, so that parts are often equal
	}
	if v6 {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

// Both directions have one key and one hash, from the two sides, sorted as the vocabulary sorts.
func TestKeyIsSymmetric(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		src := netip.AddrPortFrom(addr(r, i&1 == 1), uint16(r.Uint32()&3))
		dst := netip.AddrPortFrom(addr(r, i&1 == 1), uint16(r.Uint32()&3))
		k, from, key := keyOf(t, src, dst)
		o, back, _ := keyOf(t, dst, src)
		if k != o || Hash(&k, 5) != Hash(&o, 5) {
			t.Fatalf("%v %v: the directions differ", src, dst)
		}
		if src != dst && from == back {
			t.Fatalf("%v %v: both from side %v", src, dst, from)
		}
		if key.End[0].Compare(key.End[1]) > 0 || key.End[from] != src {
			t.Fatalf("%v %v: key %+v, side %v", src, dst, key, from)
		}
		if k.FlowKey() != key || RawOf(key) != k {
			t.Fatalf("%v %v: raw key and flow key differ", src, dst)
		}
	}
}

// patterns are ways in which the keys of one network resemble each other.
var patterns = map[string]func(i uint64) RawKey{
	"client ports":   func(i uint64) RawKey { return v4(0x0a000001, 0x0a000002, 80, 1024+i) },
	"client hosts":   func(i uint64) RawKey { return v4(0x0a000000+i, 0xc0a80001, 443, 50000) },
	"server hosts":   func(i uint64) RawKey { return v4(0x0a000001, 0x0b000000+i<<8, 443, 50000) },
	"port pairs":     func(i uint64) RawKey { return v4(0x0a000001, 0x0a000002, i&0xff, i>>8) },
	"hosts in step":  func(i uint64) RawKey { return v4(0x0a000000+i, 0x0a800000+i, 5000, 5000) },
	"ports in step":  func(i uint64) RawKey { return v4(0x0a000001, 0x0a000002, i, i) },
	"vni":            func(i uint64) RawKey { k := v4(1, 2, 3, 4); k.tunnel = uint32(i); return k },
	"vlan":           func(i uint64) RawKey { k := v4(1, i>>12, 3, 4); k.meta |= i & 0xfff << 32; return k },
	"v6 interfaces":  func(i uint64) RawKey { return v6(i, 0x1234, 443, 50000) },
	"v6 ports":       func(i uint64) RawKey { return v6(7, 8, 443, i) },
	"v6 both":        func(i uint64) RawKey { return v6(i&0xff, i>>8, 443, 50000) },
	"identification": func(i uint64) RawKey { k := v4(1, 2, 0, 0); k.ports = uint32(i); k.meta |= kindFragment; return k },
}

func v4(a, b, ap, bp uint64) RawKey {
	return RawKey{a: [2]uint64{0, a}, b: [2]uint64{0, b}, ports: uint32(ap<<16 | bp&0xffff), meta: 6 << 16}
}

func v6(a, b, ap, bp uint64) RawKey {
	k := v4(a, b, ap, bp)
	k.a[0], k.b[0], k.meta = 0x20010db800000000, 0x20010db800000001, 6<<16|kindV6
	return k
}

// Hashes of alike keys do not collide, fill the shards evenly (chi-squared over the upper ten bits,
// and over the lower ten, which flow tables use), and have every bit set half of the time.
func TestHashDistribution(t *testing.T) {
	const n = 1 << 16
	for name, key := range patterns {
		for _, seed := range []uint64{0, 1, 0x9e3779b97f4a7c15} {
			seen := make(map[uint64]bool, n)
			var high, low [ntpac.Shards]float64
			var ones [64]int
			for i := range uint64(n) {
				k := key(i)
				h := Hash(&k, seed)
				seen[h] = true
				high[ntpac.Shard(h)]++
				low[h%ntpac.Shards]++
				for b := range ones {
					ones[b] += int(h >> b & 1)
				}
			}
			if len(seen) < n {
				t.Errorf("%s, seed %x: %d collisions", name, seed, n-len(seen))
			}
			for part, counts := range map[string][ntpac.Shards]float64{"upper": high, "lower": low} {
				// 1023 degrees of freedom: mean 1023, deviation 45; beyond 1300 is one in 10^9.
				if x := chiSquared(counts[:], n/ntpac.Shards); x > 1300 {
					t.Errorf("%s, seed %x: chi-squared of the %s bits %.0f", name, seed, part, x)
				}
			}
			for b, c := range ones {
				if c < n*48/100 || c > n*52/100 {
					t.Errorf("%s, seed %x: bit %d is set %d times of %d", name, seed, b, c, n)
				}
			}
		}
	}
}

func chiSquared(counts []float64, want float64) (x float64) {
	for _, c := range counts {
		x += (c - want) * (c - want) / want
	}
	return x
}

// A change of any one bit of the key or the seed changes each bit of the hash half of the time.
func TestHashAvalanche(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const rounds = 400
	for _, six := range []bool{false, true} {
		var flips, trials int
		for range rounds {
			k, seed := v4(r.Uint64()>>32, r.Uint64()>>32, r.Uint64()>>48, r.Uint64()>>48), r.Uint64()
			if six {
				k = v6(r.Uint64(), r.Uint64(), r.Uint64()>>48, r.Uint64()>>48)
			}
			h := Hash(&k, seed)
			for bit := range 160 {
				c, s := k, seed
				switch {
				case bit < 32:
					c.a[1] ^= 1 << bit
				case bit < 64:
					c.b[1] ^= 1 << (bit - 32)
				case bit < 96:
					c.ports ^= 1 << (bit - 64)
				default:
					s ^= 1 << (bit - 96)
				}
				n := bits.OnesCount64(h ^ Hash(&c, s))
				if n < 8 || n > 56 {
					t.Errorf("bit %d: %d bits of the hash changed", bit, n)
				}
				flips, trials = flips+n, trials+1
			}
		}
		if mean := float64(flips) / float64(trials); mean < 31.5 || mean > 32.5 {
			t.Errorf("v6 %v: %.2f bits change on average", six, mean)
		}
	}
}

// A datagram's fragments have the hash of the datagram: of addresses, protocol and identification.
func TestFragmentHash(t *testing.T) {
	c := pcaptest.New()
	for range 100 {
		c.Fragments(left, right, ntpac.UDP, make([]byte, 2000), 576)
	}
	seen := map[uint64]int{}
	for _, fr := range c.Frames {
		p, _ := decode(linkEthernet, fr.Data, fr.Wire)
		var k RawKey
		Raw(fr.Data, &p, false, &k)
		if !k.IsFragment() {
			t.Fatal("the key of a fragment is that of a flow")
		}
		seen[Hash(&k, 1)]++
	}
	if len(seen) != 100 {
		t.Errorf("%d hashes of 100 datagrams", len(seen))
	}
}
