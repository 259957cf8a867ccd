package wssecure

import (
	"crypto/tls"
	"errors"
	"net/netip"

	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/store"
)

// This file refuses banned addresses at their ClientHello, where the Listener is
// not used: a fifth of what a TLS handshake costs.

var errBanned = errors.New("wssecure: banned address")

// refuseHello is a GetConfigForClient; key names the bans that count. Nothing is
// charged: accepts are counted by Listener alone.
func (c *core) refuseHello(key func(netip.Addr) store.Key, next helloFunc) helloFunc {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		addr, ok := clientip.Remote(hello.Conn.RemoteAddr())
		if ok && !c.exemptPeer(addr) && c.isBanned(key(addr)) {
			c.refusedConn(ReasonBanned, addr)
			return nil, errBanned
		}
		if next == nil {
			return nil, nil
		}
		return next(hello)
	}
}

// helloOf is the caller's own GetConfigForClient: a server may be hardened twice,
// and a config that has none, nor a certificate, is of a server without TLS.
func (c *core) helloOf(config *tls.Config) helloFunc {
	if config == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if own, ours := c.hellos[config]; ours {
		return own
	}
	return config.GetConfigForClient
}

func (c *core) keepHello(config *tls.Config, own helloFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hellos == nil {
		c.hellos = map[*tls.Config]helloFunc{}
	}
	c.hellos[config] = own
}

type helloFunc = func(*tls.ClientHelloInfo) (*tls.Config, error)

// anyBan and networkBan are the two meanings of "banned" before a handshake. The
// second are the operator's own bans, which spare nobody. Those that failures
// began spare a token which was verified before: on a port that may serve pages
// and offices they are for the guard to judge.
func anyBan(a netip.Addr) store.Key     { return store.Address(clientip.Bucket(a)) }
func networkBan(a netip.Addr) store.Key { return networkOf(a) }
