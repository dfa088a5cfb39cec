package main

import (
	"context"
	"fmt"
	"io"
)

// check is a gate that is no ratio to F1.
type check struct {
	name   string
	value  float64
	gate   float64
	unit   string
	atMost bool
	note   string // why the gate is not held
}

func (c *check) ok() bool {
	if c.atMost {
		return c.value <= c.gate
	}
	return c.value >= c.gate || c.note != ""
}

// openName is a row that only checks show.
const openName = "open conversations, whole run without snoopers"

// extra are measured beside the table: their bytes are not those of the budget.
func extra(o *options) []Stage {
	return []Stage{{Name: openName, Run: o.manyOpen(), Child: true}}
}

// measureExtra measures what stands below the table, and judges it.
func (t *table) measureExtra(ctx context.Context, o *options) error {
	if err := t.measureTwo(o); err != nil {
		return err
	}
	if err := t.measureOpen(ctx, o); err != nil {
		return err
	}
	t.judge(reassembleName, gopacket, 2) // that of 4 is for many open conversations: docs/adr/0006
	t.judge(wholeName, tshark, 7)
	for i := range t.rows {
		if r := &t.rows[i]; r.gate != 0 && !r.child && !r.absent && r.perPacket >= 0 {
			t.checks = append(t.checks, check{name: r.name + ", allocations per packet", value: r.allocs(), gate: r.perPacket + 0.00005, atMost: true})
		}
	}
	return nil
}

// judge holds a row against a peer.
func (t *table) judge(name, peer string, gate float64) {
	for i := range t.rows {
		if r := &t.rows[i]; r.name == name && !r.absent {
			if x := t.over(r, peer); x != 0 {
				t.checks = append(t.checks, check{name: name + ", over " + peer, value: x, gate: gate, unit: "times"})
			}
		}
	}
}

func (t *table) printChecks(w io.Writer) {
	if len(t.checks) == 0 {
		return
	}
	fmt.Fprintln(w, "\n| beside F1 | measured | gate | reached |")
	fmt.Fprintln(w, "| --- | ---: | ---: | --- |")
	for i := range t.checks {
		c := &t.checks[i]
		sign, verdict := ">=", "yes"
		if c.atMost {
			sign = "<="
		}
		switch {
		case c.note != "":
			verdict = c.note
		case !c.ok():
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "| %s | %.4g %s | %s %.4g | %s |\n", c.name, c.value, c.unit, sign, c.gate, verdict)
	}
}
