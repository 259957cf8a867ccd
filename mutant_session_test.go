package wssecure_test

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	catalogue "github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/wssecuretest"
)

// handled is a server without a guard, over plaintext, and without the timeouts of Harden. It knows its Origin.
func handled(handler http.HandlerFunc) func(*testing.T) *catalogue.Target {
	return func(t *testing.T) *catalogue.Target {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Origin") != wssecuretest.Origin {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			handler(w, r)
		})}
		served := make(chan struct{})
		go func() {
			defer close(served)
			srv.Serve(listener)
		}()
		t.Cleanup(func() {
			srv.Close()
			<-served
		})
		return &catalogue.Target{URL: "ws://" + listener.Addr().String() + "/ws", Origin: wssecuretest.Origin, Active: true, Timeout: hang, Patience: time.Second}
	}
}

func sessionMutants() []mutant {
	fixture := func(opts ...wssecure.Option) func(*testing.T) *catalogue.Target {
		return func(t *testing.T) *catalogue.Target { return targetOf(wssecuretest.NewServer(t, opts...)) }
	}
	// Each token is another user's: what one attack revokes is none of another's.
	revoking := func(revoke func(s *wssecuretest.Server, user string)) func(*testing.T) *catalogue.Target {
		return func(t *testing.T) *catalogue.Target {
			s := wssecuretest.NewServer(t)
			target := targetOf(s)
			var users sync.Map // by token
			target.Token = func() string {
				user := rand.Text()
				token := s.Issuer.Token(user)
				users.Store(token, user)
				return token
			}
			target.Revoke = func(_ context.Context, token string) error {
				user, _ := users.Load(token)
				revoke(s, user.(string))
				return nil
			}
			return target
		}
	}
	many := wssecure.PerSecond(1_000_000)
	return []mutant{
		{"no ReadHeaderTimeout", []string{"slow-header"}, plainGuard},
		{"expiry at the handshake alone", []string{"token-outlived"}, func(t *testing.T) *catalogue.Target {
			issuer := wssecuretest.NewIssuer(t, "")
			good := wssecure.StaticKeys(issuer.JWKS(), issuer.URL, wssecuretest.Audience)
			s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
				wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(wssecure.VerifierFunc(
					func(ctx context.Context, token string) (*wssecure.Identity, error) {
						id, err := good.Verify(ctx, token)
						if err != nil {
							return nil, err
						}
						return &wssecure.Identity{Issuer: id.Issuer, Subject: id.Subject}, nil
					})),
			}})
			s.Issuer = issuer
			return targetOf(s)
		}},
		{"Revoke does nothing", []string{"revoke-session", "revoke-handshake", "revoke-race"}, revoking(func(*wssecuretest.Server, string) {})},
		{"Revoke ends what is open, and keeps no mark", []string{"revoke-handshake", "revoke-race"}, revoking(func(s *wssecuretest.Server, user string) {
			for info := range s.Guard.Sessions() {
				if info.Subject != user {
					continue
				}
				s.Guard.Revoke(context.Background(), wssecure.SessionID(info.ID), "mutant")
			}
		})},
		{"writes that wait for ever", []string{"slow-reader"}, func(t *testing.T) *catalogue.Target {
			target := targetOf(wssecuretest.NewServer(t, wssecure.LimitSession(wssecure.Limits{Write: time.Hour})))
			target.Patience = 2 * time.Second
			return target
		}},
		{"answers that wait without a bound", []string{"slow-reader"}, hoarding},
		{"LimitConns", []string{"limit-sessions"}, fixture(wssecure.LimitConns(wssecure.BySubject(), 10_000), wssecure.LimitConns(wssecure.ByIP(), 10_000))},
		{"LimitHandshakes", []string{"limit-handshakes"}, fixture(wssecure.LimitHandshakes(wssecure.ByIP(), many))},
		{"places that are never given back", []string{"limit-leases"}, func(t *testing.T) *catalogue.Target {
			var taken atomic.Int32
			return plainWith(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if taken.Add(1) > 50 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				next.ServeHTTP(w, r)
			})
		}},
	}
}

// plainGuard is a guard whose server nobody has hardened.
func plainGuard(t *testing.T) *catalogue.Target {
	return plainWith(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
}

func plainWith(t *testing.T, serve func(w http.ResponseWriter, r *http.Request, next http.Handler)) *catalogue.Target {
	guard := must(wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("mutant"), wssecure.InsecureAllowPlaintext("mutant")))
	next := guard.ConnHandler(wssecuretest.Echo)
	target := handled(func(w http.ResponseWriter, r *http.Request) { serve(w, r, next) })(t)
	t.Cleanup(func() { guard.Shutdown(context.Background()) })
	return target
}

// hoarding echoes from a queue without an end: it reads on, whatever the peer does.
func hoarding(t *testing.T) *catalogue.Target {
	return handled(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		var mu sync.Mutex
		var queue [][]byte
		more := make(chan struct{}, 1)
		go func() {
			for range more {
				mu.Lock()
				all := queue
				queue = nil
				mu.Unlock()
				for _, p := range all {
					if c.Write(r.Context(), websocket.MessageText, p) != nil {
						return
					}
				}
			}
		}()
		defer close(more)
		for {
			_, p, err := c.Read(r.Context())
			if err != nil {
				return
			}
			mu.Lock()
			queue = append(queue, p)
			mu.Unlock()
			select {
			case more <- struct{}{}:
			default:
			}
		}
	})(t)
}
