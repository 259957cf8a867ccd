package token

import (
	"context"
	"errors"
	"time"

	"github.com/wssecure/wssecure/internal/strictjson"
)

// A judge is Rules prepared. It knows nothing of where the keys come from.
type judge struct {
	rules   Rules
	algs    map[string]bool
	tenants map[string]string // full issuer to tenant; nil without Tenants
	atJWT   bool              // the claims RFC 9068 requires are asked for
	anyKid  bool              // kid selects nothing: secrets have no names
	asked   bool              // the claims are an introspection's answer, not a token's
	logout  *logoutRules      // nil but in VerifyLogout
}

// A source gives whole key sets.
type source interface {
	// current returns the set to judge by at now, or nil. It never waits.
	current(now time.Time) *keySet
	// load returns the set, waiting a bounded time for a first one.
	load(ctx context.Context) (*keySet, *Error)
	// fetchable reports, without a promise, whether await may find kid.
	fetchable(kid string) bool
	// await returns a set that may have kid, after at most one fetch, or nil.
	await(ctx context.Context, kid string) (*keySet, error)
	ready() error
	close()
}

// fixed is a source that never changes.
type fixed struct{ keys *keySet }

func (f fixed) current(time.Time) *keySet                      { return f.keys }
func (f fixed) load(context.Context) (*keySet, *Error)         { return f.keys, nil }
func (f fixed) fetchable(string) bool                          { return false }
func (f fixed) await(context.Context, string) (*keySet, error) { return nil, nil }
func (f fixed) ready() error                                   { return nil }
func (f fixed) close()                                         {}

var (
	errForged     = &Error{Fault: Forged, Err: errors.New("the signature does not verify, as before")}
	errAgain      = &Error{Fault: Forged, Again: true, Err: errors.New("the signature does not verify, as within the last minute")}
	errNoKid      = &Error{Fault: Invalid, Err: errors.New("kid is missing, and there is not one key alone")}
	errUnknownKid = &Error{Fault: Invalid, Err: errors.New("kid is unknown")}
	errKeyAlg     = &Error{Fault: Invalid, Err: errors.New("alg is not one of the key's")}
)

// A verdict is what judging found out about a token whose signature was looked at.
type verdict struct {
	claims *Claims
	key    *key // nil: forged
	set    *keySet
	ends   time.Time // when the token ceases to be good
	kid    string    // that chose the key, if one did
}

// judge decides about a token that no cache knows. The order is by price: shape, header and key look-up, then the
// claims, the signature last. So a token both expired and forged is called expired: it costs us nothing, and the peer
// sees no difference.
func (j *judge) judge(ctx context.Context, text string, keys source, set *keySet, now time.Time) (verdict, *Error) {
	c, fault := split(text)
	if fault != nil {
		return verdict{}, fault
	}
	h, fault := j.headerOf(c, set)
	if fault != nil {
		return verdict{}, fault
	}
	if set == nil {
		if set, fault = keys.load(ctx); fault != nil {
			return verdict{}, fault
		}
		now = time.Now()
	}
	candidates, fault := j.candidates(set, h)
	unknown := fault == errUnknownKid
	if unknown && !keys.fetchable(h.kid) {
		return verdict{}, unknownKid(h)
	}
	if fault != nil && !unknown {
		return verdict{}, fault
	}
	signed, payload, sign, fault := c.open()
	if fault != nil {
		return verdict{}, fault
	}
	all, err := strictjson.Object(payload, jsonLimits)
	if err != nil {
		return verdict{}, refuse(Invalid, "payload: ", err)
	}
	claims, ends, fault := j.claims(all, now)
	if fault != nil {
		return verdict{}, fault
	}
	if unknown {
		// Only now: a token not in order but for its key is not worth a fetch.
		if set, candidates, fault = j.afterFetch(ctx, keys, h); fault != nil {
			return verdict{}, fault
		}
	}
	v := verdict{claims: claims, set: set, ends: ends}
	if !j.anyKid {
		v.kid = h.kid
	}
	if v.key = signer(candidates, h.alg, signed, sign); v.key != nil {
		claims.Content = content(h.decoded, payload)
		if j.logout == nil {
			set.accept(h)
		}
	}
	return v, nil
}

// headerOf decodes the header, unless one equal to it has been accepted before: of an access token, since the typ of a
// logout token is another.
func (j *judge) headerOf(c compact, set *keySet) (*header, *Error) {
	if set != nil && j.logout == nil {
		if h := set.accepted(c.head); h != nil {
			return h, nil
		}
	}
	return j.header(c.head)
}

// candidates returns the keys a token with this header may be signed with: one, or the few secrets that have no names.
func (j *judge) candidates(set *keySet, h *header) ([]*key, *Error) {
	keys := set.keys
	if !j.anyKid {
		switch {
		case h.hasKid && set.byID[h.kid] == nil:
			return nil, errUnknownKid
		case h.hasKid:
			keys = []*key{set.byID[h.kid]}
		case len(keys) != 1:
			return nil, errNoKid
		}
	}
	for _, k := range keys {
		if k.verifier[h.alg] != nil {
			return keys, nil
		}
	}
	return nil, errKeyAlg
}

// afterFetch looks for the header's key again when the issuer has been asked for it.
func (j *judge) afterFetch(ctx context.Context, keys source, h *header) (*keySet, []*key, *Error) {
	set, err := keys.await(ctx, h.kid)
	if err != nil {
		return nil, nil, refuse(Unavailable, "waiting for the key: ", err)
	}
	if set == nil {
		return nil, nil, unknownKid(h)
	}
	candidates, fault := j.candidates(set, h)
	if fault == errUnknownKid {
		fault = unknownKid(h)
	}
	return set, candidates, fault
}

func unknownKid(h *header) *Error { return show(Invalid, "kid is unknown: ", h.kid) }

// signer returns the key whose signature it is, or nil. Whatever the library finds wrong with the signature, its
// length, its range or its value, is the same to us.
func signer(candidates []*key, alg string, signed, sign []byte) *key {
	for _, k := range candidates {
		if v := k.verifier[alg]; v != nil && v.Verify(signed, sign, k.raw) == nil {
			return k
		}
	}
	return nil
}
