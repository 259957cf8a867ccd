package token_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

const (
	endpoint     = "https://id.example.com/introspect"
	clientSecret = "canary:s3cr\u00e9t %+"
)

// An opaque verdict is the claims and the way to ask anew.
type opaque struct {
	claims *token.Claims
	again  func(context.Context) (opaque, error)
}

type introspector = token.Introspector[opaque]

func pairUp(c *token.Claims, again func(context.Context) (opaque, error)) opaque {
	return opaque{c, again}
}

func opaqueRules() token.Rules {
	r := rules()
	r.Option, r.Issuer = "Introspection", ""
	return r
}

// introspecting is remote for a server that is asked about each token.
func introspecting(t *testing.T, r token.Rules, answer func(*http.Request) (*http.Response, error), f func(*testing.T, *idp, *introspector)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &idp{answer: answer}
		v, err := token.NewIntrospector(endpoint, "chat:server", clientSecret, &http.Client{Transport: p}, r, pairUp)
		if err != nil {
			t.Fatal(err)
		}
		f(t, p, v)
		v.Close()
		v.Close()
	})
}

func opinion(v *introspector, text string) string {
	_, err := v.Verify(context.Background(), text)
	return answer(err)
}

// active is the answer about a good token, changed by more.
func active(more map[string]any) string {
	plain := map[string]any{"active": true, "aud": audience, "sub": "alice", "exp": time.Now().Unix() + 600}
	return string(must(json.Marshal(with(plain, more))))
}

func says(body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return respond(200, body), nil }
}

func TestIntrospectionRequest(t *testing.T) {
	text := "op&aque=+/%\u00e9 token"
	var seen *http.Request
	var form url.Values
	answer := func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		seen = r
		form, err = url.ParseQuery(string(body))
		return respond(200, active(nil)), err
	}
	introspecting(t, opaqueRules(), answer, func(t *testing.T, p *idp, v *introspector) {
		if got := opinion(v, text); got != "ok" {
			t.Fatalf("A-20 got %s", got)
		}
		if seen.Method != http.MethodPost || seen.URL.String() != endpoint || seen.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("A-20 %s %s %s", seen.Method, seen.URL, seen.Header)
		}
		if len(form) != 2 || form.Get("token") != text || form.Get("token_type_hint") != "access_token" {
			t.Errorf("A-20 form %v", form)
		}
		// RFC 6749 2.3.1: each is form-encoded, then they are joined.
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte("chat%3Aserver:canary%3As3cr%C3%A9t+%25%2B"))
		if got := seen.Header.Get("Authorization"); got != want {
			t.Errorf("A-20 Authorization %q, want %q", got, want)
		}
	})
}

