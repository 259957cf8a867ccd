package wssecure_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	catalogue "github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A shown token is one as a careless verifier sees it.
type shown struct {
	raw            string
	parts          []string
	header, claims map[string]any
	payload        []byte
	good           wssecure.Verifier
	keys           [][]byte // public ones, in every form
}

func takenApart(raw string) shown {
	s := shown{raw: raw, parts: strings.Split(raw, ".")}
	if len(s.parts) > 1 {
		json.Unmarshal(unsegment(s.parts[0]), &s.header)
		s.payload = unsegment(s.parts[1])
		json.NewDecoder(bytes.NewReader(s.payload)).Decode(&s.claims)
	}
	return s
}

func unsegment(s string) []byte {
	b, _ := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	return b
}

// hmacIs reports whether the token is HS256 under that secret.
func (s shown) hmacIs(secret []byte) bool {
	if s.header["alg"] != "HS256" || len(s.parts) != 3 {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(s.parts[0] + "." + s.parts[1]))
	return hmac.Equal(mac.Sum(nil), unsegment(s.parts[2]))
}

// ecdsaIs reports whether the token is ES256 under that key.
func (s shown) ecdsaIs(x, y []byte) bool {
	sum, sig := sha256.Sum256([]byte(s.parts[0]+"."+s.parts[1])), unsegment(s.parts[2])
	if len(sig) != 64 || len(x) != 32 || len(y) != 32 {
		return false
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	return err == nil && ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}

func (s shown) number(claim string) float64 {
	n, _ := s.claims[claim].(float64)
	return n
}

func (s shown) has(claim string) bool {
	_, ok := s.claims[claim]
	return ok
}

// trusting is a fixture whose verifier also takes what a bug lets in.
func trusting(bug func(shown) bool) func(*testing.T) *catalogue.Target {
	return verifying(func(s shown) error {
		if bug(s) {
			return nil
		}
		_, err := s.good.Verify(context.Background(), s.raw)
		return err
	})
}

func verifying(judge func(shown) error) func(*testing.T) *catalogue.Target {
	return func(t *testing.T) *catalogue.Target {
		issuer := wssecuretest.NewIssuer(t, "")
		good := wssecure.StaticKeys(issuer.JWKS(), issuer.URL, wssecuretest.Audience)
		var public [][]byte
		s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
			wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(wssecure.VerifierFunc(
				func(_ context.Context, raw string) (*wssecure.Identity, error) {
					s := takenApart(raw)
					s.good, s.keys = good, public
					if err := judge(s); err != nil {
						return nil, err
					}
					return &wssecure.Identity{Issuer: issuer.URL, Subject: "somebody"}, nil
				}), wssecure.FromBearer()),
		}})
		s.Issuer = issuer
		target := targetOf(s)
		public = target.PublicKeys
		return target
	}
}

