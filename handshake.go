package wssecure

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/origin"
)

// Handshake is what a [Check] sees of one opening handshake. It is read-only,
// and valid until the check returns.
type Handshake struct {
	Request      *http.Request // as it came in, credentials included
	ClientIP     netip.Addr    // the peer, or the client that trusted proxies name
	Host         string        // as requested, port included, in lower case
	Origin       string        // the one Origin line; "" when there is none
	Subprotocols []string      // offered ones, without a credential among them
	Identity     *Identity     // who connects; nil for an anonymous handshake
}

// A Check decides about one handshake: nil admits, a [Reason] or [*Rejection] in
// the chain of the error refuses with it, any other error means that the check
// could not decide and refuses with status 503, a panic with 500. It runs under
// the time of [LimitHandshakeTime].
type Check func(ctx context.Context, h *Handshake) error

// Header names in Go's spelling, so that look-ups need no canonical form.
const (
	headerUpgrade      = "Upgrade"
	headerConnection   = "Connection"
	headerWSKey        = "Sec-Websocket-Key"
	headerWSVersion    = "Sec-Websocket-Version"
	headerWSProtocol   = "Sec-Websocket-Protocol"
	headerWSExtensions = "Sec-Websocket-Extensions"
	headerWSAccept     = "Sec-Websocket-Accept"
	headerOrigin       = "Origin"
	headerCookie       = "Cookie"
	headerAuth         = "Authorization"
	headerFetchMode    = "Sec-Fetch-Mode"
	headerFetchSite    = "Sec-Fetch-Site"
	headerFetchDest    = "Sec-Fetch-Dest"
	headerXForwarded   = "X-Forwarded-Proto"

	headerHTTP2Settings = "Http2-Settings"
)

// attempt is one handshake on its way through the checks.
type attempt struct {
	*core
	policy *policy
	w      http.ResponseWriter
	r      *http.Request

	id       eventID
	started  time.Time
	peer     netip.Addr  // who is at the other end of the connection
	client   netip.Addr  // whom trusted proxies name, else the peer
	host     origin.Host // without a name when it is malformed
	secure   bool        // TLS here, or at a trusted proxy
	local    bool        // AllowLocalhost applies
	nonce    [16]byte
	offered  []string // subprotocols without a credential among them
	chosen   string   // the subprotocol of AllowSubprotocols
	deflate  bool     // a sound offer of permessage-deflate under AllowCompression
	creds    credentials
	ticket   shown
	post     bool   // to an endpoint of the guard, no handshake
	renews   bool   // a session that has its place
	reader   string // the listed Origin whose page may read the answer of a POST
	identity *Identity
	session  *Session
	limits   *sessionLimits // of the session
	custom   []customKey    // likewise
	keys     []string       // what the rules by function count by, in their order
	public   *Handshake     // for functions of the application
	address  addressKeys    // made when they are asked for
	queued   queued         // among the handshakes of its address

	late         bool // the token may come later
	decidedHere  bool // something of it, while the shared store was away
	pageAdmitted bool // its Origin is there and was not refused
	lent         bool // to a function of the application
	charged      bool // its address, for this handshake
	reserved     bool // holds a place of the process
	switched     bool // the connection is the session's
	parted       bool // the session runs, and holds nothing of it
	retryAfter   time.Duration
	body         [320]byte // of the answer

	originTrust originTrust
	step        int    // of run, from 1: how many checks have begun
	check       string // the one that refused, where it is not that of the step
	finding     finding
	refusal     Rejection // what refuse returns: a flood of refusals makes no garbage
	ruled       *ruling   // on the reason it is refused for
	status      int       // in place of the reason's own
	hint        string
	forgedAgain bool // this very token failed within the last minute
}

// attempts are used again, empty: a flood of handshakes makes no garbage.
var attempts = sync.Pool{New: func() any { return new(attempt) }}

// free gives an attempt back that is over, unless somebody else may still hold it:
// a function of the application that was called, or the writer of a library that
// has a session.
func (a *attempt) free() {
	if a.lent || a.public != nil || a.session != nil && !a.parted {
		return
	}
	*a = attempt{}
	attempts.Put(a)
}

// bounded is the core's, for functions that may see the attempt.
func (a *attempt) bounded(ctx context.Context, limit time.Duration, n *calls, fn func(context.Context) error) error {
	a.lent = true
	return a.core.bounded(ctx, limit, n, fn)
}

