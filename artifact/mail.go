package artifact

import "ntpac"

// Mail is a message as SMTP, POP3 or IMAP carried it. The header fields are decoded (RFC 2047) and
// unfolded; of a field that occurs several times the occurrences are joined by commas.
type Mail struct {
	Protocol     string       `json:"protocol"`
	MailFrom     string       `json:"mail_from,omitempty"` // the envelope's sender, as the client gave it
	RcptTo       []string     `json:"rcpt_to,omitempty"`   // the envelope's recipients, as the client gave them
	RcptRejected []string     `json:"rcpt_rejected,omitempty"`
	From         string       `json:"from,omitempty"`
	To           string       `json:"to,omitempty"`
	CC           string       `json:"cc,omitempty"`
	BCC          string       `json:"bcc,omitempty"`
	Subject      string       `json:"subject,omitempty"`
	Date         string       `json:"date,omitempty"`       // as the header says it
	MessageID    string       `json:"message_id,omitempty"` // without the angle brackets
	Text         string       `json:"text,omitempty"`       // of the first text body, as UTF-8; bounded
	Size         int64        `json:"size"`
	SHA256       ntpac.Hash   `json:"sha256"`           // of the captured message, transparency dots taken out
	Status       int          `json:"status,omitempty"` // the server's reply to the message; absent where none was seen
	Attachments  []Attachment `json:"attachments"`
	Missing      int64        `json:"missing,omitempty"` // positions of the message that were not captured
}

// Attachment is one part of a mail that is not its text.
type Attachment struct {
	Filename    string     `json:"filename"`
	MIME        string     `json:"mime"`                   // by content; as declared where the content does not tell
	ContentType string     `json:"content_type,omitempty"` // as declared
	Size        int64      `json:"size"`                   // transfer encoding undone
	SHA256      ntpac.Hash `json:"sha256"`
	Missing     int64      `json:"missing,omitempty"` // positions of its encoded text that were not captured
}
