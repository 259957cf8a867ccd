// Package wssecure puts one guard in front of every WebSocket of a net/http
// server.
//
// A [Guard] is made of options and wraps a handler:
//
//	guard, err := wssecure.New(
//		wssecure.AllowOrigins("https://app.example.com"),
//		wssecure.RequireToken(wssecure.OIDC("https://id.example.com", "chat")),
//	)
//	if err != nil {
//		log.Fatal(err) // every configuration mistake at once
//	}
//	http.Handle("/ws", guard.ConnHandler(chat)) // func chat(ctx context.Context, c *wssecure.Conn) error
//	srv := guard.Harden(&http.Server{Addr: ":443"})
//	log.Fatal(srv.ListenAndServeTLS("cert.pem", "key.pem"))
//
// and chat sees whole messages, within limits, until the session's right to be
// open ends:
//
//	func chat(ctx context.Context, c *wssecure.Conn) error {
//		for {
//			typ, msg, err := c.Read(ctx)
//			if err != nil {
//				return err
//			}
//			if err := c.Write(ctx, typ, msg); err != nil {
//				return err
//			}
//		}
//	}
//
// # Where to look
//
//   - Who may connect: [RequireToken] with [OIDC], [JWKS], [StaticKeys],
//     [Secrets], [Introspection] or a [VerifierFunc]; [RequireClientCert].
//   - Where a token is looked for, and how browsers send one: [Source],
//     [FromSubprotocol], [FromTicket] with [Guard.TicketHandler].
//   - Another WebSocket library, or a reverse proxy: [Guard.Handler].
//   - Behind a proxy that ends TLS: [TrustProxies]. On http://localhost:
//     [AllowLocalhost].
//   - Another route with other rules: [Guard.With]. Limits: [LimitSession],
//     [LimitConns], [LimitHandshakes].
//   - While sockets are open: [Session.Renew], [SetRecheck], [Guard.Revoke],
//     [Guard.LogoutHandler]. When the server stops: [Guard.Serve].
//   - What was decided and why: [OnEvent], [SetLogger], [Guard.Stats], [Reason].
//   - Several nodes: [SetStore]. Attacks to run in your own tests: package
//     wssecuretest.
//
// # What it promises
//
// Nothing reaches status 101 unchecked through the writer that the guard hands
// on, whatever WebSocket library stands behind it. No session outlives its right
// to be open: expiry, revocation, lifetime and shutdown close the socket with
// the right close code. The earlier a refusal, the cheaper it is; memory has a
// hard cap. Every decision gives one [Event] with a stable [Reason].
//
// # What stays the application's duty
//
// The guard judges handshakes and frames. It does not ask a token of ordinary
// HTTP requests to the same handler, does not know what a message means, and
// does not escape what a page shows.
//
// The signature work of tokens is done by github.com/lestrrat-go/jwx/v2, which
// is end-of-life upstream. Only internal/token imports it, and it sees only what
// a strict parser of this module has accepted.
package wssecure

import (
	"context"
	"errors"
	"net/http"
	"slices"
)

// Guard checks handshakes and keeps the sessions it admits within their limits.
// It is safe for concurrent use. Guards made with [Guard.With] share sessions,
// limits, bans and the drain of the one they were made from.
type Guard struct {
	core   *core
	policy *policy
}

// New makes a guard. It returns every configuration error at once, joined, each
// naming the option, the value and the fix. One of [RequireToken],
// [RequireClientCert] and [InsecureAllowAnonymous] must say who may connect.
func New(opts ...Option) (*Guard, error) {
	d := &draft{given: map[string]bool{}}
	d.apply(opts)
	d.finish()
	if err := d.err(); err != nil {
		return nil, err
	}
	c := newCore(&d.policy)
	g := &Guard{core: c, policy: &d.policy}
	c.adopt(g.policy)
	c.started(g.policy)
	c.warnOfCaps(g.policy)
	c.warnOfKeys(g.policy)
	if d.store != nil {
		c.follow()
	}
	return g, nil
}

