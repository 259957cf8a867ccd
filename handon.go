package wssecure

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/wssecure/wssecure/internal/wire"
)

// This file takes an admitted upgrade over its 101 under the handler's own
// library, and holds what ConnHandler's way (accept.go) shares with it.

// SetContext lets fn add values to the context of a session's user code, from
// the handshake, before ServeHTTP returns; what a router keeps in the request's
// own context belongs to its next request. ctx must be the parent of what fn
// returns. A nil context or a panic refuses with 500, no answer within
// [LimitHandshakeTime] with 503.
func SetContext(fn func(ctx context.Context, h *Handshake) context.Context) Option {
	return func(d *draft) {
		if !d.once("SetContext") {
			return
		}
		if fn == nil {
			d.fault("SetContext", "the function is nil; pass one, or leave the option out")
			return
		}
		d.context = &contextRule{fn: fn, calls: new(calls)}
	}
}

type contextRule struct {
	fn    func(ctx context.Context, h *Handshake) context.Context
	calls *calls
}

var (
	errNoHijack   = errors.New("cannot be hijacked and has no Unwrap; register the guard outside the middleware that made it")
	errNeedsConn  = errors.New("OnMessage and OnSend need ConnHandler; Handler does not see messages")
	errNeverTaken = errors.New("the handler wrote a 101 and left the connection")
)

// prepare finds the writer that can be hijacked and runs SetContext: the last
// things that can still refuse.
func (a *attempt) prepare() (http.ResponseWriter, http.Hijacker, context.Context, error) {
	inner := innermost(a.w)
	hijacker, ok := inner.(http.Hijacker)
	if !ok {
		return nil, nil, nil, &Rejection{Reason: ReasonInternal, Err: fmt.Errorf("the writer %T %w", inner, errNoHijack)}
	}
	ctx, err := a.sessionContext()
	if err != nil {
		return nil, nil, nil, err
	}
	if a.r.Context().Err() != nil {
		return nil, nil, nil, &Rejection{Reason: ReasonUnavailable, Err: a.r.Context().Err()}
	}
	if err := a.session.err(); err != nil {
		if errors.Is(err, ReasonRestart) {
			err = a.refuseDraining() // its turn in a drain came before its 101
		}
		return nil, nil, nil, err
	}
	f := &a.session.from
	f.id, f.peer, f.local = a.id, a.peer, a.decidedHere
	return inner, hijacker, ctx, nil
}

