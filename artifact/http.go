package artifact

// HTTP is one exchange of HTTP/1.x: a request, its response, or both. Text that is not UTF-8 is read
// as Latin-1 (RFC 9110 section 5.5), byte by byte.
type HTTP struct {
	Method          string `json:"method,omitempty"`
	Host            string `json:"host,omitempty"` // the Host field, else of the request's target
	URI             string `json:"uri,omitempty"`  // the request's target as sent
	Version         string `json:"version,omitempty"`
	Status          int    `json:"status,omitempty"`
	Reason          string `json:"reason,omitempty"`
	UserAgent       string `json:"user_agent,omitempty"`
	Referer         string `json:"referer,omitempty"`
	ContentType     string `json:"content_type,omitempty"`     // the response's
	RequestHeaders  string `json:"request_headers,omitempty"`  // field lines as sent, without the start line and
	ResponseHeaders string `json:"response_headers,omitempty"` // the empty line; order and line ends kept
	RequestBody     *Body  `json:"request_body,omitempty"`
	ResponseBody    *Body  `json:"response_body,omitempty"`
	Trailers        string `json:"trailers,omitempty"` // of a chunked response
	Interim         []int  `json:"interim,omitempty"`  // statuses of 1xx responses before the final one
	Upgrade         string `json:"upgrade,omitempty"`  // what the connection was from here on: websocket, tunnel ...
}
