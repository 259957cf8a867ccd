package wssecuretest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
)

// Audience is the aud of every token of an Issuer, unless its claims say otherwise.
const Audience = "chat"

// DefaultIssuer is the URL of an Issuer made with an empty one. Nothing listens there.
const DefaultIssuer = "https://id.example.com"

// Absent, as the value of a claim or header member, leaves it out.
var Absent any = absent{}

type absent struct{}

// Issuer issues access tokens and publishes the keys that verify them, one for each algorithm: RS256 (kid "rs"), PS256
// ("ps"), ES256 ("es") and EdDSA ("ed"). The keys are the same for all issuers of a process until Rotate replaces one,
// because RSA keys take long to make. It can be used by several goroutines at once.
//
// It will also sign what no issuer should: an expired token, a header without kid, claims of the wrong type.
type Issuer struct {
	URL    string // iss of its tokens
	Secret []byte // signs HS256, HS384 and HS512; 64 random bytes

	mu      sync.Mutex
	keys    map[string]signingKey // by family: "RS", "PS", "ES", "Ed"
	rotated int
	fault   Fault
	fetches int
	active  map[string]map[string]any // what introspection says, by token
	answer  []byte                    // said instead
	asked   int
	done    chan struct{} // closed when the test ends: frees hanging requests
}

// NewIssuer makes an issuer whose tokens say iss url, DefaultIssuer when that is empty.
func NewIssuer(tb testing.TB, url string) *Issuer {
	tb.Helper()
	if url == "" {
		url = DefaultIssuer
	}
	i := &Issuer{URL: url, Secret: make([]byte, 64), keys: maps.Clone(processKeys()), done: make(chan struct{})}
	rand.Read(i.Secret)
	tb.Cleanup(func() { close(i.done) })
	return i
}

// Option makes a guard require this issuer's tokens, from the sources given or else from the Authorization header. It
// takes the keys as they are now: a later Rotate is not seen. To test fetching, serve Handler and use wssecure.JWKS.
func (i *Issuer) Option(from ...wssecure.Source) wssecure.Option {
	return wssecure.RequireToken(wssecure.StaticKeys(i.JWKS(), i.URL, Audience), from...)
}

// Token is a good token for sub, valid for an hour, signed with ES256.
func (i *Issuer) Token(sub string) string { return i.Sign("ES256", i.Claims(sub)) }

// Claims are those of a good token for sub: iss, aud, sub, iat now, exp in an hour and a jti of its own. Each map of more
// replaces or adds claims; Absent removes one.
func (i *Issuer) Claims(sub string, more ...map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{
		"iss": i.URL,
		"aud": Audience,
		"sub": sub,
		"iat": now.Unix(),
		"exp": now.Add(time.Hour).Unix(),
		"jti": rand.Text(),
	}
	for _, m := range more {
		maps.Copy(claims, m)
	}
	return claims
}

// Sign signs claims. alg is RS256, RS384, RS512, the same with PS, ES256, EdDSA, HS256, HS384 or HS512 (with Secret), or
// none (with an empty signature).
func (i *Issuer) Sign(alg string, claims map[string]any) string {
	return i.SignHeader(nil, claims, alg)
}

// SignHeader signs with members of the header replaced or added: they go out as they are, also when they contradict alg,
// which says how the token is really signed. Absent removes one.
func (i *Issuer) SignHeader(header, claims map[string]any, alg string) string {
	all := map[string]any{"alg": alg, "typ": "JWT"}
	if kid := i.KeyID(alg); kid != "" {
		all["kid"] = kid
	}
	maps.Copy(all, header)
	return i.SignRaw(encode(all), encode(claims), alg)
}

// SignRaw signs header and payload as they are: with duplicate members, trailing data or no JSON at all.
func (i *Issuer) SignRaw(header, payload []byte, alg string) string {
	input := segment(header) + "." + segment(payload)
	return input + "." + segment(i.signature(alg, []byte(input)))
}

// SignSecret signs with an HMAC secret of the caller's: for wssecure.Secrets, and for the attack that takes a public key
// for a secret.
func (i *Issuer) SignSecret(alg string, secret []byte, header, claims map[string]any) string {
	all := map[string]any{"alg": alg, "typ": "JWT"}
	maps.Copy(all, header)
	input := segment(encode(all)) + "." + segment(encode(claims))
	return input + "." + segment(hmacOf(alg, secret, []byte(input)))
}

// KeyID is the kid of the key that signs alg now; "" for HMAC and none.
func (i *Issuer) KeyID(alg string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[family(alg)].id
}

// Rotate replaces the key of alg by a new one under a new kid, which it returns. The old key leaves the JWKS at once.
func (i *Issuer) Rotate(alg string) string {
	fam := family(alg)
	fresh := newKey(fam)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.rotated++
	fresh.id = fmt.Sprintf("%s-%d", i.keys[fam].id, i.rotated)
	i.keys[fam] = fresh
	return fresh.id
}

// JWKS is the set of the public keys in use (RFC 7517).
func (i *Issuer) JWKS() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	set := []map[string]any{}
	for _, fam := range families {
		set = append(set, i.keys[fam].public())
	}
	return encode(map[string]any{"keys": set})
}

// encode panics on what JSON cannot hold: that is a mistake in the test, and not always on the test's own goroutine.
func encode(members map[string]any) []byte {
	kept := maps.Clone(members)
	maps.DeleteFunc(kept, func(_ string, v any) bool { return v == Absent })
	b, err := json.Marshal(kept)
	if err != nil {
		panic("wssecuretest: " + err.Error())
	}
	return b
}

func segment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
