package wssecure_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// seat is where a peer sits, for addresses that loopback does not have; empty
// fields stay as they are.
type seat struct{ peer, local string }

// startSeated starts a plaintext server that sees its peers in that seat.
func startSeated(t *testing.T, at seat, options ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Plaintext: true,
		Options:   append(opts(issuer.Option()), options...),
		Handler:   func(g *wssecure.Guard) http.Handler { return at.in(g.ConnHandler(wssecuretest.Echo)) },
	})
	s.Issuer = issuer
	return s
}

func (at seat) in(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at.local != "" {
			addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(at.local))
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr)))
		}
		if at.peer != "" {
			r.RemoteAddr = at.peer
		}
		next.ServeHTTP(w, r)
	})
}

const (
	private = "10.2.3.4:4711"
	public  = "203.0.113.9:4711"
)

func TestPlaintext(t *testing.T) {
	listed := wssecure.AllowOrigins(wssecuretest.Origin)
	bare := startSeated(t, seat{}, listed)
	fromPublic := startSeated(t, seat{peer: public}, listed)
	proxied := startSeated(t, seat{}, listed, wssecure.TrustProxies("X-Forwarded-For", "private"))
	forwarded := startSeated(t, seat{}, listed, wssecure.TrustProxies("Forwarded", "private"))
	untrusted := startSeated(t, seat{peer: public}, listed, wssecure.TrustProxies("X-Forwarded-For", "private"))
	other := startSeated(t, seat{}, listed, wssecure.TrustProxies("X-Forwarded-For", "192.0.2.0/24"))
	open := startSeated(t, seat{}, listed, wssecure.InsecureAllowPlaintext(why))
	for _, tc := range []struct {
		name     string
		s        *wssecuretest.Server
		lines    []string
		admitted bool
		hsts     bool
	}{
		{"T-21 loopback", bare, nil, false, false},
		{"T-21 public", fromPublic, nil, false, false},
		{"T-21 InsecureAllowPlaintext", open, nil, true, false},
		{"D-02 InsecureAllowPlaintext, untrusted header", open, []string{"X-Forwarded-Proto: https"}, true, false},
		{"T-22 https", proxied, []string{"X-Forwarded-Proto: https"}, true, true},
		{"T-22 wss", proxied, []string{"X-Forwarded-Proto: wss"}, true, true},
		{"T-22 case", proxied, []string{"X-Forwarded-Proto: HTTPS"}, true, true},
		{"T-22 Forwarded", forwarded, []string{"Forwarded: for=203.0.113.9;proto=https"}, true, true},
		{"T-22 Forwarded, quoted", forwarded, []string{`Forwarded: for="[2001:db8::1]:4711";proto="wss"`}, true, true},
		{"T-22 Forwarded, the client's element", forwarded, []string{"Forwarded: for=203.0.113.9;proto=https, for=10.0.0.1;proto=http"}, true, true},
		{"T-23 Forwarded http outweighs the other header", forwarded, []string{"Forwarded: for=203.0.113.9;proto=http", "X-Forwarded-Proto: https"}, false, false},
		{"T-23 Forwarded of whom nobody trusts", proxied, []string{"Forwarded: for=203.0.113.9;proto=https"}, false, false},
		{"T-23 untrusted peer", untrusted, []string{"X-Forwarded-Proto: https"}, false, false},
		{"T-23 outside the prefix", other, []string{"X-Forwarded-Proto: https"}, false, false},
		{"T-23 no proxies", bare, []string{"X-Forwarded-Proto: https"}, false, false},
		{"T-23 http", proxied, []string{"X-Forwarded-Proto: http"}, false, false},
		{"T-23 ws", proxied, []string{"X-Forwarded-Proto: ws"}, false, false},
		{"T-23 a list", proxied, []string{"X-Forwarded-Proto: https,http"}, false, false},
		{"T-23 a list, the same", proxied, []string{"X-Forwarded-Proto: https, https"}, false, false},
		{"T-23 two lines", proxied, []string{"X-Forwarded-Proto: https", "X-Forwarded-Proto: https"}, false, false},
		{"T-23 empty", proxied, []string{"X-Forwarded-Proto:"}, false, false},
		{"T-23 absent", proxied, nil, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hs := page(tc.s, wssecuretest.Origin)
			for _, line := range tc.lines {
				hs.Add(line)
			}
			var r *probe.Response
			if tc.admitted {
				r, _ = wantAdmitted(t, tc.s, hs)
			} else {
				r, _ = wantRefused(t, tc.s, hs, 403, wssecure.ReasonTransport)
			}
			wantHSTS(t, r, tc.hsts)
		})
	}
}

