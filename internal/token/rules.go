package token

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

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

// MaxSkew is the most by which exp may be past and a token still good.
const MaxSkew = 5 * time.Minute

const (
	minSize = 8 << 10
	maxSize = 32 << 10

	tenantMark = "{tenantid}"
)

// A kind of verifier decides which algorithms make sense.
type kind uint8

const (
	static kind = iota
	secret
	remoteKeys
	introspected
)

// newJudge returns every mistake in r, each a *ConfigError, joined.
func newJudge(r Rules, k kind) (*judge, error) {
	j := &judge{rules: r, anyKid: k == secret, asked: k == introspected, atJWT: equalFold(r.Type, "at+jwt")}
	var wrong []error
	add := func(option, format string, args ...any) {
		wrong = append(wrong, &ConfigError{Option: option, Text: fmt.Sprintf(format, args...)})
	}
	if r.Issuer == "" && k != introspected {
		add(r.Option, "the issuer is empty; write the iss your tokens carry")
	}
	if r.Audience == "" && !r.AnyAudience {
		text := "the audience is empty; write the one your tokens carry"
		if k == introspected {
			text += ", or use InsecureAnyAudience"
		}
		add(r.Option, "%s", text)
	}
	if k == introspected && r.Algorithms != nil {
		add("Algorithms", "%s checks no signature; remove it", r.Option)
	}
	if k == introspected && r.Type != "" {
		add("TokenType", "%s sees no header; remove it", r.Option)
	}
	algs, err := algorithms(r, k)
	wrong = append(wrong, err...)
	j.algs = algs
	if r.Skew < 0 || r.Skew > MaxSkew {
		add("ClockSkew", "%v is out of range; use 0s to 5m0s", r.Skew)
	}
	if r.MaxAge < 0 {
		add("MaxTokenAge", "%v is out of range; use 1s or more, or leave it out", r.MaxAge)
	}
	if r.MaxSize < minSize || r.MaxSize > maxSize {
		add("MaxTokenSize", "%d is out of range; use 8192 to 32768", r.MaxSize)
	}
	if strings.ContainsFunc(r.Type, func(c rune) bool { return c <= ' ' || c > '~' || c == '/' }) {
		add("TokenType", "%q is not a media type; write it without application/, as \"at+jwt\"", r.Type)
	}
	tenants, err := tenantIssuers(r)
	wrong = append(wrong, err...)
	j.tenants = tenants
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	return j, nil
}

var (
	asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	symmetric  = []string{"HS256", "HS384", "HS512"}
	byDefault  = []string{"RS256", "PS256", "ES256", "EdDSA"}
)

// algorithms checks the list of algorithms. One family only: a verifier that takes both would check an HMAC with a
// public key as its secret (CVE-2016-5431).
func algorithms(r Rules, k kind) (map[string]bool, []error) {
	names := r.Algorithms
	if names == nil {
		names = byDefault
		if k == secret {
			names = symmetric
		}
	}
	if len(names) == 0 {
		return nil, []error{&ConfigError{"Algorithms", "the list is empty; name an algorithm, or leave the option out"}}
	}
	var wrong []error
	add := func(format string, args ...any) {
		wrong = append(wrong, &ConfigError{"Algorithms", fmt.Sprintf(format, args...)})
	}
	set := make(map[string]bool, len(names))
	mixed := false
	for _, name := range names {
		hmac := slices.Contains(symmetric, name)
		switch {
		case strings.EqualFold(name, "none"):
			add("%q is not a signature; use RS256, PS256, ES256, EdDSA or another of RFC 7518", name)
		case !hmac && !slices.Contains(asymmetric, name):
			add("%q is not known; use RS256, PS256, ES256, EdDSA or another of RFC 7518", name)
		case set[name]:
			add("%q is given twice; remove one", name)
		case hmac != slices.Contains(symmetric, names[0]) && !mixed:
			mixed = true
			add("%q and %q are of different families; use two verifiers and AnyOf", names[0], name)
		case hmac && k == remoteKeys && !mixed:
			add("%q needs a shared secret, which %s does not fetch; use Secrets", name, r.Option)
		case !hmac && k == secret && !mixed:
			add("%q needs a public key; use StaticKeys, JWKS or OIDC", name)
		}
		set[name] = true
	}
	return set, wrong
}

