package http

import (
	"slices"
	"strings"

	"ntpac"
	"ntpac/artifact"
)

// exchange is a request and its response, of which one may be missing. pairing is how sure it is that
// they belong together, or that there is no counterpart.
type exchange struct {
	req, resp *message
	pairing   ntpac.Quality
}

// exchange emits what a request, a response or both give, and takes the messages back.
func (r *reader) exchange(req, resp *message, pairing ntpac.Quality) {
	x := exchange{req, resp, pairing}
	a := x.artifact("http", pairing, whole(req), whole(resp))
	if req != nil {
		a.Quality = worse(a.Quality, req.interimQuality)
		for k, i := range req.interim {
			a.Spans = slices.Insert(a.Spans, 1+k, i.span)
		}
	}
	a.Fields, a.Blobs = x.fields(), x.blobs()
	r.emit.Emit(a)
	if req != nil {
		r.credentials(&x)
		if req.uploads() {
			r.file(&x, req, x.artifact("file", ntpac.Complete, whole(req), part{}), ntpac.Up)
		}
	}
	if resp != nil {
		r.file(&x, resp, x.artifact("file", pairing, head(req), whole(resp)), ntpac.Down)
	}
	r.drop(req)
	r.drop(resp)
}

// part is that of a message on which an artifact rests.
type part struct {
	m       *message
	end     int64
	quality ntpac.Quality
	err     string
}

func whole(m *message) part {
	if m == nil {
		return part{}
	}
	return part{m, m.end, m.quality, m.err}
}

func head(m *message) part {
	if m == nil {
		return part{}
	}
	return part{m, m.headEnd, m.headQuality, ""}
}

// artifact makes an artifact that rests on a part of the request and one of the response.
func (x *exchange) artifact(kind string, q ntpac.Quality, req, resp part) *ntpac.Artifact {
	a := &ntpac.Artifact{Type: kind, Quality: q, Spans: make([]ntpac.Span, 0, 2)}
	for i, p := range [...]part{req, resp} {
		if p.m == nil {
			continue
		}
		if len(a.Spans) == 0 {
			a.Time = p.m.time
		}
		a.Spans = append(a.Spans, ntpac.Span{Dir: ntpac.Dir(i), Off: p.m.start, Len: p.end - p.m.start})
		a.Quality = worse(a.Quality, p.quality)
		if p.err == "" {
			continue
		}
		if a.Error != "" {
			a.Error += "; "
		}
		a.Error += [...]string{"request: ", "response: "}[i] + p.err
	}
	return a
}

// worse gives the worse quality: what is both gapped and guessed is gapped.
func worse(a, b ntpac.Quality) ntpac.Quality {
	switch {
	case a == ntpac.Complete:
		return b
	case a == ntpac.Gapped || b == ntpac.Complete:
		return a
	}
	return b
}

func (x *exchange) fields() *artifact.HTTP {
	h := &artifact.HTTP{}
	if q := x.req; q != nil {
		h.Method, h.URI, h.Version = q.method, q.target, q.version
		h.Host, h.UserAgent, h.Referer = q.host(), q.fields.userAgent, q.fields.referer
		h.RequestHeaders, h.RequestBody = q.text, q.body.info
		for _, i := range q.interim {
			h.Interim = append(h.Interim, i.status)
		}
	}
	p := x.resp
	if p == nil {
		return h
	}
	if h.Version == "" {
		h.Version = p.version
	}
	h.Status, h.Reason, h.ContentType = p.status, p.reason, p.fields.contentType
	h.ResponseHeaders, h.ResponseBody, h.Trailers = p.text, p.body.info, p.trailers
	switch {
	case p.status == 101:
		h.Upgrade = p.fields.upgrade
		if h.Upgrade == "" && x.req != nil {
			h.Upgrade = x.req.fields.upgrade
		}
	case p.tunnels(x.req):
		h.Upgrade = "tunnel"
	}
	return h
}

func (x *exchange) blobs() []ntpac.Blob {
	switch {
	case x.req == nil || len(x.req.body.blobs) == 0:
		if x.resp == nil {
			return nil
		}
		return x.resp.body.blobs
	case x.resp == nil || len(x.resp.body.blobs) == 0:
		return x.req.body.blobs
	}
	return append(x.req.body.blobs[:len(x.req.body.blobs):len(x.req.body.blobs)], x.resp.body.blobs...)
}

// uploads reports whether the body of a request is a file, not a form.
func (m *message) uploads() bool {
	switch m.method {
	case "PUT":
		return true
	case "POST":
		ct := m.fields.contentType
		return ct != "" && !hasPrefixFold(ct, "application/x-www-form-urlencoded") && !hasPrefixFold(ct, "multipart/form-data")
	}
	return false
}

// file emits the body of a message as a file; an empty one is none.
func (r *reader) file(x *exchange, m *message, a *ntpac.Artifact, dir ntpac.Dir) {
	b := m.body.info
	if b == nil || b.Size == 0 {
		return
	}
	f := &artifact.File{Protocol: "http", MIME: b.MIME, Size: b.Size, SHA256: b.SHA256, Direction: dir, Missing: b.Missing,
		Filename: dispositionName(m.fields.disposition)}
	if b.DecodedSize > 0 {
		f.Size, f.SHA256 = b.DecodedSize, b.DecodedSHA256
	}
	if x.req != nil {
		f.SourceURL = x.req.url(r.d.Conv)
		if f.Filename == "" {
			f.Filename = lastSegment(x.req.target)
		}
	}
	if k := len(m.body.blobs); k > 0 {
		a.Blobs = m.body.blobs[k-1:]
	}
	a.Fields = f
	r.emit.Emit(a)
}

// host is what the Host field says, else the host of the target.
func (m *message) host() string {
	if m.fields.host != "" {
		return m.fields.host
	}
	if m.method == "CONNECT" {
		return m.target
	}
	if _, rest, ok := strings.Cut(m.target, "://"); ok {
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			rest = rest[:i]
		}
		return rest
	}
	return ""
}

// url is the whole address of what was asked for; of a request without a host it names the server's
// end point.
func (m *message) url(c *ntpac.Conversation) string {
	switch {
	case m.target == "":
		return ""
	case m.target[0] != '/':
		return m.target
	}
	host := m.fields.host
	if host == "" {
		host = c.ServerEnd().String()
	}
	return "http://" + host + m.target
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
