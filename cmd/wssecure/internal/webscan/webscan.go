// Package webscan looks at what a target says in plain HTTP: its headers and cookies, and what it does without TLS.
package webscan

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

// Checks are those of transport, pages and cookies.
func Checks() []endpoint.Check {
	return append(append(transportChecks(), pageChecks()...), cookieChecks()...)
}

func pageChecks() []endpoint.Check {
	return endpoint.Each(finding.Rule{Group: "pages"},
		endpoint.Check{Rule: finding.Rule{
			ID: "hsts-short", Title: "how long Strict-Transport-Security lasts", Severity: finding.Low, Refs: []string{"RFC 6797"},
			Why:    "visitors who come rarely are back to a first visit each time; max-age=0 makes browsers forget",
			Fix:    "Strict-Transport-Security: max-age=31536000",
			Option: "one year by default; SetHSTS for another value",
		}, Run: hstsAge},
		page(finding.Rule{
			ID: "page-sniffing", Title: "an answer whose type browsers guess", Severity: finding.Low, Refs: []string{"CWE-693", "ASVS 3.4.4"},
			Why:    "an answer that holds a visitor's text may be taken for a script or a page",
			Fix:    "X-Content-Type-Options: nosniff with every answer",
			Option: "on by default",
		}, sniffing),
		page(finding.Rule{
			ID: "page-csp", Title: "a script that got into the page, without a policy in its way", Severity: finding.Low, Refs: []string{"CWE-693", "ASVS 3.4.3"},
			Why:    "one unescaped message becomes a script with the visitor's rights, and may connect anywhere",
			Fix:    "a policy that names the page's own sources, and wss:// of the socket's host in connect-src",
			Option: "on by default; Pages for the full set, SetCSP for another policy",
		}, policy),
		page(finding.Rule{
			ID: "page-downgrade", Title: "a redirect from TLS to plaintext", Severity: finding.Medium, Refs: []string{"CWE-319"},
			Why:    "a visitor who came by TLS is sent on in clear",
			Fix:    "redirect to https:// only",
			Option: "the guard never redirects",
		}, downgrade),
		endpoint.Check{Rule: finding.Rule{
			ID: "page-cors", Title: "an ordinary request with the Origin of another site", Severity: finding.High, Refs: []string{"CWE-942", "ASVS 3.4.2"},
			Why:    "any site reads what the visitor may read: tickets and tokens for the socket among it",
			Fix:    "name the admitted origins one by one in Access-Control-Allow-Origin, never the one that asks",
			Option: "the guard sends no CORS headers but to origins of AllowOrigins at its own POST endpoints",
		}, Run: cors},
	)
}

// page is a check of the ordinary answer.
func page(r finding.Rule, judge func(p *probe.Response) finding.Verdict) endpoint.Check {
	return endpoint.Check{Rule: r, Run: func(_ context.Context, e *endpoint.Endpoint) finding.Verdict {
		if e.Page == nil {
			return finding.Left("the target answers no ordinary request")
		}
		return judge(e.Page)
	}}
}

func hstsAge(_ context.Context, e *endpoint.Endpoint) finding.Verdict {
	if v, left := noHSTS(e); left {
		return v
	}
	const halfYear = 15552000 // 180 days, what SSL Labs asks for
	checked := false
	for _, r := range []*probe.Response{e.Answer, e.Page} {
		if r == nil || r.Get("Strict-Transport-Security") == "" {
			continue
		}
		checked = true
		value := r.Get("Strict-Transport-Security")
		if age, ok := maxAge(value); !ok || age < halfYear {
			return finding.Broken(quote.Quoted(value, quote.Value))
		}
	}
	if !checked {
		return finding.Left("none is sent")
	}
	return finding.Held("long enough")
}

func noHSTS(e *endpoint.Endpoint) (finding.Verdict, bool) {
	switch {
	case !e.URL.Secure:
		return finding.Left("the target is ws://, where browsers ignore it"), true
	case !e.URL.HasHSTS():
		return finding.Left("browsers ignore it for addresses and localhost"), true
	}
	return finding.Verdict{}, false
}

func maxAge(value string) (int64, bool) {
	for part := range strings.SplitSeq(value, ";") {
		name, arg, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(strings.TrimSpace(name), "max-age") {
			age, err := strconv.ParseInt(strings.Trim(arg, `" `), 10, 64)
			return age, err == nil
		}
	}
	return 0, false
}

// isPage tells what a browser would show as a page from a text that says why there is none.
func isPage(p *probe.Response) bool {
	return p.Status/100 == 2 && strings.HasPrefix(strings.ToLower(p.Get("Content-Type")), "text/html")
}

func sniffing(p *probe.Response) finding.Verdict {
	if !isPage(p) {
		return finding.Left("the ordinary answer is no page")
	}
	if got := p.Get("X-Content-Type-Options"); !strings.EqualFold(got, "nosniff") {
		return finding.Broken(missingOr(got))
	}
	return finding.Held("nosniff")
}

func policy(p *probe.Response) finding.Verdict {
	if !isPage(p) {
		return finding.Left("the ordinary answer is no page")
	}
	if got := p.Get("Content-Security-Policy"); got != "" {
		return finding.Held(quote.Quoted(got, quote.Value))
	}
	return finding.Broken("missing")
}

func missingOr(value string) string {
	if value == "" {
		return "missing"
	}
	return quote.Quoted(value, quote.Value)
}

func downgrade(p *probe.Response) finding.Verdict {
	if p.Status/100 != 3 || p.Get("Location") == "" {
		return finding.Held("no redirect")
	}
	shown := quote.Quoted(p.Get("Location"), quote.Value)
	if u, err := url.Parse(p.Get("Location")); err == nil && (u.Scheme == "http" || u.Scheme == "ws") {
		return finding.Broken("redirected to " + shown)
	}
	return finding.Held("redirected to " + shown)
}

// foreign is nobody's origin (RFC 2606).
const foreign = "https://evil.example"

func cors(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	if e.Page == nil {
		return finding.Left("the target answers no ordinary request")
	}
	r, err := e.Ask(ctx, e.Get().Add("Origin: "+foreign))
	if err != nil {
		return finding.Unclear(quote.Cut(err.Error(), quote.Value))
	}
	allowed, credentials := r.Get("Access-Control-Allow-Origin"), r.Get("Access-Control-Allow-Credentials")
	v := finding.Held(fmt.Sprintf("Access-Control-Allow-Origin %s", missingOr(allowed)))
	if allowed == foreign && strings.EqualFold(credentials, "true") {
		v = finding.Broken("it is admitted, with credentials")
	}
	v.Sent = "Origin: " + foreign
	return v
}
