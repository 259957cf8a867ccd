package token

import (
	"context"
	"errors"
	"slices"
	"time"
)

// logoutEvent is the member of events that makes a token a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

var (
	errNotLogout = &Error{Fault: Invalid, Err: errors.New("claim events does not make it a logout token")}
	errNonce     = &Error{Fault: Invalid, Err: errors.New("a logout token has no nonce, an ID token does")}
	errNoWhom    = &Error{Fault: Invalid, Err: errors.New("a logout token names a sub or a sid")}
	errNoTokenID = &Error{Fault: Invalid, Err: errors.New("a logout token has iat and jti")}
)

// VerifyLogout judges text as a logout token (OpenID Connect Back-Channel Logout 1.0, 2.6) of v's issuer, for one of
// audiences. Its error is always an *Error. It keeps nothing: whether jti is new is for the caller to know.
func (v *Verifier[T]) VerifyLogout(ctx context.Context, text string, audiences ...string) (*Claims, error) {
	if len(text) > v.judge.rules.MaxSize {
		return nil, errSize
	}
	if v.tenants != nil {
		tenant, fault := v.tenant(text)
		if fault != nil {
			return nil, fault
		}
		return tenant.VerifyLogout(ctx, text, audiences...)
	}
	j := *v.judge
	j.logout = &logoutRules{audiences}
	now := time.Now()
	d, fault := j.judge(ctx, text, v.keys, v.keys.current(now), now)
	if fault != nil {
		return nil, fault
	}
	if d.key == nil {
		return nil, show(Forged, "the signature does not verify under the key with kid ", d.kid)
	}
	return d.claims, nil
}

// logoutRules take the place of what Rules say of audience and use.
type logoutRules struct{ audiences []string }

// typ: the specification recommends logout+jwt, and providers send what they always did.
func (l *logoutRules) typ(value any, is bool) bool {
	typ, _ := value.(string)
	return !is || equalFold(typ, "JWT") || equalFold(typ, "logout+jwt") || equalFold(typ, "application/logout+jwt")
}

func (l *logoutRules) parties(c *Claims, all map[string]any) *Error {
	var names []any
	switch aud := all["aud"].(type) {
	case string:
		names = []any{aud}
	case []any:
		names = aud
	}
	if !slices.ContainsFunc(l.audiences, func(ours string) bool { return ours != "" && slices.Contains(names, any(ours)) }) {
		return errAudience
	}
	events, _ := all["events"].(map[string]any)
	if _, is := events[logoutEvent].(map[string]any); !is {
		return errNotLogout
	}
	if has(all, "nonce") {
		return errNonce
	}
	if c.Subject == "" && c.OIDCSession == "" {
		return errNoWhom
	}
	if c.TokenID == "" || c.IssuedAt.IsZero() {
		return errNoTokenID
	}
	return nil
}
