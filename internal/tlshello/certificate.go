package tlshello

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	"ntpac/artifact"
	"ntpac/internal/wire"
)

// maxChain bounds the certificates that are read of one message.
const maxChain = 32

// ParseCertificates reads the body of a Certificate message of TLS 1.2 or older (RFC 5246 section
// 7.4.2). With an error, the certificates before the damage are there.
func ParseCertificates(body []byte) ([]artifact.Certificate, error) {
	r := wire.New(body)
	n := int(r.U24())
	if !r.OK() {
		return nil, r.Err()
	}
	short := n > r.Len()
	list := r.Sub(min(n, r.Len()))
	var out []artifact.Certificate
	for !list.Empty() && len(out) < maxChain {
		der := list.Vec24()
		if !list.OK() {
			break
		}
		out = append(out, NewCertificate(der))
	}
	if short {
		return out, wire.ErrShort
	}
	return out, list.Err()
}

// NewCertificate describes a certificate by its DER.
func NewCertificate(der []byte) artifact.Certificate {
	s1, s2 := sha1.Sum(der), sha256.Sum256(der)
	out := artifact.Certificate{SHA1: hex.EncodeToString(s1[:]), SHA256: hex.EncodeToString(s2[:])}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		out.Problem = err.Error()
		return out
	}
	out.Subject, out.Issuer = c.Subject.String(), c.Issuer.String()
	if c.SerialNumber != nil {
		out.Serial = hex.EncodeToString(c.SerialNumber.Bytes())
	}
	out.NotBefore, out.NotAfter = c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339)
	out.SAN = append(out.SAN, c.DNSNames...)
	for _, a := range c.IPAddresses {
		out.SAN = append(out.SAN, a.String())
	}
	out.SAN = append(out.SAN, c.EmailAddresses...)
	for _, u := range c.URIs {
		out.SAN = append(out.SAN, u.String())
	}
	return out
}
