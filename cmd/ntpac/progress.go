package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"ntpac"
	"ntpac/node"
)

// How often progress is shown: on a terminal one line is written over and over, elsewhere lines follow
// one another.
const (
	terminalEvery = 250 * time.Millisecond
	plainEvery    = 5 * time.Second
)

// follow shows how a run goes on, until stop is called.
func (a *app) follow(p *node.Progress, begun time.Time) (stop func()) {
	every := plainEvery
	if a.terminal {
		every = terminalEvery
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		drain := a.drain.Done()
		for {
			select {
			case <-done:
				if a.terminal {
					fmt.Fprint(a.err, "\r\x1b[K")
				}
				return
			case <-drain:
				drain = nil
				if a.terminal {
					fmt.Fprint(a.err, "\r\x1b[K")
				}
				fmt.Fprintln(a.err, "ntpac: interrupted: storing what was read; a second interrupt stops at once")
				continue
			case <-tick.C:
			}
			line := progressLine(p, time.Since(begun))
			if a.terminal {
				fmt.Fprint(a.err, "\r", line, "\x1b[K")
			} else {
				fmt.Fprintln(a.err, line)
			}
		}
	}()
	return func() { close(done); <-ended }
}

func progressLine(p *node.Progress, took time.Duration) string {
	read, total := p.Bytes(), p.Total.Load()
	rate := float64(read) / max(took.Seconds(), 1e-3)
	var b strings.Builder
	if total > 0 {
		share := min(float64(read)/float64(total), 1)
		fmt.Fprintf(&b, "%3.0f%% of %s, %s/s", share*100, bytesText(total), bytesText(int64(rate)))
		if share > 0.01 && share < 1 {
			left := time.Duration(float64(took) * (1 - share) / share)
			fmt.Fprintf(&b, ", %s left", left.Round(time.Second))
		}
	} else {
		fmt.Fprintf(&b, "%s read, %s/s", bytesText(read), bytesText(int64(rate)))
	}
	fmt.Fprintf(&b, ", %s packets, %s conversations", grouped(p.Packets.Load()), grouped(p.Conversations.Load()))
	if types := typesText(p.Artifacts(), 3); types != "" {
		b.WriteString(", " + types)
	}
	return b.String()
}

// typesText lists the most frequent types of artifacts, at most n.
func typesText(m map[string]int64, n int) string {
	types := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for i, t := range types {
		if i == n {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, t+" "+grouped(m[t]))
	}
	return strings.Join(parts, ", ")
}

// summarize says at the end what a run did, what it found, and what it could not do.
func (a *app) summarize(p *place, s *node.Summary, prog *node.Progress, took time.Duration) {
	w := a.err
	var first, last ntpac.Time
	var packets uint64
	for i := range s.Sources {
		src := &s.Sources[i]
		packets += src.Packets
		if src.Packets > 0 {
			if first == 0 || src.First < first {
				first = src.First
			}
			last = max(last, src.Last)
		}
	}
	fmt.Fprintf(w, "Read       %s, %s, %s\n", plural(len(s.Sources), "capture"), bytesText(prog.Bytes()), plural(packets, "packet"))
	if packets > 0 {
		fmt.Fprintf(w, "Time       %s to %s (%s)\n", timeText(first), timeText(last), spanText(last-first))
	}
	fmt.Fprintf(w, "Stored     %s in %s, case %s\n", plural(prog.Conversations.Load(), "conversation"), p.store, p.cs)
	if types := typesText(s.Artifacts, 1<<10); types != "" {
		fmt.Fprintf(w, "Artifacts  %s\n", types)
	} else {
		fmt.Fprintf(w, "Artifacts  none\n")
	}
	losses(w, s)
	rate := float64(prog.Bytes()) / max(took.Seconds(), 1e-3)
	fmt.Fprintf(w, "Took       %s (%s/s)\n", took.Round(10*time.Millisecond), bytesText(int64(rate)))
	if s.Interrupt {
		fmt.Fprintln(w, "Interrupted: what was read until then is stored")
	}
}

