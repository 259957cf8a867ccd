package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/wssecuretest"
)

// asking is a function for SetRecheck that notes when it was asked.
type asking struct {
	mu     sync.Mutex
	at     []time.Time
	who    []string
	answer func(ctx context.Context) error
}

func (a *asking) ask(ctx context.Context, id *wssecure.Identity) error {
	a.mu.Lock()
	a.at, a.who = append(a.at, time.Now()), append(a.who, id.Subject)
	answer := a.answer
	a.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx)
}

func (a *asking) say(answer func(ctx context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

func (a *asking) times() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}

func refusing(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

const recheckEvery = 10 * time.Minute

// rechecked runs f with one open session of a guard with SetRecheck.
func rechecked(t *testing.T, f func(t *testing.T, s *timed, a *asking, p *peer), more ...wssecure.Option) {
	t.Helper()
	a := &asking{}
	more = append(more, wssecure.SetRecheck(recheckEvery, a.ask))
	inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
		f(t, s, a, listen(s.open(s.issuer.Sign("ES256", s.issuer.Claims("alice", lasting()))), true))
	}, more...)
}

// leave hangs up and waits until nothing is read or answered any more.
func leave(p *peer) {
	p.Conn.Close()
	<-p.over
}

func lasting() map[string]any { return map[string]any{"exp": 4_000_000_000} }

