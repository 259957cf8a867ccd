package wssecure

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/store"
)

// LimitFailures bans by key what fails more often than rate: a forged token, a
// broken frame (the Reasons that only an attacker causes). The ban lasts for
// ban, a second or more, then twice as long each time, up to an hour or as long as
// ban says. By default 20 a minute by address, for a minute; private, loopback and proxy addresses are then never
// banned, they are when LimitFailures names ByIP.
func LimitFailures(key Key, rate Rate, ban time.Duration) Option {
	return func(d *draft) {
		if !d.limitKey("LimitFailures", key) || !d.limitRate("LimitFailures", rate, "PerMinute(20)") {
			return
		}
		switch {
		case key.kind == keyTotal:
			d.fault("LimitFailures", "total would ban everybody; use ByIP, BySubject or ByFunc")
		case ban == 0:
			d.fault("LimitFailures", "a ban of 0s is none; use 1s or more")
		case ban < time.Second:
			d.fault("LimitFailures", "a ban of %s is too short; use 1s or more", ban)
		}
		d.failures = replaceRule(d.failures, key, failureRule{key: key, rate: rate.filled(), ban: ban, explicit: true})
	}
}

type failureRule struct {
	key      Key
	rate     Rate
	ban      time.Duration
	explicit bool
}

func (r failureRule) by() Key { return r.key }

// Ban refuses t, a Network or a Subject, for d: with 403 before, or right after,
// its token. Open sessions live on; Revoke ends them. Another kind of target, a d
// of zero or less and an empty why are errors; an error of the shared store means
// that other nodes may not know of the ban yet, and repeating it is harmless.
func (g *Guard) Ban(ctx context.Context, t Target, d time.Duration, why string) error {
	key, err := bannable(t)
	switch {
	case err != nil:
		return err
	case d <= 0:
		return fmt.Errorf("wssecure: a ban of %s is none; use 1s or more", d)
	case why == "":
		return errors.New("wssecure: the reason of a ban is empty; say why in a few words")
	}
	if err := g.core.mark(ctx, store.Mark{Key: key, Kind: store.MarkBan, Until: time.Now().Add(d), Why: why}); err != nil {
		return err
	}
	g.tellBan(EventBanned, t, why)
	return nil
}

// Unban lifts a ban of t; where there is none it does nothing.
func (g *Guard) Unban(ctx context.Context, t Target) error {
	key, err := bannable(t)
	if err != nil {
		return err
	}
	if err := g.core.mark(ctx, store.Mark{Key: key, Kind: store.MarkUnban}); err != nil {
		return err
	}
	if also, ok := alsoBanned(t); ok {
		if err := g.core.mark(ctx, store.Mark{Key: also, Kind: store.MarkUnban}); err != nil {
			return err
		}
	}
	g.tellBan(EventUnbanned, t, "")
	return nil
}

func (g *Guard) tellBan(kind EventKind, t Target, why string) {
	e := Event{Kind: kind, Time: time.Now().UTC(), Hint: why, By: ByApp}
	t.name(&e)
	if t.prefix.IsSingleIP() {
		e.ClientIP = t.prefix.Addr()
	}
	g.core.audit.emit(e, g.policy.hooks)
}

// bannable gives the key of a ban that the operator sets. A network is always
// banned as one, never as the address that failures ban: that ban spares a token
// which was verified before, this one spares nobody.
func bannable(t Target) (store.Key, error) {
	if err := t.valid(); err != nil {
		return store.Key{}, err
	}
	if t.kind != targetSubject && t.kind != targetNetwork {
		return store.Key{}, errors.New("wssecure: only a Subject or a Network can be banned; use Revoke")
	}
	return t.key(), nil
}

// alsoBanned is the key under which failures may have banned the same client.
func alsoBanned(t Target) (key store.Key, ok bool) {
	if t.kind != targetNetwork {
		return key, false
	}
	bucket := clientip.Bucket(t.prefix.Addr())
	return store.Address(bucket), bucket == t.prefix.Masked()
}

// countFailure charges what only an attacker causes, and bans who causes it too
// often. A page that the operator has not named can have its visitor's browser
// send anything, so its handshakes never count. Nor does what is wrong in the form
// of somebody who was admitted: one wrong deploy of the page would ban an office.
func (a *attempt) countFailure(r Reason) {
	if a.ruling(r).fails != failYes || a.forgedAgain || r == ReasonBody && a.identity != nil {
		return
	}
	if lines := a.r.Header[headerOrigin]; a.originTrust == originAbsent && len(lines) > 0 {
		// Refused before its Origin was judged.
		if a.originTrust = originRefused; len(lines) == 1 {
			a.originTrust = a.judgeOrigin(lines[0])
		}
	}
	f := failureBy{client: a.client, origin: a.originTrust, identity: a.identity, reason: r}
	f.forwards = !a.proxies.Trusts(a.peer) && clientip.HasForwarding(a.r.Header)
	for _, rule := range a.policy.failures {
		if rule.key.kind == keyFunc {
			if value, _ := a.callKey(rule.key); value != "" { // what gives none is not charged
				f.custom = append(f.custom, customKey{rule.key.name, store.Custom(rule.key.name, value)})
			}
		}
	}
	a.core.chargeFailure(a.policy, f)
}

// failureBy is who failed.
type failureBy struct {
	client   netip.Addr
	origin   originTrust
	identity *Identity
	custom   []customKey
	reason   Reason
	forwards bool // as a proxy does, and is none of TrustProxies
}

func (c *core) chargeFailure(p *policy, f failureBy) {
	if f.origin == originLoose || f.origin == originRefused {
		return
	}
	for _, rule := range p.failures {
		key, ok := c.failureKey(rule, f)
		if !ok {
			continue
		}
		c.charge(p, rule, key, f)
	}
}

func (c *core) failureKey(rule failureRule, f failureBy) (store.Key, bool) {
	switch rule.key.kind {
	case keyIP:
		if c.trusted.Contains(f.client) {
			return store.Key{}, false
		}
		if !rule.explicit && (clientip.IsPrivate(f.client) || c.proxies.Trusts(f.client)) {
			return store.Key{}, false
		}
		return store.Address(clientip.Bucket(f.client)), true
	case keySubject:
		if f.identity == nil {
			return store.Key{}, false
		}
		return f.identity.prepared().subject, true
	case keyFunc:
		for _, k := range f.custom {
			if k.name == rule.key.name {
				return k.key, true
			}
		}
	}
	return store.Key{}, false
}

// banFor begins a ban, and tells of it once: whoever fails beside or behind the
// failure that began it finds it begun.
func (c *core) banFor(p *policy, key store.Key, base time.Duration, f failureBy) {
	if _, beside := c.banning.LoadOrStore(key, true); beside {
		return
	}
	defer c.banning.Delete(key)
	if c.isBanned(key) {
		return
	}
	ban := store.Mark{Key: key, Kind: store.MarkBan, Base: base, Max: max(longestBan, base), Why: string(f.reason)}
	if err := c.mark(context.Background(), ban); err != nil {
		c.storeFailed(err)
		return
	}
	e := Event{Kind: EventBanned, Time: time.Now().UTC(), Reason: f.reason, ClientIP: f.client, By: ByGuard}
	e.name(f.identity)
	if f.forwards {
		e.Hint = hintBannedForwarder // the ban stands: anybody can send such a header
	}
	c.audit.emit(e, p.hooks)
}
