package artifact

import (
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// contract lists the fields of each type as the contract names them, members of members with dots.
var contract = map[string]string{
	"http": "method host uri version status user_agent referer content_type request_headers response_headers " +
		"request_body.size request_body.sha256 request_body.decoded_size request_body.decoded_sha256 request_body.mime " +
		"response_body.size response_body.sha256 response_body.decoded_size response_body.decoded_sha256 response_body.mime",
	"dns": "txid query qtype rcode response flags answers.name answers.type answers.ttl answers.data " +
		"authority.name authority.type authority.ttl authority.data additional.name additional.type additional.ttl additional.data",
	"tls":  handshake,
	"quic": handshake,
	"mail": "protocol mail_from rcpt_to from to cc bcc subject date message_id text size sha256 " +
		"attachments.filename attachments.mime attachments.size attachments.sha256",
	"credential": "protocol user password secret mechanism success",
	"file":       "protocol filename mime size sha256 source_url path direction parent exif",
	"ftp":        "user command arg code reply",
	"call": "protocol call_id from to start answer end state codecs " +
		"streams.ssrc streams.codec streams.packets streams.lost streams.jitter_ms streams.wav_sha256",
	"sip": "method status call_id from to uri", "chat": "protocol from to text", "ssh": "client server hassh hassh_server",
	"smb": "dialect command share filename user domain host status", "telnet": "text", "ntlm": "user domain host",
	"kerberos": "cname sname realm msg_type error_code", "ldap": "operation bind_dn", "mqtt": "message topic client_id user",
	"websocket": "opcode text", "modbus": "function unit", "dnp3": "function src dst", "snmp": "version community",
	"tftp": "opcode filename", "dhcp": "message mac hostname ip", "radius": "user", "mysql": "user query", "pgsql": "user query",
	"socks": "host port user", "rdp": "cookie", "vnc": "version", "ntp": "mode version", "rtsp": "method uri",
}

const handshake = "sni version cipher alpn ja3 ja3s ja4 certificates.subject certificates.issuer certificates.serial " +
	"certificates.san certificates.not_before certificates.not_after certificates.sha1 certificates.sha256"

// structs are what snoopers of this package's types emit.
func structs() map[string][]any {
	return map[string][]any{
		"credential": {Credential{}},
		"file":       {File{}},
		"http":       {HTTP{}},
	}
}

// Fields lists by name every field that artifacts are known to have beside the common ones, with the
// types that have it: those of the contract, and those of this package's structs.
func Fields() map[string][]string {
	out := map[string][]string{}
	add := func(name, typ string) {
		if !slices.Contains(out[name], typ) {
			out[name] = append(out[name], typ)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(contract)) {
		for _, name := range strings.Fields(contract[typ]) {
			if head, _, nested := strings.Cut(name, "."); nested {
				add(head, typ)
			}
			add(name, typ)
		}
	}
	all := structs()
	for _, typ := range slices.Sorted(maps.Keys(all)) {
		for _, v := range all[typ] {
			namesIn(reflect.TypeOf(v), "", func(name string) { add(name, typ) })
		}
	}
	return out
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// namesIn names the members of a struct as encoding/json does.
func namesIn(t reflect.Type, prefix string, add func(name string)) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		ft := element(f.Type)
		switch {
		case f.Anonymous && tag == "" && ft.Kind() == reflect.Struct:
			namesIn(ft, prefix, add)
			continue
		case !f.IsExported() || tag == "-":
			continue
		case tag == "":
			tag = f.Name
		}
		add(prefix + tag)
		if ft.Kind() == reflect.Struct && !ft.Implements(jsonMarshaler) && !ft.Implements(textMarshaler) && strings.Count(prefix, ".") < 8 {
			namesIn(ft, prefix+tag+".", add)
		}
	}
}

// element is what a list or a pointer leads to; a list of bytes is no list.
func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		if t.Implements(textMarshaler) || t.Implements(jsonMarshaler) || t.Kind() != reflect.Pointer && t.Elem().Kind() == reflect.Uint8 {
			return t
		}
		t = t.Elem()
	}
	return t
}
