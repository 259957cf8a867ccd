package attack

import (
	"context"
	"net"
	"strings"

	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

// This file is what answers say to a browser: a refused handshake is a page that anybody can open.

func headerAttacks() []Attack {
	return each(Attack{
		Group: "headers", Refs: []string{"ATTACKS I6"}, Severity: Info,
		Why: "a browser that opens the answer as a page is not told to keep it harmless",
		Fix: "send the header with every refusal", Option: "the default",
	},
		wanted("header-sniff", "X-Content-Type-Options on a refusal", "ASVS 3.4.4", func(r *probe.Response) bool {
			return strings.EqualFold(r.Get("X-Content-Type-Options"), "nosniff")
		}, "X-Content-Type-Options: nosniff"),
		wanted("header-frame", "framing of a refusal", "CWE-1021", unframed, "X-Frame-Options or frame-ancestors"),
		wanted("header-csp", "a Content-Security-Policy on a refusal", "ASVS 3.4.3", func(r *probe.Response) bool {
			return strings.Contains(r.Get("Content-Security-Policy"), "default-src 'none'")
		}, "Content-Security-Policy with default-src 'none'"),
		wanted("header-cache", "storing of a refusal", "ASVS 14.3.2", func(r *probe.Response) bool {
			return strings.Contains(r.Get("Cache-Control"), "no-store")
		}, "Cache-Control: no-store"),
		Attack{
			ID: "header-hsts", Title: "Strict-Transport-Security on a refusal and on the 101", Severity: Low, Refs: []string{"RFC 6797 7.1", "ASVS 3.4.1"},
			Why: "the next visit may go over plaintext, where anybody on the way answers",
			Fix: "send Strict-Transport-Security with every answer over TLS", Option: "the default; SetHSTS",
			Run: strictTransport,
		},
		Attack{
			ID: "header-cookie", Title: "a cookie that comes with a refusal", Severity: Medium, Refs: []string{"CWE-384"},
			Why: "browsers keep cookies even of a refused handshake: a foreign page sets the visitor's session",
			Fix: "set no cookie before the Origin is known to be good", Option: "the default: removed from what outer middleware has set",
			Run: func(ctx context.Context, t *Target) Verdict {
				return t.refusedWithout(ctx, func(r *probe.Response) string {
					if r.Get("Set-Cookie") == "" {
						return ""
					}
					return "Set-Cookie: (its value is not shown)"
				})
			},
		},
		Attack{
			ID: "header-redirect", Title: "a redirect in place of a refusal", Severity: Medium, Refs: []string{"CWE-601"},
			Why: "clients that follow it carry their credential to where it points, perhaps over plaintext",
			Fix: "refuse an upgrade with 4xx", Option: "the default",
			Run: func(ctx context.Context, t *Target) Verdict {
				return t.refusedWithout(ctx, func(r *probe.Response) string {
					if r.Status < 300 || r.Status > 399 {
						return ""
					}
					return r.StatusLine
				})
			},
		},
		Attack{
			ID: "header-cors", Title: "CORS headers for a foreign Origin", Severity: Medium, Refs: []string{"CWE-942", "ASVS 3.4.2"},
			Why: "a foreign page reads the answer, and whatever is in it",
			Fix: "send Access-Control-Allow-Origin to listed origins only", Option: "the default: refusals have none",
			Run: func(ctx context.Context, t *Target) Verdict {
				return t.refusedWithout(ctx, func(r *probe.Response) string {
					if allowed := r.Get("Access-Control-Allow-Origin"); allowed == "*" || allowed == evilOrigin {
						return "Access-Control-Allow-Origin: " + allowed
					}
					return ""
				})
			},
		},
		Attack{
			ID: "header-version", Title: "names and versions of the server's software", Severity: Info, Refs: []string{"CWE-200"},
			Why: "it says which published holes to try first",
			Fix: "send neither X-Powered-By nor a version in Server", Option: "the guard sends neither",
			Run: func(ctx context.Context, t *Target) Verdict {
				return t.refusedWithout(ctx, func(r *probe.Response) string {
					if v := r.Get("X-Powered-By"); v != "" {
						return "X-Powered-By: " + v
					}
					if v := r.Get("Server"); strings.ContainsAny(v, "0123456789") {
						return "Server: " + v
					}
					return ""
				})
			},
		},
		Attack{
			ID: "page-frame", Title: "an ordinary GET of the endpoint's address, for a frame", Severity: Info, Refs: []string{"CWE-1021"},
			Why: "a page at the endpoint's address can be framed by any site",
			Fix: "send frame-ancestors or X-Frame-Options with ordinary answers too", Option: "the default",
			Run: func(ctx context.Context, t *Target) Verdict {
				h := t.Honest().Del("Upgrade").Del("Connection").Del("Origin").Del("Sec-WebSocket-Key").Del("Sec-WebSocket-Version").Del("Sec-WebSocket-Protocol")
				a := t.askTwice(ctx, h)
				const sent = "GET without any sign of an upgrade"
				if a.response == nil || a.busy() {
					return unclear(sent, t.got(a), "no answer to look at")
				}
				if !unframed(a.response) {
					return broken(sent, t.got(a), "neither X-Frame-Options nor frame-ancestors")
				}
				return held(sent, t.got(a))
			},
		},
	)
}

const evilOrigin = "https://evil.example"

// refused is the answer to a handshake that any server should refuse; why not, when none was refused.
func (t *Target) refused(ctx context.Context) (sent string, a answer) {
	const foreign = "Origin: " + evilOrigin
	a = t.askTwice(ctx, t.Honest().Set("Origin", evilOrigin))
	if a.status() != 101 && a.response != nil {
		return foreign, a
	}
	// One that every library refuses.
	return "no Sec-WebSocket-Key", t.askTwice(ctx, t.Honest().Set("Origin", evilOrigin).Del("Sec-WebSocket-Key"))
}

// refusedWithout refutes what must not be in a refusal.
func (t *Target) refusedWithout(ctx context.Context, find func(*probe.Response) string) Verdict {
	sent, a := t.refused(ctx)
	if a.response == nil || a.status() == 101 || a.busy() {
		return unclear(sent, t.got(a), "there was no refusal to look at")
	}
	if found := find(a.response); found != "" {
		return broken(sent, quote.Cut(t.redact(found), longestGot), "the refusal carries it")
	}
	return held(sent, t.got(a))
}

// wanted is a header that a refusal must have.
func wanted(id, title, ref string, has func(*probe.Response) bool, want string) Attack {
	return Attack{ID: id, Title: title, Refs: []string{ref}, Run: func(ctx context.Context, t *Target) Verdict {
		sent, a := t.refused(ctx)
		if a.response == nil || a.status() == 101 || a.busy() {
			return unclear(sent, t.got(a), "there was no refusal to look at")
		}
		if !has(a.response) {
			return broken(sent, t.got(a), "the refusal lacks %s", want)
		}
		return held(sent, t.got(a))
	}}
}

func unframed(r *probe.Response) bool {
	return r.Get("X-Frame-Options") != "" || strings.Contains(r.Get("Content-Security-Policy"), "frame-ancestors")
}

func strictTransport(ctx context.Context, t *Target) Verdict {
	switch {
	case !t.endpoint.secure:
		return left("the endpoint is not reached over TLS")
	case net.ParseIP(t.endpoint.name) != nil || t.endpoint.name == "localhost" || strings.HasSuffix(t.endpoint.name, ".localhost"):
		return left("browsers ignore the header of %s", t.endpoint.name)
	}
	sent, a := t.refused(ctx)
	if a.response == nil {
		return unclear(sent, t.got(a), "no answer to look at")
	}
	if len(a.response.Values("Strict-Transport-Security")) != 1 {
		return broken(sent, t.got(a), "the refusal has no Strict-Transport-Security, or several")
	}
	if a := t.honest; a.status() == 101 && len(a.response.Values("Strict-Transport-Security")) != 1 {
		return broken("an honest handshake", t.got(a), "the 101 has no Strict-Transport-Security, or several")
	}
	return held(sent, t.got(a))
}
