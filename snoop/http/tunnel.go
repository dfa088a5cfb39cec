package http

import (
	"ntpac"
	"ntpac/internal/tlshello"
)

// tunnel shows the handshake of TLS in what follows HTTP, a tunnel or an upgrade (RFC 2817). The client's
// stream stands there; the server's stood there when it had answered last.
func (r *reader) tunnel() {
	up, down := r.d.Up.Off(), r.answered
	r.d.Down.MoveTo(down)
	if !hello(r.d.Up) && !hello(r.d.Down) {
		return
	}
	r.done = [2]bool{true, true}
	for _, a := range tlshello.ReadConversation(r.d, up, down) {
		r.emit.Emit(a)
	}
}

// hello reports whether a hello of TLS comes next, perhaps behind a hole.
func hello(s *ntpac.Stream) bool {
	s.SkipGap()
	return tlshello.Hello(s.Peek(ntpac.HeadSize)) != 0
}