func wantHSTS(t *testing.T, r *probe.Response, want bool) {
	t.Helper()
	lines := r.Values("Strict-Transport-Security")
	if want && (len(lines) != 1 || lines[0] != "max-age=31536000") || !want && len(lines) > 0 {
		t.Errorf("HSTS %q, want it: %v", lines, want)
	}
}

// TestSchemeBehindProxy is T-22 for the same-origin policy.
func TestSchemeBehindProxy(t *testing.T) {
	s := startSeated(t, seat{}, wssecure.AllowHosts(wssecuretest.Host), wssecure.TrustProxies("X-Forwarded-For", "private"))
	dial := func(origin string) *probe.Handshake { return page(s, origin).Add("X-Forwarded-Proto: https") }
	wantAdmitted(t, s, dial("https://ws.example.com"))
	wantRefused(t, s, dial("http://ws.example.com"), 403, wssecure.ReasonOrigin)
	open := startSeated(t, seat{}, wssecure.AllowHosts(wssecuretest.Host), wssecure.InsecureAllowPlaintext(why))
	wantAdmitted(t, open, page(open, "http://ws.example.com"))
	wantRefused(t, open, page(open, "https://ws.example.com"), 403, wssecure.ReasonOrigin)
}

// TestProxyNetworks is T-30: whom the word "private" names, and what a header
// with a single address may hold.
func TestProxyNetworks(t *testing.T) {
	const client = "198.51.100.7"
	for _, tc := range []struct {
		name, header, line, peer, want string
	}{
		{"T-30 10/8", "X-Forwarded-For", "X-Forwarded-For: " + client, "10.9.8.7:1", client},
		{"T-30 172.16/12", "X-Forwarded-For", "X-Forwarded-For: " + client, "172.31.0.1:1", client},
		{"T-30 192.168/16", "X-Forwarded-For", "X-Forwarded-For: " + client, "192.168.1.1:1", client},
		{"T-30 100.64/10", "X-Forwarded-For", "X-Forwarded-For: " + client, "100.127.0.1:1", client},
		{"T-30 link-local", "X-Forwarded-For", "X-Forwarded-For: " + client, "169.254.1.1:1", client},
		{"T-30 link-local IPv6", "X-Forwarded-For", "X-Forwarded-For: " + client, "[fe80::1]:1", client},
		{"T-30 unique-local", "X-Forwarded-For", "X-Forwarded-For: " + client, "[fd00::1]:1", client},
		{"T-30 loopback", "X-Forwarded-For", "X-Forwarded-For: " + client, "127.0.0.1:1", client},
		{"T-30 mapped", "X-Forwarded-For", "X-Forwarded-For: " + client, "[::ffff:10.0.0.1]:1", client},
		{"T-30 X-Real-IP", "X-Real-IP", "X-Real-IP: " + client, "10.9.8.7:1", client},
		{"T-30 X-Real-IP takes one address", "X-Real-IP", "X-Real-IP: 192.0.2.1, " + client, "10.9.8.7:1", "10.9.8.7"},
		{"T-30 CF-Connecting-IP", "CF-Connecting-IP", "Cf-Connecting-Ip: " + client, "10.9.8.7:1", client},
		{"T-30 another header", "X-Real-IP", "X-Forwarded-For: " + client, "10.9.8.7:1", "10.9.8.7"},
		{"T-30 next to 172.16/12", "X-Forwarded-For", "X-Forwarded-For: " + client, "172.32.0.1:1", ""},
		{"T-30 next to 100.64/10", "X-Forwarded-For", "X-Forwarded-For: " + client, "100.128.0.1:1", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startSeated(t, seat{peer: tc.peer}, wssecure.AllowOrigins("https://elsewhere.example"), wssecure.TrustProxies(tc.header, "private"))
			hs := page(s, wssecuretest.Origin).Add(tc.line).Add("X-Forwarded-Proto: https")
			if tc.want == "" {
				_, e := wantRefused(t, s, hs, 403, wssecure.ReasonTransport)
				if e.ClientIP != netip.MustParseAddrPort(tc.peer).Addr() {
					t.Errorf("client %v", e.ClientIP)
				}
				return
			}
			_, e := wantRefused(t, s, hs, 403, wssecure.ReasonOrigin)
			if e.ClientIP.String() != tc.want {
				t.Errorf("client %v, want %s", e.ClientIP, tc.want)
			}
		})
	}
	rest := opts(wssecure.InsecureAllowAnonymous(why), wssecure.AllowOrigins(wssecuretest.Origin))
	for name, tc := range map[string]struct {
		option wssecure.Option
		want   string
	}{
		"T-30 no prefix":    {wssecure.TrustProxies("X-Forwarded-For"), `TrustProxies: no prefix is given; name your proxies' networks, as "10.0.0.0/8" or "private"`},
		"T-30 unknown word": {wssecure.TrustProxies("X-Forwarded-For", "internal"), `TrustProxies: "internal"`},
		"T-30 everybody":    {wssecure.TrustProxies("X-Forwarded-For", "0.0.0.0/0"), `TrustProxies: "0.0.0.0/0" trusts every client; name the networks of your proxies`},
	} {
		t.Run(name, func(t *testing.T) { wantConfigError(t, append(opts(tc.option), rest...), []string{tc.want}) })
	}
}

