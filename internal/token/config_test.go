package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

// configErrors returns the lines of a constructor's error, each of which must be a *ConfigError.
func configErrors(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	list := []error{err}
	if joined, is := err.(interface{ Unwrap() []error }); is {
		list = nil
		for _, inner := range joined.Unwrap() {
			if deeper, is := inner.(interface{ Unwrap() []error }); is {
				list = append(list, deeper.Unwrap()...)
				continue
			}
			list = append(list, inner)
		}
	}
	var lines []string
	for _, err := range list {
		var c *token.ConfigError
		if !errors.As(err, &c) {
			t.Errorf("not a *ConfigError: %v", err)
			continue
		}
		lines = append(lines, c.Option+": "+c.Text)
	}
	return lines
}

func TestRuleErrors(t *testing.T) {
	change := func(f func(*token.Rules)) token.Rules {
		r := rules()
		f(&r)
		return r
	}
	for _, row := range []struct {
		name  string
		rules token.Rules
		want  []string
	}{
		{"none", rules(), nil},
		{"J-44 empty issuer", change(func(r *token.Rules) { r.Issuer = "" }), []string{"StaticKeys: the issuer is empty; write the iss your tokens carry"}},
		{"G-24", change(func(r *token.Rules) { r.Option, r.Audience = "OIDC", "" }), []string{"OIDC: the audience is empty; write the one your tokens carry"}},
		{"J-44 Algorithms empty", change(func(r *token.Rules) { r.Algorithms = []string{} }), []string{"Algorithms: the list is empty; name an algorithm, or leave the option out"}},
		{"G-27", change(func(r *token.Rules) { r.Algorithms = []string{"ES256", "none"} }), []string{`Algorithms: "none" is not a signature; use RS256, PS256, ES256, EdDSA or another of RFC 7518`}},
		{"J-44 nOnE", change(func(r *token.Rules) { r.Algorithms = []string{"nOnE"} }), []string{`Algorithms: "nOnE" is not a signature; use RS256, PS256, ES256, EdDSA or another of RFC 7518`}},
		{"J-44 unknown", change(func(r *token.Rules) { r.Algorithms = []string{"ES256K"} }), []string{`Algorithms: "ES256K" is not known; use RS256, PS256, ES256, EdDSA or another of RFC 7518`}},
		{"G-28", change(func(r *token.Rules) { r.Algorithms = []string{"HS256", "RS256"} }), []string{`Algorithms: "HS256" and "RS256" are of different families; use two verifiers and AnyOf`}},
		{"J-44 twice", change(func(r *token.Rules) { r.Algorithms = []string{"ES256", "ES256"} }), []string{`Algorithms: "ES256" is given twice; remove one`}},
		{"G-29", change(func(r *token.Rules) { r.Skew = 10 * time.Minute }), []string{"ClockSkew: 10m0s is out of range; use 0s to 5m0s"}},
		{"J-45 skew below 0", change(func(r *token.Rules) { r.Skew = -1 }), []string{"ClockSkew: -1ns is out of range; use 0s to 5m0s"}},
		{"J-45 age below 0", change(func(r *token.Rules) { r.MaxAge = -time.Second }), []string{"MaxTokenAge: -1s is out of range; use 1s or more, or leave it out"}},
		{"G-83", change(func(r *token.Rules) { r.MaxSize = 65536 }), []string{"MaxTokenSize: 65536 is out of range; use 8192 to 32768"}},
		{"A-14 size 0", change(func(r *token.Rules) { r.MaxSize = 0 }), []string{"MaxTokenSize: 0 is out of range; use 8192 to 32768"}},
		{"A-14 size over 32 KiB", change(func(r *token.Rules) { r.MaxSize = 32769 }), []string{"MaxTokenSize: 32769 is out of range; use 8192 to 32768"}},
		{"TokenType", change(func(r *token.Rules) { r.Type = "application/at+jwt" }), []string{`TokenType: "application/at+jwt" is not a media type; write it without application/, as "at+jwt"`}},
		{"G-88", change(func(r *token.Rules) { r.Issuer, r.Tenants = "https://l.example/{tenantid}", []string{} }), []string{"Tenants: the list is empty; name the tenants you serve"}},
		{"J-49 no place for them", change(func(r *token.Rules) { r.Tenants = []string{"a"} }), []string{`Tenants: issuer "https://id.example.com" has no {tenantid}; put it where the tenant stands`}},
		{"J-49 the reverse", change(func(r *token.Rules) { r.Issuer = "https://l.example/{tenantid}" }), []string{`StaticKeys: issuer "https://l.example/{tenantid}" is a template; add Tenants with the tenants you serve`}},
		{"J-49 ids", change(func(r *token.Rules) {
			r.Issuer, r.Tenants = "https://l.example/{tenantid}", []string{"a", "a/b", "", "..", "a"}
		}), []string{
			`Tenants: "a/b" is no tenant; write the id as it stands in iss`,
			`Tenants: "" is no tenant; write the id as it stands in iss`,
			`Tenants: ".." is no tenant; write the id as it stands in iss`,
			`Tenants: "a" is given twice; remove one`,
		}},
		{"all at once", token.Rules{Option: "StaticKeys", Skew: -time.Second}, []string{
			"StaticKeys: the issuer is empty; write the iss your tokens carry",
			"StaticKeys: the audience is empty; write the one your tokens carry",
			"ClockSkew: -1s is out of range; use 0s to 5m0s",
			"MaxTokenSize: 0 is out of range; use 8192 to 32768",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			v, err := token.NewStatic(jwks(fixtureSet()["es"].jwk()), row.rules, same)
			if got := configErrors(t, err); !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
			if (v == nil) != (row.want != nil) {
				t.Errorf("verifier %v beside error %v", v, err)
			}
		})
	}
}

