package main

import (
	"fmt"
	"io"
	"time"
)

// row is one measurement.
type row struct {
	name          string
	cost          cost
	gate, stretch float64
	perPacket     float64 // allocations per packet that are allowed; -1 for any number
	size          int64   // bytes worked through, where not the capture's
	absent        bool    // not measured
	peer          bool    // another program
	mapped        bool    // its memory is the mapped file
	child         bool    // a child did the work: heap allocations were not seen
}

// table holds all measurements of a run.
type table struct {
	size, packets int64
	f1            time.Duration
	rows          []row
	checks        []check
}

func (t *table) add(r row) {
	if r.size == 0 {
		r.size = t.size
	}
	t.rows = append(t.rows, r)
}

// speed is in Gbit/s of CPU time.
func (r *row) speed() float64 { return float64(r.size) * 8 / float64(max(r.cost.CPU, 1)) }

// ratio is the row's speed over F1's.
func (t *table) ratio(r *row) float64 {
	return r.speed() / (float64(t.size) * 8 / float64(max(t.f1, 1)))
}

// over is how many times faster r is than the named peer; 0 where that was not measured.
func (t *table) over(r *row, name string) float64 {
	for i := range t.rows {
		if p := &t.rows[i]; p.name == name && !p.absent {
			return r.speed() / p.speed()
		}
	}
	return 0
}

// allocs are the heap allocations per packet in steady state.
func (r *row) allocs() float64 { return float64(r.cost.Mallocs) / float64(max(r.cost.Steady, 1)) }

// missed counts the gates that were not reached.
func (t *table) missed() (n int) {
	for i := range t.rows {
		if r := &t.rows[i]; !r.absent && t.ratio(r) < r.gate {
			n++
		}
	}
	for i := range t.checks {
		if !t.checks[i].ok() {
			n++
		}
	}
	return n
}

// verdict says how a row stands to its gate.
func (t *table) verdict(r *row) string {
	switch x := t.ratio(r); {
	case r.gate == 0:
		return ""
	case x >= r.stretch:
		return "stretch"
	case x >= r.gate:
		return "yes"
	}
	return "MISSED"
}

// print writes the table, in Markdown.
func (t *table) print(w io.Writer) {
	fmt.Fprintln(w, "| stage | CPU s | Gbit/s per core | x F1 | gate | reached | x gopacket | x tcpflow | x tshark | allocs/packet (steady) | peak MB |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
	for i := range t.rows {
		r := &t.rows[i]
		if r.absent {
			fmt.Fprintf(w, "| %s | not measured |\n", r.name)
			continue
		}
		allocs, peak := "", fmt.Sprintf("%.0f", float64(r.cost.Peak)/1e6)
		if r.gate != 0 && !r.child {
			allocs = fmt.Sprintf("%.4f", r.allocs())
		}
		if r.mapped {
			peak = ""
		}
		fmt.Fprintf(w, "| %s | %.3f | %.2f | %.3f | %s | %s | %s | %s | %s | %s | %s |\n", r.name, r.cost.CPU.Seconds(), r.speed(), t.ratio(r),
			optional("%g", r.gate), t.verdict(r), optional("%.1f", t.over(r, gopacket)), optional("%.1f", t.over(r, tcpflow)),
			optional("%.1f", t.over(r, tshark)), allocs, peak)
	}
}

func optional(format string, v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}
