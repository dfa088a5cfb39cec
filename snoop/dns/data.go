package dns

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"ntpac/internal/wire"
)

// generic is the form for data that is unknown or not as its type has it (RFC 3597 section 5).
func generic(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	return `\# ` + strconv.Itoa(len(data)) + " " + hex.EncodeToString(data)
}

// rdata reads the data of one record, as words of its presentation.
type rdata struct {
	wire.Reader
	p   *parser
	w   []byte
	bad bool
}

// data gives a record's data in presentation format; ok is false where it is not as its type has it.
func (p *parser) data(typ uint16, start, n int) (s string, ok bool) {
	d := rdata{Reader: wire.New(p.msg[:start+n]), p: p}
	d.Seek(start)
	read := readers[typ]
	if read == nil {
		return "", false
	}
	read(&d)
	if d.bad || !d.OK() || !d.Empty() {
		return "", false
	}
	return string(d.w), true
}

func (d *rdata) word(s string) {
	if len(d.w) > 0 {
		d.w = append(d.w, ' ')
	}
	d.w = append(d.w, s...)
}

func (d *rdata) uint(v uint64) {
	if len(d.w) > 0 {
		d.w = append(d.w, ' ')
	}
	d.w = strconv.AppendUint(d.w, v, 10)
}

func (d *rdata) name() {
	if len(d.w) > 0 {
		d.w = append(d.w, ' ')
	}
	var err error
	if d.w, err = appendName(d.w, d.p.msg, &d.Reader); err != nil {
		d.bad = true
	}
}

// text is a character string (RFC 1035 section 3.3), in quotes.
func (d *rdata) text() {
	s := d.Vec8()
	d.word(`"` + string(appendText(nil, s, '"')) + `"`)
}

func (d *rdata) hexRest() {
	if s := d.Rest(); len(s) > 0 {
		d.word(hex.EncodeToString(s))
	} else {
		d.word("-")
	}
}

func (d *rdata) base64Rest() { d.word(base64.StdEncoding.EncodeToString(d.Rest())) }
func (d *rdata) u8()         { d.uint(uint64(d.U8())) }
func (d *rdata) u16()        { d.uint(uint64(d.U16())) }
func (d *rdata) u32()        { d.uint(uint64(d.U32())) }
func (d *rdata) typ()        { d.word(typeName(d.U16())) }

func (d *rdata) addr(n int) {
	d.word(address(&d.Reader, n))
}

// types is a bitmap of record types (RFC 4034 section 4.1.2).
func (d *rdata) types() {
	for d.OK() && !d.Empty() {
		window := int(d.U8())
		for i, b := range d.Vec8() {
			for bit := range 8 {
				if b&(0x80>>bit) != 0 {
					d.word(typeName(uint16(window<<8 | i<<3 | bit)))
				}
			}
		}
	}
}

var readers = map[uint16]func(*rdata){
	1:  func(d *rdata) { d.addr(4) },
	28: func(d *rdata) { d.addr(16) },
	2:  (*rdata).name,
	3:  (*rdata).name,
	4:  (*rdata).name,
	5:  (*rdata).name,
	7:  (*rdata).name,
	8:  (*rdata).name,
	9:  (*rdata).name,
	12: (*rdata).name,
	39: (*rdata).name,
	6:  soa,
	13: func(d *rdata) { d.text(); d.text() },
	14: func(d *rdata) { d.name(); d.name() },
	17: func(d *rdata) { d.name(); d.name() },
	15: func(d *rdata) { d.u16(); d.name() },
	18: func(d *rdata) { d.u16(); d.name() },
	36: func(d *rdata) { d.u16(); d.name() },
	16: txt,
	99: txt,
	29: loc,
	33: func(d *rdata) { d.u16(); d.u16(); d.u16(); d.name() },
	35: func(d *rdata) {
		d.u16()
		d.u16()
		d.text()
		d.text()
		d.text()
		d.name()
	},
	37:  func(d *rdata) { d.u16(); d.u16(); d.u8(); d.base64Rest() },
	43:  ds,
	59:  ds,
	44:  func(d *rdata) { d.u8(); d.u8(); d.hexRest() },
	46:  rrsig,
	24:  rrsig,
	47:  func(d *rdata) { d.name(); d.types() },
	25:  dnskey,
	48:  dnskey,
	60:  dnskey,
	50:  func(d *rdata) { nsec3(d); d.word(base32(d.Vec8())); d.types() },
	51:  nsec3,
	52:  tlsa,
	53:  tlsa,
	61:  (*rdata).base64Rest,
	64:  svcb,
	65:  svcb,
	250: tsig,
	256: func(d *rdata) { d.u16(); d.u16(); d.word(`"` + string(appendText(nil, d.Rest(), '"')) + `"`) },
	257: func(d *rdata) {
		d.u8()
		d.word(string(appendText(nil, d.Vec8(), ' ')))
		d.word(`"` + string(appendText(nil, d.Rest(), '"')) + `"`)
	},
}

func soa(d *rdata) {
	d.name()
	d.name()
	for range 5 {
		d.u32()
	}
}

// txt gives a record's only string as it is; several are quoted, so that their borders show.
func txt(d *rdata) {
	if n := d.Peek(1); n != nil && int(n[0])+1 == d.Len() {
		d.w = appendText(d.w, d.Vec8(), '\\')
		return
	}
	for d.OK() && !d.Empty() {
		d.text()
	}
}

func ds(d *rdata)     { d.u16(); d.u8(); d.u8(); d.hexRest() }
func dnskey(d *rdata) { d.u16(); d.u8(); d.u8(); d.base64Rest() }
func tlsa(d *rdata)   { d.u8(); d.u8(); d.u8(); d.hexRest() }

