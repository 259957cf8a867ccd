// Package quote makes text that an attacker wrote safe for one line of a log.
//
// Whatever goes in, what comes out is valid UTF-8, printable, on one line and no longer than asked for. A header
// value can therefore neither forge a second line (CR LF), nor drive the terminal of whoever reads the log (ESC, C1),
// nor reverse what the eye sees (bidirectional controls), nor hide text (zero width), nor fill the disk.
package quote

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Limits in bytes for what events carry.
const (
	Value  = 256 // any value that a peer sent
	Origin = 64  // an Origin: long enough to be told apart, short enough for one column
)

const ellipsis = "…"

// Cut returns s with everything escaped that is not plainly visible, in at most max bytes.
//
// Escapes are those of Go string literals: \n \r \t \\ \" by name, \x1b for a control character or a byte that is
// not UTF-8, \u202e and \U000e0041 for the rest. Backslash and double quote are escaped too, so no text can pass for
// the escape of another. A text that does not fit ends with "…", which counts, and is never cut inside a rune or an
// escape. Below three bytes there is no room for the mark and the text just ends.
//
// Text that needs nothing is returned as it is, without allocation. The time depends on max, never on len(s).
func Cut(s string, max int) string {
	if max <= 0 {
		return ""
	}
	if len(s) <= max && plain(s) {
		return s
	}
	return string(appendCut(make([]byte, 0, room(s, max)), s, max, false))
}

// Text is Cut for an error's text, in which values may stand quoted and escaped already: its backslashes and double
// quotes stay as they are, or a log that quotes what it writes would show them three deep.
func Text(s string, max int) string {
	if max <= 0 {
		return ""
	}
	if len(s) <= max && plain(s) {
		return s
	}
	return string(appendCut(make([]byte, 0, room(s, max)), s, max, true))
}

// Quoted is Cut with a double quote on each side; both count towards max. Below two bytes it is empty.
func Quoted(s string, max int) string {
	if max < 2 {
		return ""
	}
	b := append(make([]byte, 0, room(s, max)), '"')
	b = appendCut(b, s, max-2, false)
	return string(append(b, '"'))
}

// room is what the text can need, and one escape more: appendCut writes it before it knows that it does not fit.
func room(s string, max int) int {
	const longest = len(`\U0010ffff`)
	if len(s) < max/longest {
		return longest*len(s) + longest + 2
	}
	return max + longest
}

// appendCut appends at most max bytes to dst; ours leaves backslashes and double quotes as they are.
func appendCut(dst []byte, s string, max int, ours bool) []byte {
	start := len(dst)
	marked := start // the longest whole prefix that leaves room for the ellipsis
	for len(s) > 0 {
		end := len(dst)
		r, size := utf8.DecodeRuneInString(s)
		if ours && (r == '\\' || r == '"') {
			dst = append(dst, s[0])
		} else {
			dst = appendRune(dst, r, s[:size])
		}
		if len(dst)-start > max {
			if max < len(ellipsis) {
				return dst[:end]
			}
			return append(dst[:marked], ellipsis...)
		}
		if len(dst)-start <= max-len(ellipsis) {
			marked = len(dst)
		}
		s = s[size:]
	}
	return dst
}

func appendRune(dst []byte, r rune, raw string) []byte {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		return appendHex(append(dst, `\x`...), uint32(raw[0]), 2)
	case visible(r):
		return append(dst, raw...)
	}
	switch r {
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	case '\\', '"':
		return append(dst, '\\', byte(r))
	}
	switch {
	case r < utf8.RuneSelf:
		return appendHex(append(dst, `\x`...), uint32(r), 2)
	case r <= 0xFFFF:
		return appendHex(append(dst, `\u`...), uint32(r), 4)
	}
	return appendHex(append(dst, `\U`...), uint32(r), 8)
}

func appendHex(dst []byte, v uint32, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[v>>shift&0xF])
	}
	return dst
}

func plain(s string) bool {
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			if !visible(rune(s[i])) {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !visible(r) {
			return false
		}
		i += size
	}
	return true
}

// visible reports whether r may stand for itself. strconv.IsPrint already excludes controls, format characters (all
// of bidi, zero width, BOM, tags), separators and private use; the two tables are letters and marks that draw nothing.
func visible(r rune) bool {
	if r < utf8.RuneSelf {
		return ' ' <= r && r <= '~' && r != '\\' && r != '"'
	}
	return strconv.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