// tenantIssuers fills the issuer's template in with each tenant.
func tenantIssuers(r Rules) (map[string]string, []error) {
	templated := strings.Contains(r.Issuer, tenantMark)
	if r.Tenants == nil {
		if templated {
			return nil, []error{&ConfigError{r.Option, fmt.Sprintf("issuer %q is a template; add Tenants with the tenants you serve", r.Issuer)}}
		}
		return nil, nil
	}
	if len(r.Tenants) == 0 {
		return nil, []error{&ConfigError{"Tenants", "the list is empty; name the tenants you serve"}}
	}
	if !templated {
		return nil, []error{&ConfigError{"Tenants", fmt.Sprintf("issuer %q has no {tenantid}; put it where the tenant stands", r.Issuer)}}
	}
	var wrong []error
	issuers := make(map[string]string, len(r.Tenants))
	for _, tenant := range r.Tenants {
		if !isTenant(tenant) {
			wrong = append(wrong, &ConfigError{"Tenants", strconv.Quote(tenant) + " is no tenant; write the id as it stands in iss"})
			continue
		}
		issuer := strings.ReplaceAll(r.Issuer, tenantMark, tenant)
		if _, twice := issuers[issuer]; twice {
			wrong = append(wrong, &ConfigError{"Tenants", strconv.Quote(tenant) + " is given twice; remove one"})
		}
		issuers[issuer] = tenant
	}
	return issuers, wrong
}

// Issuers are the values of iss that the rules accept: one, or one for each tenant.
func (r Rules) Issuers() []string {
	if len(r.Tenants) == 0 {
		return []string{r.Issuer}
	}
	issuers := make([]string, len(r.Tenants))
	for i, tenant := range r.Tenants {
		issuers[i] = strings.ReplaceAll(r.Issuer, tenantMark, tenant)
	}
	return issuers
}

// isTenant keeps out whatever would move the tenant elsewhere in the issuer's URL.
func isTenant(id string) bool {
	for i := range len(id) {
		c := id[i]
		if sextet[c] == notSextet && c != '.' {
			return false
		}
	}
	return id != "" && strings.Trim(id, ".") != ""
}

// CheckURL returns what is wrong with the URL of an issuer or of its keys, or nil.
func CheckURL(option, raw string) *ConfigError {
	wrong := func(what, fix string) *ConfigError {
		return &ConfigError{option, strconv.Quote(raw) + " " + what + "; write " + strconv.Quote(fix)}
	}
	whole := raw
	if !strings.Contains(raw, "://") {
		whole = "//" + raw // else a host with a port would be a scheme, one without a path
	}
	u, err := url.Parse(whole)
	if err != nil {
		return &ConfigError{option, strconv.Quote(raw) + " is not a URL; write one as \"https://id.example.com\""}
	}
	plain := url.URL{Scheme: "https", Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if u.Hostname() == "" {
		plain = url.URL{Scheme: "https", Host: "id.example.com"}
	}
	switch {
	case u.User != nil: // first, so that a password is never quoted
		return &ConfigError{option, "the URL for " + strconv.Quote(u.Host) + " has a user or password; write " + strconv.Quote(plain.String())}
	case u.Scheme != "https":
		return wrong("is not https", plain.String())
	case u.Hostname() == "":
		return wrong("has no host", plain.String())
	case u.RawQuery != "" || u.ForceQuery:
		return wrong("has a query", plain.String())
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return wrong("has a fragment", plain.String())
	}
	return nil
}
