package wssecure_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// judgement is what a function of the application says, and the answer to it: of
// verifiers and of checks (Z-05, Z-06) alike.
type judgement struct {
	name   string
	err    error
	status int
	reason wssecure.Reason
	public string
}

var errPlain = errors.New("the directory is away")

var judgements = []judgement{
	{"a Reason", wssecure.ReasonTokenInvalid, 401, invalid, "token-invalid"},
	{"forged", wssecure.ReasonTokenForged, 401, forged, "token-invalid"},
	{"expired", wssecure.ReasonTokenExpired, 401, expired, "token-invalid"},
	{"auth-level", wssecure.ReasonAuthLevel, 401, wssecure.ReasonAuthLevel, "auth-level"},
	{"forbidden", wssecure.ReasonForbidden, 403, wssecure.ReasonForbidden, "forbidden"},
	{"a Rejection", &wssecure.Rejection{Reason: wssecure.ReasonForbidden, Err: errPlain}, 403, wssecure.ReasonForbidden, "forbidden"},
	{"wrapped", fmt.Errorf("tenant: %w", wssecure.ReasonForbidden), 403, wssecure.ReasonForbidden, "forbidden"},
	{"wrapped twice", fmt.Errorf("a: %w", fmt.Errorf("b: %w", &wssecure.Rejection{Reason: wssecure.ReasonRevoked})), 401, wssecure.ReasonRevoked, "token-invalid"},
	{"joined", errors.Join(errPlain, wssecure.ReasonTokenExpired), 401, expired, "token-invalid"},
	{"joined, a Rejection", errors.Join(errPlain, &wssecure.Rejection{Reason: wssecure.ReasonConnLimit}), 429, wssecure.ReasonConnLimit, "conn-limit"},
	{"Retry-After", &wssecure.Rejection{Reason: wssecure.ReasonRate, RetryAfter: 89500 * time.Millisecond}, 429, wssecure.ReasonRate, "rate-limited"},
	{"another error", errPlain, 503, wssecure.ReasonUnavailable, "unavailable"},
	{"an expired context", context.DeadlineExceeded, 503, wssecure.ReasonUnavailable, "unavailable"},
	{"an empty Reason", wssecure.Reason(""), 503, wssecure.ReasonUnavailable, "unavailable"},
	{"an empty Rejection", &wssecure.Rejection{}, 503, wssecure.ReasonUnavailable, "unavailable"},
	{"a nil Rejection", (*wssecure.Rejection)(nil), 503, wssecure.ReasonUnavailable, "unavailable"},
	{"Z-06 a reason of the application", wssecure.Reason("suspended"), 403, "suspended", "forbidden"},
	{"Z-06 a reason without a status", wssecure.ReasonIdle, 500, wssecure.ReasonInternal, "internal"},
	{"a panic", nil, 500, wssecure.ReasonInternal, "internal"},
}

// check lets say be asked by s and holds the answer to the row.
func (j *judgement) check(t *testing.T, s *wssecuretest.Server, text, check string) {
	t.Helper()
	r, e := wantDenied(t, s, s.Handshake(text), j.status, j.reason)
	if want := "#" + j.public + `"`; !strings.Contains(string(r.Body), want) {
		t.Errorf("body %s, want the public reason %s", r.Body, want)
	}
	if e.Check != check {
		t.Errorf("check %q, want %q", e.Check, check)
	}
	// Only an error that names no Reason may have been meant to refuse.
	if undecided := strings.HasPrefix(e.Hint, "undecided: "); undecided != (j.reason == wssecure.ReasonUnavailable) {
		t.Errorf("the hint is %q", e.Hint)
	}
	after := r.Get("Retry-After")
	if (after != "") != (j.status == 429 || j.status == 503) || j.name == "Retry-After" && after != "90" {
		t.Errorf("Retry-After: %q", after)
	}
	if errors.Is(j.err, errPlain) && (e.Err == nil || !strings.Contains(e.Err.Error(), errPlain.Error())) {
		t.Errorf("the operator is told %v", e.Err)
	}
}

func TestVerifierJudgements(t *testing.T) {
	s := withVerifier(t, func(_ context.Context, text string) (*wssecure.Identity, error) {
		row := judgements[slices.IndexFunc(judgements, func(j judgement) bool { return slug(j.name) == text })]
		if row.name == "a panic" {
			panic("A-30")
		}
		// An identity beside an error admits nobody.
		return &wssecure.Identity{Subject: "alice"}, row.err
	})
	for _, row := range judgements {
		t.Run("A-29 "+row.name, func(t *testing.T) { row.check(t, s, slug(row.name), "token") })
	}
}

