package idp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// ask posts a form as a client and stores the answer in into, which may be nil.
func (p *provider) ask(t *testing.T, path, clientID string, form url.Values, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(secret))
	status, body, err := answered(p.client.Do(r))
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s %v", path, status, body, err)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%s answered %s: %v", path, body, err)
	}
}

func answered(resp *http.Response, err error) (int, []byte, error) {
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}

// grant is what the token endpoint gives.
type grant struct {
	AccessToken string `json:"access_token"`
	IDToken     string `json:"id_token"`
}

// serviceToken is what a service gets in its own name.
func (p *provider) serviceToken(t *testing.T, resource string) string {
	t.Helper()
	var g grant
	p.ask(t, "/token", service, url.Values{"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {"chat:read"}}, &g)
	return g.AccessToken
}

// person is somebody's browser, as far as signing in and out goes: it follows redirects, keeps cookies, and submits forms.
type person struct {
	t       *testing.T
	p       *provider
	browser *http.Client
	grant
}

// signIn signs in at the provider through its own pages, with a code and PKCE.
func (p *provider) signIn(t *testing.T, clientID, login, resource string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	who := &person{t: t, p: p, browser: &http.Client{Transport: p.client.Transport, Timeout: patience, Jar: jar, CheckRedirect: p.stay}}
	verifier, state := rand.Text()+rand.Text(), rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	back := who.open("/auth?" + url.Values{
		"client_id": {clientID}, "response_type": {"code"}, "redirect_uri": {redirectURI},
		"scope": {"openid chat:read"}, "resource": {resource}, "state": {state}, "nonce": {rand.Text()},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode()).
		submit(url.Values{"prompt": {"login"}, "login": {login}, "password": {"any"}}).
		submit(url.Values{"prompt": {"consent"}}).
		left
	if back == nil || back.Query().Get("state") != state || back.Query().Get("iss") != p.Issuer {
		t.Fatalf("signing in ended at %v", back)
	}
	p.ask(t, "/token", clientID, url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {redirectURI},
		"code_verifier": {verifier}, "resource": {resource},
	}, &who.grant)
	return who
}

// signOut is the button that every application has; the provider asks whether it is meant.
func (who *person) signOut() {
	who.t.Helper()
	page := who.open("/session/end?" + url.Values{"id_token_hint": {who.IDToken}}.Encode())
	page.submit(url.Values{"logout": {"yes"}})
}

// stay stops where the provider sends the browser to another site.
func (p *provider) stay(r *http.Request, via []*http.Request) error {
	if !strings.HasPrefix(r.URL.String(), p.Issuer+"/") {
		return http.ErrUseLastResponse
	}
	if len(via) > 10 {
		return errors.New("redirected in circles")
	}
	return nil
}

// page is what the browser shows.
type page struct {
	who  *person
	body []byte
	left *url.URL // where the provider sent the browser to, when that is another site
}

func (who *person) open(path string) *page {
	who.t.Helper()
	return who.show(who.browser.Get(who.p.Issuer + path))
}

func (who *person) show(resp *http.Response, err error) *page {
	who.t.Helper()
	if err != nil {
		who.t.Fatal(err)
	}
	left, _ := resp.Location()
	status, body, err := answered(resp, nil)
	if err != nil || (left == nil && status != http.StatusOK) {
		who.t.Fatalf("%s: %d %s %v", resp.Request.URL.Path, status, body, err)
	}
	return &page{who, body, left}
}

var (
	formAction = regexp.MustCompile(`<form [^>]*action="([^"]+)"`)
	formSecret = regexp.MustCompile(`name="xsrf" value="([^"]+)"`)
)

// submit submits the page's form with these fields.
func (p *page) submit(fields url.Values) *page {
	p.who.t.Helper()
	action := formAction.FindSubmatch(p.body)
	if action == nil {
		p.who.t.Fatalf("no form in %s", p.body)
	}
	if s := formSecret.FindSubmatch(p.body); s != nil {
		fields.Set("xsrf", string(s[1]))
	}
	return p.who.show(p.who.browser.PostForm(html.UnescapeString(string(action[1])), fields))
}

// claims are those of a token, unverified; for the log and to see that it is what a test takes it for.
func claims(t *testing.T, token string) (header, payload map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	for i, into := range []*map[string]any{&header, &payload} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return header, payload
}

// saw shows what happened in the output of make test.
func saw(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Attr("saw", fmt.Sprintf(format, args...))
}
