package wssecure

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/wssecure/wssecure/internal/token"
	"github.com/wssecure/wssecure/store"
)

// LogoutHandler takes the logout tokens of the guard's issuers (OpenID Connect
// Back-Channel Logout 1.0): register its URL as backchannel_logout_uri of the
// clients clientIDs, for whom the tokens are then issued. A token with a sid ends
// the sessions of that login and refuses their tokens, which must carry the same
// sid; one with a sub alone ends every session of that person and refuses tokens
// issued up to its iat. Each token counts once. The issuer's address is under no
// rate and no ban, since it logs out whole companies at once.
//
// It answers 200; 400 for what is no logout token of ours; 503, so that the
// issuer comes again, when keys or store could not be asked. Nothing else of the
// server must be reachable for it. Introspection and verifiers of your own have
// no keys to judge a logout token by: without an issuer's keys, or without
// client ids, it answers 500 and the event says why.
func (g *Guard) LogoutHandler(clientIDs ...string) http.Handler {
	clientIDs = slices.Clone(clientIDs)
	fault := g.logoutFault(clientIDs)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := g.attempt(w, r)
		a.check = "token"
		a.locate() // whose address is unknown is judged all the same: no rule asks for it
		a.logOut(g, clientIDs, fault)
	})
}

var (
	errNoClientIDs = errors.New("LogoutHandler: clientIDs is empty, or has an empty one; name the clients whose logout tokens to take")
	errNoIssuer    = errors.New("LogoutHandler: no keys of an issuer to judge a logout token by; use OIDC, JWKS, StaticKeys or Secrets in RequireToken")
)

func (g *Guard) logoutFault(clientIDs []string) error {
	if len(clientIDs) == 0 || slices.Contains(clientIDs, "") {
		return errNoClientIDs
	}
	switch v := g.policy.verifier.(type) {
	case *tokenVerifier:
		if v.logoutJudge() != nil {
			return nil
		}
	case *anyOf:
		if slices.ContainsFunc(v.own, func(v *tokenVerifier) bool { return v.logoutJudge() != nil }) {
			return nil
		}
	}
	return errNoIssuer
}

// mostLogout bounds the form of a logout: a token of any provider fits.
const mostLogout = 64 << 10

func (a *attempt) logOut(g *Guard, clientIDs []string, fault error) {
	if fault != nil {
		a.reject(&Rejection{Reason: ReasonInternal, Err: fault})
		return
	}
	claims, err := a.logoutClaims(clientIDs)
	if err == nil {
		err = a.endLogin(g, claims)
	}
	if err != nil {
		a.refuseLogout(asRejection(err, ReasonUnavailable))
		return
	}
	a.strictHeaders()
	a.w.WriteHeader(http.StatusOK)
}

// logoutClaims reads and judges the logout token of the request.
func (a *attempt) logoutClaims(clientIDs []string) (*token.Claims, error) {
	if a.r.Method != http.MethodPost {
		a.status = http.StatusMethodNotAllowed
		return nil, a.refuse(ReasonMethod, a.r.Method, http.MethodPost)
	}
	text, err := a.logoutToken()
	if err != nil {
		return nil, err
	}
	a.creds.text = text // no error may quote it
	v := a.policy.logoutVerifier(text)
	if v == nil {
		return nil, a.refuse(ReasonTokenInvalid, "a logout token of another issuer", "one of an issuer of RequireToken")
	}
	claims, err := v.VerifyLogout(a.r.Context(), text, clientIDs...)
	if err != nil {
		return nil, tokenRejection(err)
	}
	return claims, nil
}

// logoutToken reads the form (Back-Channel Logout 1.0 section 2.5), whose other
// fields are ignored.
func (a *attempt) logoutToken() (string, error) {
	form, err := a.readForm(mostLogout)
	if err != nil {
		return "", err
	}
	tokens := form["logout_token"]
	if len(tokens) != 1 || tokens[0] == "" {
		return "", a.refuse(ReasonBody, "a form without one logout_token", "logout_token, once")
	}
	return tokens[0], nil
}

// logoutJudge is v's judge of logout tokens; nil when it has no keys.
func (v *tokenVerifier) logoutJudge() logoutJudge {
	j, _ := v.judge.(logoutJudge)
	return j
}

type logoutJudge interface {
	VerifyLogout(ctx context.Context, text string, audiences ...string) (*token.Claims, error)
}

// logoutVerifier is the one of the token's issuer: keys are never shared between
// issuers, for logout tokens no more than for others.
func (p *policy) logoutVerifier(text string) logoutJudge {
	switch v := p.verifier.(type) {
	case *tokenVerifier:
		return v.logoutJudge()
	case *anyOf:
		if of := v.of(text); of != nil {
			return of.logoutJudge()
		}
	}
	return nil
}

// endLogin revokes what a logout token names, once for each jti.
func (a *attempt) endLogin(g *Guard, c *token.Claims) error {
	// The issuer may hang up; what has begun is done whole.
	ctx := context.WithoutCancel(a.r.Context())
	claim := store.Claim{Space: store.SpaceLogout, Value: store.TokenID(c.Issuer, c.TokenID).ID, TTL: time.Until(c.Expiry.Add(token.MaxSkew))}
	if err := a.store.Do(ctx, &claim); err != nil {
		return unavailable(err)
	}
	if claim.Err != nil {
		return unavailable(claim.Err)
	}
	if !claim.First {
		return a.refuse(ReasonTokenInvalid, "a logout token used before", "a jti of its own")
	}
	if _, err := g.Revoke(ctx, logoutTarget(c), "back-channel logout"); err != nil {
		// The issuer will come again with this very token.
		a.quietly(&store.Claim{Space: claim.Space, Value: claim.Value})
		return unavailable(err)
	}
	return nil
}

// logoutTarget is the login where the token names it, else the person's tokens
// from before: by the time the logout comes, there may be a fresh login.
func logoutTarget(c *token.Claims) Target {
	if c.OIDCSession != "" {
		return OIDCSession(c.Issuer, c.OIDCSession)
	}
	return Subject(c.Issuer, c.Subject).IssuedBefore(c.IssuedAt)
}

var (
	valuesJSON          = []string{"application/json"}
	bodyInvalidRequest  = []byte(`{"error":"invalid_request"}` + "\n")
	bodyTemporarilyGone = []byte(`{"error":"temporarily_unavailable"}` + "\n")
)

// refuseLogout answers as section 2.8 says: one text for whatever is wrong with
// the token. It is no failure of the address: issuers retry.
func (a *attempt) refuseLogout(rejection *Rejection) {
	a.explain(rejection.Err)
	body, h := bodyInvalidRequest, a.strictHeaders()
	switch {
	case rejection.Reason == ReasonUnavailable:
		a.status, body = http.StatusServiceUnavailable, bodyTemporarilyGone
		h[headerRetryAfter] = retryAfter(rejection.RetryAfter, 0)
	case a.status == http.StatusMethodNotAllowed:
		h[headerAllow] = []string{http.MethodPost}
	case a.status == 0:
		a.status = http.StatusBadRequest
	}
	h[headerContentType] = valuesJSON
	a.w.WriteHeader(a.status)
	_, _ = a.w.Write(body) // the issuer may be gone; the event tells
	a.report(rejection.Reason)
}
