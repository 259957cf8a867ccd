package wssecure

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

// StaticKeys verifies JWTs by the public keys of a JWK Set (RFC 7517) that is
// given once. The token must name issuer and audience exactly (RFC 8725 section
// 3.8 and 3.9), carry exp and sub, and be signed with an algorithm that its key
// is for: by default RS256, PS256, ES256 or EdDSA.
func StaticKeys(jwks []byte, issuer, audience string, opts ...TokenOption) Verifier {
	v := newTokenVerifier("StaticKeys", issuer, audience, opts)
	v.trusts(jwks)
	v.build(func(r token.Rules) (judge, error) {
		return token.NewStatic(jwks, r, v.wrap)
	})
	return v
}

// Secrets verifies JWTs signed with HS256, HS384 or HS512 under one of at most
// four secrets of 32 bytes or more, the newest first, so that one can be
// replaced while tokens of the last are about.
func Secrets(issuer, audience string, secrets ...[]byte) Verifier {
	v := newTokenVerifier("Secrets", issuer, audience, nil)
	v.trusts(secrets...)
	v.build(func(r token.Rules) (judge, error) {
		return token.NewSecrets(secrets, r, v.wrap)
	})
	return v
}

// JWKS is StaticKeys with a JWK Set that is fetched from url, an https URL, and
// kept fresh: every 15 minutes or as its max-age says, and at once, but at most
// every 30 seconds, for a key id not seen before. Keys stay in use for 24 hours
// when url fails. Nothing is fetched before the first handshake or
// [Guard.Ready]; while there are no keys handshakes are answered with 503.
func JWKS(url, issuer, audience string, opts ...TokenOption) Verifier {
	v := newTokenVerifier("JWKS", issuer, audience, opts)
	v.trusts([]byte(url))
	v.build(func(r token.Rules) (judge, error) {
		return token.NewRemote(url, v.settings.client, r, v.wrap, v.notify)
	})
	return v
}

// OIDC is JWKS with the place of the keys taken from the issuer's metadata (OpenID
// Connect Discovery 1.0 section 4), which is read again daily. issuer is the iss
// of the tokens, byte by byte. Like JWKS it judges access tokens; ID tokens are
// for the client that asked for them, see [AllowIDToken]. An issuer that is down
// at start is asked until it answers; meanwhile handshakes get 503.
func OIDC(issuer, audience string, opts ...TokenOption) Verifier {
	v := newTokenVerifier("OIDC", issuer, audience, opts)
	v.build(func(r token.Rules) (judge, error) {
		return token.NewOIDC(v.settings.client, r, v.wrap, v.notify)
	})
	return v
}

// A TokenOption adjusts how a verifier judges tokens.
type TokenOption func(*tokenSettings)

type tokenSettings struct {
	rules  token.Rules
	client *http.Client
	holes  []hole
	faults []error
}

// Algorithms replaces the signature algorithms that are accepted (RFC 7518
// section 3.1), by default RS256, PS256, ES256 and EdDSA.
func Algorithms(names ...string) TokenOption {
	return func(s *tokenSettings) {
		s.rules.Algorithms = append([]string{}, names...) // never nil, which is the default: an empty list is a mistake
	}
}

// ClockSkew is by how much the issuer's clock may differ from ours, for exp, nbf
// and iat: 30 seconds unless given, at most 5 minutes.
func ClockSkew(d time.Duration) TokenOption {
	return func(s *tokenSettings) { s.rules.Skew = d }
}

// MaxTokenAge refuses tokens whose iat is missing or longer ago than d. Without it
// exp alone decides.
func MaxTokenAge(d time.Duration) TokenOption {
	return func(s *tokenSettings) {
		if d <= 0 {
			s.faults = append(s.faults, configError("MaxTokenAge", d.String()+" admits no token; use 1s or more"))
		}
		s.rules.MaxAge = d
	}
}

// MaxTokenSize is the longest token in bytes: 8,192 unless given, at most 32,768.
func MaxTokenSize(n int) TokenOption {
	return func(s *tokenSettings) { s.rules.MaxSize = n }
}

// TokenType demands a typ, as "at+jwt" with its required claims (RFC 9068 section
// 2.2). Without it none, "JWT" and "at+jwt" are good.
func TokenType(typ string) TokenOption {
	return func(s *tokenSettings) {
		if typ == "" {
			s.faults = append(s.faults, configError("TokenType", `"" is no type; write "at+jwt", or leave the option out`))
		}
		s.rules.Type = typ
	}
}

