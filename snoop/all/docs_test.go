package all

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var updateDocs = flag.Bool("update-docs", false, "rewrite docs/snoopers.md")

// TestDocs keeps docs/snoopers.md what the snoopers say of themselves.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Snoopers\n\nMade from the code by `go test ./snoop/all -update-docs`. Protocols are found by content on any port; the ports are\nhints that decide only where the content leaves it open.\n\n")
	b.WriteString("| snooper | version | over | ports | finds | holes |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range Snoopers() {
		in := s.Info()
		var protos, ports []string
		for _, p := range in.Protos {
			protos = append(protos, p.String())
		}
		for _, p := range in.Ports {
			ports = append(ports, fmt.Sprint(p))
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s |\n", in.Name, in.Version, strings.Join(protos, ", "), strings.Join(ports, ", "), strings.Join(in.Types, ", "), in.Holes)
	}
	const path = "../../docs/snoopers.md"
	if *updateDocs {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil || string(have) != b.String() {
		t.Fatalf("docs/snoopers.md is not what the code says (%v): run go test ./snoop/all -update-docs", err)
	}
}
