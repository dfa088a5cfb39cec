package smtp

import (
	"context"
	"testing"

	"ntpac"
	"ntpac/artifact"
	"ntpac/snoop/snooptest"
)

// An authentication of which a hole has taken the command is read by what the server asks.
func TestAuthBehindHole(t *testing.T) {
	up, down := snooptest.Up, snooptest.Down
	login := []snooptest.Turn{down("220 x ESMTP\r\n"), up("EHLO y\r\n"), down("250-x\r\n250 AUTH LOGIN\r\n"), up("AUTH LOGIN\r\n"), down("334 VXNlcm5hbWU6\r\n"),
		up("YWxpY2U=\r\n"), down("334 UGFzc3dvcmQ6\r\n"), up("c2VjcmV0\r\n"), down("235 2.7.0 ok\r\n"), up("QUIT\r\n"), down("221 bye\r\n")}
	plain := append(login[:3:3], up("AUTH PLAIN\r\n"), down("334 \r\n"), up("AGFsaWNlAHNlY3JldA==\r\n"), down("235 2.7.0 ok\r\n"), up("QUIT\r\n"))
	for _, x := range []struct {
		name  string
		turns []snooptest.Turn
		noSyn bool
		lost  int
		want  artifact.Credential
	}{
		{"the command", login, false, 3, artifact.Credential{Mechanism: "LOGIN", User: "alice", Password: "secret"}},
		{"all before the name", login[4:], true, -1, artifact.Credential{Mechanism: "LOGIN", User: "alice", Password: "secret"}},
		{"all before the password", login[6:], true, -1, artifact.Credential{Mechanism: "LOGIN", Password: "secret"}},
		{"the command of another mechanism", plain, false, 3, artifact.Credential{Mechanism: "PLAIN", User: "alice", Password: "secret"}},
	} {
		talk := snooptest.Talk{Turns: x.turns, NoSyn: x.noSyn}
		d := talk.Dialog(func(i int) bool { return i == x.lost })
		var c snooptest.Collector
		if err := (&Snooper{}).Snoop(context.Background(), d, &c); err != nil {
			t.Fatal(err)
		}
		if len(c.Artifacts) != 1 {
			t.Errorf("%s: %d artifacts", x.name, len(c.Artifacts))
			continue
		}
		got, _ := c.Artifacts[0].Fields.(*artifact.Credential)
		if got == nil || got.Mechanism != x.want.Mechanism || got.User != x.want.User || got.Password != x.want.Password || c.Artifacts[0].Quality != ntpac.Gapped {
			t.Errorf("%s: %+v, %v", x.name, got, c.Artifacts[0].Quality)
		}
	}
}
