package wssecure_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// tokenRow is a token that must not admit, and what its event says.
type tokenRow struct {
	name   string
	token  func(i *wssecuretest.Issuer) string
	reason wssecure.Reason
}

type members = map[string]any

// claimed is a token with these claims changed, signed as it should be.
func claimed(more members) func(*wssecuretest.Issuer) string {
	return func(i *wssecuretest.Issuer) string { return i.Sign("ES256", i.Claims("alice", more)) }
}

// headed is a token with these members of the header changed.
func headed(header members) func(*wssecuretest.Issuer) string {
	return func(i *wssecuretest.Issuer) string { return i.SignHeader(header, i.Claims("alice"), "ES256") }
}

// payload is a token with this payload.
func payload(text string) func(*wssecuretest.Issuer) string {
	return func(i *wssecuretest.Issuer) string {
		return i.SignRaw([]byte(`{"alg":"ES256","kid":"es"}`), []byte(text), "ES256")
	}
}

// changed is a good token, edited.
func changed(edit func(part []string) string) func(*wssecuretest.Issuer) string {
	return func(i *wssecuretest.Issuer) string { return edit(strings.Split(i.Token("alice"), ".")) }
}

func confused(secret func(i *wssecuretest.Issuer) []byte) func(*wssecuretest.Issuer) string {
	return func(i *wssecuretest.Issuer) string {
		return i.SignSecret("HS256", secret(i), members{"kid": "rs"}, i.Claims("alice"))
	}
}

func publicDER(i *wssecuretest.Issuer) []byte {
	der, err := x509.MarshalPKIXPublicKey(i.PublicKey("RS256"))
	if err != nil {
		panic(err)
	}
	return der
}

func publicPEM(i *wssecuretest.Issuer) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(i)})
}

func publicJWK(i *wssecuretest.Issuer) []byte {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(i.JWKS(), &set); err != nil {
		panic(err)
	}
	return set.Keys[0]
}

func ago(d time.Duration) int64 { return time.Now().Add(-d).Unix() }

const common = `"iss":"https://id.example.com","sub":"alice","exp":4000000000`

var expired = wssecure.ReasonTokenExpired

