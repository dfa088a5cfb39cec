package main

import (
	"strconv"
	"strings"

	"ntpac/e2e/cli"
	"ntpac/e2e/compare"
)

// http compares requests by method, URI and host, responses by status, and bodies by their sums.
// The same messages over UDP (SSDP) are a kind of their own.
func (c *capture) http() {
	req, res, ssdp := c.foundHTTP()
	wantReq, wantSSDP := c.wantedRequests()
	wantRes, more := c.wantedResponses()
	c.add("http request", wantReq, req, c.want.capped("http_request"))
	c.add("http response", wantRes, res, c.want.capped("http_response"))
	c.add("ssdp message", append(wantSSDP, more...), ssdp, false)
	c.bodies("http body", "http", c.sums())
}

func (c *capture) add(kind string, want, got []compare.Item, partial bool) {
	if partial {
		c.tally.AddWanted(c.name, kind, want, got)
		return
	}
	c.tally.Add(c.name, kind, want, got)
}

func requestKey(ends, method, uri, host string) string {
	return strings.Join([]string{ends, method, plain(uri), strings.ToLower(plain(host))}, " ")
}

func (c *capture) wantedRequests() (tcp, ssdp []compare.Item) {
	for _, r := range c.want.Artifacts["http_request"] {
		ends, stream := c.want.place(r)
		methods := r["http.request.method"].List
		for i, m := range methods {
			uri, ok := each(r["http.request.uri"], i, len(methods))
			if !ok {
				uri = anywhere
			}
			host, ok := each(r["http.host"], i, len(methods))
			if !ok || host == "" { // without a Host header, the URI may tell the host
				host = anywhere
			}
			it := compare.Item{Keys: []string{requestKey(ends, m, uri, host)}, Near: ends + " " + m}
			if stream {
				tcp = append(tcp, it)
			} else {
				ssdp = append(ssdp, it)
			}
		}
	}
	return tcp, ssdp
}

func (c *capture) wantedResponses() (tcp, ssdp []compare.Item) {
	for _, r := range c.want.Artifacts["http_response"] {
		ends, stream := c.want.place(r)
		for _, code := range r["http.response.code"].List {
			it := compare.Item{Keys: []string{ends + " " + code}, Near: ends}
			if stream {
				tcp = append(tcp, it)
			} else {
				ssdp = append(ssdp, it)
			}
		}
	}
	return tcp, ssdp
}

func (c *capture) foundHTTP() (req, res, ssdp []compare.Item) {
	for i := range c.arts {
		a := &c.arts[i]
		var h cli.HTTP
		if a.Type != "http" || !c.read(a, &h) {
			continue
		}
		ends, tcp := c.places(a)
		var keys []string
		for _, e := range []string{ends, anywhere} {
			for _, u := range []string{h.URI, anywhere} {
				for _, o := range []string{h.Host, anywhere} {
					keys = append(keys, requestKey(e, h.Method, u, o))
				}
			}
		}
		request := compare.Item{Keys: keys, Near: ends + " " + h.Method}
		switch {
		case !tcp && h.Method != "":
			ssdp = append(ssdp, request)
		case !tcp:
			ssdp = append(ssdp, responseItem(ends, int(h.Status)))
		default:
			if h.Method != "" {
				req = append(req, request)
			}
			for _, code := range append(h.Interim, int(h.Status)) {
				if code != 0 {
					res = append(res, responseItem(ends, code))
				}
			}
		}
	}
	return req, res, ssdp
}

func responseItem(ends string, status int) compare.Item {
	code := strconv.Itoa(status)
	return compare.Item{Keys: []string{ends + " " + code, anywhere + " " + code}, Near: ends}
}

// read decodes an artifact; one that is not as the contract says is a difference of kind run.
func (c *capture) read(a *cli.Artifact, v any) bool {
	if err := a.Into(v); err != nil {
		c.tally.Differ(compare.Difference{Capture: c.name, Kind: "run", Key: "artifact " + a.ID, Want: "fields of the contract", Got: err.Error()})
		return false
	}
	return true
}

// sums lists the sums of all bodies and files that were found.
func (c *capture) sums() map[string]bool {
	set := map[string]bool{}
	for i := range c.arts {
		a := &c.arts[i]
		switch a.Type {
		case "http":
			var h cli.HTTP
			if c.read(a, &h) {
				for _, b := range []*cli.Body{h.RequestBody, h.ResponseBody} {
					sent, decoded := b.Sums()
					set[sent], set[decoded] = true, true
				}
			}
		case "file":
			var f cli.File
			if c.read(a, &f) {
				set[cli.SumOr(f.SHA256)] = true
			}
		case "mail":
			var m cli.Mail
			if c.read(a, &m) {
				set[cli.SumOr(m.SHA256)] = true
			}
		}
	}
	return set
}

// bodies compares what tshark exported: each object's bytes must have been found somewhere.
func (c *capture) bodies(kind, export string, found map[string]bool) {
	for _, o := range c.want.Objects {
		if o.Kind != export {
			continue
		}
		if found[o.SHA256] {
			c.tally.Agree(kind, 1)
			continue
		}
		c.tally.Differ(compare.Difference{Capture: c.name, Kind: kind, Key: o.Name + " " + o.SHA256, Want: o})
	}
}
