package token_test

import (
	"maps"
	"strings"
	"testing"
	"time"
)

func TestLogout(t *testing.T) {
	es := fixtureSet()["es"]
	event := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	header := func(typ string) string { return strings.TrimSuffix(es.header(), "}") + typ + "}" }
	now := time.Now().Unix()
	for _, row := range []struct {
		name, typ string
		more      map[string]any
		want      string
	}{
		{"S-07 typ logout+jwt", `,"typ":"logout+jwt"`, nil, "ok"},
		{"S-07 typ application/Logout+JWT", `,"typ":"application/Logout+JWT"`, nil, "ok"},
		{"S-07 typ JWT", `,"typ":"JWT"`, nil, "ok"},
		{"S-07 no typ", ``, nil, "ok"},
		{"S-07 sid alone", ``, map[string]any{"sub": nil, "sid": "s"}, "ok"},
		{"S-07 the other client, in a list", ``, map[string]any{"aud": []string{"x", "app"}}, "ok"},
		{"S-19 typ at+jwt", `,"typ":"at+jwt"`, nil, "invalid"},
		{"S-19 typ null", `,"typ":null`, nil, "invalid"},
		{"S-19 other audience", ``, map[string]any{"aud": "chat"}, "invalid"},
		{"S-19 no audience", ``, map[string]any{"aud": nil}, "invalid"},
		{"S-19 empty audience", ``, map[string]any{"aud": ""}, "invalid"},
		{"S-19 other issuer", ``, map[string]any{"iss": "https://evil.example"}, "invalid"},
		{"S-19 no events", ``, map[string]any{"events": nil}, "invalid"},
		{"S-19 another event", ``, map[string]any{"events": map[string]any{"x": map[string]any{}}}, "invalid"},
		{"S-19 event no object", ``, map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": true}}, "invalid"},
		{"S-19 nonce", ``, map[string]any{"nonce": "n"}, "invalid"},
		{"S-19 neither sub nor sid", ``, map[string]any{"sub": nil}, "invalid"},
		{"S-19 no jti", ``, map[string]any{"jti": nil}, "invalid"},
		{"S-19 no iat", ``, map[string]any{"iat": nil}, "invalid"},
		{"S-19 no exp", ``, map[string]any{"exp": nil}, "invalid"},
		{"S-19 expired", ``, map[string]any{"exp": now - 60}, "expired"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := fixture(t, rules())
			plain := map[string]any{"aud": "web", "iat": now, "jti": "1", "events": event}
			maps.Copy(plain, row.more)
			text := es.mint(header(row.typ), claims(plain))
			c, err := v.VerifyLogout(t.Context(), text, "web", "app")
			if answer(err) != row.want || (err == nil) != (c != nil) {
				t.Errorf("got %v, want %s", err, row.want)
			}
			// Logout and access tokens never stand in for each other, also after the header was seen.
			if got := judge(v, text); got == "ok" || v.Known(text) {
				t.Errorf("as an access token: %s", got)
			}
			access := es.mint(header(row.typ), claims(nil))
			if got := judge(v, access); (got == "ok") != (row.typ == "" || strings.Contains(row.typ, `"JWT"`) || strings.Contains(row.typ, "at+jwt")) {
				t.Errorf("an access token with this header: %s", got)
			}
			if _, err := v.VerifyLogout(t.Context(), access, "chat"); answer(err) != "invalid" {
				t.Errorf("an access token as logout token: %v", err)
			}
			if _, err := v.VerifyLogout(t.Context(), text, "web", "app"); answer(err) != row.want {
				t.Errorf("the second time: %v", err)
			}
		})
	}
	t.Run("S-19 forged", func(t *testing.T) {
		plain := map[string]any{"aud": "web", "iat": now, "jti": "1", "events": event}
		v := fixture(t, rules())
		if _, err := v.VerifyLogout(t.Context(), fixtureSet()["stranger"].token(plain), "web"); answer(err) != "forged" {
			t.Errorf("got %v", err)
		}
		if _, err := v.VerifyLogout(t.Context(), strings.Repeat("a", 9000), "web"); answer(err) != "invalid" {
			t.Errorf("too long: %v", err)
		}
		if _, err := v.VerifyLogout(t.Context(), es.token(plain)); answer(err) != "invalid" {
			t.Errorf("without audiences: %v", err)
		}
	})
}
