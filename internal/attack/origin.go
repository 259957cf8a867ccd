package attack

import (
	"context"
	"net/netip"
	"net/url"
	"strings"

	"github.com/wssecure/wssecure/internal/probe"
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
			if o.loopback() {
				return "" // whatever runs there is the developer's
			}
			if o.scheme == "https" {
				return "http://" + o.host + o.port
			}
			return "ftp://" + o.host + o.port
		}),
		origin("origin-port", "the good host at another port", Medium, "ATTACKS C9", func(o site) string {
			if o.loopback() {
				return ""
			}
			return o.scheme + "://" + o.host + ":4444"
		}),
		origin("origin-port-number", "the good host with a port that is none", Low, "ATTACKS C8", func(o site) string { return o.scheme + "://" + o.host + ":99999" }),
		origin("origin-path", "the good Origin with a path behind it", Low, "ATTACKS C8", func(o site) string { return o.scheme + "://" + o.host + o.port + "/x" }),
		origin("origin-inside", "the good Origin in the path of a foreign one", Critical, "ATTACKS C8", func(o site) string {
			return "https://evil.example/" + o.scheme + "://" + o.host + o.port
		}),
		origin("origin-query", "the good Origin in the query of a foreign one", Critical, "ATTACKS C8", func(o site) string {
			return "https://evil.example?" + o.scheme + "://" + o.host + o.port
		}),
		origin("origin-fragment", "a foreign host with the good one behind #", High, "ATTACKS C8", func(o site) string { return "https://evil.example#" + o.host + o.port }),
		origin("origin-backslash", "a foreign host behind a backslash", High, "ATTACKS C8", func(o site) string { return o.scheme + "://" + o.host + o.port + `\@evil.example` }),
		origin("origin-percent", "the good host, a percent-encoded NUL, a foreign one", High, "ATTACKS C7", func(o site) string { return o.scheme + "://" + o.host + "%00.evil.example" }),
		origin("origin-unicode", "a letter of the good host from another script", Medium, "ATTACKS C7", func(o site) string {
			if o.host == "" {
				return ""
			}
			return o.scheme + "://\u0430" + o.host[1:] + o.port
		}),
		origin("origin-list", "the good Origin and a foreign one in one line", Medium, "ATTACKS C8", func(o site) string {
			return o.scheme + "://" + o.host + o.port + ", https://evil.example"
		}),
		origin("origin-schemeless", "the good host without a scheme", Low, "ATTACKS C8", func(o site) string { return "//" + o.host + o.port }),
		origin("origin-address", "a page that was loaded from an IP address", High, "CVE-2018-14732", func(site) string { return "http://203.0.113.9" }),
		origin("origin-localhost", "a page on the visitor's own machine", High, "CVE-2025-30360", func(o site) string {
			if o.loopback() {
				return ""
			}
			return "http://localhost:3000"
		}),
		origin("origin-extension", "a page of a browser extension", Medium, "ATTACKS C8", func(site) string {
			return "chrome-extension://abcdefghijklmnopabcdefghijklmnop"
		}),
		origin("origin-file", "a page from the visitor's disk", High, "ATTACKS C8", func(site) string { return "file://" }),
		origin("origin-long", "an Origin of 20 KB that begins with the good one", Medium, "ATTACKS C8", func(o site) string {
			return o.scheme + "://" + o.host + "." + strings.Repeat("a.", 10<<10) + "evil.example"
		}),
		changed("origin-empty", "an Origin line without a value", Medium, "ATTACKS C10", func(_ *Target, h *probe.Handshake) { h.Set("Origin", "") }),
		changed("origin-duplicate", "two Origin lines, the good one first", Medium, "ATTACKS W15", func(_ *Target, h *probe.Handshake) {
			h.Add("Origin: https://evil.example")
		}),
		changed("origin-duplicate-last", "two Origin lines, the good one last", Medium, "ATTACKS W15", func(t *Target, h *probe.Handshake) {
			h.Set("Origin", "https://evil.example").Add("Origin: " + t.Origin)
		}),
		changed("origin-forwarded", "a foreign Origin that equals X-Forwarded-Host", Critical, "CWE-348", func(_ *Target, h *probe.Handshake) {
			h.Set("Origin", "https://evil.example").Add("X-Forwarded-Host: evil.example").Add("Forwarded: host=evil.example")
		}),
		Attack{
			ID: "origin-rebinding", Title: "Host and Origin both of a foreign name", Severity: High, Refs: []string{"CVE-2025-24010", "ATTACKS C2"},
			Why:    "a name of the attacker that resolves to this server makes their page same-origin with it",
			Fix:    "serve named hosts only, or compare Origin with a list",
			Option: `AllowHosts("ws.example.com") or AllowOrigins`,
			Run: func(ctx context.Context, t *Target) Verdict {
				if t.endpoint.secure {
					return left("over TLS a browser refuses the certificate of another name")
				}
				h := t.Honest().Set("Host", "evil.example").Set("Origin", "http://evil.example")
				return t.mustRefuse(ctx, line(h, "Host")+" | "+line(h, "Origin"), h)
			},
		},
		Attack{
			ID: "origin-missing", Title: "no Origin beside a credential that browsers send by themselves, or none", Severity: Medium, Refs: []string{"ATTACKS C6"},
			Fix:    "without Origin admit only what a page cannot know: a token in Authorization, a subprotocol or a ticket",
			Option: "the default; RequireOrigin() refuses always",
			Run: func(ctx context.Context, t *Target) Verdict {
				if t.Token != nil && t.Place.explicit() {
					return left("the token is one that a hostile page cannot send")
				}
				h := t.Honest().Del("Origin")
				if t.Token == nil && t.shown.Load() != nil {
					// A program that is known by its certificate has no Origin; a browser that sends none says what it is.
					h.Add("Sec-Fetch-Mode: websocket").Add("Sec-Fetch-Site: cross-site")
				}
				return t.mustRefuse(ctx, "no Origin", h)
			},
		},
		changed("fetch-navigate", "a good Origin, but Sec-Fetch-Mode: navigate", Low, "ATTACKS C14", func(_ *Target, h *probe.Handshake) {
			h.Add("Sec-Fetch-Mode: navigate")
		}),
		changed("fetch-document", "a good Origin, but Sec-Fetch-Dest: document", Low, "ATTACKS C14", func(_ *Target, h *probe.Handshake) {
			h.Add("Sec-Fetch-Dest: document")
		}),
	)
}

// changed is an attack by a handshake with other lines.
func changed(id, title string, s Severity, ref string, change func(*Target, *probe.Handshake)) Attack {
	return Attack{ID: id, Title: title, Severity: s, Refs: []string{ref}, Run: func(ctx context.Context, t *Target) Verdict {
		h := t.Honest()
		before := h.Clone()
		change(t, h)
		return t.mustRefuse(ctx, difference(before, h), h)
	}}
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

// loopback reports whether the good Origin is one of development.
func (s site) loopback() bool {
	ip, err := netip.ParseAddr(strings.Trim(s.host, "[]"))
	return s.host == "localhost" || strings.HasSuffix(s.host, ".localhost") || err == nil && ip.IsLoopback()
}

// lookAlike changes the domain under which the host is registered: anything below the same domain may be listed with a
// star.
func (s site) lookAlike() string {
	labels := strings.Split(s.host, ".")
	at := max(0, len(labels)-2)
	labels[at] = "evil" + labels[at]
	return strings.Join(labels, ".")
}
