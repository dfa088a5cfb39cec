package snooptest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ntpac"
)

// Script is a talk as it is written in a file, and what its snooper must make of it:
//
//	# a comment
//	proto tcp                 (default) or udp ...
//	client 10.0.0.1:50000     (default)
//	server 10.0.0.2:80        (default)
//	no-syn                    the beginning was not captured
//	symmetric                 the ends speak alike: with the roles turned round they cannot be told
//	claim unsure              the probe's answer; default certain
//	expect {"path":"/x"}      the conversation was announced by another one, with this context
//
//	> "GET / HTTP/1.1\r\n"    a turn of the client: Go strings or hexadecimal bytes,
//	  "Host: x\r\n\r\n"       which may go on in indented lines
//	< "HTTP/1.1 200 OK\r\n\r\n" 00 01 fe
//	  "abc"*1000              repeated
type Script struct {
	Talk
	Name   string
	Claim  ntpac.Confidence
	Alike  bool            // both ends speak alike
	Expect json.RawMessage // nil: not announced
}

// Load reads the scripts of a folder, in the order of their names.
func Load(t testing.TB, dir string) []*Script {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.talk"))
	if err != nil {
		t.Fatal(err)
	}
	var out []*Script
	for _, f := range files {
		s, err := ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// ReadFile reads one script.
func ReadFile(name string) (*Script, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	s, err := Parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.Name = strings.TrimSuffix(filepath.Base(name), ".talk")
	return s, nil
}

// Parse reads a script.
func Parse(text string) (*Script, error) {
	s := &Script{Claim: ntpac.Certain}
	for i, line := range strings.Split(text, "\n") {
		if err := s.line(strings.TrimRight(line, " \t\r")); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return s, nil
}

func (s *Script) line(line string) error {
	if line == "" || line[0] == '#' {
		return nil
	}
	dir := ntpac.Up
	switch line[0] {
	case ' ', '\t':
		if len(s.Turns) == 0 {
			return fmt.Errorf("nobody speaks yet")
		}
		t := &s.Turns[len(s.Turns)-1]
		b, err := literals(t.Data, line)
		t.Data = b
		return err
	case '<':
		dir = ntpac.Down
		fallthrough
	case '>':
		b, err := literals(nil, line[1:])
		s.Turns = append(s.Turns, Turn{dir, b})
		return err
	}
	return s.header(line)
}

func (s *Script) header(line string) (err error) {
	key, val, _ := strings.Cut(line, " ")
	switch key {
	case "proto":
		var ok bool
		if s.Proto, ok = ntpac.ParseProto(val); !ok {
			err = fmt.Errorf("unknown protocol %q", val)
		}
	case "client":
		s.Client, err = netip.ParseAddrPort(val)
	case "server":
		s.Server, err = netip.ParseAddrPort(val)
	case "no-syn":
		s.NoSyn = true
	case "symmetric":
		s.Alike = true
	case "claim":
		claims := map[string]ntpac.Confidence{"certain": ntpac.Certain, "unsure": ntpac.Unsure, "fail": ntpac.ProbeFail, "not-mine": ntpac.NotMine}
		var ok bool
		if s.Claim, ok = claims[val]; !ok {
			err = fmt.Errorf("unknown claim %q", val)
		}
	case "expect":
		if s.Expect = json.RawMessage(val); !json.Valid(s.Expect) {
			err = fmt.Errorf("the context of an expectation is JSON")
		}
	default:
		err = fmt.Errorf("unknown header %q", key)
	}
	return err
}

// literals appends what a line of Go strings and hexadecimal bytes means.
func literals(b []byte, line string) ([]byte, error) {
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" || line[0] == '#' {
			return b, nil
		}
		if line[0] != '"' && line[0] != '`' {
			word, rest, _ := strings.Cut(line, " ")
			x, err := hex.DecodeString(word)
			if err != nil {
				return b, fmt.Errorf("%q is neither a string nor hexadecimal", word)
			}
			b, line = append(b, x...), rest
			continue
		}
		q, err := strconv.QuotedPrefix(line)
		if err != nil {
			return b, fmt.Errorf("bad string in %s", line)
		}
		text, err := strconv.Unquote(q)
		if err != nil {
			return b, err
		}
		line = line[len(q):]
		n := 1
		if strings.HasPrefix(line, "*") {
			word, rest, _ := strings.Cut(line[1:], " ")
			if n, err = strconv.Atoi(word); err != nil || n < 0 || n*len(text) > 64<<20 {
				return b, fmt.Errorf("bad repetition *%s", word)
			}
			line = rest
		}
		b = append(b, strings.Repeat(text, n)...)
	}
}

// Format writes a talk as a script; binary turns are written in hexadecimal. Tests that record talks
// from real programs keep them so.
func Format(t *Talk, comment string) string {
	var w strings.Builder
	for _, l := range strings.Split(comment, "\n") {
		fmt.Fprintf(&w, "# %s\n", l)
	}
	client, server := t.ends()
	fmt.Fprintf(&w, "proto %s\nclient %s\nserver %s\n", t.proto(), client, server)
	if t.NoSyn {
		w.WriteString("no-syn\n")
	}
	for _, turn := range t.Turns {
		w.WriteString("\n" + string("><"[turn.Dir]))
		for i := 0; i < len(turn.Data); i += 32 {
			if i > 0 {
				w.WriteString("\n ")
			}
			fmt.Fprintf(&w, " %x", turn.Data[i:min(i+32, len(turn.Data))])
		}
	}
	w.WriteString("\n")
	return w.String()
}
