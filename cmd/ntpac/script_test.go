package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"ntpac"
	"ntpac/internal/pcaptest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ntpac": main})
}

// TestScripts runs the scripts of testdata/script. Beside the usual commands they have
//
//	status N COMMAND...   the command ends with status N
//	oneline               the last command wrote one line to standard error
//	capture WHAT FILE     writes a capture: see captures
//	cmpledger FILE WANT   the lines of a summary that say what was lost
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": func(ts *testscript.TestScript, neg bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				var exit *exec.ExitError
				if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("status %d, want %d", got, want)
				}
			},
			"oneline": func(ts *testscript.TestScript, neg bool, args []string) {
				if out := ts.ReadFile("stderr"); strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "ntpac: ") {
					ts.Fatalf("standard error is not one line: %q", out)
				}
			},
			"cmpledger": func(ts *testscript.TestScript, neg bool, args []string) {
				var got strings.Builder
				for line := range strings.Lines(ts.ReadFile(args[0])) {
					switch what, _, _ := strings.Cut(line, " "); what {
					case "Analysed", "Payload", "Noted", "Damaged":
						got.WriteString(line)
					}
				}
				if want := ts.ReadFile(args[1]); got.String() != want {
					ts.Fatalf("the ledger is\n%snot\n%s", got.String(), want)
				}
			},
			"capture": func(ts *testscript.TestScript, neg bool, args []string) {
				f, err := os.Create(ts.MkAbs(args[1]))
				ts.Check(err)
				ts.Check(captures[args[0]](f))
				ts.Check(f.Close())
			},
		},
	})
}

const (
	page     = "<html><title>Bank</title></html>\n"
	request  = "GET /account.html HTTP/1.1\r\nHost: www.bank.example\r\n\r\n"
	response = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 33\r\n\r\n" + page
)

// captures are what scripts work on.
var captures = map[string]func(io.Writer) error{
	// web: a question to DNS, a page over HTTP, and a connection that nobody recognises
	"web": func(w io.Writer) error { return web().WritePcap(w) },
	// lossy: the same without the page's packet
	"lossy": func(w io.Writer) error {
		c := web()
		for i, f := range c.Frames {
			if strings.Contains(string(f.Data), page) {
				c.Frames = append(c.Frames[:i], c.Frames[i+1:]...)
				return c.WritePcap(w)
			}
		}
		return errors.New("no such packet")
	},
	// forged: a segment, and one that claims other bytes for its place
	"forged": func(w io.Writer) error {
		c := pcaptest.New()
		k := c.TCP(netip.MustParseAddrPort("192.0.2.10:40001"), netip.MustParseAddrPort("198.51.100.1:4444"))
		k.Open()
		seq, ack := k.Seq[ntpac.Up], k.Seq[ntpac.Down]
		k.Send(ntpac.Up, []byte("true words"))
		k.At(ntpac.Up, pcaptest.ACK, seq, ack, []byte("lies words"))
		k.Close()
		return c.WritePcap(w)
	},
	// cut: the same, and the file ends within a packet
	"cut": func(w io.Writer) error {
		var b strings.Builder
		if err := web().WritePcap(&b); err != nil {
			return err
		}
		_, err := io.WriteString(w, b.String()[:b.Len()-20])
		return err
	},
	// corrupt: the same, and one record in the middle is nonsense
	"corrupt": func(w io.Writer) error {
		c := web()
		var head, tail strings.Builder
		if err := pcaptest.WritePcap(&head, c.Frames[:12]); err != nil {
			return err
		}
		if err := pcaptest.WritePcap(&tail, c.Frames[12:]); err != nil {
			return err
		}
		_, err := io.WriteString(w, head.String()+strings.Repeat("\xfe", 50)+tail.String()[24:]) // without its file header
		return err
	},
	// damaged: the web, and all that can be wrong with packets
	"damaged": func(w io.Writer) error { return hurt().WritePcap(w) },
	// quiet: datagrams with a silence of five minutes between them, and a connection without beginning that
	// jumps over 2000 bytes
	"quiet": func(w io.Writer) error {
		c := pcaptest.New()
		a, b := netip.MustParseAddrPort("192.0.2.10:5000"), netip.MustParseAddrPort("192.0.2.11:5001")
		c.UDP(a, b, []byte("one"))
		c.Wait(5 * 60 * ntpac.Second)
		c.UDP(a, b, []byte("two"))
		k := c.TCP(pcaptest.Client, pcaptest.Server)
		for range 2 {
			k.At(ntpac.Up, pcaptest.PSH, k.Seq[ntpac.Up], 0, []byte("hello"))
			k.Skip(ntpac.Up, 2000)
		}
		return c.WritePcap(w)
	},
	// crowd: 5,000 attempts
	"crowd": func(w io.Writer) error {
		c := pcaptest.New()
		for i := range 5000 {
			c.TCP(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 4000), pcaptest.Server).Packet(ntpac.Up, pcaptest.SYN, nil)
		}
		return c.WritePcap(w)
	},
	// none: a capture in which nothing was captured
	"none": func(w io.Writer) error { return pcaptest.New().WritePcap(w) },
	// bulk: 6 MB of one connection that no compression makes smaller, and then the web
	"bulk": func(w io.Writer) error {
		c := pcaptest.New()
		k := c.TCP(pcaptest.Client, netip.MustParseAddrPort("198.51.100.9:9"))
		k.Open()
		data := make([]byte, 6_000_000)
		rand.NewChaCha8([32]byte{}).Read(data)
		k.Send(ntpac.Up, data)
		k.Close()
		c.Frames = append(c.Frames, web().Frames...)
		return c.WritePcap(w)
	},
}

