package meta

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"ntpac"
)

var update = flag.Bool("update", false, "make the TLS transcript anew")

// What crypto/tls says is different each time, so a talk is kept, written by TestTranscript.
//
//go:embed testdata/tls.txt
var tlsText string

type message struct {
	dir  ntpac.Dir
	data []byte
}

var transcript = sync.OnceValue(func() (out []message) {
	for s := bufio.NewScanner(strings.NewReader(tlsText)); s.Scan(); {
		dir, text, _ := strings.Cut(s.Text(), " ")
		data, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		m := message{ntpac.Up, data}
		if dir == "down" {
			m.dir = ntpac.Down
		}
		out = append(out, m)
	}
	return out
})

// recorder notes what one end writes.
type recorder struct {
	net.Conn
	dir string
	mu  *sync.Mutex
	out *bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	fmt.Fprintf(r.out, "%s %x\n", r.dir, b)
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// TestTranscript checks that the kept talk is one of TLS, and makes it with -update.
func TestTranscript(t *testing.T) {
	if *update {
		if err := os.WriteFile("testdata/tls.txt", handshake(t), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	ms := transcript()
	if len(ms) < 6 || ms[0].data[0] != 22 || ms[1].data[0] != 22 {
		t.Errorf("%d messages", len(ms))
	}
}

func handshake(t *testing.T) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "www.example"}, DNSNames: []string{"www.example"},
		NotBefore: time.Unix(1.6e9, 0), NotAfter: time.Unix(1.9e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	var mu sync.Mutex
	var out bytes.Buffer
	server := tls.Server(&recorder{b, "down", &mu, &out}, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: tls.VersionTLS12})
	client := tls.Client(&recorder{a, "up", &mu, &out}, &tls.Config{ServerName: "www.example", InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, MaxVersion: tls.VersionTLS12})
	done := make(chan error)
	go func() {
		b := make([]byte, 300)
		_, err := io.ReadFull(server, b)
		if err == nil {
			_, err = server.Write(make([]byte, 5000))
		}
		done <- err
	}()
	if _, err := client.Write(make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
