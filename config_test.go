package wssecure_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
)

// anybody is a whole policy to which a row adds its mistake.
func anybody(opts ...wssecure.Option) []wssecure.Option {
	return append([]wssecure.Option{wssecure.InsecureAllowAnonymous("a test")}, opts...)
}

func verifier() wssecure.Verifier {
	return wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) { return nil, nil })
}

// withToken is anybody for rows that need a token.
func withToken(opts ...wssecure.Option) []wssecure.Option {
	return append([]wssecure.Option{wssecure.RequireToken(verifier())}, opts...)
}

const anEd25519 = `{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`

// jwks is a set with one good key.
func jwks() []byte { return []byte(`{"keys":[` + anEd25519 + `]}`) }

func static(opts ...wssecure.TokenOption) wssecure.Option {
	return wssecure.RequireToken(wssecure.StaticKeys(jwks(), "https://id.example.com", "chat", opts...))
}

func secret(n int) []byte { return []byte(strings.Repeat("s", n)) }

// TestConfigurationErrors holds the lines of New word by word: whoever is
// told what to write can write it.
func TestConfigurationErrors(t *testing.T) {
	type opts = []wssecure.Option
	for _, row := range []struct {
		id   string
		opts opts
		want string
	}{
		{"G-01", opts{}, `New: no rule says who may connect; add RequireToken, RequireClientCert or InsecureAllowAnonymous`},
		{"G-02", anybody(wssecure.AllowLocalhost(), nil), `New: option 3 is nil; remove it`},
		{"G-03", anybody(wssecure.AllowOrigins()), `AllowOrigins: the list is empty; name an origin, or leave the option out for same-origin`},
		{"G-04", anybody(wssecure.AllowOrigins("app.example.com")), `AllowOrigins: "app.example.com" has no scheme; write "https://app.example.com"`},
		{"G-05", anybody(wssecure.AllowOrigins("wss://app.example.com")), `AllowOrigins: "wss://app.example.com" has a scheme no page has; write "https://app.example.com"`},
		{"G-06", anybody(wssecure.AllowOrigins("null")), `AllowOrigins: "null" is shared by sandboxed pages; use InsecureAllowNullOrigin`},
		{"G-07", anybody(wssecure.AllowOrigins("https://app.example.com/")), `AllowOrigins: "https://app.example.com/" has a path; write "https://app.example.com"`},
		{"G-08", anybody(wssecure.AllowOrigins("*")), `AllowOrigins: "*" matches every site; list the origins, or use InsecureAllowAnyOrigin`},
		{"G-09", anybody(wssecure.AllowOrigins("https://*example.com")), `AllowOrigins: "https://*example.com" has a star that is no whole first label; write "https://*.example.com"`},
		{"G-10", anybody(wssecure.AllowHosts("ws.example.com"), wssecure.InsecureAllowPlaintext("")), `InsecureAllowPlaintext: the reason is empty; say why in a few words`},
		{"G-11", anybody(wssecure.AllowOrigins("https://*.com")), `AllowOrigins: "https://*.com" has fewer than two labels after the star; write "https://*.example.com"`},
		{"G-12", anybody(wssecure.AllowOrigins("https://münchen.example")), `AllowOrigins: "https://münchen.example" is not ASCII; write its xn-- form`},
		{"G-13", anybody(wssecure.AllowOrigins("https://a.example", "https://a.example:443")), `AllowOrigins: "https://a.example:443" repeats "https://a.example"; remove one`},
		{"G-14", anybody(wssecure.AllowHosts("https://ws.example.com")), `AllowHosts: "https://ws.example.com" has a scheme; write "ws.example.com"`},
		{"G-15", anybody(wssecure.TrustProxies("X-Forwarded-For", "private")), `AllowHosts: missing, and same-origin with TrustProxies is open to DNS rebinding; add AllowHosts, SetPublicURL or AllowOrigins`},
		{"G-16", anybody(wssecure.AllowSubprotocols("chat v2")), `AllowSubprotocols: "chat v2" is not a token; write it without blanks, as "chat.v2"`},
		{"G-17", anybody(wssecure.AllowMessageTypes()), `AllowMessageTypes: the list is empty; name MessageText, MessageBinary or both`},
		{"G-18", opts{wssecure.RequireToken(verifier(), wssecure.FromCookie("__Host-sid")), wssecure.InsecureAllowAnyOrigin("a test")}, `InsecureAllowAnyOrigin: with FromCookie any site could act for the visitor; use AllowOrigins or another source`},
		{"G-19", withToken(wssecure.RequireToken(verifier())), `RequireToken: is given twice; join the verifiers with AnyOf`},
		{"G-20", withToken(wssecure.InsecureAllowAnonymous("a test")), `InsecureAllowAnonymous: RequireToken asks for the opposite; remove one`},
		{"G-21", anybody(wssecure.RequireSubprotocol()), `RequireSubprotocol: no subprotocol is allowed; add AllowSubprotocols`},
		{"G-22", opts{wssecure.RequireToken(nil)}, `RequireToken: the verifier is nil; pass StaticKeys, Secrets, JWKS, OIDC, Introspection or your own`},
		{"G-23", opts{wssecure.RequireToken(wssecure.OIDC("http://id.example.com", "chat"))}, `OIDC: "http://id.example.com" is not https; write "https://id.example.com"`},
		{"G-24", opts{wssecure.RequireToken(wssecure.OIDC("https://id.example.com", ""))}, `OIDC: the audience is empty; write the one your tokens carry`},
		{"G-25", opts{wssecure.RequireToken(wssecure.StaticKeys([]byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"},{"kty":"x"}]}`), "https://id.example.com", "chat"))}, `StaticKeys: no usable key among 2; pass public signing keys: RSA of 2048 bits or more, P-256, P-384, P-521, Ed25519`},
		{"G-26", opts{wssecure.RequireToken(wssecure.Introspection("https://id.example.com/introspect", "chat", "", "chat"))}, `Introspection: the client secret is empty; pass the one registered with the issuer`},
		{"G-27", opts{static(wssecure.Algorithms("none"))}, `Algorithms: "none" is not a signature; use RS256, PS256, ES256, EdDSA or another of RFC 7518`},
		{"G-28", opts{static(wssecure.Algorithms("HS256", "RS256"))}, `Algorithms: "HS256" and "RS256" are of different families; use two verifiers and AnyOf`},
		{"G-29", opts{static(wssecure.ClockSkew(10 * time.Minute))}, `ClockSkew: 10m0s is out of range; use 0s to 5m0s`},
		{"G-30", opts{wssecure.RequireToken(wssecure.AnyOf(wssecure.StaticKeys(jwks(), "https://id.example.com", "a"), wssecure.StaticKeys(jwks(), "https://id.example.com", "b")))}, `AnyOf: issuer "https://id.example.com" has two verifiers; merge them`},
		{"G-31", opts{wssecure.RequireToken(verifier(), wssecure.FromCookie("sid"))}, `FromCookie: "sid" has neither prefix __Host- nor __Secure-; write "__Host-sid", or use InsecureFromCookie`},
		{"G-32", opts{wssecure.RequireToken(verifier(), wssecure.InsecureFromQuery("", "a test"))}, `InsecureFromQuery: "" is not a parameter name; write one such as "access_token"`},
		{"G-33", withToken(wssecure.RequireScopes("chat read")), `RequireScopes: "chat read" contains a blank; pass "chat", "read"`},
		{"G-34", anybody(wssecure.RequireScopes("chat")), `RequireScopes: no token to read them from; add RequireToken`},
		{"G-35", withToken(wssecure.RequireClaim("role")), `RequireClaim: "role" has no values; name those that admit`},
		{"G-74", withToken(wssecure.AllowLateToken(0)), `AllowLateToken: 0s is out of range; use 1s to 1m0s`},
		{"G-75", anybody(wssecure.AllowLateToken(time.Second)), `AllowLateToken: no verifier to ask; add RequireToken`},
		{"G-36", withToken(wssecure.RequireAuthLevel(0, "mfa")), `RequireAuthLevel: a maximum age of 0s admits nobody; use 1s or more`},
		{"G-37", opts{wssecure.RequireClientCert(nil)}, `RequireClientCert: the pool is nil; pass the CA certificates of your clients`},
		{"G-37 an empty pool", opts{wssecure.RequireClientCert(x509.NewCertPool())}, `RequireClientCert: the pool is empty and admits nobody; see whether AppendCertsFromPEM returned true`},
		{"G-38", anybody(wssecure.RequireCheck("tenant", nil)), `RequireCheck: the function of "tenant" is nil; pass a Check`},
		{"G-39", anybody(wssecure.RequireCheck("origin", func(context.Context, *wssecure.Handshake) error { return nil })), `RequireCheck: "origin" is the name of a built-in check; choose another`},
		{"G-40", anybody(wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{})), `LimitHandshakes: 0 per 0s admits nobody; use a rate such as PerMinute(600)`},
		{"G-41", anybody(wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Second, Burst: -1})), `LimitHandshakes: burst -1 is negative; use 1 or more`},
		{"G-42", anybody(wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(20), 0)), `LimitFailures: a ban of 0s is none; use 1s or more`},
		{"G-43", anybody(wssecure.LimitConns(wssecure.ByIP(), 0)), `LimitConns: 0 admits nobody; use 1 or more`},
		{"G-44", anybody(wssecure.LimitConns(wssecure.ByIP(), 20000)), `LimitConns: 20000 by IP is beyond a shared store's 10000; use ByTotal`},
		{"G-45", anybody(wssecure.LimitSession(wssecure.Limits{MessageSize: -1})), `LimitSession: MessageSize -1 is negative; use 1 or more, or 0 for 65536`},
		{"G-45, above", anybody(wssecure.LimitSession(wssecure.Limits{MessageSize: 1 << 40, Fragments: 1 << 40})), "LimitSession: MessageSize 1099511627776 is no limit; use 1000000000 or less\nLimitSession: Fragments 1099511627776 is no limit; use 1000000000 or less"},
		{"G-46", anybody(wssecure.LimitSession(wssecure.Limits{Pong: 500 * time.Millisecond})), `LimitSession: Pong 500ms is too short for any network; use 1s or more, or 0 for 45s`},
		{"G-47", anybody(wssecure.LimitSession(wssecure.Limits{Bytes: wssecure.Rate{N: 1024, Per: time.Second, Burst: 1024}})), `LimitSession: Bytes.Burst 1024 is below MessageSize 65536; raise it to 65536 or more`},
		{"G-48", anybody(wssecure.LimitReplay(0)), `LimitReplay: 0s remembers nothing; use 1s or more`},
		{"G-49", anybody(wssecure.LimitHandshakeTime(0)), `LimitHandshakeTime: 0s admits nobody; use 1s to 1m0s`},
		{"G-50", anybody(wssecure.SetPing(100 * time.Millisecond)), `SetPing: 100ms is out of range; use 1s to 1h0m0s`},
		{"G-51", anybody(wssecure.SetRecheck(0, func(context.Context, *wssecure.Identity) error { return nil })), `SetRecheck: 0s is too often; use 1s or more`},
		{"G-54", anybody(wssecure.SetHSTS("max-age=3600; preload")), `SetHSTS: "max-age=3600; preload" is not fit for preload; use max-age=31536000 or more and includeSubDomains`},
		{"G-55", anybody(wssecure.SetHSTS("max-age=0")), `SetHSTS: "max-age=0" switches HSTS off; use InsecureHSTSOff`},
		{"G-56", anybody(wssecure.SetCSP("connect-src wss:")), `SetCSP: connect-src "wss:" allows every host; write "wss://ws.example.com"`},
		{"G-57", anybody(wssecure.SetCSP("default-src\n")), `SetCSP: "default-src\n" contains a control character; write one line`},
		{"G-58", anybody(wssecure.SetCSP("default-src 'self'"), wssecure.SetCSP("default-src 'self'")), `SetCSP: is given twice; keep one`},
		{"G-59", anybody(wssecure.SetHeader("Set-Cookie", "a=b")), `SetHeader: "Set-Cookie" is not the guard's; set it in your handler`},
		{"G-60", anybody(wssecure.SetHeader("X-Frame-Options", "ALLOW-FROM https://a.example")), `SetHeader: X-Frame-Options "ALLOW-FROM https://a.example" is ignored by browsers; use frame-ancestors in SetCSP`},
		{"G-62", anybody(wssecure.SetPublicURL("https://ws.example.com/ws")), `SetPublicURL: "https://ws.example.com/ws" has a path; write "https://ws.example.com"`},
		{"G-63", anybody(wssecure.AllowHosts("a.example"), wssecure.TrustProxies("X-Forwarded-For")), `TrustProxies: no prefix is given; name your proxies' networks, as "10.0.0.0/8" or "private"`},
		{"G-64", anybody(wssecure.AllowHosts("a.example"), wssecure.TrustProxies("X-Forwarded-For", "0.0.0.0/0")), `TrustProxies: "0.0.0.0/0" trusts every client; name the networks of your proxies`},
		{"G-65", anybody(wssecure.AllowHosts("a.example"), wssecure.TrustProxies("X-Forwarded-For", "private"), wssecure.TrustProxies("Forwarded", "private")), `TrustProxies: is given twice; keep the header your proxies set`},
		{"G-68", anybody(wssecure.AllowOriginSet(nil)), `AllowOriginSet: the set is nil; pass NewOriginSet(...)`},
		{"G-69", anybody(wssecure.AllowOrigins("https://a.example"), wssecure.AllowOriginSet(originSet(t))), `AllowOriginSet: AllowOrigins is given too; put its origins into the set`},
		{"G-70", anybody(wssecure.LimitConns(wssecure.ByIP(), 1), wssecure.LimitConns(wssecure.ByIP(), 2)), `LimitConns: is given twice for ip; keep one`},
		{"G-71", anybody(wssecure.LimitSessionBy(nil)), `LimitSessionBy: the function is nil; pass one, or use LimitSession`},
		{"G-72", anybody(wssecure.LimitAccepts(wssecure.Rate{})), `LimitAccepts: 0 per 0s admits nobody; use a rate such as PerSecond(50)`},
		{"G-73", anybody(wssecure.TrustNetworks("a test", "0.0.0.0/0")), `TrustNetworks: "0.0.0.0/0" exempts every client; name the networks you mean`},
		{"G-78", anybody(wssecure.SetHSTS("max-age=1"), wssecure.InsecureHSTSOff("a test")), `InsecureHSTSOff: SetHSTS asks for the opposite; remove one`},
		{"G-79", anybody(wssecure.SetContext(nil)), `SetContext: the function is nil; pass one, or leave the option out`},
		{"G-82", opts{wssecure.RequireToken(wssecure.Introspection("https://id.example.com/introspect", "chat", "secret", ""))}, `Introspection: the audience is empty; write the one your tokens carry, or use InsecureAnyAudience`},
		{"G-83", opts{static(wssecure.MaxTokenSize(65536))}, `MaxTokenSize: 65536 is out of range; use 8192 to 32768`},
		{"G-84", opts{wssecure.RequireToken(wssecure.Secrets("https://id.example.com", "chat", secret(16)))}, `Secrets: secret 1 has 16 bytes; use 32 or more`},
		{"G-85", opts{wssecure.RequireToken(wssecure.Secrets("https://id.example.com", "chat", []byte(strings.Repeat("a", 32)), []byte(strings.Repeat("b", 32)), []byte(strings.Repeat("c", 32)), []byte(strings.Repeat("d", 32)), []byte(strings.Repeat("e", 32))))}, `Secrets: 5 secrets are too many; keep the newest four`},
		{"G-86", withToken(wssecure.RequireClaim("/a/~b", "x")), `RequireClaim: "/a/~b" is no JSON Pointer; write "/a/~0b" for a tilde`},
		{"G-87", opts{wssecure.RequireToken(verifier(), wssecure.FromHeader("X-Token"))}, `FromHeader: no proxy is trusted to set "X-Token"; add TrustProxies`},
		{"G-88", opts{wssecure.RequireToken(wssecure.OIDC("https://login.example/{tenantid}/v2.0", "chat", wssecure.Tenants()))}, `Tenants: the list is empty; name the tenants you serve`},
		{"G-89", anybody(wssecure.RequireOrigin(), wssecure.InsecureAllowMissingOrigin("a test")), `RequireOrigin: InsecureAllowMissingOrigin asks for the opposite; remove one`},
	} {
		t.Run(row.id, func(t *testing.T) {
			g, err := wssecure.New(row.opts...)
			if g != nil || err == nil {
				t.Fatalf("New succeeded, want %q", row.want)
			}
			if got := err.Error(); got != row.want {
				t.Errorf("New: %s\nwant: %s", got, row.want)
			}
		})
	}
}

