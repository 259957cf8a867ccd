package wssecure

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/registry"
	"github.com/wssecure/wssecure/internal/token"
	"github.com/wssecure/wssecure/store"
)

// Identity is who connects, as a [Verifier] or a client certificate says. The
// pair of Issuer and Subject names a person: one subject under two issuers is
// two identities. It is shared by all handshakes of one token: read it, never
// write to it.
type Identity struct {
	Issuer      string // iss; the issuer's DN for a client certificate alone
	Subject     string // sub; never empty
	TokenID     string // jti
	OIDCSession string // sid
	Scopes      []string
	IssuedAt    time.Time
	AuthTime    time.Time // when the person last authenticated
	Expiry      time.Time // zero: none, the session's lifetime holds
	ACR         string
	AMR         []string
	Claims      map[string]any // every claim; numbers are json.Number

	skew            time.Duration // the session outlives Expiry by the skew its verifier grants
	certificateEnds time.Time     // of the client certificate beside the token, zero for none

	thumbprint string        // SHA-256 of the client certificate that the token is bound to
	content    string        // what replay knows the credential by: never its raw text
	keys       *identityKeys // prepared when the token was verified

	introspected *introspected // nil for a token that says itself how long it is good
}

// identityKeys are the names under which the store and the registry know an
// identity.
type identityKeys struct {
	subject, token, oidc store.Key
}

// names are those under which the registry knows an identity.
func (k *identityKeys) names() registry.Names {
	return registry.Names{Subject: k.subject.ID, Token: k.token.ID, OIDCSession: k.oidc.ID}
}

// expired says whether id is past its Expiry and what its verifier grants beyond.
func (id *Identity) expired(now time.Time) bool {
	return !id.Expiry.IsZero() && !now.Before(id.Expiry.Add(id.skew))
}

func (id *Identity) prepared() *identityKeys {
	if id.keys != nil {
		return id.keys
	}
	return makeKeys(id)
}

func makeKeys(id *Identity) *identityKeys {
	k := &identityKeys{subject: store.Subject(id.Issuer, id.Subject)}
	if id.TokenID != "" {
		k.token = store.TokenID(id.Issuer, id.TokenID)
	}
	if id.OIDCSession != "" {
		k.oidc = store.OIDCSession(id.Issuer, id.OIDCSession)
	}
	return k
}

func identityOf(c *token.Claims, skew time.Duration) *Identity {
	id := &Identity{
		Issuer: c.Issuer, Subject: c.Subject, TokenID: c.TokenID, OIDCSession: c.OIDCSession,
		Scopes: c.Scopes, IssuedAt: c.IssuedAt, AuthTime: c.AuthTime, Expiry: c.Expiry,
		ACR: c.ACR, AMR: c.AMR, Claims: c.All,
		skew: skew, thumbprint: c.Thumbprint, content: string(c.Content[:]),
	}
	id.keys = makeKeys(id)
	return id
}

// A Verifier turns a credential into an Identity. An error with a [Reason] or
// [*Rejection] in its chain refuses with it (return [ReasonTokenInvalid] for a
// bad credential); any other error means that the verifier could not decide and
// refuses with status 503. A nil identity, or one without a Subject, is 500.
// It must be safe for concurrent use and must not keep the token.
type Verifier interface {
	Verify(ctx context.Context, token string) (*Identity, error)
}

// VerifierFunc is a function as a [Verifier], for session ids or a service of
// your own: it returns [ReasonTokenInvalid] for a bad one, any other error says
// that it could not decide. It runs under the time of [LimitHandshakeTime].
type VerifierFunc func(ctx context.Context, token string) (*Identity, error)

// Verify calls f.
func (f VerifierFunc) Verify(ctx context.Context, token string) (*Identity, error) {
	return f(ctx, token)
}

const nilFuncFault = "the function of a VerifierFunc is nil; pass one"

func isNilFunc(v Verifier) bool {
	f, ok := v.(VerifierFunc)
	return ok && f == nil
}

