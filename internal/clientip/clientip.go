// Package clientip finds the address a handshake really comes from, and the
// networks addresses belong to. A forwarding header is believed only from a
// proxy that was named, only the one header that was named, and only as far as
// the chain of named proxies reaches. Everything left of that was written by
// whoever wanted to be somebody else.
//
// The package reads no state and imports nothing but the standard library.
package clientip

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Peer reads http.Request.RemoteAddr: an address with or without port. The
// result is canonical, IPv4-mapped IPv6 as IPv4 and without zone. It is false
// when the listener gives no address, as on a unix socket.
func Peer(remoteAddr string) (netip.Addr, bool) {
	if a, ok := quickV4(remoteAddr); ok {
		return a, true
	}
	ap, err := netip.ParseAddrPort(remoteAddr)
	a := ap.Addr()
	if err != nil {
		if a, err = netip.ParseAddr(remoteAddr); err != nil {
			return netip.Addr{}, false
		}
	}
	return canonical(a), true
}

// quickV4 reads what nearly every peer has, "192.0.2.1:50123", in a third of the
// time. All else, every mistake among it, is netip's to judge.
func quickV4(s string) (a netip.Addr, ok bool) {
	var b [4]byte
	field, n, digits := 0, 0, 0
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			if digits > 0 && n == 0 || n > 25 {
				return netip.Addr{}, false
			}
			n = n*10 + int(c-'0')
			digits++
		case digits == 0 || n > 255:
			return netip.Addr{}, false
		case c == '.' && field < 3:
			b[field] = byte(n)
			field, n, digits = field+1, 0, 0
		case c == ':' && field == 3:
			b[field] = byte(n)
			return netip.AddrFrom4(b), isPort(s[i:])
		default:
			return netip.Addr{}, false
		}
	}
	return netip.Addr{}, false
}

// Remote is Peer of a net.Conn's RemoteAddr.
func Remote(remote net.Addr) (netip.Addr, bool) {
	switch a := remote.(type) {
	case nil:
		return netip.Addr{}, false
	case *net.TCPAddr:
		ip := canonical(a.AddrPort().Addr())
		return ip, ip.IsValid()
	}
	return Peer(remote.String())
}

// canonical gives an address the one form that is compared and counted.
func canonical(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	return a.Unmap().WithZone("")
}

// nat64 is the well-known prefix of RFC 6052: the whole of IPv4, one /96. By
// its /64 every IPv4 client behind every translator would share one key.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Bucket is the network that counts as one client: an IPv4 address alone
// (also when it is mapped or translated into IPv6), the /64 of an IPv6
// address, which is what one subscriber is given, and ::1 alone. The zero
// Addr has the zero Prefix.
func Bucket(a netip.Addr) netip.Prefix {
	a = inner(a)
	switch {
	case !a.IsValid():
		return netip.Prefix{}
	case a.Is4() || a.IsLoopback():
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.PrefixFrom(a, 64).Masked()
}

// Wide is the /48 of an IPv6 client: what a site is given, and what lets one
// attacker be 65,536 buckets. It is false for whatever Bucket counts alone.
func Wide(a netip.Addr) (netip.Prefix, bool) {
	a = inner(a)
	if !a.Is6() || a.IsLoopback() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, 48).Masked(), true
}

// inner is the IPv4 address inside an IPv6 one, where there is one.
func inner(a netip.Addr) netip.Addr {
	a = canonical(a)
	if a.Is6() && nat64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// shared is the carrier-grade NAT space of RFC 6598, which netip does not
// count as private.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// IsPrivate says whether no client of the open Internet can have this address:
// RFC 1918, RFC 6598, link-local, unique-local and loopback.
func IsPrivate(a netip.Addr) bool {
	a = canonical(a)
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a)
}

// HasForwarding says whether any header is there that a proxy adds about its
// client, known to this guard or not. It asks for presence: an empty value
// also came from somewhere.
func HasForwarding(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") || forwarding[name] {
			return true
		}
	}
	return false
}

// forwarding holds, in net/http's spelling, what has no common prefix.
var forwarding = map[string]bool{
	"Forwarded":                 true,
	"X-Forwarded":               true,
	"Via":                       true,
	"X-Real-Ip":                 true,
	"X-Client-Ip":               true,
	"X-Cluster-Client-Ip":       true,
	"X-Original-Forwarded-For":  true,
	"X-Envoy-External-Address":  true,
	"X-Azure-Clientip":          true,
	"X-Appengine-User-Ip":       true,
	"Cf-Connecting-Ip":          true,
	"Cf-Connecting-Ipv6":        true,
	"Cf-Pseudo-Ipv4":            true,
	"Cdn-Loop":                  true,
	"Client-Ip":                 true,
	"Cloudfront-Viewer-Address": true,
	"Do-Connecting-Ip":          true,
	"Fastly-Client-Ip":          true,
	"Fly-Client-Ip":             true,
	"Forwarded-For":             true,
	"True-Client-Ip":            true,
}
