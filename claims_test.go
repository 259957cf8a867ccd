package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// claimRow is a rule, the claims of a token, and whether they satisfy it.
type claimRow struct {
	name     string
	rule     wssecure.Option
	claims   members
	admitted bool
}

func readWrite() wssecure.Option { return wssecure.RequireScopes("ws:read", "ws:write") }

func roles(anyOf ...string) wssecure.Option { return wssecure.RequireClaim("roles", anyOf...) }

var realm = wssecure.RequireClaim("/realm_access/roles", "admin")

var scopeRows = []claimRow{
	{"Z-01 one of two", readWrite(), members{"scope": "ws:read"}, false},
	{"Z-01 none", readWrite(), nil, false},
	{"Z-02 scope", readWrite(), members{"scope": "ws:write ws:read more"}, true},
	{"Z-02 scp, a list", readWrite(), members{"scp": []string{"ws:read", "ws:write"}}, true},
	{"Z-02 scp, a string", readWrite(), members{"scp": "ws:read ws:write"}, true},
	{"Z-02 both together", readWrite(), members{"scope": "ws:read", "scp": []string{"ws:write"}}, true},
	{"Z-02 a longer word", readWrite(), members{"scope": "ws:readx ws:write"}, false},
	{"Z-02 another case", readWrite(), members{"scope": "WS:READ ws:write"}, false},
	{"Z-02 a comma", readWrite(), members{"scope": "ws:read,ws:write"}, false},
}

var claimRows = []claimRow{
	{"Z-03 a string", roles("admin", "ops"), members{"roles": "ops"}, true},
	{"Z-03 a list", roles("admin", "ops"), members{"roles": []string{"x", "admin"}}, true},
	{"Z-03 two words", roles("admin", "ops"), members{"roles": "admin x"}, false},
	{"Z-03 another case", roles("admin", "ops"), members{"roles": "Admin"}, false},
	{"Z-03 missing", roles("admin", "ops"), nil, false},
	{"Z-03 null", roles("null", "<nil>"), members{"roles": nil}, false},
	{"Z-03 an object", roles("admin", "ops"), members{"roles": members{"admin": "admin"}}, false},
	{"Z-03 a list in a list", roles("admin", "ops"), members{"roles": []any{[]string{"admin"}}}, false},
	{"Z-03 an empty list", roles("admin", "ops"), members{"roles": []string{}}, false},
	{"Z-03 true", roles("true"), members{"roles": true}, true},
	{"Z-03 false", roles("true"), members{"roles": false}, false},
	{"Z-03 a number", roles("7"), members{"roles": 7}, true},
	{"Z-03 another name's case", roles("admin"), members{"Roles": "admin"}, false},
	{"Z-08 nested", realm, members{"realm_access": members{"roles": []string{"x", "admin"}}}, true},
	{"Z-08 missing", realm, members{"realm_access": members{}}, false},
	{"Z-08 through a string", realm, members{"realm_access": "roles"}, false},
	{"Z-08 the pointer as a name", realm, members{"/realm_access/roles": "admin"}, false},
	{"Z-08 an escaped slash", wssecure.RequireClaim("/a~1b", "x"), members{"a/b": "x"}, true},
	{"Z-08 an escaped tilde and one", wssecure.RequireClaim("/a~01", "x"), members{"a~1": "x"}, true},
	{"Z-08 first element", wssecure.RequireClaim("/l/0", "x"), members{"l": []string{"x", "y"}}, true},
	{"Z-08 not the first", wssecure.RequireClaim("/l/0", "y"), members{"l": []string{"x", "y"}}, false},
	{"Z-08 past the end", wssecure.RequireClaim("/l/2", "x"), members{"l": []string{"x", "y"}}, false},
	{"Z-08 a leading zero", wssecure.RequireClaim("/l/00", "x"), members{"l": []string{"x"}}, false},
	{"Z-09 a dot", wssecure.RequireClaim("a.b", "x"), members{"a.b": "x"}, true},
	{"Z-09 a dot is no path", wssecure.RequireClaim("a.b", "x"), members{"a": members{"b": "x"}}, false},
}

