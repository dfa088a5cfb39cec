package ftp

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	"ntpac"
	"ntpac/snoop/snooptest"
)

// What a hole takes from a control connection, the other side's words often tell: the data is expected
// all the same.
func TestDataIsExpectedBehindHoles(t *testing.T) {
	up, down := snooptest.Up, snooptest.Down
	turns := []snooptest.Turn{down("220 (vsFTPd 3.0.5)\r\n"), up("USER a\r\n"), down("331 Password.\r\n"), up("PASS b\r\n"), down("230 Login successful.\r\n"),
		up("PASV\r\n"), down("227 Entering Passive Mode (10,0,0,2,78,60).\r\n"), up("RETR x.zip\r\n"),
		down("150 Opening BINARY mode data connection for x.zip (3 bytes).\r\n"), down("226 Transfer complete.\r\n"), up("QUIT\r\n"), down("221 Goodbye.\r\n")}
	active := slices.Clone(turns)
	active[5], active[6] = up("PORT 10,0,0,1,200,1\r\n"), down("200 PORT command successful.\r\n")
	for _, x := range []struct {
		name  string
		turns []snooptest.Turn
		lost  func(i int) bool
		to    string
		guess bool
	}{
		{"nothing", turns, func(int) bool { return false }, "10.0.0.2:20028", false},
		{"the command", turns, func(i int) bool { return i == 7 }, "10.0.0.2:20028", true},
		{"the login and the command", turns, func(i int) bool { return i == 3 || i == 7 }, "10.0.0.2:20028", true},
		{"PASV and the command", turns, func(i int) bool { return i == 5 || i == 7 }, "10.0.0.2:20028", true},
		{"the reply to PASV", turns, func(i int) bool { return i == 6 }, "10.0.0.2:0", true},
		{"all replies", turns, func(i int) bool { return turns[i].Dir == ntpac.Down }, "10.0.0.2:0", true},
		{"all commands", turns, func(i int) bool { return turns[i].Dir == ntpac.Up }, "10.0.0.2:20028", true},
		{"PORT and the command", active, func(i int) bool { return i == 5 || i == 7 }, "10.0.0.2:0", true},
		{"PASV and its reply", turns, func(i int) bool { return i == 5 || i == 6 }, "10.0.0.2:0", true},
		{"the command behind PORT", active, func(i int) bool { return i == 7 }, "10.0.0.1:51201", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			talk := snooptest.Talk{Client: netip.MustParseAddrPort("10.0.0.1:50000"), Server: netip.MustParseAddrPort("10.0.0.2:21"), Turns: x.turns}
			var c snooptest.Collector
			if err := New().Snoop(context.Background(), talk.Dialog(x.lost), &c); err != nil {
				t.Fatal(err)
			}
			if len(c.Expectations) != 1 || c.Expectations[0].To != netip.MustParseAddrPort(x.to) {
				t.Fatalf("%+v", c.Expectations)
			}
			var a announced
			if err := json.Unmarshal(c.Expectations[0].Context, &a); err != nil || a.Filename != "x.zip" || a.Guessed != x.guess {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}