func TestIntrospectionAnswers(t *testing.T) {
	change := func(f func(*token.Rules)) token.Rules {
		r := opaqueRules()
		f(&r)
		return r
	}
	plain := opaqueRules()
	anyone := change(func(r *token.Rules) { r.AnyAudience, r.Audience = true, "" })
	byClient := change(func(r *token.Rules) { r.AudienceClaim = "client_id" })
	for _, row := range []struct {
		name  string
		rules token.Rules
		more  map[string]any
		want  string
	}{
		{"A-40 our aud and sub", plain, nil, "ok"},
		{"A-40 aud in a list", plain, map[string]any{"aud": []string{"x", audience}}, "ok"},
		{"A-40 client_id without sub", plain, map[string]any{"sub": nil, "client_id": "cron"}, "ok"},
		{"A-40 its own iss", plain, map[string]any{"iss": "https://other.example"}, "ok"},
		{"A-40 no exp (RFC 7662 2.2)", plain, map[string]any{"exp": nil}, "ok"},
		{"A-40 inactive", plain, map[string]any{"active": false}, "invalid"},
		{"A-40 exp past", plain, map[string]any{"exp": "NOW-3600"}, "expired"},
		{"A-40 exp just within the skew", plain, map[string]any{"exp": "NOW-29"}, "ok"},
		{"A-40 exp just past the skew", plain, map[string]any{"exp": "NOW-30"}, "expired"},
		{"A-40 exp a string", plain, map[string]any{"exp": "soon"}, "invalid"},
		{"A-40 nbf ahead", plain, map[string]any{"nbf": "NOW+31"}, "invalid"},
		{"A-40 scope no string", plain, map[string]any{"scope": 1}, "invalid"},
		{"A-40 iss no string", plain, map[string]any{"iss": 1}, "invalid"},
		{"A-40 iss empty", plain, map[string]any{"iss": ""}, "invalid"},
		{"A-40 a control character in sub", plain, map[string]any{"sub": "a\n"}, "invalid"},
		{"A-40 an ID token", plain, map[string]any{"at_hash": "x"}, "invalid"},
		{"A-22 cnf.jkt", plain, map[string]any{"cnf": map[string]any{"jkt": "x"}}, "invalid"},
		{"A-22 token_type DPoP", plain, map[string]any{"token_type": "DPoP"}, "invalid"},
		{"A-40 token_type Bearer", plain, map[string]any{"token_type": "Bearer"}, "ok"},
		{"A-40 a refresh token", plain, map[string]any{"token_use": "refresh_token"}, "invalid"},
		{"A-40 token_use access_token", plain, map[string]any{"token_use": "access_token"}, "ok"},
		{"A-70 aud absent", plain, map[string]any{"aud": nil}, "invalid"},
		{"A-70 aud another", plain, map[string]any{"aud": "mail"}, "invalid"},
		{"A-70 neither sub nor client_id", plain, map[string]any{"sub": nil}, "invalid"},
		{"A-70 sub empty, beside client_id", plain, map[string]any{"sub": "", "client_id": "cron"}, "invalid"},
		{"A-70 client_id no string", plain, map[string]any{"sub": nil, "client_id": 7}, "invalid"},
		{"A-64 aud absent", anyone, map[string]any{"aud": nil}, "ok"},
		{"A-64 aud another", anyone, map[string]any{"aud": "mail"}, "ok"},
		{"J-46 client_id ours", byClient, map[string]any{"aud": nil, "client_id": audience}, "ok"},
		{"J-46 client_id other", byClient, map[string]any{"client_id": "x"}, "invalid"},
	} {
		t.Run(row.name, func(t *testing.T) {
			introspecting(t, row.rules, down, func(t *testing.T, p *idp, v *introspector) {
				body := active(row.more)
				for _, name := range []string{"NOW-29", "NOW-30", "NOW+31", "NOW-3600"} {
					body = strings.ReplaceAll(body, `"`+name+`"`, times(name))
				}
				p.set(says(body))
				if got := opinion(v, "opaque"); got != row.want {
					t.Errorf("got %s, want %s", got, row.want)
				}
			})
		})
	}
	t.Run("A-40 what the identity is made of", func(t *testing.T) {
		introspecting(t, plain, down, func(t *testing.T, p *idp, v *introspector) {
			p.set(says(active(map[string]any{"sub": nil, "client_id": "cron", "scope": "a b", "jti": "j"})))
			got, err := v.Verify(t.Context(), "opaque")
			if err != nil || got.claims.Issuer != endpoint || got.claims.Subject != "cron" || len(got.claims.Scopes) != 2 || got.claims.TokenID != "j" {
				t.Errorf("%+v, %v", got.claims, err)
			}
			other, _ := v.Verify(t.Context(), "opaque too")
			if got.claims.Content == other.claims.Content || got.claims.Content == [32]byte{} {
				t.Error("two tokens have one content")
			}
		})
	})
	t.Run("A-14", func(t *testing.T) {
		introspecting(t, plain, down, func(t *testing.T, p *idp, v *introspector) {
			if opinion(v, strings.Repeat("x", 8193)) != "invalid" || opinion(v, "") != "invalid" || p.fetches() != 0 {
				t.Error("asked about what is no token of ours")
			}
		})
	})
}

