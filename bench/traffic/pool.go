package traffic

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"time"
)

// pool is what contents are cut from.
type pool struct {
	words            []string
	bytes, prose     []byte
	zipped           [][]byte
	certs            [][]byte
	clients, servers []*host
}

func newPool(r *rand.Rand) *pool {
	p := &pool{bytes: make([]byte, 4<<20)}
	for i := 0; i < len(p.bytes); i += 8 {
		binary.LittleEndian.PutUint64(p.bytes[i:], r.Uint64())
	}
	syllables := strings.Fields("ka le mi no pu ra se ti vo zu ban der fil gor hun")
	for range 500 {
		w := ""
		for range 2 + r.IntN(3) {
			w += syllables[r.IntN(len(syllables))]
		}
		p.words = append(p.words, w)
	}
	var b bytes.Buffer
	for b.Len() < 2<<20 {
		b.WriteString(p.word(r))
		b.WriteString([]string{" ", " ", " ", ", ", ".\r\n", "</p><p>"}[r.IntN(6)])
	}
	p.prose = b.Bytes()
	for range 40 {
		p.zipped = append(p.zipped, zip(p.text(r, 2000+r.IntN(40000))))
	}
	p.hosts(r)
	return p
}

func (p *pool) hosts(r *rand.Rand) {
	for i := range 200 {
		h := &host{v4: [4]byte{10, 1, 0, byte(10 + i)}, v6: [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(10 + i)}, name: fmt.Sprintf("host%d.example.org", i)}
		if r.IntN(5) == 0 {
			h.vlan = uint16(10 + r.IntN(5))
		}
		p.clients = append(p.clients, h)
	}
	for i := range 400 {
		p.servers = append(p.servers, &host{v4: [4]byte{192, 0, byte(2 + i>>8), byte(i)}, v6: [16]byte{0x20, 0x01, 0x0d, 0xb8, 1, 14: byte(i >> 8), 15: byte(i)},
			name: "www." + p.words[i] + ".example"})
	}
	for i := range 8 {
		p.certs = append(p.certs, certificate(p.bytes[32*i:32*i+32], p.words[i]+".example"))
	}
}

// certificate is a self-signed one; Ed25519 signatures depend on nothing but key and message.
func certificate(seed []byte, name string) []byte {
	key := ed25519.NewKeyFromSeed(seed)
	t := &x509.Certificate{SerialNumber: big.NewInt(int64(seed[0]) + 1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"*." + name},
		NotBefore: time.Unix(start/1e9-1e7, 0), NotAfter: time.Unix(start/1e9+1e8, 0)}
	der, err := x509.CreateCertificate(nil, t, t, key.Public(), key)
	if err != nil {
		panic(err) // the template is fixed
	}
	return der
}

func zip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b) // a buffer takes everything
	w.Close()
	return out.Bytes()
}

func (p *pool) word(r *rand.Rand) string { return p.words[r.IntN(len(p.words))] }

func (p *pool) random(r *rand.Rand, n int) []byte { return cut(r, p.bytes, n) }
func (p *pool) text(r *rand.Rand, n int) []byte   { return cut(r, p.prose, n) }

func cut(r *rand.Rand, from []byte, n int) []byte {
	at := r.IntN(len(from) - n)
	return from[at : at+n : at+n]
}

func dnsName(s string) (b []byte) {
	for _, l := range strings.Split(s, ".") {
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0)
}