var badTokens = []tokenRow{
	{"opaque", func(*wssecuretest.Issuer) string { return "opaque-session-id" }, invalid},
	{"J-30 2 segments", changed(func(p []string) string { return p[0] + "." + p[1] }), invalid},
	{"J-30 4 segments", changed(func(p []string) string { return strings.Join(p, ".") + "." + p[2] }), invalid},
	{"J-17 5 segments", changed(func(p []string) string { return p[0] + "." + strings.Join(p, ".") + "." + p[2] }), invalid},
	{"J-30 no header", changed(func(p []string) string { return "." + p[1] + "." + p[2] }), invalid},
	{"J-30 no payload", changed(func(p []string) string { return p[0] + ".." + p[2] }), invalid},
	{"J-30 no signature", changed(func(p []string) string { return p[0] + "." + p[1] + "." }), invalid},
	{"J-30 dots", func(*wssecuretest.Issuer) string { return strings.Repeat(".", 8192) }, invalid},
	{"J-30 8,193 bytes", func(*wssecuretest.Issuer) string { return strings.Repeat("A", 8193) }, invalid},
	{"J-30 a good token of 8,193 bytes", func(i *wssecuretest.Issuer) string { return sized(i, 8193) }, invalid},
	{"J-32 padding", changed(func(p []string) string { return strings.Join(p, ".") + "==" }), invalid},
	{"J-32 plus", changed(func(p []string) string { return p[0] + "." + p[1] + "." + "+" + p[2][1:] }), invalid},
	{"J-32 slash", changed(func(p []string) string { return p[0] + "." + p[1] + "." + "/" + p[2][1:] }), invalid},
	{"J-32 4n+1", changed(func(p []string) string { return p[0] + "." + p[1] + "." + p[2] + "AAA" }), invalid},
	{"J-32 spare bits", changed(func(p []string) string { return p[0] + "." + p[1] + "." + p[2][:85] + nextLetter(p[2][85]) }), invalid},
	{"J-35 header a list", func(i *wssecuretest.Issuer) string {
		return i.SignRaw([]byte(`["ES256"]`), []byte(`{`+common+`,"aud":"chat"}`), "ES256")
	}, invalid},
	{"J-35 payload a string", payload(`"x"`), invalid},
	{"J-35 payload and more", payload(`{` + common + `,"aud":"chat"}{}`), invalid},
	{"J-16 aud twice", payload(`{` + common + `,"aud":"x","aud":"chat"}`), invalid},
	{"J-16 aud twice, escaped", payload(`{` + common + `,"aud":"x","\u0061ud":"chat"}`), invalid},
	{"J-16 bad UTF-8", payload("{" + common + `,"aud":"chat","x":"` + "\xff" + `"}`), invalid},
	{"J-37 AUD", payload(`{` + common + `,"AUD":"chat"}`), invalid},
	{"J-01 none", func(i *wssecuretest.Issuer) string { return i.Sign("none", i.Claims("alice")) }, invalid},
	{"J-01 none with a signature", headed(members{"alg": "none"}), invalid},
	{"J-01 nOnE", headed(members{"alg": "nOnE"}), invalid},
	{"J-01 missing", headed(members{"alg": wssecuretest.Absent}), invalid},
	{"J-01 null", headed(members{"alg": nil}), invalid},
	{"J-01 list", headed(members{"alg": []string{"ES256"}}), invalid},
	{"J-01 es256", headed(members{"alg": "es256"}), invalid},
	{"J-02 PEM", confused(publicPEM), invalid},
	{"J-02 DER", confused(publicDER), invalid},
	{"J-02 JWK", confused(publicJWK), invalid},
	{"J-03 another key's alg", headed(members{"alg": "RS256"}), invalid},
	{"J-04 jku", headed(members{"jku": "https://evil.example/keys"}), invalid},
	{"J-04 jwk", headed(members{"jwk": members{"kty": "oct", "k": "AA"}}), invalid},
	{"J-05 crit", headed(members{"crit": []string{"exp"}}), invalid},
	{"J-05 zip", headed(members{"zip": "DEF"}), invalid},
	{"J-14 logout+jwt", headed(members{"typ": "logout+jwt"}), invalid},
	{"J-14 dpop+jwt", headed(members{"typ": "dpop+jwt"}), invalid},
	{"J-06 unknown kid", headed(members{"kid": "other"}), invalid},
	{"J-06 kid a path", headed(members{"kid": "../../dev/null"}), invalid},
	{"J-06 kid SQL", headed(members{"kid": "x' UNION SELECT 'k'--"}), invalid},
	{"J-06 kid with line ends", headed(members{"kid": "es\r\nX: y"}), invalid},
	{"J-06 kid of 5 KB", headed(members{"kid": strings.Repeat("k", 5000)}), invalid},
	{"J-06 no kid", headed(members{"kid": wssecuretest.Absent}), invalid},
	{"J-18 one character", func(i *wssecuretest.Issuer) string { return spoil(i.Token("alice")) }, forged},
	{"J-18 another key of the set", func(i *wssecuretest.Issuer) string {
		return i.SignHeader(members{"kid": "rs", "alg": "RS256"}, i.Claims("alice"), "PS256")
	}, forged},
	{"J-18 zeroes", changed(func(p []string) string { return p[0] + "." + p[1] + "." + strings.Repeat("A", 86) }), forged},
	{"J-18 another content", func(i *wssecuretest.Issuer) string {
		a, b := strings.Split(i.Token("alice"), "."), strings.Split(i.Token("bob"), ".")
		return a[0] + "." + b[1] + "." + a[2]
	}, forged},
	{"J-09 expired", claimed(members{"exp": ago(31 * time.Second)}), expired},
	{"J-09 expired long ago", claimed(members{"exp": 1}), expired},
	{"J-10 nbf", claimed(members{"nbf": ago(-time.Hour)}), invalid},
	{"J-10 iat", claimed(members{"iat": ago(-time.Hour)}), invalid},
	{"J-08 no exp", claimed(members{"exp": wssecuretest.Absent}), invalid},
	{"J-11 exp a string", claimed(members{"exp": "4000000000"}), invalid},
	{"J-11 exp 1e300", payload(`{"iss":"https://id.example.com","sub":"alice","aud":"chat","exp":1e300}`), invalid},
	{"J-12 iss and a slash", claimed(members{"iss": "https://id.example.com/"}), invalid},
	{"J-12 another iss", claimed(members{"iss": "https://evil.example"}), invalid},
	{"J-13 another aud", claimed(members{"aud": "billing"}), invalid},
	{"J-13 no aud", claimed(members{"aud": wssecuretest.Absent}), invalid},
	{"J-13 aud in another case", claimed(members{"aud": "CHAT"}), invalid},
	{"J-40 no sub", claimed(members{"sub": wssecuretest.Absent}), invalid},
	{"J-40 sub empty", claimed(members{"sub": ""}), invalid},
	{"J-40 sub with a line end", claimed(members{"sub": "alice\nroot"}), invalid},
	{"J-15 an ID token", claimed(members{"at_hash": "x"}), invalid},
	{"J-15 a logout token", claimed(members{"events": members{}}), invalid},
	{"A-22 bound to a DPoP key", claimed(members{"cnf": members{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}), invalid},
	{"A-26 bound to a certificate", claimed(members{"cnf": members{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"}}), invalid},
	{"A-26 an unknown binding", claimed(members{"cnf": members{"kid": "x"}}), invalid},
	{"A-31 revoked by its id", claimed(members{"jti": "revoked"}), wssecure.ReasonRevoked},
}

func nextLetter(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)+1]) // 86 characters leave spare bits: the last is never "_"
}

// sized is a good token of exactly n bytes.
func sized(i *wssecuretest.Issuer, n int) string {
	for pad := n*3/4 - 400; ; pad++ {
		for _, blanks := range []string{"", " ", "  "} {
			claims, err := json.Marshal(i.Claims("alice", members{"pad": strings.Repeat("x", pad)}))
			if err != nil {
				panic(err)
			}
			switch text := i.SignRaw([]byte(`{"alg":"ES256","kid":"es"}`+blanks), claims, "ES256"); {
			case len(text) == n:
				return text
			case len(text) > n+8:
				panic("no token of that size")
			}
		}
	}
}

var instance = regexp.MustCompile(`"instance":"[0-9a-f]{32}"`)

// face is an answer as a peer can compare it with another: all but the id and
// the date.
func face(r *probe.Response) string {
	var b strings.Builder
	fmt.Fprintln(&b, r.StatusLine)
	for _, f := range r.Header {
		if f.Name != "Date" {
			fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
		}
	}
	b.Write(instance.ReplaceAll(r.Body, []byte(`"instance":""`)))
	return b.String()
}

// TestBadTokensLookAlike sends every bad token through a socket: the peer cannot
// tell why one was refused (A-31, ATTACKS I3), the operator can.
func TestBadTokensLookAlike(t *testing.T) {
	s := wssecuretest.NewServer(t)
	if _, err := s.Guard.Revoke(t.Context(), wssecure.TokenID(s.Issuer.URL, "revoked"), "A-31"); err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, row := range badTokens {
		t.Run(row.name, func(t *testing.T) {
			text := row.token(s.Issuer)
			r, e := wantDenied(t, s, s.Handshake(text), 401, row.reason)
			if want == "" {
				want = face(r)
			}
			if got := face(r); got != want {
				t.Errorf("another answer than the first:\n%s\nwant:\n%s", got, want)
			}
			if wantCheck := map[bool]string{true: "proof", false: "token"}[row.name == "A-26 bound to a certificate"]; e.Check != wantCheck {
				t.Errorf("check %q, want %q", e.Check, wantCheck)
			}
			if e.Err == nil && e.Seen == "" {
				t.Error("the operator is told nothing")
			}
			if all := fmt.Sprintf("%+v", e); strings.Contains(all, text[max(0, len(text)-30):]) || strings.ContainsAny(all, "\r\n") {
				t.Errorf("the event shows the token, or takes two lines: %.400s", all)
			}
		})
	}
	honest(t, s)
	if open := s.Guard.Stats().Admitted; open != 1 {
		t.Errorf("%d sessions were admitted, want 1", open)
	}
}

func TestGoodTokens(t *testing.T) {
	s := wssecuretest.NewServer(t)
	var good []tokenRow
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		good = append(good, tokenRow{name: alg, token: func(i *wssecuretest.Issuer) string { return i.Sign(alg, i.Claims("alice")) }})
	}
	for _, row := range append(good, []tokenRow{
		{name: "J-09 within the skew", token: func(i *wssecuretest.Issuer) string { return claimed(members{"exp": ago(time.Second)})(i) }},
		{name: "J-10 within the skew", token: claimed(members{"nbf": ago(-20 * time.Second), "iat": ago(-20 * time.Second)})},
		{name: "J-11 a fraction", token: payload(`{` + common + `,"aud":"chat","iat":1700000000.5}`)},
		{name: "J-13 aud a list", token: claimed(members{"aud": []string{"x", "chat"}})},
		{name: "J-14 at+jwt", token: headed(members{"typ": "application/at+jwt"})},
		{name: "J-15 nonce", token: claimed(members{"nonce": "x"})},
		{name: "J-30 8,192 bytes", token: func(i *wssecuretest.Issuer) string { return sized(i, 8192) }},
		{name: "J-37 EXP beside exp", token: claimed(members{"EXP": 1})},
	}...) {
		t.Run(row.name, func(t *testing.T) {
			_, c := wantAdmitted(t, s, s.Handshake(row.token(s.Issuer)))
			if row.name == "J-09 within the skew" && c.AwaitEOF(time.Millisecond) == nil {
				t.Error("a session within the skew was closed at once")
			}
		})
	}
}

// TestTokenSize is A-14: what is too long is refused before any verifier sees it.
func TestTokenSize(t *testing.T) {
	calls := make(chan int, 8)
	verifier := wssecure.VerifierFunc(func(_ context.Context, token string) (*wssecure.Identity, error) {
		calls <- len(token)
		return nil, wssecure.ReasonTokenInvalid
	})
	s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(verifier,
			wssecure.FromBearer(), wssecure.FromSubprotocol(), wssecure.InsecureFromQuery("t", "A-14"), wssecure.FromCookie("__Host-sid")),
	}})
	for n, called := range map[int]int{8192: 1, 8193: 0} {
		text := strings.Repeat("a", n)
		for name, hs := range map[string]*probe.Handshake{
			"bearer": s.Handshake(text), "subprotocol": s.Handshake("").Add("Sec-WebSocket-Protocol: bearer, " + text),
			"cookie": s.Handshake("").Add("Cookie: __Host-sid=" + text), "query": s.Handshake(""),
		} {
			if name == "query" {
				hs.Target = "/ws?t=" + text
			}
			_, e := wantDenied(t, s, hs, 401, invalid)
			if len(calls) != called {
				t.Errorf("%s, %d bytes: %d calls, want %d (%s)", name, n, len(calls), called, e.Seen)
			}
			for len(calls) > 0 {
				<-calls
			}
		}
	}
	issuer := wssecuretest.NewIssuer(t, "")
	big := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(
			wssecure.StaticKeys(issuer.JWKS(), issuer.URL, wssecuretest.Audience, wssecure.MaxTokenSize(32<<10))),
	}})
	wantAdmitted(t, big, big.Handshake(sized(issuer, 32768)))
	wantDenied(t, big, big.Handshake(sized(issuer, 32769)), 401, invalid)
	for _, n := range []int{0, -1, 8191, 32769} {
		wantFault(t, fmt.Sprintf("MaxTokenSize: %d is out of range; use 8192 to 32768", n), wssecure.RequireToken(
			wssecure.StaticKeys(issuer.JWKS(), issuer.URL, wssecuretest.Audience, wssecure.MaxTokenSize(n))))
	}
}

