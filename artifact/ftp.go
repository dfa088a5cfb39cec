package artifact

// FTP is one command on an FTP control connection with the server's reply to it. A greeting, and a
// reply whose command was not captured, have no command; a command whose reply was not captured has
// no code.
type FTP struct {
	User        string `json:"user,omitempty"`    // who is logged in, or tries to
	Command     string `json:"command,omitempty"` // upper case
	Arg         string `json:"arg,omitempty"`
	Code        int    `json:"code,omitempty"`
	Reply       string `json:"reply,omitempty"`       // without the code; lines joined by LF; bounded
	Preliminary string `json:"preliminary,omitempty"` // the 1xx reply that came before: code and text
}

// FTPFile is what an FTP data conversation carried: a file, or a listing (whose command is LIST, NLST
// or MLSD, and whose file name is empty). Path is the transfer's argument below the working directory
// as far as that is known.
type FTPFile struct {
	File
	Command string `json:"command,omitempty"`
	User    string `json:"user,omitempty"`
	Control string `json:"control,omitempty"` // the control conversation
	Mode    string `json:"mode,omitempty"`    // TYPE and MODE where they are not image and stream: A, E, B, C, Z
	Offset  int64  `json:"rest,omitempty"`    // where in the file the transfer began: REST
}
