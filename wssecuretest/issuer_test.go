package wssecuretest_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

func TestGuardTakesGoodTokensAndNoOthers(t *testing.T) {
	s := wssecuretest.NewServer(t)
	i := s.Issuer
	pub, err := x509.MarshalPKIXPublicKey(i.PublicKey("RS256"))
	if err != nil {
		t.Fatal(err)
	}
	claims := i.Claims("alice")
	for _, row := range []struct {
		name, token string
		want        int
	}{
		{"RS256", i.Sign("RS256", claims), 101},
		{"PS256", i.Sign("PS256", claims), 101},
		{"ES256", i.Sign("ES256", claims), 101},
		{"EdDSA", i.Sign("EdDSA", claims), 101},
		{"Token", i.Token("alice"), 101},
		{"raw", i.SignRaw([]byte(`{"alg":"ES256","kid":"es"}`), rawClaims(t, i), "ES256"), 101},
		{"header member removed", i.SignHeader(map[string]any{"typ": wssecuretest.Absent}, claims, "EdDSA"), 101},
		{"none", i.Sign("none", claims), 401},
		{"HS256", i.Sign("HS256", claims), 401},
		{"public key as a secret", i.SignSecret("HS256", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), map[string]any{"kid": "rs"}, claims), 401},
		{"another key's kid", i.SignHeader(map[string]any{"kid": "ps"}, claims, "RS256"), 401},
		{"signed otherwise than said", i.SignHeader(map[string]any{"alg": "RS256", "kid": "rs"}, claims, "PS256"), 401},
		{"expired", i.Sign("ES256", i.Claims("alice", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})), 401},
		{"no exp", i.Sign("ES256", i.Claims("alice", map[string]any{"exp": wssecuretest.Absent})), 401},
		{"another audience", i.Sign("ES256", i.Claims("alice", map[string]any{"aud": "mail"})), 401},
		{"another issuer's", wssecuretest.NewIssuer(t, "https://other.example.com").Token("alice"), 401},
		{"rotated key", rotated(t).Token("alice"), 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := s.Raw()
			if err := c.Send(s.Handshake(row.token).Bytes()); err != nil {
				t.Fatal(err)
			}
			r, err := c.Response()
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != row.want {
				t.Errorf("%s, want %d; %s", r.StatusLine, row.want, r.Body)
			}
		})
	}
}

func rawClaims(t *testing.T, i *wssecuretest.Issuer) []byte {
	b, err := json.Marshal(i.Claims("alice"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rotated(t *testing.T) *wssecuretest.Issuer {
	i := wssecuretest.NewIssuer(t, "")
	i.Rotate("ES256")
	return i
}

// Verified here as strictly as the standard is written, since verifiers are often more lenient.
func TestSignaturesAreByTheBook(t *testing.T) {
	i := wssecuretest.NewIssuer(t, "")
	for alg, hash := range map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512} {
		input, signature := parts(t, i.Sign("RS"+alg, i.Claims("alice")))
		if err := rsa.VerifyPKCS1v15(i.PublicKey("RS").(*rsa.PublicKey), hash, sum(hash, input), signature); err != nil {
			t.Errorf("RS%s: %v", alg, err)
		}
		input, signature = parts(t, i.Sign("PS"+alg, i.Claims("alice")))
		salt := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		if err := rsa.VerifyPSS(i.PublicKey("PS").(*rsa.PublicKey), hash, sum(hash, input), signature, salt); err != nil {
			t.Errorf("PS%s: %v", alg, err)
		}
	}
	input, signature := parts(t, i.Sign("EdDSA", i.Claims("alice")))
	if !ed25519.Verify(i.PublicKey("EdDSA").(ed25519.PublicKey), input, signature) {
		t.Error("EdDSA")
	}
	// One number in 256 begins with a zero byte, which must not be left out.
	for range 2000 {
		if _, signature := parts(t, i.Token("alice")); len(signature) != 64 {
			t.Fatalf("ES256: a signature of %d bytes", len(signature))
		}
	}
	for _, alg := range []string{"ES384", "ES256K", "RS1", "HS1", "XX256", "EdXX", ""} {
		if !panics(func() { i.Sign(alg, i.Claims("alice")) }) {
			t.Errorf("signed with %q", alg)
		}
	}
}

func parts(t *testing.T, token string) (input, signature []byte) {
	t.Helper()
	at := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil {
		t.Fatal(err)
	}
	return []byte(token[:at]), signature
}

func sum(hash crypto.Hash, b []byte) []byte {
	h := hash.New()
	h.Write(b)
	return h.Sum(nil)
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

func TestSecretsTakeHMAC(t *testing.T) {
	i := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin),
		wssecure.RequireToken(wssecure.Secrets(i.URL, wssecuretest.Audience, i.Secret)),
	}})
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		if _, _, err := s.Dial(context.Background(), i.Sign(alg, i.Claims("alice"))); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := wssecuretest.NewIssuer(t, "https://id.test")
		now := time.Now().Unix()
		c := i.Claims("alice", map[string]any{"role": "a", "aud": "mail"}, map[string]any{"role": "b"})
		for name, want := range map[string]any{"iss": "https://id.test", "aud": "mail", "sub": "alice", "iat": now, "exp": now + 3600, "role": "b"} {
			if c[name] != want {
				t.Errorf("%s is %v, want %v", name, c[name], want)
			}
		}
		if c["jti"] == i.Claims("alice")["jti"] {
			t.Error("two tokens with one jti")
		}
		payload := payloadOf(t, i.Sign("EdDSA", i.Claims("alice", map[string]any{"sub": wssecuretest.Absent})))
		if _, there := payload["sub"]; there {
			t.Error("Absent left the claim in")
		}
	})
}