func TestTokensThatAreNoText(t *testing.T) {
	s := wssecuretest.NewServer(t)
	for _, text := range [][]byte{{0xff}, {'a', 0x80}, []byte("\u00a0"), bytes.Repeat([]byte{0xc0}, 100)} {
		hs := s.Handshake("").Add("Authorization: Bearer " + string(text))
		wantDenied(t, s, hs, 400, badForm)
	}
	b64 := base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe"))
	wantDenied(t, s, s.Handshake(b64+"."+b64+"."+b64), 401, invalid)
}

// TestJWKSOverTLS is with a socket: the issuer is down, then up, and
// nobody may serve its keys whose certificate does not verify.
func TestJWKSOverTLS(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	idp := httptest.NewUnstartedServer(issuer.Handler())
	idp.Config.ErrorLog = log.New(io.Discard, "", 0)
	idp.StartTLS()
	defer idp.Close()
	start := func(opts ...wssecure.TokenOption) *wssecuretest.Server {
		s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
			wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(
				wssecure.JWKS(idp.URL+wssecuretest.KeysPath, issuer.URL, wssecuretest.Audience, opts...)),
		}})
		s.Issuer = issuer
		return s
	}
	wantDown := func(s *wssecuretest.Server, cause string) {
		t.Helper()
		r, e := wantDenied(t, s, s.Handshake(issuer.Token("alice")), 503, wssecure.ReasonUnavailable)
		if after := r.Values("Retry-After"); len(after) != 1 || !regexp.MustCompile(`^[1-9][0-9]?$`).MatchString(after[0]) {
			t.Errorf("Retry-After: %q", after)
		}
		for what, err := range map[string]error{"Ready": s.Guard.Ready(t.Context()), "event": e.Err, "jwks.failed": s.WaitEvent(wssecure.EventKeysFailed).Err} {
			if err == nil || !strings.Contains(err.Error(), cause) {
				t.Errorf("%s: %v, want %q", what, err, cause)
			}
		}
	}
	wantDown(start(), "certificate")
	issuer.SetFault(wssecuretest.Down)
	s := start(wssecure.HTTPClient(idp.Client()))
	wantDown(s, "status 500")
	issuer.SetFault(wssecuretest.NoFault)
	s.WaitEvent(wssecure.EventKeysRefreshed)
	if err := s.Guard.Ready(t.Context()); err != nil {
		t.Errorf("Ready after recovery: %v", err)
	}
	honest(t, s)

	lax := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for want, v := range map[string]wssecure.Verifier{
		"HTTPClient: InsecureSkipVerify":                   wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.HTTPClient(lax)),
		"HTTPClient: the client is nil":                    wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.HTTPClient(nil)),
		`JWKS: "http://id.example.com" is not https`:       wssecure.JWKS("http://id.example.com", issuer.URL, "chat"),
		"JWKS: the audience is empty":                      wssecure.JWKS(keysURL, issuer.URL, ""),
		"JWKS: the issuer is empty":                        wssecure.JWKS(keysURL, "", "chat"),
		`Algorithms: "none" is not a signature`:            wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.Algorithms("none")),
		`Algorithms: "HS256" needs a shared secret`:        wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.Algorithms("HS256")),
		"Algorithms: the list is empty":                    wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.Algorithms()),
		"ClockSkew: 10m0s is out of range":                 wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.ClockSkew(10*time.Minute)),
		"MaxTokenAge: 0s admits no token":                  wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.MaxTokenAge(0)),
		"Tenants: the list is empty":                       wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.Tenants()),
		`AudienceClaim: "" is no claim`:                    wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.AudienceClaim("")),
		"Secrets: 5 secrets are too many":                  wssecure.Secrets(issuer.URL, "chat", nil, nil, nil, nil, nil),
		"StaticKeys: no usable key among 0":                wssecure.StaticKeys([]byte(`{"keys":[]}`), issuer.URL, "chat"),
		"JWKS: a token option is nil; remove it":           wssecure.JWKS(keysURL, issuer.URL, "chat", nil),
		`TokenType: "" is no type; write "at+jwt", or lea`: wssecure.JWKS(keysURL, issuer.URL, "chat", wssecure.TokenType("")),
	} {
		wantFault(t, want, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(v))
	}
}
