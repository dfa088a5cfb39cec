package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ntpac/e2e/cli"
)

// same runs the capture anew, with flags, and wants the same lines.
func (b *bench) same(ctx context.Context, name string, flags []string) error {
	store := filepath.Join(b.dir, name)
	defer os.RemoveAll(store)
	if _, err := b.run(ctx, store, flags, b.capture); err != nil {
		return err
	}
	got, err := list(ctx, b.bin, store)
	if err != nil {
		return err
	}
	return b.base.differ(got)
}

// again runs the capture into the store that has it already: nothing may change.
func again(ctx context.Context, b *bench) error {
	store := filepath.Join(b.dir, "again")
	defer os.RemoveAll(store)
	for range 2 {
		if _, err := b.run(ctx, store, nil, b.capture); err != nil {
			return err
		}
	}
	got, err := list(ctx, b.bin, store)
	if err != nil {
		return err
	}
	return b.base.differ(got)
}

// split reads what two taps saw, as two files of one run. The order in which they are named must not
// matter either.
func split(ctx context.Context, b *bench) error {
	up, down := b.capture+upSuffix, b.capture+downSuffix
	want := b.base.law1()
	for i, files := range [][]string{{up, down}, {down, up}} {
		store := filepath.Join(b.dir, fmt.Sprint("split", i))
		defer os.RemoveAll(store)
		if _, err := b.run(ctx, store, nil, files...); err != nil {
			return err
		}
		got, err := list(ctx, b.bin, store)
		if err != nil {
			return err
		}
		if err := want.differ(got.law1()); err != nil {
			return fmt.Errorf("%s first: %w", strings.TrimPrefix(files[0], b.capture+"."), err)
		}
	}
	return nil
}

// kill kills the run again and again, later each time, lists what the store then holds, and lets the
// last run end.
func kill(ctx context.Context, b *bench) error {
	store := filepath.Join(b.dir, "killed")
	defer os.RemoveAll(store)
	killed := 0
	for i := 1; i <= b.o.kills; i++ {
		short := *b.bin
		short.Timeout = max(b.baseTime*time.Duration(i)/time.Duration(b.o.kills+1), time.Millisecond)
		r, err := short.Run(ctx, store, strings.Fields(b.o.flags), b.capture)
		if err != nil {
			return err
		}
		if r.TimedOut && r.Status == -1 {
			killed++
		}
		if _, err := os.Stat(store); err != nil {
			continue // killed before it made the store
		}
		if err := b.opens(ctx, store); err != nil {
			return fmt.Errorf("after kill %d (of %.0f %% of the time): %w", i, 100*float64(i)/float64(b.o.kills+1), err)
		}
	}
	if killed == 0 {
		return errors.New("no run lived long enough to be killed: take a bigger capture")
	}
	if _, err := b.run(ctx, store, nil, b.capture); err != nil {
		return err
	}
	got, err := list(ctx, b.bin, store)
	if err != nil {
		return err
	}
	if err := b.base.differ(got); err != nil {
		return err
	}
	return b.verify(ctx, store)
}

// opens wants a store whose writer was killed to be readable. One that was not complete yet may be
// refused with a clear line, but not with a crash.
func (b *bench) opens(ctx context.Context, store string) error {
	r, err := b.bin.Exec(ctx, io.Discard, "conversations", "--json", "--store", store, "--case", cli.Case)
	if err != nil {
		return err
	}
	if r.Panicked() || r.TimedOut || r.Status != cli.Done && r.LastLine() == "" {
		return fmt.Errorf("listing ended with status %d: %s", r.Status, r.LastLine())
	}
	return nil
}

func (b *bench) verify(ctx context.Context, store string) error {
	r, err := b.bin.Exec(ctx, io.Discard, "verify", "--store", store, "--case", cli.Case)
	if err == nil && r.Status != cli.Done {
		err = fmt.Errorf("ntpac verify ended with status %d: %s", r.Status, r.LastLine())
	}
	return err
}