func originSet(t *testing.T) *wssecure.OriginSet {
	s, err := wssecure.NewOriginSet("https://b.example")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestMistakesNameOptionValueAndFix takes mistakes whose words may change.
func TestMistakesNameOptionValueAndFix(t *testing.T) {
	for _, row := range []struct {
		opts []wssecure.Option
		want []string
	}{
		{anybody(wssecure.LimitConns(wssecure.Key{}, 1)), []string{"LimitConns", "ByIP"}},
		{anybody(wssecure.LimitConns(wssecure.ByFunc("", nil), 1)), []string{"LimitConns", "ByFunc"}},
		{anybody(wssecure.LimitConns(wssecure.ByFunc("ip", constant), 1)), []string{"LimitConns", `ByFunc("ip")`, "choose another"}},
		{anybody(wssecure.LimitHandshakes(wssecure.ByFunc("Total", constant), wssecure.PerSecond(1))), []string{"LimitHandshakes", `ByFunc("Total")`, "choose another"}},
		{anybody(wssecure.LimitFailures(wssecure.ByFunc("known-token", constant), wssecure.PerMinute(1), time.Minute)), []string{"LimitFailures", `ByFunc("known-token")`, "choose another"}},
		{anybody(wssecure.LimitConns(wssecure.ByIP(), -3)), []string{"LimitConns", "-3", "1 or more"}},
		{anybody(wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerSecond(2_000_000_000))), []string{"LimitHandshakes", "2000000000", "1000000000 or less"}},
		{anybody(wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1_000_000})), []string{"LimitHandshakes", "1000000 at once", "five years", "use less at once"}},
		{anybody(wssecure.LimitFailures(wssecure.ByTotal(), wssecure.PerMinute(1), time.Minute)), []string{"LimitFailures", "total", "ByIP"}},
		{anybody(wssecure.LimitAccepts(wssecure.Rate{N: 1, Per: time.Second, Burst: -1})), []string{"LimitAccepts", "-1", "1 or more"}},
		{anybody(wssecure.LimitAccepts(wssecure.PerSecond(1)), wssecure.LimitAccepts(wssecure.PerSecond(1))), []string{"LimitAccepts", "twice", "keep one"}},
		{anybody(wssecure.LimitSessionBy(plan), wssecure.LimitSessionBy(plan)), []string{"LimitSessionBy", "twice", "keep one"}},
		{anybody(wssecure.SetTLS(7)), []string{"SetTLS", "7", "Intermediate or Modern"}},
		{anybody(wssecure.SetLogger(nil)), []string{"SetLogger", "nil"}},
		{anybody(wssecure.OnEvent(nil)), []string{"OnEvent", "nil"}},
		{anybody(wssecure.OnMessage(nil)), []string{"OnMessage", "nil"}},
		{anybody(wssecure.OnSend()), []string{"OnSend", "empty"}},
		{anybody(wssecure.SetHSTS("")), []string{"SetHSTS", "empty", "leave the option out"}},
		{anybody(wssecure.SetHSTS("max-age=1; foo")), []string{"SetHSTS", "unknown directive"}},
		{anybody(wssecure.SetCSP(" ")), []string{"SetCSP", "empty"}},
		{anybody(wssecure.SetHeader("a b", "c")), []string{"SetHeader", `"a b"`}},
		{anybody(wssecure.SetHeader("X-A", "b\r\nc: d")), []string{"SetHeader", "control character"}},
		{anybody(wssecure.AllowSubprotocols("")), []string{"AllowSubprotocols", `""`}},
		{anybody(wssecure.AllowSubprotocols("a", "a")), []string{"AllowSubprotocols", `"a"`, "twice"}},
		{anybody(wssecure.AllowMessageTypes(9)), []string{"AllowMessageTypes", "MessageText"}},
		{withToken(wssecure.RequireClaim("", "x")), []string{"RequireClaim", `""`}},
		{withToken(wssecure.RequireClaim("a", "")), []string{"RequireClaim", `"a"`, "empty value"}},
		{withToken(wssecure.RequireScopes()), []string{"RequireScopes", "empty"}},
		{anybody(wssecure.RequireClaim("role", "x")), []string{"RequireClaim", "RequireToken"}},
		{[]wssecure.Option{wssecure.RequireToken(verifier(), wssecure.FromHeader("Cookie"))}, []string{"FromHeader", `"Cookie"`}},
		{[]wssecure.Option{wssecure.RequireToken(verifier(), wssecure.Source{})}, []string{"RequireToken", "FromBearer"}},
		{[]wssecure.Option{wssecure.RequireToken(wssecure.JWKS("http://id.example.com/jwks", "https://id.example.com", "chat"))}, []string{"JWKS", "http://id.example.com/jwks", "https"}},
		{[]wssecure.Option{wssecure.RequireToken(wssecure.JWKS("id.example.com/jwks", "https://id.example.com", "chat"))}, []string{"JWKS", `"id.example.com/jwks" is not https`, `"https://id.example.com/jwks"`}},
		{[]wssecure.Option{wssecure.RequireToken(wssecure.VerifierFunc(nil))}, []string{"RequireToken", "function of a VerifierFunc is nil"}},
		{[]wssecure.Option{wssecure.RequireToken(wssecure.AnyOf(verifier(), wssecure.VerifierFunc(nil)))}, []string{"AnyOf", "function of a VerifierFunc is nil"}},
		{[]wssecure.Option{wssecure.RequireToken(wssecure.JWKS("https://id.example.com/jwks", "", ""))}, []string{"JWKS", "issuer", "audience"}},
		{[]wssecure.Option{static(wssecure.MaxTokenAge(0))}, []string{"MaxTokenAge", "0s"}},
		{[]wssecure.Option{static(nil)}, []string{"StaticKeys", "nil"}},
		{anybody(wssecure.SetCertificate("no-such.pem", "no-such-key.pem")), []string{"SetCertificate", "no-such.pem"}},
		{withToken(wssecure.AllowSubprotocols("bearer")), []string{"AllowSubprotocols", `"bearer"`, "FromSubprotocol"}},
	} {
		g, err := wssecure.New(row.opts...)
		if g != nil || err == nil {
			t.Errorf("New succeeded, want an error with %q", row.want)
			continue
		}
		for _, word := range row.want {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q lacks %q", err, word)
			}
		}
	}
}

