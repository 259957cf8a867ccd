package clientip

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds the walk: what a client can put into a header must not be
// what the guard has to look up.
const maxHops = 50

// Proxies are the proxies that are believed, and the header they are believed
// about. It is immutable. A nil Proxies trusts nobody.
type Proxies struct {
	header  string // as net/http spells it
	form    form
	trusted *Networks
}

// form is how a header names addresses.
type form uint8

const (
	single    form = iota // one address: X-Real-IP, CF-Connecting-IP
	list                  // addresses and commas: X-Forwarded-For
	forwarded             // RFC 7239
)

// NewProxies compiles TrustProxies: the one header that the proxies set, and
// their networks as NewNetworks takes them. X-Forwarded-For and Forwarded are
// lists; any other header must hold a single address. It returns every fault,
// each a *Fault.
func NewProxies(header string, prefixes ...string) (*Proxies, []error) {
	var faults []error
	if f := headerFault(header); f != nil {
		faults = append(faults, f)
	}
	trusted, fs := compile(proxyWords, prefixes)
	if faults = append(faults, fs...); faults != nil {
		return nil, faults
	}
	p := &Proxies{header: http.CanonicalHeaderKey(header), trusted: trusted}
	switch p.header {
	case "X-Forwarded-For":
		p.form = list
	case "Forwarded":
		p.form = forwarded
	}
	return p, nil
}

// headerFault says why name cannot be the header that holds the client.
func headerFault(name string) *Fault {
	if name == "" {
		return &Fault{Wrong: "no header is given", Fix: `name the one your proxies set, as "X-Forwarded-For"`}
	}
	// TrustProxies("10.0.0.0/8"): the header forgotten.
	_, prefixErr := netip.ParsePrefix(name)
	_, addrErr := netip.ParseAddr(name)
	if prefixErr == nil || addrErr == nil || foldEqual(name, wordPrivate) {
		return &Fault{Value: name, Wrong: "is a network", Fix: `put the header your proxies set before it, as "X-Forwarded-For"`}
	}
	if !isToken(name) {
		return &Fault{Value: name, Wrong: "is no header name", Fix: `write one, as "X-Forwarded-For"`}
	}
	if holdsNoAddress(http.CanonicalHeaderKey(name)) {
		return &Fault{Value: name, Wrong: "holds no client address", Fix: `name the header that does, as "X-Forwarded-For"`}
	}
	return nil
}

// holdsNoAddress knows the headers that mean something else, most of them for
// the client to write.
func holdsNoAddress(name string) bool {
	for _, prefix := range []string{"Sec-", "Accept", "Access-Control-", "Content-", "Cookie", "If-", "Proxy-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "Age", "Allow", "Authorization", "Cache-Control", "Connection", "Date", "Dpop", "Expect", "From", "Host",
		"Keep-Alive", "Link", "Origin", "Pragma", "Priority", "Range", "Referer", "Server", "Set-Cookie", "Te",
		"Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "Via", "X-Csrf-Token", "X-Forwarded-Host",
		"X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server",
		"X-Forwarded-Ssl", "X-Http-Method-Override", "X-Request-Id", "X-Requested-With":
		return true
	}
	return false
}

// Trusts says whether peer is one of the proxies.
func (p *Proxies) Trusts(peer netip.Addr) bool {
	return p != nil && p.trusted.Contains(peer)
}

// Client is the address the handshake comes from: peer itself, unless peer is
// a trusted proxy. Then the header is read from the right, where the nearest
// proxy wrote, to the first address that is no proxy. Garbage there, no
// header, and none but proxies in the last 50 entries all leave peer: a client
// can hide behind its proxy's address at worst, never choose one.
func (p *Proxies) Client(peer netip.Addr, h http.Header) netip.Addr {
	peer = canonical(peer)
	if !p.Trusts(peer) {
		return peer
	}
	if e, end := p.walk(h); end == client {
		return e.node
	}
	return peer
}

// Secure says whether a trusted peer vouches that its client's side was
// encrypted: by exactly one X-Forwarded-Proto of https or wss, or by proto= in
// the client's Forwarded element where Forwarded is the header believed. What
// that element says then outweighs X-Forwarded-Proto, which a proxy that
// writes Forwarded may have let pass from the client.
func (p *Proxies) Secure(peer netip.Addr, h http.Header) bool {
	if !p.Trusts(peer) {
		return false
	}
	if p.form == forwarded && len(h[p.header]) > 0 {
		e, end := p.walk(h)
		if end == garbage {
			return false
		}
		if e.proto != "" {
			return isSecure(e.proto)
		}
	}
	v := h["X-Forwarded-Proto"]
	return len(v) == 1 && isSecure(trim(v[0]))
}

func isSecure(proto string) bool {
	return foldEqual(proto, "https") || foldEqual(proto, "wss")
}

// ending says what stopped a walk.
type ending uint8

const (
	garbage   ending = iota // something that is no address, or no end within maxHops
	client                  // an address that is no proxy
	exhausted               // nothing but proxies; the element is the first of them
)

// walk reads the header from the right until it meets the client. Garbage is
// never skipped: left of it everything may be forged.
func (p *Proxies) walk(h http.Header) (last element, end ending) {
	lines := h[p.header]
	if p.form == single && len(lines) > 1 {
		return element{}, garbage
	}
	hops := 0
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; hops++ {
			if hops == maxHops {
				return element{}, garbage
			}
			var text string
			rest, text, more = p.cut(rest)
			e, ok := p.parse(text)
			if !ok {
				return element{}, garbage
			}
			if !p.trusted.Contains(e.node) {
				return e, client
			}
			last = e
		}
	}
	return last, exhausted
}

// cut takes the last entry off a line.
func (p *Proxies) cut(s string) (rest, last string, more bool) {
	switch p.form {
	case forwarded:
		return cutElement(s)
	case list:
		if i := strings.LastIndexByte(s, ','); i >= 0 {
			return s[:i], s[i+1:], true
		}
	}
	return "", s, false
}

// parse reads one entry.
func (p *Proxies) parse(s string) (element, bool) {
	if p.form == forwarded {
		return parseElement(s)
	}
	a, ok := parseEntry(s)
	return element{node: a}, ok
}