// AudienceClaim names the claim that stands in for aud, for issuers whose access
// tokens have none: "client_id" for Amazon Cognito, "azp".
func AudienceClaim(name string) TokenOption {
	return func(s *tokenSettings) {
		if name == "" {
			s.faults = append(s.faults, configError("AudienceClaim", `"" is no claim; write one such as "client_id"`))
		}
		s.rules.AudienceClaim = name
	}
}

// AllowIDToken accepts OpenID Connect ID tokens too; they are meant for the
// client that asked for them, not for a server.
func AllowIDToken() TokenOption {
	return func(s *tokenSettings) { s.rules.AllowID = true }
}

// Tenants serves the tenants ids of an issuer whose URL has {tenantid} in it, as
// Microsoft Entra's. With OIDC each tenant has metadata and keys of its own.
func Tenants(ids ...string) TokenOption {
	return func(s *tokenSettings) { s.rules.Tenants = append([]string{}, ids...) }
}

// InsecureAnyAudience accepts tokens that were issued for others: whoever is sent
// one by a user of the same issuer can show it here. Name an audience where the
// issuer can give one.
func InsecureAnyAudience(why string) TokenOption {
	return func(s *tokenSettings) {
		if strings.TrimSpace(why) == "" {
			s.faults = append(s.faults, configError("InsecureAnyAudience", "the reason is empty; say why in a few words"))
		}
		s.rules.AnyAudience = true
		s.holes = append(s.holes, hole{"InsecureAnyAudience", why})
	}
}

// HTTPClient fetches keys, metadata and answers through a copy of c; its redirects
// are not followed and its time is capped at 5 seconds all the same.
func HTTPClient(c *http.Client) TokenOption {
	return func(s *tokenSettings) {
		if c == nil {
			s.faults = append(s.faults, configError("HTTPClient", "the client is nil; pass one, or leave the option out"))
		}
		s.client = c
	}
}

// ownVerifier is what the guard knows of a verifier of ours beside its verdicts.
type ownVerifier interface {
	Verifier
	faults() []error
	size() int
	boundsItself() bool     // no function of the application is called
	known(text string) bool // verified before: no signature work
	verifyFrom(ctx context.Context, text string, from netip.Prefix) (*Identity, error)
	holes() []hole
	ready() error
	attach(c *core)
	detach(c *core)
}

// judge is the part of internal/token that decides.
type judge interface {
	Verify(ctx context.Context, text string) (*Identity, error)
	Known(text string) bool
	Ready() error
	Close()
}

// tokenVerifier dresses a judge of internal/token as a Verifier.
type tokenVerifier struct {
	settings tokenSettings
	judge    judge
	trusted  [sha256.Size]byte // whose word is taken, beyond what settings say
	opaque   bool              // judges tokens of no issuer that could be read from them
	again    *recheckRule      // open sessions are asked about again

	mu        sync.Mutex
	observers []*core
}

func newTokenVerifier(option, issuer, audience string, opts []TokenOption) *tokenVerifier {
	v := &tokenVerifier{}
	v.settings.rules = token.Rules{
		Option: option, Issuer: issuer, Audience: audience,
		Skew: defaultSkew, MaxSize: defaultTokenSize,
	}
	for _, opt := range opts {
		if opt == nil {
			v.settings.faults = append(v.settings.faults, configError(option, "a token option is nil; remove it"))
			continue
		}
		opt(&v.settings)
	}
	return v
}

// trusts tells verifiers apart that differ in their keys alone. Only a hash is
// kept: they may be secrets.
func (v *tokenVerifier) trusts(keys ...[]byte) {
	v.trusted = sha256.Sum256(fmt.Appendf(nil, "%q", keys))
}

func (v *tokenVerifier) build(make func(token.Rules) (judge, error)) {
	j, err := make(v.settings.rules)
	if err != nil {
		v.settings.faults = append(v.settings.faults, flatten(err)...)
		return
	}
	v.judge = j
}

// flatten gives the single errors of a joined one.
func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.Clone(joined.Unwrap())
	}
	return []error{err}
}

func (v *tokenVerifier) wrap(c *token.Claims) *Identity { return identityOf(c, v.settings.rules.Skew) }