func TestRemoteErrors(t *testing.T) {
	for raw, want := range map[string]string{
		"http://id.example.com":          `OIDC: "http://id.example.com" is not https; write "https://id.example.com"`,
		"https://u:p@id.example.com/k":   `OIDC: the URL for "id.example.com" has a user or password; write "https://id.example.com/k"`,
		"https://id.example.com/k?a=b":   `OIDC: "https://id.example.com/k?a=b" has a query; write "https://id.example.com/k"`,
		"https://id.example.com/k?":      `OIDC: "https://id.example.com/k?" has a query; write "https://id.example.com/k"`,
		"https://id.example.com/k#frag":  `OIDC: "https://id.example.com/k#frag" has a fragment; write "https://id.example.com/k"`,
		"https://id.example.com/k#":      `OIDC: "https://id.example.com/k#" has a fragment; write "https://id.example.com/k"`,
		"https:///k":                     `OIDC: "https:///k" has no host; write "https://id.example.com"`,
		"":                               `OIDC: "" is not https; write "https://id.example.com"`,
		"https://id.example.com:port/":   `OIDC: "https://id.example.com:port/" is not a URL; write one as "https://id.example.com"`,
		"id.example.com/keys":            `OIDC: "id.example.com/keys" is not https; write "https://id.example.com/keys"`,
		"id.example.com:8443/keys":       `OIDC: "id.example.com:8443/keys" is not https; write "https://id.example.com:8443/keys"`,
		"u:p@id.example.com/keys":        `OIDC: the URL for "id.example.com" has a user or password; write "https://id.example.com/keys"`,
		"127.0.0.1:8443/keys":            `OIDC: "127.0.0.1:8443/keys" is not https; write "https://127.0.0.1:8443/keys"`,
		"file:///etc/keys.json":          `OIDC: "file:///etc/keys.json" is not https; write "https://id.example.com"`,
		"https://id.example.com/.jwks":   "",
		"https://[::1]:8443/keys":        "",
		"HTTPS://id.example.com/keys%2F": "",
	} {
		r := rules()
		r.Option = "OIDC"
		_, err := token.NewRemote(raw, nil, r, same, nil)
		if got := strings.Join(configErrors(t, err), "|"); got != want {
			t.Errorf("J-44 %q: got %q, want %q", raw, got, want)
		}
	}
	r := rules()
	r.Option, r.Algorithms = "JWKS", []string{"HS256"}
	_, err := token.NewRemote("https://id.example.com", nil, r, same, nil)
	if got := configErrors(t, err); len(got) != 1 || !strings.HasPrefix(got[0], `Algorithms: "HS256" needs a shared secret`) {
		t.Errorf("J-44 HS256: got %q", got)
	}
	blind := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	_, err = token.NewRemote("https://id.example.com", blind, rules(), same, nil)
	if got := configErrors(t, err); len(got) != 1 || !strings.HasPrefix(got[0], "HTTPClient: InsecureSkipVerify") {
		t.Errorf("Q-03 a client that does not verify: got %q", got)
	}
}

