package main

import (
	"context"
	"fmt"
	"io"
	"os"
)

// damage is what the generator does to the second capture: losses, disorder, repetition, forged and missing
// parts of every kind. The project's own generator has one knob for it.
const (
	damage     = "-loss 0.01 -reorder 0.02 -dup 0.01 -overlap 0.01 -midstream 0.1 -onesided 0.05 -frag 0.02 -retx 0.02 -conflict 0.002"
	damageLate = 0.06
)

// damaged measures the stages again, on a capture of the same size and seed that is damaged, and prints both
// side by side: what the damage costs. Gates are for the undamaged one.
func (t *table) damaged(ctx context.Context, o *options, out io.Writer) error {
	d := *o
	d.capture, d.knobs, d.late = "", damage, damageLate
	if err := d.generate(ctx); err != nil {
		return err
	}
	st, err := os.Stat(d.capture)
	if err != nil {
		return err
	}
	f1, err := inChild(ctx, &d, f1Name)
	if err != nil {
		return err
	}
	second := &table{size: st.Size(), packets: f1.Packets, f1: f1.CPU}
	if err := second.measure(ctx, &d); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe same on a damaged capture: %d bytes, %d packets.\n\n", second.size, second.packets)
	fmt.Fprintln(out, "| stage | ns/packet | ns/packet, damaged | ratio | x F1 of the damaged | gate | reached | allocs/packet (steady) | peak MB |")
	fmt.Fprintln(out, "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |")
	for i := range second.rows {
		b := &second.rows[i]
		a := t.named(b.name)
		if a == nil || a.absent || b.absent || b.gate == 0 {
			continue
		}
		x, y := t.perPacket(a), second.perPacket(b)
		allocs := ""
		if !b.child {
			allocs = fmt.Sprintf("%.4f", b.allocs())
		}
		fmt.Fprintf(out, "| %s | %.0f | %.0f | %.2f | %.3f | %g | %s | %s | %.0f |\n", b.name, x, y, y/x, second.ratio(b), b.gate, second.verdict(b), allocs, float64(b.cost.Peak)/1e6)
	}
	return nil
}

func (t *table) named(name string) *row {
	for i := range t.rows {
		if t.rows[i].name == name {
			return &t.rows[i]
		}
	}
	return nil
}

// perPacket is the CPU time of a row, in ns a packet.
func (t *table) perPacket(r *row) float64 {
	return float64(r.cost.CPU.Nanoseconds()) / float64(max(t.packets, 1))
}
