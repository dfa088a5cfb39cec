package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

// dataFields are tshark's fields with the data of resource records, by type.
var dataFields = map[string]string{"A": "dns.a", "AAAA": "dns.aaaa", "CNAME": "dns.cname", "MX": "dns.mx.mail_exchange",
	"NS": "dns.ns", "PTR": "dns.ptr.domain_name", "SRV": "dns.srv.target", "TXT": "dns.txt"}

// dns compares messages by id, direction and first question, and then the data of the records of
// all their sections. The message is found when the question is; its answers agree when the data do.
func (c *capture) dns() {
	got := c.foundDNS()
	want, answers := c.once(got)
	o := compare.Match(want, got)
	c.add("dns message", want, got, c.want.capped("dns"))
	level := make([]int, len(want))
	nearest := make([]int, len(want))
	for i := range level {
		level[i], nearest[i] = -1, -1
	}
	for _, p := range o.Pairs {
		level[p.Want], nearest[p.Want] = p.Level, p.Got
	}
	for i, has := range answers {
		switch {
		case !has:
		case level[i] == 0:
			c.tally.Agree("dns answer", 1)
		default:
			d := compare.Difference{Capture: c.name, Kind: "dns answer", Key: want[i].Keys[0], Want: want[i].Keys[0]}
			if n := nearest[i]; n >= 0 {
				d.Got = got[n].Keys[0]
			}
			c.tally.Differ(d)
		}
	}
}

// wantedDNS gives the messages; their first key has the data, their second one has not.
func (c *capture) wantedDNS() (items []compare.Item, answers []bool) {
	for _, r := range c.want.Artifacts["dns"] {
		ends, _ := c.want.place(r)
		ids := r["dns.id"].List
		for i, id := range ids {
			n, _ := strconv.ParseInt(id, 0, 64)
			resp, _ := each(r["dns.flags.response"], i, len(ids))
			name, kind := question(r, i, len(ids))
			m := message(ends, n, resp == "1" || resp == "True", name, kind)
			var data []string
			if len(ids) == 1 { // of several messages in a frame, it is not known whose the records are
				for t, f := range dataFields {
					data = append(data, recordData(t, r[f].List)...)
				}
			}
			items = append(items, compare.Item{Keys: []string{m + " " + joined(data), m}, Near: fmt.Sprint(n)})
			answers = append(answers, len(data) > 0)
		}
	}
	return items, answers
}

// once is what is wanted without the messages that tshark lists again because their datagram was captured again: of
// equal ones those that were not found beside others, but no more than the conversations' own records count as
// duplicates. A duplicate is no further message (semantics.md, "Duplicate").
func (c *capture) once(got []compare.Item) (kept []compare.Item, has []bool) {
	items, answers := c.wantedDNS()
	found := map[string]int{}
	for i := range got {
		for _, k := range got[i].Keys {
			found[k]++
		}
	}
	copies := int64(0)
	for i := range c.convs {
		if x := &c.convs[i]; x.Proto == "udp" && x.App == "dns" {
			copies += x.DuplicatesUp + x.DuplicatesDown
		}
	}
	seen := map[string]int{}
	for i := range items {
		k := items[i].Keys[0]
		if seen[k]++; seen[k] > found[k] && found[k] > 0 && copies > 0 {
			copies--
			continue
		}
		kept, has = append(kept, items[i]), append(has, answers[i])
	}
	return kept, has
}

// question is the first question of the i-th of n messages.
func question(r map[string]values, i, n int) (name, kind string) {
	names, kinds := r["dns.qry.name"].List, r["dns.qry.type"].List
	if n > 1 && (len(names) != n || len(kinds) != n) || i >= len(names) || i >= len(kinds) {
		return "", ""
	}
	return names[i], kinds[i]
}