// rrsig gives times as the seconds they are (RFC 4034 section 3.2 allows that).
func rrsig(d *rdata) {
	d.typ()
	d.u8()
	d.u8()
	d.u32()
	d.u32()
	d.u32()
	d.u16()
	d.name()
	d.base64Rest()
}

func nsec3(d *rdata) {
	d.u8()
	d.u8()
	d.u16()
	if s := d.Vec8(); len(s) > 0 {
		d.word(hex.EncodeToString(s))
	} else {
		d.word("-")
	}
}

// base32 is the extended hex alphabet in lower case, without padding (RFC 5155 section 3.3).
func base32(s []byte) string {
	const digits = "0123456789abcdefghijklmnopqrstuv"
	var b strings.Builder
	acc, bits := uint(0), 0
	for _, c := range s {
		for acc, bits = acc<<8|uint(c), bits+8; bits >= 5; bits -= 5 {
			b.WriteByte(digits[acc>>(bits-5)&31])
		}
	}
	if bits > 0 {
		b.WriteByte(digits[acc<<(5-bits)&31])
	}
	return b.String()
}

// loc is a place on the earth (RFC 1876 section 2).
func loc(d *rdata) {
	version, size, hor, vert := d.U8(), d.U8(), d.U8(), d.U8()
	lat, lon, alt := int64(d.U32())-1<<31, int64(d.U32())-1<<31, int64(d.U32())-10_000_000
	if version != 0 {
		d.bad = true
		return
	}
	for _, v := range []struct {
		ms  int64
		pos string
		neg string
	}{{lat, "N", "S"}, {lon, "E", "W"}} {
		side := v.pos
		if v.ms < 0 {
			v.ms, side = -v.ms, v.neg
		}
		d.word(fmt.Sprintf("%d %d %d.%03d %s", v.ms/3_600_000, v.ms/60_000%60, v.ms/1000%60, v.ms%1000, side))
	}
	sign := ""
	if alt < 0 {
		sign, alt = "-", -alt
	}
	d.word(fmt.Sprintf("%s%d.%02dm %s %s %s", sign, alt/100, alt%100, precision(size), precision(hor), precision(vert)))
}

// precision is a power of ten in centimetres: digit and exponent in four bits each.
func precision(b uint8) string {
	cm := uint64(b >> 4)
	for range b & 15 {
		cm *= 10
	}
	return fmt.Sprintf("%d.%02dm", cm/100, cm%100)
}

var svcKeys = [...]string{"mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"}

func svcKey(k uint16) string {
	if int(k) < len(svcKeys) {
		return svcKeys[k]
	}
	return "key" + strconv.Itoa(int(k))
}

// svcb is a service binding and its parameters (RFC 9460 sections 2.2 and 7).
func svcb(d *rdata) {
	d.u16()
	d.name()
	for d.OK() && !d.Empty() {
		key := d.U16()
		v := d.Sub16()
		if !v.OK() {
			return
		}
		var vals []string
		for whole := v; !v.Empty(); {
			switch key {
			case 0:
				vals = append(vals, svcKey(v.U16()))
			case 1:
				vals = append(vals, string(appendText(nil, v.Vec8(), ',')))
			case 3:
				vals = append(vals, strconv.Itoa(int(v.U16())))
			case 4:
				vals = append(vals, address(&v, 4))
			case 6:
				vals = append(vals, address(&v, 16))
			case 5:
				vals = append(vals, base64.StdEncoding.EncodeToString(v.Rest()))
			default:
				vals = append(vals, string(appendText(nil, v.Rest(), '"')))
			}
			if !v.OK() {
				vals = []string{hex.EncodeToString(whole.Rest())}
			}
		}
		if len(vals) == 0 {
			d.word(svcKey(key))
		} else {
			d.word(svcKey(key) + "=" + strings.Join(vals, ","))
		}
	}
}

func address(r *wire.Reader, n int) string {
	a, _ := netip.AddrFromSlice(r.Bytes(n))
	return a.String()
}

// tsig is a transaction signature (RFC 8945 section 4.2).
func tsig(d *rdata) {
	d.name()
	d.uint(d.U48())
	d.u16()
	d.word(base64.StdEncoding.EncodeToString(d.Vec16()))
	d.u16()
	d.word(rcodeName(int(d.U16())))
	if other := d.Vec16(); len(other) > 0 {
		d.word(hex.EncodeToString(other))
	}
}

// opt is the data of an OPT record (RFC 6891 section 6.1): payload size, version, flags, options.
func opt(size uint16, ttl uint32, data []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d udp %d", ttl>>16&255, size)
	if ttl&(1<<15) != 0 {
		b.WriteString(" do")
	}
	for r := wire.New(data); r.OK() && !r.Empty(); {
		code, v := r.U16(), r.Vec16()
		if !r.OK() {
			return b.String() + " " + generic(data)
		}
		if code == 8 {
			if s := clientSubnet(v); s != "" {
				b.WriteString(" subnet " + s)
				continue
			}
		}
		fmt.Fprintf(&b, " option%d=%x", code, v)
	}
	return b.String()
}

// clientSubnet is the EDNS client subnet option (RFC 7871 section 6); empty where it is malformed.
func clientSubnet(v []byte) string {
	r := wire.New(v)
	family, source, scope := r.U16(), r.U8(), r.U8()
	var full [16]byte
	size := map[uint16]int{1: 4, 2: 16}[family]
	if copy(full[:size], r.Rest()); !r.OK() || size == 0 || len(v)-4 > size || int(source) > 8*size {
		return ""
	}
	a, _ := netip.AddrFromSlice(full[:size])
	return fmt.Sprintf("%v/%d/%d", a, source, scope)
}