func TestLocalhost(t *testing.T) {
	const origin = "http://localhost:3000"
	allow := wssecure.AllowLocalhost()
	listed := wssecure.AllowOrigins(wssecuretest.Origin)
	named := wssecure.AllowHosts(wssecuretest.Host)
	local := startSeated(t, seat{}, listed, named, allow)
	v6 := startSeated(t, seat{peer: "[::1]:4711", local: "[::1]:8080"}, listed, named, allow)
	mapped := startSeated(t, seat{peer: "[::ffff:127.0.0.1]:4711"}, listed, named, allow)
	remote := startSeated(t, seat{peer: private}, listed, named, allow)
	outward := startSeated(t, seat{local: "10.2.3.4:8080"}, listed, named, allow)
	without := startSeated(t, seat{}, listed, named)
	dial := func(s *wssecuretest.Server, host, origin string, lines ...string) *probe.Handshake {
		hs := page(s, origin).Set("Host", host)
		for _, line := range lines {
			hs.Add(line)
		}
		return hs
	}
	type row struct {
		name string
		s    *wssecuretest.Server
		hs   *probe.Handshake
	}
	for _, tc := range []row{
		{"T-27 localhost", local, dial(local, "localhost:8080", origin)},
		{"T-27 127.0.0.1", local, dial(local, "127.0.0.1:8080", "http://127.0.0.1:5173")},
		{"T-27 127.9.9.9", local, dial(local, "127.9.9.9", "http://127.0.0.1")},
		{"T-27 [::1]", v6, dial(v6, "[::1]:8080", "http://[::1]:3000")},
		{"T-27 a sub-domain", local, dial(local, "api.localhost:8080", "https://app.localhost")},
		{"T-27 a mapped peer", mapped, dial(mapped, "localhost", origin)},
		{"T-27 Sec-Fetch-Site cross-site", local, dial(local, "localhost:8080", origin, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: websocket")},
		{"T-27 Sec-Fetch-Site none", local, dial(local, "localhost:8080", origin, "Sec-Fetch-Site: none")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, _ := wantAdmitted(t, tc.s, tc.hs)
			wantHSTS(t, r, false)
		})
	}
	t.Run("T-27 token still asked for", func(t *testing.T) {
		wantRefused(t, local, dial(local, "localhost:8080", origin).Del("Authorization"), 401, wssecure.ReasonTokenMissing)
	})
	t.Run("T-27 Sec-Fetch-Mode holds", func(t *testing.T) {
		wantRefused(t, local, dial(local, "localhost:8080", origin, "Sec-Fetch-Mode: no-cors"), 403, wssecure.ReasonFetchMetadata)
	})
	for _, tc := range []row{
		{"T-28 peer", remote, dial(remote, "localhost:8080", origin)},
		{"T-28 local address", outward, dial(outward, "localhost:8080", origin)},
		{"T-28 Host", local, dial(local, wssecuretest.Host, origin)},
		{"T-28 Host rebound", local, dial(local, "evil.example", origin)},
		{"T-28 Host like localhost", local, dial(local, "localhost.evil.example", origin)},
		{"T-28 Host with a dot", local, dial(local, "localhost.", origin)},
		{"T-28 Origin", local, dial(local, "localhost:8080", "https://evil.example")},
		{"T-28 a listed Origin", local, dial(local, "localhost:8080", wssecuretest.Origin)},
		{"T-28 Origin like localhost", local, dial(local, "localhost:8080", "http://localhost.evil.example")},
		{"T-28 Origin null", local, dial(local, "localhost:8080", "null")},
		{"T-28 no Origin", local, dial(local, "localhost:8080", origin).Del("Origin")},
		{"T-28 two Origins", local, dial(local, "localhost:8080", origin, "Origin: "+origin)},
		{"T-28 Forwarded", local, dial(local, "localhost:8080", origin, "Forwarded: for=203.0.113.9")},
		{"T-28 X-Forwarded-For", local, dial(local, "localhost:8080", origin, "X-Forwarded-For: 127.0.0.1")},
		{"T-28 X-Forwarded-Host", local, dial(local, "localhost:8080", origin, "X-Forwarded-Host: localhost")},
		{"T-28 X-Forwarded-Proto, empty", local, dial(local, "localhost:8080", origin, "X-Forwarded-Proto:")},
		{"T-28 X-Real-IP", local, dial(local, "localhost:8080", origin, "X-Real-IP: 127.0.0.1")},
		{"T-28 Cf-Connecting-Ip", local, dial(local, "localhost:8080", origin, "CF-Connecting-IP: 127.0.0.1")},
		{"T-28 Via", local, dial(local, "localhost:8080", origin, "Via: 1.1 tunnel")},
		{"T-28 not allowed at all", without, dial(without, "localhost:8080", origin)},
	} {
		t.Run(tc.name, func(t *testing.T) { wantRefused(t, tc.s, tc.hs, 403, wssecure.ReasonTransport) })
	}

	secure := newIssued(t, listed, named, allow)
	t.Run("T-28 over TLS the list decides", func(t *testing.T) {
		wantRefused(t, secure, dial(secure, wssecuretest.Host, origin), 403, wssecure.ReasonOrigin)
		wantRefused(t, secure, dial(secure, "localhost", "https://evil.example"), 421, wssecure.ReasonHost)
	})
}

func TestProxyHints(t *testing.T) {
	const line = `hint="plaintext from 10.2.3.4 with X-Forwarded-Proto \"https\": if that is your proxy, add TrustProxies(...)"`
	const wssLine = `hint="plaintext from 10.2.3.4 with X-Forwarded-Proto \"wss\": if that is your proxy, add TrustProxies(...)"`
	const unlisted = `hint="unlisted-forwarder: 10.2.3.4 sends forwarding headers: if that is your proxy, add TrustProxies(...)"`
	for _, tc := range []struct {
		name   string
		peer   string
		lines  []string
		more   []wssecure.Option
		event  string // the refused event's hint
		logged string // what the one line ends with; empty for no line
	}{
		{"T-29 the line", private, []string{"X-Forwarded-Proto: https"}, nil, "plaintext-behind-proxy", line},
		{"U-12 wss", private, []string{"X-Forwarded-Proto: wss"}, nil, "plaintext-behind-proxy", wssLine},
		{"T-29 with an address too", private, []string{"X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1"}, nil, "plaintext-behind-proxy", line},
		{"T-29 other proxies are trusted", private, []string{"X-Forwarded-Proto: https"}, opts(wssecure.TrustProxies("X-Forwarded-For", "192.0.2.0/24")), "plaintext-behind-proxy", line},
		{"T-29 a public peer", public, []string{"X-Forwarded-Proto: https"}, nil, "", ""},
		{"T-29 a trusted peer that says http", private, []string{"X-Forwarded-Proto: http"}, opts(wssecure.TrustProxies("X-Forwarded-For", "private")), "", ""},
		{"T-29 no header", private, nil, nil, "", ""},
		{"U-15 http: to trust it would not admit", private, []string{"X-Forwarded-Proto: http"}, nil, "", unlisted},
		{"U-15 an address", private, []string{"X-Forwarded-For: 192.0.2.1"}, nil, "", unlisted},
		{"U-15 a public peer", public, []string{"X-Forwarded-For: 192.0.2.1"}, nil, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			book := &logbook.Book{}
			s := startSeated(t, seat{peer: tc.peer}, append(opts(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.SetLogger(book.Logger())), tc.more...)...)
			for range 3 {
				hs := page(s, wssecuretest.Origin)
				for _, l := range tc.lines {
					hs.Add(l)
				}
				_, e := wantRefused(t, s, hs, 403, wssecure.ReasonTransport)
				if e.Hint != tc.event {
					t.Errorf("the event's hint is %q, want %q", e.Hint, tc.event)
				}
			}
			lines := book.Hints()
			switch {
			case tc.logged == "" && len(lines) > 0:
				t.Errorf("logged %q, want nothing", lines)
			case tc.logged != "" && (len(lines) != 1 || !strings.Contains(lines[0], tc.logged) || !strings.Contains(lines[0], "level=WARN")):
				t.Errorf("logged %q, want once %s", lines, tc.logged)
			}
		})
	}
}

// TestForwarderHint is U-15 where the handshake goes on: its client is the proxy
// then, and limits by address fall on everybody behind it.
func TestForwarderHint(t *testing.T) {
	book := &logbook.Book{}
	listed := wssecure.AllowOrigins(wssecuretest.Origin)
	secure := newIssued(t, listed, wssecure.SetLogger(book.Logger()))
	wantAdmitted(t, secure, page(secure, wssecuretest.Origin).Add("X-Forwarded-Proto: https"))
	wantAdmitted(t, secure, page(secure, wssecuretest.Origin).Add("X-Real-IP: 192.0.2.1"))
	open := startSeated(t, seat{peer: private}, listed, wssecure.InsecureAllowPlaintext(why), wssecure.SetLogger(book.Logger()))
	wantAdmitted(t, open, page(open, wssecuretest.Origin).Add("X-Forwarded-Proto: https"))
	lines := book.Hints()
	if len(lines) != 2 || !strings.Contains(lines[0], "unlisted-forwarder: 127.0.0.1 ") || !strings.Contains(lines[1], "unlisted-forwarder: 10.2.3.4 ") {
		t.Errorf("logged %q, want one line for each guard", lines)
	}
}
