package strictjson

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// text steps over a string and returns what stands between its quotes, escapes checked but not resolved.
func (s *scanner) text() ([]byte, error) {
	s.i++
	start := s.i
	for s.i < len(s.p) {
		switch c := s.p[s.i]; {
		case c == '"':
			s.i++
			return s.p[start : s.i-1], nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		case c < 0x20:
			return nil, s.fail(Syntax)
		default:
			s.i++
		}
	}
	return nil, s.fail(Truncated)
}

func (s *scanner) escape() error {
	if s.i+1 == len(s.p) {
		s.i++
		return s.fail(Truncated)
	}
	switch s.p[s.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return nil
	case 'u':
	default:
		return s.fail(Syntax)
	}
	unit, ok := codeUnit(s.p[s.i:])
	switch {
	case !ok:
		return s.fail(Syntax)
	case !utf16.IsSurrogate(unit):
		s.i += 6
		return nil
	}
	// encoding/json reads half a pair as U+FFFD, others keep it: two names that differ here are equal there.
	low, ok := codeUnit(s.p[s.i+6:])
	if !ok || utf16.DecodeRune(unit, low) == utf8.RuneError {
		return s.fail(Surrogate)
	}
	s.i += 12
	return nil
}

// codeUnit reads one \u and its four hex digits.
func codeUnit(p []byte) (rune, bool) {
	if len(p) < 6 || p[0] != '\\' || p[1] != 'u' {
		return 0, false
	}
	var v rune
	for _, c := range p[2:6] {
		switch {
		case isDigit(c):
			v = v<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			v = v<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// unescape resolves what text has checked; without a backslash it returns raw itself.
func unescape(raw []byte) []byte {
	at := bytes.IndexByte(raw, '\\')
	if at < 0 {
		return raw
	}
	out := append(make([]byte, 0, len(raw)), raw[:at]...)
	for rest := raw[at:]; len(rest) > 0; {
		if rest[0] != '\\' {
			out = append(out, rest[0])
			rest = rest[1:]
			continue
		}
		if rest[1] != 'u' {
			out = append(out, shortEscape(rest[1]))
			rest = rest[2:]
			continue
		}
		r, _ := codeUnit(rest)
		rest = rest[6:]
		if utf16.IsSurrogate(r) {
			low, _ := codeUnit(rest)
			r = utf16.DecodeRune(r, low)
			rest = rest[6:]
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

func shortEscape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // quote, backslash, slash
}

// shortestInteger reports whether name is the one way to write its number: as map keys, "1", "+1" and "01" are
// three members of the text and one of the map.
func shortestInteger(name []byte) bool {
	if n, err := strconv.ParseInt(string(name), 10, 64); err == nil {
		return strconv.FormatInt(n, 10) == string(name)
	}
	n, err := strconv.ParseUint(string(name), 10, 64)
	return err == nil && strconv.FormatUint(n, 10) == string(name)
}