// slug is a name that can be a token.
func slug(name string) string { return strings.NewReplacer(" ", "-", ",", "").Replace(name) }

// withVerifier is the fixture with a verifier of the application.
func withVerifier(t *testing.T, verify wssecure.VerifierFunc, more ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	return wssecuretest.Start(t, wssecuretest.Config{Options: append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(verify)}, more...)})
}

func TestVerifierIdentity(t *testing.T) {
	identities := map[string]*wssecure.Identity{
		"nil":     nil,
		"subject": {Issuer: "x"},
		"expired": {Subject: "alice", Expiry: time.Now().Add(-time.Second)},
		"forever": {Subject: "alice"},
		"far":     {Subject: "alice", Expiry: time.Unix(1<<60, 0)},
		"good":    {Subject: "alice", Expiry: time.Now().Add(time.Hour)},
	}
	s := withVerifier(t, func(_ context.Context, text string) (*wssecure.Identity, error) { return identities[text], nil })
	for text, want := range map[string]struct {
		status int
		reason wssecure.Reason
	}{
		"nil": {500, wssecure.ReasonInternal}, "subject": {500, wssecure.ReasonInternal}, "expired": {401, expired},
		"forever": {101, ""}, "far": {101, ""}, "good": {101, ""},
	} {
		t.Run("A-29 "+text, func(t *testing.T) {
			hs := s.Handshake(text)
			if want.status != 101 {
				wantDenied(t, s, hs, want.status, want.reason)
				return
			}
			hs.Set("Sec-WebSocket-Key", freshKey())
			_, c := wantAdmitted(t, s, hs)
			if c.AwaitEOF(20*time.Millisecond) == nil {
				t.Error("the session was closed at once")
			}
		})
	}
}

// TestVerifierDeadline is A-30: a verifier that does not return is 503 when
// LimitHandshakeTime is over, whatever it says later. Calls in time are not
// counted; while 1,024 are overdue no more are made.
func TestVerifierDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		release := make(chan struct{})
		guard, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.LimitHandshakeTime(3*time.Second),
			wssecure.RequireToken(wssecure.VerifierFunc(func(ctx context.Context, text string) (*wssecure.Identity, error) {
				calls.Add(1)
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("the context has no deadline")
				}
				if text == "slow" {
					<-release
				}
				time.Sleep(2 * time.Second)
				return &wssecure.Identity{Subject: rand.Text()}, nil
			})))
		if err != nil {
			t.Fatal(err)
		}
		handler := guard.ConnHandler(wssecuretest.Echo)
		many := func(text string, n int, want int, after time.Duration) {
			t.Helper()
			calls.Store(0)
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					begun := time.Now()
					w := serveInMemory(handler, handshakeInMemory(text))
					if took := time.Since(begun); switched(w) != want || took != after || want == 503 && w.header.Get("Retry-After") == "" {
						t.Errorf("%s: status %d after %v, want %d after %v", text, switched(w), took, want, after)
					}
				})
			}
			all.Wait()
		}
		if many("quick", 1500, 101, 2*time.Second); calls.Load() != 1500 {
			t.Errorf("%d calls of 1,500 in time", calls.Load())
		}
		if many("slow", 1024, 503, 3*time.Second); calls.Load() != 1024 {
			t.Errorf("%d calls", calls.Load())
		}
		if many("quick", 1, 503, 0); calls.Load() != 0 {
			t.Error("called although 1,024 calls are overdue")
		}
		close(release)
		time.Sleep(2 * time.Second)
		many("quick", 1, 101, 2*time.Second)
		if got := guard.Stats().Admitted; got != 1501 {
			t.Errorf("%d admitted: a late verdict counted", got)
		}
		guard.Shutdown(context.Background())
	})
}

var clients atomic.Int64

// handshakeInMemory is the fixture with a token, from a client of its own.
func handshakeInMemory(token string) *http.Request {
	hs := (&wssecuretest.Server{}).Handshake(token).Set("Sec-WebSocket-Key", freshKey())
	return requestOf(hs.Bytes(), clients.Add(1))
}

// switched is the status of an answer in memory, 101 included.
func switched(w *memoryWriter) int {
	if strings.HasPrefix(string(w.conn.written()), "HTTP/1.1 101 ") {
		return 101
	}
	return w.status
}