func TestRecheck(t *testing.T) {
	t.Run("S-08 nil: stays; S-20 at a random point of the last tenth", func(t *testing.T) {
		rechecked(t, func(t *testing.T, s *timed, a *asking, p *peer) {
			last := time.Now()
			time.Sleep(100 * recheckEvery)
			synctest.Wait()
			early, late := 0, 0
			for i, at := range a.times() {
				pause := at.Sub(last)
				if pause < recheckEvery*9/10 || pause > recheckEvery {
					t.Fatalf("question %d after %v", i, pause)
				}
				if pause < recheckEvery*95/100 {
					early++
				} else {
					late++
				}
				last = at
			}
			if early < 20 || late < 20 {
				t.Errorf("%d in the first half of the tenth, %d in the second", early, late)
			}
			leave(p)
		})
	})
	for name, row := range map[string]struct {
		err    error
		code   int
		reason string
	}{
		"a Reason":                  {wssecure.ReasonScope, 3003, "scope"},
		"a Rejection":               {&wssecure.Rejection{Reason: wssecure.ReasonRevoked}, 3000, "revoked"},
		"in the chain":              {fmt.Errorf("asked: %w", wssecure.ReasonTokenInvalid), 3000, "token-invalid"},
		"a Reason of its own":       {wssecure.Reason("suspended"), 3003, "forbidden"},
		"a Reason of no session":    {wssecure.ReasonOrigin, 3003, ""},
		"unavailable, by its own":   {wssecure.ReasonUnavailable, 1011, "unavailable"},
		"joined with another error": {errors.Join(errPlain, wssecure.ReasonForbidden), 3003, "forbidden"},
	} {
		t.Run("S-08 "+name, func(t *testing.T) {
			rechecked(t, func(t *testing.T, s *timed, a *asking, p *peer) {
				start := time.Now()
				a.say(refusing(row.err))
				<-p.over
				if took := p.at.Sub(start); p.code != row.code || row.reason != "" && p.reason != row.reason || took < recheckEvery*9/10 || took > recheckEvery {
					t.Errorf("%d %q after %v", p.code, p.reason, p.at.Sub(start))
				}
			})
		})
	}
	for name, row := range map[string]struct {
		answer func(context.Context) error
		reason string
		slow   time.Duration
	}{
		"S-08 another error":       {refusing(errPlain), "unavailable", 0},
		"S-08 an empty Reason":     {refusing(wssecure.Reason("")), "unavailable", 0},
		"S-08 over 10 s":           {func(ctx context.Context) error { <-ctx.Done(); return wssecure.ReasonScope }, "unavailable", 10 * time.Second},
		"S-48 a panic":             {func(context.Context) error { panic("S-48") }, "internal", 0},
		"S-48 a panic of a Reason": {func(context.Context) error { panic(wssecure.ReasonScope) }, "internal", 0},
	} {
		t.Run(name, func(t *testing.T) {
			rechecked(t, func(t *testing.T, s *timed, a *asking, p *peer) {
				start := time.Now()
				a.say(row.answer)
				p.wantEnd(t, start, 1011, row.reason, 3*recheckEvery, 3*recheckEvery+row.slow+time.Second)
				at := a.times()
				want := time.Second
				for i := 1; i < len(at)-1; i++ {
					if got := at[i].Sub(at[i-1]) - row.slow; got != want {
						t.Fatalf("pause %d is %v, want %v", i, got, want)
					}
					want = min(2*want, time.Minute)
				}
				if len(at) < 15 {
					t.Errorf("asked %d times", len(at))
				}
			})
		})
	}
	t.Run("S-08 an answer ends the trouble", func(t *testing.T) {
		rechecked(t, func(t *testing.T, s *timed, a *asking, p *peer) {
			for range 5 {
				a.say(refusing(errPlain))
				time.Sleep(2 * recheckEvery)
				a.say(nil)
				time.Sleep(2 * time.Minute)
			}
			select {
			case <-p.over:
				t.Errorf("ended with %d %s", p.code, p.reason)
			default:
			}
			leave(p)
		})
	})
	t.Run("S-20 one call for one subject", func(t *testing.T) {
		a := &asking{}
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			var peers []*peer
			for i := range 200 { // half with one token, half with one each
				token := s.issuer.Sign("ES256", s.issuer.Claims("alice", lasting()))
				for range 1 + i%2 {
					peers = append(peers, listen(s.open(token), true))
				}
			}
			bob := listen(s.open(s.issuer.Sign("ES256", s.issuer.Claims("bob", lasting()))), true)
			time.Sleep(recheckEvery)
			synctest.Wait()
			if len(a.who) != 2 || a.who[0] == a.who[1] {
				t.Fatalf("asked about %q", a.who)
			}
			a.say(func(context.Context) error { return wssecure.ReasonForbidden })
			time.Sleep(recheckEvery)
			for _, p := range append(peers, bob) {
				if <-p.over; p.code != 3003 {
					t.Fatalf("ended with %d %s", p.code, p.reason)
				}
			}
		}, wssecure.SetRecheck(recheckEvery, a.ask), wssecure.LimitConns(wssecure.BySubject(), 1000))
	})
	t.Run("S-20 nobody is asked about when all have gone", func(t *testing.T) {
		rechecked(t, func(t *testing.T, s *timed, a *asking, p *peer) {
			leave(p)
			time.Sleep(3 * recheckEvery)
			if n := len(a.times()); n != 0 {
				t.Errorf("asked %d times", n)
			}
		})
	})
	t.Run("S-20 a question under way ends with the last session", func(t *testing.T) {
		rechecked(t, func(t *testing.T, s *timed, a *asking, p *peer) {
			ended := make(chan time.Duration, 1)
			a.say(func(ctx context.Context) error {
				asked := time.Now()
				<-ctx.Done()
				ended <- time.Since(asked)
				return ctx.Err()
			})
			for len(a.times()) == 0 {
				time.Sleep(time.Second)
			}
			leave(p)
			if took := <-ended; took > 3*time.Second {
				t.Errorf("cut after %v", took)
			}
		})
	})
	t.Run("S-48 a revocation that this node was not told of", func(t *testing.T) {
		a := &asking{}
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			var shared store.Store
			wssecure.WrapStore(s.guard, func(own store.Store) store.Store {
				shared = own
				return own
			})
			start := time.Now()
			alice := listen(s.open(s.issuer.Sign("ES256", s.issuer.Claims("alice", lasting()))), true)
			bob := listen(s.open(s.issuer.Sign("ES256", s.issuer.Claims("bob", lasting()))), true)
			if err := shared.Do(t.Context(), &store.Mark{Key: store.Subject(s.issuer.URL, "alice"), Kind: store.MarkRevoke, Why: "elsewhere"}); err != nil {
				t.Fatal(err)
			}
			alice.wantEnd(t, start, 3000, "revoked", recheckEvery*9/10, recheckEvery)
			time.Sleep(recheckEvery)
			leave(bob)
			if bob.code != 0 {
				t.Errorf("another subject: ended with %d %s", bob.code, bob.reason)
			}
		}, wssecure.SetRecheck(recheckEvery, a.ask))
	})
	t.Run("With replaces it", func(t *testing.T) {
		outer, inner := &asking{}, &asking{}
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			child, err := s.guard.With(wssecure.SetRecheck(2*recheckEvery, inner.ask))
			if err != nil {
				t.Fatal(err)
			}
			s.pipeServer = newPipeServer(t, child.ConnHandler(wssecuretest.Echo))
			p := listen(s.open(s.issuer.Sign("ES256", s.issuer.Claims("alice", lasting()))), true)
			time.Sleep(2 * recheckEvery)
			synctest.Wait()
			if len(outer.times()) != 0 || len(inner.times()) != 1 {
				t.Errorf("asked %d and %d times", len(outer.times()), len(inner.times()))
			}
			leave(p)
		}, wssecure.SetRecheck(recheckEvery, outer.ask))
	})
}

