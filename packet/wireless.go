package packet

import (
	"encoding/binary"

	"ntpac"
)

// wireless reads what capture drivers put before an 802.11 frame, then the frame.
func (w *walk) wireless(t ntpac.LinkType) Verdict {
	pad := false
	switch t {
	case linkRadiotap:
		n, flags := w.radiotap()
		if n < 8 {
			return w.lack(8)
		}
		if !w.has(n) {
			return w.lack(n)
		}
		w.off += n
		pad = flags&0x20 != 0
		if flags&0x10 != 0 && w.claim-w.off >= 4 { // the frame check sequence is captured too
			w.claim -= 4
			w.end = min(w.end, w.claim)
		}
	case linkPrism, linkAVS:
		if !w.has(8) {
			return w.lack(8)
		}
		n := w.u32(4)
		if t == linkPrism { // in the byte order of the host
			if n = binary.LittleEndian.Uint32(w.f[w.off+4:]); n > 0xffff {
				n = w.u32(4)
			}
		}
		if n < 8 || n > 0xffff {
			return Malformed
		}
		if !w.has(int(n)) {
			return w.lack(int(n))
		}
		w.off += int(n)
	}
	return w.wlan(pad)
}

// radiotap gives the header's length and its flags field, if present (https://www.radiotap.org).
func (w *walk) radiotap() (n int, flags byte) {
	if !w.has(8) {
		return 0, 0
	}
	le := binary.LittleEndian
	h := w.f[w.off:w.end]
	n = int(le.Uint16(h[2:]))
	present := le.Uint32(h[4:])
	at := 8
	for more := present; more&(1<<31) != 0 && at+4 <= len(h); at += 4 {
		more = le.Uint32(h[at:])
	}
	if present&1 != 0 { // the timer comes first, aligned to its size
		at = (at+7)&^7 + 8
	}
	if present&2 != 0 && at < n && at < len(h) {
		flags = h[at]
	}
	return n, flags
}

// wlan reads an 802.11 data frame (IEEE 802.11, section 9.2 and 9.3.2). Of an aggregate (A-MSDU) only the
// first part is read.
func (w *walk) wlan(pad bool) Verdict {
	if !w.has(2) {
		return w.lack(2)
	}
	kind, flags := w.u8(0), w.u8(1)
	if kind&0x0f != 0x08 || kind&0x40 != 0 { // management, control, or data without data
		return NonIP
	}
	n := 24
	if flags&3 == 3 { // between access points: a fourth address
		n += 6
	}
	qos := n
	if kind&0x80 != 0 {
		n += 2
		if flags&0x80 != 0 { // HT control
			n += 4
		}
	}
	if pad {
		n = (n + 3) &^ 3
	}
	if flags&0x40 != 0 {
		return Encrypted
	}
	if !w.has(n) {
		return w.lack(n)
	}
	if flags&4 != 0 || w.u16(22)&0x0f00 != 0 {
		return NonIP // a fragment of a link-layer frame
	}
	if kind&0x80 != 0 && w.u8(qos)&0x80 != 0 { // addresses and length of an aggregate's part
		n += 14
	}
	w.off += n
	return w.llc()
}
