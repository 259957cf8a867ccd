package wssecure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/wssecure/wssecure/store"
)

// This file is the last step before the 101: what must be given back when a
// later part of the handshake fails is taken here, in one batch, and nowhere
// else.

// mostAdmits bounds a batch: a subject, three marks of its credential, two for
// everybody, two tiers of the address and the rules by function.
const mostAdmits = 16

// admission is the batch of one handshake against the store.
type admission struct {
	admits  [mostAdmits]store.Admit
	n       int
	claim   store.Claim
	claims  bool
	ticket  store.Redeem
	redeems bool
	ops     [mostAdmits + 2]store.Op
	failed  bool
	skipped bool // some were not asked, since another is refused
}

// admissions are used again. They are large, and most of a flood is refused
// before it needs one; no function of the application ever sees one.
var admissions = sync.Pool{New: func() any { return new(admission) }}

func newAdmission() *admission { return admissions.Get().(*admission) }

// free gives b back, without what it knows of this handshake. A store that has
// given up may still write its answers: b is then nobody else's.
func (b *admission) free() {
	if b.failed {
		return
	}
	clear(b.admits[:b.n])
	if b.claims {
		b.claim = store.Claim{}
	}
	if b.redeems {
		b.ticket = store.Redeem{}
	}
	b.n, b.claims, b.redeems, b.skipped = 0, false, false, false
	admissions.Put(b)
}

func (b *admission) admit(a store.Admit) {
	b.admits[b.n] = a
	b.n++
}

// places asks for a place of an address without identity, of IPv6 by /64 and by
// /48: one site has 65,536 of the first, with which it would fill the server.
func (b *admission) places(lease func(store.Key, string, int) store.Admit, keys addressKeys, bucket string, most int) {
	b.admit(lease(keys.narrow, bucket, most))
	if keys.wide != (store.Key{}) {
		b.admit(lease(keys.wide, bucket, min(wideBudgetFactor*most, sharedStoreCap)))
	}
}

func (b *admission) redeem(r store.Redeem) { b.ticket, b.redeems = r, true }

// do runs the batch; what the store could not decide refuses, but a ticket that
// is only read: that is for the token's place.
func (b *admission) do(a *attempt) error {
	ops := b.ops[:0]
	for i := range b.admits[:b.n] {
		ops = append(ops, &b.admits[i])
	}
	if b.claims {
		ops = append(ops, &b.claim)
	}
	if b.redeems {
		ops = append(ops, &b.ticket)
	}
	if err := a.store.Do(a.r.Context(), ops...); err != nil {
		b.failed = true
		return unavailable(err)
	}
	var undecided error
	refused := false
	for i := range b.admits[:b.n] {
		admit := &b.admits[i]
		undecided = cmp.Or(undecided, b.settled(admit.Err))
		a.decidedHere = a.decidedHere || admit.Verdict.Local
		if admit.Err == nil && admit.Verdict.Refused != store.None {
			refused = true
		}
	}
	if b.claims {
		undecided = cmp.Or(undecided, b.settled(b.claim.Err))
		a.decidedHere = a.decidedHere || b.claim.Local
	}
	if b.redeems && !b.ticket.Keep {
		undecided = cmp.Or(undecided, b.settled(b.ticket.Err))
	}
	if undecided == nil && b.skipped && !refused {
		undecided = store.ErrSkipped
	}
	if undecided != nil {
		return unavailable(undecided)
	}
	return nil
}

// settled notes an operation that was skipped, which leaves the refusal to another one.
func (b *admission) settled(err error) error {
	if errors.Is(err, store.ErrSkipped) {
		b.skipped = true
		return nil
	}
	return err
}

// unavailable refuses for a store that could not decide.
func unavailable(err error) error {
	return &Rejection{Reason: ReasonUnavailable, Err: err}
}

// quietly runs one operation that nobody waits for an answer of.
func (c *core) quietly(op store.Op) {
	if err := c.store.Do(context.Background(), op); err != nil {
		c.storeFailed(err)
	}
}

