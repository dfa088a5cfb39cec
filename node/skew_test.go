package node_test

import (
	"bytes"
	"maps"
	"testing"

	"ntpac"
	"ntpac/internal/pcaptest"
	"ntpac/store/memory"
)

// Uplink and downlink, captured apart with clocks that differ, give what one capture gives.
func TestSkewedTaps(t *testing.T) {
	frames := traffic().Frames
	_, want := run(t, memory.New(), options(), write(t, "all.pcap", frames))
	for _, ahead := range []ntpac.Time{0, 200 * ntpac.Second / 1000, -200 * ntpac.Second / 1000} {
		var taps [2][]pcaptest.Frame
		a, c := alice.As4(), carol.As16()
		for _, f := range frames {
			if bytes.Equal(f.Data[26:30], a[:]) || bytes.Equal(f.Data[22:38], c[:]) {
				taps[0] = append(taps[0], f)
			} else {
				f.TS += ahead
				taps[1] = append(taps[1], f)
			}
		}
		up, down := write(t, "up.pcap", taps[0]), write(t, "down.pcap", taps[1])
		for _, named := range [][]string{{up, down}, {down, up}} {
			_, sum := run(t, memory.New(), options(), named...)
			if !maps.Equal(sum.Artifacts, want.Artifacts) || sum.Reassembly.Conversations != want.Reassembly.Conversations || sum.Reassembly.GapBytes != 0 {
				t.Errorf("ahead by %v: %+v, not %+v", ahead, sum, want)
			}
			if ahead == 0 {
				if sum.Behind != nil {
					t.Errorf("clocks that agree: %v", sum.Behind)
				}
				continue
			}
			behind := 0 // the one that is
			if (ahead > 0) != (named[0] == up) {
				behind = 1
			}
			if b := sum.Behind; len(b) != 2 || b[1-behind] != 0 || b[behind] < 150*ntpac.Second/1000 || b[behind] > 250*ntpac.Second/1000 {
				t.Errorf("ahead by %v: %v", ahead, b)
			}
		}
	}
}