func tokenMutants() []mutant {
	now := func() float64 { return float64(time.Now().Unix()) }
	remembering := func(key func(shown) string) func(*testing.T) *catalogue.Target {
		var mu sync.Mutex
		seen := map[string]bool{}
		return verifying(func(s shown) error {
			mu.Lock()
			defer mu.Unlock()
			if len(s.parts) == 3 && seen[key(s)] {
				return nil
			}
			_, err := s.good.Verify(context.Background(), s.raw)
			seen[key(s)] = err == nil
			return err
		})
	}
	mending := func(mend func(s shown) string) func(*testing.T) *catalogue.Target {
		return trusting(func(s shown) bool {
			_, err := s.good.Verify(context.Background(), mend(s))
			return err == nil
		})
	}
	return []mutant{
		{"any token", []string{"token-garbage", "token-encrypted", "token-signature"}, trusting(func(shown) bool { return true })},
		{"alg none", []string{"token-none"}, trusting(func(s shown) bool { alg, _ := s.header["alg"].(string); return strings.EqualFold(alg, "none") })},
		{"no signature, nothing to verify", []string{"token-unsigned"}, trusting(func(s shown) bool { return len(s.parts) == 2 || len(s.parts) == 3 && s.parts[2] == "" })},
		{"tokens known by their payload", []string{"token-signature"}, remembering(func(s shown) string { return s.parts[0] + s.parts[1] })},
		{"tokens known by their signature", []string{"token-payload", "token-later"}, remembering(func(s shown) string { return s.parts[2] })},
		{"ECDSA without a look at zero", []string{"token-zero"}, trusting(func(s shown) bool { return len(s.parts) == 3 && bytes.Equal(unsegment(s.parts[2]), make([]byte, 64)) })},
		{"the key in the token", []string{"token-own-key"}, trusting(func(s shown) bool {
			key, _ := s.header["jwk"].(map[string]any)
			x, _ := key["x"].(string)
			y, _ := key["y"].(string)
			return key != nil && s.ecdsaIs(unsegment(x), unsegment(y))
		})},
		{"the certificate in the token", []string{"token-own-certificate"}, trusting(func(s shown) bool {
			chain, _ := s.header["x5c"].([]any)
			if len(chain) == 0 {
				return false
			}
			der, _ := base64.StdEncoding.DecodeString(chain[0].(string))
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return false
			}
			point, err := c.PublicKey.(*ecdsa.PublicKey).Bytes()
			return err == nil && s.ecdsaIs(point[1:33], point[33:])
		})},
		{"the key in the file of that name", []string{"token-kid-path"}, trusting(func(s shown) bool {
			kid, _ := s.header["kid"].(string)
			return strings.HasSuffix(kid, "/dev/null") && s.hmacIs(nil)
		})},
		{"the key by a query", []string{"token-kid-query"}, trusting(func(s shown) bool {
			kid, _ := s.header["kid"].(string)
			_, injected, _ := strings.Cut(kid, "SELECT '")
			key, _, _ := strings.Cut(injected, "'")
			return key != "" && s.hmacIs([]byte(key))
		})},
		{"a secret from the tutorial", []string{"token-weak-secret"}, trusting(func(s shown) bool { return s.hmacIs([]byte("your-256-bit-secret")) })},
		{"one key for all algorithms", []string{"token-confusion"}, trusting(func(s shown) bool { return slices.ContainsFunc(s.keys, s.hmacIs) })},
		{"the first three segments", []string{"token-segments"}, mending(func(s shown) string { return strings.Join(s.parts[:min(3, len(s.parts))], ".") })},
		{"base64 as it comes", []string{"token-padded"}, mending(func(s shown) string { return strings.ReplaceAll(s.raw, "=", "") })},
		{"too long to be verified", []string{"token-long"}, holedKnowing(func(r *http.Request, good string) {
			if len(r.Header.Get("Authorization")) > 8<<10 {
				r.Header.Set("Authorization", "Bearer "+good)
			}
		})},
		{"keys from anywhere", []string{"token-key-url"}, trusting(func(s shown) bool {
			jku, _ := s.header["jku"].(string)
			if u, err := url.Parse(jku); err == nil && u.Host != "" {
				if c, err := net.DialTimeout("tcp", u.Host, time.Second); err == nil {
					c.Close()
				}
			}
			return false
		})},
		{"an answer for each fault", []string{"token-oracle"}, verifying(func(s shown) error {
			if s.header["alg"] == "none" {
				return wssecure.ReasonForbidden
			}
			_, err := s.good.Verify(context.Background(), s.raw)
			return err
		})},
		{"expiry is the client's", []string{"token-expired"}, trusting(func(s shown) bool { return s.has("exp") && s.number("exp") > 0 && s.number("exp") < now() })},
		{"no exp, no end", []string{"token-endless"}, trusting(func(s shown) bool { return s.claims != nil && !s.has("exp") })},
		{"exp of any type", []string{"token-exp-text", "token-exp-null"}, trusting(func(s shown) bool { _, number := s.claims["exp"].(float64); return s.has("exp") && !number })},
		{"no look at nbf", []string{"token-not-yet"}, trusting(func(s shown) bool { return s.number("nbf") > now() })},
		{"any issuer", []string{"token-issuer"}, trusting(func(s shown) bool { return s.claims["iss"] == "https://evil.example" })},
		{"no issuer", []string{"token-issuer-none"}, trusting(func(s shown) bool { return s.claims != nil && !s.has("iss") })},
		{"any audience", []string{"token-audience", "token-audience-none", "token-audience-empty"}, trusting(func(s shown) bool { return s.claims != nil && s.claims["aud"] != wssecuretest.Audience })},
		{"no audience is every audience", []string{"token-audience-none"}, trusting(func(s shown) bool { return s.claims != nil && !s.has("aud") })},
		{"nobody", []string{"token-subject-none"}, trusting(func(s shown) bool { return s.claims != nil && !s.has("sub") })},
		{"crit is not read", []string{"token-crit", "token-b64"}, trusting(func(s shown) bool { return s.header["crit"] != nil })},
		{"the key's algorithm, whatever alg says", []string{"token-alg-other"}, trusting(func(s shown) bool { return s.header["alg"] == "HS512" })},
		{"tokens of any type", []string{"token-type", "token-logout"}, trusting(func(s shown) bool { return s.header["typ"] == "logout+jwt" || s.has("events") })},
		{"encoding/json", []string{"token-duplicate", "token-duplicate-last", "token-trailing"}, trusting(func(s shown) bool { return bytes.Count(s.payload, []byte(`"sub"`)) > 1 })},
	}
}
