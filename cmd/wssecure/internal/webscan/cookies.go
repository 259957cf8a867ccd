package webscan

import (
	"context"
	"slices"
	"strings"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

func cookieChecks() []endpoint.Check {
	return endpoint.Each(finding.Rule{
		Group: "cookies", Option: "Cookie(name, value, maxAge): __Host-, Secure, HttpOnly, SameSite=Strict",
	},
		cookie(finding.Rule{
			ID: "cookie-secure", Title: "cookies without Secure", Severity: finding.Medium, Refs: []string{"CWE-614", "ASVS 3.3.1"},
			Why: "one request by http:// gives the cookie to everybody on the way",
			Fix: "set Secure",
		}, func(c setCookie) bool { return c.has("secure") }),
		cookie(finding.Rule{
			ID: "cookie-httponly", Title: "cookies without HttpOnly", Severity: finding.Low, Refs: []string{"CWE-1004", "ASVS 3.3.4"},
			Why: "a script that got in takes the cookie along",
			Fix: "set HttpOnly on every cookie that no script has to read",
		}, func(c setCookie) bool { return c.has("httponly") }),
		cookie(finding.Rule{
			ID: "cookie-samesite", Title: "cookies without SameSite=Lax or Strict", Severity: finding.Low, Refs: []string{"CWE-1275", "ASVS 3.3.2"},
			Why: "browsers send the cookie with sockets that another site opens",
			Fix: "set SameSite=Strict, or Lax where visitors come by links; and check Origin all the same",
		}, func(c setCookie) bool {
			return strings.EqualFold(c.attributes["samesite"], "strict") || strings.EqualFold(c.attributes["samesite"], "lax")
		}),
		cookie(finding.Rule{
			ID: "cookie-prefix", Title: "cookies without the prefix __Host-", Severity: finding.Info, Refs: []string{"RFC 6265bis 4.1.3", "ASVS 3.3.3"},
			Why: "a page of a sibling domain, or of http://, overwrites the cookie with one of its own",
			Fix: "name the cookie __Host-..., with Secure, Path=/ and no Domain",
		}, func(c setCookie) bool { return strings.HasPrefix(c.name, "__Host-") }),
	)
}

// cookie is a check of every cookie that the target sets. Values are never shown: they may be live sessions.
func cookie(r finding.Rule, sound func(c setCookie) bool) endpoint.Check {
	return endpoint.Check{Rule: r, Run: func(_ context.Context, e *endpoint.Endpoint) finding.Verdict {
		var all, weak []string
		for _, c := range cookies(e) {
			all = append(all, c.shown())
			if !sound(c) {
				weak = append(weak, c.shown())
			}
		}
		switch {
		case len(all) == 0:
			return finding.Left("no cookie was set")
		case len(weak) > 0:
			return finding.Broken("set by the target: " + strings.Join(weak, ", "))
		}
		return finding.Held(strings.Join(all, ", "))
	}}
}

// mostCookies bounds what is looked at, and shown.
const mostCookies = 20

type setCookie struct {
	name       string
	attributes map[string]string // by lower-case name
}

func (c setCookie) has(attribute string) bool {
	_, ok := c.attributes[attribute]
	return ok
}

func (c setCookie) shown() string { return quote.Quoted(c.name, quote.Origin) }

// deleted reports a cookie that takes itself back.
func (c setCookie) deleted() bool { return c.attributes["max-age"] == "0" }

// cookies are those of the handshake's answer and of the page, once each.
func cookies(e *endpoint.Endpoint) []setCookie {
	var all []setCookie
	for _, r := range []*probe.Response{e.Answer, e.Page} {
		if r == nil {
			continue
		}
		for _, line := range r.Values("Set-Cookie") {
			c := parseCookie(line)
			known := slices.ContainsFunc(all, func(o setCookie) bool { return o.name == c.name })
			if !known && !c.deleted() && len(all) < mostCookies {
				all = append(all, c)
			}
		}
	}
	return all
}

func parseCookie(line string) setCookie {
	pair, rest, _ := strings.Cut(line, ";")
	name, _, _ := strings.Cut(pair, "=")
	c := setCookie{name: strings.TrimSpace(name), attributes: map[string]string{}}
	for part := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(part, "=")
		c.attributes[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	return c
}
