package clientip

import (
	"net/netip"
	"strings"
)

// parseEntry reads one address of a list or single-address header: IPv4 with
// or without port, IPv6 bare, bracketed, or bracketed with port; the zone, a
// number of the proxy's own machine, is cut. The unspecified address is
// nobody's, and a key for whoever writes it.
func parseEntry(s string) (netip.Addr, bool) {
	s = trim(s)
	if s == "" || len(s) > maxValue {
		return netip.Addr{}, false
	}
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 || !isPort(s[end+1:]) {
			return netip.Addr{}, false
		}
		return parseV6(s[1:end])
	}
	host, rest, found := strings.Cut(s, ":")
	if !found {
		return parseV4(s)
	}
	if strings.IndexByte(rest, ':') >= 0 {
		return parseV6(s)
	}
	if !isPort(s[len(host):]) {
		return netip.Addr{}, false
	}
	return parseV4(host)
}

func parseV4(s string) (netip.Addr, bool) {
	if len(s) < len("0.0.0.0") || s[0] < '0' || s[0] > '9' || strings.IndexByte(s, ':') >= 0 {
		return netip.Addr{}, false // before ParseAddr makes an error of it
	}
	return usable(netip.ParseAddr(s))
}

func parseV6(s string) (netip.Addr, bool) {
	s, zone, found := strings.Cut(s, "%")
	if found && (zone == "" || strings.Trim(zone, alphanumeric+"-._~%") != "") {
		return netip.Addr{}, false
	}
	if strings.IndexByte(s, ':') < 0 {
		return netip.Addr{}, false
	}
	return usable(netip.ParseAddr(s))
}

func usable(a netip.Addr, err error) (netip.Addr, bool) {
	a = canonical(a)
	if err != nil || a.IsUnspecified() {
		return netip.Addr{}, false
	}
	return a, true
}

// isPort takes "" or ":" and one to five digits up to 65535.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) < 2 || len(s) > 6 {
		return false
	}
	n := 0
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

// trim takes off the optional white space of RFC 9110, section 5.6.3.
func trim(s string) string { return strings.Trim(s, " \t") }

// foldEqual compares with a lower-case word, folding ASCII alone:
// strings.EqualFold would take "http\u017f" for "https".
func foldEqual(s, word string) bool {
	if len(s) != len(word) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