// TestIntrospectionFails is A-44: our fault or the server's, never the caller's, and never remembered.
func TestIntrospectionFails(t *testing.T) {
	status := func(code int) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			return respond(code, `{"active":true,"aud":"chat","sub":"alice"}`, "Location", "https://evil.example/"), nil
		}
	}
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"active a string":    says(`{"active":"true","aud":"chat","sub":"alice"}`),
		"active a number":    says(`{"active":1,"aud":"chat","sub":"alice"}`),
		"active absent":      says(`{"aud":"chat","sub":"alice"}`),
		"Active":             says(`{"Active":true,"aud":"chat","sub":"alice"}`),
		"active twice":       says(`{"active":false,"active":true,"aud":"chat","sub":"alice"}`),
		"HTML":               says("<!doctype html>"),
		"empty":              says(""),
		"null":               says("null"),
		"an array":           says("[true]"),
		"two values":         says(`{"active":true}{}`),
		"over 64 KiB":        says(strings.Repeat(" ", 64<<10) + `{"active":false}`),
		"status 401":         status(401),
		"status 500":         status(500),
		"status 201":         status(201),
		"redirect":           status(302),
		"redirect with POST": status(307),
		"connection refused": down,
		"hang":               hangs,
	} {
		t.Run("A-44 "+name, func(t *testing.T) {
			introspecting(t, opaqueRules(), answer, func(t *testing.T, p *idp, v *introspector) {
				begin := time.Now()
				_, err := v.Verify(t.Context(), "opaque")
				if answerOf := token.Unavailable.String(); err == nil || !strings.Contains(err.Error(), answerOf) || time.Since(begin) > 5*time.Second {
					t.Errorf("got %v after %v", err, time.Since(begin))
				}
				if n := p.fetches(); n != 1 {
					t.Errorf("%d requests", n)
				}
				if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "opaque") {
					t.Errorf("a secret in %q", err)
				}
				p.set(says(active(nil)))
				if got := opinion(v, "opaque"); got != "ok" {
					t.Errorf("the server is back, and we say %s", got)
				}
			})
		})
	}
}

func TestIntrospectionErrors(t *testing.T) {
	for _, row := range []struct {
		name                 string
		endpoint, id, secret string
		change               func(*token.Rules)
		want                 []string
	}{
		{"A-20 not https", "http://id.example.com/introspect", "a", "b", nil, []string{`Introspection: "http://id.example.com/introspect" is not https; write "https://id.example.com/introspect"`}},
		{"A-20 no id", endpoint, "", "b", nil, []string{"Introspection: the client id is empty; pass the one registered with the issuer"}},
		{"G-26", endpoint, "a", "", nil, []string{"Introspection: the client secret is empty; pass the one registered with the issuer"}},
		{"G-82", endpoint, "a", "b", func(r *token.Rules) { r.Audience = "" }, []string{"Introspection: the audience is empty; write the one your tokens carry, or use InsecureAnyAudience"}},
		{"G-83", endpoint, "a", "b", func(r *token.Rules) { r.MaxSize = 65536 }, []string{"MaxTokenSize: 65536 is out of range; use 8192 to 32768"}},
		{"G-29", endpoint, "a", "b", func(r *token.Rules) { r.Skew = time.Hour }, []string{"ClockSkew: 1h0m0s is out of range; use 0s to 5m0s"}},
		{"Algorithms", endpoint, "a", "b", func(r *token.Rules) { r.Algorithms = []string{"RS256"} }, []string{"Algorithms: Introspection checks no signature; remove it"}},
		{"TokenType", endpoint, "a", "b", func(r *token.Rules) { r.Type = "at+jwt" }, []string{"TokenType: Introspection sees no header; remove it"}},
		{"all right", endpoint, "a", "b", nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := opaqueRules()
			if row.change != nil {
				row.change(&r)
			}
			_, err := token.NewIntrospector(row.endpoint, row.id, row.secret, nil, r, pairUp)
			wantConfigErrors(t, err, row.want)
		})
	}
}

// FuzzIntrospection: an answer admits only when it says active, with our audience and somebody.
func FuzzIntrospection(f *testing.F) {
	for _, body := range []string{active(nil), `{"active":false}`, `{"active":true,"aud":["chat"],"client_id":"x"}`, `{"active":"true"}`, `{"active":true,"active":true}`, "[]"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		v := must(token.NewIntrospector(endpoint, "a", "b", &http.Client{Transport: &idp{answer: says(body)}}, opaqueRules(), pairUp))
		defer v.Close()
		got, err := v.Verify(context.Background(), "opaque")
		if err != nil {
			if answer(err) == "forged" || answer(err) == "not a *token.Error" {
				t.Errorf("got %v", err)
			}
			return
		}
		all := got.claims.All
		if all["active"] != true || got.claims.Subject == "" || got.claims.Issuer == "" || !strings.Contains(body, audience) && !strings.Contains(body, `\u`) {
			t.Errorf("accepted %q", body)
		}
	})
}