func payloadOf(t *testing.T, token string) (claims map[string]any) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err == nil {
		err = json.Unmarshal(b, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func kids(t *testing.T, jwks []byte) (list []string) {
	t.Helper()
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys {
		if k["d"] != "" || k["p"] != "" {
			t.Error("a private key was published")
		}
		list = append(list, k["kid"])
	}
	return list
}

func TestRotateReplacesOneKey(t *testing.T) {
	i, other := wssecuretest.NewIssuer(t, ""), wssecuretest.NewIssuer(t, "")
	if got := kids(t, i.JWKS()); !slices.Equal(got, []string{"rs", "ps", "es", "ed"}) {
		t.Errorf("%v", got)
	}
	first := i.Rotate("ES256")
	second := i.Rotate("ES256")
	if first == second || i.KeyID("ES256") != second {
		t.Errorf("%s, then %s, in use %s", first, second, i.KeyID("ES256"))
	}
	if got := kids(t, i.JWKS()); !slices.Equal(got, []string{"rs", "ps", second, "ed"}) {
		t.Errorf("%v", got)
	}
	if other.KeyID("ES256") != "es" {
		t.Error("another issuer's key was rotated")
	}
}

func TestHandlerServesKeysAndFaults(t *testing.T) {
	i := wssecuretest.NewIssuer(t, "")
	srv := httptest.NewServer(i.Handler())
	t.Cleanup(srv.Close)
	i.URL = srv.URL
	client := srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	fetch := func(path string) (int, []byte) {
		resp, err := client.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, b
	}
	good := string(i.JWKS())
	for n, row := range []struct {
		fault  wssecuretest.Fault
		status int
		judge  func(body string) bool
	}{
		{wssecuretest.NoFault, 200, func(b string) bool { return b == good }},
		{wssecuretest.Down, 500, func(b string) bool { return !strings.Contains(b, "keys") }},
		{wssecuretest.HTML, 200, func(b string) bool { return strings.HasPrefix(b, "<!doctype") }},
		{wssecuretest.Huge, 200, func(b string) bool { return len(b) > 4<<20 && strings.TrimSpace(b) == good }},
		{wssecuretest.Redirect, 302, func(string) bool { _, b := fetch("/moved"); return string(b) == good }},
		{wssecuretest.EmptySet, 200, func(b string) bool { return b == `{"keys":[]}` }},
		{wssecuretest.NoFault, 200, func(b string) bool { return b == good }},
	} {
		i.SetFault(row.fault)
		if status, body := fetch(wssecuretest.KeysPath); status != row.status || !row.judge(string(body)) {
			t.Errorf("fault %d: %d %.60s", row.fault, status, body)
		}
		if i.Fetches() != n+1 {
			t.Errorf("%d fetches counted, %d made", i.Fetches(), n+1)
		}
	}
	if _, body := fetch("/.well-known/openid-configuration"); !strings.Contains(string(body), srv.URL+"/jwks.json") {
		t.Errorf("metadata: %s", body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	i.SetFault(wssecuretest.Hang)
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+wssecuretest.KeysPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client.Do(req); err == nil {
		t.Errorf("answer %d while hanging", resp.StatusCode)
	}
}

// The whole way: keys over TLS, from where the issuer says they are.
func TestGuardFetchesFromHandler(t *testing.T) {
	i := wssecuretest.NewIssuer(t, "")
	keys := httptest.NewUnstartedServer(i.Handler())
	keys.StartTLS()
	t.Cleanup(keys.Close)
	i.URL = keys.URL
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: keys.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}}
	s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin),
		wssecure.RequireToken(wssecure.JWKS(i.URL+wssecuretest.KeysPath, i.URL, wssecuretest.Audience, wssecure.HTTPClient(client))),
	}})
	if _, _, err := s.Dial(context.Background(), i.Token("alice")); err != nil {
		t.Fatal(err)
	}
	if i.Fetches() == 0 {
		t.Error("no fetch counted")
	}
}
