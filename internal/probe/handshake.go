// Package probe speaks to a WebSocket server byte by byte: handshakes that no client library would send, frames that
// break every rule, answers read as they came. Tests use it where a Go client would normalize, the scanner where a
// server must be shown something hostile.
//
// Nothing here judges. Every wait has a deadline and every answer a bound, for the server may be hostile too.
package probe

import (
	"crypto/sha1"
	"encoding/base64"
	"strings"
)

// Key is the nonce of RFC 6455's own example, and of Fixture.
const Key = "dGhlIHNhbXBsZSBub25jZQ=="

// A Handshake is the bytes of one request. Lines go out as they are, in their order and spelling; nothing is added.
type Handshake struct {
	Method  string
	Target  string
	Proto   string   // as in "HTTP/1.1"
	Lines   []string // header lines without their line end
	LineEnd string   // empty means CR LF
	Body    []byte
}

// Fixture is a handshake that every server for host takes from a page of origin; empty for no Origin line.
func Fixture(host, origin string) *Handshake {
	h := &Handshake{
		Method: "GET", Target: "/ws", Proto: "HTTP/1.1",
		Lines: []string{
			"Host: " + host,
			"Upgrade: websocket",
			"Connection: Upgrade",
			"Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Key: " + Key,
		},
	}
	if origin != "" {
		h.Add("Origin: " + origin)
	}
	return h
}

// Set puts value where the first line of that name stands, drops the others, and appends where there was none. It
// returns h, so that a row of a test is one expression.
func (h *Handshake) Set(name, value string) *Handshake {
	line := name + ": " + value
	for i, l := range h.Lines {
		if isNamed(l, name) {
			rest := without(h.Lines[i+1:], name)
			h.Lines = append(append(h.Lines[:i:i], line), rest...)
			return h
		}
	}
	return h.Add(line)
}

// Add appends one raw line, well-formed or not. It returns h.
func (h *Handshake) Add(line string) *Handshake {
	h.Lines = append(h.Lines, line)
	return h
}

// Del drops every line of that name. It returns h.
func (h *Handshake) Del(name string) *Handshake {
	h.Lines = without(h.Lines, name)
	return h
}

// Get is the value of the first line of that name.
func (h *Handshake) Get(name string) string {
	for _, l := range h.Lines {
		if isNamed(l, name) {
			_, value, _ := strings.Cut(l, ":")
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Clone returns a copy to change.
func (h *Handshake) Clone() *Handshake {
	c := *h
	c.Lines = append([]string(nil), h.Lines...)
	c.Body = append([]byte(nil), h.Body...)
	return &c
}

// Bytes is the request as it goes out.
func (h *Handshake) Bytes() []byte {
	end := h.LineEnd
	if end == "" {
		end = "\r\n"
	}
	var b []byte
	b = append(b, h.Method+" "+h.Target+" "+h.Proto+end...)
	for _, line := range h.Lines {
		b = append(b, line+end...)
	}
	b = append(b, end...)
	return append(b, h.Body...)
}

// isNamed compares as HTTP does; a name with blanks round it is another name.
func isNamed(line, name string) bool {
	n, _, _ := strings.Cut(line, ":")
	return strings.EqualFold(n, name)
}

func without(lines []string, name string) []string {
	var kept []string
	for _, l := range lines {
		if !isNamed(l, name) {
			kept = append(kept, l)
		}
	}
	return kept
}

// Accept is the Sec-WebSocket-Accept that answers key (RFC 6455, section 4.2.2).
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