// TestRecheckConfig is G-51, and mistakes whose words may change.
func TestRecheckConfig(t *testing.T) {
	fn := (&asking{}).ask
	wantFault(t, "SetRecheck: 999ms is too often; use 1s or more", withToken(wssecure.SetRecheck(999*time.Millisecond, fn))...)
	wantFault(t, "SetRecheck: the function is nil; pass one, or leave the option out", withToken(wssecure.SetRecheck(time.Minute, nil))...)
	wantFault(t, "SetRecheck: is given twice; keep one", withToken(wssecure.SetRecheck(time.Minute, fn), wssecure.SetRecheck(time.Minute, fn))...)
}

// byIntrospection runs f against a guard whose tokens are introspected at s.issuer.
func byIntrospection(t *testing.T, f func(t *testing.T, s *timed), more ...wssecure.Option) {
	t.Helper()
	byIntrospectionThrough(t, &slowly{}, f, more...)
}

func byIntrospectionThrough(t *testing.T, way *slowly, f func(t *testing.T, s *timed), more ...wssecure.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		issuer := wssecuretest.NewIssuer(t, "")
		way.RoundTripper = &network{handler: issuer.Handler()}
		client := &http.Client{Transport: way}
		verifier := wssecure.Introspection(issuer.URL+wssecuretest.IntrospectionPath, wssecuretest.ClientID, wssecuretest.ClientSecret,
			wssecuretest.Audience, wssecure.HTTPClient(client))
		s := newTimed(t, append(more, wssecure.RequireToken(verifier))...)
		s.issuer = issuer
		s.pipeServer = newPipeServer(t, s.guard.ConnHandler(wssecuretest.Echo))
		f(t, s)
		if err := s.guard.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestIntrospectedSessions is A-65 and S-43: open sessions are asked about again.
func TestIntrospectedSessions(t *testing.T) {
	const every = 5 * time.Minute
	t.Run("A-65 inactive later", func(t *testing.T) {
		byIntrospection(t, func(t *testing.T, s *timed) {
			text := s.issuer.Opaque("alice", lasting())
			p := listen(s.open(text), true)
			time.Sleep(20 * every)
			synctest.Wait()
			if n := s.issuer.Introspections(); n < 20 || n > 24 {
				t.Errorf("%d requests in 20 intervals", n)
			}
			start := time.Now()
			s.issuer.SetActive(text, nil)
			p.wantEnd(t, start, 3000, "revoked", 0, every*11/10)
			if r := sendHandshake(t, s.dial(), freshHandshake(text)); r.Status != 401 {
				t.Errorf("a new handshake: status %d", r.Status)
			}
		})
	})
	t.Run("A-65 an answer as A-44, for three intervals", func(t *testing.T) {
		byIntrospection(t, func(t *testing.T, s *timed) {
			start, text := time.Now(), s.issuer.Opaque("alice", lasting())
			p := listen(s.open(text), true)
			s.issuer.SetAnswer([]byte(`{"active":"true"}`))
			p.wantEnd(t, start, 1011, "unavailable", 3*every, 3*every+time.Second)
		})
	})
	t.Run("A-65 such an answer, then a good one", func(t *testing.T) {
		byIntrospection(t, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Opaque("alice", lasting())), true)
			s.issuer.SetFault(wssecuretest.Down)
			time.Sleep(2 * every)
			s.issuer.SetFault(wssecuretest.NoFault)
			time.Sleep(2 * every)
			synctest.Wait()
			if p.code != 0 {
				t.Errorf("ended with %d %s", p.code, p.reason)
			}
			leave(p)
		})
	})
	t.Run("A-65 exp moves nearer", func(t *testing.T) {
		byIntrospection(t, func(t *testing.T, s *timed) {
			text := s.issuer.Opaque("alice", lasting())
			p := listen(s.open(text), true)
			start, end := time.Now(), time.Now().Add(time.Hour).Truncate(time.Second)
			s.issuer.SetActive(text, s.issuer.Claims("alice", map[string]any{"exp": end.Unix()}))
			p.wantEnd(t, start, 3000, "token-expired", 59*time.Minute, time.Hour+31*time.Second)
		})
	})
	t.Run("A-65 another person", func(t *testing.T) {
		byIntrospection(t, func(t *testing.T, s *timed) {
			start, text := time.Now(), s.issuer.Opaque("alice", lasting())
			p := listen(s.open(text), true)
			s.issuer.SetActive(text, s.issuer.Claims("mallory", lasting()))
			p.wantEnd(t, start, 3000, "token-invalid", every*9/10, every)
		})
	})
	t.Run("S-43 many sessions of one token", func(t *testing.T) {
		const many = 500
		byIntrospection(t, func(t *testing.T, s *timed) {
			text := s.issuer.Opaque("alice", lasting(), map[string]any{"scope": "chat read"})
			var peers []*peer
			for range many {
				peers = append(peers, listen(s.open(text), true))
			}
			time.Sleep(every)
			synctest.Wait()
			if n := s.issuer.Introspections(); n != 2 {
				t.Errorf("%d requests, want that of the handshakes and one more", n)
			}
			start := time.Now()
			s.issuer.SetActive(text, s.issuer.Claims("alice", lasting(), map[string]any{"scope": "chat"}))
			for _, p := range peers {
				p.wantEnd(t, start, 3003, "scope", 0, every)
			}
		}, wssecure.RequireScopes("read"), wssecure.LimitConns(wssecure.BySubject(), many))
	})
	t.Run("C-07 the identity is the new one", func(t *testing.T) {
		var scopes [][]string
		filter := func(_ context.Context, c *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
			scopes = append(scopes, c.Session().Identity().Scopes)
			return p, nil
		}
		byIntrospection(t, func(t *testing.T, s *timed) {
			token := s.issuer.Opaque("alice", lasting(), map[string]any{"scope": "chat admin"})
			p := listen(s.open(token), true)
			send(t, p.Conn, text("before"))
			synctest.Wait()
			s.issuer.SetActive(token, s.issuer.Claims("alice", lasting(), map[string]any{"scope": "chat"}))
			time.Sleep(every)
			send(t, p.Conn, text("after"))
			synctest.Wait()
			if len(scopes) != 2 || len(scopes[0]) != 2 || len(scopes[1]) != 1 {
				t.Errorf("the filter saw %q", scopes)
			}
			leave(p)
		}, wssecure.OnMessage(filter))
	})
}
