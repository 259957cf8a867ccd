package attack

import (
	"context"
	"net/url"
	"strings"
)

// This file is cross-site WebSocket hijacking: a page of another site opens a socket with the visitor's cookies, and
// nothing but the Origin tells it from a page of ours.

func originAttacks() []Attack {
	return each(Attack{
		Group:    "origin",
		Refs:     []string{"CWE-1385", "RFC 6455 10.2", "ASVS 4.4.2"},
		Why:      "a page of the attacker opens a socket in the name of whoever visits it, with their cookies and from their network",
		Fix:      "compare scheme, host and port of Origin with a list, each as a whole",
		Option:   `AllowOrigins("https://app.example.com")`,
		Severity: High,
	},
		origin("origin-foreign", "an Origin of another site", Critical, "ATTACKS C7", func(o site) string { return "https://evil.example" }),
		origin("origin-suffix", "the good host as the beginning of another one", Critical, "ATTACKS C7", func(o site) string { return o.scheme + "://" + o.host + ".evil.example" + o.port }),
		origin("origin-prefix", "another domain that ends with the good one", Critical, "ATTACKS C7", func(o site) string { return o.scheme + "://" + o.lookAlike() + o.port }),
		origin("origin-regexp-dot", "the good host with another character for its first dot", High, "ATTACKS C7", func(o site) string {
			if !strings.Contains(o.host, ".") {
				return ""
			}
			return o.scheme + "://" + strings.Replace(o.host, ".", "x", 1) + o.port
		}),
		origin("origin-trailing-dot", "the good host with a dot behind it", Low, "ATTACKS C7", func(o site) string { return o.scheme + "://" + o.host + "." + o.port }),
		origin("origin-userinfo", "the good host as the user of another one", High, "ATTACKS C8", func(o site) string { return o.scheme + "://" + o.host + "@evil.example" }),
		origin("origin-user", "the good host behind a user", Low, "ATTACKS C8", func(o site) string { return o.scheme + "://evil.example@" + o.host + o.port }),
		origin("origin-null", "the Origin of a sandboxed frame, null", Critical, "ATTACKS C10", func(site) string { return "null" }),
		origin("origin-scheme", "the good host over another scheme", Medium, "ATTACKS C9", func(o site) string {
			if o.scheme == "https" {
				return "http://" + o.host + o.port
			}
			return "ftp://" + o.host + o.port
		}),
		origin("origin-port", "the good host at another port", Medium, "ATTACKS C9", func(o site) string { return o.scheme + "://" + o.host + ":4444" }),
		Attack{
			ID: "origin-duplicate", Title: "two Origin lines, a good one and a foreign one", Refs: []string{"ATTACKS W15"}, Severity: Medium,
			Run: func(ctx context.Context, t *Target) Verdict {
				h := t.Honest().Add("Origin: https://evil.example")
				return t.mustRefuse(ctx, line(h, "Origin"), h)
			},
		},
	)
}

// origin is an attack that sends another Origin.
func origin(id, title string, s Severity, ref string, forge func(site) string) Attack {
	return Attack{ID: id, Title: title, Severity: s, Refs: []string{ref}, Run: func(ctx context.Context, t *Target) Verdict {
		forged := forge(t.site())
		if forged == "" || forged == t.Origin {
			return left("it does not apply to the Origin %q", t.Origin)
		}
		h := t.Honest().Set("Origin", forged)
		return t.mustRefuse(ctx, line(h, "Origin"), h)
	}}
}

// site is the good Origin, taken apart.
type site struct {
	scheme, host string
	port         string // with its colon, or empty
}

func (t *Target) site() site {
	u, err := url.Parse(t.Origin)
	if err != nil {
		return site{"https", t.endpoint.name, ""}
	}
	s := site{scheme: u.Scheme, host: strings.TrimSuffix(u.Host, ":"+u.Port())}
	if u.Port() != "" {
		s.port = ":" + u.Port()
	}
	return s
}

// lookAlike changes the domain under which the host is registered: anything below the same domain may be listed with a
// star.
func (s site) lookAlike() string {
	labels := strings.Split(s.host, ".")
	at := max(0, len(labels)-2)
	labels[at] = "evil" + labels[at]
	return strings.Join(labels, ".")
}
