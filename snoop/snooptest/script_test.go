package snooptest

import (
	"bytes"
	"testing"

	"ntpac"
)

func TestParse(t *testing.T) {
	s, err := Parse("# c\nproto udp\nserver 10.0.0.9:53\nclaim unsure\nexpect {\"a\": 1}\n\n> \"a\\r\\n\" 00ff 01\n  `b` \"x y\"*3 # end\n< \"z\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Turns) != 2 || string(s.Turns[0].Data) != "a\r\n\x00\xff\x01bx yx yx y" || s.Turns[1].Dir != ntpac.Down ||
		s.Proto != ntpac.UDP || s.Server.Port() != 53 || s.Claim != ntpac.Unsure || s.Expect == nil {
		t.Errorf("%+v", s)
	}
	for _, bad := range []string{"proto x", "> zz", "> \"a", "  \"a\"", "nonsense 1", "> \"a\"*x", "client 1", "claim x", "expect {"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestFormatIsRead(t *testing.T) {
	in := &Talk{Proto: ntpac.UDP, Turns: []Turn{Up("hello"), {ntpac.Down, bytes.Repeat([]byte{1, 2, 3}, 50)}}}
	s, err := Parse(Format(in, "a talk\nof two"))
	if err != nil || len(s.Turns) != 2 {
		t.Fatal(err, s)
	}
	for i := range in.Turns {
		if s.Turns[i].Dir != in.Turns[i].Dir || !bytes.Equal(s.Turns[i].Data, in.Turns[i].Data) {
			t.Errorf("turn %d: %q", i, s.Turns[i].Data)
		}
	}
}

// TestHoles checks how the kit shows what was not captured.
func TestHoles(t *testing.T) {
	talk := Talk{Turns: []Turn{Up("aaaa"), Down("bbbb"), Up("cccc"), Up("dddd")}}
	d := talk.Dialog(func(i int) bool { return i == 2 })
	if h := d.Conv.In(ntpac.Up); h.Bytes != 8 || h.Missing != 4 || len(h.Gaps) != 1 || h.Gaps[0] != (ntpac.Gap{Off: 4, Len: 4}) {
		t.Errorf("TCP: %+v", h)
	}
	d = talk.play(talk.segments(), ntpac.CloseEnd, [2]int64{10, 0})
	if d.Up.Gap() != 10 || d.Up.SkipGap() != 10 || string(d.Up.Peek(5)) != "aaaac" {
		t.Errorf("lead: at %d", d.Up.Off())
	}
	talk.Proto = ntpac.UDP
	segs := talk.segments()
	segs[0].cut = 1
	d = talk.play(segs, ntpac.CloseEnd, [2]int64{})
	var got []string
	for m := range d.Messages() {
		got = append(got, m.Dir.String()+string(m.Data))
		if m.Cut != (len(got) == 1) {
			t.Errorf("message %d: cut %v", len(got), m.Cut)
		}
	}
	if len(got) != 4 || got[0] != "upaaa" || got[3] != "updddd" {
		t.Errorf("messages: %q", got)
	}
}
