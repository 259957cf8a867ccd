package wssecure

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wssecure/wssecure/internal/clientip"
)

// This file is the way of a request from the front door to its checks, or past
// them when it is no upgrade.

var (
	errNested    = errors.New("guards are nested: the outer one has stripped what the inner one needs; use With for another route")
	errNoAddress = errors.New("the request has no RemoteAddr with an IP; the listener must supply addresses")
)

// serveUpgrade judges an upgrade and, when it is admitted, calls switchOver.
func (g *Guard) serveUpgrade(w http.ResponseWriter, r *http.Request, switchOver func(*attempt)) {
	a := g.attempt(w, r)
	err := a.judge()
	a.leaveQueue(err == nil)
	if err != nil {
		a.reject(err)
		a.free()
		return
	}
	// A panic of user code leaves nothing behind and goes on to net/http.
	defer func() {
		if !a.switched {
			a.abandon()
		}
		a.free()
	}()
	switchOver(a)
}

// judge runs the checks; a panic in one of ours is a refusal too.
func (a *attempt) judge() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = a.panicked(p)
		}
	}()
	if !a.locate() {
		return &Rejection{Reason: ReasonInternal, Err: errNoAddress}
	}
	if _, inner := SessionFrom(a.r.Context()); inner || isAdmitted(a.w) {
		return &Rejection{Reason: ReasonInternal, Err: errNested}
	}
	return a.run()
}

func (a *attempt) panicked(p any) error {
	return &Rejection{Reason: ReasonInternal, Err: fmt.Errorf("check %s panicked: %v", a.checkName(), p)}
}

// serveOrdinary passes on what is no upgrade.
func (g *Guard) serveOrdinary(w http.ResponseWriter, r *http.Request, next http.Handler) {
	p := &plainWriter{inner: w, refused: func() { g.core.unguarded(g.policy, r) }}
	if pagesAround(w) == nil {
		secure := g.isSecure(r)
		p.fill = func(h http.Header) { g.policy.answerHeaders(h, secure, r.Host, false) }
	}
	next.ServeHTTP(p.dress(), r)
	p.complete()
}

func (g *Guard) refuseOrdinary(w http.ResponseWriter, r *http.Request) {
	a := g.attempt(w, r)
	a.check = "shape"
	a.locate()
	a.reject(a.refuseNoUpgrade())
	a.free()
}

func (a *attempt) refuseNoUpgrade() error {
	if a.r.ProtoMajor >= 2 {
		a.status = http.StatusHTTPVersionNotSupported
		return a.refuse(ReasonHTTPVersion, a.r.Proto, "HTTP/1.1")
	}
	return a.refuse(ReasonUpgradeRequired, "an ordinary request", "a WebSocket handshake")
}

// attempt begins one. Whoever knows when it is over gives it back with free.
func (g *Guard) attempt(w http.ResponseWriter, r *http.Request) *attempt {
	a := attempts.Get().(*attempt)
	a.core, a.policy, a.w, a.r, a.id, a.started = g.core, g.policy, w, r, newEventID(), time.Now()
	return a
}

func (g *Guard) isSecure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	peer, ok := clientip.Peer(r.RemoteAddr)
	return ok && g.core.proxies.Secure(peer, r.Header)
}
