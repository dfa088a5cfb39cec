package node

import (
	"context"

	"ntpac"
	"ntpac/balancer"
	"ntpac/capture"
	"ntpac/reassembly"
)

// Bounds of the look at clocks before a run: more sources than this, or such as begin at other times, are
// rather parts of one capture than taps beside one another.
const (
	skewSources = 16
	skewPackets = 1 << 15 // of each source
	skewApart   = 60 * ntpac.Second
)

// skew finds out by how much the clocks of the sources differ, from the beginning of each, and gives each
// what it is behind. What cannot be read now is reported by the run itself.
func (r *localRun) skew(ctx context.Context) error {
	var taps []*source
	for _, s := range r.sources {
		if s.pipe == nil && !s.empty {
			taps = append(taps, s)
		}
	}
	if len(taps) < 2 || len(taps) > skewSources {
		return nil
	}
	for _, s := range taps {
		if d := s.first - taps[0].first; d > skewApart || d < -skewApart {
			return nil
		}
	}
	k := reassembly.NewSkew(len(taps), r.o.KeyVLAN)
	bal := balancer.New(balancer.Config{Seed: 1, KeyVLAN: r.o.KeyVLAN})
	for i, s := range taps {
		if err := s.beginning(ctx, func(b *ntpac.Batch) { bal.Prepare(b); k.Add(i, b) }); err != nil {
			return err
		}
	}
	for i, by := range k.Shifts(r.o.Window) {
		taps[i].behind = by
	}
	return nil
}

// beginning reads the first packets of a file. An error means that the reading was ended.
func (s *source) beginning(ctx context.Context, each func(*ntpac.Batch)) error {
	f, err := capture.Open(ctx, s.name, capture.Options{})
	if err != nil {
		return ctx.Err()
	}
	defer f.Close()
	for n := 0; n < skewPackets && err == nil; {
		b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, 4096)}
		err = f.Next(ctx, b)
		n += len(b.Packets)
		each(b)
		b.Free()
	}
	return ctx.Err()
}
