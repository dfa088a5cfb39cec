package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ntpac/e2e/cli"
)

// skew is how much the clock of the down tap is ahead.
const skew = 200 * time.Millisecond

// skewed reads what two taps saw, of which one has another clock. Times may differ, and what is made of
// them: the ids of conversations that begin with a packet of that tap, and of their artifacts.
func skewed(ctx context.Context, b *bench) error {
	up, down := b.capture+upSuffix, filepath.Join(b.dir, "ahead.pcap")
	defer os.Remove(down)
	if err := shift(b.capture+downSuffix, down, skew); err != nil {
		return err
	}
	store := filepath.Join(b.dir, "skew")
	defer os.RemoveAll(store)
	if _, err := b.run(ctx, store, nil, up, down); err != nil {
		return err
	}
	got, err := list(ctx, b.bin, store)
	if err != nil {
		return err
	}
	return b.base.law1().untimed().differ(got.law1().untimed())
}

// shift copies a pcap file with all times moved.
func shift(from, to string, by time.Duration) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<20)
	defer func() { err = errors.Join(err, w.Flush(), out.Close()) }()
	r := bufio.NewReaderSize(in, 1<<20)
	var head [24]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	le := binary.LittleEndian
	unit := time.Microsecond
	switch le.Uint32(head[:]) {
	case 0xa1b2c3d4:
	case 0xa1b23c4d:
		unit = time.Nanosecond
	default:
		return fmt.Errorf("%s is no pcap file in little endian", from)
	}
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	for {
		if _, err := io.ReadFull(r, head[:16]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		at := time.Unix(int64(le.Uint32(head[:])), int64(le.Uint32(head[4:]))*int64(unit)).Add(by)
		le.PutUint32(head[:], uint32(at.Unix()))
		le.PutUint32(head[4:], uint32(at.Nanosecond()/int(unit)))
		if _, err := w.Write(head[:16]); err != nil {
			return err
		}
		if _, err := io.CopyN(w, r, int64(le.Uint32(head[8:]))); err != nil {
			return err
		}
	}
}

// timeFields are what tells of time, or is named by it.
var timeFields = []string{"id", "first", "last", "time", "parent"}

// untimed is the listing without times. A conversation is named by its ends and its place among those
// between them.
func (l *listing) untimed() *listing {
	byEnds := map[string][]row{}
	for _, r := range l.conversations {
		ends, _ := cli.Between(fmt.Sprint(r["src_ip"], "|", r["src_port"]), fmt.Sprint(r["dst_ip"], "|", r["dst_port"]))
		k := r.text("proto") + " " + ends
		byEnds[k] = append(byEnds[k], r)
	}
	name := map[string]string{}
	out := &listing{}
	for k, rows := range byEnds {
		slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.text("first"), b.text("first")) })
		for i, r := range rows {
			name[r.text("id")] = fmt.Sprint(k, " ", i)
			x := r.without(timeFields)
			x["id"] = name[r.text("id")]
			out.conversations = append(out.conversations, x)
		}
	}
	for _, r := range l.artifacts {
		x := r.without(timeFields)
		for k, v := range x {
			if id, ok := v.(string); ok && name[id] != "" {
				x[k] = name[id]
			}
		}
		x["id"] = strings.Join([]string{r.text("type"), x.text("conversation"), x.line()}, " ")
		out.artifacts = append(out.artifacts, x)
	}
	return out
}
