package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash"
	"maps"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

const (
	issuer   = "https://id.example.com"
	audience = "chat"
)

// A pair signs under one algorithm and has a public half for a key set.
type pair struct {
	kid, alg string
	private  any
}

var (
	rsaKey     = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSA   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey      = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	strangeEC  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey      = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return mustOf(k, err) })
	fixtureSet = sync.OnceValue(func() map[string]pair {
		return map[string]pair{
			"rs":       {"rs", "RS256", rsaKey()},
			"ps":       {"ps", "PS256", otherRSA()},
			"es":       {"es", "ES256", ecKey()},
			"ed":       {"ed", "EdDSA", edKey()},
			"free":     {"free", "PS256", rsaKey()},
			"stranger": {"es", "ES256", strangeEC()},
		}
	})
)

func must[T any](v T, err error) T { return mustOf(v, err) }

func mustOf[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign returns the signature of input as JWS has it.
func (p pair) sign(input string) []byte {
	h, digest := digestOf(p.alg, input)
	switch k := p.private.(type) {
	case *rsa.PrivateKey:
		if p.alg[0] == 'P' {
			return must(rsa.SignPSS(rand.Reader, k, h, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		}
		return must(rsa.SignPKCS1v15(nil, k, h, digest))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			panic(err)
		}
		return rs(k.Curve, r, s)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(input))
	case []byte:
		mac := hmac.New(map[crypto.Hash]func() hash.Hash{crypto.SHA256: sha256.New, crypto.SHA384: sha512.New384, crypto.SHA512: sha512.New}[h], k)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
	panic("no key")
}

func rs(c elliptic.Curve, r, s *big.Int) []byte {
	size := (c.Params().BitSize + 7) / 8
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
}

func digestOf(alg, input string) (crypto.Hash, []byte) {
	h := crypto.SHA256
	switch {
	case strings.HasSuffix(alg, "384"):
		h = crypto.SHA384
	case strings.HasSuffix(alg, "512"):
		h = crypto.SHA512
	}
	d := h.New()
	d.Write([]byte(input))
	return h, d.Sum(nil)
}

// mint makes a token of header and payload as they are, true JSON or not.
func (p pair) mint(header, payload string) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(p.sign(input))
}

// token makes a token with a plain header and the plain claims, changed by more.
func (p pair) token(more map[string]any) string {
	return p.mint(p.header(), claims(more))
}

func (p pair) header() string {
	if p.kid == "" {
		return `{"alg":"` + p.alg + `"}`
	}
	return `{"alg":"` + p.alg + `","kid":"` + p.kid + `"}`
}

// jwk returns the public half for a key set.
func (p pair) jwk() map[string]any {
	m := map[string]any{"kid": p.kid, "alg": p.alg, "use": "sig"}
	if p.kid == "" {
		delete(m, "kid")
	}
	switch k := p.private.(type) {
	case *rsa.PrivateKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PrivateKey:
		point := must(k.PublicKey.Bytes())[1:]
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Params().Name, b64(point[:len(point)/2]), b64(point[len(point)/2:])
	case ed25519.PrivateKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k.Public().(ed25519.PublicKey))
	case []byte:
		m["kty"], m["k"] = "oct", b64(k)
	}
	return m
}

// with returns a copy of a JWK with other members; nil removes one.
func with(m map[string]any, more map[string]any) map[string]any {
	m = maps.Clone(m)
	for name, value := range more {
		if value == nil {
			delete(m, name)
			continue
		}
		m[name] = value
	}
	return m
}

func jwks(keys ...map[string]any) []byte {
	return must(json.Marshal(map[string]any{"keys": keys}))
}

// claims returns the plain payload, changed by more; nil removes a claim.
func claims(more map[string]any) string {
	plain := map[string]any{"iss": issuer, "aud": audience, "sub": "alice", "exp": time.Now().Unix() + 600}
	return string(must(json.Marshal(with(plain, more))))
}

func rules() token.Rules {
	return token.Rules{Option: "StaticKeys", Issuer: issuer, Audience: audience, Skew: 30 * time.Second, MaxSize: 8192}
}

func same(c *token.Claims) *token.Claims { return c }

type verifier = token.Verifier[*token.Claims]

// fixture returns a verifier of the key set that most rows are judged by.
func fixture(t testing.TB, r token.Rules) *verifier {
	t.Helper()
	set := fixtureSet()
	free := with(set["rs"].jwk(), map[string]any{"kid": "free", "alg": nil})
	v, err := token.NewStatic(jwks(set["rs"].jwk(), set["ps"].jwk(), set["es"].jwk(), set["ed"].jwk(), free), r, same)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// answer puts the outcome of Verify in one word.
func answer(err error) string {
	if err == nil {
		return "ok"
	}
	var e *token.Error
	if !errors.As(err, &e) {
		return "not a *token.Error"
	}
	return e.Fault.String()
}

func judge(v *verifier, text string) string {
	_, err := v.Verify(context.Background(), text)
	return answer(err)
}

// A row is a line of testdata/tokens.txt.
type row struct {
	name, rules, answer, key string
	header, payload          string
}

func readRows(t testing.TB, file string) []row {
	t.Helper()
	var rows []row
	for line := range strings.Lines(file) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		part := strings.Split(line, " | ")
		if len(part) != 6 {
			t.Fatalf("row with %d parts: %s", len(part), line)
		}
		rows = append(rows, row{part[0], part[1], part[2], part[3], part[4], part[5]})
	}
	return rows
}

// token makes the token of a row at the present time.
func (r row) token() string {
	p := fixtureSet()[r.key]
	return p.mint(r.texts(p.header()))
}

// texts fills in the header and payload of a row.
func (r row) texts(plain string) (header, payload string) {
	whole := strings.NewReplacer("@h", strings.TrimSuffix(plain, "}"), "@c", "{@i,@a,@s,@e")
	member := strings.NewReplacer(
		"@i", `"iss":"`+issuer+`"`, "@a", `"aud":"`+audience+`"`, "@s", `"sub":"alice"`, "@e", `"exp":NOW+600`,
	)
	return whole.Replace(r.header), times(member.Replace(whole.Replace(r.payload)))
}

// times writes numbers for NOW, NOW+600, NOW-30.
func times(s string) string {
	for {
		before, after, found := strings.Cut(s, "NOW")
		if !found {
			return s
		}
		end := 0
		for end < len(after) && (end == 0 && strings.ContainsRune("+-", rune(after[0])) || '0' <= after[end] && after[end] <= '9') {
			end++
		}
		offset, _ := strconv.ParseInt(after[:end], 10, 64)
		s = before + strconv.FormatInt(time.Now().Unix()+offset, 10) + after[end:]
	}
}

func rulesNamed(t testing.TB, name string) token.Rules {
	t.Helper()
	r := rules()
	switch name {
	case "default":
	case "noskew":
		r.Skew = 0
	case "anyaud":
		r.AnyAudience, r.Audience = true, ""
	case "id":
		r.AllowID = true
	case "at":
		r.Type = "at+jwt"
	case "age":
		r.MaxAge = time.Hour
	case "cid":
		r.AudienceClaim = "client_id"
	case "azp":
		r.AudienceClaim = "azp"
	case "tenant":
		r.Issuer, r.Tenants = "https://login.example/{tenantid}/v2.0", []string{"a1", "a2"}
	default:
		t.Fatalf("no rules named %q", name)
	}
	return r
}
