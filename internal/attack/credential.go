package attack

import (
	"context"
	"encoding/base64"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is credentials in the wrong number, place and form.

func credentialAttacks() []Attack {
	return each(Attack{
		Group: "token", Refs: []string{"RFC 6750 2", "ASVS 4.4.3"}, Severity: Medium, Needs: NeedToken,
		Why:    "the part of the system that checks takes one credential, the part that acts another",
		Fix:    "take credentials from one place, and refuse a handshake that has two of them",
		Option: "the default; the sources of RequireToken",
	},
		token("token-missing", "no token at all", Critical, "ATTACKS S3", func(*Target, *probe.Handshake) bool { return true }),
		token("token-garbage", "a word in place of the token", Critical, "ATTACKS S4", func(t *Target, h *probe.Handshake) bool {
			t.put(h, t.Place, "garbage")
			return true
		}),
		token("token-empty", "an empty token", Critical, "ATTACKS S4", func(t *Target, h *probe.Handshake) bool {
			t.put(h, t.Place, "")
			return true
		}),
		token("token-basic", "the good token as Basic", Low, "ATTACKS S4", func(t *Target, h *probe.Handshake) bool {
			h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("user:"+t.token())))
			return true
		}),
		token("token-in-query", "the good token in the query, where it is not looked for", Medium, "CWE-598", func(t *Target, h *probe.Handshake) bool {
			if t.Place.Kind == InQuery {
				return false
			}
			token := t.token()
			for _, name := range []string{"access_token", "token", "jwt", "auth"} {
				h.Target = withParameter(h.Target, name, token)
			}
			return true
		}),
		token("token-in-cookie", "the good token in a cookie, where it is not looked for", Medium, "CWE-1385", func(t *Target, h *probe.Handshake) bool {
			if t.Place.Kind == InCookie {
				return false
			}
			token := t.token()
			h.Add("Cookie: token=" + token + "; access_token=" + token + "; jwt=" + token)
			return true
		}),
		token("token-twice", "the good token beside a bad one, in two lines", Medium, "ATTACKS S3", func(t *Target, h *probe.Handshake) bool {
			if t.Place.Kind != InBearer {
				return false
			}
			h.Add("Authorization: Bearer " + t.token()).Add("Authorization: Bearer bad")
			return true
		}),
		token("token-twice-last", "a bad token beside the good one, in two lines", Medium, "ATTACKS S3", func(t *Target, h *probe.Handshake) bool {
			if t.Place.Kind != InBearer {
				return false
			}
			h.Add("Authorization: Bearer bad").Add("Authorization: Bearer " + t.token())
			return true
		}),
		token("token-list", "the good token and a bad one in one line", Medium, "ATTACKS S4", func(t *Target, h *probe.Handshake) bool {
			if t.Place.Kind != InBearer {
				return false
			}
			h.Add("Authorization: Bearer " + t.token() + ", Bearer bad")
			return true
		}),
		token("token-two-cookies", "the good token and a bad one in two cookies of one name", Medium, "ATTACKS S7", func(t *Target, h *probe.Handshake) bool {
			if t.Place.Kind != InCookie {
				return false
			}
			h.Add("Cookie: " + t.Place.Name + "=" + t.token() + "; " + t.Place.Name + "=bad")
			return true
		}),
	)
}

// token is an attack by a handshake whose credential is all its own; change reports whether it applies to where the target's
// token goes.
func token(id, title string, s Severity, ref string, change func(*Target, *probe.Handshake) bool) Attack {
	return Attack{ID: id, Title: title, Severity: s, Refs: []string{ref}, Run: func(ctx context.Context, t *Target) Verdict {
		h := t.anonymous()
		if !change(t, h) {
			return left("it does not apply to where this token goes")
		}
		return t.mustRefuseToken(ctx, title, h)
	}}
}
