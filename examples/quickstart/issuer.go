package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"time"
)

// issuer stands in for your identity provider: it signs access tokens and publishes the key that verifies them. In your
// own server these lines shrink to wssecure.OIDC("https://id.example.com", "chat").
type issuer struct {
	url string
	kid string
	key ed25519.PrivateKey
}

const audience = "chat"

// scopeEvents is what the event feed asks for on top of a valid token.
const scopeEvents = "events:read"

func newIssuer(url string) (*issuer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return &issuer{url: url, kid: rand.Text()[:8], key: key}, nil
}

// forger signs like this issuer, under the same kid, but with a key of its own: what an attacker without the key can do.
func (i *issuer) forger() (*issuer, error) {
	f, err := newIssuer(i.url)
	if err != nil {
		return nil, err
	}
	f.kid = i.kid
	return f, nil
}

// jwks is the public half, as a provider serves it under jwks_uri (RFC 7517, RFC 8037).
func (i *issuer) jwks() []byte {
	public := i.key.Public().(ed25519.PublicKey)
	return encode(map[string]any{"keys": []any{map[string]string{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": i.kid,
		"x": base64.RawURLEncoding.EncodeToString(public),
	}}})
}

// token is a signed JWT access token (RFC 9068) for subject. A ttl in the past makes an expired one.
func (i *issuer) token(subject, scopes string, ttl time.Duration) string {
	now := time.Now()
	header := encode(map[string]string{"alg": "EdDSA", "typ": "at+jwt", "kid": i.kid})
	claims := encode(map[string]any{
		"iss": i.url, "aud": audience, "sub": subject, "client_id": "quickstart", "scope": scopes,
		"iat": now.Add(min(ttl, 0)).Unix(), "exp": now.Add(ttl).Unix(), "jti": rand.Text(),
	})
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.key, []byte(signed)))
}

// encode is for values that always have a JSON form: maps and structs of strings and numbers.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// guestName is what a visitor is called until there is an account system: "calm-heron-27".
func guestName() string {
	moods := []string{"calm", "bright", "brave", "gentle", "quick", "quiet", "sunny", "wise"}
	birds := []string{"heron", "wren", "robin", "plover", "swift", "finch", "avocet", "kestrel"}
	pick := func(from []string) string { return from[random(len(from))] }
	return pick(moods) + "-" + pick(birds) + "-" + big.NewInt(int64(10+random(90))).String()
}

func random(n int) int {
	v, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // crypto/rand never fails on a supported system
	}
	return int(v.Int64())
}
