package tls_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"ntpac"
	"ntpac/artifact"
	"ntpac/snoop/snooptest"
	snooper "ntpac/snoop/tls"
)

var record = flag.Bool("record", false, "write the talks of testdata anew, from live handshakes")

// cable joins two ends; it never blocks a writer, and writes down what is said.
type cable struct {
	mu   sync.Mutex
	more sync.Cond
	to   [2]bytes.Buffer // by the direction that flows into it
	shut bool
	talk *snooptest.Talk
}

// end is one end of a cable; dir is the direction in which it sends.
type end struct {
	net.Conn // never used: addresses and deadlines are not asked for
	*cable
	dir ntpac.Dir
}

func (e *end) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shut {
		return 0, io.ErrClosedPipe
	}
	turns := e.talk.Turns
	if k := len(turns) - 1; k >= 0 && turns[k].Dir == e.dir {
		turns[k].Data = append(turns[k].Data, b...)
	} else {
		e.talk.Turns = append(turns, snooptest.Turn{Dir: e.dir, Data: bytes.Clone(b)})
	}
	e.more.Broadcast()
	return e.to[e.dir].Write(b)
}

func (e *end) Read(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := &e.to[e.dir.Other()]
	for in.Len() == 0 && !e.shut {
		e.more.Wait()
	}
	return in.Read(b)
}

func (e *end) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shut = true
	e.more.Broadcast()
	return nil
}

// live lets Go's own TLS talk over a cable, and gives what was said and what it says of it.
func live(t *testing.T, client, server *tls.Config) (*snooptest.Talk, tls.ConnectionState) {
	t.Helper()
	talk := &snooptest.Talk{}
	k := &cable{talk: talk}
	k.more.L = &k.mu
	c, s := &end{nil, k, ntpac.Up}, &end{nil, k, ntpac.Down}
	cl, sv := tls.Client(c, client), tls.Server(s, server)
	done := make(chan error, 1)
	go func() {
		err := sv.Handshake()
		if err == nil {
			word := make([]byte, 5)
			if _, err = io.ReadFull(sv, word); err == nil {
				_, err = sv.Write(word)
			}
		}
		done <- err
		s.Close()
	}()
	if _, err := cl.Write([]byte("hello")); err == nil {
		if _, err := io.ReadFull(cl, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	<-done
	return talk, cl.ConnectionState()
}

func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(0x1234567), Subject: pkix.Name{CommonName: name, Organization: []string{"Example, Inc."}},
		NotBefore: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC), NotAfter: time.Date(2035, 1, 2, 3, 4, 5, 0, time.UTC),
		DNSNames: []string{name, "*." + name}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

type config struct {
	name, about    string
	client, server *tls.Config
}

func configs(t *testing.T) []config {
	own := certificate(t, "www.example.org")
	base := func(min, max uint16) (c, s *tls.Config) {
		c = &tls.Config{ServerName: "www.example.org", InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}, MinVersion: min, MaxVersion: max}
		s = &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"http/1.1"}, MinVersion: min, MaxVersion: max}
		return c, s
	}
	var out []config
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		c, s := base(v, v)
		out = append(out, config{fmt.Sprintf("tls1%d", v-tls.VersionTLS10), tls.VersionName(v), c, s})
	}
	c, s := base(tls.VersionTLS13, tls.VersionTLS13)
	c.CurvePreferences, s.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384}, []tls.CurveID{tls.CurveP384}
	out = append(out, config{"retry", "TLS 1.3: the server asks for another key share.", c, s})
	c, s = base(tls.VersionTLS12, tls.VersionTLS12)
	c.Certificates, s.ClientAuth = []tls.Certificate{certificate(t, "client.example.org")}, tls.RequireAnyClientCert
	out = append(out, config{"client-certificate", "TLS 1.2: the client shows a certificate too.", c, s})
	c, s = base(tls.VersionTLS12, tls.VersionTLS12)
	out = append(out, config{"shattered", "TLS 1.2: every handshake message goes over several records.", c, s})
	c, s = base(tls.VersionTLS12, tls.VersionTLS13)
	s.MinVersion, s.MaxVersion, c.MaxVersion = tls.VersionTLS13, tls.VersionTLS13, tls.VersionTLS12
	out = append(out, config{"refused", "The server wants TLS 1.3, the client does not.", c, s})
	return out
}

// shatter cuts the content of a talk's handshake records into records of at most n bytes.
func shatter(talk *snooptest.Talk, n int) {
	for i, turn := range talk.Turns {
		var out []byte
		for b := turn.Data; len(b) >= 5; {
			size := 5 + int(b[3])<<8 + int(b[4])
			head, body := b[:5], b[5:size]
			for b = b[size:]; len(body) > 0; {
				k := len(body)
				if head[0] == 22 {
					k = min(k, n)
				}
				out = append(append(out, head[0], head[1], head[2], byte(k>>8), byte(k)), body[:k]...)
				body = body[k:]
			}
		}
		talk.Turns[i].Data = out
	}
}

// TestLive reads handshakes of Go's own TLS, which knows what they say.
func TestLive(t *testing.T) {
	for _, k := range configs(t) {
		t.Run(k.name, func(t *testing.T) {
			talk, want := live(t, k.client, k.server)
			if k.name == "shattered" {
				shatter(talk, 60)
			}
			if *record {
				if err := os.WriteFile("testdata/"+k.name+".talk", []byte(snooptest.Format(talk, k.about)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var c snooptest.Collector
			if err := snooper.New().Snoop(context.Background(), talk.Dialog(nil), &c); err != nil || len(c.Artifacts) == 0 {
				t.Fatal(err, c)
			}
			a := c.Artifacts[0]
			f := a.Fields.(*artifact.TLS)
			if f.SNI != k.client.ServerName || a.Error != "" || a.Quality != ntpac.Complete {
				t.Errorf("%+v %+v", a, f)
			}
			if !want.HandshakeComplete {
				if f.Alert != "protocol_version" {
					t.Errorf("alert %q", f.Alert)
				}
				return
			}
			alpn := want.NegotiatedProtocol
			if want.Version == tls.VersionTLS13 {
				alpn = "h2,http/1.1"
			}
			if f.Version != tls.VersionName(want.Version) || f.Cipher != fmt.Sprintf("0x%04x", want.CipherSuite) || f.ALPN != alpn {
				t.Errorf("%+v", f)
			}
			if want.Version < tls.VersionTLS13 {
				sum := sha256.Sum256(want.PeerCertificates[0].Raw)
				if len(f.Certificates) != 1 || f.Certificates[0].SHA256 != hex.EncodeToString(sum[:]) || f.Certificates[0].Serial != "01234567" {
					t.Errorf("%+v", f.Certificates)
				}
			}
		})
	}
}
