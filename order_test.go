package wssecure_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// faults break the fixture so that each is found by a check of its own; they
// stand in the order of checks.
var faults = []struct {
	check  string
	change func(*probe.Handshake)
	answer string
}{
	{"shape", func(hs *probe.Handshake) { hs.Set("Sec-WebSocket-Version", "8") }, "426 version"},
	{"host", func(hs *probe.Handshake) { hs.Set("Host", "evil.example") }, "421 host"},
	{"origin", func(hs *probe.Handshake) { hs.Set("Origin", "https://evil.example") }, "403 origin"},
	{"fetch-metadata", func(hs *probe.Handshake) { hs.Set("Sec-Fetch-Mode", "cors") }, "403 origin"},
	{"credential", func(hs *probe.Handshake) { hs.Add("Sec-WebSocket-Protocol: bearer, b.a.d") }, "400 invalid-request"},
	{"token", func(hs *probe.Handshake) { hs.Set("Authorization", "Bearer b.a.d") }, "401 token-invalid"},
	{"scope", func(hs *probe.Handshake) { swapPerson(hs, "noscope") }, "403 scope"},
	{"claims", func(hs *probe.Handshake) { swapPerson(hs, "noclaim") }, "403 forbidden"},
	{"custom", func(hs *probe.Handshake) { hs.Add("X-Tenant: asleep") }, "403 forbidden"},
}

// swapPerson takes a right from the good person; any other token stays bad.
func swapPerson(hs *probe.Handshake, name string) {
	switch {
	case slices.Contains(hs.Lines, "Authorization: Bearer good"):
		hs.Set("Authorization", "Bearer "+name)
	case slices.Contains(hs.Lines, "Authorization: Bearer noclaim"):
		hs.Set("Authorization", "Bearer neither")
	}
}

// strictOptions is a policy in which each of the faults is one.
func strictOptions() []wssecure.Option {
	return []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin),
		wssecure.AllowHosts(wssecuretest.Host),
		wssecure.RequireToken(wssecure.VerifierFunc(personOf)),
		wssecure.RequireScopes("chat"),
		wssecure.RequireClaim("tenant", "a"),
		wssecure.RequireCheck("asleep", func(_ context.Context, h *wssecure.Handshake) error {
			if h.Request.Header.Get("X-Tenant") == "asleep" {
				return wssecure.ReasonForbidden
			}
			return nil
		}),
		wssecure.AllowSubprotocols("chat", "log"),
		wssecure.AllowCompression(),
		wssecure.LimitConns(wssecure.BySubject(), 5_000),
		wssecure.LimitConns(wssecure.ByTotal(), 50_000),
		wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerSecond(100)),
		wssecure.LimitFailures(wssecure.BySubject(), wssecure.PerMinute(100), 1<<31),
		wssecure.LimitSession(wssecure.Limits{Fragments: 16}),
		wssecure.InsecureAllowPlaintext("test"),
	}
}

func personOf(_ context.Context, token string) (*wssecure.Identity, error) {
	id := &wssecure.Identity{Issuer: "test", Subject: token, Scopes: []string{"chat"}, Claims: map[string]any{"tenant": "a"}}
	switch token {
	case "good":
	case "noscope":
		id.Scopes = nil
	case "noclaim":
		id.Claims = nil
	case "neither":
		id.Scopes, id.Claims = nil, nil
	default:
		return nil, wssecure.ReasonTokenInvalid
	}
	return id, nil
}

// inMemory sends hs from a client of its own and tells status and public reason.
func inMemory(g *wssecure.Guard, hs *probe.Handshake, client int64) string {
	r := requestOf(hs.Bytes(), client)
	w := serveInMemory(g.ConnHandler(wssecuretest.Echo), r)
	answer := fmt.Sprint(w.outcome())
	if m := problemBody.FindSubmatch(w.body.Bytes()); m != nil {
		answer += " " + string(m[1])
	}
	if head, lines, _ := strings.Cut(string(w.conn.written()), "\r\n"); head != "" {
		head, _, _ = strings.Cut(lines, "\r\n\r\n")
		answer += " " + strings.Join(slices.Sorted(strings.SplitSeq(head, "\r\n")), "; ")
	}
	return answer
}

