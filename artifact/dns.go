package artifact

// DNS is one DNS message: a query or a response, over UDP or TCP, or of multicast DNS or LLMNR.
//
// Names are written without their final dot; the root is ".". A dot or backslash inside a label is
// written behind a backslash, a byte that is no readable text as \DDD (RFC 4343 section 2.1).
type DNS struct {
	TxID       uint16        `json:"txid"`
	Query      string        `json:"query"` // the first question's name
	QType      string        `json:"qtype"` // A, AAAA ... or TYPE65280
	QClass     string        `json:"qclass,omitempty"`
	Response   bool          `json:"response"`
	Opcode     string        `json:"opcode,omitempty"`    // where it is not QUERY
	RCode      int           `json:"rcode"`               // with the upper bits that EDNS carries
	RCodeName  string        `json:"rcode_name"`          // NOERROR, NXDOMAIN ...
	Flags      []string      `json:"flags"`               // of aa tc rd ra z ad cd; of LLMNR c tc t
	Protocol   string        `json:"protocol"`            // dns, mdns, llmnr
	Questions  []DNSQuestion `json:"questions,omitempty"` // all of them, where they are several
	Answers    []DNSRecord   `json:"answers"`
	Authority  []DNSRecord   `json:"authority,omitempty"`
	Additional []DNSRecord   `json:"additional,omitempty"`
}

// DNSQuestion is what a message asks.
type DNSQuestion struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Class string `json:"class,omitempty"` // where it is not IN
}

// DNSRecord is a resource record. Data is in the presentation format of master files, except that a
// TXT record of one string is that string, without quotes.
type DNSRecord struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Class string `json:"class,omitempty"` // where it is not IN
	TTL   uint32 `json:"ttl"`             // seconds
	Data  string `json:"data"`
}