func TestAuthorizationRows(t *testing.T) {
	for _, table := range []struct {
		rows      []claimRow
		reason    wssecure.Reason
		check     string
		challenge string
	}{
		{scopeRows, wssecure.ReasonScope, "scope", `Bearer realm="ws", error="insufficient_scope", scope="ws:read ws:write"`},
		{claimRows, wssecure.ReasonForbidden, "claims", ""},
	} {
		for _, row := range table.rows {
			t.Run(row.name, func(t *testing.T) {
				s := wssecuretest.NewServer(t, row.rule)
				hs := s.Handshake(claimed(row.claims)(s.Issuer))
				if row.admitted {
					wantAdmitted(t, s, hs)
					return
				}
				r, e := wantRefused(t, s, hs, 403, table.reason)
				if got := r.Get("WWW-Authenticate"); got != table.challenge {
					t.Errorf("challenge %q, want %q", got, table.challenge)
				}
				if e.Check != table.check || e.Subject != "alice" || e.Wanted == "" {
					t.Errorf("event %+v", e)
				}
			})
		}
	}
}

func TestRulesAddUp(t *testing.T) {
	s := wssecuretest.NewServer(t, wssecure.RequireScopes("a"), wssecure.RequireScopes("b"), roles("x"), wssecure.RequireClaim("team", "y"))
	for _, claims := range []members{
		{"scope": "a", "roles": "x", "team": "y"}, {"scope": "b", "roles": "x", "team": "y"}, {"scope": "a b", "roles": "x"}, {"scope": "a b", "team": "y"},
	} {
		if r, _ := ask(t, s, s.Handshake(claimed(claims)(s.Issuer))); r.Status != 403 {
			t.Errorf("%v: status %d, want 403", claims, r.Status)
		}
	}
	wantAdmitted(t, s, s.Handshake(claimed(members{"scope": "a b", "roles": "x", "team": "y"})(s.Issuer)))
}

// TestSubjectsOfTwoIssuers is Z-04: one sub under two issuers is two people, with
// quotas and revocations of their own.
func TestSubjectsOfTwoIssuers(t *testing.T) {
	a, b := wssecuretest.NewIssuer(t, "https://a.example"), wssecuretest.NewIssuer(t, "https://b.example")
	keys := func(i *wssecuretest.Issuer) wssecure.Verifier {
		return wssecure.StaticKeys(i.JWKS(), i.URL, wssecuretest.Audience)
	}
	s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), wssecure.LimitConns(wssecure.BySubject(), 1),
		wssecure.RequireToken(wssecure.AnyOf(keys(a), keys(b))),
	}})
	wantAdmitted(t, s, s.Handshake(a.Token("alice")))
	_, ofB := wantAdmitted(t, s, s.Handshake(b.Token("alice")))
	wantRefused(t, s, s.Handshake(a.Token("alice")), 429, wssecure.ReasonConnLimit)
	if n, err := s.Guard.Revoke(t.Context(), wssecure.Subject(a.URL, "alice"), "Z-04"); n != 1 || err != nil {
		t.Fatalf("revoked %d, %v", n, err)
	}
	wantDenied(t, s, s.Handshake(a.Token("alice")), 401, wssecure.ReasonRevoked)
	if err := ofB.SendFrame(probe.Message(probe.Text, []byte("still here"))); err != nil {
		t.Fatal(err)
	}
	if f, err := ofB.ReadFrame(); err != nil || string(f.Payload) != "still here" {
		t.Errorf("the other alice: %q, %v", f.Payload, err)
	}
}

