package wssecure_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

const (
	strictPolicy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	framePolicy  = "frame-ancestors 'none'; base-uri 'self'; object-src 'none'"
)

func pagePolicy(sources string) string {
	return "default-src 'self'; connect-src 'self'" + sources + "; form-action 'self'; " + framePolicy
}

// The headers of each kind of answer, but HSTS and CSP.
var (
	ordinaryColumn = map[string]string{
		"X-Frame-Options":        "DENY",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "strict-origin-when-cross-origin",
	}
	pagesColumn = map[string]string{
		"X-Frame-Options":                   "DENY",
		"X-Content-Type-Options":            "nosniff",
		"Referrer-Policy":                   "strict-origin-when-cross-origin",
		"Cross-Origin-Opener-Policy":        "same-origin-allow-popups",
		"Cross-Origin-Resource-Policy":      "same-origin",
		"X-Permitted-Cross-Domain-Policies": "none",
	}
)

// securityHeaders are all names of the table: what a column lacks must not be
// there.
var securityHeaders = []string{
	"Strict-Transport-Security", "Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy",
	"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "X-Permitted-Cross-Domain-Policies", "Cache-Control",
	"Server", "X-Powered-By", "X-Xss-Protection", "Expect-Ct", "Access-Control-Allow-Origin", "Vary",
}

// wantColumn wants exactly these headers of the table, each once.
func wantColumn(t *testing.T, r *probe.Response, column map[string]string, more ...string) {
	t.Helper()
	want := maps.Clone(column)
	if want == nil {
		want = map[string]string{}
	}
	for _, line := range more {
		name, value, _ := strings.Cut(line, ": ")
		want[name] = value
	}
	for _, name := range securityHeaders {
		lines := r.Values(name)
		value, wanted := want[name]
		switch {
		case !wanted && len(lines) > 0:
			t.Errorf("%s: %q, want none", name, lines)
		case wanted && (len(lines) != 1 || lines[0] != value):
			t.Errorf("%s: %q, want %q once", name, lines, value)
		}
	}
}

const hsts = "Strict-Transport-Security: max-age=31536000"

// plainGet is an ordinary request.
func plainGet(path, host string) *probe.Handshake {
	return &probe.Handshake{Method: "GET", Target: path, Proto: "HTTP/1.1", Lines: []string{"Host: " + host}}
}

func fetch(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake) *probe.Response {
	t.Helper()
	r, _ := ask(t, s, hs)
	return r
}

// startOver is startRoutes with or without TLS.
func startOver(t *testing.T, plaintext bool, handler func(*wssecure.Guard) http.Handler, options ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Plaintext: plaintext,
		Options:   append(opts(issuer.Option(), wssecure.AllowOrigins(wssecuretest.Origin)), options...),
		Handler:   handler,
	})
	s.Issuer = issuer
	return s
}

// guarded and paged are the two columns of `next`.
func guarded(next http.HandlerFunc) func(*wssecure.Guard) http.Handler {
	return func(g *wssecure.Guard) http.Handler { return g.Handler(next) }
}

func paged(next http.HandlerFunc) func(*wssecure.Guard) http.Handler {
	return func(g *wssecure.Guard) http.Handler { return g.Pages(next) }
}

// says answers with the status in its path.
func says(w http.ResponseWriter, r *http.Request) {
	status := 0
	fmt.Sscanf(r.URL.Path, "/%d", &status)
	w.WriteHeader(status)
}

