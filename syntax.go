package wssecure

import "strings"

// This file holds the small grammars of RFC 9110, 6750, 6455 and 7692 that the
// handshake is made of. Each is linear in its input.

// isToken reports whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return true
}

func isTokenByte(c byte) bool { return tokenBytes[c] }

var tokenBytes = bytesOf("!#$%&'*+-.^_`|~" + alphanumeric)

// isToken68 is the b64token of RFC 6750 section 2.1.
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	for i := 0; i < len(body); i++ {
		if !isUnreservedByte(body[i]) && body[i] != '+' && body[i] != '/' {
			return false
		}
	}
	return body != ""
}

func isUnreserved(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isUnreservedByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isUnreservedByte(c byte) bool { return unreserved[c] }

// unreserved of RFC 3986 section 2.3.
var unreserved = bytesOf("-._~" + alphanumeric)

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// bytesOf is an alphabet as a table: tokens are a kilobyte long.
func bytesOf(alphabet string) (table [256]bool) {
	for _, c := range []byte(alphabet) {
		table[c] = true
	}
	return table
}

func isVisible(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// hasToken reports whether a list header names token, ASCII case ignored.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for rest, more := line, true; more; {
			var element string
			if element, rest, more = strings.Cut(rest, ","); equalFold(trimBoth(element), token) {
				return true
			}
		}
	}
	return false
}

// equalFold compares with ASCII case ignored: strings.EqualFold would also fold
// the Kelvin sign into k.
func equalFold(a, b string) bool {
	return len(a) == len(b) && hasPrefixFold(a, b)
}

func hasPrefixFold(s, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := 0; i < len(prefix); i++ {
		if lower(s[i]) != lower(prefix[i]) {
			return false
		}
	}
	return true
}

func containsFold(s, sub string) bool {
	for i := 0; i+len(sub) <= len(s); i++ {
		if hasPrefixFold(s[i:], sub) {
			return true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// parseExtensions reads an offer of extensions (RFC 6455 section 9.1) and
// reports whether it holds a permessage-deflate that can be accepted without
// context takeover (RFC 7692 section 7.1): every parameter known, at most once,
// no window below 15 bits asked of the server. ok is false for broken syntax.
func parseExtensions(lines []string) (deflate, ok bool) {
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if size > longestExtensionLine {
		return false, false
	}
	for _, line := range lines {
		for line = trimBlanks(line); line != ""; {
			offer, rest, sound := parseExtension(line)
			if !sound {
				return false, false
			}
			deflate = deflate || offer
			line = rest
		}
	}
	return deflate, true
}

// parseExtension reads one extension with its parameters and the comma behind.
func parseExtension(s string) (deflate bool, rest string, ok bool) {
	name, s := cutToken(s)
	if name == "" {
		return false, "", false
	}
	deflate = equalFold(name, "permessage-deflate")
	seen := map[string]bool{}
	for {
		s = trimBlanks(s)
		if s == "" || s[0] == ',' {
			break
		}
		if s[0] != ';' {
			return false, "", false
		}
		param, value, hasValue, tail, sound := parseParameter(trimBlanks(s[1:]))
		if !sound {
			return false, "", false
		}
		deflate = deflate && !seen[param] && acceptable(param, value, hasValue)
		seen[param] = true
		s = tail
	}
	if s == "" {
		return deflate, "", true
	}
	s = trimBlanks(s[1:])
	return deflate, s, s != ""
}

func parseParameter(s string) (name, value string, hasValue bool, rest string, ok bool) {
	name, s = cutToken(s)
	if name == "" {
		return "", "", false, "", false
	}
	s = trimBlanks(s)
	if s == "" || s[0] != '=' {
		return name, "", false, s, true
	}
	s = trimBlanks(s[1:])
	if s != "" && s[0] == '"' {
		value, s, ok = cutQuoted(s)
		return name, value, true, s, ok && isToken(value)
	}
	value, s = cutToken(s)
	return name, value, true, s, value != ""
}

// acceptable reports whether a parameter of permessage-deflate leaves both
// sides with what the library behind can do: windows of 15 bits.
func acceptable(name, value string, hasValue bool) bool {
	switch name {
	case "client_no_context_takeover", "server_no_context_takeover":
		return !hasValue
	case "client_max_window_bits":
		return !hasValue || value == "15"
	case "server_max_window_bits":
		return value == "15"
	}
	return false
}

func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && isTokenByte(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

// cutQuoted reads a quoted string; s begins with its opening quote.
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func trimBlanks(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func trimBoth(s string) string {
	s = trimBlanks(s)
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
