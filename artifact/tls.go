package artifact

// TLS is what the two hellos of a TLS connection, in the clear, say of it. Where only one of them was
// captured, the fields of the other one are absent. QUIC's handshake is the same.
type TLS struct {
	SNI           string        `json:"sni,omitempty"`
	Version       string        `json:"version,omitempty"`        // as negotiated: "TLS 1.2"
	ClientVersion string        `json:"client_version,omitempty"` // the highest that the client offers
	Cipher        string        `json:"cipher,omitempty"`         // as negotiated: "0xc02f"
	CipherName    string        `json:"cipher_name,omitempty"`
	ALPN          string        `json:"alpn,omitempty"`        // what the server chose; where TLS 1.3 hides it, the client's list, joined by commas
	ClientALPN    []string      `json:"client_alpn,omitempty"` // what the client offers
	JA3           string        `json:"ja3,omitempty"`         // MD5 of the client's hello
	JA3S          string        `json:"ja3s,omitempty"`        // MD5 of the server's hello
	JA4           string        `json:"ja4,omitempty"`
	Certificates  []Certificate `json:"certificates,omitempty"`        // the server's, its own first
	ClientCerts   []Certificate `json:"client_certificates,omitempty"` // in an artifact of its own
	Alert         string        `json:"alert,omitempty"`               // the server's answer where it is no hello
}

// Certificate is an X.509 certificate. Where it cannot be parsed, only the hashes are there.
type Certificate struct {
	Subject   string   `json:"subject"` // RFC 2253: "CN=example.org,O=Example"
	Issuer    string   `json:"issuer"`
	Serial    string   `json:"serial"`        // hexadecimal
	SAN       []string `json:"san,omitempty"` // DNS names, addresses, mail addresses, URIs
	NotBefore string   `json:"not_before"`    // RFC 3339, UTC
	NotAfter  string   `json:"not_after"`
	SHA1      string   `json:"sha1"` // of the certificate's DER
	SHA256    string   `json:"sha256"`
	Problem   string   `json:"problem,omitempty"` // why it could not be parsed
}
