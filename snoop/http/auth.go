package http

import (
	"encoding/base64"
	"strings"

	"ntpac/artifact"
)

// credentials emits the names and secrets of a request's Authorization fields (RFC 7617, RFC 7616).
func (r *reader) credentials(x *exchange) {
	for i, v := range [...]string{x.req.fields.authorization, x.req.fields.proxyAuthorization} {
		c := credential(v)
		if c == nil {
			continue
		}
		if x.resp != nil && x.resp.status > 0 {
			ok := x.resp.status != [...]int{401, 407}[i]
			c.Success = &ok
		}
		a := x.artifact("credential", x.pairing, head(x.req), head(x.resp))
		a.Fields = c
		r.emit.Emit(a)
	}
}

// credential reads the value of an Authorization field; nil for schemes that name no user.
func credential(v string) *artifact.Credential {
	scheme, rest, _ := strings.Cut(v, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "basic"):
		c := &artifact.Credential{Protocol: "http", Mechanism: "basic"}
		plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "="))
		if err != nil {
			c.Secret = rest
			return c
		}
		c.User, c.Password, _ = strings.Cut(latin1(plain), ":")
		return c
	case strings.EqualFold(scheme, "digest"):
		return &artifact.Credential{Protocol: "http", Mechanism: "digest", User: digestUser(rest), Secret: rest}
	}
	return nil
}

// digestUser finds the username among the parameters of a Digest.
func digestUser(v string) string {
	user := ""
	for rest := v; rest != ""; {
		var p string
		p, rest = cutUnquoted(rest, ',')
		key, value, _ := strings.Cut(p, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "username":
			return unquote(strings.TrimSpace(value))
		case "username*":
			user = extendedValue(unquote(strings.TrimSpace(value)))
		}
	}
	return user
}
