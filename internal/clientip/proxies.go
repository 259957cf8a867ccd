package clientip

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds the walk: what a client can append to a header must not be
// what the guard has to read.
const maxHops = 50

// Proxies are the proxies that are believed, and the header they are believed
// about. A nil Proxies trusts nobody.
type Proxies struct {
	header  string // as net/http spells it
	entries form
	trusted *Networks
}

// form is how a header lists addresses.
type form uint8

const (
	single  form = iota // one address: X-Real-IP, CF-Connecting-IP
	list                // addresses and commas: X-Forwarded-For
	rfc7239             // Forwarded
)

// NewProxies compiles TrustProxies: the one header that the proxies set, and
// their networks as NewNetworks takes them. It returns every fault, each a
// *Fault.
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
		p.entries = list
	case "Forwarded":
		p.entries = rfc7239
	}
	return p, nil
}

func headerFault(name string) *Fault {
	if name == "" {
		return &Fault{Wrong: "no header is given", Fix: `name the one your proxies set, as "X-Forwarded-For"`}
	}
	return nil
}

// Trusts says whether peer is one of the proxies.
func (p *Proxies) Trusts(peer netip.Addr) bool {
	return p != nil && p.trusted.Contains(peer)
}

// Client is the address the handshake comes from: peer itself, unless peer is
// a trusted proxy. Then the header is read from the right, where the nearest
// proxy wrote, to the first address that is no proxy. Garbage there, no
// header, and none but proxies in the last 50 entries all leave peer.
func (p *Proxies) Client(peer netip.Addr, h http.Header) netip.Addr {
	peer = canonical(peer)
	if !p.Trusts(peer) {
		return peer
	}
	return peer
}

// Secure says whether a trusted proxy vouches that the client's side was
// encrypted.
func (p *Proxies) Secure(peer netip.Addr, h http.Header) bool {
	if !p.Trusts(peer) {
		return false
	}
	v := h["X-Forwarded-Proto"]
	return len(v) == 1 && isSecure(v[0])
}

func isSecure(proto string) bool {
	return strings.EqualFold(proto, "https") || strings.EqualFold(proto, "wss")
}
