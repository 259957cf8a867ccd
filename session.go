package wssecure

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/hex"
	"iter"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/registry"
	"github.com/wssecure/wssecure/internal/wire"
	"github.com/wssecure/wssecure/store"
	"golang.org/x/time/rate"
)

// Session is one admitted socket, from before its 101 to after its last byte. It
// ends exactly once, for the first cause that comes: its peer or the application
// closes it, its token expires, it is revoked, a limit is exceeded, the guard
// shuts down.
type Session struct {
	core   *core
	policy *policy
	conn   uint64                   // names its leases
	entry  registry.Entry[*Session] // its id and the client's address, and where Revoke finds it

	identity atomic.Pointer[Identity]
	limits   atomic.Pointer[sessionLimits]
	late     atomic.Pointer[lateness] // nil unless its token is still to come
	renewals atomic.Pointer[rate.Limiter]
	asked    *asked
	from     facts
	waited   time.Duration // for the 101, from the handshake on
	living   atomic.Pointer[living]

	mu        sync.Mutex
	wire      *wire.Conn
	leases    []store.Release
	rechecked [2]*recheckGroup // that the session is in
	lease     [1]store.Release // where the leases begin: most sessions have one
	nonce     string           // withdrawn when the 101 never comes
	ticket    *redeemed        // put back when the 101 never comes
	custom    []customKey      // that its failure counts by
	cause     atomic.Pointer[cause]
	messages  atomic.Int64
	running   atomic.Bool // the 101 is out
	released  bool
	over      bool // what ends with the session has been told
	own       bool // the library is ours: ConnHandler
	origin    originTrust
}

// facts are what all events of a session tell of its handshake, beside what it
// has asked for. They become an Event when somebody listens: one for each session
// would weigh more than all else that the guard keeps of it.
type facts struct {
	id      eventID
	started time.Time
	peer    netip.Addr
	local   bool // see Event.Local
}

// SessionInfo is one live session as an operator sees it.
type SessionInfo struct {
	ID              string
	Issuer, Subject string
	ClientIP        netip.Addr
	Path            string
	Opened          time.Time
	Expiry          time.Time // of its credential; zero for none
	In, Out         Traffic
}

// Sessions gives the live sessions, each at most once. It holds no lock while
// the caller works.
func (g *Guard) Sessions() iter.Seq[SessionInfo] {
	return func(yield func(SessionInfo) bool) {
		for s := range g.core.live.All() {
			if info, ok := s.info(); ok && !yield(info) {
				return
			}
		}
	}
}

func (s *Session) info() (SessionInfo, bool) {
	if !s.running.Load() || s.cause.Load() != nil {
		return SessionInfo{}, false
	}
	info := SessionInfo{ID: s.ID(), ClientIP: s.ClientIP(), Path: s.asked.url.Path, Opened: s.opened()}
	if id := s.Identity(); id != nil {
		info.Issuer, info.Subject, info.Expiry = id.Issuer, id.Subject, id.Expiry
	}
	if w := s.connection(); w != nil {
		info.In, info.Out = traffic(w.Counters())
	}
	return info, true
}

// ID names the session in events and for [SessionID]. It is random.
func (s *Session) ID() string { return eventID(s.entry.ID).String() }

// newSessionID draws what nobody can guess: whoever knows it names the session to
// RenewHandler.
func newSessionID() (id registry.ID) {
	cryptorand.Read(id[:]) // never fails
	return id
}

// sessionByID finds a live session by what its ID says, in no other spelling.
func (c *core) sessionByID(text string) (*Session, bool) {
	var id registry.ID
	if len(text) != hex.EncodedLen(len(id)) {
		return nil, false
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil || eventID(id).String() != text {
		return nil, false
	}
	return c.live.ByID(id)
}

// Identity is who the session belongs to; nil for an anonymous one.
func (s *Session) Identity() *Identity { return s.identity.Load() }

// ClientIP is the client's address as the guard counts it.
func (s *Session) ClientIP() netip.Addr { return s.entry.Addr }

// opened is when the 101 went out.
func (s *Session) opened() time.Time { return s.from.started.Add(s.waited) }

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
	s := &Session{core: a.core, policy: a.policy, conn: a.nextConn.Add(1), origin: a.originTrust}
	s.entry.Session, s.entry.ID, s.entry.Addr = s, newSessionID(), a.client
	s.from.started = a.started // what comes with the feed asks for it
	s.identity.Store(a.identity)
	s.limits.Store(a.limits)
	s.asked = a.policy.pages.share(a.asks())
	var names registry.Names
	if a.identity != nil {
		names = a.identity.prepared().names()
	}
	a.session = s
	if a.late {
		a.awaitToken(s)
	}
	a.sessions.enter() // until it is closed or given back
	a.live.Add(&s.entry, names)
}

// hold keeps what the admission has won, to give it back at the end.
func (s *Session) hold(a *attempt, b *admission) {
	s.leases = s.leasesOf(b)
	s.custom = a.custom
	s.nonce = b.claim.Value
}

func (s *Session) failKeys() []customKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.custom
}

func (s *Session) leasesOf(b *admission) []store.Release {
	leases := s.lease[:0]
	for i := range b.admits[:b.n] {
		if admit := &b.admits[i]; admit.Cap > 0 {
			leases = append(leases, store.Release{Key: admit.Key, Node: s.core.node, Conn: s.conn})
		}
	}
	return leases
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
	if s.isDiscarded() {
		return
	}
	s.endContext(context.Canceled)
	s.takeBack()
	s.core.giveBack(s.unlist())
	s.core.sessions.leave()
}

// giveBack gives up the leases of a session.
func (c *core) giveBack(leases []store.Release) {
	for i := range leases {
		c.quietly(&leases[i])
	}
}

// unlist takes the session out of the registry and hands over its leases, once.
func (s *Session) unlist() []store.Release {
	s.mu.Lock()
	leases, groups, again := s.leases, s.rechecked, s.released
	s.leases, s.rechecked, s.released = nil, [2]*recheckGroup{}, true
	s.stopLateness()
	s.mu.Unlock()
	s.leaveRechecks(groups)
	if !again {
		s.core.live.Remove(&s.entry)
	}
	return leases
}

// attach gives the session its connection. A session that was ended before it
// had one is ended now; the wire sends no close frame when its 101 is not out.
func (s *Session) attach(c *wire.Conn) {
	s.mu.Lock()
	s.wire = c
	s.startLateness()
	s.armExpiry(c)
	s.mu.Unlock()
	if ended := s.cause.Load(); ended != nil {
		c.Finish(int(ended.code), ended.text)
		return
	}
	s.followRechecks()
	s.armLifetime(c, time.Now())
}

func (s *Session) armLifetime(c *wire.Conn, from time.Time) {
	life := s.limits.Load().Lifetime
	c.SetLifetime(from.Add(life - time.Duration(rand.Int64N(int64(life/10)+1))))
}

// connection is nil before the 101.
func (s *Session) connection() *wire.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wire
}

// markOpen says that the 101 is on its way: from here on there is a session.
func (s *Session) markOpen() {
	s.waited = time.Since(s.from.started)
	s.nonce, s.ticket = "", nil
	s.running.Store(true)
	s.core.audit.count(EventOpened, "")
	if s.core.audit.wanted(info, s.policy.hooks) {
		s.emitOpened()
	}
}

func (s *Session) emitOpened() {
	e := s.event(EventOpened)
	e.Time, e.Took = s.opened().UTC(), s.waited
	s.core.audit.emit(e, s.policy.hooks)
}

func (s *Session) isDiscarded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.released
}