// freshKey is a nonce that no other handshake of the test has.
func freshKey() string {
	var nonce [16]byte
	rand.Read(nonce[:])
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// network serves an issuer to a client without a socket, in fake time too.
type network struct {
	handler http.Handler
	mu      sync.Mutex
	paths   []string
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.paths = append(n.paths, r.URL.Path)
	n.mu.Unlock()
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (n *network) asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.paths)
}

const keysURL = wssecuretest.DefaultIssuer + wssecuretest.KeysPath

// remote is a guard that fetches its keys from the issuer, in memory.
func remote(t *testing.T) (*wssecure.Guard, http.Handler, *wssecuretest.Issuer, *network) {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	net := &network{handler: issuer.Handler()}
	guard, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(
		wssecure.JWKS(keysURL, issuer.URL, wssecuretest.Audience, wssecure.HTTPClient(&http.Client{Transport: net}))))
	if err != nil {
		t.Fatal(err)
	}
	return guard, guard.ConnHandler(wssecuretest.Echo), issuer, net
}

// TestIssuerDown is through the guard: 503 while there are no keys,
// for every way of not giving them, and recovery without a restart.
func TestIssuerDown(t *testing.T) {
	wssecuretest.NewIssuer(t, "") // keys are made outside fake time
	for name, fault := range map[string]wssecuretest.Fault{
		"Down": wssecuretest.Down, "Hang": wssecuretest.Hang, "HTML": wssecuretest.HTML,
		"Huge": wssecuretest.Huge, "Redirect": wssecuretest.Redirect, "EmptySet": wssecuretest.EmptySet,
	} {
		t.Run("Q-02 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				guard, handler, issuer, net := remote(t)
				issuer.SetFault(fault)
				time.Sleep(time.Hour)
				if issuer.Fetches() != 0 {
					t.Fatal("Q-01: a fetch before the first handshake")
				}
				begun := time.Now()
				w := serveInMemory(handler, handshakeInMemory(issuer.Token("alice")))
				if w.status != 503 || w.header.Get("Retry-After") == "" || w.header.Get("Www-Authenticate") != "" {
					t.Errorf("status %d, %v", w.status, w.header)
				}
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("the handshake waited %v", took)
				}
				if err := guard.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), keysURL) {
					t.Errorf("Ready: %v", err)
				}
				// 1 s doubling to 60 s, each with up to 5 s of hanging.
				time.Sleep(10 * time.Minute)
				if n := issuer.Fetches(); n < 12 || n > 20 {
					t.Errorf("%d fetches within ten minutes", n)
				}
				issuer.SetFault(wssecuretest.NoFault)
				time.Sleep(78 * time.Second)
				if err := guard.Ready(t.Context()); err != nil {
					t.Errorf("Ready after recovery: %v", err)
				}
				if got := switched(serveInMemory(handler, handshakeInMemory(issuer.Token("alice")))); got != 101 {
					t.Errorf("status %d after recovery", got)
				}
				if slices.Contains(net.asked(), "/moved") {
					t.Error("Q-03: the redirect was followed")
				}
				guard.Shutdown(context.Background())
			})
		})
	}
}

// TestUnknownKid is through the guard.
func TestUnknownKid(t *testing.T) {
	wssecuretest.NewIssuer(t, "")
	synctest.Test(t, func(t *testing.T) {
		guard, handler, issuer, _ := remote(t)
		old := issuer.Token("alice")
		if got := switched(serveInMemory(handler, handshakeInMemory(old))); got != 101 || issuer.Fetches() != 1 {
			t.Fatalf("status %d, %d fetches", got, issuer.Fetches())
		}
		time.Sleep(30 * time.Second)
		issuer.Rotate("ES256")
		fresh := issuer.Token("alice")
		together := func(n int, token func(i int) string, want int) {
			t.Helper()
			begun := time.Now()
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					if got := switched(serveInMemory(handler, handshakeInMemory(token(i)))); got != want {
						t.Errorf("status %d, want %d", got, want)
					}
				})
			}
			all.Wait()
			if took := time.Since(begun); took > 0 {
				t.Errorf("%d tokens waited %v", n, took)
			}
		}
		together(50, func(int) string { return fresh }, 101)
		if n := issuer.Fetches(); n != 2 {
			t.Errorf("%d fetches, want one more for the new kid", n)
		}
		together(100, func(i int) string {
			return issuer.SignHeader(map[string]any{"kid": fmt.Sprint("made-up-", i)}, issuer.Claims("mallory"), "ES256")
		}, 401)
		together(20, func(int) string { return fresh }, 101)
		if n := issuer.Fetches(); n != 2 {
			t.Errorf("%d fetches, want none for made-up kids within 30 s", n)
		}
		if w := serveInMemory(handler, handshakeInMemory(old)); w.status != 401 {
			t.Errorf("Q-09: a token of the key that is gone: status %d", w.status)
		}
		guard.Shutdown(context.Background())
	})
}

