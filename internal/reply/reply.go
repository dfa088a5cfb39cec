// Package reply reads what servers answer to commands where the answers are numbers with text: FTP
// (RFC 959 section 4.2), SMTP (RFC 5321 section 4.2) and their kin. It pairs commands with replies by
// counting while nothing is missing, and by the order of capture behind a hole.
package reply

import (
	"ntpac"
)

// The limits of one reply.
const (
	MaxText  = 4 << 10 // bytes of text kept
	maxLine  = 8 << 10 // a longer line is read in pieces
	maxLines = 4096    // a reply that is still not over is none
)

// Reply is one answer of a server, or a hole in what it said.
type Reply struct {
	Code   int    // 100 to 599; 0 for a hole
	Text   []byte // without the code, lines joined by LF; valid until the next one is read
	Off    int64  // where it lies in the server's stream
	Len    int64
	Broken bool // a hole, or the end of the capture, touches it
}

// Hole reports whether this is a hole.
func (r *Reply) Hole() bool { return r.Code == 0 }

// State says what became of a command's answer.
type State uint8

// The states of an answer.
const (
	None State = iota // the server did not answer, as far as was captured
	Lost              // a hole has taken it
	Got
)

// Reader reads the replies of a dialog's server.
type Reader struct {
	// Torn says that counting does not help: something was lost on one of the sides.
	Torn bool
	// Orphan, where it is set, gets replies whose command was not captured.
	Orphan func(*Reply)

	up, down *ntpac.Stream
	cur      Reply
	have     bool
	end      int64
	text     []byte
}

// Init begins with a dialog. Where a head is not known, pairing begins by the order of capture.
func (r *Reader) Init(d *ntpac.Dialog) {
	*r = Reader{up: d.Up, down: d.Down, text: r.text[:0], Torn: !d.Up.HeadKnown() || !d.Down.HeadKnown()}
}

// Peek gives the next reply without taking it; nil behind the last one.
func (r *Reader) Peek() *Reply {
	if !r.have && !r.read() {
		return nil
	}
	r.have = true
	return &r.cur
}

// End is where the last reply that was taken ends in the server's stream.
func (r *Reader) End() int64 { return r.end }

// taken notes that the current reply belongs to something.
func (r *Reader) taken() {
	r.have = false
	r.end = r.cur.Off + r.cur.Len
}

// Take gives the next reply and moves on.
func (r *Reader) Take() *Reply {
	p := r.Peek()
	if p != nil {
		r.taken()
	}
	return p
}

// Answer gives the reply to a command; of one that a hole has taken, the hole, where it is known. cmd is the position of the command's last byte, next where the
// client goes on. group says that commands are sent in groups, so that several replies between the two
// are nothing strange.
func (r *Reader) Answer(cmd, next int64, group bool) (*Reply, State) {
	if !r.Torn {
		p := r.Peek()
		switch {
		case p == nil:
			return nil, None
		case p.Hole():
			r.Torn = true
		default:
			return r.Take(), Got
		}
	}
	return r.search(cmd, next, group)
}

// search pairs by the order of capture: the answer comes behind the command, and before the client
// says something new. Of several final replies there the last one is the answer, or the first one where
// commands are missing behind this one; whose the others are is not certain. Neither is whose the first
// reply of a stream without its head is, if commands are missing before it: those before it are, too.
func (r *Reader) search(cmd, next int64, group bool) (*Reply, State) {
	r.Drain(cmd)
	until := ^uint64(0)
	if left := r.up.End() - next; left > 0 && r.up.Missing(next, left) < left {
		until = r.up.Order(next)
	}
	first := next < r.up.End() && r.up.Missing(next, 1) > 0
	state := None
	var found, hole Reply
	for p := r.Peek(); p != nil && r.down.Order(p.Off) < until; p = r.Peek() {
		if first && found.Code != 0 {
			found.Broken = true
			break
		}
		r.taken()
		if p.Hole() {
			hole, state = *p, max(state, Lost)
			continue
		}
		if found.Code != 0 && r.Orphan != nil {
			r.Orphan(&found)
		}
		doubt := found.Code != 0 && !group || first && p.Off == 0 && !r.down.HeadKnown()
		found, state = *p, Got
		found.Text, found.Broken = append([]byte(nil), p.Text...), p.Broken || doubt
		if p.Code < 200 {
			break
		}
	}
	r.Torn = r.Torn && state != Got
	switch {
	case state == Got && hole.Len > 0 && hole.Off < found.Off: // it may have taken a part of this one
		found.Off, found.Len, found.Broken = hole.Off, found.Off+found.Len-hole.Off, true
	case state == Lost:
		return &hole, Lost
	case state == None:
		p := r.Peek()
		if p == nil {
			return nil, None
		}
		if hole = *p; p.Hole() {
			return &hole, Lost
		}
		return nil, Lost // it would have come before what the client says next
	}
	return &found, state
}

