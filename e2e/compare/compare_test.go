package compare

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func items(keys ...string) (l []Item) {
	for _, k := range keys {
		l = append(l, Item{Keys: strings.Split(k, ","), Near: k[:1]})
	}
	return l
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		name      string
		want, got []Item
		o         Outcome
	}{
		{"one to one", items("a", "a"), items("a"), Outcome{Pairs: []Pair{{0, 0, 0}}, Missing: []int{1}}},
		{"extra", items("a"), items("b", "a"), Outcome{Pairs: []Pair{{0, 1, 0}}, Extra: []int{0}}},
		{"exact first", items("a1,a", "a2,a"), items("a2,a", "a3,a"), Outcome{Pairs: []Pair{{1, 0, 0}, {0, 1, 1}}}},
		{"nothing", nil, nil, Outcome{}},
	} {
		if o := Match(c.want, c.got); !reflect.DeepEqual(o, c.o) {
			t.Errorf("%s: %+v, want %+v", c.name, o, c.o)
		}
	}
}

func TestTally(t *testing.T) {
	e, err := ReadExplanations(strings.NewReader("# note\n\nf\tk\ta2\twhy\ng\tk\ta2\tnot looked at\nf\tk\ta9\tstale\n"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	tl := &Tally{Explained: e, Log: &log}
	tl.Add("f", "k", items("a1", "a2", "b1"), items("a1", "a3", "c1"))
	if c := tl.Count("k"); c != (Count{Agreed: 1, Explained: 1, Unexplained: 1, Extra: 2}) {
		t.Errorf("%+v", c)
	}
	if c := tl.Count("k"); c.Percent() < 33.3 || c.Percent() > 33.4 {
		t.Errorf("an explanation made an agreement: %g", c.Percent())
	}
	if !strings.Contains(log.String(), `"want":"a2","got":"a3","explained":"why"`) {
		t.Errorf("differences:\n%s", log.String())
	}
	if s := e.Stale(func(c string) bool { return c == "f" }); !reflect.DeepEqual(s, []int{5}) {
		t.Errorf("stale: %v", s)
	}
	var m Minimum
	if err := m.Set("k=30,none=1"); err != nil {
		t.Fatal(err)
	}
	if b := m.Below(tl); len(b) != 1 || !strings.HasPrefix(b[0], "none:") {
		t.Errorf("below: %v", b)
	}
}

func TestBadInput(t *testing.T) {
	for _, s := range []string{"a\tb\tc\n", "a\tb\t\twhy\n", "a\tb\tc\t \n", "a\tb\tc\tx\na\tb\tc\ty\n"} {
		if _, err := ReadExplanations(strings.NewReader(s)); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
	for _, s := range []string{"", "x", "x=", "x=101", "x=y"} {
		if (&Minimum{}).Set(s) == nil {
			t.Errorf("%q was taken", s)
		}
	}
}
