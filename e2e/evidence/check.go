package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"ntpac/e2e/cli"
)

// check is one capture that is looked at.
type check struct {
	o         *options
	t         *tally
	file, dir string
	bin       *cli.Binary
	late      bool // packets lie farther back in time than the reorder window allows
}

func (c *check) all(ctx context.Context) error {
	store := filepath.Join(c.dir, "store")
	found, err := c.ingest(ctx, store, c.file)
	if err != nil || len(found) == 0 {
		return err
	}
	c.t.add(func() { c.t.captures++ })
	want := 0
	for i := range found {
		want += packets(&found[i])
	}
	whole := filepath.Join(c.dir, "whole.pcap")
	frames, err := c.export(ctx, store, "", whole)
	switch {
	case err != nil && strings.Contains(err.Error(), "holds one link type"):
		// Several link types need pcapng, in which tshark counts.
		whole += "ng"
		if err := c.pcap(ctx, store, "", whole); err != nil {
			return err
		}
	case err != nil:
		return err
	case len(frames) != want:
		return fmt.Errorf("%d packets exported, the conversations have %d", len(frames), want)
	default:
		if err := errors.Join(c.original(frames), c.alone(ctx, store, found)); err != nil {
			return err
		}
	}
	c.t.add(func() { c.t.packets += want })
	return errors.Join(c.tshark(ctx, whole, want), c.again(ctx, whole, found), c.changed(ctx, store))
}

// packets is how many frames a conversation's record speaks of.
func packets(v *cli.Conversation) int {
	return int(v.PacketsUp + v.PacketsDown + v.DuplicatesUp + v.DuplicatesDown)
}

// ingest runs a capture into a store of its own.
func (c *check) ingest(ctx context.Context, store, file string) ([]cli.Conversation, error) {
	r, err := c.bin.Run(ctx, store, []string{"--snoop", "none"}, file)
	if err != nil {
		return nil, err
	}
	if r.Panicked() || r.Status != cli.Done && r.Status != cli.Damaged {
		return nil, fmt.Errorf("run ended with status %d: %s", r.Status, r.LastLine())
	}
	return c.bin.Conversations(ctx, store)
}

// call is a command that must end well.
func (c *check) call(ctx context.Context, out io.Writer, args ...string) error {
	r, err := c.bin.Exec(ctx, out, args...)
	if err == nil && r.Status != cli.Done {
		err = fmt.Errorf("ntpac %s ended with status %d: %s", args[0], r.Status, r.LastLine())
	}
	return err
}

// pcap takes the packets of a selection out.
func (c *check) pcap(ctx context.Context, store, where, file string) error {
	return c.call(ctx, io.Discard, "export", "--store", store, "--case", cli.Case, "--where", where, "--pcap", file)
}

// export takes the packets of a selection out, and reads them.
func (c *check) export(ctx context.Context, store, where, file string) ([]frame, error) {
	if err := c.pcap(ctx, store, where, file); err != nil {
		return nil, err
	}
	return readFrames(file)
}

// original wants every exported frame in the source, as often as it was exported. Only a plain pcap can be
// read here.
func (c *check) original(frames []frame) error {
	source, err := readFrames(c.file)
	if errors.Is(err, errNotPlain) {
		return nil
	}
	if err != nil {
		return err
	}
	c.late = disorder(source) > reorderWindow
	has := map[frame]int{}
	for _, f := range source {
		has[f]++
	}
	for i, f := range frames {
		if has[f]--; has[f] < 0 {
			return fmt.Errorf("exported packet %d is not in the source", i+1)
		}
	}
	c.t.add(func() { c.t.compared += len(frames) })
	return nil
}

// alone exports single conversations.
func (c *check) alone(ctx context.Context, store string, found []cli.Conversation) error {
	for i := range min(c.o.single, len(found)) {
		v := &found[i*len(found)/min(c.o.single, len(found))]
		frames, err := c.export(ctx, store, fmt.Sprintf("id == %q", v.ID), filepath.Join(c.dir, "one.pcap"))
		if err != nil {
			return err
		}
		if len(frames) != packets(v) {
			return fmt.Errorf("conversation %s: %d packets exported, its record has %d", v.ID, len(frames), packets(v))
		}
		c.t.add(func() { c.t.single++ })
	}
	return nil
}

// tshark wants another program to read as many packets.
func (c *check) tshark(ctx context.Context, file string, want int) error {
	bin, err := exec.LookPath("tshark")
	if err != nil {
		return nil
	}
	out, err := exec.CommandContext(ctx, bin, "-n", "-r", file, "-T", "fields", "-e", "frame.number").Output()
	if err != nil {
		return fmt.Errorf("tshark does not read the export: %w", err)
	}
	if n := bytes.Count(out, []byte("\n")); n != want {
		return fmt.Errorf("tshark reads %d packets of %d", n, want)
	}
	c.t.add(func() { c.t.read++ })
	return nil
}

// again reads the export as a capture: it must give the conversations that it was made of. The export is in the
// order of time: where the source was not, by more than the reorder window, a packet that came that late may be
// taken for another one's copy now, and only the streams must be the same.
func (c *check) again(ctx context.Context, file string, found []cli.Conversation) error {
	again, err := c.ingest(ctx, filepath.Join(c.dir, "again"), file)
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for i := range found {
		want[c.line(&found[i])] = true
	}
	for i := range again {
		if l := c.line(&again[i]); !want[l] {
			return fmt.Errorf("read again, the export has another conversation: %s", l)
		}
	}
	if len(again) != len(found) {
		return fmt.Errorf("read again, the export has %d conversations of %d", len(again), len(found))
	}
	return nil
}

func (c *check) line(v *cli.Conversation) string {
	w := *v
	if c.late {
		w.PacketsUp, w.PacketsDown, w.DuplicatesUp, w.DuplicatesDown = 0, 0, 0, 0
	}
	b, err := json.Marshal(w)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// changed wants the store to verify, and not to verify any more with one byte of its payload changed.
func (c *check) changed(ctx context.Context, store string) error {
	verify := []string{"verify", "--store", store, "--case", cli.Case}
	if err := c.call(ctx, io.Discard, verify...); err != nil {
		return err
	}
	path, err := payload(store)
	if err != nil || path == "" {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return err
	}
	r, err := c.bin.Exec(ctx, io.Discard, verify...)
	if err == nil && (r.Status != cli.Failed || r.Panicked()) {
		err = fmt.Errorf("one byte of %s changed, verify ended with status %d", filepath.Base(path), r.Status)
	}
	c.t.add(func() { c.t.flip++ })
	return err
}

// payload finds a segment file that holds something.
func payload(store string) (found string, err error) {
	err = filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".seg") {
			return err
		}
		if st, err := d.Info(); err == nil && st.Size() > 64 {
			found = path
		}
		return nil
	})
	return found, err
}