// Of several faults the one is told whose check comes first: for each pair, and
// for all of them together.
func TestFirstFaultWins(t *testing.T) {
	g := must(wssecure.New(strictOptions()...))
	t.Cleanup(func() { g.Shutdown(context.Background()) })
	client := int64(0)
	answer := func(changes ...func(*probe.Handshake)) string {
		hs := (&wssecuretest.Server{}).Handshake("good").Set("Sec-WebSocket-Key", nonce(int(client)))
		for _, change := range changes {
			change(hs)
		}
		client++
		return inMemory(g, hs, client)
	}
	for i, first := range faults {
		if got := answer(first.change); got != first.answer {
			t.Errorf("%s: %s, want %s", first.check, got, first.answer)
		}
		var all []func(*probe.Handshake)
		for _, later := range faults[i+1:] {
			if got := answer(later.change, first.change); got != first.answer {
				t.Errorf("%s and %s: %s, want %s", first.check, later.check, got, first.answer)
			}
			all = append(all, later.change)
		}
		if got := answer(append(all, first.change)...); got != first.answer {
			t.Errorf("%s and all that come later: %s, want %s", first.check, got, first.answer)
		}
	}
	if got := answer(); !strings.HasPrefix(got, "101 ") {
		t.Errorf("no fault: %s", got)
	}
}

// The order of options never matters: same verdicts, same answers.
func TestOptionsInAnyOrder(t *testing.T) {
	var inputs []*probe.Handshake
	fixture := func() *probe.Handshake {
		return (&wssecuretest.Server{}).Handshake("good").Set("Sec-WebSocket-Key", nonce(len(inputs)))
	}
	add := func(change func(*probe.Handshake)) {
		hs := fixture()
		change(hs)
		inputs = append(inputs, hs)
	}
	for i, f := range faults {
		add(f.change)
		add(func(hs *probe.Handshake) { f.change(hs); faults[(i+3)%len(faults)].change(hs) })
	}
	for _, line := range []string{
		"X-None: x", "Sec-WebSocket-Protocol: log, chat", "Sec-WebSocket-Protocol: none", "Sec-WebSocket-Extensions: permessage-deflate",
		"Sec-WebSocket-Extensions: a;b=", "Cookie: sid=x", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: none",
	} {
		add(func(hs *probe.Handshake) { hs.Add(line) })
	}
	add(func(hs *probe.Handshake) { hs.Del("Origin") })
	add(func(hs *probe.Handshake) { hs.Del("Origin").Del("Authorization") })

	var want []string
	for shuffle := range 12 {
		opts := strictOptions()
		if shuffle > 0 {
			rand.Shuffle(len(opts), func(i, j int) { opts[i], opts[j] = opts[j], opts[i] })
		}
		if shuffle%3 == 2 { // joined, as a team would keep them
			opts = []wssecure.Option{wssecure.Options(opts[:5]...), wssecure.Options(opts[5:]...)}
		}
		g := must(wssecure.New(opts...))
		for i, hs := range inputs {
			got := inMemory(g, hs, int64(i))
			if shuffle == 0 {
				want = append(want, got)
			} else if got != want[i] {
				t.Errorf("%q: %s, first %s", hs.Bytes(), got, want[i])
			}
		}
		g.Shutdown(context.Background())
	}
	if distinct := len(slices.Compact(slices.Sorted(slices.Values(want)))); len(inputs) < 25 || distinct < 12 {
		t.Errorf("%d inputs with %d distinct answers", len(inputs), distinct)
	}
}

// checkRow is an input that one check alone decides.
type checkRow struct {
	options []wssecure.Option
	prepare func(t *testing.T, g *wssecure.Guard)
	change  func(hs *probe.Handshake, r *http.Request)
	answer  string
}

var checkRows = map[string]checkRow{
	"shape":     {change: func(hs *probe.Handshake, _ *http.Request) { hs.Set("Sec-WebSocket-Version", "8") }, answer: "426 version"},
	"transport": {change: func(_ *probe.Handshake, r *http.Request) { r.TLS = nil }, answer: "403 insecure-transport"},
	"capacity": { // beside a hostile Origin, which is looked at later
		prepare: func(_ *testing.T, g *wssecure.Guard) { g.Shutdown(context.Background()) },
		change:  func(hs *probe.Handshake, _ *http.Request) { hs.Set("Origin", "https://evil.example") },
		answer:  "503 draining",
	},
	"host": {
		options: []wssecure.Option{wssecure.AllowHosts(wssecuretest.Host)},
		change:  func(hs *probe.Handshake, _ *http.Request) { hs.Set("Host", "evil.example") }, answer: "421 host",
	},
	"origin":         {change: func(hs *probe.Handshake, _ *http.Request) { hs.Set("Origin", "https://evil.example") }, answer: "403 origin"},
	"fetch-metadata": {change: func(hs *probe.Handshake, _ *http.Request) { hs.Set("Sec-Fetch-Mode", "cors") }, answer: "403 origin"},
	"rate": {
		options: []wssecure.Option{wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerHour(1))},
		prepare: func(t *testing.T, g *wssecure.Guard) {
			// A refused handshake does not get its token back.
			if got := inMemory(g, (&wssecuretest.Server{}).Handshake("bad"), 1); got != "401 token-invalid" {
				t.Errorf("before: %s", got)
			}
		},
		answer: "429 rate-limited",
	},
	"credential": {change: func(hs *probe.Handshake, _ *http.Request) { hs.Add("Sec-WebSocket-Protocol: bearer, good") }, answer: "400 invalid-request"},
	"token":      {change: func(hs *probe.Handshake, _ *http.Request) { hs.Set("Authorization", "Bearer bad") }, answer: "401 token-invalid"},
	"client-cert": {
		options: []wssecure.Option{wssecure.RequireClientCert(strangers())}, answer: "403 forbidden",
	},
	"auth-level": {
		options: []wssecure.Option{wssecure.RequireAuthLevel(time.Hour, "mfa")}, answer: "401 auth-level",
	},
	"scope": {
		options: []wssecure.Option{wssecure.RequireScopes("admin")}, answer: "403 scope",
	},
	"claims": {
		options: []wssecure.Option{wssecure.RequireClaim("tenant", "b")}, answer: "403 forbidden",
	},
	"custom": {
		options: []wssecure.Option{wssecure.RequireCheck("never", func(context.Context, *wssecure.Handshake) error { return wssecure.ReasonForbidden })},
		answer:  "403 forbidden",
	},
	"conn-limit": {
		options: []wssecure.Option{wssecure.LimitReplay(1 << 40)},
		prepare: func(t *testing.T, g *wssecure.Guard) {
			if got := inMemory(g, (&wssecuretest.Server{}).Handshake("good"), 1); !strings.HasPrefix(got, "101") {
				t.Errorf("before: %s", got)
			}
		},
		answer: "400 key",
	},
}