// TestNewReportsEveryMistakeInOrder wants one line each, in the order of the
// options.
func TestNewReportsEveryMistakeInOrder(t *testing.T) {
	_, err := wssecure.New(wssecure.SetPing(1), wssecure.AllowOrigins("*", "x.example"), wssecure.LimitReplay(0))
	want := []string{"SetPing: ", `AllowOrigins: "*"`, `AllowOrigins: "x.example"`, "LimitReplay: ", "New: no rule"}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d: %s", len(lines), len(want), err)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("line %d is %q, want %q…", i, lines[i], want[i])
		}
	}
}

// TestCertificateMistakes is G-52, G-53 and the rest of T-20, with real files.
func TestCertificateMistakes(t *testing.T) {
	dir := t.TempDir()
	good, other := writePair(t, dir, "good", 0, time.Hour), writePair(t, dir, "other", 0, time.Hour)
	weak, old := writePair(t, dir, "weak", 1024, time.Hour), writePair(t, dir, "old", 0, -time.Minute)
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, row := range []struct{ id, cert, key, want string }{
		{"G-52", good, other, `SetCertificate: "` + path("good.pem") + `" and "` + path("other.key.pem") + `" do not belong together; give the key of that certificate`},
		{"G-53", weak, weak, `SetCertificate: "` + path("weak.key.pem") + `" is RSA 1024; use RSA 2048 or P-256`},
		{"T-20 expired", old, old, "expired"},
		{"T-20 missing", "none", good, "none.pem"},
	} {
		t.Run(row.id, func(t *testing.T) {
			_, err := wssecure.New(anybody(wssecure.SetCertificate(path(row.cert+".pem"), path(row.key+".key.pem")))...)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("New: %v\nwant: %s", err, row.want)
			}
		})
	}
}

// writePair writes NAME.pem and NAME.key.pem and returns name. bits 0 is P-256.
func writePair(t *testing.T, dir, name string, bits int, life time.Duration) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"ws.example.com", "localhost"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(life), IsCA: true, BasicConstraintsValid: true,
	}
	var der, key []byte
	if bits > 0 {
		t.Setenv("GODEBUG", "rsa1024min=0")
		k, err := rsa.GenerateKey(rand.Reader, bits)
		wantNil(t, err)
		der, err = x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
		wantNil(t, err)
		key, err = x509.MarshalPKCS8PrivateKey(k)
		wantNil(t, err)
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		wantNil(t, err)
		der, err = x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
		wantNil(t, err)
		key, err = x509.MarshalPKCS8PrivateKey(k)
		wantNil(t, err)
	}
	writePEM(t, filepath.Join(dir, name+".pem"), "CERTIFICATE", der)
	writePEM(t, filepath.Join(dir, name+".key.pem"), "PRIVATE KEY", key)
	return name
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	wantNil(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func wantNil(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func constant(*wssecure.Handshake) string { return "all" }