// RequireToken admits only handshakes with a credential that v accepts, looked
// for in the sources from: by default the Authorization header (RFC 6750) and,
// for browsers, the subprotocol list (see [FromSubprotocol]). It guards
// handshakes only: an ordinary request to the same handler is served without.
func RequireToken(v Verifier, from ...Source) Option {
	return func(d *draft) {
		if !d.once("RequireToken") {
			return
		}
		if v == nil {
			d.fault("RequireToken", "the verifier is nil; pass StaticKeys, Secrets, JWKS, OIDC, Introspection or your own")
			return
		}
		if isNilFunc(v) {
			d.fault("RequireToken", nilFuncFault)
			return
		}
		if len(from) == 0 {
			from = []Source{FromBearer(), FromSubprotocol()}
		}
		d.verifier, d.verifierName, d.sources = v, "", from
		d.anonymous = false
		d.fill("InsecureAllowAnonymous")
		d.fill(tokenHoles...)
		for _, s := range from {
			d.addSource(s)
		}
		if own, ok := v.(ownVerifier); ok {
			d.faults = append(d.faults, own.faults()...)
			d.holes = append(slices.Clip(d.holes), own.holes()...)
		}
	}
}

// tokenHoles come and go with the verifier and the sources.
var tokenHoles = []string{"InsecureFromQuery", "InsecureFromCookie", "InsecureAnyAudience"}

// InsecureAllowAnonymous admits handshakes without any credential.
func InsecureAllowAnonymous(why string) Option {
	return func(d *draft) {
		if d.insecure("InsecureAllowAnonymous", why) {
			d.anonymous = true
			if d.child && !d.given["RequireToken"] {
				d.verifier, d.sources = nil, nil
				d.fill(tokenHoles...)
			}
		}
	}
}

// RequireCheck adds a condition of the application under a name of its own,
// which events show. Checks run after the built-in ones that need no lease, in
// the order they were given, and see the verified Identity.
func RequireCheck(name string, check Check) Option {
	return func(d *draft) {
		switch {
		case name == "":
			d.fault("RequireCheck", `"" is no name; write one such as "tenant"`)
		case slices.Contains(builtinChecks, name):
			d.fault("RequireCheck", "%q is the name of a built-in check; choose another", name)
		case slices.ContainsFunc(d.custom, func(c customCheck) bool { return c.name == name }):
			d.fault("RequireCheck", "%q is given twice; choose another name", name)
		case check == nil:
			d.fault("RequireCheck", "the function of %q is nil; pass a Check", name)
		default:
			d.custom = append(slices.Clip(d.custom), customCheck{name, check, new(calls)})
		}
	}
}

// RequireClientCert admits only connections whose client certificate chains to
// pool and is meant for client authentication. Harden and TLSConfig then ask
// for one. Without RequireToken the certificate is the identity: its subject's
// DN, its issuer's, its names under the claim "san".
func RequireClientCert(pool *x509.CertPool) Option {
	return func(d *draft) {
		if !d.once("RequireClientCert") {
			return
		}
		if pool == nil {
			d.fault("RequireClientCert", "the pool is nil; pass the CA certificates of your clients")
			return
		}
		if pool.Equal(x509.NewCertPool()) {
			d.fault("RequireClientCert", "the pool is empty and admits nobody; see whether AppendCertsFromPEM returned true")
			return
		}
		d.clientCAs = pool
	}
}

type customCheck struct {
	name  string
	fn    Check
	calls *calls
}