func TestColumns(t *testing.T) {
	for _, column := range []struct {
		name    string
		handler func(*wssecure.Guard) http.Handler
		want    map[string]string
		csp     string
	}{
		{"Handler", guarded(says), ordinaryColumn, framePolicy},
		{"Pages", paged(says), pagesColumn, pagePolicy(" wss://ws.example.com")},
	} {
		s := startRoutes(t, column.handler)
		for _, status := range []int{200, 204, 206, 301, 302, 304, 400, 401, 404, 426, 500, 503, 505} {
			t.Run(fmt.Sprintf("D-01 %s %d", column.name, status), func(t *testing.T) {
				r := fetch(t, s, plainGet(fmt.Sprintf("/%d", status), wssecuretest.Host))
				if r.Status != status {
					t.Fatalf("status %d", r.Status)
				}
				wantColumn(t, r, column.want, hsts, "Content-Security-Policy: "+column.csp)
			})
		}
	}
	t.Run("D-01 Handler, nothing written", func(t *testing.T) {
		s := startRoutes(t, guarded(func(http.ResponseWriter, *http.Request) {}))
		r := fetch(t, s, plainGet("/", wssecuretest.Host))
		wantColumn(t, r, ordinaryColumn, hsts, "Content-Security-Policy: "+framePolicy)
	})
	t.Run("D-01 Handler, body alone, 103 before it", func(t *testing.T) {
		s := startRoutes(t, guarded(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "hello")
		}))
		r, c := ask(t, s, plainGet("/", wssecuretest.Host))
		if r.Status != 103 {
			t.Fatalf("status %d", r.Status)
		}
		r, err := c.Response()
		if err != nil || string(r.Body) != "hello" {
			t.Fatalf("answer %v %v", r, err)
		}
		wantColumn(t, r, ordinaryColumn, hsts, "Content-Security-Policy: "+framePolicy)
	})
	t.Run("an admitted upgrade that next answers", func(t *testing.T) {
		s := startRoutes(t, guarded(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
		r := fetch(t, s, page(s, wssecuretest.Origin))
		if r.Status != http.StatusTeapot {
			t.Fatalf("status %d", r.Status)
		}
		wantColumn(t, r, ordinaryColumn, hsts, "Content-Security-Policy: "+framePolicy)
	})
}

func TestSwitchingHeaders(t *testing.T) {
	byConn := func(g *wssecure.Guard) http.Handler { return g.ConnHandler(wssecuretest.Echo) }
	for name, s := range map[string]*wssecuretest.Server{
		"D-01 ConnHandler 101":         startRoutes(t, byConn),
		"D-05 outer nil, ConnHandler":  startRoutes(t, func(g *wssecure.Guard) http.Handler { return withoutHSTS(byConn(g)) }),
		"D-16 hijack, one write":       startRoutes(t, guarded(hijackAnd101(1<<20, ""))),
		"D-16 hijack, byte by byte":    startRoutes(t, guarded(hijackAnd101(1, ""))),
		"D-16 hijack, it is there":     startRoutes(t, guarded(hijackAnd101(1<<20, hsts+"\r\n"))),
		"D-28 Pages round ConnHandler": startRoutes(t, func(g *wssecure.Guard) http.Handler { return g.Pages(g.ConnHandler(wssecuretest.Echo)) }),
		"D-28 Pages round Handler":     startRoutes(t, func(g *wssecure.Guard) http.Handler { return g.Pages(g.Handler(hijackAnd101(7, ""))) }),
	} {
		t.Run(name, func(t *testing.T) {
			hs := page(s, wssecuretest.Origin)
			r, _ := wantAdmitted(t, s, hs)
			wantColumn(t, r, nil, hsts)
			if n := len(r.Header); n != 4 {
				t.Errorf("%d header lines, want Upgrade, Connection, Accept and HSTS: %v", n, r.Header)
			}
			// Behind localhost and addresses there is none.
			r, _ = wantAdmitted(t, s, fresh(hs).Set("Host", "localhost"))
			if lines := r.Values("Strict-Transport-Security"); name != "D-16 hijack, it is there" && len(lines) > 0 {
				t.Errorf("D-23 HSTS for localhost: %q", lines)
			}
		})
	}
}

// withoutHSTS is middleware that keeps net/http's hands off a header.
func withoutHSTS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Strict-Transport-Security"] = nil
		next.ServeHTTP(w, r)
	})
}

// hijackAnd101 is a library that hijacks first and then writes the head itself,
// in pieces of that size.
func hijackAnd101(size int, extra string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: " + probe.Accept(r.Header.Get("Sec-WebSocket-Key")) + "\r\n" + extra + "\r\n"
		for piece := range slices.Chunk([]byte(head), size) {
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, bufio.NewReader(conn))
		_ = conn.Close()
	}
}

