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
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/certs"
	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/internal/origin"
	"github.com/wssecure/wssecure/internal/registry"
	"github.com/wssecure/wssecure/internal/wire"
	"github.com/wssecure/wssecure/store"
)

// Guard checks handshakes and keeps the sessions it admits within their limits.
// It is safe for concurrent use. Guards made with [Guard.With] share sessions,
// limits, bans and the drain of the one they were made from.
type Guard struct {
	core   *core
	policy *policy
}

// policy is what one route enforces. It does not change after New or With.
type policy struct {
	origins       *OriginSet // nil: same-origin
	anyOrigin     bool
	nullOrigin    bool
	missingOrigin bool
	requireOrigin bool
	hosts         *origin.Hosts
	hostNames     []string
	hostsWanted   string // what a refusal tells the operator of both
	publicURL     *origin.Origin
	localhost     bool
	plaintext     bool

	subprotocols       []string
	requireSubprotocol bool
	compression        bool
	browserRefusals    bool

	verifier      Verifier
	verifierCalls *calls
	verifierName  string // what tickets know it by
	sources       []Source
	anonymous     bool
	tokenSize     int
	scopes        []string
	claims        []claimRule
	level         authLevel
	lateToken     time.Duration
	outlive       time.Duration // a session lives on after its token
	clientCAs     *x509.CertPool
	recheck       *recheckRule
	custom        []customCheck
	needsToken    []string
	challenges    [][]string

	rates         []rateRule
	failures      []failureRule
	caps          []capRule
	funcRules     []funcRule
	addressRate   rateRule
	wideRate      store.Rate
	subjectRate   rateRule // zero: LimitHandshakes does not name BySubject
	totalRate     rateRule // likewise ByTotal
	addressCap    capRule
	subjectCap    int
	totalCap      int
	accepts       Rate // zero: LimitAccepts is not given
	replayWindow  time.Duration
	handshakeTime time.Duration
	proxies       *clientip.Proxies
	trusted       *clientip.Networks

	limits    Limits
	limitsBy  *limitsRule    // nil: one for all
	session   *sessionLimits // limits, made ready
	ping      time.Duration
	types     []MessageType
	lateWire  wire.Limits // until a late token has come
	onMessage []Filter
	onSend    []Filter
	context   *contextRule

	hsts, csp, frame []string
	extra            []header

	pages  *pages      // what sessions have asked for
	store  store.Store // nil: this process's memory
	tls    TLSProfile
	certs  *certs.Source
	logger *slog.Logger
	hooks  []func(Event)
	holes  []hole
	checks []namedCheck
}

// core is what all routes of one server share.
type core struct {
	store   store.Store
	node    store.NodeID
	live    *registry.Table[*Session]
	audit   *audit
	proxies *clientip.Proxies
	trusted *clientip.Networks
	certs   *certs.Source

	open     atomic.Int64 // places taken in the whole process
	nextConn atomic.Uint64
	draining atomic.Bool
	leaving  atomic.Bool   // Serve is about to drain
	sessions tasks         // registered sessions: handshakes past their checks, connections not closed yet
	running  tasks         // user code that has not returned
	staged   atomic.Bool   // a drain has begun to end the sessions
	hooks    []func(Event) // New's: for events that belong to no route

	totals         *totalRates
	refusedOrigins *addressBudget
	accepts        *addressBudget
	floodEvents    minuteSample
	banEvents      minuteSample // of connections closed before TLS
	rateEvents     minuteSample // likewise
	storeEvents    minuteSample
	following      *following // nil without SetStore
	failing        failures
	badTokens      *badTokens
	banning        sync.Map // keys whose bans are on their way to the store
	rechecks       rechecks
	farewells      farewells
	hinted         [hintCount]atomic.Bool

	mu          sync.Mutex
	verifiers   []ownVerifier
	named       []Verifier // the application's own, by their place
	clientPools []*x509.CertPool
	hellos      map[*tls.Config]helloFunc // of the callers of Harden
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
// and RequireToken and InsecureAllowAnonymous replace each other. What one
// server cannot have twice, as TLS or the proxies, is an error.
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

func newCore(p *policy) *core {
	c := &core{
		store: p.store, node: store.NewNodeID(), live: registry.New[*Session](),
		audit: newAudit(p.logger), proxies: p.proxies, trusted: p.trusted, certs: p.certs, hooks: p.hooks,
		totals: newTotalRates(), refusedOrigins: newAddressBudget(refusedOriginRate), accepts: newAddressBudget(cmp.Or(p.accepts, defaultAccepts)), badTokens: newBadTokens(),
	}
	if c.store == nil {
		c.store = store.NewMemory()
	}
	if node := c.nodeStore(); node != nil {
		c.node = node.ID()
	}
	c.nextConn.Store(rand.Uint64()) // another guard may share the node, and the names of its leases
	return c
}

// adopt lets the verifiers and client CAs of a policy work for this server.
func (c *core) adopt(p *policy) {
	p.verifierCalls, p.pages = new(calls), new(pages)
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.verifier != nil && p.verifierName == "" {
		p.verifierName = c.nameOf(p.verifier)
	}
	if own, ok := p.verifier.(ownVerifier); ok && !slices.Contains(c.verifiers, own) {
		c.verifiers = append(c.verifiers, own)
		own.attach(c)
	}
	if p.clientCAs != nil && !slices.Contains(c.clientPools, p.clientCAs) {
		c.clientPools = append(c.clientPools, p.clientCAs)
	}
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

func (g *Guard) isSecure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	peer, ok := clientip.Peer(r.RemoteAddr)
	return ok && g.core.proxies.Secure(peer, r.Header)
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

func (g *Guard) attempt(w http.ResponseWriter, r *http.Request) *attempt {
	return &attempt{core: g.core, policy: g.policy, w: w, r: r, id: newEventID(), started: time.Now()}
}

func (g *Guard) refuseOrdinary(w http.ResponseWriter, r *http.Request) {
	a := g.attempt(w, r)
	a.check = "shape"
	a.locate()
	if r.ProtoMajor >= 2 {
		a.status = http.StatusHTTPVersionNotSupported
		a.reject(a.refuse(ReasonHTTPVersion, r.Proto, "HTTP/1.1"))
		return
	}
	a.reject(a.refuse(ReasonUpgradeRequired, "an ordinary request", "a WebSocket handshake"))
}

var (
	errNested    = errors.New("guards are nested: the outer one has stripped what the inner one needs; use With for another route")
	errNoAddress = errors.New("the request has no RemoteAddr with an IP; the listener must supply addresses")
)

// serveUpgrade judges an upgrade and, when it is admitted, calls switchOver.
func (g *Guard) serveUpgrade(w http.ResponseWriter, r *http.Request, switchOver func(*attempt)) {
	a := attempts.Get().(*attempt)
	a.core, a.policy, a.w, a.r, a.id, a.started = g.core, g.policy, w, r, newEventID(), time.Now()
	if err := a.judge(); err != nil {
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
			err = &Rejection{Reason: ReasonInternal, Err: fmt.Errorf("check %s panicked: %v", a.checkName(), p)}
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
