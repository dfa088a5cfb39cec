package snoop_test

import (
	"context"
	"testing"

	"ntpac/snoop"
	"ntpac/snoop/all"
	"ntpac/snoop/snooptest"
)

// BenchmarkRun snoops whole conversations, identification included.
func BenchmarkRun(b *testing.B) {
	reg := snoop.NewRegistry(all.Snoopers())
	for _, name := range []string{"dns/testdata/udp", "tls/testdata/tls12", "tls/testdata/tls13"} {
		b.Run(name, func(b *testing.B) {
			sc, err := snooptest.ReadFile(name + ".talk")
			if err != nil {
				b.Fatal(err)
			}
			d := sc.Dialog(nil)
			b.ReportAllocs()
			for b.Loop() {
				if g := snoop.Run(context.Background(), reg, d.Fresh(), snoop.Options{}); len(g.Artifacts) == 0 {
					b.Fatal("nothing found")
				}
			}
		})
	}
}