// finding is what the operator is told of a refusal.
type finding struct {
	seen, wanted string
	say          func(*attempt) (seen, wanted string) // in their place, asked when somebody listens; it may add a hint
	err          error
}

// refuse notes for the operator what was seen and wanted, and refuses.
func (a *attempt) refuse(r Reason, seen, wanted string) error {
	a.finding.seen, a.finding.wanted, a.finding.say = seen, wanted, nil
	return a.rejection(r)
}

// refuseSaying is refuse for words that have to be put together: a flood that
// nobody listens to must not pay for them.
func (a *attempt) refuseSaying(r Reason, say func(*attempt) (seen, wanted string)) error {
	a.finding.say = say
	return a.rejection(r)
}

func (a *attempt) rejection(r Reason) error {
	a.refusal = Rejection{Reason: r}
	return &a.refusal
}

// namedCheck is one entry of the ordered list: its place belongs to the check, never
// to the order of options.
type namedCheck struct {
	name string
	run  func(*attempt) error
}

// order is the one order of all checks. Syntax and origin touch no shared state, so
// junk cannot grow a table; the origin comes before the address's budget, so a
// hostile page cannot spend its visitor's; what must be given back comes last.
var order = []namedCheck{
	{"shape", (*attempt).checkShape},
	{"transport", (*attempt).checkTransport},
	{"capacity", (*attempt).checkCapacity},
	{"host", (*attempt).checkHost},
	{"origin", (*attempt).checkOrigin},
	{"fetch-metadata", (*attempt).checkFetchMetadata},
	{"rate", (*attempt).checkRate},
	{"credential", (*attempt).checkCredential},
	{"token", (*attempt).checkToken},
	{"proof", (*attempt).checkProof},
	{"client-cert", (*attempt).checkClientCert},
	{"auth-level", (*attempt).checkAuthLevel},
	{"scope", (*attempt).checkScopes},
	{"claims", (*attempt).checkClaims},
	{"custom", (*attempt).checkCustom},
	{"conn-limit", (*attempt).checkAdmission},
}

// builtinChecks are the names that RequireCheck may not take.
var builtinChecks = []string{
	"shape", "transport", "capacity", "host", "origin", "fetch-metadata", "rate", "credential", "token",
	"proof", "client-cert", "auth-level", "scope", "claims", "conn-limit", "key-replay",
	"message-type", "utf-8", "message-rate", "filters",
}

// run asks every check in order; the first refusal wins.
func (a *attempt) run() error {
	for i := range a.policy.checks {
		a.step = i + 1
		if err := a.policy.checks[i].run(a); err != nil {
			return err
		}
	}
	return nil
}

// checkName is the check that runs or refused.
func (a *attempt) checkName() string {
	if a.check == "" && a.step > 0 {
		return a.policy.checks[a.step-1].name
	}
	return a.check
}

// isUpgrade classifies conservatively: whatever any server behind might take for
// a WebSocket handshake gets the full treatment.
func isUpgrade(r *http.Request) bool {
	if len(r.Header[headerWSKey]) > 0 || isExtendedConnect(r) {
		return true
	}
	for name, values := range r.Header {
		if hasPrefixFold(name, "Sec-WebSocket-") {
			return true
		}
		if !equalFold(name, headerUpgrade) {
			continue
		}
		for _, v := range values {
			if containsFold(v, "websocket") {
				return true
			}
		}
	}
	return false
}

func isExtendedConnect(r *http.Request) bool {
	_, ok := r.Header[":protocol"]
	return ok
}

// targetBytes bound path and query, beside one token.
const targetBytes = 8 << 10