func hurt() *pcaptest.Capture {
	c := web()
	k := c.TCP(netip.MustParseAddrPort("192.0.2.10:40002"), netip.MustParseAddrPort("198.51.100.9:4444"))
	k.Open()
	k.Send(ntpac.Up, []byte("the first part"))
	k.Skip(ntpac.Up, 100) // lost
	k.Send(ntpac.Up, []byte("the third part"))
	k.At(ntpac.Up, pcaptest.ACK, k.Seq[ntpac.Up]-5, k.Seq[ntpac.Down], []byte(" part and more"))
	k.Seq[ntpac.Up] += 9
	k.At(ntpac.Up, pcaptest.ACK, k.Seq[ntpac.Up]+1<<30, k.Seq[ntpac.Down], []byte("forged"))
	k.Send(ntpac.Up, []byte("wrong"))
	broken := &c.Frames[len(c.Frames)-2]
	broken.Data[len(broken.Data)-1] ^= 1
	c.Frames = append(c.Frames, *broken) // captured twice
	c.Snap = 60
	k.Send(ntpac.Up, []byte("cut short by the snap length"))
	c.Snap = 0
	k.Close()
	c.Wait(2 * ntpac.Second)
	a, b := netip.MustParseAddrPort("192.0.2.10:5000"), netip.MustParseAddrPort("192.0.2.11:5001")
	c.Fragments(a.Addr(), b.Addr(), ntpac.UDP, pcaptest.UDP(a, b, make([]byte, 2000)), 600)
	c.Fragments(a.Addr(), b.Addr(), ntpac.UDP, pcaptest.UDP(a, b, make([]byte, 2000)), 600)
	c.Frames = c.Frames[:len(c.Frames)-1] // the last one is lost
	c.Raw(append([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x06"), make([]byte, 46)...))
	c.Raw([]byte("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x08\x00\x45\x00\x00\x01"))
	return c
}

func web() *pcaptest.Capture {
	c := pcaptest.New()
	question := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x04bank\x07example\x00\x00\x01\x00\x01"
	answer := "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question[12:] + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x33\x64\x50"
	resolver := netip.MustParseAddrPort("192.0.2.53:53")
	c.UDP(pcaptest.Client, resolver, []byte(question))
	c.UDP(resolver, pcaptest.Client, []byte(answer))
	k := c.TCP(pcaptest.Client, pcaptest.Server)
	k.Open()
	k.Send(ntpac.Up, []byte(request))
	k.Send(ntpac.Down, []byte(response))
	k.Close()
	k = c.TCP(netip.MustParseAddrPort("192.0.2.10:40001"), netip.MustParseAddrPort("198.51.100.9:4444"))
	k.Open()
	for i := range 3 {
		k.Send(ntpac.Dir(i%2), fmt.Appendf(nil, "\x00\x01unknown %d", i))
	}
	k.Close()
	return c
}
