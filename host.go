package wssecure

import (
	"net/http"
	"slices"
	"strings"

	"github.com/wssecure/wssecure/internal/origin"
	"github.com/wssecure/wssecure/internal/quote"
)

// AllowHosts names the only Hosts that are served, as "ws.example.com",
// "ws.example.com:8443" or "*.example.com"; another is refused with status 421
// (RFC 9110 section 15.5.20). It stops DNS rebinding, where a hostile name
// resolves to this server's address. [SetPublicURL] names a Host too.
func AllowHosts(list ...string) Option {
	return func(d *draft) {
		if !d.once("AllowHosts") {
			return
		}
		hosts, errs := origin.NewHosts(list...)
		d.faultErrs("AllowHosts", errs)
		d.hosts, d.hostNames = hosts, slices.Clone(list)
	}
}

// SetPublicURL names the origin under which browsers know this server, as
// "https://ws.example.com", when the request's own scheme and Host do not show
// it: behind a proxy that rewrites the Host. It is the server's own origin for
// the same-origin policy, and its host is one that is served.
func SetPublicURL(url string) Option {
	return func(d *draft) {
		if !d.once("SetPublicURL") {
			return
		}
		public, err := origin.ParsePublic(url)
		if err != nil {
			d.fault("SetPublicURL", "%s", err)
			return
		}
		d.publicURL = &public
	}
}

// finishHosts puts together what a refusal tells the operator.
func (d *draft) finishHosts() {
	names := d.hostNames
	if u := d.publicURL; u != nil {
		names = append(slices.Clip(names), strings.TrimPrefix(u.String(), u.Scheme+"://"))
	}
	d.hostsWanted = quote.Cut("a host of AllowHosts or SetPublicURL: "+strings.Join(names, " "), quote.Value)
}

// checkHost refuses a Host that is malformed or not served (RFC 9110 section 7.2).
func (a *attempt) checkHost() error {
	host := a.host
	if host.Name == "" {
		return a.refuse(ReasonHost, a.r.Host, "a host name or address, with a port or without")
	}
	if a.local {
		return nil
	}
	p := a.policy
	if p.hosts == nil && p.publicURL == nil {
		return nil
	}
	if p.hosts != nil && p.hosts.Match(host, a.defaultPort()) {
		return nil
	}
	if u := p.publicURL; u != nil && u.Host == host.Name && u.Port == a.portOf(host) {
		return nil
	}
	a.status = http.StatusMisdirectedRequest
	return a.refuse(ReasonHost, a.r.Host, p.hostsWanted)
}

func (a *attempt) scheme() string {
	if a.secure {
		return "https"
	}
	return "http"
}

func (a *attempt) defaultPort() uint16 {
	if a.secure {
		return 443
	}
	return 80
}

func (a *attempt) portOf(h origin.Host) uint16 {
	if h.Port != 0 {
		return h.Port
	}
	return a.defaultPort()
}
