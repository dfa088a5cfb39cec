package tlshello

// SetALPN makes a protocol the only one that the client offers.
func (h *ClientHello) SetALPN(p string) { h.rawALPN = p }
