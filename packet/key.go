package packet

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"ntpac"
)

// RawKey is a flow key as the flow tables hold it: 48 bytes without pointers or padding, comparable.
// Equal flow keys have equal raw keys and the other way round. The key of a fragment is that of its
// datagram instead: see Raw.
type RawKey struct {
	a, b   [2]uint64 // the addresses of sides A and B, big endian; IPv4 in the last 32 bits
	ports  uint32    // A's in the upper half; of a fragment the datagram's identification
	tunnel uint32    // the tunnel's id
	meta   uint64    // VLAN<<32 | protocol<<16 | tunnel type<<8 | kind
}

// Kinds, in the last byte of meta.
const (
	kindV6       = 1
	kindFragment = 2
)

// Raw makes the key of a packet and says which side sent it. The key of a fragment is (source,
// destination, protocol, identification), not sorted; of IPv6 the protocol is left out, because
// fragments of one datagram may name different ones (RFC 8200, section 4.5). byVLAN adds the VLAN.
func Raw(f []byte, p *ntpac.Packet, byVLAN bool, k *RawKey) ntpac.Side {
	meta := uint64(p.Proto)<<16 | uint64(p.Tunnel)<<8
	if byVLAN {
		meta |= uint64(p.VLAN) << 32
	}
	k.tunnel = p.TunnelID
	if p.Flags&(ntpac.Fragment|ntpac.IPv6) != 0 {
		if p.Flags&ntpac.Fragment != 0 {
			rawFragment(f, p, meta, k)
			return ntpac.A
		}
		return rawFlow6(f, p, meta, k)
	}
	var ports uint32
	if HasPorts(p) {
		ports = binary.BigEndian.Uint32(f[p.L4:])
	}
	h := f[p.L3 : p.L3+20 : p.L3+20]
	a, b := uint64(binary.BigEndian.Uint32(h[12:])), uint64(binary.BigEndian.Uint32(h[16:]))
	side := ntpac.A
	if a<<16|uint64(ports>>16) > b<<16|uint64(ports&0xffff) {
		a, b, ports, side = b, a, ports<<16|ports>>16, ntpac.B
	}
	// Field by field: what is stored in one width and read at once in another is slow to read.
	k.a[0], k.a[1], k.b[0], k.b[1] = 0, a, 0, b
	k.ports, k.meta = ports, meta
	return side
}

func rawFlow6(f []byte, p *ntpac.Packet, meta uint64, k *RawKey) ntpac.Side {
	var ports uint32
	if HasPorts(p) {
		ports = binary.BigEndian.Uint32(f[p.L4:])
	}
	h := f[p.L3 : p.L3+40 : p.L3+40]
	be := binary.BigEndian
	a0, a1, b0, b1 := be.Uint64(h[8:]), be.Uint64(h[16:]), be.Uint64(h[24:]), be.Uint64(h[32:])
	side := ntpac.A
	if a0 > b0 || a0 == b0 && (a1 > b1 || a1 == b1 && ports>>16 > ports&0xffff) {
		a0, a1, b0, b1, ports, side = b0, b1, a0, a1, ports<<16|ports>>16, ntpac.B
	}
	k.a[0], k.a[1], k.b[0], k.b[1] = a0, a1, b0, b1
	k.ports, k.meta = ports, meta|kindV6
	return side
}

func rawAddrs6(f []byte, p *ntpac.Packet) (src, dst [2]uint64) {
	h := f[p.L3 : p.L3+40 : p.L3+40]
	be := binary.BigEndian
	return [2]uint64{be.Uint64(h[8:]), be.Uint64(h[16:])}, [2]uint64{be.Uint64(h[24:]), be.Uint64(h[32:])}
}

func rawFragment(f []byte, p *ntpac.Packet, meta uint64, k *RawKey) {
	k.ports, _, _ = FragmentInfo(f, p)
	if p.Flags&ntpac.IPv6 != 0 {
		k.a, k.b = rawAddrs6(f, p)
		k.meta = meta&^(0xff<<16) | kindFragment | kindV6
		return
	}
	h := f[p.L3:]
	k.a = [2]uint64{0, uint64(binary.BigEndian.Uint32(h[12:]))}
	k.b = [2]uint64{0, uint64(binary.BigEndian.Uint32(h[16:]))}
	k.meta = meta | kindFragment
}

