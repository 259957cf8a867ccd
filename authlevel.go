package wssecure

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// RequireAuthLevel admits only tokens of a person who has authenticated at most
// maxAge ago, by auth_time, and in one of the ways acr (RFC 9470). A refusal
// tells the client what to ask its issuer for: acr_values and max_age. Issuers
// that say how in amr instead are judged by [RequireClaim], as
// RequireClaim("amr", "mfa"). A route of [Guard.With] can only narrow the level
// that it inherits.
func RequireAuthLevel(maxAge time.Duration, acr ...string) Option {
	return func(d *draft) {
		if !d.once("RequireAuthLevel") {
			return
		}
		if maxAge < time.Second {
			d.fault("RequireAuthLevel", "a maximum age of %s admits nobody; use 1s or more", maxAge)
		}
		if len(acr) == 0 {
			d.fault("RequireAuthLevel", "no acr is given; name those that admit, as \"mfa\"")
		}
		for _, a := range acr {
			if !isACR(a) {
				d.fault("RequireAuthLevel", "%q is no acr; write one such as \"mfa\"", a)
			}
		}
		d.needsToken = append(slices.Clip(d.needsToken), "RequireAuthLevel")
		d.narrowLevel(maxAge, acr)
	}
}

// authLevel is the step-up that a policy demands; the zero value is none.
type authLevel struct {
	maxAge time.Duration
	acr    []string
}

// narrowLevel makes a level that satisfies the inherited one and this one: a
// client can be told of one challenge only.
func (d *draft) narrowLevel(maxAge time.Duration, acr []string) {
	was := d.level
	d.level = authLevel{maxAge, slices.Clone(acr)}
	if was.maxAge == 0 {
		return
	}
	d.level.maxAge = min(was.maxAge, maxAge)
	d.level.acr = slices.DeleteFunc(d.level.acr, func(a string) bool { return !slices.Contains(was.acr, a) })
	if len(d.level.acr) == 0 && len(acr) > 0 {
		d.fault("RequireAuthLevel", "%s is outside the inherited level; use %s", quoteEach(acr), quoteEach(slices.Clone(was.acr)))
	}
}

// isACR reports whether s can stand in the list of acr_values, which blanks part
// and quotes enclose.
func isACR(s string) bool {
	return s != "" && isVisible(s) && !strings.ContainsAny(s, `"\`)
}

// checkAuthLevel is RFC 9470 section 3, insufficient_user_authentication.
func (a *attempt) checkAuthLevel() error {
	level, id := &a.policy.level, a.identity
	if level.maxAge == 0 || id == nil {
		return nil
	}
	if !slices.Contains(level.acr, id.ACR) {
		return a.refuse(ReasonAuthLevel, "acr "+strconv.Quote(id.ACR), strings.Join(level.acr, " or "))
	}
	if id.AuthTime.IsZero() {
		return a.refuse(ReasonAuthLevel, "no auth_time", "at most "+level.maxAge.String()+" ago")
	}
	// A time ahead of any clock's error would stay fresh for ever.
	age := time.Since(id.AuthTime)
	if age > level.maxAge || -age > max(id.skew, defaultSkew) {
		return a.refuse(ReasonAuthLevel, "authenticated at "+id.AuthTime.UTC().Format(time.RFC3339), "at most "+level.maxAge.String()+" ago")
	}
	return nil
}

// challenge is what RFC 9470 section 3 adds to the challenge.
func (l *authLevel) challenge() string {
	if l.maxAge == 0 {
		return ""
	}
	return `, acr_values="` + strings.Join(l.acr, " ") + `", max_age="` + strconv.Itoa(int(l.maxAge/time.Second)) + `"`
}
