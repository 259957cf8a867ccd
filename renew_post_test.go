package wssecure_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/wssecuretest"
)

// renewDesk is a gate with a RenewHandler and one open session.
type renewDesk struct {
	*gate
	handler http.Handler
	session *wssecure.Session
}

func newRenewDesk(t *testing.T, claims members, options ...wssecure.Option) *renewDesk {
	t.Helper()
	d := &renewDesk{gate: &gate{t: t, issuer: wssecuretest.NewIssuer(t, "")}}
	d.start(stay, append(options, d.issuer.Option(wssecure.FromBearer(), wssecure.FromTicket())))
	d.handler = d.guard.RenewHandler()
	d.session = d.openOn(t, d.guard, d.token(time.Hour, claims))
	return d
}

// openOn opens a session at a route of the gate.
func (g *gate) openOn(t *testing.T, route *wssecure.Guard, token string) *wssecure.Session {
	t.Helper()
	opened := make(chan *wssecure.Session, 1)
	h := route.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		opened <- c.Session()
		return stay(ctx, c)
	})
	wantAnswer(t, g.knockOn(h, attacker, bearer(token)), 101, "")
	return next(t, opened)
}

func (d *renewDesk) token(exp time.Duration, more ...members) string {
	all := append([]members{{"exp": time.Now().Add(exp).Unix()}}, more...)
	return d.issuer.Sign("ES256", d.issuer.Claims("alice", all...))
}

func (d *renewDesk) post(token string, changes ...func(*http.Request)) answer {
	d.t.Helper()
	all := append([]func(*http.Request){bearer(token), posting("session=" + d.session.ID())}, changes...)
	return d.knockOn(d.handler, "203.0.113.1", all...)
}

// wantUntouched wants that the session is the one that it was.
func (d *renewDesk) wantUntouched(id *wssecure.Identity) {
	d.t.Helper()
	if d.session.Identity() != id {
		d.t.Error("another identity")
	}
	if err := d.session.Context().Err(); err != nil {
		d.t.Errorf("ended: %v", context.Cause(d.session.Context()))
	}
	if n := len(d.seen(wssecure.EventRenewed)); n != 0 {
		d.t.Errorf("%d renewed events", n)
	}
}

