package wssecure

import (
	"crypto/fips140"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/internal/quote"
	"github.com/wssecure/wssecure/internal/token"
)

// This file tells the operator what is not about one decision: how the guard
// started, and hints, each once.

// Hints name what an operator may want to do.
const (
	hintPlaintextProxy  = "plaintext-behind-proxy"
	hintUnlisted        = "unlisted-forwarder"
	hintBannedForwarder = "banned-forwarder: it sends forwarding headers, which anybody can; if it is your proxy or CDN, all its visitors are banned: add TrustProxies(...)"
	hintNoProto         = "proxy-without-proto: this peer is a proxy of TrustProxies and does not say what its client used; let it set X-Forwarded-Proto"
	hintNoLocalhost     = "localhost: while developing on this machine, add AllowLocalhost()"
	hintNotLocalhost    = "not-localhost: AllowLocalhost is for pages, whose Host and one Origin are on localhost; without a page send Origin: http://localhost"
	hintUpgradeRemoved  = "upgrade-removed"
	hintUndecided       = "undecided: an error without a Reason says that nothing could be decided; to refuse return one, as ReasonTokenInvalid or ReasonForbidden"
	hintInnerRefused    = "inner-refused: the library behind refused; switch its own origin check off, the guard has decided"
	hintAcceptsOfProxy  = "accepts-of-a-proxy: a private address is over LimitAccepts or banned; if that is your proxy, add TrustProxies(...)"
	hintOriginIsHost    = "origin-is-host: the Origin is this server's own, which the list lacks; React Native sends it, list it or not"
)

const (
	onceProxy = iota
	onceForwarder
	onceUpgrade
	hintCount
)

// hintPlaintext says once what to write when a proxy in front ends TLS.
func (a *attempt) hintPlaintext() {
	if !a.seemsProxied() {
		a.hint = a.plaintextHint()
		return
	}
	a.hint = hintPlaintextProxy
	if a.hinted[onceProxy].Swap(true) {
		return
	}
	a.emitHint(fmt.Sprintf("plaintext from %s with X-Forwarded-Proto %s: if that is your proxy, add TrustProxies(...)",
		a.peer, quote.Quoted(first(a.r.Header[headerXForwarded]), quote.Origin)))
}

// plaintextHint is what a developer may have left out on the way to TLS.
func (a *attempt) plaintextHint() string {
	h := a.r.Header
	switch {
	case a.proxies.Trusts(a.peer):
		if len(h[headerXForwarded]) == 0 && len(h["Forwarded"]) == 0 {
			return hintNoProto
		}
	case !a.peer.IsLoopback() || clientip.HasForwarding(h):
	case a.policy.localhost:
		return hintNotLocalhost
	default:
		return hintNoLocalhost
	}
	return ""
}

// hintUpgrade says once that a proxy in front takes away what makes a request a
// handshake, as nginx does unless it is told otherwise. Nobody else writes the
// key without the rest.
func (a *attempt) hintUpgrade() {
	h := a.r.Header
	if len(h[headerUpgrade]) > 0 || len(h[headerWSKey]) == 0 || !clientip.IsPrivate(a.peer) && !a.proxies.Trusts(a.peer) {
		return
	}
	a.hint = hintUpgradeRemoved
	if a.hinted[onceUpgrade].Swap(true) {
		return
	}
	a.emitHint(fmt.Sprintf("%s: from %s comes a Sec-WebSocket-Key without Upgrade: if that is your proxy, let it pass Upgrade and Connection on over HTTP/1.1",
		hintUpgradeRemoved, a.peer))
}

// seemsProxied reports whether a private peer that nobody trusts says that its
// client uses TLS: trusting it would admit the handshake.
func (a *attempt) seemsProxied() bool {
	proto := first(a.r.Header[headerXForwarded])
	return (equalFold(proto, "https") || equalFold(proto, "wss")) && clientip.IsPrivate(a.peer) && !a.proxies.Trusts(a.peer)
}

// hintForwarder says once that a private peer forwards for others.
func (a *attempt) hintForwarder() {
	if !a.overAllowedTransport() && a.seemsProxied() {
		return // hintPlaintext has more to say
	}
	if a.hinted[onceForwarder].Load() || !clientip.IsPrivate(a.peer) || a.proxies.Trusts(a.peer) || !clientip.HasForwarding(a.r.Header) {
		return
	}
	if a.hinted[onceForwarder].Swap(true) {
		return
	}
	a.emitHint(fmt.Sprintf("%s: %s sends forwarding headers: if that is your proxy, add TrustProxies(...)", hintUnlisted, a.peer))
}

func (a *attempt) emitHint(text string) {
	e := Event{Kind: EventHint, Time: time.Now().UTC(), Hint: text, PeerIP: a.peer}
	a.audit.emit(e, a.policy.hooks)
}

// started tells what guard runs, and every protection that was removed.
func (c *core) started(p *policy) {
	e := Event{Kind: EventStarted, Time: time.Now().UTC(), Hint: "TLS profile " + p.tls.String()}
	if fips140.Enabled() {
		e.Hint += ", FIPS 140-3 mode"
	}
	c.audit.emit(e, p.hooks)
	c.reportHoles(p, p.holes)
	if c.certs != nil {
		c.certs.Notify(c.certNotice)
	}
}

func (c *core) reportHoles(p *policy, holes []hole) {
	for _, h := range holes {
		c.audit.emit(Event{Kind: EventInsecure, Time: time.Now().UTC(), Check: h.option, Hint: h.why}, p.hooks)
	}
}

func (c *core) warn(text string, attrs ...slog.Attr) {
	c.audit.line(warn, text, attrs...)
}

// unguarded reports a handler that tried to switch protocols on a request that
// no guard has admitted.
func (c *core) unguarded(p *policy, r *http.Request) {
	e := Event{
		Kind: EventRefused, Time: time.Now().UTC(), ID: newEventID().String(), Reason: ReasonInternal, Status: http.StatusInternalServerError,
		Host: quote.Cut(r.Host, quote.Value), Path: quote.Cut(r.URL.Path, quote.Value), Origin: quotedOrigin(r.Header),
		Hint: "a handler answered 101 to a request that no guard has admitted",
	}
	if peer, ok := clientip.Peer(r.RemoteAddr); ok {
		e.PeerIP, e.ClientIP = peer, c.proxies.Client(peer, r.Header)
	}
	c.audit.count(EventRefused, ReasonInternal)
	c.audit.emit(e, p.hooks)
}

// storeFailed reports, once a minute, a store that could not do what nobody
// waited for.
func (c *core) storeFailed(err error) {
	if first, held := c.storeEvents.sample(time.Now()); first {
		c.audit.emit(Event{Kind: EventStoreFailed, Time: time.Now().UTC(), Err: err, Count: held}, c.hooks)
	}
}

// keysNotice reports what happens to a fetched key set.
func (c *core) keysNotice(n token.Notice) {
	e := Event{Kind: EventKeysRefreshed, Time: time.Now().UTC(), Hint: quote.Cut(n.URL, quote.Value), Count: int64(n.Keys)}
	if n.Kind == token.Failed {
		e.Kind, e.Err = EventKeysFailed, n.Err
		if m, ok := errors.AsType[*token.Mismatch](n.Err); ok {
			e.Seen, e.Wanted = m.Seen, m.Wanted
		}
	}
	c.audit.emit(e, c.hooks)
}