// unfit returns keys of which none may be used, by what is wrong with it. Each goes by the kid "es", "rs" or "ed".
func unfit() map[string]map[string]any {
	set := fixtureSet()
	es, rs, ed := set["es"].jwk(), set["rs"].jwk(), set["ed"].jwk()
	point := must(ecKey().PublicKey.Bytes())[1:]
	return map[string]map[string]any{
		"use enc":                with(es, map[string]any{"use": "enc"}),
		"use a number":           with(es, map[string]any{"use": 1}),
		"key_ops without verify": with(es, map[string]any{"key_ops": []string{"encrypt"}}),
		"key_ops a string":       with(es, map[string]any{"key_ops": "verify"}),
		"RSA of 2047 bits":       with(rs, map[string]any{"n": b64(oddHalf(rsaKey().N))}),
		"RSA of 8193 bits":       with(rs, map[string]any{"n": b64(new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 8192), big.NewInt(1)).Bytes())}),
		"RSA, even modulus":      with(rs, map[string]any{"n": b64(new(big.Int).Add(rsaKey().N, big.NewInt(1)).Bytes())}),
		"RSA without e":          with(rs, map[string]any{"e": nil}),
		"RSA, e = 1":             with(rs, map[string]any{"e": "AQ"}),
		"RSA, e = 2":             with(rs, map[string]any{"e": "Ag"}),
		"RSA, e even":            with(rs, map[string]any{"e": b64([]byte{1, 0, 0})}),
		"RSA, e of 2^64 + 65537": with(rs, map[string]any{"e": b64([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})}),
		"RSA, e of 2^31 + 1":     with(rs, map[string]any{"e": b64([]byte{0x80, 0, 0, 1})}),
		"point off the curve":    with(es, map[string]any{"x": b64(point[32:])}),
		"point at 0":             with(es, map[string]any{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}),
		"point beyond the field": with(es, map[string]any{"x": b64(bytes.Repeat([]byte{0xff}, 32))}),
		"point without y":        with(es, map[string]any{"y": nil}),
		"coordinate of 1,000":    with(es, map[string]any{"x": b64(make([]byte, 1000))}),
		"curve secp256k1":        with(es, map[string]any{"crv": "secp256k1"}),
		"curve P-384":            with(es, map[string]any{"crv": "P-384"}),
		"curve unknown":          with(es, map[string]any{"crv": "P-257"}),
		"curve X25519":           with(ed, map[string]any{"crv": "X25519"}),
		"Ed25519 of 31 bytes":    with(ed, map[string]any{"x": b64(make([]byte, 31))}),
		"Ed25519 of 33 bytes":    with(ed, map[string]any{"x": b64(make([]byte, 33))}),
		"Ed25519 without x":      with(ed, map[string]any{"x": nil}),
		"oct":                    {"kty": "oct", "kid": "es", "k": b64(make([]byte, 64))},
		"oct, alg HS256":         {"kty": "oct", "kid": "es", "k": b64(make([]byte, 64)), "alg": "HS256"},
		"private EC":             with(es, map[string]any{"d": b64(must(ecKey().Bytes()))}),
		"private RSA":            with(rs, map[string]any{"d": b64(rsaKey().D.Bytes())}),
		"private RSA, p alone":   with(rs, map[string]any{"p": b64(rsaKey().Primes[0].Bytes())}),
		"private OKP":            with(ed, map[string]any{"d": b64(edKey().Seed())}),
		"k beside a public key":  with(es, map[string]any{"k": "AA"}),
		"unknown kty":            with(es, map[string]any{"kty": "AKP"}),
		"no kty":                 with(es, map[string]any{"kty": nil}),
		"kty a number":           with(es, map[string]any{"kty": 1}),
		"kid a number":           with(es, map[string]any{"kid": 1}),
		"alg of another type":    with(es, map[string]any{"alg": "RS256"}),
		"alg of another curve":   with(es, map[string]any{"alg": "ES384"}),
		"alg not listed":         with(rs, map[string]any{"alg": "RS512"}),
		"alg for encryption":     with(rs, map[string]any{"alg": "RSA-OAEP", "use": nil}),
		"alg none":               with(es, map[string]any{"alg": "none"}),
		"alg null":               {"kty": "EC", "kid": "es", "alg": nil, "crv": "P-256", "x": es["x"], "y": es["y"]},
		"over 64 KiB":            with(es, map[string]any{"x5c": []string{strings.Repeat("A", 64<<10)}}),
	}
}