// soon is quietly for what the answer need not wait for, where the store is not a memory.
func (c *core) soon(op store.Op) {
	if c.nodeStore() == nil {
		c.quietly(op)
		return
	}
	go c.quietly(op)
}

// checkAdmission registers the session, then takes its leases and asks the
// revocation marks: an event that arrives in between finds the session.
func (a *attempt) checkAdmission() error {
	// What the application is asked comes before anything is held.
	if err := a.askLimits(); err != nil {
		return err
	}
	if err := a.askKeys(); err != nil {
		return err
	}
	if err := a.reserve(); err != nil {
		return err
	}
	a.openSession()
	if a.draining.Load() {
		// Shutdown ends what is registered when it begins; this came later.
		return a.refuseDraining()
	}
	b := newAdmission()
	defer b.free()
	a.fillAdmission(b)
	err := b.do(a)
	if err == nil {
		err = a.judgeAdmission(b)
	}
	if err == nil {
		a.session.hold(a, b)
		if b.redeems {
			a.session.ticket = a.ticket.redeemed()
		}
		return nil
	}
	a.undoAdmission(b)
	return err
}

// reserve takes one of the places of the process.
func (a *attempt) reserve() error {
	if a.open.Add(1) > int64(a.policy.totalCap) {
		a.open.Add(-1)
		return a.refuseFull()
	}
	a.reserved = true
	return nil
}

func (a *attempt) fillAdmission(b *admission) {
	a.fillKeys(b)
	b.claims = true
	b.claim = store.Claim{Space: store.SpaceHandshakeKey, Value: a.nonceName(), TTL: a.policy.replayWindow}
	if a.creds.ticket && a.identity != nil {
		b.redeem(store.Redeem{Ticket: a.creds.text})
	}
}

// fillKeys asks for rates, caps and marks of who connects.
func (a *attempt) fillKeys(b *admission) {
	p, s := a.policy, a.session
	lease := func(k store.Key, bucket string, most int) store.Admit {
		return store.Admit{Key: k, Bucket: bucket, Cap: most, Node: a.node, Conn: s.conn, Hold: a.limits.Lifetime}
	}
	switch exempt := a.trusted.Contains(a.client); {
	case a.identity != nil:
		a.fillIdentity(b, a.identity, lease)
	case a.late:
		if !exempt {
			b.places(lease, a.lateKeys(), "late", lateConnsPerAddress)
		}
		return // rules by function are asked with the token
	case !exempt:
		b.places(lease, *a.addresses(), p.addressCap.bucket, p.addressCap.n)
	}
	a.fillCustom(b, lease)
}

func (a *attempt) fillIdentity(b *admission, id *Identity, lease func(store.Key, string, int) store.Admit) {
	p := a.policy
	keys := id.prepared()
	subject := lease(keys.subject, "conns", a.limits.Conns)
	subject.IssuedAt = id.IssuedAt
	if rule := &p.subjectRate; rule.rate.N > 0 {
		subject.Bucket, subject.Rate, subject.N = rule.bucket, store.Rate(rule.rate), 1
	}
	b.admit(subject)
	if keys.token.ID != "" {
		b.admit(store.Admit{Key: keys.token, IssuedAt: id.IssuedAt})
	}
	if keys.oidc.ID != "" {
		b.admit(store.Admit{Key: keys.oidc, IssuedAt: id.IssuedAt})
	}
	if p.verifier != nil {
		b.admit(store.Admit{Key: store.Everyone(), IssuedAt: id.IssuedAt})
		b.admit(store.Admit{Key: networkOf(a.client), IssuedAt: id.IssuedAt})
	}
	if !a.charged {
		return // there is nothing to give back
	}
	b.addressTokens(a, -1)
}

// addressTokens takes n tokens of the client's address, and of the /48 around it.
func (b *admission) addressTokens(a *attempt, n int) {
	rule, keys := &a.policy.addressRate, a.addresses()
	b.admit(store.Admit{Key: keys.narrow, Bucket: rule.bucket, Rate: store.Rate(rule.rate), N: n})
	if keys.wide.Prefix.IsValid() {
		b.admit(store.Admit{Key: keys.wide, Bucket: rule.bucket, Rate: a.policy.wideRate, N: n})
	}
}

