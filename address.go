package wssecure

import (
	"net/netip"

	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/internal/origin"
	"github.com/wssecure/wssecure/store"
)

// TrustProxies believes what the proxies in the networks prefixes say of the
// client: its address in header, and by X-Forwarded-Proto whether it uses TLS.
// A CDN is such a proxy: until its networks are named here, all its visitors have
// one address, with one budget, and a ban for what one of them does.
// header is the one header that they set: "X-Forwarded-For", "Forwarded" or one
// with a single address, as "X-Real-IP". A list is read from the right up to the
// first address that is no proxy. The word "private" stands for RFC 1918,
// 100.64/10, link-local, unique-local and loopback addresses. Everybody else's
// forwarding headers are ignored.
//
// Every address in prefixes may say who the client is. Where clients live in the
// proxies' network, an intranet say, name the proxies' own addresses and not
// "private": a client there would be taken for a proxy, and choose its address.
func TrustProxies(header string, prefixes ...string) Option {
	return func(d *draft) {
		if !d.processWide("TrustProxies") {
			return
		}
		proxies, errs := clientip.NewProxies(header, prefixes...)
		d.faultErrs("TrustProxies", errs)
		if len(errs) == 0 {
			d.proxies = proxies
		}
	}
}

// TrustNetworks exempts the networks prefixes from rules by address and from
// bans, for load balancers' probes and the like; every other check holds.
func TrustNetworks(why string, prefixes ...string) Option {
	return func(d *draft) {
		if d.child {
			d.processWide("TrustNetworks")
			return
		}
		if !d.insecure("TrustNetworks", why) {
			return
		}
		networks, errs := clientip.NewNetworks(prefixes...)
		d.faultErrs("TrustNetworks", errs)
		if len(errs) == 0 {
			d.trusted = networks
		}
	}
}

// addressKeys are the names under which a client's address is counted; wide is
// the zero Key but for IPv6.
type addressKeys struct{ narrow, wide store.Key }

func keysOfAddress(a netip.Addr) addressKeys {
	k := addressKeys{narrow: store.Address(clientip.Bucket(a))}
	if wide, ok := clientip.Wide(a); ok {
		k.wide = store.Address(wide)
	}
	return k
}

// addresses are the client's keys, made on demand: whoever is refused for its
// shape or its Origin is not counted by them.
func (a *attempt) addresses() *addressKeys {
	if a.address.narrow.Kind == 0 {
		a.address = keysOfAddress(a.client)
	}
	return &a.address
}

// network is the widest of the client's that is counted as one.
func (a *attempt) network() netip.Prefix {
	if wide := a.addresses().wide.Prefix; wide.IsValid() {
		return wide
	}
	return a.addresses().narrow.Prefix
}

// locate finds out who speaks and to which name, before any check.
func (a *attempt) locate() bool {
	a.host, _ = origin.ParseHost(a.r.Host)
	peer, ok := clientip.Peer(a.r.RemoteAddr)
	if !ok {
		return false
	}
	a.peer = peer
	a.client = a.proxies.Client(peer, a.r.Header)
	a.secure = a.r.TLS != nil || a.proxies.Secure(peer, a.r.Header)
	a.local = a.isLocalhost()
	a.hintForwarder()
	a.hintUpgrade()
	return true
}
