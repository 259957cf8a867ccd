package wssecure

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/wssecure/wssecure/internal/quote"
	"github.com/wssecure/wssecure/internal/registry"
	"github.com/wssecure/wssecure/internal/wire"
	"github.com/wssecure/wssecure/store"
)

// Session is one admitted socket, from before its 101 to after its last byte. It
// ends exactly once, for the first cause that comes: its peer or the application
// closes it, its token expires, it is revoked, a limit is exceeded, the guard
// shuts down.
type Session struct {
	core   *core
	policy *policy
	id     string
	conn   uint64 // names its leases
	client netip.Addr
	origin originTrust

	identity atomic.Pointer[Identity]
	request  RequestInfo
	ctx      context.Context
	cancel   context.CancelCauseFunc
	base     Event // what all its events share
	opened   time.Time

	mu       sync.Mutex
	wire     *wire.Conn
	indexed  registry.Keys
	leases   []lease
	nonce    string // withdrawn when the 101 never comes
	released bool

	cause    atomic.Pointer[cause]
	running  atomic.Bool // the 101 is out
	messages atomic.Int64
}

type lease struct{ key store.Key }

// cause is why a session ended.
type cause struct {
	rejection *Rejection
	by        By
	code      StatusCode // 0: no close frame, the connection is cut
	text      string
}

// RequestInfo is what remains of the handshake's request. No credential, header
// or query token is part of it.
type RequestInfo struct {
	Method string
	Host   string
	URL    *url.URL // path and query, without a credential
	values map[string]string
}

// PathValue is the value of a wildcard of the route's pattern, as
// http.Request.PathValue gave it during the handshake.
func (r RequestInfo) PathValue(name string) string { return r.values[name] }

// ID names the session in events and for [SessionID]. It is random.
func (s *Session) ID() string { return s.id }

// Identity is who the session belongs to; nil for an anonymous one.
func (s *Session) Identity() *Identity { return s.identity.Load() }

// ClientIP is the client's address as the guard counts it.
func (s *Session) ClientIP() netip.Addr { return s.client }

// Request is a copy of what was asked for: changing it changes nothing.
func (s *Session) Request() RequestInfo {
	r := s.request
	u := *r.URL
	r.URL = &u
	return r
}

// Context ends with the session; context.Cause then gives the [*Rejection] that
// says why.
func (s *Session) Context() context.Context { return s.ctx }

// Close ends the session with a close frame of the application: code 1000 or
// 3000 to 4999 (RFC 6455 section 7.4.2); any other is sent as 1011 and is an
// error. The reason is cut to 123 bytes. On a session that has ended it does
// nothing. It does not wait for the peer.
func (s *Session) Close(code StatusCode, reason string) error {
	var err error
	if code != 1000 && (code < 3000 || code > 4999) {
		err = fmt.Errorf("wssecure: close code %d is not the application's; use 1000 or 3000 to 4999", code)
		code = 1011
	}
	s.end(cause{rejection: &Rejection{Reason: ReasonDone}, by: ByApp, code: code, text: closeText(reason)})
	return err
}

// closeText is reason as a close frame can carry it.
func closeText(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= 123 {
		return reason
	}
	cut := 123
	for !utf8.RuneStart(reason[cut]) {
		cut--
	}
	return reason[:cut]
}

type sessionKey struct{}

// SessionFrom finds the session of an admitted upgrade in the context of its
// request, or in the context that user code was given.
func SessionFrom(ctx context.Context) (*Session, bool) {
	s, ok := ctx.Value(sessionKey{}).(*Session)
	return s, ok
}

// IdentityFrom finds who the session in ctx belongs to; false for an anonymous
// one.
func IdentityFrom(ctx context.Context) (*Identity, bool) {
	s, ok := SessionFrom(ctx)
	if !ok || s.Identity() == nil {
		return nil, false
	}
	return s.Identity(), true
}

// openSession makes the session of an attempt and registers it, before its
// leases and marks are asked for.
func (a *attempt) openSession() {
	id := newEventID()
	s := &Session{
		core: a.core, policy: a.policy, id: id.String(), conn: a.nextConn.Add(1),
		client: a.client, origin: a.originTrust,
	}
	s.identity.Store(a.identity)
	s.request = RequestInfo{Method: a.r.Method, Host: a.r.Host, values: pathValues(a.r)}
	s.request.URL = a.cleanURL()
	s.ctx, s.cancel = context.WithCancelCause(context.WithValue(context.Background(), sessionKey{}, s))
	s.indexed = registry.Keys{ID: s.id, Addr: a.client}
	if a.identity != nil {
		keys := a.identity.prepared()
		s.indexed.Subject, s.indexed.Token, s.indexed.OIDCSession = keys.subject.ID, keys.token.ID, keys.oidc.ID
	}
	a.session = s
	a.live.Add(s, s.indexed)
}

// cleanURL is the request's URL without a credential of any query source.
func (a *attempt) cleanURL() *url.URL {
	u := *a.r.URL
	u.User = nil
	for i := range a.policy.sources {
		if s := &a.policy.sources[i]; s.kind == sourceQuery {
			r := http.Request{URL: &u}
			stripQuery(&r, s.name)
			u = *r.URL
		}
	}
	return &u
}

