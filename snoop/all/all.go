// Package all is the list of snoopers: one line each. Of two that are equally sure of a conversation,
// the earlier one reads it.
package all

import (
	"ntpac"
	"ntpac/snoop/dns"
	"ntpac/snoop/ftp"
	"ntpac/snoop/http"
	"ntpac/snoop/smtp"
	"ntpac/snoop/tls"
)

// Snoopers makes one of each.
func Snoopers() []ntpac.Snooper {
	return []ntpac.Snooper{
		dns.New(),
		tls.New(),
		http.New(),
		smtp.New(),
		ftp.New(),
		ftp.NewData(),
	}
}