func TestHSTS(t *testing.T) {
	plain := startOver(t, true, guarded(says), wssecure.TrustProxies("X-Forwarded-For", "private"))
	untrusted := startOver(t, true, guarded(says))
	secure := startRoutes(t, guarded(says))
	given := startRoutes(t, guarded(says), wssecure.SetHSTS("max-age=63072000; includeSubDomains"))
	off := startRoutes(t, guarded(says), wssecure.InsecureHSTSOff(why))
	for _, tc := range []struct {
		name string
		s    *wssecuretest.Server
		host string
		line string
		want string
	}{
		{"D-02 plaintext", plain, wssecuretest.Host, "", ""},
		{"D-02 an untrusted peer says https", untrusted, wssecuretest.Host, "X-Forwarded-Proto: https", ""},
		{"D-02 a trusted one says https", plain, wssecuretest.Host, "X-Forwarded-Proto: https", "max-age=31536000"},
		{"D-02 a trusted one says wss", plain, wssecuretest.Host, "X-Forwarded-Proto: wss", "max-age=31536000"},
		{"D-23 localhost", secure, "localhost", "", ""},
		{"D-23 localhost with a port", secure, "localhost:8443", "", ""},
		{"D-23 a.localhost", secure, "a.localhost", "", ""},
		{"D-23 IPv4", secure, "192.0.2.1", "", ""},
		{"D-23 IPv4 with a port", secure, "192.0.2.1:443", "", ""},
		{"D-23 IPv6", secure, "[::1]", "", ""},
		{"D-23 IPv6 with a port", secure, "[2001:db8::1]:443", "", ""},
		{"D-23 a name that looks like one", secure, "localhost.example.com:8443", "", "max-age=31536000"},
		{"D-24 SetHSTS", given, wssecuretest.Host, "", "max-age=63072000; includeSubDomains"},
		{"D-24 InsecureHSTSOff", off, wssecuretest.Host, "", "max-age=0"},
	} {
		for _, upgrade := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, upgrade %v", tc.name, upgrade), func(t *testing.T) {
				hs := plainGet("/200", tc.host)
				if upgrade {
					hs.Add("Upgrade: websocket") // and nothing else: refused
				}
				if tc.line != "" {
					hs.Add(tc.line)
				}
				lines := fetch(t, tc.s, hs).Values("Strict-Transport-Security")
				if tc.want == "" && len(lines) > 0 || tc.want != "" && (len(lines) != 1 || lines[0] != tc.want) {
					t.Errorf("HSTS %q, want %q", lines, tc.want)
				}
			})
		}
	}
}