func TestCheckJudgements(t *testing.T) {
	var row judgement
	s := wssecuretest.NewServer(t, wssecure.RequireCheck("tenant", func(_ context.Context, h *wssecure.Handshake) error {
		if h.Identity == nil || h.Identity.Subject != "alice" || h.Origin != wssecuretest.Origin || h.Host != wssecuretest.Host {
			t.Errorf("the check sees %+v", h)
		}
		if row.name == "a panic" {
			panic("Z-05")
		}
		return row.err
	}))
	for _, row = range judgements {
		t.Run("Z-05 "+row.name, func(t *testing.T) { row.check(t, s, s.Issuer.Token("alice"), "tenant") })
	}
	row = judgement{}
	wantAdmitted(t, s, s.Handshake(s.Issuer.Token("alice")))
	synctest.Test(t, func(t *testing.T) {
		guard, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("Z-05"),
			wssecure.RequireCheck("slow", func(ctx context.Context, _ *wssecure.Handshake) error {
				<-ctx.Done()
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		w := serveInMemory(guard.ConnHandler(wssecuretest.Echo), handshakeInMemory(""))
		if took := time.Since(begun); switched(w) != 503 || took != 10*time.Second {
			t.Errorf("Z-05 past the deadline: status %d after %v", switched(w), took)
		}
		guard.Shutdown(context.Background())
	})
}

func TestAuthorizationFaults(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	origins, anonymous := wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("Z-07")
	ok := func(context.Context, *wssecure.Handshake) error { return nil }
	for want, opt := range map[string]wssecure.Option{
		`RequireScopes: "chat read" contains a blank; pass "chat", "read"`:                       wssecure.RequireScopes("chat read"),
		`RequireScopes: the list is empty`:                                                       wssecure.RequireScopes(),
		`RequireScopes: "" is no scope`:                                                          wssecure.RequireScopes(""),
		`RequireClaim: "" is no claim`:                                                           wssecure.RequireClaim("", "x"),
		`RequireClaim: "role" has no values; name those that admit`:                              wssecure.RequireClaim("role"),
		`RequireClaim: "role" has an empty value`:                                                wssecure.RequireClaim("role", ""),
		`RequireClaim: "/a/~b" is no JSON Pointer; write "/a/~0b" for a tilde`:                   wssecure.RequireClaim("/a/~b", "x"),
		`RequireClaim: "/a~2" is no JSON Pointer`:                                                wssecure.RequireClaim("/a~2", "x"),
		`RequireCheck: the function of "tenant" is nil; pass a Check`:                            wssecure.RequireCheck("tenant", nil),
		`RequireCheck: "" is no name`:                                                            wssecure.RequireCheck("", ok),
		`RequireCheck: "origin" is the name of a built-in check; choose another`:                 wssecure.RequireCheck("origin", ok),
		`RequireCheck: "a" is given twice`:                                                       wssecure.Options(wssecure.RequireCheck("a", ok), wssecure.RequireCheck("a", ok)),
		`InsecureAllowAnonymous: RequireToken asks for the opposite; remove one`:                 anonymous,
		`RequireToken: the verifier is nil; pass StaticKeys, Secrets, JWKS, OIDC, Introspection`: wssecure.RequireToken(nil),
	} {
		wantFault(t, want, origins, opt, issuer.Option())
	}
	wantFault(t, "RequireScopes: no token to read them from; add RequireToken", origins, anonymous, wssecure.RequireScopes("a"))
	wantFault(t, "RequireClaim: no token to read them from; add RequireToken", origins, anonymous, wssecure.RequireClaim("a", "b"))
}

// TestRoutesReplaceWhoMayConnect is A-50: in With, RequireToken and
// InsecureAllowAnonymous replace whichever was inherited.
func TestRoutesReplaceWhoMayConnect(t *testing.T) {
	issuer, other := wssecuretest.NewIssuer(t, ""), wssecuretest.NewIssuer(t, "https://other.example")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()},
		Handler: func(g *wssecure.Guard) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/ws", g.ConnHandler(wssecuretest.Echo))
			public := with(t, g, wssecure.InsecureAllowAnonymous("A-50"))
			mux.Handle("/public", public.ConnHandler(wssecuretest.Echo))
			mux.Handle("/other", with(t, g, other.Option()).ConnHandler(wssecuretest.Echo))
			mux.Handle("/again", with(t, public, issuer.Option(), wssecure.RequireScopes("again")).ConnHandler(wssecuretest.Echo))
			return mux
		},
	})
	again := issuer.Sign("ES256", issuer.Claims("alice", members{"scope": "again"}))
	for _, row := range []struct {
		path, token string
		status      int
	}{
		{"/ws", issuer.Token("alice"), 101}, {"/ws", "", 401}, {"/ws", other.Token("alice"), 401},
		{"/public", "", 101}, {"/other", other.Token("alice"), 101}, {"/other", issuer.Token("alice"), 401},
		{"/again", "", 401}, {"/again", issuer.Token("alice"), 403}, {"/again", again, 101},
	} {
		hs := s.Handshake(row.token)
		hs.Target = row.path
		if r, _ := ask(t, s, hs); r.Status != row.status {
			t.Errorf("%s: status %d, want %d", row.path, r.Status, row.status)
		}
	}
	if _, err := s.Guard.With(issuer.Option(), wssecure.InsecureAllowAnonymous("both")); err == nil {
		t.Error("With took both")
	}
}

