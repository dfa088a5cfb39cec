package reassembly

import "ntpac"

// Clock follows the time of one source. An isolated jump of more than a minute does not move it, in either
// direction: a single packet with a broken timestamp must not end every conversation, nor hold up what
// comes after it. Two such packets that agree do: time has been set.
type Clock struct {
	High   ntpac.Time // the highest believable timestamp
	Jumps  uint64     // isolated jumps that were not believed
	jump   ntpac.Time // of the last packet, with jumped
	jumped bool
	begun  bool
}

// maxJump is how far one packet alone may move a clock.
const maxJump = 60 * ntpac.Second

// See takes a packet's time and reports whether packets may now be out of order.
func (c *Clock) See(ts ntpac.Time) (back bool) {
	switch {
	case !c.begun:
		c.begun, c.High = true, ts
		return false
	case ts <= c.High+maxJump && ts >= c.High-maxJump:
		if c.jumped { // the jump was isolated
			c.jumped = false
			c.Jumps++
			back = true
		}
		back = back || ts < c.High
		c.High = max(c.High, ts)
		return back
	case c.jumped && ts <= c.jump+maxJump && ts >= c.jump-maxJump:
		back = ts < c.High || ts < c.jump
		c.High, c.jumped = max(ts, c.jump), false
		return back
	}
	if c.jumped {
		c.Jumps++
	}
	c.jump, c.jumped = ts, true
	return ts < c.High
}
