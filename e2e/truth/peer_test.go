package main

import (
	"slices"
	"strings"
	"testing"
)

func TestReadPeer(t *testing.T) {
	found, err := readPeer(strings.NewReader(`{"net":"10.0.0.2->10.0.0.9","transport":"80->5000","bytes":[90,5],"sha256":["h","u"],"gaps":[[[50,10]],null],"missing":[10,0]}
{"net":"10.0.0.9->10.0.0.2","transport":"5000->80","bytes":[0,0],"sha256":["x","x"],"gaps":[null,null],"missing":[0,0]}
`))
	if err != nil {
		t.Fatal(err)
	}
	l := found["10.0.0.2|80-10.0.0.9|5000"]
	if len(l) != 1 {
		t.Fatalf("%v", found)
	}
	if gaps, ok := peerDirection(l, "10.0.0.2|80", "h"); !ok || !slices.Equal(gaps, [][2]int64{{50, 10}}) {
		t.Errorf("%v %t", gaps, ok)
	}
	if gaps, ok := peerDirection(l, "10.0.0.9|5000", "u"); !ok || gaps != nil {
		t.Errorf("%v %t", gaps, ok)
	}
	if _, ok := peerDirection(l, "10.0.0.9|5000", "h"); ok {
		t.Error("the other direction's bytes")
	}
	for _, bad := range []string{"{", `{"net":"10.0.0.2","transport":"1->2"}`, `{"net":"10.0.0.2->10.0.0.3","transport":"1->x"}`} {
		if _, err := readPeer(strings.NewReader(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
