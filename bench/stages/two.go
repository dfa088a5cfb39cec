package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// twoName is the row that compares two workers with one.
const twoName = "whole run, 2 workers, over one by the clock"

// measureTwo compares whole runs of one and of two workers by the clock, the only place where it is looked at.
// The runs take turns and the best of each counts; the stores are in memory where the machine has
// such a folder, so that it is not the disk that is measured. Two runs of one worker at once say how
// much of a second processor this machine has to give.
func (t *table) measureTwo(o *options) error {
	if o.ntpac == "" {
		return nil
	}
	load := loadAverage()
	var one, two, both time.Duration
	for range o.n {
		for _, m := range []struct {
			best    *time.Duration
			workers []int
		}{{&one, []int{1}}, {&two, []int{2}}, {&both, []int{1, 1}}} {
			d, err := o.clock(m.workers)
			if err != nil {
				return err
			}
			if *m.best == 0 || d < *m.best {
				*m.best = d
			}
		}
	}
	ceiling := 2 * one.Seconds() / both.Seconds()
	c := check{name: fmt.Sprintf("%s (two processes at once: %.2f)", twoName, ceiling), value: one.Seconds() / two.Seconds(), gate: 1.7, unit: "times"}
	switch {
	case load < 0:
		c.note = "load of the machine unknown: means nothing if it had other work"
	case load > 1.2: // what was measured just before is one
		c.note = fmt.Sprintf("load average %.1f: means nothing, the machine had other work", load)
	}
	t.checks = append(t.checks, c)
	return nil
}

// clock runs the product as many times at once as there are numbers of workers, and gives how long that took.
func (o *options) clock(workers []int) (time.Duration, error) {
	dir, err := os.MkdirTemp(memoryFolder(o.tmp), "ntpac-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	done, start := make(chan error, len(workers)), time.Now()
	for i, n := range workers {
		go func() { done <- o.product(n, fmt.Sprint(dir, "/", i), o.capture, "--payload", "copy") }()
	}
	for range workers {
		err = errors.Join(err, <-done)
	}
	return time.Since(start), err
}

// memoryFolder is a folder in memory, where no other was asked for and there is one.
func memoryFolder(tmp string) string {
	if st, err := os.Stat("/dev/shm"); tmp == "" && err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return tmp
}
