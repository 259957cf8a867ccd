package clientip

import (
	"net/netip"
	"strings"
)

// maxValue is longer than any address or protocol that can be written.
const maxValue = 64

// element is what one Forwarded element says of its sender.
type element struct {
	node  netip.Addr // zero: absent, given twice, or not an address
	proto string     // empty: absent
}

// cutElement takes the last element off a list header that may hold quoted
// strings (RFC 7239, section 4). It reads from the right, where the trusted
// proxies wrote: reading from the left, one quotation mark left open by the
// client would swallow what they appended.
func cutElement(s string) (rest, last string, more bool) {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"' && !quoted:
			quoted = true
		case s[i] == '"' && i > 0 && s[i-1] == '\\':
			// Part of the string; the quotation mark that opens it has a "="
			// before it, never a backslash.
		case s[i] == '"':
			quoted = false
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return "", s, false
}

// parseElement reads parameter after parameter: token "=" token, or token "="
// quoted-string. One that is malformed or given twice spoils the element.
func parseElement(s string) (e element, ok bool) {
	var hasNode, hasProto bool
	for s = trim(s); s != ""; {
		if s[0] == ';' { // an empty parameter is within the grammar
			s = trim(s[1:])
			continue
		}
		name, rest, found := strings.Cut(s, "=")
		if !found || !isToken(name) {
			return element{}, false
		}
		value, rest, ok := cutValue(rest)
		if !ok {
			return element{}, false
		}
		switch {
		case foldEqual(name, "for"):
			if hasNode {
				return element{}, false
			}
			hasNode = true
			if e.node, ok = parseNode(value); !ok {
				return element{}, false
			}
		case foldEqual(name, "proto"):
			if hasProto {
				return element{}, false
			}
			hasProto, e.proto = true, value
		}
		// Blanks around the semicolon are beyond the grammar, and common.
		if s = trim(rest); s != "" && s[0] != ';' {
			return element{}, false
		}
	}
	return e, hasNode
}

// cutValue takes a token or quoted-string off s and resolves its escapes.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		n := 0
		for n < len(s) && isTokenByte(s[n]) {
			n++
		}
		return s[:n], s[n:], n > 0
	}
	escapes := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			value = s[1:i]
			if escapes {
				value = unescape(value)
			}
			return value, s[i+1:], true
		case '\\':
			escapes = true
			i++
		}
	}
	return "", "", false
}

// unescape drops the backslash of each quoted pair. It stops where the value
// has become too long to be of use.
func unescape(s string) string {
	b := make([]byte, 0, maxValue+1)
	for i := 0; i < len(s) && len(b) <= maxValue; i++ {
		if s[i] == '\\' {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// parseNode reads the value of for= (RFC 7239, section 6): IPv4, or IPv6 in
// brackets, and a port that may be obfuscated. Colon and bracket are no token
// characters, so whatever holds one must have been quoted.
func parseNode(s string) (netip.Addr, bool) {
	if len(s) > maxValue {
		return netip.Addr{}, false
	}
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || !isNodePort(s[end+1:]) {
			return netip.Addr{}, false
		}
		return parseV6(s[1:end])
	}
	host, port, found := strings.Cut(s, ":")
	if found && !isNodePort(s[len(s)-len(port)-1:]) {
		return netip.Addr{}, false
	}
	return parseV4(host)
}

// isNodePort takes "", ":" port, or ":_" and an obfuscated port.
func isNodePort(s string) bool {
	if obfuscated, found := strings.CutPrefix(s, ":_"); found {
		return obfuscated != "" && strings.Trim(obfuscated, alphanumeric+"._-") == ""
	}
	return isPort(s)
}

const alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
		c < 0x7F && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