// pathValues copies the wildcards of the pattern that matched: the router may
// use its own storage for the next request.
func pathValues(r *http.Request) map[string]string {
	if !strings.Contains(r.Pattern, "{") {
		return nil
	}
	values := map[string]string{}
	for part := range strings.SplitSeq(r.Pattern, "{") {
		name, _, ok := strings.Cut(part, "}")
		if name = strings.TrimSuffix(name, "..."); ok && name != "" && name != "$" {
			name, _, _ = strings.Cut(name, ":")
			values[name] = r.PathValue(name)
		}
	}
	return values
}

// hold keeps what the admission has won, to give it back at the end.
func (s *Session) hold(b *admission) {
	for i := range b.admits[:b.n] {
		if admit := &b.admits[i]; admit.Cap > 0 {
			s.leases = append(s.leases, lease{admit.Key})
		}
	}
	s.nonce = b.claim.Value
}

// abandon gives everything back that an attempt without a 101 has taken.
func (a *attempt) abandon() {
	if a.session != nil {
		a.session.discard()
	}
	if a.reserved {
		a.reserved = false
		a.open.Add(-1)
	}
}

func (s *Session) discard() {
	s.cancel(context.Canceled)
	s.release()
	if s.nonce != "" {
		s.core.quietly(&store.Claim{Space: store.SpaceHandshakeKey, Value: s.nonce})
		s.nonce = ""
	}
}

// release takes the session out of the registry and gives its leases back, once.
func (s *Session) release() {
	s.mu.Lock()
	if s.released {
		s.mu.Unlock()
		return
	}
	s.released = true
	leases, indexed := s.leases, s.indexed
	s.leases = nil
	s.mu.Unlock()
	s.core.live.Remove(s, indexed)
	for _, l := range leases {
		s.core.quietly(&store.Release{Key: l.key, Node: s.core.node, Conn: s.conn})
	}
}

// attach gives the session its connection. A session that was ended before it
// had one is ended now, without a close frame when its 101 is not out yet.
func (s *Session) attach(c *wire.Conn) {
	s.mu.Lock()
	s.wire = c
	s.mu.Unlock()
	if ended := s.cause.Load(); ended != nil {
		c.Finish(0, "")
		return
	}
	l := s.policy.limits
	c.SetLifetime(time.Now().Add(l.Lifetime - time.Duration(rand.Int64N(int64(l.Lifetime/10)+1))))
	s.armExpiry(c)
}

// armExpiry ends the session with its token, by the handshake's own rule: a
// verifier's skew counts here too.
func (s *Session) armExpiry(c *wire.Conn) {
	if id := s.Identity(); id != nil && !id.Expiry.IsZero() {
		c.SetExpiry(id.Expiry.Add(id.skew))
	}
}

// markOpen says that the 101 is on its way: from here on there is a session.
func (s *Session) markOpen() {
	s.opened = time.Now()
	s.running.Store(true)
	s.core.audit.count(EventOpened, "")
	if s.core.audit.wanted(info, s.policy.hooks) {
		e := s.base
		e.Kind, e.Time = EventOpened, s.opened.UTC()
		e.Took = s.opened.Sub(s.base.Time)
		s.core.audit.emit(e, s.policy.hooks)
	}
}

// end ends the session for c unless it has ended: cause, context, close frame;
// the wire sees to grace and cut. It returns the rejection that counts.
func (s *Session) end(c cause) *Rejection {
	if !s.cause.CompareAndSwap(nil, &c) {
		return s.cause.Load().rejection
	}
	s.cancel(c.rejection)
	s.mu.Lock()
	w := s.wire
	s.mu.Unlock()
	if w != nil {
		w.Finish(int(c.code), c.text)
	}
	return c.rejection
}

// endWith ends the session for an error, with the reason's close code or, where
// it has none, fallback.
func (s *Session) endWith(rejection *Rejection, by By, fallback StatusCode) *Rejection {
	code := rejection.Reason.CloseCode()
	if code == 0 {
		code = fallback
	}
	return s.end(cause{rejection: rejection, by: by, code: code, text: rejection.Reason.publicClose()})
}

// err is what every call on an ended session returns, nil while it lives.
func (s *Session) err() error {
	if c := s.cause.Load(); c != nil {
		return c.rejection
	}
	return nil
}

// owner is the session as the wire sees it.
type owner Session

// Opened is called when a library's own 101 goes out.
func (o *owner) Opened() { (*Session)(o).markOpen() }

// End maps what the wire found to a reason.
func (o *owner) End(v wire.Violation) error {
	s := (*Session)(o)
	switch v {
	case wire.PeerClosed, wire.PeerGone:
		return s.end(cause{rejection: &Rejection{Reason: ReasonPeer}, by: ByPeer})
	case wire.AppClosed, wire.OtherStatus:
		return s.end(cause{rejection: &Rejection{Reason: ReasonDone}, by: ByApp})
	case wire.BadHead, wire.BadStream:
		return s.end(cause{rejection: &Rejection{Reason: ReasonInternal, Err: wireError(v)}, by: ByApp})
	case wire.SlowReader:
		return s.end(cause{rejection: &Rejection{Reason: ReasonSlowReader}, by: ByGuard, code: ReasonSlowReader.CloseCode(), text: string(ReasonSlowReader)})
	}
	return s.endWith(&Rejection{Reason: wireReason(v)}, ByGuard, 1011)
}

