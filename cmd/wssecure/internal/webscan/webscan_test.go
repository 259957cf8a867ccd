package webscan_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/webscan"
	"github.com/wssecure/wssecure/internal/probe"
)

func answer(status int, lines ...string) *probe.Response {
	r := &probe.Response{Status: status, StatusLine: fmt.Sprintf("HTTP/1.1 %d", status)}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header = append(r.Header, probe.Field{Name: name, Value: value})
	}
	return r
}

func saying(r *probe.Response, body string) *probe.Response {
	r.Body = []byte(body)
	return r
}

// judged runs one check on what an endpoint has said.
func judged(t *testing.T, e *endpoint.Endpoint, id string) string {
	t.Helper()
	checks := webscan.Checks()
	i := slices.IndexFunc(checks, func(c endpoint.Check) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("no check %s", id)
	}
	v := checks[i].Run(t.Context(), e)
	return v.State.String() + ": " + v.Got + v.Detail
}

func parsed(t *testing.T, text string) *endpoint.URL {
	t.Helper()
	u, err := endpoint.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestChecksOfWhatWasSaid(t *testing.T) {
	const html, year = "Content-Type: text/html; charset=utf-8", "Strict-Transport-Security: max-age=31536000"
	for _, row := range []struct {
		id, url string
		answer  *probe.Response
		page    *probe.Response
		want    string
	}{
		{"hsts-short", "wss://x.example/", answer(101, year), answer(200, year), "held"},
		{"hsts-short", "wss://x.example/", answer(101, `Strict-Transport-Security: includeSubDomains; MAX-AGE="31536000"`), nil, "held"},
		{"hsts-short", "wss://x.example/", answer(101, year), answer(200, "Strict-Transport-Security: max-age=0"), "broken"},
		{"hsts-short", "wss://x.example/", answer(101, "Strict-Transport-Security: max-age=soon"), nil, "broken"},
		{"hsts-short", "wss://x.example/", answer(101, "Strict-Transport-Security: preload"), nil, "broken"},
		{"hsts-short", "wss://x.example/", answer(101), nil, "left"},
		{"hsts-short", "wss://192.0.2.1/", answer(101, "Strict-Transport-Security: max-age=0"), nil, "left"},
		{"hsts-short", "wss://a.localhost/", answer(101, "Strict-Transport-Security: max-age=0"), nil, "left"},
		{"hsts-short", "ws://x.example/", answer(101, "Strict-Transport-Security: max-age=0"), nil, "left"},
		{"page-sniffing", "wss://x/", nil, nil, "left"},
		{"page-sniffing", "wss://x/", nil, answer(200, html), "broken"},
		{"page-sniffing", "wss://x/", nil, answer(200, html, "X-Content-Type-Options: NoSniff"), "held"},
		{"page-sniffing", "wss://x/", nil, answer(426, html), "left"},
		{"page-csp", "wss://x/", nil, answer(200, html), "broken"},
		{"page-csp", "wss://x/", nil, answer(200, html, "Content-Security-Policy: default-src 'self'"), "held"},
		{"page-csp", "wss://x/", nil, answer(200, "Content-Type: text/plain"), "left"},
		{"page-downgrade", "wss://x/", nil, answer(302, "Location: http://x/"), "broken"},
		{"page-downgrade", "wss://x/", nil, answer(302, "Location: HTTP://x/"), "broken"},
		{"page-downgrade", "wss://x/", nil, answer(302, "Location: /login"), "held"},
		{"page-downgrade", "wss://x/", nil, answer(302, "Location: https://x/"), "held"},
		{"page-downgrade", "wss://x/", nil, answer(200, "Location: http://x/"), "held"},
		{"cookie-secure", "wss://x/", answer(101), answer(200), "left"},
		{"cookie-secure", "wss://x/", answer(101, "Set-Cookie: a=b; HttpOnly"), nil, `broken: set by the target: "a"`},
		{"cookie-secure", "wss://x/", nil, answer(200, "Set-Cookie: a=b; path=/; secure", "Set-Cookie: c=d"), `broken: set by the target: "c"`},
		{"cookie-secure", "wss://x/", nil, answer(200, "Set-Cookie: a=b; SECURE"), "held"},
		{"cookie-secure", "wss://x/", nil, answer(200, "Set-Cookie: a=secure"), "broken"},
		{"cookie-secure", "wss://x/", nil, answer(200, "Set-Cookie: a=; Max-Age=0"), "left"},
		{"cookie-httponly", "wss://x/", nil, answer(200, "Set-Cookie: a=b; Secure"), "broken"},
		{"cookie-samesite", "wss://x/", nil, answer(200, "Set-Cookie: a=b; SameSite=None"), "broken"},
		{"cookie-samesite", "wss://x/", nil, answer(200, "Set-Cookie: a=b; samesite=lax"), "held"},
		{"cookie-prefix", "wss://x/", nil, answer(200, "Set-Cookie: __Host-a=b"), "held"},
		{"cookie-prefix", "wss://x/", nil, answer(200, "Set-Cookie: a\x1b[2J=b"), `broken: set by the target: "a\x1b[2J"`},
		{"plain-target", "ws://x/", answer(101), nil, "broken"},
		{"plain-target", "ws://x/", answer(401), nil, "unclear"},
		{"plain-target", "ws://x/", answer(429), nil, "unclear"},
		{"plain-target", "ws://x/", answer(403), nil, "unclear"},
		{"plain-target", "ws://x/", saying(answer(403), `{"type":"https://x.example/reasons.md#unauthenticated"}`), nil, "unclear"},
		{"plain-target", "ws://x/", saying(answer(403), `{"type":"https://x.example/reasons.md#insecure-transport"}`), nil, "held"},
		{"plain-target", "ws://x/", saying(answer(400), "use wss here"), nil, "held"},
		{"plain-target", "ws://x/", answer(426, "Upgrade: TLS/1.3"), nil, "held"},
		{"plain-target", "wss://x/", answer(101), nil, "held"},
	} {
		e := &endpoint.Endpoint{URL: parsed(t, row.url), Answer: row.answer, Page: row.page, Admitted: row.answer != nil && row.answer.Status == 101}
		if got := judged(t, e, row.id); !strings.HasPrefix(got, row.want) {
			t.Errorf("%s, %s, %v, %v: %s, want %s", row.id, row.url, row.answer, row.page, got, row.want)
		}
	}
	// A cookie's value may be somebody's session.
	e := &endpoint.Endpoint{URL: parsed(t, "wss://x/"), Page: answer(200, "Set-Cookie: a=canary")}
	if got := judged(t, e, "cookie-secure"); strings.Contains(got, "canary") {
		t.Error(got)
	}
}

func TestWhatIsServedWithoutTLS(t *testing.T) {
	says := func(status int, location string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				w.WriteHeader(101) // the query was meant for TLS alone
				return
			}
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(status)
		}
	}
	for _, row := range []struct {
		id     string
		served http.HandlerFunc
		want   string
	}{
		{"plain-page", says(301, "https://ws.example.com/ws"), "held"},
		{"plain-page", says(301, "https://www.ws.example.com/"), "held"},
		{"plain-page", says(301, "https://evil.example/"), "broken"},
		{"plain-page", says(301, "https://notws.example.com/"), "broken"},
		{"plain-page", says(301, "http://ws.example.com/"), "broken"},
		{"plain-page", says(301, "/elsewhere"), "broken"},
		{"plain-page", says(200, ""), "broken"},
		{"plain-page", says(403, ""), "held"},
		{"plain-socket", says(101, ""), "broken: admitted on port"},
	} {
		_, port, err := net.SplitHostPort(testbed.Serve(t, &http.Server{Handler: row.served}))
		if err != nil {
			t.Fatal(err)
		}
		e := &endpoint.Endpoint{
			URL: parsed(t, "wss://ws.example.com/ws?token=canary"), Connect: "127.0.0.1:1", Plain: port, Timeout: time.Minute,
			Pace: endpoint.NewPace(4, 1000, 100), Agent: "test",
		}
		if got := judged(t, e, row.id); !strings.HasPrefix(got, row.want) {
			t.Errorf("%s: %s, want %s", row.id, got, row.want)
		}
	}
}

func TestCORSOfOrdinaryAnswers(t *testing.T) {
	for _, row := range []struct{ origin, credentials, want string }{
		{"*", "", "held"},
		{"https://evil.example", "", "held"},
		{"https://evil.example", "true", "broken"},
		{"https://app.example.com", "true", "held"},
		{"", "", "held"},
	} {
		addr := testbed.Serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Origin") != "" && row.origin != "" {
				w.Header().Set("Access-Control-Allow-Origin", row.origin)
				w.Header().Set("Access-Control-Allow-Credentials", row.credentials)
			}
		})})
		e := &endpoint.Endpoint{
			URL: parsed(t, "ws://"+addr+"/"), Page: answer(200), Timeout: time.Minute, Pace: endpoint.NewPace(4, 1000, 100), Agent: "test",
		}
		if got := judged(t, e, "page-cors"); !strings.HasPrefix(got, row.want) {
			t.Errorf("%+v: %s", row, got)
		}
	}
}