// A guard that lacks a check answers differently: no check can be lost unseen.
func TestEveryCheckMatters(t *testing.T) {
	for _, check := range wssecure.CheckNames() {
		t.Run(check, func(t *testing.T) {
			row, ok := checkRows[check]
			if check == "proof" {
				t.Run("bound token", checkProofMatters)
				return
			}
			if !ok {
				t.Fatal("no row is decided by this check alone")
			}
			opts := append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(wssecure.VerifierFunc(personOf))}, row.options...)
			for _, whole := range []bool{true, false} {
				g := must(wssecure.New(opts...))
				if row.prepare != nil {
					row.prepare(t, g)
				}
				if !whole {
					g = wssecure.Without(g, check)
				}
				if got := answerOf(g, row); (got == row.answer) != whole {
					t.Errorf("with the check %v: %s; want %s with it alone", whole, got, row.answer)
				}
				g.Shutdown(context.Background())
			}
		})
	}
}

// answerOf is inMemory for a guard that may be too broken to answer.
func answerOf(g *wssecure.Guard, row checkRow) (answer string) {
	defer func() {
		if p := recover(); p != nil {
			answer = fmt.Sprint("panic: ", p)
		}
	}()
	hs := (&wssecuretest.Server{}).Handshake("good")
	r := requestOf(hs.Bytes(), 1)
	if row.change != nil {
		row.change(hs, r)
		tls := r.TLS
		r = requestOf(hs.Bytes(), 1)
		r.TLS = tls
	}
	w := serveInMemory(g.ConnHandler(wssecuretest.Echo), r)
	m := problemBody.FindSubmatch(w.body.Bytes())
	if m == nil {
		return fmt.Sprint(w.outcome())
	}
	return fmt.Sprintf("%d %s", w.outcome(), m[1])
}

// checkProofMatters: a token bound to a client certificate, on a connection that
// has none.
func checkProofMatters(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	bound := issuer.Sign("ES256", issuer.Claims("alice", map[string]any{
		"cnf": map[string]any{"x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"},
	}))
	g := must(wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()))
	defer g.Shutdown(context.Background())
	row := checkRow{change: func(hs *probe.Handshake, _ *http.Request) { hs.Set("Authorization", "Bearer "+bound) }}
	if got := answerOf(g, row); got != "401 token-invalid" {
		t.Errorf("with the check: %s", got)
	}
	if got := answerOf(wssecure.Without(g, "proof"), row); got != "101" {
		t.Errorf("without it: %s", got)
	}
}

// A guard whose listener supplies no address can count nobody, so it admits
// nobody.
func TestPeerWithoutAddress(t *testing.T) {
	g := must(wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("test")))
	for _, addr := range []string{"", "@", "pipe", "/run/socket"} {
		r := fixtureFrom(1)
		r.RemoteAddr = addr
		if w := serveInMemory(g.ConnHandler(wssecuretest.Echo), r); w.outcome() != 500 {
			t.Errorf("RemoteAddr %q: %d, want 500", addr, w.outcome())
		}
	}
	r := fixtureFrom(1)
	r.RemoteAddr = netip.MustParseAddrPort("[2001:db8::1]:1").String()
	if w := serveInMemory(g.ConnHandler(wssecuretest.Echo), r); w.outcome() != 101 {
		t.Errorf("%d, want 101", w.outcome())
	}
}
