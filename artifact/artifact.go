// Package artifact has what snoopers find: one struct per type, with the JSON names of the contract,
// and how bodies are made from streams, hashed and exported.
package artifact

import "ntpac"

// Body names a message body by its hash; the bytes are a blob.
type Body struct {
	SHA256        ntpac.Hash `json:"sha256"`
	Size          int64      `json:"size"` // captured bytes, as sent (transfer coding undone)
	DecodedSHA256 ntpac.Hash `json:"decoded_sha256,omitzero"`
	DecodedSize   int64      `json:"decoded_size"`
	MIME          string     `json:"mime,omitempty"` // by content
	Missing       int64      `json:"missing,omitempty"`
}

// File is a file that was transferred: the body of a response, an attachment, an FTP transfer.
type File struct {
	Protocol  string     `json:"protocol"`
	Filename  string     `json:"filename,omitempty"`
	MIME      string     `json:"mime,omitempty"` // by content
	Size      int64      `json:"size"`
	SHA256    ntpac.Hash `json:"sha256"` // after content decoding
	SourceURL string     `json:"source_url,omitempty"`
	Path      string     `json:"path,omitempty"`
	Direction ntpac.Dir  `json:"direction"`
	Parent    string     `json:"parent,omitempty"` // SHA-256 of the file, or id of the artifact, that contains it
	Missing   int64      `json:"missing,omitempty"`
}

// Credential is a name and what proves it, as they were sent.
type Credential struct {
	Protocol  string `json:"protocol"`
	User      string `json:"user"`
	Password  string `json:"password,omitempty"`
	Secret    string `json:"secret,omitempty"`    // what was sent instead of a password
	Challenge string `json:"challenge,omitempty"` // what the secret answers
	Mechanism string `json:"mechanism,omitempty"`
	Success   *bool  `json:"success,omitempty"` // as the server answered; absent where it did not
}
