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

// Names of the rows that only checks show.
const (
	twoName  = "whole run, 2 workers"
	openName = "open conversations, whole run without snoopers"
)

// extra are measured beside the table: their bytes are not those of the budget.
func extra(o *options) []Stage {
	return []Stage{
		{Name: twoName, Run: o.wholeRun(2, "--payload", "copy"), Child: true},
		{Name: openName, Run: o.manyOpen(), Child: true},
	}
}

// measureExtra measures what stands below the table, and judges it.
func (t *table) measureExtra(ctx context.Context, o *options) error {
	load, one := loadAverage(), *o
	one.n = 1
	for _, s := range extra(o) {
		if s.Run == nil {
			continue
		}
		if s.Name == twoName {
			c, err := inChild(ctx, o, s.Name)
			if err != nil {
				return err
			}
			t.twoWorkers(c, load)
			continue
		}
		c, err := inChild(ctx, &one, s.Name)
		if err != nil {
			return err
		}
		t.checks = append(t.checks, check{name: fmt.Sprintf("%d %s, peak memory", o.flows, s.Name), value: float64(c.Peak) / 1e6, gate: 1000, unit: "MB", atMost: true})
	}
	t.judge("reassemble with extents", gopacket, 4)
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

// twoWorkers compares wall-clock times, the only place where they are looked at. On a machine that has
// other work than this they mean nothing, so there the gate is not held.
func (t *table) twoWorkers(two cost, load float64) {
	for i := range t.rows {
		r := &t.rows[i]
		if r.name != wholeName || r.absent {
			continue
		}
		c := check{name: twoName + ", over one by the clock", value: float64(r.cost.Wall) / float64(max(two.Wall, 1)), gate: 1.7, unit: "times"}
		switch {
		case load < 0:
			c.note = "load of the machine unknown: means nothing if it had other work"
		case load > 1.2: // what was measured just before is one
			c.note = fmt.Sprintf("load average %.1f: means nothing, the machine had other work", load)
		}
		t.checks = append(t.checks, c)
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
