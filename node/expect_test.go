package node

import (
	"testing"

	"ntpac"
)

// TestNearestAnnouncement: ports are used again, so the latest announcement before a conversation is meant, and
// one after it only where there is none before, as the clocks of two taps differ.
func TestNearestAnnouncement(t *testing.T) {
	at := func(ts ntpac.Time) *ntpac.Expectation { return &ntpac.Expectation{Start: ts - ntpac.ClockSlack} }
	c := &ntpac.Conversation{First: 100 * ntpac.Second}
	const ms = ntpac.Second / 1000
	inOrder := []*ntpac.Expectation{at(c.First), at(c.First - ms), at(c.First - 90*ntpac.Second), at(c.First + ms), at(c.First + 200*ms)}
	for i, a := range inOrder {
		for k, b := range inOrder {
			if i != k && nearer(a, b, c) != (i < k) {
				t.Errorf("nearer(%d, %d) is %t", i, k, i > k)
			}
		}
	}
}
