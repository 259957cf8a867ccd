package origin

import (
	"net/netip"
	"strings"
)

const (
	maxName  = 253 // RFC 1035, section 2.3.4, as text
	maxLabel = 63
	maxIPv6  = 45 // eight groups, the last two as a dotted quad
)

// Host is the parsed value of a Host header. Name is canonical as in Origin,
// save that a trailing dot is kept: it is another name. Port is 0 when absent.
type Host struct {
	Name string
	Port uint16
}

// ParseHost reads a Host header: host [":" port] with the grammar of Parse,
// which is narrower than RFC 9110 (no escapes, no empty port, no number that
// some resolver would take for an address). Lower case costs no allocation.
func ParseHost(s string) (Host, error) {
	if len(s) > maxOrigin {
		return Host{}, errLength
	}
	name, port, err := parseAuthority(s)
	if err != nil {
		return Host{}, err
	}
	return Host{Name: name, Port: port}, nil
}

// IsLoopbackHost says whether name, as Parse and ParseHost give it, can only
// mean this machine: localhost and the names below it (RFC 6761, section 6.3),
// 127.0.0.0/8 as a dotted quad, and [::1].
func IsLoopbackHost(name string) bool {
	return isLocalhost(name) || name == "[::1]" ||
		strings.HasPrefix(name, "127.") && isDottedQuad(name)
}

// IsLocalOrIP says whether name, as Parse and ParseHost give it, is localhost,
// a name below it, or an IP address: places where HSTS means nothing.
func IsLocalOrIP(name string) bool {
	return isLocalhost(name) || isIP(name)
}

func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// isIP tells an address from a name; in canonical text only IPv6 has brackets.
func isIP(name string) bool {
	return strings.HasPrefix(name, "[") || isDottedQuad(name)
}

// parseAuthority splits host and port and puts the host into canonical form.
func parseAuthority(s string) (name string, port uint16, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, errIPv6
		}
		if name, err = parseIPv6(s[:end+1]); err != nil {
			return "", 0, err
		}
		if s = s[end+1:]; s == "" {
			return name, 0, nil
		}
		if s[0] != ':' {
			return "", 0, errIPv6
		}
		port, err = parsePort(s[1:])
		return name, port, err
	}

	// The first colon: a second one, as in a bare IPv6 address, is no digit
	// and fails as part of the port.
	host, portText, hasPort := strings.Cut(s, ":")
	if name, err = parseName(host); err != nil {
		return "", 0, err
	}
	if hasPort {
		port, err = parsePort(portText)
	}
	return name, port, err
}

// parseName checks a name or dotted quad label by label and folds its case.
func parseName(s string) (string, error) {
	if s == "" || len(s) > maxName {
		return "", errHost
	}
	start, label, capitals := 0, "", false
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			class := nameBytes[s[i]]
			if class == 0 {
				return "", errHost
			}
			capitals = capitals || class == capital
			continue
		}
		if i == start && i == len(s) && i > 0 {
			break // the one trailing dot; label is still the last real one
		}
		label = s[start:i]
		if label == "" || len(label) > maxLabel {
			return "", errHost
		}
		start = i + 1
	}
	// Resolvers and browsers read 127.1, 2130706433, 0x7f.1 and 0177.0.0.1 as
	// addresses. One spelling of an address is allowed, the dotted quad.
	if isNumber(label) && !isDottedQuad(s) {
		return "", errNumber
	}
	if capitals {
		s = strings.ToLower(s)
	}
	return s, nil
}

// isNumber says whether the last label of a name makes the whole an IPv4
// address in the eyes of a browser (URL Standard, "ends in a number").
func isNumber(label string) bool {
	if label != "" && !isDigit(label[0]) {
		return false // nearly every name: what follows costs more than all the rest
	}
	digits := strings.TrimLeft(label, "0123456789")
	if digits == "" {
		return true
	}
	if len(label) < 2 || label[0] != '0' || label[1]|0x20 != 'x' {
		return false
	}
	return strings.Trim(label[2:], "0123456789abcdefABCDEF") == ""
}

// isDottedQuad says whether s is four decimal bytes without leading zeros.
func isDottedQuad(s string) bool {
	if s == "" || !isDigit(s[0]) {
		return false // as nearly every name
	}
	for i := range 4 {
		part, rest, more := strings.Cut(s, ".")
		if more != (i < 3) || part == "" || len(part) > 3 || part[0] == '0' && len(part) > 1 {
			return false
		}
		n := 0
		for j := range len(part) {
			if !isDigit(part[j]) {
				return false
			}
			n = n*10 + int(part[j]-'0')
		}
		if n > 255 {
			return false
		}
		s = rest
	}
	return true
}

// parseIPv6 takes an address in brackets to the text of RFC 5952.
func parseIPv6(s string) (string, error) {
	inner := s[1 : len(s)-1]
	// A zone is a number of the sender's own machine, and escapes hide in it.
	if len(inner) > maxIPv6 || strings.IndexByte(inner, ':') < 0 || strings.IndexByte(inner, '%') >= 0 {
		return "", errIPv6
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil {
		return "", errIPv6
	}
	var buf [maxIPv6 + 2]byte
	text := append(addr.AppendTo(append(buf[:0], '[')), ']')
	if string(text) == s {
		return s, nil // already canonical: no allocation
	}
	return string(text), nil
}

// parsePort reads 1 to 65535 without leading zeros.
func parsePort(s string) (uint16, error) {
	if s == "" || len(s) > 5 || s[0] == '0' {
		return 0, errPort
	}
	n := 0
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, errPort
		}
		n = n*10 + int(s[i]-'0')
	}
	if n > 65535 {
		return 0, errPort
	}
	return uint16(n), nil
}

// lower folds ASCII; it is called on text that the grammar has passed.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// nameBytes says what may stand in a label. As a table: every handshake's Host and
// Origin go through it.
var nameBytes = func() (table [256]uint8) {
	for c := range table {
		switch b := byte(c); {
		case 'A' <= b && b <= 'Z':
			table[c] = capital
		case isLetter(b), isDigit(b), b == '-', b == '_':
			table[c] = plain
		}
	}
	return table
}()

const (
	plain   = 1 + iota
	capital // to be folded
)

func isNameByte(c byte) bool { return nameBytes[c] != 0 }
func isLetter(c byte) bool   { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool    { return '0' <= c && c <= '9' }