func TestStaticKeys(t *testing.T) {
	es, ed := fixtureSet()["es"], fixtureSet()["ed"]
	const noKey = "pass public signing keys: RSA of 2048 bits or more, P-256, P-384, P-521, Ed25519"
	t.Run("G-25 unfit keys", func(t *testing.T) {
		for what, key := range unfit() {
			_, err := token.NewStatic(jwks(key, key), rules(), same)
			want := []string{"StaticKeys: no usable key among 2; " + noKey}
			if strings.Contains(what, "private") || what == "k beside a public key" {
				want = []string{"StaticKeys: key 1 is private; pass its public half", "StaticKeys: key 2 is private; pass its public half"}
			}
			if got := configErrors(t, err); !slices.Equal(got, want) {
				t.Errorf("%s: got %q", what, got)
			}
		}
	})
	t.Run("J-45 a private key beside a public one", func(t *testing.T) {
		_, err := token.NewStatic(jwks(ed.jwk(), unfit()["private EC"]), rules(), same)
		if got := configErrors(t, err); !slices.Equal(got, []string{"StaticKeys: key 2 is private; pass its public half"}) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("J-45 not a set", func(t *testing.T) {
		for _, text := range []string{
			"", "{", "null", "[]", `{}`, `{"keys":{}}`, `{"keys":null}`, `{"KEYS":[]}`, `{"keys":[]} x`, `{"keys":[],"keys":[]}`,
			string(must(json.Marshal(es.jwk()))), `{"keys":[` + strings.Repeat(`{},`, 256) + `{}]}`,
		} {
			_, err := token.NewStatic([]byte(text), rules(), same)
			if got := configErrors(t, err); len(got) != 1 || !strings.Contains(got[0], `pass {"keys":[...]}`) {
				t.Errorf("%.30s: got %q", text, got)
			}
		}
		_, err := token.NewStatic([]byte(`{"keys":[]}`), rules(), same)
		if got := configErrors(t, err); !slices.Equal(got, []string{"StaticKeys: no usable key among 0; " + noKey}) {
			t.Errorf("empty set: got %q", got)
		}
	})
	t.Run("J-45 HMAC", func(t *testing.T) {
		r := rules()
		r.Algorithms = []string{"HS256", "HS512"}
		hs := pair{"hs", "HS256", make([]byte, 32)}
		v, err := token.NewStatic(jwks(hs.jwk()), r, same)
		if err != nil || judge(v, hs.token(nil)) != "ok" || judge(v, es.token(nil)) != "invalid" {
			t.Errorf("a key of 32 bytes: %v", err)
		}
		_, err = token.NewStatic(jwks(hs.jwk(), with(hs.jwk(), map[string]any{"kid": "b", "k": b64(make([]byte, 31))})), r, same)
		if got := configErrors(t, err); !slices.Equal(got, []string{"StaticKeys: key 2 has 31 bytes; use 32 or more"}) {
			t.Errorf("a key of 31 bytes: got %q", got)
		}
		if _, err := token.NewStatic(jwks(es.jwk()), r, same); err == nil {
			t.Error("a public key for HMAC accepted")
		}
	})
	t.Run("J-03 all algorithms", func(t *testing.T) {
		r := rules()
		r.Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
		private := map[string]any{
			"R": rsaKey(), "P": rsaKey(), "Ed": edKey(), "ES256": ecKey(),
			"ES384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), "ES512": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		}
		for _, alg := range r.Algorithms {
			key := private[alg]
			for prefix := range maps.Keys(private) {
				if key == nil && strings.HasPrefix(alg, prefix) {
					key = private[prefix]
				}
			}
			p := pair{"k", alg, key}
			v, err := token.NewStatic(jwks(p.jwk()), r, same)
			if err != nil {
				t.Fatal(alg, err)
			}
			if got := judge(v, p.token(nil)); got != "ok" {
				t.Errorf("%s: got %s", alg, got)
			}
		}
	})
	t.Run("J-06 one key, no kid", func(t *testing.T) {
		nameless := pair{"", "ES256", ecKey()}
		for _, key := range []map[string]any{es.jwk(), nameless.jwk()} {
			v := must(token.NewStatic(jwks(key), rules(), same))
			if got := judge(v, nameless.token(nil)); got != "ok" {
				t.Errorf("got %s", got)
			}
		}
		v := must(token.NewStatic(jwks(nameless.jwk()), rules(), same))
		if got := judge(v, es.token(nil)); got != "invalid" {
			t.Errorf("a kid, and a key without: got %s", got)
		}
	})
	t.Run("Q-10 two of one kid", func(t *testing.T) {
		twin := pair{"es", "ES256", strangeEC()}
		v := must(token.NewStatic(jwks(es.jwk(), twin.jwk(), ed.jwk()), rules(), same))
		for _, p := range []pair{es, twin} {
			if got := judge(v, p.token(nil)); got != "invalid" {
				t.Errorf("got %s", got)
			}
		}
		if got := judge(v, ed.token(nil)); got != "ok" {
			t.Errorf("the other key: got %s", got)
		}
	})
	t.Run("RSA of 8192 bits is the largest", func(t *testing.T) {
		n := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 8191), big.NewInt(1))
		large := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}}
		if _, err := token.NewStatic(jwks(pair{"l", "RS256", large}.jwk()), rules(), same); err != nil {
			t.Error(err)
		}
	})
}