// Drain takes all replies that were captured before the client's byte at a position, and gives the
// code of the last one, 0 for none.
func (r *Reader) Drain(at int64) (code int) {
	order := r.up.Order(at)
	for p := r.Peek(); p != nil && r.down.Order(p.Off) < order; p = r.Peek() {
		code = p.Code
		if r.Orphan != nil && !p.Hole() {
			r.Orphan(p)
		}
		r.taken()
	}
	return code
}

// read reads the next reply or hole. Lines that are neither are passed over.
func (r *Reader) read() bool {
	s := r.down
	for !s.EOF() {
		if off := s.Off(); s.Gap() > 0 {
			r.cur = Reply{Off: off, Len: s.SkipGap(), Broken: true}
			return true
		}
		off := s.Off()
		line, whole := r.line()
		code, more, text := parse(line)
		if code == 0 {
			continue
		}
		r.text = append(r.text[:0], text...)
		r.cur = Reply{Code: code, Off: off, Broken: !whole}
		if more && whole {
			r.rest(code)
		}
		r.cur.Text, r.cur.Len = r.text, s.Off()-off
		return true
	}
	return false
}

// rest reads the lines of a reply behind its first one: up to one that has the same code and no hyphen
// behind it. A hole, or a reply with another code behind one, ends it too.
func (r *Reader) rest(code int) {
	s := r.down
	for range maxLines {
		if s.EOF() {
			r.cur.Broken = true
			return
		}
		torn := s.SkipGap() > 0
		r.cur.Broken = r.cur.Broken || torn
		off := s.Off()
		line, whole := r.line()
		c, more, text := parse(line)
		if torn && c != 0 && c != code {
			s.MoveTo(off)
			return
		}
		if c != code {
			text, more = line, true
		}
		if n := MaxText - len(r.text); n > 0 && !(torn && c != code) {
			r.text = append(r.text, '\n')
			r.text = append(r.text, text[:min(len(text), n-1)]...)
		}
		if !whole {
			r.cur.Broken = true
		}
		if c == code && !more {
			return
		}
	}
	r.cur.Broken = true
}

// line reads a line; of a long one it gives the beginning. It is whole where its end was captured.
func (r *Reader) line() (line []byte, whole bool) {
	s := r.down
	line, whole = s.Line(maxLine)
	if whole || s.EOF() || s.Gap() > 0 {
		return line, whole
	}
	line = append([]byte(nil), line[:min(len(line), MaxText)]...)
	for !whole && !s.EOF() && s.Gap() == 0 {
		_, whole = s.Line(maxLine)
	}
	return line, whole
}

// parse reads a line that begins with a code. more says that the reply goes on. The space behind the
// code is missing in what some servers send.
func parse(line []byte) (code int, more bool, text []byte) {
	if len(line) < 3 || line[0] < '1' || line[0] > '5' {
		return 0, false, nil
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, nil
		}
		code = code*10 + int(c-'0')
	}
	line = line[3:]
	switch {
	case len(line) == 0:
		return code, false, nil
	case line[0] == '-':
		return code, true, line[1:]
	case line[0] == ' ' || line[0] == '\t':
		return code, false, line[1:]
	case line[0] >= '0' && line[0] <= '9':
		return 0, false, nil
	}
	return code, false, line
}
