package wssecure

import (
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/store"
)

// This file refuses connections before TLS, which is 85 percent of what a
// handshake costs the server; hello.go is the second best.

// LimitAccepts caps how fast one address may connect to [Guard.Listener]: 50
// connections a second with a burst of 500 unless given, IPv6 by /64 and with 16
// times that by /48. Given, it makes [Guard.Serve] use the Listener too.
func LimitAccepts(rate Rate) Option {
	return func(d *draft) {
		if d.processWide("LimitAccepts") && d.limitRate("LimitAccepts", rate, "PerSecond(50)") {
			d.accepts = rate.filled()
		}
	}
}

var defaultAccepts = Rate{N: defaultAcceptsPerSecond, Per: time.Second, Burst: defaultAcceptBurst}

// Listener closes what l accepts from a banned address, or from one over
// [LimitAccepts], before TLS: by a reset, without an answer. [Stats] counts these
// connections; of each of both reasons there is one [Event] a minute. Peers of
// [TrustProxies] and [TrustNetworks] are exempt.
//
// It is for ports that serve sockets. It sees addresses only: a ban keeps out
// everybody behind the address, whoever has a verified token included, and from
// the pages of that port too; and an office that reconnects at once comes in at
// the rate of LimitAccepts.
//
// Give it the listener below TLS. Behind a proxy it sees the proxy's address and
// does nothing, unless l speaks the PROXY protocol. A peer without an IP address,
// as on a unix socket, is handed on. Errors of l's Accept are handed on as they
// are, and the next Accept asks l again.
func (g *Guard) Listener(l net.Listener) net.Listener {
	if own, ok := l.(*listener); ok && own.core == g.core {
		return l // once is enough: nothing is counted twice
	}
	return &listener{Listener: l, core: g.core}
}

type listener struct {
	net.Listener
	core       *core
	keepsAlive bool // whom it hands on, as package net does whom it accepts: four of the eleven system calls that a reset costs
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := below(conn).(*net.TCPConn)
		if !ok {
			return l.core.judgeLater(conn), nil
		}
		if l.core.admitsConn(conn.RemoteAddr()) {
			if l.keepsAlive {
				_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
			}
			return conn, nil
		}
		reset(conn)
	}
}

// below is the connection that conn wraps as tls.Conn does.
func below(conn net.Conn) net.Conn {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = outer.NetConn()
	}
}

// reset closes without a word: no closing handshake of TLS or TCP, nothing kept
// by the kernel.
func reset(conn net.Conn) {
	conn = below(conn)
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// judgeLater wraps a connection that may not know its address yet: one with a
// PROXY protocol header would have to read it, and a peer that sends none must
// not hold up everybody behind it. net/http needs a *tls.Conn to be one, so that
// is handed on; the guard judges its handshake.
func (c *core) judgeLater(conn net.Conn) net.Conn {
	if _, ok := conn.(*tls.Conn); ok {
		return conn
	}
	return &laterConn{Conn: conn, core: c}
}

// laterConn is judged when it is first read from, on its own goroutine.
type laterConn struct {
	net.Conn
	core *core
	once sync.Once
	err  error
}

var errConnRefused = errors.New("wssecure: connection refused")

func (c *laterConn) Read(p []byte) (int, error) {
	c.once.Do(func() {
		if !c.core.admitsConn(c.Conn.RemoteAddr()) {
			c.err = errConnRefused
			reset(c.Conn)
		}
	})
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(p)
}

// NetConn is the connection as the listener gave it.
func (c *laterConn) NetConn() net.Conn { return c.Conn }

// admitsConn judges a peer by its address alone.
func (c *core) admitsConn(remote net.Addr) bool {
	addr, ok := clientip.Remote(remote)
	if !ok || c.exemptPeer(addr) {
		return true
	}
	switch {
	case c.isBanned(anyBan(addr)):
		c.refusedConn(ReasonBanned, addr)
	case !c.accepts.take(addr, time.Now()):
		c.refusedConn(ReasonRate, addr)
	default:
		return true
	}
	return false
}

func (c *core) exemptPeer(addr netip.Addr) bool {
	return c.trusted.Contains(addr) || c.proxies.Trusts(addr)
}

// isBanned asks what this node knows, and nothing over a network.
func (c *core) isBanned(k store.Key) bool {
	local, ok := c.store.(interface{ Peek(ops ...store.Op) })
	if !ok {
		return false
	}
	a := newAdmission()
	defer a.free()
	a.admit(store.Admit{Key: k, IssuedAt: neverRevoked})
	local.Peek(append(a.ops[:0], &a.admits[0])...)
	return a.admits[0].Verdict.Refused == store.Banned
}

// neverRevoked is newer than any mark: a revocation of the key would be told in the place of its ban.
var neverRevoked = time.Unix(math.MaxInt32, 0)

// refusedConn counts a connection, and tells of one a minute for each reason.
func (c *core) refusedConn(r Reason, addr netip.Addr) {
	c.audit.counts.accepts.add(r.ruling())
	sample := &c.rateEvents
	if r == ReasonBanned {
		sample = &c.banEvents
	}
	first, held := sample.sample(time.Now())
	if !first || !c.audit.wanted(r.level(), c.hooks) {
		return
	}
	e := Event{Kind: EventRefused, Time: time.Now().UTC(), Reason: r, Check: checkAccept, ClientIP: addr, PeerIP: addr, Count: held}
	if clientip.IsPrivate(addr) {
		e.Hint = hintAcceptsOfProxy
	}
	c.audit.emit(e, c.hooks)
}

// checkAccept is the check that events of closed connections name.
const checkAccept = "accept"
