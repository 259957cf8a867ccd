package wssecure_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A provider is one recipe of docs/providers.md and tokens as that provider
// shapes them by its public documentation, source.
type provider struct {
	name, source string
	issuer, keys string // iss and jwks_uri
	alg          string
	header       members // besides alg and kid
	recipe       func(client wssecure.TokenOption) []wssecure.Option
	lines        []string // of the recipe, as the document has them
	access       members  // what proves access; the harness adds iat and exp
	refused      []refusedToken
}

type refusedToken struct {
	name   string
	claims members
	status int
	reason wssecure.Reason
}

// TestProviders is J-46 to J-48 and A-31 with tokens of the real shape: what each
// recipe is for gets in, the ID token and everybody else's tokens do not.
func TestProviders(t *testing.T) {
	doc, err := os.ReadFile("docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range providers() {
		t.Run(p.name, func(t *testing.T) {
			i := wssecuretest.NewIssuer(t, p.issuer)
			client := wssecure.HTTPClient(&http.Client{Transport: p.internet(i)})
			s := wssecuretest.Start(t, wssecuretest.Config{Options: append(p.recipe(client), wssecure.AllowOrigins(wssecuretest.Origin))})
			t.Run("access token", func(t *testing.T) {
				wantAdmitted(t, s, fresh(s.Handshake(p.sign(i, p.access))))
				if e := s.WaitEvent(wssecure.EventOpened); e.Issuer != p.issuer || e.Subject != p.access["sub"] {
					t.Errorf("identity %q of %q", e.Subject, e.Issuer)
				}
			})
			for _, row := range p.refused {
				t.Run(row.name, func(t *testing.T) {
					wantRefused(t, s, fresh(s.Handshake(p.sign(i, row.claims))), row.status, row.reason)
				})
			}
			for _, line := range append(p.lines, p.source) {
				if !strings.Contains(string(doc), line) {
					t.Errorf("docs/providers.md lacks %s", line)
				}
			}
		})
	}
}

// TestGoogleNeedsAllowIDToken is J-15: the recipe's token is for us by aud, and all the same no access token.
func TestGoogleNeedsAllowIDToken(t *testing.T) {
	p := google()
	i := wssecuretest.NewIssuer(t, p.issuer)
	s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(wssecure.OIDC(p.issuer, p.access["aud"].(string),
			wssecure.HTTPClient(&http.Client{Transport: p.internet(i)}))),
	}})
	wantRefused(t, s, fresh(s.Handshake(p.sign(i, p.access))), 401, wssecure.ReasonTokenInvalid)
}

func (p provider) sign(i *wssecuretest.Issuer, claims members) string {
	all := maps.Clone(claims)
	all["iat"], all["exp"] = time.Now().Unix(), time.Now().Add(time.Hour).Unix()
	return i.SignHeader(p.header, all, p.alg)
}

// internet is the provider's hosts, as far as a verifier may ask them.
func (p provider) internet(i *wssecuretest.Issuer) http.RoundTripper {
	metadata, _ := json.Marshal(members{"issuer": p.issuer, "jwks_uri": p.keys})
	return internet{strings.TrimSuffix(p.issuer, "/") + "/.well-known/openid-configuration": metadata, p.keys: i.JWKS()}
}

type internet map[string][]byte

