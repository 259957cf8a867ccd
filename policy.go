package wssecure

import (
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/wssecure/wssecure/internal/certs"
	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/internal/origin"
	"github.com/wssecure/wssecure/internal/wire"
	"github.com/wssecure/wssecure/store"
)

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