// TestAnyOf is A-49: a JWT goes to the verifier of its issuer alone, whatever
// another's keys would say.
func TestAnyOf(t *testing.T) {
	a, b, tenant := wssecuretest.NewIssuer(t, "https://a.example"), wssecuretest.NewIssuer(t, "https://b.example"), wssecuretest.NewIssuer(t, "https://id.example/t1/v2")
	b.Rotate("ES256")
	tenant.Rotate("ES256")
	opaque := func(accepted string, otherwise error) wssecure.Verifier {
		return wssecure.VerifierFunc(func(_ context.Context, text string) (*wssecure.Identity, error) {
			if text == accepted || text == "nobody" {
				return map[string]*wssecure.Identity{accepted: {Subject: accepted}}[text], nil
			}
			return nil, otherwise
		})
	}
	keys := func(i *wssecuretest.Issuer, issuer string, opts ...wssecure.TokenOption) wssecure.Verifier {
		return wssecure.StaticKeys(i.JWKS(), issuer, wssecuretest.Audience, opts...)
	}
	s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(wssecure.AnyOf(
			keys(a, a.URL), opaque("first", wssecure.ReasonTokenInvalid), keys(b, b.URL),
			keys(tenant, "https://id.example/{tenantid}/v2", wssecure.Tenants("t0", "t1")),
			opaque("second", wssecure.ReasonTokenForged), opaque("third", errPlain), opaque("fourth", nil))),
	}})
	for _, row := range []struct {
		name, text string
		status     int
		reason     wssecure.Reason
	}{
		{"of A", a.Token("alice"), 101, ""},
		{"of B", b.Token("alice"), 101, ""},
		{"of a tenant", tenant.Token("alice"), 101, ""},
		{"of a tenant not served", tenant.Sign("ES256", tenant.Claims("alice", members{"iss": "https://id.example/t2/v2"})), 503, wssecure.ReasonUnavailable},
		{"B's signature, A's issuer and kid", b.SignHeader(members{"kid": a.KeyID("ES256")}, b.Claims("alice", members{"iss": a.URL}), "ES256"), 401, forged},
		{"A's signature, B's issuer and kid", a.SignHeader(members{"kid": b.KeyID("ES256")}, a.Claims("alice", members{"iss": b.URL}), "ES256"), 401, forged},
		{"A's, expired", a.Sign("ES256", a.Claims("alice", members{"exp": 1})), 401, expired},
		{"the first without an issuer", "first", 101, ""},
		{"the second, after an invalid", "second", 101, ""},
		{"the third, after a forged", "third", 101, ""},
		{"none after one that could not decide", "fourth", 503, wssecure.ReasonUnavailable},
		{"no identity", "nobody", 500, wssecure.ReasonInternal},
	} {
		t.Run("A-49 "+row.name, func(t *testing.T) {
			hs := s.Handshake(row.text).Set("Sec-WebSocket-Key", freshKey())
			if row.status == 101 {
				wantAdmitted(t, s, hs)
				return
			}
			wantDenied(t, s, hs, row.status, row.reason)
		})
	}
	origins := wssecure.AllowOrigins(wssecuretest.Origin)
	wantFault(t, `AnyOf: issuer "https://a.example" has two verifiers; merge them`, origins, wssecure.RequireToken(wssecure.AnyOf(keys(a, a.URL), keys(b, a.URL))))
	wantFault(t, "AnyOf: the list is empty", origins, wssecure.RequireToken(wssecure.AnyOf()))
	wantFault(t, "AnyOf: a verifier is nil", origins, wssecure.RequireToken(wssecure.AnyOf(nil)))
	wantFault(t, "StaticKeys: the audience is empty", origins, wssecure.RequireToken(wssecure.AnyOf(wssecure.StaticKeys(a.JWKS(), a.URL, ""))))
}
