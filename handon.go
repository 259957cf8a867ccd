package wssecure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure/internal/wire"
)

// This file takes an admitted upgrade over its 101: by the handler's own library
// (handOn) or by coder/websocket and user code of ConnHandler (accept).

// SetContext lets fn add values to the context of a session's user code, from
// the handshake, before ServeHTTP returns; what a router keeps in the request's
// own context belongs to its next request. ctx must be the parent of what fn
// returns. A nil context or a panic refuses with 500.
func SetContext(fn func(ctx context.Context, h *Handshake) context.Context) Option {
	return func(d *draft) {
		if !d.once("SetContext") {
			return
		}
		if fn == nil {
			d.fault("SetContext", "the function is nil; pass one, or leave the option out")
			return
		}
		d.context = fn
	}
}

// prepare finds the writer that can be hijacked and runs SetContext: the last
// things that can still refuse.
func (a *attempt) prepare() (http.ResponseWriter, http.Hijacker, context.Context, error) {
	inner := innermost(a.w)
	hijacker, ok := inner.(http.Hijacker)
	if !ok {
		a.finding.err = fmt.Errorf("the writer %T %w", a.w, errNoHijack)
		return nil, nil, nil, ReasonInternal
	}
	ctx, err := a.sessionContext()
	if err != nil {
		return nil, nil, nil, err
	}
	if a.r.Context().Err() != nil {
		a.finding.err = a.r.Context().Err()
		return nil, nil, nil, ReasonUnavailable
	}
	if err := a.session.err(); err != nil {
		return nil, nil, nil, err
	}
	a.session.base = a.event(EventOpened)
	a.session.base.Time, a.session.base.SessionID, a.session.base.Check = a.started.UTC(), a.session.id, ""
	return inner, hijacker, ctx, nil
}

func (a *attempt) sessionContext() (ctx context.Context, err error) {
	if a.policy.context == nil {
		return a.session.ctx, nil
	}
	defer func() {
		if p := recover(); p != nil {
			a.finding.err = fmt.Errorf("the function of SetContext panicked: %v", p)
			ctx, err = nil, ReasonInternal
		}
	}()
	if ctx = a.policy.context(a.session.ctx, a.handshake()); ctx == nil {
		a.finding.err = errors.New("the function of SetContext returned nil")
		return nil, ReasonInternal
	}
	return ctx, nil
}

// handOn gives the upgrade to a handler with a library of its own.
func (a *attempt) handOn(next http.Handler) {
	if len(a.policy.onMessage)+len(a.policy.onSend) > 0 {
		a.finding.err = errNeedsConn
		a.reject(ReasonInternal)
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
	e := a.session.base
	a.abandon()
	a.reportUnserved(a.policy, e, reason, status, err)
}

// hijack takes the connection from net/http and puts the meter before it. With
// headState the library will write the 101 itself.
func (a *attempt) hijack(h http.Hijacker, headState bool) (*wire.Conn, error) {
	raw, brw, err := h.Hijack()
	if err != nil {
		return nil, err
	}
	var head *wire.Head
	if headState {
		head = a.head()
	}
	return a.meter(raw, earlyBytes(brw), head), nil
}

// earlyBytes are what a quick client has sent behind its handshake: they wait in
// net/http's reader and must pass the meter first (FACTS 10).
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
	limits := a.policy.wire
	limits.Deflate = a.deflate
	a.switched = true
	a.sessions.enter()
	conn := wire.New(raw, early, limits, head, (*owner)(s))
	if head == nil {
		s.markOpen()
	}
	s.attach(conn)
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
	}
	if a.chosen == "" {
		h.Marker = a.creds.marker
	}
	if a.secure && hstsHost(a.r.Host) {
		h.HSTS = a.policy.hsts[0]
	}
	return h
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
	if h.Get(headerWSAccept) != acceptOf(a.r.Header[headerWSKey][0]) {
		return "has a wrong Sec-WebSocket-Accept"
	}
	if p := h.Get(headerWSProtocol); p != "" && !slices.Contains(a.pickable(), p) && p != a.creds.marker {
		return "names a subprotocol that was not let through"
	}
	if len(h[headerWSExtensions]) > 0 && !a.deflate {
		return "names an extension that was not let through"
	}
	return ""
}

// accept upgrades with coder/websocket and starts user code.
func (a *attempt) accept(serve func(ctx context.Context, c *Conn) error) {
	inner, hijacker, ctx, err := a.prepare()
	if err != nil {
		a.reject(err)
		return
	}
	d := &door{a: a, outer: inner.Header(), hijacker: hijacker, header: http.Header{}}
	ws, err := websocket.Accept(d, a.synthetic(), a.acceptOptions())
	if err != nil {
		a.acceptFailed(d, err)
		return
	}
	ws.SetReadLimit(-1) // the wire and Conn bound messages, with the right reason
	c := &Conn{
		session: a.session, ws: ws, wire: d.conn, chosen: a.chosen,
		done: a.session.ctx.Done(), writing: make(chan struct{}, 1),
	}
	a.running.enter()
	go a.session.run(ctx, c, serve)
}

// acceptFailed refuses when nothing has been sent, and else lets the session
// end: the peer has gone during its 101.
func (a *attempt) acceptFailed(d *door, err error) {
	if d.conn == nil {
		a.finding.err = err
		if d.err != nil {
			a.finding.err = d.err
		}
		if d.raw != nil {
			d.raw.Close()
			a.abandon()
			a.report(ReasonPeer)
			return
		}
		a.reject(ReasonInternal)
		return
	}
	d.conn.Close()
}