// Finished is called when the connection is closed.
func (o *owner) Finished() {
	s := (*Session)(o)
	if s.cause.Load() == nil {
		s.end(cause{rejection: &Rejection{Reason: ReasonPeer}, by: ByPeer})
	}
	s.release()
	s.core.open.Add(-1)
	s.core.sessions.leave()
	if !s.running.Load() {
		s.reportUnopened()
		return
	}
	s.reportClosed()
}

func wireError(v wire.Violation) error {
	if v == wire.BadHead {
		return errBadHead
	}
	return errBadStream
}

// wireReason is the reason of a violation that the wire names.
func wireReason(v wire.Violation) Reason {
	switch v {
	case wire.Protocol:
		return ReasonProtocol
	case wire.MessageType:
		return ReasonMessageType
	case wire.MessageSize:
		return ReasonMessageSize
	case wire.Fragments:
		return ReasonFragments
	case wire.MessageTime:
		return ReasonMessageTime
	case wire.MessageRate:
		return ReasonMessageRate
	case wire.ControlRate:
		return ReasonControlRate
	case wire.NoPong:
		return ReasonPong
	case wire.IdleTimeout:
		return ReasonIdle
	case wire.Lifetime:
		return ReasonLifetime
	case wire.Expired:
		return ReasonTokenExpired
	case wire.DataUnwanted:
		return ReasonMessageInvalid
	}
	return ReasonInternal
}

// reportClosed emits the one closed event.
func (s *Session) reportClosed() {
	c := s.cause.Load()
	n := s.wire.Counters()
	reason := c.rejection.Reason
	s.core.audit.count(EventClosed, reason)
	if verdicts[reason].fails == failYes {
		s.core.chargeFailure(s.policy, failureBy{client: s.client, origin: s.origin, identity: s.Identity(), reason: reason})
	}
	if !s.core.audit.wanted(reason.level(), s.policy.hooks) {
		return
	}
	e := s.base
	e.Kind, e.Time, e.Reason, e.By = EventClosed, time.Now().UTC(), reason, c.by
	e.Issuer, e.Subject = eventSubject(s.Identity())
	e.Issuer, e.Subject = quote.Cut(e.Issuer, quote.Value), quote.Cut(e.Subject, quote.Value)
	e.Err = c.rejection.Err
	e.Took = time.Since(s.opened)
	e.In, e.Out = Traffic{n.InMessages, n.InBytes}, Traffic{n.OutMessages, n.OutBytes}
	e.PeerCode = StatusCode(n.PeerCode)
	e.Seen = quote.Cut(n.PeerReason, quote.Value)
	e.CloseCode = closeCode(n)
	s.core.audit.emit(e, s.policy.hooks)
}

// closeCode is the code that the session ended with: the first that went over
// the wire, 1006 when there was none.
func closeCode(n wire.Counters) StatusCode {
	switch {
	case n.SentCode != 0:
		return StatusCode(n.SentCode)
	case n.PeerCode != 0:
		return StatusCode(n.PeerCode)
	}
	return 1006
}

// reportUnopened emits the one event of an upgrade that was admitted and whose
// handler never switched protocols.
func (s *Session) reportUnopened() {
	if s.nonce != "" {
		s.core.quietly(&store.Claim{Space: store.SpaceHandshakeKey, Value: s.nonce})
	}
	c := s.cause.Load()
	status := s.wire.Counters().Status
	s.core.reportUnserved(s.policy, s.base, unservedReason(c.rejection.Reason, status), status, c.rejection.Err)
}

// unservedReason is the reason of a handler's own answer to an admitted upgrade.
func unservedReason(r Reason, status int) Reason {
	switch {
	case r != ReasonDone:
		return r
	case status >= 500:
		return ReasonInternal
	case status >= 400:
		return ReasonForbidden
	}
	return ReasonDone
}

func (c *core) reportUnserved(p *policy, e Event, r Reason, status int, err error) {
	c.audit.count(EventRefused, r)
	e.Kind, e.Time, e.Reason, e.Status, e.Err, e.By = EventRefused, time.Now().UTC(), r, status, err, ByApp
	if status == http.StatusForbidden {
		e.Hint = hintInnerRefused
	}
	c.audit.emit(e, p.hooks)
}

// tasks counts what runs, so that Shutdown can wait for it.
type tasks struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil while nobody waits
}

func (t *tasks) enter() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tasks) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// wait returns when nothing runs, or with ctx's error.
func (t *tasks) wait(ctx context.Context) error {
	for {
		t.mu.Lock()
		if t.n == 0 {
			t.mu.Unlock()
			return nil
		}
		if t.idle == nil {
			t.idle = make(chan struct{})
		}
		idle := t.idle
		t.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