func TestSecrets(t *testing.T) {
	r := rules()
	r.Option = "Secrets"
	secret := func(fill byte, size int) []byte { return bytes.Repeat([]byte{fill}, size) }
	for _, row := range []struct {
		name    string
		secrets [][]byte
		want    []string
	}{
		{"J-51 none", nil, []string{"Secrets: no secret is given; pass one of 32 random bytes or more"}},
		{"G-85", [][]byte{secret(1, 32), secret(2, 32), secret(3, 32), secret(4, 32), secret(5, 32)}, []string{"Secrets: 5 secrets are too many; keep the newest four"}},
		{"G-84", [][]byte{secret(1, 16)}, []string{"Secrets: secret 1 has 16 bytes; use 32 or more"}},
		{"J-51 empty", [][]byte{secret(1, 32), {}}, []string{"Secrets: secret 2 has 0 bytes; use 32 or more"}},
		{"J-51 twice", [][]byte{secret(1, 32), secret(2, 32), secret(1, 32)}, []string{"Secrets: secret 3 repeats secret 1; remove one"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := token.NewSecrets(row.secrets, r, same)
			if got := configErrors(t, err); !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
	t.Run("J-45 shorter than the only hash", func(t *testing.T) {
		r := r
		r.Algorithms = []string{"HS512"}
		_, err := token.NewSecrets([][]byte{secret(1, 32)}, r, same)
		if got := configErrors(t, err); !slices.Equal(got, []string{"Secrets: secret 1 has 32 bytes; use 64 or more"}) {
			t.Errorf("got %q", got)
		}
		r.Algorithms = []string{"ES256"}
		if _, err = token.NewSecrets([][]byte{secret(1, 32)}, r, same); err == nil {
			t.Error("ES256 accepted")
		}
	})
	t.Run("J-50", func(t *testing.T) {
		long := [][]byte{secret(1, 32), secret(2, 32), secret(3, 64), secret(4, 32)}
		v := must(token.NewSecrets(long, r, same))
		for what, row := range map[string]struct {
			p    pair
			want string
		}{
			"the newest":             {pair{"", "HS256", long[0]}, "ok"},
			"the fourth":             {pair{"", "HS256", long[3]}, "ok"},
			"with a kid":             {pair{"any", "HS256", long[1]}, "ok"},
			"HS512, 64 bytes":        {pair{"", "HS512", long[2]}, "ok"},
			"HS512, 32 bytes of two": {pair{"", "HS512", long[1]}, "forged"},
			"none of them":           {pair{"", "HS256", secret(9, 32)}, "forged"},
			"another family":         {pair{"", "ES256", ecKey()}, "invalid"},
		} {
			for range 2 {
				if got := judge(v, row.p.token(nil)); got != row.want {
					t.Errorf("%s: got %s, want %s", what, got, row.want)
				}
			}
		}
		v = must(token.NewSecrets(long[:1], r, same))
		if got := judge(v, pair{"", "HS512", long[0]}.token(nil)); got != "invalid" {
			t.Errorf("HS512 and a secret of 32 bytes: got %s", got)
		}
	})
	t.Run("a secret changed by the caller", func(t *testing.T) {
		mine := secret(1, 32)
		v := must(token.NewSecrets([][]byte{mine}, r, same))
		text := pair{"", "HS256", mine}.token(nil)
		clear(mine)
		if got := judge(v, text); got != "ok" {
			t.Errorf("got %s", got)
		}
	})
}

// oddHalf returns an odd number of one bit less.
func oddHalf(n *big.Int) []byte {
	half := new(big.Int).Rsh(n, 1)
	return half.SetBit(half, 0, 1).Bytes()
}
