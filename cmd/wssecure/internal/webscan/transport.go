package webscan

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/attack"
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
	case e.Answer == nil:
		return finding.Unclear("no answer")
	case e.Admitted:
		return finding.Broken("admitted: " + e.URL.String())
	}
	return judgePlain(e.Answer)
}

// plainSocket tries the TLS port, where some servers take both, and the plaintext port beside it. The worse of the two
// counts.
func plainSocket(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	if !e.URL.Secure {
		return finding.Left("the target itself is ws://")
	}
	verdict := finding.Held("nobody answers")
	for i, addr := range []string{e.At(), e.PlainAddr()} {
		if addr == "" {
			continue
		}
		path, _, _ := strings.Cut(e.URL.Path, "?") // what the query holds was meant for TLS alone
		v := plainAt(ctx, e, addr, path)
		if i == 0 || v.State == attack.Broken || v.State == attack.Unclear && verdict.State == attack.Held {
			verdict = v
		}
	}
	verdict.Sent = "a handshake without TLS"
	return verdict
}

// plainAt makes one handshake without TLS, and one more where it is redirected to on the same host.
func plainAt(ctx context.Context, e *endpoint.Endpoint, addr, path string) finding.Verdict {
	a := e.AskPlain(ctx, addr, plainHandshake(e, path))
	next, elsewhere := a.Redirected(e)
	if next == nil || a.Err != nil {
		return plainVerdict(ctx, e, a)
	}
	shown := "port " + port(addr) + " redirects to " + quote.Quoted(next.String(), quote.Value)
	switch {
	case next.Scheme == "https" || next.Scheme == "wss":
		return finding.Held(shown)
	case elsewhere:
		return finding.Unclear(shown + ": another host, which is not scanned")
	}
	host, _, _ := net.SplitHostPort(addr)
	a = e.AskPlain(ctx, net.JoinHostPort(host, cmp.Or(next.Port(), "80")), plainHandshake(e, cmp.Or(next.EscapedPath(), "/")))
	if again, _ := a.Redirected(e); again != nil && again.Scheme != "https" && again.Scheme != "wss" {
		return finding.Unclear(shown + ", and that on, still in clear")
	}
	v := plainVerdict(ctx, e, a)
	if v.State != attack.Held {
		v.Got = strings.TrimPrefix(v.Got+"; "+shown, "; ")
	}
	return v
}

func plainHandshake(e *endpoint.Endpoint, path string) *probe.Handshake {
	h := e.Anonymous()
	h.Target = path
	return h
}

// plainVerdict judges what came of a handshake without TLS.
func plainVerdict(ctx context.Context, e *endpoint.Endpoint, a endpoint.PlainAnswer) finding.Verdict {
	switch {
	case ctx.Err() != nil:
		return finding.Unclear("there was no time left")
	case errors.Is(a.Err, endpoint.ErrSpent):
		return finding.Unclear(a.Err.Error())
	case !a.Connected:
		return finding.Held("no connection to port " + port(a.Addr))
	case a.Silent():
		return finding.Unclear(fmt.Sprintf("port %s takes connections, and answers nothing within %v", port(a.Addr), e.Timeout))
	case len(a.First) == 0:
		return finding.Held("port " + port(a.Addr) + " closes the connection")
	case a.SpeaksTLS():
		return finding.Held("port " + port(a.Addr) + " speaks TLS alone")
	case a.Response == nil && bytes.HasPrefix(a.First, []byte("HTTP/")):
		return finding.Unclear("port " + port(a.Addr) + " does not end its answer: " + quote.Cut(a.Err.Error(), quote.Value))
	case a.Response == nil:
		return finding.Unclear("port " + port(a.Addr) + " answers no HTTP: " + endpoint.Tongue(a.First))
	case a.Response.Status == 101 && a.TakenBack != "":
		return finding.Held("port " + port(a.Addr) + ": 101, and then " + a.TakenBack)
	case a.Response.Status == 101:
		return finding.Broken("admitted on port " + port(a.Addr))
	}
	if v := judgePlain(a.Response); v.State == attack.Held {
		return v
	}
	// Nothing speaks of TLS: an answer that is given over TLS as well has nothing to do with it.
	over, err := e.Ask(ctx, e.Anonymous())
	if err != nil || over.Status == a.Response.Status {
		return finding.Unclear(fmt.Sprintf("port %s refuses it as over TLS (%s): with a token, which is not sent in clear, it may be admitted", port(a.Addr), quote.Cut(a.Response.StatusLine, quote.Value)))
	}
	return finding.Held(quote.Cut(a.Response.StatusLine, quote.Value))
}

// saysTLS is what a refusal of plaintext speaks of; address is a link, which may begin with https whatever it is about.
var (
	saysTLS = regexp.MustCompile(`(?i)\b(tls|ssl|https|wss)\b|insecure|not secure`)
	address = regexp.MustCompile(`(?i)\b(https?|wss?)://[^\s"'<>#]*`)
)

// judgePlain takes a refusal for one of plaintext where it says so. Any other may be for what an honest client has and a
// scan has not.
func judgePlain(r *probe.Response) finding.Verdict {
	shown := quote.Cut(r.StatusLine, quote.Value)
	if saysTLS.MatchString(r.StatusLine + " " + r.Get("Upgrade") + " " + address.ReplaceAllString(string(r.Body), "")) {
		return finding.Held(shown)
	}
	return finding.Unclear("refused (" + shown + "), and not for the missing TLS as far as it says: with all that an honest client has, it may be admitted")
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
	a := e.AskPlain(ctx, addr, get.Set("Host", e.URL.Host))
	r := a.Response
	switch {
	case ctx.Err() != nil || errors.Is(a.Err, endpoint.ErrSpent):
		return finding.Unclear("there was no time or connection left")
	case a.Silent():
		return finding.Unclear(fmt.Sprintf("port %s takes connections, and answers nothing within %v", port(addr), e.Timeout))
	case r == nil:
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
	case !e.URL.IsSite(u.Hostname()):
		return finding.Broken(shown + ": another host, before TLS can say who it is")
	}
	return finding.Held(shown)
}

func port(addr string) string {
	_, p, err := net.SplitHostPort(addr)
	if _, bad := strconv.Atoi(p); err != nil || bad != nil {
		return "?"
	}
	return p
}