func with(t *testing.T, g *wssecure.Guard, opts ...wssecure.Option) *wssecure.Guard {
	t.Helper()
	child, err := g.With(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return child
}

// TestRevokedAtAdmission: which credentials a revocation refuses.
func TestRevokedAtAdmission(t *testing.T) {
	cut := time.Now()
	before, at, after := members{"iat": cut.Add(-time.Minute).Unix()}, members{"iat": cut.Unix()}, members{"iat": cut.Add(2 * time.Second).Unix()}
	never := members{"iat": wssecuretest.Absent}
	named := func(claims, more members) members {
		all := members{"jti": "t1", "sid": "s1"}
		for _, m := range []members{claims, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	iss := wssecuretest.DefaultIssuer
	for _, row := range []struct {
		name   string
		target wssecure.Target
		always bool // whatever iat says
		spared members
	}{
		{"Subject", wssecure.Subject(iss, "alice").IssuedBefore(cut), false, members{"sub": "bob"}},
		{"Subject of another issuer", wssecure.Subject("https://id.example.com/", "alice"), false, members{}},
		{"TokenID", wssecure.TokenID(iss, "t1"), true, members{"jti": "t2"}},
		{"OIDCSession", wssecure.OIDCSession(iss, "s1"), true, members{"sid": "s2"}},
		{"Network", wssecure.Network(netip.MustParsePrefix("127.0.0.0/8")).IssuedBefore(cut), false, nil},
		{"another network", wssecure.Network(netip.MustParsePrefix("192.0.2.0/24")), false, members{}},
		{"Everyone", wssecure.Everyone().IssuedBefore(cut), false, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := wssecuretest.NewServer(t)
			shown := func(claims, more members) *probe.Handshake {
				return s.Handshake(claimed(named(claims, more))(s.Issuer)).Set("Sec-WebSocket-Key", freshKey())
			}
			wantAdmitted(t, s, shown(before, nil))
			missed := row.spared != nil && len(row.spared) == 0 // the target is somebody else
			closed, err := s.Guard.Revoke(t.Context(), row.target, "test")
			if want := map[bool]int{true: 0, false: 1}[missed]; closed != want || err != nil {
				t.Fatalf("closed %d, want %d, %v", closed, want, err)
			}
			if row.spared != nil {
				wantAdmitted(t, s, shown(before, row.spared))
			}
			if missed {
				return
			}
			for what, claims := range map[string]members{"before": before, "in the same second": at, "without iat": never} {
				if _, e := wantDenied(t, s, shown(claims, nil), 401, wssecure.ReasonRevoked); e.Check != "token" {
					t.Errorf("%s: check %q", what, e.Check)
				}
			}
			if row.always {
				wantDenied(t, s, shown(after, nil), 401, wssecure.ReasonRevoked)
				return
			}
			wantAdmitted(t, s, shown(after, nil))
		})
	}
}

// talkative is a verifier of the application that says too much.
func talkative(_ context.Context, text string) (*wssecure.Identity, error) {
	switch len(text) % 4 {
	case 0:
		return nil, fmt.Errorf("no session %q: %w", text, wssecure.ReasonTokenInvalid)
	case 1:
		return nil, &url.Error{Op: "Get", URL: "https://id.example.com/check?token=" + url.QueryEscape(text), Err: context.DeadlineExceeded}
	case 2:
		panic("no session " + text)
	}
	return nil, &wssecure.Rejection{Reason: wssecure.ReasonForbidden, Err: errors.New(text)}
}

// TestCanaries puts a text into every place for a credential, and into messages:
// it must come out nowhere else (U-04, ATTACKS I7).
func TestCanaries(t *testing.T) {
	log := &logbook.Book{}
	const canary = "CANARY-text"
	secret := []byte("CANARY-secret-of-thirty-two-bytes-or-more")
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), wssecure.AllowSubprotocols("chat"),
		wssecure.SetLogger(log.Logger()),
		wssecure.LimitSession(wssecure.Limits{MessageSize: 64}),
		wssecure.RequireToken(wssecure.AnyOf(wssecure.Secrets(issuer.URL, wssecuretest.Audience, secret),
			wssecure.VerifierFunc(talkative)),
			wssecure.FromBearer(), wssecure.FromSubprotocol(), wssecure.InsecureFromQuery("t", "U-04"), wssecure.FromCookie("__Host-sid")),
	}})
	good := func() string { return issuer.SignSecret("HS256", secret, nil, issuer.Claims("alice")) }
	answers := new(strings.Builder)
	send := func(lines ...string) *probe.Conn {
		hs := s.Handshake("").Set("Sec-WebSocket-Key", freshKey())
		for _, line := range lines {
			if strings.HasPrefix(line, "/") {
				hs.Target = line
				continue
			}
			hs.Add(line)
		}
		r, c := ask(t, s, hs)
		fmt.Fprintf(answers, "%+v %s\n", r.Header, r.Body)
		return c
	}
	for _, text := range []string{canary, canary + ".CANARY.CANARY", canary + "abc", canary + "abcd", canary + "abcde", canary + "abcdef", canary + "+", canary + "/", canary + "=", canary + "==", canary + ", chat", canary + ", " + canary} {
		send("Authorization: Bearer " + text)
		send("Authorization: " + text)
		send("Authorization: Basic " + text)
		send("Authorization: Bearer " + text + " " + text)
		send("Sec-WebSocket-Protocol: bearer, " + text)
		send("Sec-WebSocket-Protocol: chat, bearer, " + text)
		send("Sec-WebSocket-Protocol: " + text)
		send("Sec-WebSocket-Protocol: token, " + text)
		send("Cookie: __Host-sid=" + strings.ReplaceAll(text, " ", ""))
		send("Cookie: sid=" + text)
		send("/ws?t=" + strings.ReplaceAll(text, " ", "%20"))
		send("/ws?access_token="+strings.ReplaceAll(text, " ", "+"), "Cookie: x="+text)
	}
	for _, message := range []string{canary, strings.Repeat(canary, 100), canary + "\xff"} {
		c := send("Authorization: Bearer "+good(), "Cookie: other="+canary, "Sec-WebSocket-Protocol: chat, "+canary)
		if err := c.SendFrame(probe.Message(probe.Text, []byte(message))); err != nil {
			t.Fatal(err)
		}
		c.ReadFrame()
		c.Close()
	}
	for range 3 {
		s.WaitEvent(wssecure.EventClosed)
	}
	for what, text := range map[string]string{
		"log": log.String(), "events": fmt.Sprintf("%+v", s.Events()), "answers": answers.String(), "Stats": fmt.Sprintf("%+v", s.Guard.Stats()),
	} {
		if i := strings.Index(text, "CANARY"); i >= 0 || text == "" {
			t.Errorf("%s: …%s…", what, text[max(0, i-200):min(len(text), i+100)])
		}
	}
}
