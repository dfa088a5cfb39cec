// Package all is the list of snoopers: one line each. Of two that are equally sure of a conversation,
// the earlier one reads it.
package all

import (
	"ntpac"
	"ntpac/snoop/dns"
)

// Snoopers makes one of each.
func Snoopers() []ntpac.Snooper {
	return []ntpac.Snooper{
		dns.New(),
	}
}