// checkShape is RFC 6455 section 4.2.1 and what keeps the connection in step.
func (a *attempt) checkShape() error {
	r := a.r
	switch {
	case isExtendedConnect(r):
		a.status = http.StatusNotImplemented
		return a.refuse(ReasonHTTPVersion, "extended CONNECT", "GET over HTTP/1.1")
	case r.ProtoMajor >= 2:
		a.status = http.StatusHTTPVersionNotSupported
		return a.refuse(ReasonHTTPVersion, r.Proto, "HTTP/1.1")
	case !r.ProtoAtLeast(1, 1):
		return a.refuse(ReasonHTTPVersion, r.Proto, "HTTP/1.1")
	case r.Method != http.MethodGet:
		return a.refuse(ReasonMethod, r.Method, "GET")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return a.refuse(ReasonBody, "a body", "none")
	case len(r.URL.Path)+len(r.URL.RawQuery) > targetBytes+a.policy.tokenSize:
		// A session keeps its path and query for as long as it lives.
		return a.refuse(ReasonMalformed, "a longer request target", "path and query of 8 KiB beside a token")
	case !hasToken(r.Header[headerUpgrade], "websocket"):
		return a.refuse(ReasonUpgradeRequired, "Upgrade: "+r.Header.Get(headerUpgrade), "websocket")
	case !hasToken(r.Header[headerConnection], "upgrade"):
		return a.refuse(ReasonUpgradeRequired, "Connection: "+r.Header.Get(headerConnection), "Upgrade")
	}
	if err := a.checkVersion(); err != nil {
		return err
	}
	if err := a.checkKey(); err != nil {
		return err
	}
	if err := a.checkSubprotocols(); err != nil {
		return err
	}
	return a.checkExtensions()
}

func (a *attempt) checkVersion() error {
	lines := a.r.Header[headerWSVersion]
	if len(lines) > 1 {
		a.status = http.StatusBadRequest
		return a.refuse(ReasonVersion, "two versions", "13")
	}
	if len(lines) == 0 || lines[0] != "13" {
		return a.refuse(ReasonVersion, first(lines), "13")
	}
	return nil
}

// checkKey wants 16 bytes of padded base64. Spare bits may be set: the WHATWG
// text itself shows such a key. What is remembered are the decoded bytes, since
// one nonce has sixteen spellings.
func (a *attempt) checkKey() error {
	lines := a.r.Header[headerWSKey]
	if len(lines) != 1 || len(lines[0]) != base64.StdEncoding.EncodedLen(16) {
		return a.refuse(ReasonKey, first(lines), "one key of 16 bytes in base64")
	}
	var decoded [18]byte
	n, err := base64.StdEncoding.Decode(decoded[:], []byte(lines[0]))
	if err != nil || n != 16 {
		return a.refuse(ReasonKey, lines[0], "one key of 16 bytes in base64")
	}
	copy(a.nonce[:], decoded[:])
	return nil
}

// checkExtensions looks at the offer only when compression is allowed; else it
// is dropped unread.
func (a *attempt) checkExtensions() error {
	if !a.policy.compression {
		return nil
	}
	offer, ok := parseExtensions(a.r.Header[headerWSExtensions])
	if !ok {
		return a.refuse(ReasonMalformed, "Sec-WebSocket-Extensions", "RFC 6455 section 9.1")
	}
	a.deflate = offer
	return nil
}

// checkTransport demands TLS, here or at a trusted proxy. There is no redirect:
// the credential has already crossed the wire in clear.
func (a *attempt) checkTransport() error {
	if a.overAllowedTransport() {
		return nil
	}
	a.hintPlaintext()
	return a.refuse(ReasonTransport, "plaintext", "TLS")
}

func (a *attempt) overAllowedTransport() bool { return a.secure || a.local || a.policy.plaintext }

// checkCustom asks the application's own checks, in the order they were given.
func (a *attempt) checkCustom() error {
	if a.late {
		return nil // asked when there is an identity
	}
	for i := range a.policy.custom {
		c := &a.policy.custom[i]
		a.check = c.name
		h := a.handshake()
		err := a.bounded(a.r.Context(), a.policy.handshakeTime, c.calls, func(ctx context.Context) error { return c.fn(ctx, h) })
		if err != nil {
			a.hintUndecided(err)
			return err
		}
	}
	a.check = ""
	return nil
}

// handshake is the view for functions of the application, made on demand.
func (a *attempt) handshake() *Handshake {
	if a.public == nil {
		a.public = &Handshake{
			Request:      a.r,
			ClientIP:     a.client,
			Host:         strings.ToLower(a.r.Host),
			Origin:       first(a.r.Header[headerOrigin]),
			Subprotocols: a.offered,
		}
	}
	a.public.Identity = a.identity
	return a.public
}

func localAddr(r *http.Request) string {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ String() string }); ok {
		return addr.String()
	}
	return ""
}

func first(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

func (d *draft) finishHandshake() {
	if d.requireSubprotocol && len(d.subprotocols) == 0 && !d.given["AllowSubprotocols"] {
		d.fault("RequireSubprotocol", "no subprotocol is allowed; add AllowSubprotocols")
	}
	d.finishFuncRules()
	d.checks = order
	d.challenges = makeChallenges(&d.policy)
}
