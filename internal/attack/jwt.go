package attack

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
)

// members are those of a token's header or payload to replace; absent removes one.
type members map[string]any

// absent, as a member's value, leaves it out.
var absent any = struct{}{}

// A jwt is a good token taken apart: what an attacker sees who has one.
type jwt struct {
	header, claims members
	parts          [3]string
}

func (t *Target) jwt() jwt {
	var j jwt
	parts := strings.Split(t.token(), ".")
	copy(j.parts[:], parts)
	j.header, j.claims = decode(j.parts[0]), decode(j.parts[1])
	return j
}

func decode(segment string) members {
	b, _ := base64.RawURLEncoding.DecodeString(segment)
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber() // a date must come back as it was
	m := members{}
	d.Decode(&m)
	return m
}

// with is m with members replaced.
func (m members) with(more members) members {
	all := maps.Clone(m)
	if all == nil {
		all = members{}
	}
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == absent })
	return all
}

func (m members) bytes() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // ours
	}
	return b
}

func (m members) segment() string { return base64url(m.bytes()) }

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signed is a good token with members replaced, signed with the good key.
func (t *Target) signed(header, claims members) (string, error) {
	j := t.jwt()
	return t.Sign(j.header.with(header).bytes(), j.claims.with(claims).bytes())
}

// keyed signs with a secret of the attacker's choice.
func keyed(header, claims members, secret []byte) string {
	input := header.segment() + "." + claims.segment()
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + base64url(mac.Sum(nil))
}

// An ownKey is the attacker's.
type ownKey struct{ private *ecdsa.PrivateKey }

func newOwnKey() ownKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return ownKey{k}
}

func (k ownKey) jwk() map[string]string {
	point, err := k.private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err)
	}
	return map[string]string{"kty": "EC", "crv": "P-256", "x": base64url(point[1:33]), "y": base64url(point[33:]), "alg": "ES256", "use": "sig", "kid": "own"}
}

func (k ownKey) sign(header, claims members) string {
	input := header.segment() + "." + claims.segment()
	sum := crypto.SHA256.New()
	sum.Write([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum.Sum(nil))
	if err != nil {
		panic(err)
	}
	return input + "." + base64url(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}
