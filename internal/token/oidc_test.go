package token_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

const metadataURL = issuer + "/.well-known/openid-configuration"

func metadata(issuer, keys string) string {
	return string(must(json.Marshal(map[string]any{"issuer": issuer, "jwks_uri": keys, "response_types_supported": []string{"code"}})))
}

// sites serves bodies by URL; what it does not have is 404.
func sites(bodies map[string]string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		body, is := bodies[r.URL.String()]
		if !is || r.Method != http.MethodGet {
			return respond(404, ""), nil
		}
		return respond(200, body), nil
	}
}

// discovered is remote with the place of the keys left to discovery.
func discovered(t *testing.T, r token.Rules, answer func(*http.Request) (*http.Response, error), f func(*testing.T, *idp, *verifier)) {
	t.Helper()
	fixtureSet()
	synctest.Test(t, func(t *testing.T) {
		p := &idp{answer: answer}
		r.Option = "OIDC"
		v, err := token.NewOIDC(&http.Client{Transport: p}, r, same, p.notice)
		if err != nil {
			t.Fatal(err)
		}
		f(t, p, v)
		v.Close()
		v.Close()
	})
}

func issuedBy(iss string) token.Rules {
	r := rules()
	r.Issuer = iss
	return r
}

func TestDiscovery(t *testing.T) {
	es := fixtureSet()["es"]
	good := map[string]string{metadataURL: metadata(issuer, keysURL), keysURL: string(jwks(es.jwk()))}
	t.Run("Q-14 the path follows the issuer", func(t *testing.T) {
		discovered(t, issuedBy(issuer), sites(good), func(t *testing.T, p *idp, v *verifier) {
			time.Sleep(time.Hour)
			if n := p.fetches(); n != 0 {
				t.Errorf("%d requests before the first use", n)
			}
			if got := judge(v, es.token(nil)); got != "ok" || p.fetches() != 2 {
				t.Errorf("got %s", got)
			}
		})
	})
	t.Run("Q-14 with a trailing slash", func(t *testing.T) {
		slash := issuer + "/tenant/"
		at := map[string]string{issuer + "/tenant/.well-known/openid-configuration": metadata(slash, keysURL), keysURL: good[keysURL]}
		discovered(t, issuedBy(slash), sites(at), func(t *testing.T, p *idp, v *verifier) {
			if got := judge(v, es.token(map[string]any{"iss": slash})); got != "ok" {
				t.Errorf("got %s", got)
			}
			if got := judge(v, es.token(map[string]any{"iss": strings.TrimSuffix(slash, "/")})); got != "invalid" {
				t.Errorf("J-12 without the slash: got %s", got)
			}
		})
	})
	t.Run("Q-14 read again daily", func(t *testing.T) {
		moved := issuer + "/new-keys"
		var asked atomic.Int64
		counted := func(at map[string]string) func(*http.Request) (*http.Response, error) {
			return func(r *http.Request) (*http.Response, error) {
				if r.URL.String() == metadataURL {
					asked.Add(1)
				}
				return sites(at)(r)
			}
		}
		discovered(t, issuedBy(issuer), counted(good), func(t *testing.T, p *idp, v *verifier) {
			judge(v, es.token(nil))
			p.set(counted(map[string]string{metadataURL: metadata(issuer, moved), keysURL: good[keysURL], moved: string(jwks(fixtureSet()["ed"].jwk()))}))
			time.Sleep(21 * time.Hour)
			synctest.Wait()
			if asked.Load() != 1 || judge(v, es.token(lasting())) != "ok" {
				t.Errorf("after 21 h: %d readings", asked.Load())
			}
			time.Sleep(6 * time.Hour)
			synctest.Wait()
			if asked.Load() != 2 || judge(v, fixtureSet()["ed"].token(lasting())) != "ok" || judge(v, es.token(lasting())) != "invalid" {
				t.Errorf("after 27 h: %d readings, or the old keys", asked.Load())
			}
		})
	})
	t.Run("Q-02 down at start, then up", func(t *testing.T) {
		discovered(t, issuedBy(issuer), down, func(t *testing.T, p *idp, v *verifier) {
			if got := judge(v, es.token(nil)); got != "unavailable" {
				t.Fatalf("got %s", got)
			}
			if err := v.Ready(); err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("Ready: %v", err)
			}
			time.Sleep(10 * time.Minute)
			asked, notices := p.took()
			wantBackOff(t, asked)
			if len(asked) < 14 || len(notices) != len(asked) || notices[0].URL != metadataURL || notices[0].Kind != token.Failed {
				t.Errorf("%d requests, %d notices", len(asked), len(notices))
			}
			p.set(sites(good))
			time.Sleep(73 * time.Second)
			if err := v.Ready(); err != nil || judge(v, es.token(nil)) != "ok" {
				t.Errorf("after recovery: %v", err)
			}
		})
	})
	t.Run("Q-08 unknown kids ask for keys, not for metadata", func(t *testing.T) {
		discovered(t, issuedBy(issuer), sites(good), func(t *testing.T, p *idp, v *verifier) {
			judge(v, es.token(nil))
			p.fetches()
			other := pair{"other", "ES256", strangeEC()}
			if got := judge(v, other.token(nil)); got != "invalid" || p.fetches() != 1 {
				t.Errorf("got %s", got)
			}
		})
	})
}