// Verify judges one token; its error has a Reason.
func (v *tokenVerifier) Verify(ctx context.Context, text string) (*Identity, error) {
	return v.verifyFrom(ctx, text, netip.Prefix{})
}

// asker is a judge that asks somebody else, which one network must not keep busy.
type asker interface {
	VerifyFrom(ctx context.Context, text string, from netip.Prefix) (*Identity, error)
}

// verifyFrom is Verify for a client of the network from.
func (v *tokenVerifier) verifyFrom(ctx context.Context, text string, from netip.Prefix) (*Identity, error) {
	if v.judge == nil {
		return nil, &Rejection{Reason: ReasonUnavailable, Err: errors.Join(v.settings.faults...)}
	}
	var id *Identity
	var err error
	if j, asks := v.judge.(asker); asks {
		id, err = j.VerifyFrom(ctx, text, from)
	} else {
		id, err = v.judge.Verify(ctx, text)
	}
	if err != nil {
		return nil, tokenRejection(err)
	}
	return id, nil
}

func tokenRejection(err error) *Rejection {
	reason := ReasonUnavailable
	if fault, ok := errors.AsType[*token.Error](err); ok {
		switch fault.Fault {
		case token.Invalid:
			reason = ReasonTokenInvalid
		case token.Forged:
			reason = ReasonTokenForged
		case token.Expired:
			reason = ReasonTokenExpired
		}
	}
	return &Rejection{Reason: reason, Err: err}
}

func (v *tokenVerifier) holes() []hole          { return v.settings.holes }
func (v *tokenVerifier) faults() []error        { return v.settings.faults }
func (v *tokenVerifier) boundsItself() bool     { return true }
func (v *tokenVerifier) size() int              { return v.settings.rules.MaxSize }
func (v *tokenVerifier) known(text string) bool { return v.judge != nil && v.judge.Known(text) }

// issuers are the values of iss that v judges: one, or one for each tenant, and
// none where a token does not say whose it is.
func (v *tokenVerifier) issuers() []string {
	if v.opaque {
		return nil
	}
	return v.settings.rules.Issuers()
}

func (v *tokenVerifier) ready() error {
	if v.judge == nil {
		return errors.New("the verifier has configuration errors")
	}
	return v.judge.Ready()
}

func (v *tokenVerifier) attach(c *core) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !slices.Contains(v.observers, c) {
		v.observers = append(v.observers, c)
	}
}

// detach ends the background work with the last guard that uses the verifier.
func (v *tokenVerifier) detach(c *core) {
	v.mu.Lock()
	had := len(v.observers)
	v.observers = slices.DeleteFunc(v.observers, func(o *core) bool { return o == c })
	last := had > 0 && len(v.observers) == 0
	v.mu.Unlock()
	if last && v.judge != nil {
		v.judge.Close()
	}
}

func (v *tokenVerifier) notify(n token.Notice) {
	v.mu.Lock()
	observers := slices.Clone(v.observers)
	v.mu.Unlock()
	for _, c := range observers {
		c.keysNotice(n)
	}
}

// nameOf gives a verifier a name that is the same on every node, so that a ticket
// admits only where the credential behind it would have. Nodes whose static keys
// or secrets differ, as while new ones are rolled out, refuse each other's tickets.
// Verifiers of the application have no name but their type and place in the
// program. The caller holds c.mu.
func (c *core) nameOf(v Verifier) string {
	switch v := v.(type) {
	case *tokenVerifier:
		rules := sha256.Sum256(fmt.Appendf(nil, "%x %+v", v.trusted, v.settings.rules))
		return base64.RawURLEncoding.EncodeToString(rules[:16])
	case *anyOf:
		var names []string
		for _, own := range v.own {
			names = append(names, c.nameOf(own))
		}
		for _, opaque := range v.opaque {
			names = append(names, c.nameOf(opaque))
		}
		return strings.Join(names, " ")
	default:
		return fmt.Sprintf("%T %d", v, c.placeOf(v))
	}
}

// placeOf counts the verifiers of the application in the order they were given.
func (c *core) placeOf(v Verifier) int {
	place := slices.IndexFunc(c.named, func(o Verifier) bool {
		return reflect.ValueOf(o).Comparable() && reflect.ValueOf(v).Comparable() && o == v
	})
	if place < 0 {
		c.named = append(c.named, v)
		place = len(c.named) - 1
	}
	return place
}