func (a *attempt) acceptOptions() *websocket.AcceptOptions {
	o := &websocket.AcceptOptions{InsecureSkipVerify: true}
	if a.chosen != "" {
		o.Subprotocols = []string{a.chosen}
	}
	if a.deflate {
		o.CompressionMode = websocket.CompressionNoContextTakeover
	}
	return o
}

// synthetic is the least request that the library accepts: everything about the
// real one has been judged.
func (a *attempt) synthetic() *http.Request {
	h := http.Header{
		headerConnection: valuesUpgradeToken,
		headerUpgrade:    valuesWebsocket,
		headerWSVersion:  valuesVersion13,
		headerWSKey:      a.r.Header[headerWSKey],
	}
	if a.chosen != "" {
		h[headerWSProtocol] = []string{a.chosen}
	}
	if a.deflate {
		h[headerWSExtensions] = []string{deflateOffer}
	}
	return &http.Request{Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Host: a.r.Host}
}

var valuesUpgradeToken = []string{"Upgrade"}

// door is the writer that coder/websocket accepts on: at WriteHeader(101) it
// takes the connection and writes the head, at Hijack it gives the meter.
type door struct {
	a        *attempt
	outer    http.Header // what middleware outside has set
	header   http.Header
	hijacker http.Hijacker
	raw      net.Conn
	conn     *wire.Conn
	err      error
}

func (d *door) Header() http.Header         { return d.header }
func (d *door) Write(b []byte) (int, error) { return len(b), nil }

func (d *door) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols || d.raw != nil {
		return
	}
	raw, brw, err := d.hijacker.Hijack()
	if err != nil {
		d.err = err
		return
	}
	d.raw = raw
	// The head is written before the meter exists: a peer that does not take it
	// must not hold the goroutine.
	_ = raw.SetWriteDeadline(time.Now().Add(headTime))
	if _, err := raw.Write(d.head()); err != nil {
		d.err = err
		return
	}
	_ = raw.SetWriteDeadline(time.Time{})
	d.conn = d.a.meter(raw, earlyBytes(brw), nil)
}

const headTime = 5 * time.Second

func (d *door) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if d.conn == nil {
		return nil, nil, cmpErr(d.err)
	}
	return d.conn, bufio.NewReadWriter(bufio.NewReaderSize(d.conn, readBuffer), bufio.NewWriterSize(d.conn, writeBuffer)), nil
}

func cmpErr(err error) error {
	if err == nil {
		return http.ErrNotSupported
	}
	return err
}

// head is the 101: what the library has set, the marker where no subprotocol was
// chosen, HSTS, and what middleware outside has set.
func (d *door) head() []byte {
	var b strings.Builder
	b.Grow(256)
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	line("Sec-WebSocket-Accept", first(d.header[headerWSAccept]))
	protocol := first(d.header[headerWSProtocol])
	if protocol == "" {
		protocol = d.a.creds.marker
	}
	line("Sec-WebSocket-Protocol", protocol)
	line("Sec-WebSocket-Extensions", first(d.header[headerWSExtensions]))
	if _, set := d.outer[headerHSTS]; !set && d.a.secure && hstsHost(d.a.r.Host) {
		line(headerHSTS, d.a.policy.hsts[0])
	}
	if len(d.outer) > 0 {
		_ = d.outer.WriteSubset(&b, ownLines)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// ownLines of a 101 are the guard's, whoever has set them before.
var ownLines = map[string]bool{
	headerUpgrade: true, headerConnection: true, headerWSAccept: true, headerWSProtocol: true, headerWSExtensions: true,
	"Content-Length": true, "Transfer-Encoding": true, headerContentType: true,
	headerCSP: true, headerFrame: true, headerSniff: true, headerReferrer: true, headerOpener: true, headerResource: true, headerCrossDomain: true,
}

// run is the goroutine of user code.
func (s *Session) run(ctx context.Context, c *Conn, serve func(context.Context, *Conn) error) {
	defer s.core.running.leave()
	// The library keeps pooled readers until it is closed; the session has ended
	// by then, so this only returns them.
	defer func() { _ = c.ws.CloseNow() }()
	defer func() {
		if p := recover(); p != nil {
			s.panicked(p)
		}
	}()
	err := serve(ctx, c)
	if err == nil {
		s.end(cause{rejection: &Rejection{Reason: ReasonDone}, by: ByApp, code: 1000})
		return
	}
	s.endWith(asRejection(err, ReasonInternal), ByApp, 1011)
}

// panicked ends a session whose user code has panicked, and logs where.
func (s *Session) panicked(p any) {
	s.core.audit.log().LogAttrs(context.Background(), alarm, "wssecure: user code panicked",
		slog.String("session.id", s.id), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
	s.endWith(&Rejection{Reason: ReasonInternal, Err: fmt.Errorf("user code panicked: %v", p)}, ByApp, 1011)
}

// cut ends what is left of a session at once.
func (s *Session) cut() {
	s.end(cause{rejection: &Rejection{Reason: ReasonDraining}, by: ByGuard})
	s.mu.Lock()
	w := s.wire
	s.mu.Unlock()
	if w != nil {
		w.Cut()
	}
}

func (s *Session) isDiscarded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.released
}