// With makes a guard for another route. It inherits every option: Require and On
// options add to the inherited ones, Allow, Limit and Set options replace them,
// and RequireToken and InsecureAllowAnonymous replace each other. A list of origins
// ends an inherited InsecureAllowAnyOrigin, RequireOrigin an inherited
// InsecureAllowMissingOrigin; every other protection that was removed stays so.
// What one server cannot have twice, as TLS or the proxies, is an error.
func (g *Guard) With(opts ...Option) (*Guard, error) {
	d := &draft{policy: *g.policy, child: true, given: map[string]bool{}}
	d.apply(opts)
	d.finish()
	if err := d.err(); err != nil {
		return nil, err
	}
	child := &Guard{core: g.core, policy: &d.policy}
	g.core.adopt(child.policy)
	g.core.reportHoles(child.policy, slices.DeleteFunc(slices.Clone(d.holes), func(h hole) bool {
		return slices.Contains(g.policy.holes, h)
	}))
	g.core.warnOfCaps(child.policy)
	return child, nil
}

// Handler guards the upgrades of next, which may use any WebSocket library: the
// connection that it hijacks is metered, its request carries no credential, and
// [SessionFrom] and [IdentityFrom] find the session in its context. Every other
// request goes to next with security headers, without being asked for a token
// (a polling fallback on the same path must ask by itself), and with a writer
// that can neither be hijacked nor switch protocols. The library's own origin
// check should be off: the guard has already decided. A nil next panics.
func (g *Guard) Handler(next http.Handler) http.Handler {
	if next == nil {
		panic("wssecure: Handler: next is nil; pass the handler to guard")
	}
	switchOver := func(a *attempt) { a.handOn(next) }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isUpgrade(r) {
			g.serveOrdinary(w, r, next)
			return
		}
		g.serveUpgrade(w, r, switchOver)
	})
}

// ConnHandler upgrades and gives user code a [Conn]. serve runs on its own
// goroutine, with a context that ends with the session and holds only the
// guard's values and those of [SetContext]; the request's own has ended by then.
// It reads until an error, or calls [Conn.CloseRead] where it only sends: whoever
// does neither hears of a peer that has left only when a ping is not answered.
// What it returns ends the session: nil with 1000, an error with a [Reason] in its
// chain with that one's close code, any other with 1011. A request that is no
// upgrade gets 426. A nil serve panics.
func (g *Guard) ConnHandler(serve func(ctx context.Context, c *Conn) error) http.Handler {
	if serve == nil {
		panic("wssecure: ConnHandler: serve is nil; pass the function that serves a connection")
	}
	switchOver := func(a *attempt) { a.accept(serve) }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isUpgrade(r) {
			g.refuseOrdinary(w, r)
			return
		}
		g.serveUpgrade(w, r, switchOver)
	})
}

// Pages serves a whole site with the full set of security headers. It judges
// nothing: an upgrade is passed to the guard inside next, and where no guard
// admits it, it cannot become a socket.
func (g *Guard) Pages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure := g.isSecure(r)
		p := &plainWriter{inner: w, pages: true, refused: func() { g.core.unguarded(g.policy, r) }}
		p.fill = func(h http.Header) { g.policy.answerHeaders(h, secure, r.Host, true) }
		next.ServeHTTP(p.dress(), r)
		p.complete()
	})
}

// Ready reports whether handshakes can be admitted: an error names keys that
// were never loaded or are past their bound, a feed of revocations that is too old
// or was never read, or says that the guard is draining.
func (g *Guard) Ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if g.core.draining.Load() || g.core.leaving.Load() {
		return errors.New("wssecure: draining")
	}
	g.core.mu.Lock()
	verifiers := slices.Clone(g.core.verifiers)
	g.core.mu.Unlock()
	var errs []error
	if node := g.core.nodeStore(); node != nil && node.Stale() {
		errs = append(errs, errStaleFeed)
	}
	for _, v := range verifiers {
		errs = append(errs, v.ready())
	}
	return errors.Join(errs...)
}