func (c *capture) foundDNS() (items []compare.Item) {
	for i := range c.arts {
		a := &c.arts[i]
		var m cli.DNS
		if a.Type != "dns" || !c.read(a, &m) {
			continue
		}
		byType := map[string][]string{}
		for _, section := range [][]cli.Record{m.Answers, m.Authority, m.Additional} {
			for _, r := range section {
				if t := strings.ToUpper(r.Type); dataFields[t] != "" && r.Data != "" { // dynamic updates have empty ones
					byType[t] = append(byType[t], r.Data)
				}
			}
		}
		var data []string
		for t, l := range byType {
			data = append(data, recordData(t, l)...)
		}
		ends, _ := c.places(a)
		here := message(ends, int64(m.TXID), m.Response, m.Query, m.QType)
		there := message(anywhere, int64(m.TXID), m.Response, m.Query, m.QType)
		d := joined(data)
		items = append(items, compare.Item{Keys: []string{here + " " + d, there + " " + d, here, there}, Near: fmt.Sprint(int64(m.TXID))})
	}
	return items
}

func message(ends string, id int64, response bool, name, kind string) string {
	way := "query"
	if response {
		way = "response"
	}
	return fmt.Sprintf("%s 0x%04x %s %s %s", ends, id, way, domain(name), queryType(kind))
}

// recordData makes the data of records of one type comparable. tshark lists the strings of TXT
// records one by one; they are compared run together.
func recordData(kind string, data []string) (out []string) {
	if kind == "TXT" {
		if len(data) == 0 {
			return nil
		}
		all := spelled(strings.NewReplacer(`" "`, "").Replace(strings.Join(data, "")))
		return []string{"TXT " + short(strings.NewReplacer(" ", "", `"`, "").Replace(all))}
	}
	for _, d := range data {
		switch kind {
		case "A", "AAAA":
			if a, err := netip.ParseAddr(d); err == nil {
				d = a.String()
			}
		case "MX", "SRV": // the exchange or target, after preference or priority, weight, port
			d = domain(d[strings.LastIndexByte(d, ' ')+1:])
		default:
			d = domain(d)
		}
		out = append(out, kind+" "+d)
	}
	return out
}

func joined(data []string) string {
	slices.Sort(data)
	return "[" + strings.Join(data, ", ") + "]"
}

// typeNumbers are the query types that have names in common use (IANA, DNS parameters).
var typeNumbers = map[string]string{"A": "1", "NS": "2", "MD": "3", "MF": "4", "CNAME": "5", "SOA": "6", "MB": "7", "MG": "8", "MR": "9",
	"NULL": "10", "WKS": "11", "PTR": "12", "HINFO": "13", "MINFO": "14", "MX": "15", "TXT": "16", "RP": "17", "AFSDB": "18", "X25": "19",
	"ISDN": "20", "RT": "21", "NSAP": "22", "SIG": "24", "KEY": "25", "PX": "26", "GPOS": "27", "AAAA": "28", "LOC": "29", "NXT": "30",
	"NB": "32", "SRV": "33", "NBSTAT": "33", "ATMA": "34", "NAPTR": "35", "KX": "36", "CERT": "37", "A6": "38", "DNAME": "39", "OPT": "41",
	"APL": "42", "DS": "43", "SSHFP": "44", "IPSECKEY": "45", "RRSIG": "46", "NSEC": "47", "DNSKEY": "48", "DHCID": "49", "NSEC3": "50",
	"NSEC3PARAM": "51", "TLSA": "52", "SMIMEA": "53", "HIP": "55", "CDS": "59", "CDNSKEY": "60", "OPENPGPKEY": "61", "CSYNC": "62",
	"ZONEMD": "63", "SVCB": "64", "HTTPS": "65", "SPF": "99", "TKEY": "249", "TSIG": "250", "IXFR": "251", "AXFR": "252", "MAILB": "253",
	"MAILA": "254", "ANY": "255", "*": "255", "URI": "256", "CAA": "257", "TA": "32768", "DLV": "32769"}

// queryType makes names and numbers of a type equal.
func queryType(s string) string {
	s = strings.ToUpper(s)
	if n := typeNumbers[s]; n != "" {
		return n
	}
	return strings.TrimPrefix(s, "TYPE")
}
