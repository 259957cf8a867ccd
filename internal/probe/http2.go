package probe

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// This file is as much of HTTP/2 (RFC 9113) as it takes to send a server what no client library would.

// Types of HTTP/2 frames, section 6.
const (
	H2Headers      byte = 1
	H2Reset        byte = 3
	H2Settings     byte = 4
	H2Ping         byte = 6
	H2GoAway       byte = 7
	H2Continuation byte = 9
)

// Flags of HTTP/2 frames.
const (
	H2Ack        byte = 1 // of settings and pings
	H2EndStream  byte = 1 // of headers
	H2EndHeaders byte = 4
)

// Settings of HTTP/2, section 6.5.2 and RFC 8441.
const (
	H2MaxStreams      uint16 = 3
	H2ExtendedConnect uint16 = 8
)

// An H2Frame is one frame of HTTP/2.
type H2Frame struct {
	Type, Flags byte
	Stream      uint32
	Payload     []byte
}

// h2MaxFrame is what a peer may send that was not told otherwise.
const h2MaxFrame = 16 << 10

// AppendH2 appends f as it goes over the wire.
func AppendH2(dst []byte, f H2Frame) []byte {
	n := len(f.Payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), f.Type, f.Flags)
	return append(binary.BigEndian.AppendUint32(dst, f.Stream), f.Payload...)
}

// H2Preface is how a client begins, with settings that change nothing.
func H2Preface() []byte {
	return AppendH2([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), H2Frame{Type: H2Settings})
}

// AppendH2Field appends a header field without index and without Huffman code (RFC 7541, section 6.2.2).
func AppendH2Field(dst []byte, name, value string) []byte {
	dst = append(appendH2Length(append(dst, 0), len(name)), name...)
	return append(appendH2Length(dst, len(value)), value...)
}

// appendH2Length appends an integer of seven bits and more (RFC 7541, section 5.1).
func appendH2Length(dst []byte, n int) []byte {
	if n < 127 {
		return append(dst, byte(n))
	}
	return binary.AppendUvarint(append(dst, 127), uint64(n-127))
}

// ReadH2 reads one frame, at most until the deadline. What begins as no server's frame does is an error.
func (c *Conn) ReadH2(deadline time.Time) (H2Frame, error) {
	if err := c.nc.SetReadDeadline(deadline); err != nil {
		return H2Frame{}, err
	}
	var head [9]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return H2Frame{}, err
	}
	f := H2Frame{Type: head[3], Flags: head[4], Stream: binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)}
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if length > h2MaxFrame {
		return f, fmt.Errorf("probe: HTTP/2 frame of %d bytes", length)
	}
	f.Payload = make([]byte, length)
	_, err := io.ReadFull(c.br, f.Payload)
	return f, unfinished(err)
}

// Setting is the value that a frame of settings gives to id.
func (f H2Frame) Setting(id uint16) (value uint32, given bool) {
	for p := f.Payload; len(p) >= 6; p = p[6:] {
		if binary.BigEndian.Uint16(p) == id {
			value, given = binary.BigEndian.Uint32(p[2:]), true
		}
	}
	return value, given
}

// Status is the :status of a frame of headers, which is the first field of an answer; 0 where it cannot be read.
func (f H2Frame) Status() int {
	p := f.Payload
	for len(p) > 0 && p[0]>>5 == 1 { // the size of the dynamic table
		more := p[0]&31 == 31
		for p = p[1:]; more && len(p) > 0; p = p[1:] {
			more = p[0] >= 0x80
		}
	}
	if len(p) == 0 {
		return 0
	}
	indexed := [...]int{200, 204, 206, 304, 400, 404, 500} // RFC 7541, appendix A: 8 to 14
	switch first := p[0]; {
	case first >= 0x88 && first <= 0x8E:
		return indexed[first-0x88]
	case first&0xF >= 8 && first&0xF <= 14 && first>>4 <= 1, first >= 0x48 && first <= 0x4E: // the name by its index
		return h2Digits(p[1:])
	}
	return 0
}

// h2Digits reads a string of three digits, plain or in Huffman code: five bits for 0 to 2, six for the others.
func h2Digits(p []byte) int {
	if len(p) == 0 || len(p) < 1+int(p[0]&0x7F) {
		return 0
	}
	text, coded := p[1:1+p[0]&0x7F], p[0] >= 0x80
	n, digits := 0, 0
	add := func(digit int) { n, digits = 10*n+digit, digits+1 }
	if !coded {
		for _, b := range text {
			if b < '0' || b > '9' {
				return 0
			}
			add(int(b - '0'))
		}
	}
	bits, held := uint32(0), 0
	for _, b := range text {
		if !coded {
			break
		}
		bits, held = bits<<8|uint32(b), held+8
		for digits < 3 && held >= 5 {
			if five := bits >> (held - 5) & 31; five <= 2 {
				add(int(five))
				held -= 5
				continue
			}
			if held < 6 {
				break
			}
			six := int(bits >> (held - 6) & 63)
			if six < 25 || six > 31 {
				return 0
			}
			add(six - 25 + 3)
			held -= 6
		}
	}
	if digits != 3 {
		return 0
	}
	return n
}
