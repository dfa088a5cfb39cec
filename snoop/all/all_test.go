package all

import (
	"path/filepath"
	"testing"

	"ntpac"
	"ntpac/snoop"
	"ntpac/snoop/snooptest"
)

// TestConfusion shows every snooper the talks of all others. Nobody may be certain of a talk that is
// not its own, and the registry has to give each talk to its owner.
func TestConfusion(t *testing.T) {
	list := Snoopers()
	reg := snoop.NewRegistry(list)
	for _, owner := range list {
		name := owner.Info().Name
		for _, sc := range snooptest.Load(t, filepath.Join("..", name, "testdata")) {
			if sc.Expect != nil {
				continue
			}
			var h ntpac.Head
			snoop.HeadOf(sc.Dialog(nil), &h)
			for _, other := range list {
				if v := other.Probe(&h); other != owner && v.Confidence == ntpac.Certain && !v.Later {
					t.Errorf("%s is certain of %s/%s", other.Info().Name, name, sc.Name)
				}
			}
			if s, by, _ := reg.Identify(&h); sc.Claim == ntpac.Certain && (s != owner || by != ntpac.ByContent) {
				t.Errorf("%s/%s was given to %v by %v", name, sc.Name, s, by)
			}
		}
	}
}

// TestInfo checks what lists and documents are made from.
func TestInfo(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Snoopers() {
		in := s.Info()
		if in.Name == "" || seen[in.Name] || in.Version < 1 || len(in.Protos) == 0 || len(in.Types) == 0 || in.Holes == "" {
			t.Errorf("%+v", in)
		}
		seen[in.Name] = true
	}
}
