// Package tour holds the sample capture to what the programs that talked in it really said.
package tour

import (
	"bufio"
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"ntpac"
	"ntpac/artifact"
	"ntpac/node"
	"ntpac/snoop/all"
	"ntpac/store/embedded"
)

var update = flag.Bool("update", false, "rewrite testdata/artifacts.golden")

const folder = "../../testdata/"

// TestSampleCapture runs the sample through every stage: every file that was served, sent and uploaded
// is found with its hash, and the artifacts are those that were looked at once.
func TestSampleCapture(t *testing.T) {
	st, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	o := node.Options{Case: "tour", Snoopers: all.Snoopers()}
	sum, err := node.Run(t.Context(), t.Context(), st, []string{folder + "tour.pcap"}, o, &node.Progress{})
	if err != nil || sum.Damaged() {
		t.Fatalf("%+v %v", sum, err)
	}
	var got bytes.Buffer
	for a, err := range st.Artifacts(t.Context(), &ntpac.Query{Case: "tour"}) {
		if err != nil {
			t.Fatal(err)
		}
		if a.Quality != ntpac.Complete {
			t.Errorf("%s of %s is %s", a.Type, a.Time, a.Quality)
		}
		got.Write(append(artifact.AppendArtifact(nil, a), '\n'))
	}
	served(t, got.String())
	if _, err := node.Verify(t.Context(), st, "tour", func(p string) { t.Error(p) }); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/artifacts.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	g, w := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("artifact %d of %d differs, %d wanted:\n%s", i, len(g)-1, len(w)-1, strings.Join(g[min(i, len(g)):min(i+1, len(g))], ""))
		}
	}
}

// served looks for the hash of every file that the recorder noted when it served it.
func served(t *testing.T, artifacts string) {
	f, err := os.Open(folder + "tour.sha256")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); n++ {
		if strings.HasPrefix(s.Text(), "#") {
			continue // a part of a form
		}
		sum, name, _ := strings.Cut(s.Text(), "  ")
		if !strings.Contains(artifacts, `"sha256":"`+sum+`"`) {
			t.Errorf("%s was served, and is not among the artifacts", name)
		}
	}
	if n == 0 {
		t.Fatal("no file was served")
	}
}
