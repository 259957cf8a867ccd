package wire

import (
	"bytes"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// maxHead is the size of a response head, all lines together.
const maxHead = 8 << 10

// refusal is what the peer gets in place of a head that is not passed on.
const refusal = "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

var headEnd = []byte("\r\n\r\n")

// head is the library's response head while it is being written.
type head struct {
	want *Head
	buf  []byte
	by   time.Duration // when it must be whole; 0: it is
	out  bool          // a 101 is on its way: its peer is owed a close frame
}

// writeHead takes p up to the end of the head. With the last byte of a 101 the
// session is open and frames begin; another status is passed on as it is, and
// so is what follows it.
func (c *Conn) writeHead(p []byte) (int, Violation) {
	h := c.head
	before := len(h.buf)
	h.buf = append(h.buf, p[:min(len(p), maxHead+1-before)]...)
	// A head can end in what it began with an earlier Write.
	end := bytes.Index(h.buf[max(before-len(headEnd)+1, 0):], headEnd)
	if end < 0 && len(h.buf) <= maxHead {
		return len(p), 0
	}
	n := max(before-len(headEnd)+1, 0) + end + len(headEnd)
	if end < 0 || n > maxHead {
		return c.refuseHead()
	}
	lines := strings.Split(string(h.buf[:n-len(headEnd)]), "\r\n")
	status := statusOf(lines[0])
	c.counters.Status = uint16(status)
	switch {
	case status == 101:
		answer, deflate, ok := h.want.accept(lines)
		if !ok {
			return c.refuseHead()
		}
		c.deflate, h.by = deflationOf(deflate), 0
		c.mu.Unlock()
		c.Start()
		c.owner.Opened()
		c.mu.Lock()
		if c.finishing { // ended before it began: nobody may see the 101
			return 0, AppClosed
		}
		h.out = true
		if _, err := c.send(nil, answer); err != nil {
			return 0, c.goneBy()
		}
	case status >= 200:
		h.by = 0
		c.beginClosing(OtherStatus, statusTime)
		if _, err := c.send(nil, h.buf[:n]); err != nil {
			return 0, c.goneBy()
		}
		c.passing = true
	default:
		return c.refuseHead()
	}
	c.head = nil
	return n - before, 0
}

func (c *Conn) refuseHead() (int, Violation) {
	c.counters.Status = 500
	c.send(nil, []byte(refusal))
	return 0, BadHead
}

// statusOf reads a status line; 0 where it is none. An interim status other
// than 101 is none either: the next head would pass unseen.
func statusOf(line string) int {
	rest, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok || len(rest) < 3 || len(rest) > 3 && rest[3] != ' ' || !printable(line) {
		return 0
	}
	n := 0
	for _, d := range []byte(rest[:3]) {
		if d < '0' || d > '9' {
			return 0
		}
		n = n*10 + int(d-'0')
	}
	if n == 101 || n >= 200 && n <= 599 {
		return n
	}
	return 0
}

// accept judges the head of a 101 and returns it as it goes out, and whether
// it names permessage-deflate.
func (h *Head) accept(lines []string) (answer []byte, deflate, ok bool) {
	fields := make(map[string][]string, len(lines))
	for _, line := range lines[1:] {
		name, value, found := strings.Cut(line, ":")
		if !found || !isToken(name) || !printable(value) {
			return nil, false, false
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		fields[name] = append(fields[name], strings.Trim(value, " \t"))
	}
	accepts, protocols, extensions := fields["Sec-Websocket-Accept"], fields["Sec-Websocket-Protocol"], fields["Sec-Websocket-Extensions"]
	upgrade := fields["Upgrade"]
	switch {
	case len(accepts) != 1 || accepts[0] != h.Accept,
		len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket"),
		!hasToken(fields["Connection"], "upgrade"),
		len(protocols) > 1,
		len(protocols) == 1 && !slices.Contains(h.Protocols, protocols[0]),
		len(extensions) > 1:
		return nil, false, false
	}
	if len(extensions) == 1 {
		name, _, _ := strings.Cut(extensions[0], ";")
		deflate = strings.EqualFold(strings.TrimSpace(name), "permessage-deflate")
		if !h.Extensions || !deflate || strings.Contains(extensions[0], ",") {
			return nil, false, false
		}
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	if len(protocols) == 0 && h.Marker != "" {
		b.WriteString("Sec-WebSocket-Protocol: " + h.Marker + "\r\n")
	}
	if len(fields["Strict-Transport-Security"]) == 0 && h.HSTS != "" {
		b.WriteString("Strict-Transport-Security: " + h.HSTS + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String()), deflate, true
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// isToken tells whether s is a field name (RFC 9110, section 5.6.2). A blank
// before the colon, or a folded line, is none.
func isToken(s string) bool {
	for _, b := range []byte(s) {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// printable tells whether s has no control characters but tabs: a bare CR or
// LF would be the end of a line to some readers.
func printable(s string) bool {
	for _, b := range []byte(s) {
		if b < ' ' && b != '\t' || b == 0x7F {
			return false
		}
	}
	return true
}