// TestNextsOwnHeaders is D-05: a page knows its nonces.
func TestNextsOwnHeaders(t *testing.T) {
	const nonce = "script-src 'nonce-abc'"
	for _, tc := range []struct {
		name string
		set  func(http.Header)
		want map[string][]string
	}{
		{"D-05 once", func(h http.Header) { h.Set("Content-Security-Policy", nonce) },
			map[string][]string{"Content-Security-Policy": {nonce}, "X-Frame-Options": {"DENY"}}},
		{"D-05 several lines", func(h http.Header) {
			h.Add("Content-Security-Policy", nonce)
			h.Add("Content-Security-Policy", "frame-ancestors 'none'")
		}, map[string][]string{"Content-Security-Policy": {nonce, "frame-ancestors 'none'"}, "X-Frame-Options": {"DENY"}}},
		{"D-05 each", func(h http.Header) {
			h.Set("X-Frame-Options", "SAMEORIGIN")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("X-Content-Type-Options", "NOSNIFF")
			h.Set("Strict-Transport-Security", "max-age=1")
		}, map[string][]string{"X-Frame-Options": {"SAMEORIGIN"}, "Referrer-Policy": {"no-referrer"}, "X-Content-Type-Options": {"NOSNIFF"}, "Strict-Transport-Security": {"max-age=1"}}},
		{"D-05 removed", func(h http.Header) {
			for _, name := range securityHeaders {
				h.Del(name)
			}
		}, map[string][]string{"X-Frame-Options": {"DENY"}, "Referrer-Policy": {"strict-origin-when-cross-origin"}, "Strict-Transport-Security": {"max-age=31536000"}}},
		{"D-05 removed as net/http's own headers are", func(h http.Header) {
			for _, name := range securityHeaders {
				h[name] = nil
			}
		}, map[string][]string{"X-Frame-Options": {"DENY"}, "X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"strict-origin-when-cross-origin"}, "Strict-Transport-Security": {"max-age=31536000"}}},
		{"D-10 its frame-ancestors 'self'", func(h http.Header) { h.Set("Content-Security-Policy", "img-src 'self'; Frame-Ancestors 'self'") },
			map[string][]string{"X-Frame-Options": {"SAMEORIGIN"}}},
		{"D-10 its list of hosts", func(h http.Header) {
			h.Set("Content-Security-Policy", "frame-ancestors https://a.example https://b.example")
		},
			map[string][]string{"X-Frame-Options": nil}},
	} {
		for kind, handler := range map[string]func(http.HandlerFunc) func(*wssecure.Guard) http.Handler{"Handler": guarded, "Pages": paged} {
			t.Run(tc.name+" "+kind, func(t *testing.T) {
				s := startRoutes(t, handler(func(w http.ResponseWriter, _ *http.Request) {
					tc.set(w.Header())
					_, _ = io.WriteString(w, "page")
				}))
				r := fetch(t, s, plainGet("/", wssecuretest.Host))
				for name, want := range tc.want {
					if got := r.Values(name); !slices.Equal(got, want) {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
			})
		}
	}
}

func TestSetHeader(t *testing.T) {
	extra := opts(wssecure.SetHeader("permissions-policy", "camera=()"), wssecure.SetHeader("Cross-Origin-Embedder-Policy", "require-corp"),
		wssecure.SetHeader("Referrer-Policy", "no-referrer"))
	has := func(t *testing.T, r *probe.Response, want bool) {
		t.Helper()
		for name, value := range map[string]string{"Permissions-Policy": "camera=()", "Cross-Origin-Embedder-Policy": "require-corp", "Referrer-Policy": "no-referrer"} {
			if got := r.Values(name); want && !slices.Equal(got, []string{value}) || !want && len(got) > 0 {
				t.Errorf("%s: %q, want it: %v", name, got, want)
			}
		}
	}
	for name, handler := range map[string]func(*wssecure.Guard) http.Handler{"D-11 Handler": guarded(says), "D-11 Pages": paged(says)} {
		t.Run(name, func(t *testing.T) {
			s := startRoutes(t, handler, extra...)
			has(t, fetch(t, s, plainGet("/200", wssecuretest.Host)), true)
		})
	}
	t.Run("D-11 neither on refusals nor on a 101", func(t *testing.T) {
		s := startRoutes(t, func(g *wssecure.Guard) http.Handler { return g.ConnHandler(wssecuretest.Echo) }, extra...)
		r, _ := wantRefused(t, s, page(s, "https://evil.net"), 403, wssecure.ReasonOrigin)
		has(t, r, false)
		r, _ = wantAdmitted(t, s, page(s, wssecuretest.Origin))
		has(t, r, false)
	})
}

// TestPagesRoundHandler is D-28: one set of headers, the outer one's.
func TestPagesRoundHandler(t *testing.T) {
	s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
		mux := http.NewServeMux()
		hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
		mux.Handle("/", hello)
		mux.Handle("/ws", g.Handler(hello))
		mux.Handle("/conn", g.ConnHandler(wssecuretest.Echo))
		return g.Pages(mux)
	})
	for _, path := range []string{"/", "/ws"} {
		t.Run("D-28 ordinary "+path, func(t *testing.T) {
			r := fetch(t, s, plainGet(path, wssecuretest.Host))
			if r.Status != 200 || string(r.Body) != "hello" {
				t.Fatalf("answer %d %s", r.Status, r.Body)
			}
			wantColumn(t, r, pagesColumn, hsts, "Content-Security-Policy: "+pagePolicy(" wss://ws.example.com"))
		})
	}
	for _, path := range []string{"/ws", "/conn"} {
		t.Run("D-28 refused "+path, func(t *testing.T) {
			hs := page(s, "https://evil.net")
			hs.Target = path
			r, _ := wantRefused(t, s, hs, 403, wssecure.ReasonOrigin)
			wantColumn(t, r, nil, hsts, "Content-Security-Policy: "+strictPolicy, "X-Frame-Options: DENY", "X-Content-Type-Options: nosniff", "Cache-Control: no-store")
		})
	}
	t.Run("D-28 admitted", func(t *testing.T) {
		hs := page(s, wssecuretest.Origin)
		hs.Target = "/conn"
		r, _ := wantAdmitted(t, s, hs)
		wantColumn(t, r, nil, hsts)
	})
	t.Run("D-28 nobody judges", func(t *testing.T) {
		hs := page(s, wssecuretest.Origin)
		hs.Target = "/"
		r := fetch(t, s, hs)
		if r.Status != 200 {
			t.Fatalf("status %d", r.Status)
		}
		wantColumn(t, r, pagesColumn, hsts, "Content-Security-Policy: "+pagePolicy(" wss://ws.example.com"))
	})
}
