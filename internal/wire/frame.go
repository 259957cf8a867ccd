package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

const (
	finBit  = 0x80
	rsv1Bit = 0x40
	rsv23   = 0x30
	maskBit = 0x80

	maxHeader  = 14  // 2, the length in 8, the masking key in 4
	maxControl = 125 // bytes of a control frame's payload
	maxReason  = maxControl - 2
)

// headerSize is how many bytes the header that b begins with has. While b is
// too short to tell, it is the number of bytes needed to tell more.
func headerSize(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	n := 2
	switch b[1] &^ maskBit {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if b[1]&maskBit != 0 {
		n += 4
	}
	return n
}

// payloadSize reads the declared length of a complete header. It is negative
// where RFC 6455, section 5.2, forbids the form: more bytes than needed, or
// the top bit of 64.
func payloadSize(b []byte) int64 {
	switch n := b[1] &^ maskBit; n {
	case 126:
		if n := int64(binary.BigEndian.Uint16(b[2:])); n >= 126 {
			return n
		}
		return -1
	case 127:
		if n := int64(binary.BigEndian.Uint64(b[2:])); n > 0xFFFF {
			return n
		}
		return -1
	default:
		return int64(n)
	}
}

// wellFormed judges the first byte of a header and its declared length by what
// holds in both directions (RFC 6455, section 5; RFC 7692, section 6).
func wellFormed(first byte, size int64, inMessage, deflate bool) bool {
	if size < 0 || first&rsv23 != 0 {
		return false
	}
	compressed := first&rsv1Bit != 0
	switch first & 0xF {
	case opText, opBinary:
		return !inMessage && (!compressed || deflate)
	case opContinuation:
		return inMessage && !compressed
	case opClose:
		return first&finBit != 0 && !compressed && size <= maxControl && size != 1
	case opPing, opPong:
		return first&finBit != 0 && !compressed && size <= maxControl
	}
	return false
}

// sendable tells whether a peer may put code into a close frame: the RFC's own
// list, the registered ones, and the ranges of libraries and applications.
func sendable(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// closeFrame is a server's close frame. A reason that does not fit is cut at
// the border of a character.
func closeFrame(code int, reason string) []byte {
	if len(reason) > maxReason {
		n := maxReason
		for n > 0 && !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	b := make([]byte, 4, 4+len(reason))
	b[0] = finBit | opClose
	b[1] = byte(2 + len(reason))
	binary.BigEndian.PutUint16(b[2:], uint16(code))
	return append(b, reason...)
}

// pingFrame is a server's ping with a payload that no peer can guess.
func pingFrame(payload uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{finBit | opPing, 8}, payload)
}

// pongFrame is room for a server's answer to any ping; a session holds the pointer
// while one is due, and mostly none is.
type pongFrame [2 + maxControl]byte

func newPong(payload []byte) *pongFrame {
	f := &pongFrame{finBit | opPong}
	f[1] = byte(copy(f[2:], payload))
	return f
}

func (f *pongFrame) bytes() []byte { return f[:2+f[1]] }