// account says what became of the packets and bytes that were read, and what was not analysed and why.
func account(w io.Writer, l *node.Ledger) {
	if l == nil {
		return
	}
	p, b := &l.Packets, &l.Payload
	parts := counts(p.Undecodable)
	parts = append(parts, counts(map[string]uint64{"duplicate": p.Duplicates, "of no known conversation": p.Unassigned,
		"fragments without the rest": p.Fragments.Incomplete, "fragments again": p.Fragments.Repeated,
		"bad fragments": p.Fragments.Bad, "fragments of nothing readable": p.Fragments.Undecodable})...)
	fmt.Fprintf(w, "Analysed   %s of %s\n", grouped(p.Analysed), with(plural(p.Read, "packet"), parts))
	if b.Streams != b.Read {
		fmt.Fprintf(w, "Payload    %s of %s\n", grouped(b.Streams), with(plural(b.Read, "byte"), counts(map[string]uint64{
			"captured again": b.Again, "of duplicates": b.Duplicates, "of no stream": b.Outside, "with a wrong checksum": b.Rejected})))
	}
	missing, causes := uint64(0), map[string]uint64{}
	for cause, m := range l.Missing {
		missing += m.Bytes
		causes[cause] = m.Bytes
	}
	note := func(n uint64, what, happened string, parts []string) {
		if n > 0 {
			fmt.Fprintf(w, "Noted      %s\n", with(plural(n, what)+" "+happened, parts))
		}
	}
	note(missing, "byte", "of TCP streams missing in the capture", counts(causes))
	note(l.Cut.Packets, "packet", "cut short by the snap length", []string{bytesText(int64(l.Cut.Bytes))})
	note(l.Policy.BadChecksum, "segment", "with a wrong checksum", nil)
	note(l.Policy.NotSnooped, "conversation", "not snooped, as --snoop wants it", nil)
	hits := uint64(0)
	for _, n := range l.Limits {
		hits += n
	}
	note(hits, "time", "a limit was hit; the conversations are flagged", counts(l.Limits))
}

// counts lists what is not zero, the most frequent first.
func counts(m map[string]uint64) (parts []string) {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	for _, name := range names {
		if m[name] > 0 {
			parts = append(parts, grouped(m[name])+" "+name)
		}
	}
	return parts
}

// with adds parts in brackets, where there are any.
func with(what string, parts []string) string {
	if len(parts) == 0 {
		return what
	}
	return what + " (" + strings.Join(parts, ", ") + ")"
}

// losses names what was damaged, missing or given up.
func losses(w io.Writer, s *node.Summary) {
	line := func(n uint64, what string) {
		if n > 0 {
			fmt.Fprintf(w, "Noted      %s\n", fmt.Sprintf(what, grouped(n)))
		}
	}
	account(w, s.Ledger)
	r := &s.Reassembly
	line(r.Conflicts, "%s bytes were captured in differing versions; both are kept")
	line(s.Late, "%s packets came later than the reorder window allows")
	line(s.Jumps, "%s jumps of time that were not believed")
	line(s.Snoop.Panics, "%s times a snooper failed; the rest of those conversations is unread")
	for i := range s.Sources {
		line(s.Sources[i].Dropped, "%s packets were dropped while "+clean(s.Sources[i].Name)+" was captured")
	}
	for i := range s.Sources {
		src := &s.Sources[i]
		for k, d := range src.Damage {
			if k == 3 {
				fmt.Fprintf(w, "Damaged    %s: and %s more\n", clean(src.Name), plural(src.Damaged-3, "place"))
				break
			}
			fmt.Fprintf(w, "Damaged    %s: at byte %s: %s\n", clean(src.Name), grouped(d.Off), clean(d.Reason))
		}
	}
	for _, f := range s.Failed {
		fmt.Fprintf(w, "Failed     %s\n", oneLine(f))
	}
}