func TestRenewHandler(t *testing.T) {
	t.Run("A-68", func(t *testing.T) {
		d := newRenewDesk(t, members{"jti": "t1"})
		a := d.post(d.token(2*time.Hour, members{"jti": "t2"}))
		var got map[string]int
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || len(got) != 1 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if n := got["expires_in"]; n < 7190 || n > 7200 {
			t.Errorf("expires_in %d", n)
		}
		if kind, cache := a.header.Get("Content-Type"), a.header.Get("Cache-Control"); kind != "application/json" || cache != "no-store" {
			t.Errorf("%q %q", kind, cache)
		}
		if id := d.session.Identity(); id.TokenID != "t2" {
			t.Errorf("the session is %s's", id.TokenID)
		}
		d.await(wssecure.EventRenewed, 1)
		if e := oneEvent(t, d.all(), wssecure.EventRenewed); e.SessionID != d.session.ID() || e.Subject != "alice" {
			t.Errorf("event %+v", e)
		}
	})
	t.Run("A-68 no ticket is a credential, and none is spent", func(t *testing.T) {
		d := newRenewDesk(t, nil)
		b := &booth{gate: d.gate, tickets: d.guard.TicketHandler()}
		ticket := ticketOf(t, d.knockOn(b.tickets, attacker, bearer(d.token(2*time.Hour)), posting("")))
		a := d.post("x", func(r *http.Request) {
			delete(r.Header, "Authorization")
			r.URL.RawQuery = "ticket=" + ticket
		})
		wantAnswer(t, a, 401, wssecure.ReasonTokenMissing)
		wantAnswer(t, b.show(ticket), 101, "")
	})
	t.Run("A-68 by a cookie", func(t *testing.T) {
		d := &renewDesk{gate: &gate{t: t, issuer: wssecuretest.NewIssuer(t, "")}}
		d.start(stay, []wssecure.Option{d.issuer.Option(wssecure.FromBearer(), wssecure.FromCookie("__Host-sid"))})
		d.handler = d.guard.RenewHandler()
		d.session = d.openOn(t, d.guard, d.token(time.Hour))
		a := d.post("x", header("Cookie", "__Host-sid="+d.token(2*time.Hour)), func(r *http.Request) { delete(r.Header, "Authorization") })
		if a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		wantCORS(t, a.header, wssecuretest.Origin, true, true, false)
	})
	t.Run("A-68 a full server renews", func(t *testing.T) {
		d := newRenewDesk(t, nil, wssecure.LimitConns(wssecure.ByTotal(), 1))
		wantAnswer(t, d.knock(attacker, bearer(d.token(time.Hour))), 503, wssecure.ReasonCapacity)
		if a := d.post(d.token(2 * time.Hour)); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("A-68 the rate of all handshakes counts it", func(t *testing.T) {
		d := newRenewDesk(t, nil, wssecure.LimitHandshakes(wssecure.ByTotal(), wssecure.Rate{N: 2, Per: time.Hour, Burst: 2}))
		if a := d.post(d.token(2 * time.Hour)); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		wantAnswer(t, d.post(d.token(3*time.Hour)), 503, wssecure.ReasonCapacity)
	})
}

func TestRenewHandlerRefuses(t *testing.T) {
	bad := header("Authorization", "Bearer a.b.c")
	for name, row := range map[string]struct {
		opts   []wssecure.Option
		change func(*http.Request)
		status int
		reason wssecure.Reason
	}{
		"A-69 GET":              {nil, method("GET"), 405, wssecure.ReasonMethod},
		"A-69 DELETE":           {nil, method("DELETE"), 405, wssecure.ReasonMethod},
		"A-69 bad credential":   {nil, bad, 401, wssecure.ReasonTokenInvalid},
		"A-69 two credentials":  {nil, header("Authorization", "Bearer a", "Bearer b"), 400, wssecure.ReasonCredential},
		"A-69 none":             {nil, func(r *http.Request) { delete(r.Header, "Authorization") }, 401, wssecure.ReasonTokenMissing},
		"A-69 origin":           {nil, from("https://evil.net"), 403, wssecure.ReasonOrigin},
		"A-69 fetch metadata":   {nil, header("Sec-Fetch-Mode", "no-cors"), 403, wssecure.ReasonOrigin},
		"A-69 unknown session":  {nil, posting("session=" + strings.Repeat("0", 32)), 403, wssecure.ReasonForbidden},
		"A-69 no id at all":     {nil, posting("session=" + strings.Repeat("0g", 600)), 403, wssecure.ReasonForbidden},
		"A-69 an empty id":      {nil, posting("session="), 403, wssecure.ReasonForbidden},
		"A-69 no form":          {nil, posting(""), 403, wssecure.ReasonForbidden},
		"A-69 two ids":          {nil, posting("session=a&session=b"), 400, wssecure.ReasonBody},
		"A-69 another field":    {nil, posting("session=a&exp=9"), 400, wssecure.ReasonBody},
		"A-69 a long form":      {nil, posting("session=" + strings.Repeat("0", 4096)), 413, wssecure.ReasonBody},
		"A-69 a custom check":   {[]wssecure.Option{wssecure.RequireCheck("posts", noPosts)}, nil, 403, wssecure.ReasonForbidden},
		"A-69 no Origin at all": {[]wssecure.Option{wssecure.RequireOrigin()}, noOrigin, 403, wssecure.ReasonOriginMissing},
	} {
		t.Run(name, func(t *testing.T) {
			d := newRenewDesk(t, nil, row.opts...)
			id := d.session.Identity()
			if row.change == nil {
				row.change = func(*http.Request) {}
			}
			a := d.post(d.token(2*time.Hour), row.change)
			wantAnswer(t, a, row.status, row.reason)
			if allow := a.header.Get("Allow"); row.status == 405 && allow != "POST" {
				t.Errorf("Allow %q", allow)
			}
			d.wantUntouched(id)
		})
	}
	t.Run("A-69 another's session answers as an unknown one", func(t *testing.T) {
		d := newRenewDesk(t, nil)
		id := d.session.Identity()
		bob := d.issuer.Sign("ES256", d.issuer.Claims("bob", members{"exp": time.Now().Add(2 * time.Hour).Unix()}))
		theirs, unknown := d.post(bob), d.post(bob, posting("session="+strings.Repeat("0", 32)))
		for _, a := range []answer{theirs, unknown} {
			wantAnswer(t, a, 403, wssecure.ReasonForbidden)
		}
		if len(theirs.body) != len(unknown.body) || len(theirs.header) != len(unknown.header) {
			t.Errorf("%s %v; %s %v", theirs.body, theirs.header, unknown.body, unknown.header)
		}
		for range 20 {
			d.post(bob) // does not spend the session's rate
		}
		d.wantUntouched(id)
		if a := d.post(d.token(2 * time.Hour)); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func noPosts(_ context.Context, h *wssecure.Handshake) error {
	if h.Request.Method == http.MethodPost {
		return wssecure.ReasonForbidden
	}
	return nil
}

// TestRenewHandlerTouchesNothing is S-31: what Renew would answer with an error
// or with an end is one 403 here, and the session is never touched.
func TestRenewHandlerTouchesNothing(t *testing.T) {
	for name, row := range map[string]struct {
		prepare func(t *testing.T, d *renewDesk)
		claims  members
	}{
		"S-15 exp not later":  {claims: members{"exp": time.Now().Add(time.Minute).Unix()}},
		"S-15 wider scope":    {claims: members{"scope": "a b"}},
		"S-16 bound to a key": {claims: members{"cnf": members{"x5t#S256": strings.Repeat("A", 43)}}},
		"S-16 revoked": {prepare: func(t *testing.T, d *renewDesk) {
			markingStore(d.guard).revoke(t, store.TokenID(d.issuer.URL, "t2"))
		}, claims: members{"jti": "t2"}},
		"S-15 a banned subject": {prepare: func(t *testing.T, d *renewDesk) {
			d.guard.Ban(t.Context(), wssecure.Subject(d.issuer.URL, "alice"), time.Hour, "S-31")
		}},
	} {
		t.Run("S-31 "+name, func(t *testing.T) {
			d := newRenewDesk(t, members{"scope": "a"})
			id := d.session.Identity()
			if row.prepare != nil {
				row.prepare(t, d)
			}
			a := d.post(d.token(2*time.Hour, row.claims))
			if name == "S-16 bound to a key" { // the POST's own connection has not shown it
				wantAnswer(t, a, 401, wssecure.ReasonTokenInvalid)
			} else {
				wantAnswer(t, a, 403, wssecure.ReasonForbidden)
			}
			d.wantUntouched(id)
		})
	}
	t.Run("S-31 conditions of the session's route", func(t *testing.T) {
		d := newRenewDesk(t, nil)
		d.session = d.openOn(t, with(t, d.guard, roles("ops")), d.token(time.Hour, members{"roles": "ops"}))
		id := d.session.Identity()
		wantAnswer(t, d.post(d.token(2*time.Hour)), 403, wssecure.ReasonForbidden)
		d.wantUntouched(id)
		if a := d.post(d.token(2*time.Hour, members{"roles": "ops"})); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("S-31 a token that the session's route would not take", func(t *testing.T) {
		d := newRenewDesk(t, nil)
		payments := wssecure.RequireToken(wssecure.StaticKeys(d.issuer.JWKS(), d.issuer.URL, "payments"))
		d.session = d.openOn(t, with(t, d.guard, payments), d.token(time.Hour, members{"aud": "payments"}))
		id := d.session.Identity()
		wantAnswer(t, d.post(d.token(2*time.Hour)), 403, wssecure.ReasonForbidden) // for the chat alone
		d.wantUntouched(id)
		if a := d.post(d.token(2*time.Hour, members{"aud": []string{"chat", "payments"}})); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("S-31 over 10 a minute", func(t *testing.T) {
		d := newRenewDesk(t, nil)
		for i := range 10 {
			if a := d.post(d.token(time.Duration(i+2) * time.Hour)); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		id := d.session.Identity()
		wantAnswer(t, d.post(d.token(20*time.Hour)), 403, wssecure.ReasonForbidden)
		if d.session.Identity() != id || d.session.Context().Err() != nil {
			t.Error("touched")
		}
	})
	t.Run("S-31 ended", func(t *testing.T) {
		d := newRenewDesk(t, nil)
		d.session.Close(4000, "bye")
		wantAnswer(t, d.post(d.token(2*time.Hour)), 403, wssecure.ReasonForbidden)
	})
	t.Run("S-31 still waiting for its token", func(t *testing.T) {
		d := newRenewDesk(t, nil)
		opened := make(chan *wssecure.Session, 1)
		route := with(t, d.guard, late()).ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			opened <- c.Session()
			return stay(ctx, c)
		})
		wantAnswer(t, d.knockOn(route, attacker), 101, "")
		d.session = next(t, opened)
		wantAnswer(t, d.post(d.token(2*time.Hour)), 403, wssecure.ReasonForbidden)
		d.wantUntouched(nil)
	})
	t.Run("S-31 nothing decided is 503", func(t *testing.T) {
		d := newRenewDesk(t, nil)
		id := d.session.Identity()
		m := markingStore(d.guard)
		m.before = func(ops []store.Op) {
			if admit, ok := ops[0].(*store.Admit); ok && admit.Key.Kind == store.KeySubject {
				m.fail(errPlain)
			}
		}
		wantAnswer(t, d.post(d.token(2*time.Hour)), 503, wssecure.ReasonUnavailable)
		m.fail(nil)
		d.wantUntouched(id)
	})
	t.Run("the event says why", func(t *testing.T) {
		d := newRenewDesk(t, nil)
		d.post(d.token(time.Minute))
		d.await(wssecure.EventRefused, 1)
		if e := d.seen(wssecure.EventRefused)[0]; e.Err == nil || !errors.Is(e.Err, wssecure.ReasonTokenInvalid) || !strings.Contains(e.Err.Error(), "later") {
			t.Errorf("event %+v", e)
		}
	})
}

// as TicketHandler.
func TestRenewHandlerCORS(t *testing.T) {
	const any = "https://any.example.org"
	preflight := func(r *http.Request) {
		r.Method = http.MethodOptions
		delete(r.Header, "Authorization")
		r.Header["Access-Control-Request-Method"] = []string{"POST"}
	}
	for name, row := range map[string]struct {
		origin  string
		change  func(*http.Request)
		status  int
		allowed bool
	}{
		"A-60 preflight":            {wssecuretest.Origin, preflight, 204, true},
		"A-55 preflight of another": {any, preflight, 403, false},
		"A-72 success":              {wssecuretest.Origin, func(*http.Request) {}, 200, true},
		"A-72 refusal":              {wssecuretest.Origin, posting("session=x"), 403, true},
		"A-55 another":              {any, func(*http.Request) {}, 403, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newRenewDesk(t, nil)
			a := d.post(d.token(2*time.Hour), from(row.origin), row.change)
			if a.status != row.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			wantCORS(t, a.header, row.origin, row.allowed, false, row.status == 204)
		})
	}
}

func TestRenewHandlerWithoutToken(t *testing.T) {
	g := newGate(t, stay)
	for _, m := range []string{"GET", "POST", "OPTIONS"} {
		if a := g.knockOn(g.guard.RenewHandler(), attacker, posting("session=x"), method(m)); a.status != 404 {
			t.Errorf("%s: %d", m, a.status)
		}
	}
}
