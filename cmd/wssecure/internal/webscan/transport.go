package webscan

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

func transportChecks() []endpoint.Check {
	return endpoint.Each(finding.Rule{
		Group: "transport", Refs: []string{"CWE-319", "ASVS 4.4.1"},
		Why:    "everybody on the way reads and changes handshakes, tokens and messages",
		Fix:    "serve wss:// only; behind a proxy that ends TLS, refuse what did not come through it",
		Option: "the default refuses plaintext; TrustProxies names the proxies that end TLS",
	},
		endpoint.Check{Rule: finding.Rule{ID: "plain-target", Title: "a handshake by ws://, as the URL says", Severity: finding.High}, Run: plainTarget},
		endpoint.Check{Rule: finding.Rule{ID: "plain-socket", Title: "a handshake without TLS, beside wss://", Severity: finding.High}, Run: plainSocket},
		endpoint.Check{Rule: finding.Rule{
			ID: "plain-page", Title: "the page by http://, beside https://", Severity: finding.Low,
			Why: "a visitor who types the name without https:// stays in clear, or is sent to another site",
			Fix: "redirect to https:// of the same host, or close the port",
		}, Run: plainPage},
	)
}

func plainTarget(_ context.Context, e *endpoint.Endpoint) finding.Verdict {
	switch {
	case e.URL.Secure:
		return finding.Held("the URL is wss://")
	case e.Answer != nil && e.Answer.Status == 101:
		return finding.Broken("admitted: " + e.URL.String())
	}
	return finding.Held("refused")
}

// plainSocket tries the TLS port, where some servers take both, and the plaintext port beside it.
func plainSocket(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	if !e.URL.Secure {
		return finding.Left("the target itself is ws://")
	}
	verdict := finding.Held("refused")
	for _, addr := range []string{e.At(), e.PlainAddr()} {
		if addr == "" {
			continue
		}
		h := e.Anonymous()
		h.Target, _, _ = strings.Cut(h.Target, "?") // what the query holds was meant for TLS alone
		r, err := askPlain(ctx, e, addr, h)
		if ctx.Err() != nil {
			return finding.Unclear("there was no time left")
		}
		if err == nil && r.Status == 101 {
			verdict = finding.Broken("admitted on port " + port(addr))
			break
		}
	}
	verdict.Sent = "a handshake without TLS"
	return verdict
}

func plainPage(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	if !e.URL.Secure {
		return finding.Left("the target itself is ws://")
	}
	addr := e.PlainAddr()
	if addr == "" {
		return finding.Left("only beside port 443, or with --plain-port")
	}
	get := e.Get()
	get.Target, _, _ = strings.Cut(get.Target, "?")
	r, err := askPlain(ctx, e, addr, get.Set("Host", e.URL.Host))
	if err != nil {
		return finding.Held("nobody answers by http://")
	}
	shown := quote.Cut(r.StatusLine, quote.Value)
	switch {
	case r.Status/100 == 3:
		return redirect(e, r, shown)
	case r.Status >= 400:
		return finding.Held(shown)
	}
	return finding.Broken(shown)
}

func redirect(e *endpoint.Endpoint, r *probe.Response, shown string) finding.Verdict {
	location := r.Get("Location")
	shown += ", to " + quote.Quoted(location, quote.Value)
	u, err := url.Parse(location)
	switch {
	case err != nil, u.Scheme != "https":
		return finding.Broken(shown)
	case !sameSite(u.Hostname(), e.URL.Host):
		return finding.Broken(shown + ": another host, before TLS can say who it is")
	}
	return finding.Held(shown)
}

// sameSite takes www and its kin for the same.
func sameSite(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a)
}

func askPlain(ctx context.Context, e *endpoint.Endpoint, addr string, request *probe.Handshake) (*probe.Response, error) {
	nc, err := e.DialAddr(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := probe.New(nc)
	c.Timeout = e.Timeout
	defer c.Close()
	return endpoint.Exchange(c, request)
}

func port(addr string) string {
	_, p, err := net.SplitHostPort(addr)
	if _, bad := strconv.Atoi(p); err != nil || bad != nil {
		return "?"
	}
	return p
}