func (a *attempt) sessionContext() (context.Context, error) {
	rule, own := a.policy.context, a.session.Context()
	if rule == nil {
		return own, nil
	}
	h := a.handshake()
	var ctx context.Context
	err := a.bounded(a.r.Context(), a.policy.handshakeTime, rule.calls, func(context.Context) error {
		if ctx = rule.fn(own, h); ctx == nil {
			return &Rejection{Reason: ReasonInternal, Err: errors.New("returned nil")}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("the function of SetContext: %w", err)
	}
	return ctx, nil
}

// handOn gives the upgrade to a handler with a library of its own.
func (a *attempt) handOn(next http.Handler) {
	if len(a.policy.onMessage)+len(a.policy.onSend) > 0 {
		a.reject(&Rejection{Reason: ReasonInternal, Err: errNeedsConn})
		return
	}
	inner, hijacker, ctx, err := a.prepare()
	if err != nil {
		a.reject(err)
		return
	}
	u := &upgradeWriter{a: a, inner: inner, hijacker: hijacker}
	if pages := pagesAround(a.w); pages != nil {
		pages.silent = true
	}
	for _, name := range []string{headerWSProtocol, headerWSExtensions, headerWSAccept} {
		delete(inner.Header(), name)
	}
	r := a.strip()
	r = r.WithContext(handlerContext{r.Context(), ctx})
	defer func() {
		p := recover()
		u.finish(p)
		if p != nil {
			panic(p) // net/http's to handle, or middleware's
		}
	}()
	next.ServeHTTP(u, r)
}

// handlerContext is the request's own context with the values of the session.
type handlerContext struct {
	context.Context
	session context.Context
}

func (c handlerContext) Value(key any) any {
	if v := c.session.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// finish settles an upgrade whose handler has returned, or panicked, without
// taking the connection.
func (u *upgradeWriter) finish(panicked any) {
	u.taking.Lock()
	defer u.taking.Unlock()
	a := u.a
	if u.hijacked && panicked != nil {
		a.session.panicked(panicked)
	}
	if u.hijacked || a.session.isDiscarded() {
		return
	}
	status := u.status
	if status == 0 {
		// net/http will answer 200, or cut the connection after a panic.
		a.policy.answerHeaders(u.inner.Header(), a.secure, a.r.Host, false)
		status = http.StatusOK
	}
	var err error
	reason := unservedReason(ReasonDone, status)
	if panicked != nil {
		reason, err = ReasonInternal, fmt.Errorf("the handler panicked: %v", panicked)
	}
	if u.status == http.StatusSwitchingProtocols {
		reason, err = ReasonInternal, errNeverTaken
		if conn, _, failed := u.hijacker.Hijack(); failed == nil {
			conn.Close()
		}
	}
	// Whoever has kept the writer must not hijack a session that is given back.
	u.status, u.over = status, true
	e := a.session.event(EventRefused)
	a.abandon()
	a.reportUnserved(a.policy, e, reason, status, err)
}

// hijack takes the connection from net/http and puts the meter before it. head
// is of a 101 that the library will write itself, nil for one that is out.
func (a *attempt) hijack(h http.Hijacker, head *wire.Head) (*wire.Conn, error) {
	raw, brw, err := h.Hijack()
	if err != nil {
		return nil, err
	}
	return a.meter(raw, earlyBytes(brw), head), nil
}

// earlyBytes are what a quick client has sent behind its handshake: they wait in
// net/http's reader and must pass the meter first.
func earlyBytes(brw *bufio.ReadWriter) []byte {
	n := brw.Reader.Buffered()
	if n == 0 {
		return nil
	}
	early, _ := brw.Reader.Peek(n)
	return slices.Clone(early)
}

func (a *attempt) meter(raw net.Conn, early []byte, head *wire.Head) *wire.Conn {
	s := a.session
	begun := s.limits.Load()
	limits := &begun.wire
	if a.late {
		limits = &a.policy.lateWire
	}
	if a.deflate {
		own := *limits
		own.Deflate = true
		limits = &own
	}
	a.switched = true
	conn := wire.New(raw, early, limits, head, (*owner)(s))
	if head == nil {
		s.markOpen()
	}
	s.attach(conn)
	if now := s.limits.Load(); s.late.Load() == nil && (a.late || now != begun) {
		conn.SetLimits(&now.wire) // the token, or a fresh one, has come meanwhile
	}
	if head == nil && s.err() == nil {
		conn.Start()
	}
	return conn
}

// head is what may stand in a library's own 101.
func (a *attempt) head() *wire.Head {
	h := &wire.Head{
		Accept:     acceptOf(a.r.Header[headerWSKey][0]),
		Protocols:  a.pickable(),
		Extensions: a.deflate,
		HSTS:       first(a.hsts()),
	}
	if a.chosen == "" {
		h.Marker = a.creds.marker
	}
	return h
}

// acceptOf is the Sec-WebSocket-Accept of a key (RFC 6455 section 4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// pickable are the subprotocols that the library behind may name.
func (a *attempt) pickable() []string {
	if len(a.policy.subprotocols) == 0 {
		return a.offered
	}
	if a.chosen == "" {
		return nil
	}
	return []string{a.chosen}
}

// headFault says what is wrong with a 101 that goes through net/http.
func (a *attempt) headFault(h http.Header) string {
	accept, upgrade, protocol := linesOf(h, headerWSAccept), linesOf(h, headerUpgrade), linesOf(h, headerWSProtocol)
	switch {
	case len(accept) != 1 || accept[0] != acceptOf(a.r.Header[headerWSKey][0]):
		return "has a wrong Sec-WebSocket-Accept"
	case len(upgrade) != 1 || !equalFold(upgrade[0], "websocket") || !hasToken(linesOf(h, headerConnection), "upgrade"):
		return "switches to another protocol"
	case len(protocol) > 1, len(protocol) == 1 && !slices.Contains(a.pickable(), protocol[0]):
		return "names a subprotocol that was not let through"
	case len(linesOf(h, headerWSExtensions)) > 0 && !a.deflate:
		return "names an extension that was not let through"
	}
	return ""
}

// linesOf gathers a header over every spelling of its name: all go out.
func linesOf(h http.Header, name string) (lines []string) {
	for key, values := range h {
		if equalFold(key, name) {
			lines = append(lines, values...)
		}
	}
	return lines
}
