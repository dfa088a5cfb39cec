package capture

import (
	"context"
	"fmt"
	"io"

	"ntpac"
)

const (
	defaultBatch  = 1024     // packets in a batch that came without room of its own
	maxBatchBytes = 4 << 20  // of blocks that one batch holds, so that big records cannot fill the memory
	maxDamage     = 1000     // places that are described one by one
	maxRecord     = 16 << 20 // captured bytes of one record: more is corruption
	markEvery     = 64 << 20 // bytes between restart points
)

// Next fills the batch with the next packets, at most cap(b.Packets), or 1024 where that is 0. From a
// pipe it gives what has arrived. See ntpac.Source for the end.
func (f *File) Next(ctx context.Context, b *ntpac.Batch) error {
	if f.done != nil {
		return f.done
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if cap(b.Packets) == 0 {
		b.Packets = make([]ntpac.Packet, 0, defaultBatch)
	}
	for {
		switch f.format.walk(f, b) {
		case full:
			return nil
		case odd:
			if f.enough(b) {
				return nil
			}
			f.win.ahead = true
			f.format.mend(f, b)
			f.win.ahead = false
		case short:
			if f.eager && f.win.brief {
				f.format.rest(f, b)
			}
			if f.enough(b) || ctx.Err() != nil {
				if len(b.Packets) == 0 {
					return ctx.Err()
				}
				return nil
			}
			f.mark()
			if f.win.fill(f.need) {
				continue
			}
			if f.win.left() > 0 {
				f.format.tail(f, b)
				continue
			}
			f.finish()
			if len(b.Packets) > 0 {
				return nil
			}
			return f.done
		}
	}
}

// enough reports whether the batch should go now, though there is room in it.
func (f *File) enough(b *ntpac.Batch) bool {
	if len(b.Packets) == 0 {
		return false
	}
	if f.eager && f.win.brief {
		return true
	}
	held := 0
	for _, k := range b.Blocks {
		held += len(k.Mem)
	}
	return held > maxBatchBytes
}

// place gives the index that the current block has, or will have, in the batch.
func (f *File) place(b *ntpac.Batch) uint16 {
	n := len(b.Blocks)
	if n > 0 && b.Blocks[n-1] == f.win.blk {
		return uint16(n - 1)
	}
	return uint16(n)
}

// took settles what a walk has found: the batch has n packets more, all in the current block, and the
// window goes on at pos.
func (f *File) took(b *ntpac.Batch, n, pos int) {
	f.win.pos = pos
	if n == 0 {
		return
	}
	if int(f.place(b)) == len(b.Blocks) {
		f.win.blk.Retain(1)
		b.Blocks = append(b.Blocks, f.win.blk)
	}
	b.Packets = b.Packets[:len(b.Packets)+n]
	f.info.Packets += uint64(n)
}

// mark notes a restart point when the last one is far behind.
func (f *File) mark() {
	at := f.win.at()
	if at < f.nextMark {
		return
	}
	r := ntpac.RestartPos{Ord: f.info.Packets, Raw: at, Off: at, High: f.info.Last}
	if len(f.stream.layers) > 0 {
		r.Raw = f.raw.n.Load()
	}
	f.info.Restarts = append(f.info.Restarts, r)
	f.nextMark = at + markEvery
}

// cutShort is the reason for a record that the end of the source cuts.
const cutShort = "cut short"

// search passes over bytes, at least one, up to where seek finds the next sound record.
func (f *File) search(seek func(*File) bool, reason string) {
	from := f.win.at()
	f.win.pos++
	f.win.ahead = true
	if seek(f) && reason == cutShort {
		reason = "record longer than the rest of the file"
	}
	f.win.ahead = false
	f.note(from, f.win.at()-from, reason)
}

// lose passes over n bytes.
func (f *File) lose(n int, reason string) {
	f.note(f.win.at(), int64(n), reason)
	f.win.pos += n
}

// note records a place of damage.
func (f *File) note(off, n int64, reason string) {
	f.info.Skipped += n
	f.info.Damaged++
	if len(f.info.Damage) < maxDamage {
		f.info.Damage = append(f.info.Damage, ntpac.Damage{Off: off, Len: n, Reason: reason})
	}
}

// finish ends the source.
func (f *File) finish() {
	w := &f.win
	if w.err != nil && w.err != io.EOF {
		reason := w.err.Error()
		if f.raw.err != nil {
			reason = "reading failed: " + f.raw.err.Error()
		}
		f.note(w.at(), 0, reason)
	}
	if len(f.stream.layers) > 0 && f.raw.err == nil {
		io.Copy(io.Discard, f.raw) // what the decompressor left belongs to the sum; a failure is in raw.err
	}
	if f.raw.err == nil {
		f.info.Size = f.raw.n.Load()
		if f.sum != nil {
			f.sum.Sum(f.info.SHA256[:0])
		}
	}
	f.info.Done = true
	f.done = f.ending()
}

// ending is the error with which the source ends.
func (f *File) ending() error {
	i := &f.info
	if i.Damaged == 0 {
		return io.EOF
	}
	d, places := i.Damage[0], "1 place"
	if i.Damaged > 1 {
		places = fmt.Sprintf("%d places", i.Damaged)
	}
	err := fmt.Errorf("%s: %w in %s (%d bytes passed over), first at offset %d: %s", i.Name, ntpac.ErrDamaged, places, i.Skipped, d.Off, d.Reason)
	if f.raw.err != nil {
		return fmt.Errorf("%w (%w)", err, f.raw.err)
	}
	return err
}
