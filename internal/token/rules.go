package token

import "time"

// Rules say which tokens a Verifier accepts. The caller sets the defaults: a zero Skew is no skew, a zero MaxSize an error.
type Rules struct {
	Option        string        // the constructor as the developer wrote it, for configuration errors: "JWKS", "OIDC"
	Issuer        string        // iss, compared byte by byte; with Tenants a template holding {tenantid}
	Audience      string        // must be, or be in, aud
	Algorithms    []string      // nil: RS256 PS256 ES256 EdDSA, for secrets HS256 HS384 HS512; empty but not nil is an error
	Skew          time.Duration // 0 to 5 min, for exp, nbf, iat
	MaxAge        time.Duration // bound on the age by iat; 0: none
	MaxSize       int           // bytes of a token, 8192 to 32768
	Type          string        // "": typ absent, JWT or at+jwt; "at+jwt": RFC 9068, with all its required claims
	AudienceClaim string        // the claim that stands in for aud; "": aud
	AllowID       bool          // accept ID tokens (at_hash, c_hash)
	Tenants       []string      // tenants served by a multi-tenant issuer; nil: none; empty but not nil is an error
	AnyAudience   bool          // judge no audience
}
