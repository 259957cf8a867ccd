package wssecuretest_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

func TestIntrospectionEndpoint(t *testing.T) {
	i := wssecuretest.NewIssuer(t, "")
	client := i.Serve(t)
	ask := func(id, secret, token string) (int, string) {
		t.Helper()
		req, err := http.NewRequest("POST", i.URL+wssecuretest.IntrospectionPath, strings.NewReader(url.Values{"token": {token}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	good := func(token string) string {
		_, body := ask(wssecuretest.ClientID, wssecuretest.ClientSecret, token)
		return body
	}
	text := i.Opaque("alice")
	if body := good(text); !strings.Contains(body, `"active":true`) || !strings.Contains(body, `"sub":"alice"`) || !strings.Contains(body, i.URL) {
		t.Errorf("active: %s", body)
	}
	if body := good("made-up"); body != `{"active":false}` {
		t.Errorf("unknown: %s", body)
	}
	i.SetActive(text, nil)
	if body := good(text); body != `{"active":false}` {
		t.Errorf("inactive: %s", body)
	}
	i.SetAnswer([]byte("{}"))
	if body := good(text); body != "{}" {
		t.Errorf("answer: %s", body)
	}
	if status, _ := ask(wssecuretest.ClientID, "wrong", text); status != 401 {
		t.Errorf("a wrong secret: status %d", status)
	}
	i.SetFault(wssecuretest.Down)
	if status, _ := ask(wssecuretest.ClientID, wssecuretest.ClientSecret, text); status != 500 {
		t.Errorf("down: status %d", status)
	}
	if n := i.Introspections(); n != 6 {
		t.Errorf("%d counted", n)
	}
}

func TestServedIssuer(t *testing.T) {
	i := wssecuretest.NewIssuer(t, "")
	client := i.Serve(t)
	v := wssecure.OIDC(i.URL, wssecuretest.Audience, wssecure.HTTPClient(client))
	id, err := v.Verify(t.Context(), i.Token("alice"))
	if err != nil || id.Subject != "alice" {
		t.Errorf("%+v, %v", id, err)
	}
	if _, err := http.Get(i.URL); err == nil {
		t.Error("any client trusts it")
	}
}
