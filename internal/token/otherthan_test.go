package token_test

import (
	"strings"
	"testing"
)

// TestMistakenParties is what a developer reads whose issuer or audience is
// nearly the one of the tokens: both, cut and quoted.
func TestMistakenParties(t *testing.T) {
	byClient := rules()
	byClient.AudienceClaim = "client_id"
	plain, other := fixture(t, rules()), fixture(t, byClient)
	for _, row := range []struct {
		name string
		by   *verifier
		more map[string]any
		want string
	}{
		{"aud another", plain, map[string]any{"aud": "https://api.example.com"}, `claim aud is "https://api.example.com", not "chat"`},
		{"aud a list", plain, map[string]any{"aud": []string{"a", "b"}}, `claim aud is "a, b", not "chat"`},
		{"aud missing", plain, map[string]any{"aud": nil}, `claim aud is missing or empty, not "chat"`},
		{"aud an empty list", plain, map[string]any{"aud": []string{}}, `claim aud is missing or empty, not "chat"`},
		{"aud of an attacker", plain, map[string]any{"aud": "a\n\"level=INFO"}, `claim aud is "a\n\"level=INFO", not "chat"`},
		{"aud that never ends", plain, map[string]any{"aud": strings.Repeat("x", 5000)}, `claim aud is "` + strings.Repeat("x", 59) + `…", not "chat"`},
		{"iss with a slash", plain, map[string]any{"iss": issuer + "/"}, `claim iss is "` + issuer + `/", not "` + issuer + `"`},
		{"iss missing", plain, map[string]any{"iss": nil}, `claim iss is missing or empty, not "` + issuer + `"`},
		{"client_id another", other, map[string]any{"client_id": "mail"}, `claim client_id is "mail", not "chat"`},
		{"client_id missing", other, nil, `claim client_id is missing or empty, not "chat"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := row.by.Verify(t.Context(), fixtureSet()["es"].token(row.more))
			if err == nil || err.Error() != "token invalid: "+row.want {
				t.Errorf("got %v, want %s", err, row.want)
			}
		})
	}
}
