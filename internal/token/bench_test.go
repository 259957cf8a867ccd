package token_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fullClaims make a token of a provider's usual size, 0.7 KB.
var fullClaims = map[string]any{
	"iat": 1, "nbf": 1, "jti": "5f0c2a9e-6d0c-4f0c-9b3e-2a9e6d0c4f0c", "client_id": "web", "scope": "openid profile ws:read ws:write",
	"sid": "f2a9e6d0c4f0c", "auth_time": 1, "acr": "mfa", "amr": []string{"pwd", "otp"}, "name": "Alice Example",
	"email": "alice@example.com", "roles": []string{"user", "editor"},
}

func BenchmarkHit(b *testing.B) {
	v := fixture(b, rules())
	texts := make([]string, 10_000)
	for i := range texts {
		texts[i] = fixtureSet()["ed"].token(with(fullClaims, map[string]any{"jti": strconv.Itoa(i)}))
		if got := judge(v, texts[i]); got != "ok" {
			b.Fatal(got)
		}
	}
	ctx := context.Background()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := v.Verify(ctx, texts[i]); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(texts) {
			i = 0
		}
	}
}

func BenchmarkHitOne(b *testing.B) {
	v := fixture(b, rules())
	text := fixtureSet()["rs"].token(fullClaims)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(ctx, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFirstSight(b *testing.B) {
	for _, name := range []string{"rs", "es", "ed"} {
		b.Run(fixtureSet()[name].alg, func(b *testing.B) {
			text := fixtureSet()[name].token(fullClaims)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				v := fixture(b, rules())                // a new cache
				judge(v, fixtureSet()[name].token(nil)) // headers known
				b.StartTimer()
				if got := judge(v, text); got != "ok" {
					b.Fatal(got)
				}
			}
		})
	}
}

// BenchmarkRawRS256 is what FirstSight of RS256 is measured by: hash and verify.
func BenchmarkRawRS256(b *testing.B) {
	text := fixtureSet()["rs"].token(fullClaims)
	cut := strings.LastIndexByte(text, '.')
	signature, err := base64.RawURLEncoding.DecodeString(text[cut+1:])
	if err != nil {
		b.Fatal(err)
	}
	key := &fixtureSet()["rs"].private.(*rsa.PrivateKey).PublicKey
	b.ReportAllocs()
	for b.Loop() {
		sum := sha256.Sum256([]byte(text[:cut]))
		if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRefused(b *testing.B) {
	unknown := pair{"none-such", "ES256", ecKey()}
	for name, text := range map[string]string{
		"unknown kid":      unknown.token(fullClaims),
		"forged, again":    fixtureSet()["stranger"].token(fullClaims),
		"expired":          fixtureSet()["es"].token(with(fullClaims, map[string]any{"exp": time.Now().Unix() - 60})),
		"alg none":         unknown.mint(`{"alg":"none"}`, claims(nil)),
		"dots":             string(make([]byte, 8000)),
		"over the size":    string(make([]byte, 1<<20)),
		"another alphabet": fixtureSet()["es"].token(fullClaims) + "=",
	} {
		b.Run(name, func(b *testing.B) {
			v := fixture(b, rules())
			b.ReportAllocs()
			for b.Loop() {
				if judge(v, text) == "ok" {
					b.Fatal("accepted")
				}
			}
		})
	}
}