// Key makes the flow key of a packet and says which side sent it. Of a fragment the ports are 0.
func Key(f []byte, p *ntpac.Packet, byVLAN bool) (ntpac.FlowKey, ntpac.Side) {
	whole := *p
	if p.Flags&ntpac.Fragment != 0 { // a protocol that has no ports shows none
		whole.Flags &^= ntpac.Fragment
		whole.Proto = protoNone
	}
	var k RawKey
	side := Raw(f, &whole, byVLAN, &k)
	key := k.FlowKey()
	key.Proto = p.Proto
	return key, side
}

// FlowKey gives the key in the form that users and stores see.
func (k *RawKey) FlowKey() ntpac.FlowKey {
	ports := k.ports
	if k.meta&kindFragment != 0 {
		ports = 0
	}
	return ntpac.FlowKey{
		Proto: ntpac.Proto(k.meta >> 16), Tunnel: ntpac.Tunnel(k.meta >> 8), TunnelID: k.tunnel, VLAN: uint16(k.meta >> 32),
		End: [2]netip.AddrPort{
			netip.AddrPortFrom(k.addr(k.a), uint16(ports>>16)),
			netip.AddrPortFrom(k.addr(k.b), uint16(ports)),
		},
	}
}

func (k *RawKey) addr(w [2]uint64) netip.Addr {
	if k.meta&kindV6 == 0 {
		return netip.AddrFrom4([4]byte{byte(w[1] >> 24), byte(w[1] >> 16), byte(w[1] >> 8), byte(w[1])})
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], w[0])
	binary.BigEndian.PutUint64(b[8:], w[1])
	return netip.AddrFrom16(b)
}

// RawOf is the inverse of RawKey.FlowKey: for keys that come back from a store or a checkpoint. Both
// end points must be of one address family and sorted.
func RawOf(key ntpac.FlowKey) RawKey {
	k := RawKey{
		ports:  uint32(key.End[ntpac.A].Port())<<16 | uint32(key.End[ntpac.B].Port()),
		tunnel: key.TunnelID,
		meta:   uint64(key.VLAN)<<32 | uint64(key.Proto)<<16 | uint64(key.Tunnel)<<8,
	}
	if key.End[ntpac.A].Addr().Is4() {
		a, b := key.End[ntpac.A].Addr().As4(), key.End[ntpac.B].Addr().As4()
		k.a[1], k.b[1] = uint64(binary.BigEndian.Uint32(a[:])), uint64(binary.BigEndian.Uint32(b[:]))
		return k
	}
	k.meta |= kindV6
	a, b := key.End[ntpac.A].Addr().As16(), key.End[ntpac.B].Addr().As16()
	be := binary.BigEndian
	k.a, k.b = [2]uint64{be.Uint64(a[:]), be.Uint64(a[8:])}, [2]uint64{be.Uint64(b[:]), be.Uint64(b[8:])}
	return k
}

// IsFragment tells whether this is the key of a datagram in fragments, not of a flow.
func (k *RawKey) IsFragment() bool { return k.meta&kindFragment != 0 }

// Odd constants with half of their bits set, in no regular pattern.
const (
	salt1 = 0xa0761d6478bd642f
	salt2 = 0xe7037ed1a0b428db
	salt3 = 0x8ebc6af09c88c6e3
	salt4 = 0x589965cc75374cc3
)

// Hash mixes a key with the deployment's seed: multiply to 128 bits and fold, as wyhash does. Both
// factors of every product depend on the seed, so that nobody who does not know it can choose
// addresses that make one of them zero. The last round squares, nearly: ports that count up would
// else fall on the shards in steps. All 64 bits are good: shards take the upper ten, tables others.
func Hash(k *RawKey, seed uint64) uint64 {
	s1, s2 := seed^salt1, bits.RotateLeft64(seed, 29)^salt2
	ends := uint64(k.ports)<<32 | uint64(k.tunnel)
	if k.meta&kindV6 == 0 {
		h := fold(k.a[1]<<32^k.b[1]^s1, ends^k.meta*salt4^s2)
		return fold(h^s2, h^salt3)
	}
	s3, s4 := seed^salt3, bits.RotateLeft64(seed, 29)^salt4
	h := fold(k.a[0]^s1, k.a[1]^s2) ^ ends
	g := fold(k.b[0]^s3, k.b[1]^s4) ^ k.meta
	h = fold(h^s4, g^s3)
	return fold(h^s2, h^salt3)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// Proto is the key's transport protocol.
func (k *RawKey) Proto() ntpac.Proto { return ntpac.Proto(k.meta >> 16) }

// Port is the port of a side; 0 where the protocol has none.
func (k *RawKey) Port(s ntpac.Side) uint16 {
	if s == ntpac.A {
		return uint16(k.ports >> 16)
	}
	return uint16(k.ports)
}
