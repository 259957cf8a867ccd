// Package origin parses and matches the two names a handshake carries: the
// Origin of the page and the Host it asks for. It has its own parser, because
// every general URL parser accepts more than a browser ever sends, and the
// surplus (userinfo, escapes, backslashes, bare numbers) is what bypasses are
// made of.
//
// Whatever passes Parse or ParseHost is in one canonical form, so that
// matching is comparing. A request's text is judged by the same grammar as the
// developer's list. The package reads no state and imports nothing but the
// standard library.
package origin

import (
	"errors"
	"strconv"
	"strings"
)

// maxOrigin bounds the text that is looked at: 253 bytes of name, a port and
// the longest scheme in use fit into it.
const maxOrigin = 300

// The faults of a request's text. They are constants of the package: refusing
// junk must not cost an allocation.
var (
	errLength = errors.New("longer than 300 bytes")
	errForm   = errors.New("not of the form scheme://host[:port]")
	errScheme = errors.New("malformed scheme")
	errHost   = errors.New("malformed host name")
	errNumber = errors.New("host ends in a number and is no dotted quad")
	errIPv6   = errors.New("malformed IPv6 address")
	errPort   = errors.New("malformed port")
)

// Origin is one parsed tuple of RFC 6454, in canonical form and comparable:
// scheme and host are lower case, an absent port is the scheme's default
// (http 80, https 443, any other 0). Host is a name, a dotted quad, or an IPv6
// address in brackets as RFC 5952 writes it.
type Origin struct {
	Scheme string
	Host   string
	Port   uint16
}

// Parse reads the Origin of a request: scheme "://" host [":" port] and not a
// byte more, at most 300 bytes. The opaque origin "null" is not a tuple and
// therefore an error. A name that is already lower case costs no allocation.
func Parse(s string) (Origin, error) {
	if len(s) > maxOrigin {
		return Origin{}, errLength
	}
	scheme, authority, err := cutScheme(s)
	if err != nil {
		return Origin{}, err
	}
	name, port, err := parseAuthority(authority)
	if err != nil {
		return Origin{}, err
	}
	// Two spellings of one place, as the Host "a.example." has. Pages rarely
	// stand there and lists never name them, so the dot is refused here.
	if strings.HasSuffix(name, ".") {
		return Origin{}, errHost
	}
	if port == 0 {
		port = defaultPort(scheme)
	}
	return Origin{Scheme: scheme, Host: name, Port: port}, nil
}

// String gives the serialization of RFC 6454, section 6.2: the default port is
// left out. Parse reads it back as the same Origin.
func (o Origin) String() string {
	s := o.Scheme + "://" + o.Host
	if o.Port != defaultPort(o.Scheme) {
		s += ":" + strconv.Itoa(int(o.Port))
	}
	return s
}

// SameOrigin says whether the page at o was served by the very host that the
// request names, under scheme ("http" or "https"): equal scheme, name and port.
func SameOrigin(o Origin, scheme string, host Host) bool {
	port := host.Port
	if port == 0 {
		port = defaultPort(scheme)
	}
	return o.Host != "" && o.Scheme == scheme && o.Host == host.Name && o.Port == port
}

// defaultPort is the port that scheme stands for when none is written, or 0.
func defaultPort(scheme string) uint16 {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}

// cutScheme takes the scheme off s, in lower case.
func cutScheme(s string) (scheme, rest string, err error) {
	if rest, ok := strings.CutPrefix(s, "https://"); ok {
		return "https", rest, nil // as nearly every page's
	}
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case !ok:
		return "", "", errForm
	case !isScheme(scheme):
		return "", "", errScheme
	}
	return lower(scheme), rest, nil
}

// isScheme holds s against RFC 3986, section 3.1.
func isScheme(s string) bool {
	if s == "" || !isLetter(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}