func (d *draft) finishAuth() {
	if d.verifier == nil && d.clientCAs == nil && !d.anonymous && !d.given["RequireToken"] && !d.given["RequireClientCert"] && !d.given["InsecureAllowAnonymous"] {
		d.fault("New", "no rule says who may connect; add RequireToken, RequireClientCert or InsecureAllowAnonymous")
	}
	if d.given["RequireToken"] && d.given["InsecureAllowAnonymous"] {
		d.fault("InsecureAllowAnonymous", "RequireToken asks for the opposite; remove one")
	}
	if d.verifier == nil && !d.given["RequireToken"] {
		for i, option := range d.needsToken {
			if !slices.Contains(d.needsToken[:i], option) {
				d.fault(option, "no token to read them from; add RequireToken")
			}
		}
	}
	d.tokenSize = defaultTokenSize
	if own, ok := d.verifier.(ownVerifier); ok {
		d.tokenSize = own.size()
	}
	d.finishSources()
}

// checkCredential refuses what is no credential by its form, and several at
// once (RFC 6750 section 2).
func (a *attempt) checkCredential() error {
	if fault := a.creds.judge(); fault != "" {
		return a.refuse(ReasonCredential, fault, "one credential")
	}
	return nil
}

// checkToken asks the verifier, or for a ticket the store.
func (a *attempt) checkToken() error {
	if a.policy.verifier == nil || a.comesLate() {
		return nil
	}
	id, err := a.identify()
	if err != nil {
		return err
	}
	if id == nil || id.Subject == "" {
		return &Rejection{Reason: ReasonInternal, Err: errors.New("the verifier returned no identity with a subject")}
	}
	if id.expired(time.Now()) {
		return a.refuse(ReasonTokenExpired, id.Expiry.UTC().Format(time.RFC3339), "an expiry ahead")
	}
	a.identity = id
	return nil
}

// identify turns the credential into whom it stands for.
func (a *attempt) identify() (*Identity, error) {
	if a.creds.ticket {
		return a.checkTicket()
	}
	text := a.creds.text
	if text == "" {
		return nil, a.refuseSaying(ReasonTokenMissing, func(a *attempt) (seen, wanted string) {
			return a.creds.elsewhere(a), "a token in " + a.policy.sourceNames()
		})
	}
	if most := a.policy.tokenSize; len(text) > most {
		return nil, a.refuse(ReasonTokenInvalid, fmt.Sprintf("%d bytes", len(text)), fmt.Sprintf("at most %d", most))
	}
	return a.verify(text)
}

// verify calls the verifier: ours directly, since they bound themselves, the
// application's under the guard of LimitHandshakeTime.
func (a *attempt) verify(text string) (*Identity, error) {
	p := a.policy
	if own, ok := p.verifier.(ownVerifier); ok && own.boundsItself() {
		id, err := own.verifyFrom(a.r.Context(), text, a.network())
		if err != nil {
			a.forgedAgain = isForgedAgain(err)
		}
		return id, err
	}
	var verified atomic.Pointer[Identity]
	network := a.network()
	err := a.bounded(a.r.Context(), p.handshakeTime, p.verifierCalls, func(ctx context.Context) error {
		id, err := verifyFrom(ctx, p.verifier, text, network)
		verified.Store(id)
		return err
	})
	if err != nil {
		a.hintUndecided(err)
		a.forgedAgain = errors.Is(err, ReasonTokenForged) && !a.badTokens.first(text)
		return nil, err
	}
	return verified.Load(), nil
}

// isForgedAgain reports whether one of our verifiers has refused this very token
// within the last minute. It looks at a Rejection's cause itself, since Unwrap
// allocates, and such a flood should not.
func isForgedAgain(err error) bool {
	if r, ok := err.(*Rejection); ok {
		err = r.Err
	}
	fault, ok := errors.AsType[*token.Error](err)
	return ok && fault.Again
}

// checkProof holds a token that is bound to a client certificate (RFC 8705
// section 3) to the certificate of this very connection.
func (a *attempt) checkProof() error {
	if a.identity == nil || a.identity.thumbprint == "" {
		return nil
	}
	if !a.hasClientCert() || thumbprint(a.r.TLS.PeerCertificates[0]) != a.identity.thumbprint {
		return a.refuse(ReasonTokenInvalid, "another client certificate, or none", "the one of cnf.x5t#S256")
	}
	return nil
}