// TestDiscoveryRefused is Q-15: first as the issuer's only answer, then after a good one, whose keys stay.
func TestDiscoveryRefused(t *testing.T) {
	es := fixtureSet()["es"]
	text := func(keys string) string { return metadata(issuer, keys) }
	for name, row := range map[string]struct{ body, tells string }{
		"another issuer":           {metadata("https://id.example.com.evil.example", keysURL), "evil.example"},
		"issuer with a slash":      {metadata(issuer+"/", keysURL), issuer + `/"`},
		"issuer in other case":     {metadata("https://ID.example.com", keysURL), "ID.example.com"},
		"issuer absent":            {`{"jwks_uri":"` + keysURL + `"}`, "issuer"},
		"issuer a list":            {`{"issuer":["` + issuer + `"],"jwks_uri":"` + keysURL + `"}`, "issuer"},
		"issuer by another name":   {`{"Issuer":"` + issuer + `","jwks_uri":"` + keysURL + `"}`, "issuer"},
		"issuer twice":             {`{"issuer":"https://x.example","issuer":"` + issuer + `","jwks_uri":"` + keysURL + `"}`, "metadata"},
		"jwks_uri absent":          {`{"issuer":"` + issuer + `"}`, "jwks_uri"},
		"jwks_uri null":            {`{"issuer":"` + issuer + `","jwks_uri":null}`, "jwks_uri"},
		"jwks_uri http":            {text("http://id.example.com/keys"), "http://id.example.com/keys"},
		"jwks_uri file":            {text("file:///etc/passwd"), "file:"},
		"jwks_uri with a user":     {text("https://a:b@id.example.com/keys"), "user"},
		"jwks_uri loopback":        {text("https://127.0.0.1/keys"), "127.0.0.1"},
		"jwks_uri loopback, other": {text("https://127.8.8.8:8443/keys"), "127.8.8.8"},
		"jwks_uri [::1]":           {text("https://[::1]/keys"), "::1"},
		"jwks_uri mapped":          {text("https://[::ffff:127.0.0.1]/keys"), "127.0.0.1"},
		"jwks_uri 10/8":            {text("https://10.0.0.1/keys"), "10.0.0.1"},
		"jwks_uri 192.168/16":      {text("https://192.168.1.1/keys"), "192.168.1.1"},
		"jwks_uri metadata server": {text("https://169.254.169.254/latest"), "169.254.169.254"},
		"jwks_uri shared space":    {text("https://100.64.1.1/keys"), "100.64.1.1"},
		"jwks_uri unspecified":     {text("https://0.0.0.0/keys"), "0.0.0.0"},
		"jwks_uri unique-local":    {text("https://[fd00::1]/keys"), "fd00::1"},
		"jwks_uri with a zone":     {text("https://[fe80::1%25eth0]/keys"), "fe80"},
		"jwks_uri localhost":       {text("https://localhost/keys"), "localhost"},
		"jwks_uri LOCALHOST.":      {text("https://LOCALHOST./keys"), "LOCALHOST"},
		"jwks_uri short address":   {text("https://127.1/keys"), "127.1"},
		"jwks_uri hex address":     {text("https://0x7f000001/keys"), "0x7f000001"},
		"jwks_uri octal address":   {text("https://017700000001/keys"), "017700000001"},
		"jwks_uri wide digits":     {text("https://１２７.０.０.１/keys"), "plain host"},
		"jwks_uri circled letters": {text("https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/keys"), "plain host"},
		"HTML":                     {"<!doctype html>", "metadata"},
		"an array":                 {"[]", "metadata"},
		"cut":                      {good(es)[:40], "metadata"},
		"two values":               {good(es) + good(es), "metadata"},
		"over 1 MiB":               {strings.Repeat(" ", 1<<20) + good(es), "1024 KiB"},
		"a million members":        {`{"issuer":"` + issuer + `","x":{` + strings.Repeat(`"":0,`, 2000) + `"a":0}}`, "metadata"},
	} {
		t.Run("Q-15 "+name, func(t *testing.T) {
			at := map[string]string{metadataURL: row.body, keysURL: string(jwks(es.jwk()))}
			discovered(t, issuedBy(issuer), sites(at), func(t *testing.T, p *idp, v *verifier) {
				if got := judge(v, es.token(nil)); got != "unavailable" || v.Ready() == nil {
					t.Fatalf("got %s", got)
				}
				asked, notices := p.took()
				if len(asked) != 1 || len(notices) != 1 || notices[0].Kind != token.Failed || !strings.Contains(notices[0].Err.Error(), row.tells) {
					t.Errorf("%d requests, notices %v", len(asked), notices)
				}
				var m *token.Mismatch
				if name == "another issuer" && (!errors.As(notices[0].Err, &m) || m.Seen != `"https://id.example.com.evil.example"` || m.Wanted != `"`+issuer+`"`) {
					t.Errorf("the notice has not both values: %+v", notices[0].Err)
				}
			})
			discovered(t, issuedBy(issuer), sites(map[string]string{metadataURL: good(es), keysURL: at[keysURL]}), func(t *testing.T, p *idp, v *verifier) {
				judge(v, es.token(nil))
				p.set(sites(at))
				time.Sleep(30 * time.Hour) // the last good fetch is less than a day ago
				_, notices := p.took()
				if last := notices[len(notices)-1]; last.Kind != token.Failed || last.Keys != 1 {
					t.Errorf("notice %+v", last)
				}
				if got := judge(v, es.token(lasting())); got != "ok" {
					t.Errorf("old keys: got %s", got)
				}
			})
		})
	}
	for _, keys := range []string{"https://www.googleapis.com/oauth2/v3/certs", "https://keys.example.net/k?p=b2c_1", "https://8.8.8.8/keys"} {
		t.Run("Q-15 used: "+keys, func(t *testing.T) {
			at := map[string]string{metadataURL: text(keys), keys: string(jwks(es.jwk()))}
			discovered(t, issuedBy(issuer), sites(at), func(t *testing.T, p *idp, v *verifier) {
				if got := judge(v, es.token(nil)); got != "ok" {
					t.Errorf("got %s", got)
				}
			})
		})
	}
	for _, inside := range []string{"https://127.0.0.1:8443", "https://localhost", "https://10.1.2.3/realm"} {
		t.Run("Q-15 an issuer inside: "+inside, func(t *testing.T) {
			keys := "https://192.168.7.7/keys"
			at := map[string]string{inside + "/.well-known/openid-configuration": metadata(inside, keys), keys: string(jwks(es.jwk()))}
			discovered(t, issuedBy(inside), sites(at), func(t *testing.T, p *idp, v *verifier) {
				if got := judge(v, es.token(map[string]any{"iss": inside})); got != "ok" {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

func good(p pair) string { return metadata(issuer, keysURL) }

func TestDiscoveryFollowsNoRedirect(t *testing.T) {
	es := fixtureSet()["es"]
	target := "https://elsewhere.example/metadata"
	at := map[string]string{target: metadata(issuer, keysURL), keysURL: string(jwks(es.jwk()))}
	answer := func(r *http.Request) (*http.Response, error) {
		if r.URL.String() == metadataURL {
			return respond(302, "", "Location", target), nil
		}
		return sites(at)(r)
	}
	discovered(t, issuedBy(issuer), answer, func(t *testing.T, p *idp, v *verifier) {
		if got := judge(v, es.token(nil)); got != "unavailable" || p.fetches() != 1 {
			t.Errorf("Q-03 got %s", got)
		}
	})
}

// TestTenants is Q-16.
func TestTenants(t *testing.T) {
	const host = "https://login.example"
	a, b := host+"/a1/v2.0", host+"/a2/v2.0"
	r := rulesNamed(t, "tenant")
	es, stranger, ed := fixtureSet()["es"], fixtureSet()["stranger"], fixtureSet()["ed"]
	at := map[string]string{
		a + "/.well-known/openid-configuration": metadata(a, host+"/a1/keys"), host + "/a1/keys": string(jwks(es.jwk())),
		b + "/.well-known/openid-configuration": metadata(b, host+"/a2/keys"), host + "/a2/keys": string(jwks(stranger.jwk(), ed.jwk())),
	}
	of := func(iss string) map[string]any { return map[string]any{"iss": iss} }
	discovered(t, r, sites(at), func(t *testing.T, p *idp, v *verifier) {
		for _, row := range []struct {
			name, text, want string
			fetches          int
		}{
			{"of the first", es.token(of(a)), "ok", 2},
			{"of the first again", es.token(of(a)), "ok", 0},
			{"of the second", stranger.token(of(b)), "ok", 2},
			{"the second's key under the first's iss and kid", stranger.token(of(a)), "forged", 0},
			{"the first's key under the second's iss and kid", es.token(of(b)), "forged", 0},
			{"a kid that only the other tenant has", ed.token(of(a)), "invalid", 1},
			{"that kid, at home", ed.token(of(b)), "ok", 0},
			{"a tenant not served", es.token(of(host + "/a3/v2.0")), "invalid", 0},
			{"the template", es.token(of(r.Issuer)), "invalid", 0},
			{"tid unlike iss", es.token(map[string]any{"iss": a, "tid": "a2"}), "invalid", 0},
			{"no token", "junk", "invalid", 0},
		} {
			if got := judge(v, row.text); got != row.want {
				t.Errorf("Q-16 %s: got %s, want %s", row.name, got, row.want)
			}
			if n := p.fetches(); n != row.fetches {
				t.Errorf("Q-16 %s: %d requests, want %d", row.name, n, row.fetches)
			}
		}
		first := es.token(of(a))
		if v.Known(first) || judge(v, first) != "ok" || !v.Known(first) || v.Known("junk") {
			t.Error("J-42 Known")
		}
	})
	delete(at, b+"/.well-known/openid-configuration")
	discovered(t, r, sites(at), func(t *testing.T, p *idp, v *verifier) {
		v.Ready()
		synctest.Wait()
		if err := v.Ready(); err == nil || !strings.Contains(err.Error(), "/a2/") || strings.Contains(err.Error(), "/a1/") {
			t.Errorf("Q-02 Ready: %v", err)
		}
		if judge(v, es.token(of(a))) != "ok" || judge(v, stranger.token(of(b))) != "unavailable" {
			t.Error("Q-16 one tenant's outage is the other's")
		}
	})
}

func TestOIDCErrors(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*token.Rules)
		want   []string
	}{
		{"G-23", func(r *token.Rules) { r.Issuer = "http://id.example.com" }, []string{`OIDC: "http://id.example.com" is not https; write "https://id.example.com"`}},
		{"G-24", func(r *token.Rules) { r.Audience = "" }, []string{"OIDC: the audience is empty; write the one your tokens carry"}},
		{"G-88", func(r *token.Rules) { r.Issuer, r.Tenants = "https://x.example/{tenantid}", []string{} }, []string{"Tenants: the list is empty; name the tenants you serve"}},
		{"J-44 no issuer", func(r *token.Rules) { r.Issuer = "" }, []string{"OIDC: the issuer is empty; write the iss your tokens carry"}},
		{"the metadata's own address", func(r *token.Rules) { r.Issuer += "/t/.well-known/openid-configuration" }, []string{`OIDC: "https://id.example.com/t/.well-known/openid-configuration" is where its metadata is; write the iss your tokens carry, as "https://id.example.com/t"`}},
		{"J-44 query", func(r *token.Rules) { r.Issuer += "?a=b" }, []string{`OIDC: "https://id.example.com?a=b" has a query; write "https://id.example.com"`}},
		{"J-44 fragment", func(r *token.Rules) { r.Issuer += "#" }, []string{`OIDC: "https://id.example.com#" has a fragment; write "https://id.example.com"`}},
		{"J-44 user", func(r *token.Rules) { r.Issuer = "https://u:p@id.example.com" }, []string{`OIDC: the URL for "id.example.com" has a user or password; write "https://id.example.com"`}},
		{"J-44 HS256", func(r *token.Rules) { r.Algorithms = []string{"HS256"} }, []string{`Algorithms: "HS256" needs a shared secret, which OIDC does not fetch; use Secrets`}},
		{"J-49 template without Tenants", func(r *token.Rules) { r.Issuer = "https://{tenantid}.example" }, []string{`OIDC: issuer "https://{tenantid}.example" is a template; add Tenants with the tenants you serve`}},
		{"J-49 http template", func(r *token.Rules) { r.Issuer, r.Tenants = "http://x.example/{tenantid}", []string{"a"} }, []string{`OIDC: "http://x.example/{tenantid}" is not https; write "https://x.example/{tenantid}"`}},
		{"two at once", func(r *token.Rules) { r.Issuer, r.Skew = "http://id.example.com", -1 }, []string{`OIDC: "http://id.example.com" is not https; write "https://id.example.com"`, "ClockSkew: -1ns is out of range; use 0s to 5m0s"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := rules()
			r.Option = "OIDC"
			row.change(&r)
			_, err := token.NewOIDC[*token.Claims](nil, r, same, nil)
			wantConfigErrors(t, err, row.want)
		})
	}
}

func wantConfigErrors(t *testing.T, err error, want []string) {
	t.Helper()
	got := configErrors(t, err)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzMetadata: whatever an issuer serves, keys come only from where its metadata may point.
func FuzzMetadata(f *testing.F) {
	for _, body := range []string{good(pair{}), metadata(issuer, "https://127.0.0.1/"), metadata("x", keysURL), "[]", `{"issuer":null}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var where []string
		p := &idp{}
		p.answer = func(r *http.Request) (*http.Response, error) {
			if r.URL.String() == metadataURL {
				return respond(200, body), nil
			}
			where = append(where, r.URL.String())
			return nil, errors.New("no route")
		}
		v := must(token.NewOIDC(&http.Client{Transport: p}, issuedBy(issuer), same, nil))
		defer v.Close()
		_, err := v.Verify(context.Background(), fuzzToken)
		if answer(err) != "unavailable" {
			t.Errorf("got %v", err)
		}
		for _, asked := range where {
			u := must(url.Parse(asked))
			if a, err := netip.ParseAddr(u.Hostname()); u.Scheme != "https" || err == nil && (a.IsLoopback() || a.IsPrivate()) {
				t.Errorf("asked %s", asked)
			}
		}
	})
}

var fuzzToken = fixtureSet()["es"].token(map[string]any{"exp": time.Now().Unix() + 1<<20})