func (n internet) RoundTrip(r *http.Request) (*http.Response, error) {
	body, is := n[r.URL.String()]
	status := http.StatusOK
	if !is {
		status = http.StatusNotFound
	}
	return &http.Response{
		StatusCode: status, Request: r, Body: io.NopCloser(bytes.NewReader(body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
	}, nil
}

// but is claims with some replaced.
func but(claims, changed members) members {
	all := maps.Clone(claims)
	maps.Copy(all, changed)
	return all
}

// another is a token for somebody else, or of somebody else.
func another(what string, claims, changed members) refusedToken {
	return refusedToken{what, but(claims, changed), 401, wssecure.ReasonTokenInvalid}
}

func idToken(claims members) refusedToken {
	return refusedToken{"ID token", claims, 401, wssecure.ReasonTokenInvalid}
}

func providers() []provider {
	return []provider{auth0(), okta(), keycloak(), entra(), cognito(), google(), firebase(), clerk(), supabase()}
}

func auth0() provider {
	const issuer = "https://my-domain.auth0.com/"
	access := members{
		"iss": issuer, "sub": "auth0|123456", "azp": "my_client_id", "scope": "openid profile chat:connect",
		"aud": []string{"https://example.com/chat-api", "https://my-domain.auth0.com/userinfo"}, "permissions": []string{"chat:connect"},
	}
	return provider{
		name: "Auth0", source: "https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles",
		issuer: issuer, keys: issuer + ".well-known/jwks.json", alg: "RS256",
		recipe: func(c wssecure.TokenOption) []wssecure.Option {
			return []wssecure.Option{
				wssecure.RequireToken(wssecure.OIDC("https://my-domain.auth0.com/", "https://example.com/chat-api", c)),
				wssecure.RequireClaim("permissions", "chat:connect"),
			}
		},
		lines:  []string{`OIDC("https://my-domain.auth0.com/", "https://example.com/chat-api")`, `RequireClaim("permissions", "chat:connect")`},
		access: access,
		refused: []refusedToken{
			idToken(members{"iss": issuer, "sub": "auth0|123456", "aud": "my_client_id", "nickname": "alice", "sid": "s1", "nonce": "n"}),
			another("another API", access, members{"aud": []string{"https://example.com/health-api", "https://my-domain.auth0.com/userinfo"}}),
			another("another tenant", access, members{"iss": "https://other-domain.auth0.com/"}),
			{"a user without the permission", but(access, members{"permissions": []string{}}), 403, wssecure.ReasonForbidden},
		},
	}
}

func okta() provider {
	const issuer = "https://dev-123456.okta.com/oauth2/default"
	access := members{
		"ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "iss": issuer, "aud": "api://default",
		"cid": "0oabskvc6442nkvQO0h7", "uid": "00ub0oNGTSWTBKOLGLNR", "scp": []string{"openid", "chat.connect"},
		"auth_time": time.Now().Unix(), "sub": "alice@example.com",
	}
	return provider{
		name: "Okta", source: "https://developer.okta.com/docs/reference/api/oidc/",
		issuer: issuer, keys: issuer + "/v1/keys", alg: "RS256", header: members{"typ": wssecuretest.Absent},
		recipe: func(c wssecure.TokenOption) []wssecure.Option {
			return []wssecure.Option{
				wssecure.RequireToken(wssecure.OIDC("https://dev-123456.okta.com/oauth2/default", "api://default", c)),
				wssecure.RequireScopes("chat.connect"),
			}
		},
		lines:  []string{`OIDC("https://dev-123456.okta.com/oauth2/default", "api://default")`, `RequireScopes("chat.connect")`},
		access: access,
		refused: []refusedToken{
			idToken(members{
				"ver": 1, "sub": "00ub0oNGTSWTBKOLGLNR", "iss": issuer, "aud": "0oabskvc6442nkvQO0h7", "jti": "ID.x",
				"amr": []string{"pwd"}, "idp": "00o", "auth_time": time.Now().Unix(), "at_hash": "fPlsvVszI29LU2UhDyJ9vg",
			}),
			another("the org authorization server's", access, members{"iss": "https://dev-123456.okta.com", "aud": "https://dev-123456.okta.com"}),
			another("another API", access, members{"aud": "api://billing"}),
			{"without the scope", but(access, members{"scp": []string{"openid"}}), 403, wssecure.ReasonScope},
		},
	}
}

func keycloak() provider {
	const issuer = "https://sso.example.com/realms/acme"
	access := members{
		"jti": "onrtac:6f0a", "iss": issuer, "aud": []string{"chat-server", "account"}, "sub": "2f5a", "typ": "Bearer",
		"azp": "chat-web", "sid": "b8d3", "acr": "1", "allowed-origins": []string{"https://app.example.com"},
		"realm_access":    members{"roles": []string{"offline_access", "chat-user"}},
		"resource_access": members{"account": members{"roles": []string{"view-profile"}}},
		"scope":           "openid email profile", "email_verified": true, "preferred_username": "alice",
	}
	return provider{
		name: "Keycloak", source: "https://www.keycloak.org/docs/latest/server_admin/#audience-support",
		issuer: issuer, keys: issuer + "/protocol/openid-connect/certs", alg: "RS256",
		recipe: func(c wssecure.TokenOption) []wssecure.Option {
			return []wssecure.Option{
				wssecure.RequireToken(wssecure.OIDC("https://sso.example.com/realms/acme", "chat-server", c)),
				wssecure.RequireClaim("typ", "Bearer"),
				wssecure.RequireClaim("/realm_access/roles", "chat-user"),
			}
		},
		lines: []string{
			`OIDC("https://sso.example.com/realms/acme", "chat-server")`, `RequireClaim("typ", "Bearer")`, `RequireClaim("/realm_access/roles", "chat-user")`,
		},
		access: access,
		refused: []refusedToken{
			idToken(members{"jti": "x", "iss": issuer, "aud": "chat-web", "sub": "2f5a", "typ": "ID", "azp": "chat-web", "sid": "b8d3", "at_hash": "mXlz", "acr": "1"}),
			{"ID token of our own client", but(access, members{"typ": "ID"}), 403, wssecure.ReasonForbidden},
			another("no audience mapper", access, members{"aud": "account"}),
			another("another realm", access, members{"iss": "https://sso.example.com/realms/master"}),
			{"without the role", but(access, members{"realm_access": members{"roles": []string{"offline_access"}}}), 403, wssecure.ReasonForbidden},
		},
	}
}

func entra() provider {
	const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	const issuer = "https://login.microsoftonline.com/" + tenant + "/v2.0"
	const api = "6e74172b-be56-4843-9ff4-e66a39bb12e3"
	access := members{
		"aud": api, "iss": issuer, "nbf": time.Now().Unix(), "aio": "AXQAi/8I", "azp": "5a7c1d2e-0000-4000-8000-0123456789ab", "azpacr": "0",
		"name": "Alice", "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "preferred_username": "alice@example.com", "rh": "I",
		"scp": "Chat.Connect", "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": tenant, "uti": "fqiBqXLPj0eQa82S", "ver": "2.0",
	}
	return provider{
		name: "Microsoft Entra", source: "https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference",
		issuer: issuer, keys: "https://login.microsoftonline.com/" + tenant + "/discovery/v2.0/keys", alg: "RS256",
		recipe: func(c wssecure.TokenOption) []wssecure.Option {
			return []wssecure.Option{
				wssecure.RequireToken(wssecure.OIDC("https://login.microsoftonline.com/{tenantid}/v2.0", "6e74172b-be56-4843-9ff4-e66a39bb12e3",
					wssecure.Tenants("72f988bf-86f1-41af-91ab-2d7cd011db47"), c)),
				wssecure.RequireScopes("Chat.Connect"),
			}
		},
		lines: []string{
			`OIDC("https://login.microsoftonline.com/{tenantid}/v2.0", "6e74172b-be56-4843-9ff4-e66a39bb12e3",`,
			`Tenants("72f988bf-86f1-41af-91ab-2d7cd011db47")`, `RequireScopes("Chat.Connect")`,
		},
		access: access,
		refused: []refusedToken{
			idToken(members{"aud": access["azp"], "iss": issuer, "name": "Alice", "nonce": "n", "oid": access["oid"], "sub": "x", "tid": tenant, "ver": "2.0"}),
			// One registration for page and API: aud is ours, there is no at_hash, and only the scope is lacking.
			{"ID token of one registration", members{"aud": api, "iss": issuer, "name": "Alice", "nonce": "n", "oid": access["oid"], "sub": "x", "tid": tenant, "ver": "2.0"}, 403, wssecure.ReasonScope},
			another("another tenant", access, members{"iss": "https://login.microsoftonline.com/f8cdef31-a31e-4b4a-93e4-5f571e91255a/v2.0", "tid": "f8cdef31-a31e-4b4a-93e4-5f571e91255a"}),
			another("a v1.0 token", access, members{"iss": "https://sts.windows.net/" + tenant + "/", "ver": "1.0"}),
			another("for Microsoft Graph", access, members{"aud": "00000003-0000-0000-c000-000000000000"}),
		},
	}
}

func cognito() provider {
	const issuer = "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example"
	access := members{
		"sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "device_key": "us-west-2_x", "cognito:groups": []string{"chat"}, "iss": issuer,
		"version": 2, "client_id": "1example23456789", "origin_jti": "o", "event_id": "e", "token_use": "access",
		"scope": "phone openid profile", "auth_time": time.Now().Unix(), "jti": "j", "username": "alice",
	}
	return provider{
		name: "Amazon Cognito", source: "https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html",
		issuer: issuer, keys: issuer + "/.well-known/jwks.json", alg: "RS256", header: members{"typ": wssecuretest.Absent},
		recipe: func(c wssecure.TokenOption) []wssecure.Option {
			return []wssecure.Option{
				wssecure.RequireToken(wssecure.OIDC("https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example", "1example23456789",
					wssecure.AudienceClaim("client_id"), c)),
				wssecure.RequireClaim("cognito:groups", "chat"),
			}
		},
		lines: []string{
			`OIDC("https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example", "1example23456789",`, `AudienceClaim("client_id")`, `RequireClaim("cognito:groups", "chat")`,
		},
		access: access,
		refused: []refusedToken{
			idToken(members{
				"sub": access["sub"], "cognito:groups": []string{"chat"}, "iss": issuer, "cognito:username": "alice", "aud": "1example23456789",
				"event_id": "e", "token_use": "id", "auth_time": time.Now().Unix(), "email": "alice@example.com", "origin_jti": "o", "jti": "i",
			}),
			another("ID token with client_id", access, members{"token_use": "id"}),
			another("another client", access, members{"client_id": "9example87654321"}),
			another("another pool", access, members{"iss": "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_other"}),
			{"outside the group", but(access, members{"cognito:groups": []string{"sales"}}), 403, wssecure.ReasonForbidden},
		},
	}
}

// Google's access tokens are opaque and say nothing to a third party: its ID token
// is what there is.
func google() provider {
	const issuer = "https://accounts.google.com"
	id := members{
		"iss": issuer, "azp": "1234987819200.apps.googleusercontent.com", "aud": "1234987819200.apps.googleusercontent.com",
		"sub": "10769150350006150715113082367", "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "hd": "example.com",
		"email": "jsmith@example.com", "email_verified": true, "nonce": "0394852-3190485-2490358",
	}
	return provider{
		name: "Google", source: "https://developers.google.com/identity/openid-connect/openid-connect",
		issuer: issuer, keys: "https://www.googleapis.com/oauth2/v3/certs", alg: "RS256",
		recipe: func(c wssecure.TokenOption) []wssecure.Option {
			return []wssecure.Option{
				wssecure.RequireToken(wssecure.OIDC("https://accounts.google.com", "1234987819200.apps.googleusercontent.com", wssecure.AllowIDToken(), c)),
				wssecure.RequireClaim("hd", "example.com"),
			}
		},
		lines:  []string{`OIDC("https://accounts.google.com", "1234987819200.apps.googleusercontent.com", wssecure.AllowIDToken())`, `RequireClaim("hd", "example.com")`},
		access: id,
		refused: []refusedToken{
			another("another client", id, members{"aud": "407408718192.apps.googleusercontent.com"}),
			another("the issuer's old spelling", id, members{"iss": "accounts.google.com"}),
			{"another organization", but(id, members{"hd": "example.net"}), 403, wssecure.ReasonForbidden},
			{"a private account", but(id, members{"hd": wssecuretest.Absent}), 403, wssecure.ReasonForbidden},
		},
	}
}

// Firebase calls it ID token and means it for servers: it has no at_hash.
func firebase() provider {
	const issuer = "https://securetoken.google.com/chat-prod"
	token := members{
		"iss": issuer, "aud": "chat-prod", "auth_time": time.Now().Unix(), "user_id": "Xk893u23H9SI893", "sub": "Xk893u23H9SI893",
		"email": "alice@example.com", "email_verified": true,
		"firebase": members{"identities": members{"email": []string{"alice@example.com"}}, "sign_in_provider": "password"},
	}
	return provider{
		name: "Firebase", source: "https://firebase.google.com/docs/auth/admin/verify-id-tokens#verify_id_tokens_using_a_third-party_jwt_library",
		issuer: issuer, keys: "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com", alg: "RS256",
		recipe: func(c wssecure.TokenOption) []wssecure.Option {
			return []wssecure.Option{
				wssecure.RequireToken(wssecure.OIDC("https://securetoken.google.com/chat-prod", "chat-prod", c)),
				wssecure.RequireClaim("email_verified", "true"),
			}
		},
		lines:  []string{`OIDC("https://securetoken.google.com/chat-prod", "chat-prod")`, `RequireClaim("email_verified", "true")`},
		access: token,
		refused: []refusedToken{
			another("another project", token, members{"iss": "https://securetoken.google.com/chat-test", "aud": "chat-test"}),
			another("a session cookie", token, members{"iss": "https://session.firebase.google.com/chat-prod"}),
			{"an anonymous user", but(token, members{
				"email": wssecuretest.Absent, "email_verified": wssecuretest.Absent, "provider_id": "anonymous",
				"firebase": members{"identities": members{}, "sign_in_provider": "anonymous"},
			}), 403, wssecure.ReasonForbidden},
		},
	}
}

// Clerk's session tokens have no aud: azp, the origin they were made for, stands in.
func clerk() provider {
	const issuer = "https://clerk.example.com"
	token := members{
		"azp": "https://app.example.com", "fva": []int{7, -1}, "iss": issuer, "nbf": time.Now().Unix(), "sid": "sess_123", "sub": "user_123", "v": 2,
		"sts": "active", "pla": "u:free", "o": members{"id": "org_123", "slg": "acme", "rol": "admin", "per": "read", "fpm": "3"},
	}
	return provider{
		name: "Clerk", source: "https://clerk.com/docs/guides/sessions/session-tokens",
		issuer: issuer, keys: issuer + "/.well-known/jwks.json", alg: "RS256", header: members{"cat": "cl_B7d4PD111AAA"},
		recipe: func(c wssecure.TokenOption) []wssecure.Option {
			return []wssecure.Option{
				wssecure.RequireToken(wssecure.JWKS("https://clerk.example.com/.well-known/jwks.json", "https://clerk.example.com", "https://app.example.com",
					wssecure.AudienceClaim("azp"), c)),
				wssecure.RequireClaim("sts", "active"),
			}
		},
		lines: []string{
			`JWKS("https://clerk.example.com/.well-known/jwks.json", "https://clerk.example.com", "https://app.example.com",`, `AudienceClaim("azp")`, `RequireClaim("sts", "active")`,
		},
		access: token,
		refused: []refusedToken{
			idToken(members{"iss": issuer, "aud": "client_123", "sub": "user_123", "at_hash": "x", "email": "alice@example.com"}),
			another("another page", token, members{"azp": "https://shop.example.com"}),
			another("no page", token, members{"azp": wssecuretest.Absent}),
			another("another instance", token, members{"iss": "https://happy-fox-1.clerk.accounts.dev"}),
			{"a sign-in not finished", but(token, members{"sts": "pending"}), 403, wssecure.ReasonForbidden},
		},
	}
}

// Supabase names methods as members of objects where RFC 8176 has strings.
func supabase() provider {
	const issuer = "https://abcdefghijklmnopqrst.supabase.co/auth/v1"
	token := members{
		"aal": "aal1", "amr": []members{{"method": "password", "timestamp": time.Now().Unix()}}, "app_metadata": members{"provider": "email", "providers": []string{"email"}},
		"aud": "authenticated", "email": "alice@example.com", "is_anonymous": false, "iss": issuer, "phone": "", "role": "authenticated",
		"session_id": "4b938a09-5372-4177-a314-cfa292099ea2", "sub": "123e4567-e89b-12d3-a456-426614174000", "user_metadata": members{"email_verified": true},
	}
	return provider{
		name: "Supabase", source: "https://supabase.com/docs/guides/auth/jwt-fields",
		issuer: issuer, keys: issuer + "/.well-known/jwks.json", alg: "ES256",
		recipe: func(c wssecure.TokenOption) []wssecure.Option {
			return []wssecure.Option{
				wssecure.RequireToken(wssecure.JWKS("https://abcdefghijklmnopqrst.supabase.co/auth/v1/.well-known/jwks.json",
					"https://abcdefghijklmnopqrst.supabase.co/auth/v1", "authenticated", c)),
				wssecure.RequireClaim("is_anonymous", "false"),
			}
		},
		lines: []string{
			`JWKS("https://abcdefghijklmnopqrst.supabase.co/auth/v1/.well-known/jwks.json",`, `"https://abcdefghijklmnopqrst.supabase.co/auth/v1", "authenticated")`,
			`RequireClaim("is_anonymous", "false")`,
		},
		access: token,
		refused: []refusedToken{
			another("the project's anon key", members{"iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": "anon"}, nil),
			another("another project", token, members{"iss": "https://zyxwvutsrqponmlkjihg.supabase.co/auth/v1"}),
			another("another audience", token, members{"aud": "anon"}),
			{"an anonymous user", but(token, members{"is_anonymous": true}), 403, wssecure.ReasonForbidden},
		},
	}
}