// judgeAdmission gives the verdict that is earliest in the order of checks.
func (a *attempt) judgeAdmission(b *admission) error {
	var worst *store.Admit
	said := store.None
	for i := range b.admits[:b.n] {
		admit := &b.admits[i]
		refused := admit.Verdict.Refused
		if admit.Err == nil && outranks(refused, said) && !a.spares(a.client, admit.Key, refused) {
			worst, said = admit, refused
		}
	}
	switch {
	case worst != nil:
		return a.judgeRefused(worst)
	case b.skipped:
		return unavailable(store.ErrSkipped) // nothing of a batch that was not asked admits
	case b.claims && !b.claim.First:
		a.check = "key-replay"
		return a.refuse(ReasonKeyReplay, "a Sec-WebSocket-Key used before", "a fresh one")
	case b.redeems && !b.ticket.OK:
		a.check = "token"
		return a.refuseUnknownTicket("a ticket that another handshake has spent meanwhile")
	}
	return nil
}

// spares reports whether TrustNetworks exempts the client: from bans of its
// network, not from revocation.
func (c *core) spares(client netip.Addr, key store.Key, r store.Refusal) bool {
	return r == store.Banned && key.Kind == store.KeyNetwork && c.trusted.Contains(client)
}

// outranks reports whether r is of an earlier check than other: their order is
// that of the checks, and None is of none.
func outranks(r, other store.Refusal) bool {
	return r != store.None && (other == store.None || r < other)
}

func (a *attempt) judgeRefused(admit *store.Admit) error {
	a.retryAfter = admit.Verdict.RetryAfter
	switch admit.Verdict.Refused {
	case store.Revoked:
		a.check = "token"
		return a.refuse(ReasonRevoked, "a credential from before its revocation", "a fresh one")
	case store.Banned:
		a.check = "rate"
		return a.refuse(ReasonBanned, "a banned "+a.keyWord(admit.Key), "one without a ban")
	case store.OverRate:
		a.check = "rate"
		return a.refuse(ReasonRate, "too many handshakes of one "+a.keyWord(admit.Key), fmt.Sprintf("%d per %s", admit.Rate.N, admit.Rate.Per))
	default:
		return a.refuse(ReasonConnLimit, fmt.Sprintf("%d open sessions of one %s", admit.Verdict.Held, a.keyWord(admit.Key)), fmt.Sprintf("at most %d", admit.Cap))
	}
}

// keyWord says to the operator what a key of this handshake stands for.
func (a *attempt) keyWord(k store.Key) string {
	keys, yet := *a.addresses(), ""
	if a.late {
		keys, yet = a.lateKeys(), " without a token yet"
	}
	switch {
	case k == keys.narrow:
		return "address" + yet
	case k == keys.wide:
		return "IPv6 /48" + yet
	case k.Kind == store.KeySubject:
		return "subject"
	case k.Kind == store.KeyNetwork:
		return "network"
	}
	return "key"
}

// undoAdmission gives back what a refused batch has taken. The subject's rate
// stays charged, and a ticket whose fate is unknown counts as used.
func (a *attempt) undoAdmission(b *admission) {
	for i := range b.admits[:b.n] {
		admit := b.admits[i]
		if admit.Err != nil || admit.Verdict.Refused != store.None {
			continue
		}
		if admit.Cap > 0 {
			a.quietly(&store.Release{Key: admit.Key, Node: admit.Node, Conn: admit.Conn})
		}
		if admit.N < 0 {
			admit.N = -admit.N
			a.soon(&admit)
		}
	}
	if b.claims && b.claim.First && b.claim.Err == nil {
		a.withdrawNonce(b.claim.Value)
	}
	if b.redeems && !b.failed && b.ticket.OK && b.ticket.Err == nil {
		a.putBack(a.ticket.redeemed())
	}
}
