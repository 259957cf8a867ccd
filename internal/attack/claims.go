package attack

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/quote"
)

// This file is tokens with a good signature that are no good: those of yesterday, of another service, for another purpose.

func claimAttacks() []Attack {
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	return each(Attack{
		Group: "token", Refs: []string{"RFC 7519", "ASVS 9.2"}, Severity: High, Needs: NeedJWT | NeedSign,
		Why:    "a token that leaked once, or was issued for something else, opens this service too",
		Fix:    "after the signature, check iss, aud, exp, nbf and the token's type, and want each to be there",
		Option: "RequireToken with OIDC, JWKS, StaticKeys or Secrets",
	},
		misissued("token-expired", "a token that expired an hour ago", "ATTACKS J13", nil, func() members { return members{"exp": at(-time.Hour), "iat": at(-2 * time.Hour)} }),
		misissued("token-endless", "a token without exp", "ATTACKS J13", nil, func() members { return members{"exp": absent} }),
		misissued("token-exp-text", "an exp that is text", "ATTACKS J13", nil, func() members { return members{"exp": "9999999999"} }),
		misissued("token-exp-null", "an exp that is null", "ATTACKS J13", nil, func() members { return members{"exp": nil} }),
		several("token-exp-number", "an exp that is no date: zero, negative, beyond every calendar", "ATTACKS J13", nil,
			members{"exp": 0}, members{"exp": -1}, members{"exp": json.Number("1e308")}, members{"exp": json.Number("1e400")}, members{"exp": json.Number("18446744073709551616")}),
		several("token-exp-case", "EXP in place of exp", "ATTACKS J14", nil, members{"exp": absent, "EXP": at(time.Hour)}, members{"exp": at(-time.Hour), "Exp": at(time.Hour)}),
		misissued("token-iat-ahead", "a token that will be issued tomorrow", "ATTACKS J13", nil, func() members { return members{"iat": at(24 * time.Hour)} }),
		misissued("token-not-yet", "a token that is good from tomorrow", "ATTACKS J13", nil, func() members { return members{"nbf": at(24 * time.Hour)} }),
		misissued("token-issuer", "another issuer", "ATTACKS J15", nil, func() members { return members{"iss": "https://evil.example"} }),
		misissued("token-issuer-none", "no issuer", "ATTACKS J15", nil, func() members { return members{"iss": absent} }),
		audience("token-audience", "a token for another service", func() members { return members{"aud": "another-service"} }),
		audience("token-audience-none", "a token for no service", func() members { return members{"aud": absent} }),
		audience("token-audience-empty", "a token whose list of services is empty", func() members { return members{"aud": []string{}} }),
		audience("token-audience-shape", "an audience that is an object, a number, or in capitals", func() members { return members{"aud": map[string]any{"0": "x"}} },
			func() members { return members{"aud": 1} }, func() members { return members{"aud": []any{nil}} }),
		lesser(Medium, misissued("token-subject-none", "a token of nobody", "ATTACKS J14", nil, func() members { return members{"sub": absent} })),
		misissued("token-crit", "a header that says: understand exp2 or refuse", "RFC 7515 4.1.11", members{"crit": []string{"exp2"}, "exp2": 1}, none),
		misissued("token-b64", "a header that says: the payload is not encoded", "RFC 7797", members{"b64": false, "crit": []string{"b64"}}, none),
		misissued("token-alg-other", "a header whose alg is not the key's", "RFC 8725 3.1", members{"alg": "HS512"}, none),
		several("token-alg-case", "an alg in small letters, or with a NUL behind it", "ATTACKS J4", func(j jwt) []members {
			alg, _ := j.header["alg"].(string)
			return []members{{"alg": strings.ToLower(alg)}, {"alg": alg + "\x00"}}
		}, nil),
		misissued("token-zip", "a header that says: the payload is compressed", "ATTACKS J6", members{"zip": "DEF"}, none),
		misissued("token-type", "a token of another type: logout+jwt", "RFC 8725 3.11", members{"typ": "logout+jwt"}, none),
		misissued("token-logout", "a logout token as an access token", "RFC 8725 3.12", nil, func() members {
			return members{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}
		}),
		duplicate("token-duplicate", "a claim twice, the good one last", func(payload string) string {
			return `{"sub":"admin",` + strings.TrimPrefix(payload, "{")
		}),
		duplicate("token-duplicate-last", "a claim twice, the good one first", func(payload string) string {
			return strings.TrimSuffix(payload, "}") + `,"sub":"admin"}`
		}),
		duplicate("token-trailing", "a second object behind the payload", func(payload string) string { return payload + `{"sub":"admin"}` }),
	)
}

func none() members { return nil }

// misissued is an attack with one token of the good key.
func misissued(id, title, ref string, header members, claims func() members) Attack {
	return Attack{ID: id, Title: title, Refs: []string{ref}, Run: func(ctx context.Context, t *Target) Verdict {
		token, err := t.signed(header, claims())
		return t.misused(ctx, title, token, err)
	}}
}

// several is misissued with each of these headers and claims.
func several(id, title, ref string, headers func(jwt) []members, claims ...members) Attack {
	return Attack{ID: id, Title: title, Refs: []string{ref}, Run: func(ctx context.Context, t *Target) Verdict {
		all := []members{nil}
		if headers != nil {
			all = headers(t.jwt())
		}
		var tokens []string
		for _, h := range all {
			for _, c := range claims {
				token, err := t.signed(h, c)
				if err != nil {
					return unclear(title, "", "Sign: %s", quote.Cut(err.Error(), longestGot))
				}
				tokens = append(tokens, token)
			}
		}
		return t.noneAdmitted(ctx, title, tokens)
	}}
}

// audience is misissued where the good token says for whom it is.
func audience(id, title string, claims ...func() members) Attack {
	run := func(ctx context.Context, t *Target) Verdict {
		var all []members
		for _, c := range claims {
			all = append(all, c())
		}
		return several(id, title, "", nil, all...).Run(ctx, t)
	}
	a := Attack{ID: id, Title: title, Refs: []string{"CVE-2020-26160"}}
	a.Run = func(ctx context.Context, t *Target) Verdict {
		if t.jwt().claims["aud"] == nil {
			return left("the good token has no aud, and what stands for it is not known")
		}
		return run(ctx, t)
	}
	return a
}

// duplicate is an attack with a payload that two parsers read differently.
func duplicate(id, title string, change func(payload string) string) Attack {
	return Attack{ID: id, Title: title, Severity: Medium, Refs: []string{"ATTACKS J14", "RFC 7519 4"},
		Why: "two services that read one token see two users: the one that checks, and the one that acts",
		Fix: "refuse JSON with duplicate members or anything behind it",
		Run: func(ctx context.Context, t *Target) Verdict {
			j := t.jwt()
			payload, err := base64.RawURLEncoding.DecodeString(j.parts[1])
			if err != nil {
				return left("the token's payload is no base64url")
			}
			token, err := t.Sign(j.header.bytes(), []byte(change(string(payload))))
			return t.misused(ctx, title, token, err)
		}}
}

func (t *Target) misused(ctx context.Context, sent, token string, err error) Verdict {
	if err != nil {
		return unclear(sent, "", "Sign: %s", quote.Cut(err.Error(), longestGot))
	}
	return t.noneAdmitted(ctx, sent, []string{token})
}
