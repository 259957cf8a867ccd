package wssecure

import (
	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/internal/origin"
)

// AllowLocalhost lets a page on http://localhost connect while developing: TLS,
// Host and Origin are not asked for when the peer, the local address, the Host
// and the Origin are all loopback and no forwarding header is there. A token is
// still asked for, and nothing changes for anybody else. A client that is no page
// sends "Origin: http://localhost".
func AllowLocalhost() Option {
	return func(d *draft) {
		if d.once("AllowLocalhost") {
			d.localhost = true
		}
	}
}

// isLocalhost reports whether AllowLocalhost applies. Any forwarding header
// means that the loopback peer is a proxy and speaks for somebody else.
func (a *attempt) isLocalhost() bool {
	if !a.policy.localhost || !a.peer.IsLoopback() || clientip.HasForwarding(a.r.Header) {
		return false
	}
	local, ok := clientip.Peer(localAddr(a.r))
	if !ok || !local.IsLoopback() {
		return false
	}
	lines := a.r.Header[headerOrigin]
	if len(lines) != 1 {
		return false
	}
	o, err := origin.Parse(lines[0])
	if err != nil || !origin.IsLoopbackHost(o.Host) {
		return false
	}
	return origin.IsLoopbackHost(a.host.Name)
}
