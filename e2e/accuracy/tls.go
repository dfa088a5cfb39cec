package main

import (
	"strings"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

// hello fields of tshark, and the rows in which their values are counted.
var helloFields = []struct{ row, field string }{
	{"sni", "tls.handshake.extensions_server_name"}, {"ja3", "tls.handshake.ja3"}, {"ja3s", "tls.handshake.ja3s"},
	{"ja4", "ja4"}, {"certificate", "certificate_sha256"},
}

// tls compares hellos (a client's by SNI and JA3, a server's by JA3S) and the single values of
// handshakes. Handshakes over UDP are QUIC's and counted apart.
func (c *capture) tls() {
	for _, over := range []struct {
		row string
		tcp bool
	}{{"tls", true}, {"quic", false}} {
		partial := c.want.capped("tls")
		got := c.foundHandshakes(over.tcp)
		c.add(over.row+" hello", c.wantedHellos(over.tcp), foundHellos(got), partial)
		for _, f := range helloFields {
			var want, have []compare.Item
			for _, r := range c.want.Artifacts["tls"] {
				if ends, tcp := c.want.place(r); tcp == over.tcp {
					for _, v := range r[f.field].List {
						want = append(want, compare.Item{Keys: []string{ends + " " + strings.ToLower(v)}, Near: ends})
					}
				}
			}
			for _, h := range got {
				for _, v := range h.values(f.row) {
					if v = strings.ToLower(v); v != "" {
						have = append(have, compare.Item{Keys: []string{h.ends + " " + v, anywhere + " " + v}, Near: h.ends})
					}
				}
			}
			c.add(over.row+" "+f.row, want, have, partial)
		}
	}
}

// handshake is a found artifact and where it was.
type handshake struct {
	cli.TLS
	ends string
}

func (h *handshake) values(row string) (v []string) {
	switch row {
	case "sni":
		return []string{h.SNI}
	case "ja3":
		return []string{h.JA3}
	case "ja3s":
		return []string{h.JA3S}
	case "ja4":
		return []string{h.JA4}
	}
	for _, x := range append(h.Certificates, h.ClientCerts...) {
		v = append(v, x.SHA256)
	}
	return v
}

func (c *capture) foundHandshakes(overTCP bool) (list []handshake) {
	for i := range c.arts {
		a := &c.arts[i]
		if a.Type != "tls" && a.Type != "quic" {
			continue
		}
		ends, tcp := c.places(a)
		h := handshake{ends: ends}
		if tcp == overTCP && c.read(a, &h.TLS) {
			list = append(list, h)
		}
	}
	return list
}

func clientHello(ends, sni, ja3 string) string {
	return ends + " client " + strings.ToLower(sni) + " " + ja3
}

func serverHello(ends, ja3s string) string { return ends + " server " + ja3s }

func (c *capture) wantedHellos(overTCP bool) (items []compare.Item) {
	for _, r := range c.want.Artifacts["tls"] {
		ends, tcp := c.want.place(r)
		if tcp != overTCP {
			continue
		}
		clients, servers := 0, 0
		for _, t := range r["tls.handshake.type"].List {
			switch t {
			case "1":
				clients++
			case "2":
				servers++
			}
		}
		for i := range clients {
			sni, ok := each(r["tls.handshake.extensions_server_name"], i, clients)
			if !ok {
				sni = anywhere
			}
			ja3, ok := each(r["tls.handshake.ja3"], i, clients)
			if !ok || ja3 == "" { // tshark gives none for hellos without extensions
				ja3 = anywhere
			}
			items = append(items, compare.Item{Keys: []string{clientHello(ends, sni, ja3)}, Near: ends + " client"})
		}
		for i := range servers {
			ja3s, ok := each(r["tls.handshake.ja3s"], i, servers)
			if !ok || ja3s == "" {
				ja3s = anywhere
			}
			items = append(items, compare.Item{Keys: []string{serverHello(ends, ja3s)}, Near: ends + " server"})
		}
	}
	return items
}

func foundHellos(list []handshake) (items []compare.Item) {
	for _, h := range list {
		var client, server []string
		for _, e := range []string{h.ends, anywhere} {
			for _, j := range []string{h.JA3, anywhere} {
				for _, s := range []string{h.SNI, anywhere} {
					client = append(client, clientHello(e, s, j))
				}
			}
			server = append(server, serverHello(e, h.JA3S), serverHello(e, anywhere))
		}
		if h.SNI != "" || h.JA3 != "" || h.JA4 != "" || h.ClientVersion != "" {
			items = append(items, compare.Item{Keys: client, Near: h.ends + " client"})
		}
		if h.JA3S != "" || h.Cipher != "" || h.Version != "" {
			items = append(items, compare.Item{Keys: server, Near: h.ends + " server"})
		}
	}
	return items
}
